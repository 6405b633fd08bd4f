"""Bob's classical side: bits out of displaced symbols, then displacement out.

The order is a law of the receiver: soft decisions, error correction, CRC, and
only then the displacement is subtracted, with the bits as they were sent. Frames
that fail are cleaned with the bits Alice discloses; none is dropped, because
keeping only good frames would select quiet ones.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.coding.frames import FrameCodec, OpenedFrames
from dsp.decision import DecisionScale, Psk, decision_scale, map_bits, soft_bits
from dsp.decision_phase import refine_phase
from dsp.displacement import remove_displacement
from dsp.framing import preamble_symbols
from dsp.pipeline import ReceivedBurst
from dsp.settings import FrameLayout, QpskPreamble
from protocols.messages import wire
from protocols.settings import ClassicalSettings
from scqc.core.errors import PayloadError, SignalError


@dataclass(slots=True)
class ClassicalReport:
    """What became of the classical frames.

    Parameters
    ----------
    frames, frames_lost : int
        Frames of the block, and those that failed their CRC [1].
    raw_errors, raw_bits : int
        Hard decisions before error correction [bit].
    fec_errors : int
        Coded bits that were wrong after it [bit].
    burst_raw_errors, burst_raw_bits : list of int
        The same by burst [bit].
    iterations : list of int
        Decoder iterations per frame [1].
    payload : bytes or None
        The payload, if it arrived whole.
    payload_problem : str
        Why it did not.
    scales : list of DecisionScale
        Displacement and noise per burst [sqrt(SNU), SNU].
    """

    frames: int = 0
    frames_lost: int = 0
    raw_errors: int = 0
    raw_bits: int = 0
    fec_errors: int = 0
    burst_raw_errors: list[int] = field(default_factory=list)
    burst_raw_bits: list[int] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    payload: bytes | None = None
    payload_problem: str = ""
    scales: list[DecisionScale] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cancellation:
    """How the displacement is taken out.

    Parameters
    ----------
    n_taps : int
        Taps of the fit, for inter-symbol leakage [symbol].
    decision_directed : bool
        Whether decoded symbols refine the phase of their neighbours first.
    """

    n_taps: int = 13
    decision_directed: bool = False


class Reception:
    """The classical frames of one block.

    Parameters
    ----------
    bursts : list of ReceivedBurst
    layout : FrameLayout
    settings : ClassicalSettings
    codec : FrameCodec
    cancellation : Cancellation
    threads : int
    """

    def __init__(
        self,
        bursts: list[ReceivedBurst],
        layout: FrameLayout,
        settings: ClassicalSettings,
        codec: FrameCodec,
        cancellation: Cancellation,
        threads: int,
    ) -> None:
        self._bursts, self._layout, self._settings = bursts, layout, settings
        self._codec, self._cancellation, self._threads = codec, cancellation, threads
        if settings.psk == "none":
            raise SignalError("classical frames: psk = 'none' has no displacement")
        self._psk: Psk = settings.psk
        self.report = ClassicalReport()

    def decode(self) -> NDArray[np.bool_]:
        """Decode all frames; return which passed their CRC.

        Returns
        -------
        ndarray, shape (n_frames,), bool

        Raises
        ------
        SignalError
            If not a single frame passed.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            self._opened = list(pool.map(self._open, range(len(self._bursts))))
        self.crc_ok = np.concatenate([o.crc_ok for o in self._opened])
        if not self.crc_ok.any():
            raise SignalError(
                f"classical frames: none of {self.crc_ok.size} passed its CRC; lower "
                "target_raw_ber or fec_rate, or check that the run's frames are these"
            )
        self.report.frames = int(self.crc_ok.size)
        self.report.frames_lost = int(np.count_nonzero(~self.crc_ok))
        self.report.iterations = [int(i) for o in self._opened for i in o.iterations]
        return self.crc_ok

    def clean(self, disclosure: wire.FrameDisclosure) -> NDArray[np.complex64]:
        """Subtract the displacement of every frame, decoded or disclosed.

        Returns
        -------
        ndarray, shape (n_symbols,), complex64 [sqrt(SNU)]

        Raises
        ------
        PeerError
            If Alice disclosed another number of bits than the failed frames have.
        """
        n_bits = self._codec.fec.n_bits
        coded = np.concatenate([o.coded for o in self._opened])
        failed = np.flatnonzero(~self.crc_ok)
        bits = wire.unpack_bits(
            "frame disclosure", disclosure.coded, failed.size * n_bits
        )
        sent = bits.reshape(failed.size, n_bits)
        report = self.report
        report.fec_errors = int(np.count_nonzero(coded[failed] != sent))
        coded[failed] = sent
        per_burst = coded.reshape(len(self._bursts), -1)
        with ThreadPoolExecutor(self._threads) as pool:
            parts = list(pool.map(self._clean_burst, self._bursts, per_burst))
        report.burst_raw_errors = [wrong for _, wrong, _ in parts]
        report.burst_raw_bits = [bits.size for bits in per_burst]
        report.raw_errors = sum(report.burst_raw_errors)
        report.raw_bits = sum(report.burst_raw_bits)
        report.scales = [scale for _, _, scale in parts]
        self._deliver(disclosure.payload_sha256)
        return np.concatenate([symbols for symbols, _, _ in parts])

    def _open(self, index: int) -> OpenedFrames:
        """Decode the frames of one burst."""
        symbols = self._bursts[index].symbols
        llr = soft_bits(symbols, decision_scale(symbols), self._psk)
        frames = self._settings.frames_per_burst
        return self._codec.open(
            llr.reshape(frames, self._codec.fec.n_bits),
            index * frames,
            self._settings.fec_iterations,
        )

    def _clean_burst(
        self, burst: ReceivedBurst, coded: NDArray[np.uint8]
    ) -> tuple[NDArray[np.complex64], int, DecisionScale]:
        """Return one burst's symbols in sqrt(SNU), raw errors, decision scale."""
        directions = map_bits(coded, self._psk)
        scale, unit = decision_scale(burst.symbols), burst.unit.scale
        hard = soft_bits(burst.symbols, scale, self._psk) < 0.0
        wrong = int(np.count_nonzero(hard != coded.astype(np.bool_)))
        before = np.zeros(0, dtype=np.complex64)
        preamble = self._layout.preamble
        if isinstance(preamble, QpskPreamble):
            ratio = burst.preamble_gain * preamble.amplitude_sqrt_snu / scale.amplitude
            before = (ratio * preamble_symbols(preamble)).astype(np.complex64)
        symbols = burst.symbols
        if self._cancellation.decision_directed:
            symbols = refine_phase(
                symbols,
                directions,
                scale,
                burst.report.lock.phase_noise,
                burst.report.hops_per_symbol,
            )
        n_taps = self._cancellation.n_taps
        removal = remove_displacement(symbols, directions, before, n_taps)
        in_snu = DecisionScale(scale.amplitude / unit, scale.variance / unit**2)
        return removal.symbols * np.float32(1.0 / unit), wrong, in_snu

    def _deliver(self, digest: bytes) -> None:
        """Assemble the payload if every frame that carries it arrived."""
        try:
            payload = self._codec.assemble(self._opened)
        except PayloadError as error:
            # Lost frames are a result, not a failure: the key does not need them.
            self.report.payload_problem = str(error)
            return
        if hashlib.sha256(payload).digest() != digest:
            self.report.payload_problem = (
                f"payload: {len(payload)} bytes arrived, but not those Alice announced"
            )
            return
        self.report.payload = payload
