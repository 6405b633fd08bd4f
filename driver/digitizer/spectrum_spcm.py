"""Spectrum PCIe digitiser cards, through the maker's package: records and streams.

Single records fill the card's memory and are read afterwards. A stream goes into a
ring of a fixed number of blocks in this computer's memory; each block is copied
out before the card gets its place back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driver.digitizer.spectrum_link import SpectrumLink
from driver.hal import DigitizerConfig, Identity, Snapshot
from driver.hal_stream import StreamBlock
from driver.restoring import require_same
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError, InstrumentTimeout, RangeError, StateError
from scqc.core.records import Trace

RANGE_V = (40e-3, 20.0)
N_SAMPLES = (16, 1 << 32)
RATE_HZ = (1e3, 10e9)
TRIGGER_LEVEL_V = (-5.0, 5.0)
# Record lengths are multiples of this on every card, blocks of a stream of a page.
STEP_SAMPLES, PAGE_BYTES = 32, 4096
RING_BLOCKS = 8
_SLICE_MS = 100


class SpectrumSpcm:
    """Driver for role `Digitizer`, and for `StreamingDigitizer`.

    Parameters
    ----------
    link : SpectrumLink
    """

    def __init__(self, link: SpectrumLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: DigitizerConfig | None = None
        self._armed = self._complete = self._streaming = False
        self._n_channels, self._full_code, self._max_rate_hz = 0, 0, 0.0

    @property
    def identity(self) -> Identity:
        """Which card it is."""
        return self._link.identity

    def open(self) -> Identity:
        """Open the card; stop recording and ask what it can do."""
        identity = self._link.open()
        with self._link.using("stop") as card:
            card.stop()
            self._n_channels = int(card.num_channels())
            self._full_code = int(card.max_sample_value())
        self._max_rate_hz = float(self._link.read("SPC_MIINST_MAXADCLOCK"))
        return identity

    def close(self) -> None:
        """Close the card; calling it again does nothing."""
        self._streaming = False
        self._link.close()

    def ping(self) -> None:
        """Check that the card still answers."""
        with self._link.using("status") as card:
            card.status()

    def safe_state(self, timeout_s: float) -> None:
        """Stop recording; a digitiser emits nothing."""
        self._armed = self._complete = self._streaming = False
        with self._link.using("stop") as card:
            card.stop(self._link.number("M2CMD_DATA_STOPDMA"))

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        if config is None:
            return {}
        return {
            "rate_hz": config.rate_hz,
            "n_samples": config.n_samples,
            "range_v": {str(n): v for n, v in config.range_v.items()},
            "trigger": config.trigger,
            "trigger_level_v": config.trigger_level_v,
        }

    def configure(self, config: DigitizerConfig) -> DigitizerConfig:
        """Set rate, length, ranges and trigger; return what the card took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the card refuses.
        """
        self._check_config(config)
        self._config = None
        self.safe_state(self._link.io_timeout_s)
        length = _rounded(config.n_samples)
        self._link.write(
            {
                "SPC_CHENABLE": sum(1 << (n - 1) for n in config.range_v),
                "SPC_CLOCKMODE": self._link.number("SPC_CM_INTPLL"),
                "SPC_SAMPLERATE": round(config.rate_hz),
                "SPC_CARDMODE": self._link.number("SPC_REC_STD_SINGLE"),
                "SPC_MEMSIZE": length,
                "SPC_POSTTRIGGER": length - STEP_SAMPLES
                if length > 64
                else length // 2,
                **self._trigger(config),
            }
        )
        for n, range_v in config.range_v.items():
            # The card counts channels from 0, and millivolts from zero to a rail.
            millivolts = round(500.0 * range_v)
            self._link.write(
                {f"SPC_AMP[{n - 1}]": millivolts, f"SPC_50OHM[{n - 1}]": 1}
            )
        self._config = DigitizerConfig(
            rate_hz=float(self._link.read("SPC_SAMPLERATE")),
            n_samples=config.n_samples,
            range_v={
                n: 2e-3 * self._link.read(f"SPC_AMP[{n - 1}]") for n in config.range_v
            },
            trigger=config.trigger,
            trigger_level_v=config.trigger_level_v,
        )
        return self._config

    def restore(self) -> None:
        """Set what was configured last, read it back and compare.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        config = self._config
        if config is not None:
            require_same(self.name, config, self.configure(config))

    def arm(self) -> None:
        """Get ready to record; an earlier record is forgotten."""
        self._require_config("arm")
        self._complete = self._streaming = False
        self._link.write({"SPC_CARDMODE": self._link.number("SPC_REC_STD_SINGLE")})
        with self._link.using("start") as card:
            card.start(self._link.number("M2CMD_CARD_ENABLETRIGGER"))
        self._armed = True

    def wait(self, timeout_s: float) -> None:
        """Return when the record is complete.

        Raises
        ------
        InstrumentTimeout
            If it is not complete after `timeout_s` [s].
        StateError
            If the digitiser is not armed.
        """
        if not self._armed:
            raise StateError(self.name, "wait", "the digitiser is not armed")
        self._command("M2CMD_CARD_WAITREADY", timeout_s)
        self._armed, self._complete = False, True

    def fetch(self, timeout_s: float) -> Trace:
        """Read the completed record.

        Raises
        ------
        StateError
            If no record is complete.
        InstrumentTimeout
            If it is not read after `timeout_s` [s].
        """
        config = self._require_config("fetch")
        if not self._complete:
            raise StateError(self.name, "fetch", "no record is complete")
        with self._link.using("transfer") as card:
            transfer = self._link.sdk.DataTransfer(card)
            transfer.allocate_buffer(_rounded(config.n_samples))
            transfer.start_buffer_transfer(self._link.number("M2CMD_DATA_STARTDMA"))
        self._command("M2CMD_DATA_WAITDMA", timeout_s)
        return self._trace(transfer.buffer[:, : config.n_samples], config)

    def abort(self) -> None:
        """Stop recording."""
        self.safe_state(self._link.io_timeout_s)

    def stream(self, block_samples: int, timeout_s: float) -> Iterator[StreamBlock]:
        """Record from the first request for a block on, and yield blocks.

        Parameters
        ----------
        block_samples : int
            Samples of each channel per block [1].
        timeout_s : float
            For each block [s].

        Raises
        ------
        RangeError
            If a block is no whole number of memory pages; nothing is sent.
        StateError
            If the digitiser is not configured.
        InstrumentTimeout
            If a block is not there in time.
        """
        config = self._require_config("stream")
        sample_bytes = 1 if self._full_code <= 128 else 2
        block_bytes = sample_bytes * block_samples * len(config.range_v)
        if block_samples < 1 or block_bytes % PAGE_BYTES:
            limit = f"blocks of all channels are multiples of {PAGE_BYTES} bytes"
            raise RangeError(self.name, f"{block_samples} samples", limit)
        return self._blocks(config, block_samples, timeout_s)

    def _blocks(
        self, config: DigitizerConfig, block_samples: int, timeout_s: float
    ) -> Iterator[StreamBlock]:
        transfer = self._start_ring(block_samples)
        first, after_gap = 0, False
        try:
            while self._streaming:
                codes = self._next_codes(transfer, block_samples, timeout_s)
                if codes is not None:
                    trace = self._trace(codes, config)
                    yield StreamBlock(trace, first, after_gap)
                    first, after_gap = first + block_samples, False
                elif self._streaming:
                    # The ring was full: what is in it is older than the gap.
                    transfer, after_gap = self._start_ring(block_samples), True
        finally:
            if self._streaming:
                self.safe_state(self._link.io_timeout_s)

    def _start_ring(self, block_samples: int) -> Any:
        """Start the card into a new ring of blocks."""
        self.safe_state(self._link.io_timeout_s)
        number = self._link.number
        self._link.write(
            {"SPC_CARDMODE": number("SPC_REC_FIFO_SINGLE"), "SPC_LOOPS": 0}
        )
        with self._link.using("stream") as card:
            transfer = self._link.sdk.DataTransfer(card)
            transfer.allocate_buffer(RING_BLOCKS * block_samples)
            transfer.start_buffer_transfer(
                number("M2CMD_DATA_STARTDMA"), notify_samples=block_samples
            )
            card.start(number("M2CMD_CARD_ENABLETRIGGER"))
        self._streaming = True
        return transfer

    def _next_codes(
        self, transfer: Any, block_samples: int, timeout_s: float
    ) -> NDArray[np.int16] | None:
        """Copy the next block out of the ring; None after an overrun or an abort."""
        deadline = Deadline(timeout_s)
        while self._streaming:
            # What is in the ring is whole; behind an overrun nothing comes any more.
            if self._has_overrun():
                return None
            with self._link.using("stream"):
                if transfer.avail_user_len() >= block_samples:
                    at = int(transfer.avail_user_pos())
                    codes = _as_int16(transfer.buffer[:, at : at + block_samples])
                    transfer.avail_card_len(block_samples)
                    return codes
            if deadline.expired:
                reason = f"no block within {timeout_s:g} s"
                raise InstrumentTimeout(self.name, "stream", reason)
            self._wait_a_little(deadline)
        return None

    def _wait_a_little(self, deadline: Deadline) -> None:
        """Wait for the next block, but not so long that an abort has to wait."""
        slice_s = min(1e-3 * _SLICE_MS, max(deadline.remaining_s(), 1e-3))
        try:
            self._command("M2CMD_DATA_WAITDMA", slice_s)
        except InstrumentTimeout:
            return
        except DeviceError:
            # Some cards answer an overrun with an error.
            if not self._has_overrun():
                raise

    def _has_overrun(self) -> bool:
        with self._link.using("status") as card:
            return bool(card.status() & self._link.number("M2STAT_DATA_OVERRUN"))

    def _command(self, name: str, timeout_s: float) -> None:
        """Give a command that waits for something, within `timeout_s` [s]."""
        timeout_ms = max(1, math.ceil(1e3 * timeout_s))
        self._link.write({"SPC_TIMEOUT": timeout_ms})
        with self._link.using(name) as card:
            try:
                card.cmd(self._link.number(name))
            except self._link.sdk.SpcmTimeout as error:
                reason = f"not done within {timeout_s:g} s"
                raise InstrumentTimeout(self.name, name, reason) from error

    def _trigger(self, config: DigitizerConfig) -> dict[str, int]:
        number = self._link.number
        if config.trigger == "immediate":
            return {
                "SPC_TRIG_ORMASK": number("SPC_TMASK_SOFTWARE"),
                "SPC_TRIG_ANDMASK": 0,
            }
        return {
            "SPC_TRIG_ORMASK": number("SPC_TMASK_EXT0"),
            "SPC_TRIG_ANDMASK": 0,
            "SPC_TRIG_EXT0_MODE": number("SPC_TM_POS"),
            "SPC_TRIG_EXT0_LEVEL0": round(1e3 * config.trigger_level_v),
        }

    def _trace(self, buffer: NDArray[Any], config: DigitizerConfig) -> Trace:
        """Give codes their scale; a code on the rails counts as clipped."""
        codes = _as_int16(buffer)
        full = self._full_code
        scales = tuple(config.range_v[n] / (2 * full) for n in sorted(config.range_v))
        rails = (codes >= full - 1) | (codes <= -full)
        clipped = tuple(int(n) for n in np.count_nonzero(rails, axis=1))
        return Trace(codes, scales, (0.0,) * len(scales), config.rate_hz, 0.0, clipped)

    def _require_config(self, action: str) -> DigitizerConfig:
        if self._config is None:
            raise StateError(self.name, action, "the digitiser is not configured")
        return self._config

    def _check_config(self, config: DigitizerConfig) -> None:
        known = set(range(1, self._n_channels + 1))
        if not config.range_v or not set(config.range_v) <= known:
            limit = f"has channels 1..{self._n_channels}"
            raise RangeError(self.name, f"channels {sorted(config.range_v)}", limit)
        fastest_hz = min(RATE_HZ[1], self._max_rate_hz)
        checks = [
            ("rate", config.rate_hz, (RATE_HZ[0], fastest_hz), "Sa/s"),
            ("record length", config.n_samples, N_SAMPLES, "samples"),
            ("trigger level", config.trigger_level_v, TRIGGER_LEVEL_V, "V"),
        ]
        checks += [(f"range {n}", v, RANGE_V, "V") for n, v in config.range_v.items()]
        for what, value, (low, high), unit in checks:
            if not low <= value <= high:
                value_text = f"{what} {value:g} {unit}"
                raise RangeError(self.name, value_text, f"limits are {low:g}..{high:g}")


def _rounded(n_samples: int) -> int:
    """Return the length of the card's record that holds `n_samples` [1]."""
    return -(-n_samples // STEP_SAMPLES) * STEP_SAMPLES


def _as_int16(codes: NDArray[Any]) -> NDArray[np.int16]:
    """Copy codes, of 8 or 16 bits, channel by channel."""
    return np.array(codes, dtype=np.int16, order="C")
