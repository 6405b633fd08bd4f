"""Emulated Keysight Infiniium: one analogue front end, one converter."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.damage import as_long_as, is_stale, seen_by_converter
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import (
    Command,
    Parameter,
    Reply,
    choice,
    number,
    switch,
    word,
)
from sim_backends.wire.status import ScpiError

IDENTITY = ("KEYSIGHT TECHNOLOGIES", "MXR404A", "MY00000001", "11.50.00601")
CHANNELS = (1, 2, 3, 4)
MEMORY_SAMPLES = 1 << 30
WORD_BITS = 16


@dataclass(slots=True)
class _Input:
    """Registers of one channel, and its last record."""

    range_v: float = 0.8
    offset_v: float = 0.0
    coupling: str = "DC50"
    shown: bool = False
    codes: NDArray[np.int16] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int16)
    )


class KeysightInfiniium(ScpiDevice):
    """The oscilloscope's registers and its acquisition state.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    bits : int
        Resolution of the converter [bit].
    input_channel : int
        The channel that the detector is plugged into.
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        bits: int = 10,
        input_channel: int = 1,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables, self._bits, self._input_channel = cables, bits, input_channel
        self._reset_registers()
        self._generation = 0
        self._worker: threading.Thread | None = None
        self._bench_time_s = 0.0
        self._record_time_s = 0.0
        cables.on_trigger(self._on_trigger)
        self._add_acquisition()
        self._add_channels()
        self._add_waveform()

    def reset(self) -> None:
        """Return to the power-on state."""
        self._stop()
        self._reset_registers()

    def shut_down(self) -> None:
        """Wait for a record in progress."""
        worker = self._worker
        if worker is not None:
            worker.join()

    @property
    def is_busy(self) -> bool:
        """Whether ``*OPC?`` waits: it does for ``:DIGitize``, not for ``:SINGle``."""
        return self._digitizes and self._state in {"armed", "recording"}

    def _reset_registers(self) -> None:
        self._rate_hz, self._n_samples = 1e9, 100_000
        self._automatic = True
        self._source = 1
        self._streaming = False
        self._state = "idle"
        self._digitizes = self._done_event = self._armed_event = False
        self._inputs = {n: _Input() for n in CHANNELS}
        self._inputs[1].shown = True

    def _add_acquisition(self) -> None:
        add = self.add
        add("STOP", Command("configure", on_set=lambda *_: self._stop()))
        add("SINGle", Command("arm", on_set=lambda *_: self._single()))
        add("DIGitize", Command("arm", on_set=lambda *_: self._digitize()))
        add("AER", Command("arm", on_query=lambda *_: self._take_armed()))
        add("PDER", Command("wait", on_query=lambda *_: self._take_done()))
        add("ADER", Command("wait", on_query=lambda *_: self._take_done()))
        add("AST", Command("wait", on_query=lambda *_: self._acquisition_state()))
        add("SYSTem:HEADer", Command("configure", lambda _, p: _must_be_off(p)))
        add("ACQuire:MODE", Command("configure", self._set_mode, lambda *_: "RTIM"))
        add(
            "ACQuire:SRATe[:ANALog]",
            Command("configure", self._set_rate, lambda *_: f"{self._rate_hz:.12g}"),
        )
        add(
            "ACQuire:POINts[:ANALog]",
            Command("configure", self._set_points, lambda *_: str(self._n_samples)),
        )
        add("TRIGger:SWEep", Command("configure", self._set_sweep))
        add("TRIGger:MODE", Command("configure", lambda _, p: _none(p, "EDGE")))
        add("TRIGger:EDGE:SOURce", Command("configure", lambda _, p: _none(p, "AUX")))
        add("TRIGger:LEVel", Command("configure", self._set_level))

    def _add_channels(self) -> None:
        self.add(
            "CHANnel#:RANGe",
            Command(
                "configure",
                self._set_range,
                lambda s, _: f"{self._input(s).range_v:.9g}",
            ),
        )
        self.add("CHANnel#:OFFSet", Command("configure", self._set_offset))
        self.add("CHANnel#:INPut", Command("configure", self._set_coupling))
        self.add("CHANnel#:DISPlay", Command("configure", self._set_shown))

    def _add_waveform(self) -> None:
        add = self.add
        add("WAVeform:FORMat", Command("configure", lambda _, p: _none(p, "WORD")))
        add(
            "WAVeform:BYTeorder",
            Command("configure", lambda _, p: _none(p, "LSBFirst")),
        )
        add("WAVeform:STReaming", Command("configure", self._set_streaming))
        add("WAVeform:SOURce", Command("fetch", self._set_source))
        add("WAVeform:PREamble", Command("fetch", on_query=lambda *_: self._preamble()))
        add("WAVeform:DATA", Command("fetch", on_query=lambda *_: self._data()))

    def _input(self, suffixes: tuple[int, ...]) -> _Input:
        if suffixes[0] not in self._inputs:
            raise ScpiError(-114, f"channel {suffixes[0]}")
        return self._inputs[suffixes[0]]

    def _set_mode(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        choice(parameters, 0, "RTIMe")

    def _set_rate(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._rate_hz = number(parameters, 0, 1e3, 256e9)

    def _set_points(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._n_samples = int(number(parameters, 0, 16, MEMORY_SAMPLES))

    def _set_sweep(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._automatic = choice(parameters, 0, "AUTO", "TRIGgered") == "AUTO"

    def _set_level(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        choice(parameters, 0, "AUX")
        number(parameters, 1, -5.0, 5.0)

    def _set_range(self, suffixes: tuple[int, ...], values: list[Parameter]) -> None:
        self._input(suffixes).range_v = number(values, 0, 8e-3, 8.0)

    def _set_offset(self, suffixes: tuple[int, ...], values: list[Parameter]) -> None:
        self._input(suffixes).offset_v = number(values, 0, -4.0, 4.0)

    def _set_coupling(self, suffixes: tuple[int, ...], values: list[Parameter]) -> None:
        self._input(suffixes).coupling = choice(values, 0, "DC50", "DCFifty")

    def _set_shown(self, suffixes: tuple[int, ...], values: list[Parameter]) -> None:
        self._input(suffixes).shown = switch(values, 0)

    def _set_streaming(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._streaming = switch(parameters, 0)

    def _set_source(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        names = [f"CHANnel{n}" for n in CHANNELS]
        self._source = int(choice(parameters, 0, *names)[-1])

    def _stop(self) -> None:
        self._generation += 1
        self._state, self._done_event = "idle", False
        self._digitizes = self._armed_event = False
        self.idle.notify_all()

    def _single(self) -> None:
        self._stop()
        self._state, self._armed_event = "armed", True
        if self._automatic:
            self._start_record()

    def _digitize(self) -> None:
        self._single()
        self._digitizes = True

    def _on_trigger(self) -> None:
        """React to a pulse on the auxiliary input."""
        with self.lock:
            if self._state == "armed" and not self._automatic:
                self._start_record()

    def _start_record(self) -> None:
        """Record in a thread of its own, so that polling is answered meanwhile."""
        self._state = "recording"
        self._worker = threading.Thread(
            target=self._record,
            args=(self._generation, self._n_samples, self._rate_hz),
            name=f"{self.name}-record",
            daemon=True,
        )
        self._worker.start()

    def _record(self, generation: int, n_samples: int, rate_hz: float) -> None:
        volts = seen_by_converter(self._cables.record(n_samples, rate_hz), self.faults)
        with self.lock:
            self._record_time_s = self._bench_time_s
            self._bench_time_s += n_samples / rate_hz
            if generation != self._generation:
                return
            stale = is_stale(self.faults)
            for n, channel in self._inputs.items():
                if channel.shown and stale:
                    channel.codes = as_long_as(channel.codes, n_samples)
                elif channel.shown:
                    seen = volts if n == self._input_channel else np.zeros_like(volts)
                    channel.codes = quantise(
                        seen - np.float32(channel.offset_v), channel.range_v, self._bits
                    )
            self._state, self._done_event = "done", True
            self.idle.notify_all()

    def _take_armed(self) -> str:
        armed, self._armed_event = self._armed_event, False
        return f"{armed:d}"

    def _take_done(self) -> str:
        done, self._done_event = self._done_event, False
        return f"{done:d}"

    def _acquisition_state(self) -> str:
        names = {"idle": "ADONE", "armed": "ARM", "recording": "TRIG", "done": "ADONE"}
        return names[self._state]

    def _record_of_source(self) -> _Input:
        channel = self._inputs[self._source]
        if self._state != "done" or not channel.codes.size:
            raise ScpiError(-230, "no record")
        return channel

    def _preamble(self) -> str:
        channel = self._record_of_source()
        step_v = channel.range_v / (1 << WORD_BITS)
        stamp = datetime.fromtimestamp(self._record_time_s, UTC)
        hundredths = stamp.microsecond // 10_000
        span_s = self._n_samples / self._rate_hz
        fields = [
            *(2, 1, channel.codes.size, 1),
            *(f"{1.0 / self._rate_hz:.11E}", "0.0E+00", 0),
            *(f"{step_v:.11E}", f"{channel.offset_v:.11E}", 0),
            *(3, f"{span_s:.8E}", "0.0E+00"),
            *(f"{channel.range_v:.8E}", f"{channel.offset_v:.8E}"),
            *(f'"{stamp:%d %b %Y}"'.upper(), f'"{stamp:%H:%M:%S}:{hundredths:02d}"'),
            *('"MXR404A:MY00000001"', 0, 100, 2, 1, "4.0E+09", "0.0E+00"),
        ]
        return ",".join(str(value) for value in fields)

    def _data(self) -> Reply:
        codes = self._record_of_source().codes.astype("<i2", copy=False)
        if self._streaming:
            return [b"#0", codes.data.cast("B")]
        length = str(codes.nbytes)
        return [f"#{len(length)}{length}".encode(), codes.data.cast("B")]


def quantise(
    volts: NDArray[np.float32], range_v: float, bits: int
) -> NDArray[np.int16]:
    """Convert to codes, left-aligned in 16 bits; what exceeds the range is cut.

    Parameters
    ----------
    volts : ndarray, shape (n,), float32 [V]
    range_v : float
        Full scale, peak to peak [V].
    bits : int
        Resolution of the converter [bit].

    Returns
    -------
    ndarray, shape (n,), int16 [code]
    """
    half = 1 << (bits - 1)
    steps = np.rint(volts * np.float32(2 * half / range_v))
    np.clip(steps, -half, half - 1, out=steps)
    codes: NDArray[np.int16] = steps.astype(np.int16)
    codes <<= WORD_BITS - bits
    return codes


def _none(parameters: list[Parameter], *names: str) -> None:
    """Accept only what the emulator models."""
    choice(parameters, 0, *names)


def _must_be_off(parameters: list[Parameter]) -> None:
    if switch(parameters, 0):
        raise ScpiError(-224, word(parameters, 0))
