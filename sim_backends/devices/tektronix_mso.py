"""Emulated Tektronix MSO64: one sequence at a time, errors in an event queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim_backends.devices.base import INHERITED, ScpiDevice
from sim_backends.devices.damage import as_long_as, is_stale, seen_by_converter
from sim_backends.devices.keysight_infiniium import quantise
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
from sim_backends.wire.status import MESSAGES, ScpiError

IDENTITY = ("TEKTRONIX", "MSO64", "C000001", "CF:91.1CT FV:1.28.5.1714")
CHANNELS = (1, 2, 3, 4)
MEMORY_SAMPLES = 250_000_000
WORD_BITS = 16
# 25 levels of an 8-bit converter per division: its span is 10.24 divisions.
CODES_PER_DIVISION = 25 * 256
SPAN_DIVISIONS = (1 << WORD_BITS) / CODES_PER_DIVISION
_STEPS = (6.25, 3.125, 2.5, 1.25, 1.0, 0.625, 0.5, 0.3125, 0.25, 0.125, 0.0625)
RATES_HZ = sorted({s * 10.0**k for s in _STEPS for k in range(4, 10)} | {12.5e9, 25e9})


@dataclass(slots=True)
class _Input:
    """Registers of one channel, and its last record."""

    scale_v: float = 0.1
    offset_v: float = 0.0
    position: float = 0.0
    termination_ohm: float = 1e6
    coupling: str = "DC"
    shown: bool = False
    codes: NDArray[np.int16] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int16)
    )


class TektronixMso(ScpiDevice):
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
        bits: int = 12,
        input_channel: int = 1,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables, self._bits, self._input_channel = cables, bits, input_channel
        self._generation = 0
        self._worker: threading.Thread | None = None
        self._events: list[tuple[int, str]] = []
        self._initialise()
        cables.on_trigger(self._on_trigger)
        self._add_events()
        self._add_acquisition()
        self._add_inputs()
        self._add_transfer()

    def _initialise(self) -> None:
        self.rate_hz, self.n_samples = 6.25e9, 1000
        self.position, self.trigger_level_v = 50.0, 0.0
        self._trigger_mode, self._source = "AUTO", "CH1"
        self._stop_after, self._state, self.acquired = "RUNST", "idle", 0
        self._start, self._stop_at, self._width, self._encoding = 1, 2500, 1, "RIB"
        self._read_from = 1
        self.inputs = {n: _Input() for n in CHANNELS}
        self.inputs[1].shown = True

    def reset(self) -> None:
        """Return to the power-on state."""
        self._halt()
        self._initialise()

    def shut_down(self) -> None:
        """Wait for a record in progress."""
        if self._worker is not None:
            self._worker.join()

    @property
    def is_busy(self) -> bool:
        """Whether a sequence is under way; ``*OPC?`` waits for it."""
        return self._state in {"armed", "recording"}

    def _add_events(self) -> None:
        self.add("ALLEv", Command(INHERITED, on_query=lambda *_: self._all_events()))
        self.add("EVENT", Command(INHERITED, on_query=lambda *_: self._event()))
        self.add("BUSY", Command("wait", on_query=lambda *_: f"{self.is_busy:d}"))
        self.add("HEADer", Command("configure", lambda _, p: _must_be_off(p)))
        self.add("VERBose", Command("configure", lambda _, p: _only(p, "ON", "OFF")))

    def _clear(self) -> None:
        super()._clear()
        self._events = []

    def _take_event_status(self, _: tuple[int, ...], given: list[Parameter]) -> str:
        """``*ESR?``: release the events; those released before go."""
        self._events = []
        while len(self.status.errors):
            code, text = self.status.errors.pop()
            # Codes are those of the standard, without their sign.
            self._events.append((abs(code), text))
        return super()._take_event_status(_, given)

    def _all_events(self) -> str:
        events, self._events = self._events, []
        if not events:
            return self._no_event()
        return ",".join(f'{code},"{text}"' for code, text in events)

    def _event(self) -> str:
        if not self._events:
            return self._no_event().partition(",")[0]
        return str(self._events.pop(0)[0])

    def _no_event(self) -> str:
        if len(self.status.errors):
            return '1,"No events to report - new events pending *ESR?"'
        return '0,"No events to report - queue empty"'

    def _add_acquisition(self) -> None:
        add = self.add
        add("ACQuire:STATE", Command("arm", self._set_running, self._running))
        add("ACQuire:NUMACq", Command("wait", on_query=lambda *_: str(self.acquired)))
        add("ACQuire:STOPAfter", self._word("_stop_after", "RUNSTop", "SEQuence"))
        add("ACQuire:MODe", Command("configure", lambda _, p: _only(p, "SAMple")))
        add("HORizontal:MODE", Command("configure", lambda _, p: _only(p, "MANual")))
        add(
            "HORizontal:MODE:SAMPLERate",
            Command("configure", self._set_rate, self._rate),
        )
        add("HORizontal:MODE:RECOrdlength", self._count("n_samples", MEMORY_SAMPLES))
        add("HORizontal:DELay:MODe", Command("configure", lambda _, p: _must_be_off(p)))
        add("HORizontal:POSition", self._number("position", (0.0, 100.0)))
        add("TRIGger:STATE", Command("wait", on_query=lambda *_: self._trigger_state()))
        add("TRIGger:A:MODe", self._word("_trigger_mode", "AUTO", "NORMal"))
        add("TRIGger:A:TYPe", Command("configure", lambda _, p: _only(p, "EDGE")))
        add("TRIGger:A:EDGE:SLOpe", Command("configure", lambda _, p: _only(p, "RISe")))
        add("TRIGger:A:EDGE:SOUrce", self._word("_source", "AUX", "CH1", "LINE"))
        add("TRIGger:AUXLevel", self._number("trigger_level_v", (-5.0, 5.0)))
        add("TRIGger", Command("start", lambda _, p: self._force(p)))

    def _add_inputs(self) -> None:
        for pattern, name, limits in (
            ("CH#:SCAle", "scale_v", (5e-4, 1.0)),
            ("CH#:OFFSet", "offset_v", (-1.0, 1.0)),
            ("CH#:POSition", "position", (-5.0, 5.0)),
            ("CH#:TERmination", "termination_ohm", (50.0, 1e6)),
        ):
            self.add(pattern, self._input_number(name, limits))
        self.add(
            "CH#:COUPling",
            Command(
                "configure",
                lambda s, p: setattr(
                    self._input(s), "coupling", choice(p, 0, "DC", "AC")
                ),
                lambda s, _: self._input(s).coupling,
            ),
        )
        self.add(
            "DISplay:GLObal:CH#:STATE",
            Command(
                "configure",
                lambda s, p: setattr(self._input(s), "shown", switch(p, 0)),
                lambda s, _: f"{self._input(s).shown:d}",
            ),
        )

    def _add_transfer(self) -> None:
        add = self.add
        add("DATa:ENCdg", self._word("_encoding", "SRIbinary", "RIBinary", "ASCIi"))
        add("DATa:WIDth", self._count("_width", 2))
        add("DATa:STARt", self._count("_start", MEMORY_SAMPLES))
        add("DATa:STOP", self._count("_stop_at", MEMORY_SAMPLES))
        add(
            "DATa:SOUrce",
            Command("fetch", self._set_source, lambda *_: f"CH{self._read_from}"),
        )
        for node, show in (
            ("NR_Pt", lambda: str(self._window().size)),
            ("BYT_Nr", lambda: str(self._width)),
            ("BYT_Or", lambda: "LSB" if self._encoding == "SRI" else "MSB"),
            ("BN_Fmt", lambda: "RI"),
            ("XINcr", lambda: f"{1.0 / self.rate_hz:.9E}"),
            ("XZEro", lambda: "0.0E+0"),
            ("PT_Off", lambda: "0"),
            ("YMUlt", lambda: f"{self._step_v():.9E}"),
            ("YOFf", lambda: f"{self._zero_code():.9E}"),
            ("YZEro", lambda: f"{self.inputs[self._read_from].offset_v:.9E}"),
            ("YUNit", lambda: '"V"'),
            ("XUNit", lambda: '"s"'),
        ):
            add(f"WFMOutpre:{node}", _shown(show))
        add("CURVe", Command("fetch", on_query=lambda *_: self._curve()))

    def _word(self, name: str, *names: str) -> Command:
        return Command(
            "configure",
            lambda _, p: setattr(self, name, choice(p, 0, *names)),
            lambda *_: str(getattr(self, name)),
        )

    def _count(self, name: str, top: int) -> Command:
        return Command(
            "configure",
            lambda _, p: setattr(self, name, int(number(p, 0, 1, top))),
            lambda *_: str(getattr(self, name)),
        )

    def _number(self, name: str, limits: tuple[float, float]) -> Command:
        return Command(
            "configure",
            lambda _, p: setattr(self, name, number(p, 0, *limits)),
            lambda *_: f"{getattr(self, name):.9E}",
        )

    def _input_number(self, name: str, limits: tuple[float, float]) -> Command:
        return Command(
            "configure",
            lambda s, p: setattr(self._input(s), name, number(p, 0, *limits)),
            lambda s, _: f"{getattr(self._input(s), name):.9E}",
        )

    def _input(self, suffixes: tuple[int, ...]) -> _Input:
        if suffixes[0] not in self.inputs:
            raise ScpiError(-114, f"channel {suffixes[0]}")
        return self.inputs[suffixes[0]]

    def _set_rate(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        """Take the rate that is nearest to the wanted one."""
        wanted_hz = number(given, 0, 1.0, 1e12)
        self.rate_hz = min(RATES_HZ, key=lambda rate_hz: abs(rate_hz - wanted_hz))

    def _rate(self, *_: object) -> str:
        return f"{self.rate_hz:.9E}"

    def _set_running(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        run = word(given, 0).upper() in {"ON", "RUN", "1"}
        if not run and word(given, 0).upper() not in {"OFF", "STOP", "0"}:
            raise ScpiError(-224, word(given, 0)[:20])
        self._halt()
        if run:
            self._state, self.acquired = "armed", 0
            if self._trigger_mode == "AUTO":
                self._record_now()

    def _running(self, *_: object) -> str:
        return f"{self.is_busy:d}"

    def _trigger_state(self) -> str:
        if self._state == "armed":
            return "READY"
        if self._state == "recording":
            return "AUTO" if self._trigger_mode == "AUTO" else "TRIGGER"
        return "SAVE"

    def _force(self, given: list[Parameter]) -> None:
        choice(given, 0, "FORCe")
        if self._state == "armed":
            self._record_now()

    def _halt(self) -> None:
        self._generation += 1
        self._state = "idle"
        self.idle.notify_all()

    def _on_trigger(self) -> None:
        """React to a pulse on the auxiliary input."""
        with self.lock:
            if self._state == "armed" and self._source == "AUX":
                self._record_now()

    def _record_now(self) -> None:
        """Record in a thread of its own, so that polling is answered meanwhile."""
        self._state = "recording"
        self._worker = threading.Thread(
            target=self._record,
            args=(self._generation, self.n_samples, self.rate_hz),
            name=f"{self.name}-record",
            daemon=True,
        )
        self._worker.start()

    def _record(self, generation: int, n_samples: int, rate_hz: float) -> None:
        volts = seen_by_converter(self._cables.record(n_samples, rate_hz), self.faults)
        with self.lock:
            if generation != self._generation:
                return
            stale = is_stale(self.faults)
            for n, channel in self.inputs.items():
                seen = volts if n == self._input_channel else np.zeros_like(volts)
                offset_v = channel.offset_v - channel.position * channel.scale_v
                if channel.shown and stale:
                    channel.codes = as_long_as(channel.codes, n_samples)
                elif channel.shown:
                    channel.codes = quantise(
                        seen - np.float32(offset_v),
                        channel.scale_v * SPAN_DIVISIONS,
                        self._bits,
                    )
            self._state, self.acquired = "idle", 1
            self.idle.notify_all()

    def _set_source(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        names = [f"CH{n}" for n in CHANNELS]
        self._read_from = int(choice(given, 0, *names)[-1])

    def _step_v(self) -> float:
        lost_bytes = 2 - self._width
        step_v = self.inputs[self._read_from].scale_v / CODES_PER_DIVISION
        return step_v * 256.0**lost_bytes

    def _zero_code(self) -> float:
        channel = self.inputs[self._read_from]
        return channel.position * channel.scale_v / self._step_v()

    def _window(self) -> NDArray[np.int16]:
        """Return the part of the record that is to be read."""
        channel = self.inputs[self._read_from]
        if not channel.shown or not channel.codes.size or not self.acquired:
            raise ScpiError(-230, MESSAGES[-230])
        return channel.codes[self._start - 1 : self._stop_at]

    def _curve(self) -> Reply:
        codes = self._window()
        order = "<" if self._encoding == "SRI" else ">"
        if self._encoding == "ASCI":
            return ",".join(str(code) for code in codes.tolist())
        if self._width == 2:
            data = codes.astype(f"{order}i2", copy=False).data.cast("B")
        else:
            data = (codes >> 8).astype(np.int8).data.cast("B")
        length = str(data.nbytes)
        return [f"#{len(length)}{length}".encode(), data]


def _shown(show: Callable[[], str]) -> Command:
    return Command("fetch", on_query=lambda *_: show())


def _only(given: list[Parameter], *names: str) -> None:
    """Accept only what the emulator models."""
    choice(given, 0, *names)


def _must_be_off(given: list[Parameter]) -> None:
    if switch(given, 0):
        raise ScpiError(-224, word(given, 0))
