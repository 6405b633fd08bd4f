"""Emulated Keysight M8190A: two channels, 12-bit mode, triggered or continuous."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import StateError
from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import (
    Command,
    Handler,
    Parameter,
    choice,
    number,
    switch,
)
from sim_backends.wire.status import ScpiError

IDENTITY = ("Agilent Technologies", "M8190A", "DE00000001", "5.0.14.0-2")
CHANNELS = (1, 2)
GRANULARITY, SHORTEST, LONGEST = 64, 320, 3 << 29
WORD_SHIFT, TOP_CODE = 4, 2047
SYNC_MARKER_BIT = 0x2
SEQUENCE_END_BIT, COMMAND_BIT = 1 << 30, 1 << 31
TABLE_LENGTH = 1 << 19
TOP_WORD = (1 << 32) - 1
NATIVE_BITS = 12


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the sequence table: which samples, how often, and the end."""

    segment: int
    loops: int
    first: int
    last: int
    ends: bool


@dataclass(slots=True)
class _Channel:
    """Registers of one channel."""

    amplitude_vpp: float = 0.5
    offset_v: float = 0.0
    output: bool = False
    continuous: bool = True
    gated: bool = False
    armed: bool = False
    selected: int = 1
    route: str = "DAC"
    width: str = "WSP"
    mode: str = "ARB"
    marker_low_v: float = 0.0
    marker_high_v: float = 1.0
    segments: dict[int, NDArray[np.int16]] = field(default_factory=dict)
    sequence_start: int = 0
    table: dict[int, _Entry] = field(default_factory=dict)


class KeysightM8190A(ScpiDevice):
    """The generator's registers and its play state; volts go to the cables.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    bits : int
        Resolution of the converter [bit]; below 12 the low bits are lost.
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        bits: int = NATIVE_BITS,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables, self._bits = cables, bits
        self.rate_hz = 1.2e10
        self._coupled = False
        self.channels = {n: _Channel() for n in CHANNELS}
        self._external = False
        cables.on_trigger(self._triggered)
        self._add_playback()
        self._add_levels()
        self._add_trace()

    def reset(self) -> None:
        """Return to the power-on state."""
        self._abort()
        self.rate_hz, self._coupled = 1.2e10, False
        self.channels = {n: _Channel() for n in CHANNELS}
        self._external = False
        for n in CHANNELS:
            self._cables.set_marker(self.name, n, 0.0)

    def _channel(self, suffixes: tuple[int, ...]) -> _Channel:
        if suffixes[0] not in self.channels:
            raise ScpiError(-114, f"channel {suffixes[0]}")
        return self.channels[suffixes[0]]

    def _number(self, verb: str, name: str, low: float, high: float) -> Command:
        """Make a command for a numeric register of a channel."""

        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self._channel(suffixes), name, number(parameters, 0, low, high))

        return Command(verb, on_set, self._getter(name, "{:.9g}"))

    def _flag(self, verb: str, name: str) -> Command:
        """Make a command for an on-off register of a channel."""

        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self._channel(suffixes), name, switch(parameters, 0))

        return Command(verb, on_set, self._getter(name, "{:d}"))

    def _choice(self, verb: str, name: str, *names: str) -> Command:
        """Make a command for a register that takes one of several words."""

        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self._channel(suffixes), name, choice(parameters, 0, *names))

        return Command(verb, on_set, self._getter(name, "{}"))

    def _getter(self, name: str, form: str) -> Handler:
        return lambda suffixes, _: form.format(getattr(self._channel(suffixes), name))

    def _add_playback(self) -> None:
        self.add("ABORt#", Command("configure", on_set=lambda *_: self._abort()))
        self.add("INITiate:IMMediate#", Command("start", on_set=self._initiate))
        self.add(
            "TRIGger[:SEQuence][:STARt]:BEGin#[:IMMediate]",
            Command("start", on_set=self._begin),
        )
        self.add("INITiate:CONTinuous#[:STATe]", self._flag("configure", "continuous"))
        self.add("INITiate:GATE#[:STATe]", self._flag("configure", "gated"))
        self.add(
            "ARM[:SEQuence][:STARt]:TRIGger:SOURce#",
            Command("configure", self._set_trigger, lambda *_: self._trigger_source),
        )
        self.add(
            "STATus:OPERation:RUN:CONDition",
            Command("start", on_query=lambda *_: "3" if self._playing else "0"),
        )
        self.add(
            "INSTrument:COUPle[:STATe]",
            Command("configure", self._set_coupling, lambda *_: f"{self._coupled:d}"),
        )
        self.add(
            "FREQuency:RASTer",
            Command("configure", self._set_rate, lambda *_: f"{self.rate_hz:.12g}"),
        )

    def _add_levels(self) -> None:
        self.add("OUTPut#[:NORMal][:STATe]", self._flag("start", "output"))
        self.add("OUTPut#:ROUTe", self._choice("configure", "route", "DAC", "DC", "AC"))
        modes = self._choice("configure", "mode", "ARBitrary", "STSequence")
        self.add("FUNCtion#:MODE", modes)
        self.add(
            "VOLTage#[:LEVel][:IMMediate][:AMPLitude]",
            self._number("configure", "amplitude_vpp", 0.1, 0.7),
        )
        self.add("VOLTage#:OFFSet", self._number("configure", "offset_v", -0.02, 0.02))
        for edge, low in (("LOW", -0.5), ("HIGH", 0.5)):
            self.add(
                f"MARKer#:SAMPle:VOLTage:{edge}",
                Command(
                    "switch",
                    self._marker_setter(edge, low),
                    self._getter(f"marker_{edge.lower()}_v", "{:.9g}"),
                ),
            )
            self.add(
                f"MARKer#:SYNC:VOLTage:{edge}",
                Command("configure", lambda _, p: self._sync_level(p)),
            )

    def _add_trace(self) -> None:
        self.add(
            "TRACe#:DWIDth",
            self._choice("configure", "width", "WSPeed", "WPRecision"),
        )
        self.add("TRACe#:DELete:ALL", Command("upload", on_set=self._delete_all))
        self.add("TRACe#:DEFine", Command("upload", on_set=self._define))
        self.add("TRACe#[:DATA]", Command("upload", on_set=self._data))
        self.add("TRACe#:SELect", Command("upload", self._select))
        self.add("STABle#:RESet", Command("upload", on_set=self._clear_table))
        self.add("STABle#:DATA", Command("upload", on_set=self._set_entry))
        self.add("STABle#:SEQuence:SELect", Command("upload", on_set=self._set_start))

    def _abort(self) -> None:
        for channel in self.channels.values():
            channel.armed = False
        if self._playing:
            self._cables.stop(self.name)

    @property
    def _playing(self) -> bool:
        return self._cables.is_playing(self.name)

    @property
    def _trigger_source(self) -> str:
        return "EXT" if self._external else "INT"

    def _set_trigger(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        """Choose what starts an armed generator; both channels share the input."""
        self._channel(suffixes)
        self._external = choice(given, 0, "INTernal", "EXTernal") == "EXT"

    def _triggered(self) -> None:
        """See the pulse of another generator on the trigger input."""
        armed = self.channels[1].armed
        if self._external and armed and not self._playing:
            self._play()

    def _set_coupling(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._coupled = switch(parameters, 0)

    def _set_rate(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        rate_hz = number(parameters, 0, 125e6, 12e9)
        self._abort()
        self.rate_hz = rate_hz

    def _sync_level(self, parameters: list[Parameter]) -> None:
        number(parameters, 0, -0.5, 1.75)

    def _marker_setter(self, edge: str, low: float) -> Handler:
        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            channel = self._channel(suffixes)
            level_v = number(parameters, 0, low, 1.75)
            low_v = level_v if edge == "LOW" else channel.marker_low_v
            high_v = level_v if edge == "HIGH" else channel.marker_high_v
            if not 0.125 <= high_v - low_v <= 2.25:
                raise ScpiError(-221, f"marker {low_v:g}..{high_v:g} V")
            channel.marker_low_v, channel.marker_high_v = low_v, high_v
            self._cables.set_marker(self.name, suffixes[0], low_v)

        return on_set

    def _delete_all(self, suffixes: tuple[int, ...], _: list[Parameter]) -> None:
        self._abort()
        self._channel(suffixes).segments.clear()

    def _define(self, suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
        channel = self._channel(suffixes)
        segment = int(number(parameters, 0, 1, 1 << 19))
        length = int(number(parameters, 1, SHORTEST, LONGEST))
        if length % GRANULARITY:
            raise ScpiError(-222, f"length {length} not a multiple of {GRANULARITY}")
        if segment in channel.segments:
            raise ScpiError(-221, f"segment {segment} exists")
        channel.segments[segment] = np.zeros(length, dtype=np.int16)

    def _data(self, suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
        segments = self._channel(suffixes).segments
        segment = int(number(parameters, 0, 1, 1 << 19))
        if segment not in segments:
            raise ScpiError(-221, f"segment {segment} is not defined")
        memory = segments[segment]
        offset = int(number(parameters, 1, 0, memory.size))
        if len(parameters) < 3:
            raise ScpiError(-109)
        block = parameters[2]
        if isinstance(block, str) or len(block) % 2:
            raise ScpiError(-104, "expected a block of 16-bit words")
        words = np.frombuffer(block, dtype="<i2")
        if offset + words.size > memory.size:
            raise ScpiError(-223, f"{offset} + {words.size} > {memory.size}")
        memory[offset : offset + words.size] = words

    def _select(self, suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
        segment = int(number(parameters, 0, 1, 1 << 19))
        if segment not in self._channel(suffixes).segments:
            raise ScpiError(-221, f"segment {segment} is not defined")
        self._channel(suffixes).selected = segment

    def _clear_table(self, suffixes: tuple[int, ...], _: list[Parameter]) -> None:
        self._abort()
        self._channel(suffixes).table.clear()

    def _set_entry(
        self, suffixes: tuple[int, ...], parameters: list[Parameter]
    ) -> None:
        """Take index, control, loops of sequence and segment, segment, addresses."""
        index = int(number(parameters, 0, 0, TABLE_LENGTH - 1))
        control = int(number(parameters, 1, 0, TOP_WORD))
        if control & COMMAND_BIT:
            raise ScpiError(-224, "commands in the sequence table")
        number(parameters, 2, 1, 1)
        segment = int(number(parameters, 4, 1, 1 << 19))
        loops = int(number(parameters, 3, 1, TOP_WORD))
        first = int(number(parameters, 5, 0, TOP_WORD))
        last = int(number(parameters, 6, first, TOP_WORD))
        ends = bool(control & SEQUENCE_END_BIT)
        self._channel(suffixes).table[index] = _Entry(segment, loops, first, last, ends)

    def _set_start(
        self, suffixes: tuple[int, ...], parameters: list[Parameter]
    ) -> None:
        index = int(number(parameters, 0, 0, TABLE_LENGTH - 1))
        self._channel(suffixes).sequence_start = index

    def _sequence(self, channel: _Channel) -> list[_Entry]:
        """Return the entries of the selected sequence, in order."""
        entries: list[_Entry] = []
        while not (entries and entries[-1].ends):
            index = channel.sequence_start + len(entries)
            entry = channel.table.get(index)
            if entry is None or entry.segment not in channel.segments:
                raise ScpiError(-221, f"entry {index} of the sequence table")
            entries.append(entry)
        return entries

    def _initiate(self, suffixes: tuple[int, ...], _: list[Parameter]) -> None:
        channels = CHANNELS if self._coupled else (suffixes[0],)
        for n in channels:
            channel = self._channel((n,))
            if channel.mode == "STS":
                self._sequence(channel)
            elif channel.selected not in channel.segments:
                raise ScpiError(-221, f"channel {n}: no segment")
            channel.armed = True
        if self.channels[suffixes[0]].continuous:
            self._play()

    def _begin(self, suffixes: tuple[int, ...], _: list[Parameter]) -> None:
        if not self._channel(suffixes).armed:
            raise ScpiError(-221, "not initiated")
        self._play()

    def _play(self) -> None:
        """Put the selected segments on the outputs that are on."""
        words = [self._words(n) for n in CHANNELS]
        n_samples = max(w.size for w in words)
        codes = np.zeros((2, n_samples), dtype=np.int16)
        for row, w in enumerate(words):
            codes[row, : w.size] = w >> WORD_SHIFT
        lost = NATIVE_BITS - min(self._bits, NATIVE_BITS)
        if lost:
            codes = _coarser(codes, lost)
        half_v = [0.5 * self.channels[n].amplitude_vpp for n in CHANNELS]
        scale = np.array(half_v, dtype=np.float32)[:, None] / np.float32(TOP_CODE)
        once = not self.channels[1].continuous
        try:
            self._cables.play(self.name, codes, codes * scale, self.rate_hz, once=once)
        except StateError as error:
            # The laboratory cannot use this waveform; the generator says so.
            raise ScpiError(-221, error.reason) from error
        marked = words[0].size and np.any(words[0][:GRANULARITY] & SYNC_MARKER_BIT)
        if marked and not self._external:
            self._cables.trigger()

    def _words(self, n: int) -> NDArray[np.int16]:
        channel = self.channels[n]
        if not (channel.armed and channel.output):
            return np.zeros(0, dtype=np.int16)
        if channel.mode == "ARB":
            return channel.segments[channel.selected]
        parts: list[NDArray[np.int16]] = []
        for entry in self._sequence(channel):
            samples = channel.segments[entry.segment][entry.first : entry.last + 1]
            parts += [samples] * entry.loops
        return np.concatenate(parts)

    @property
    def is_safe(self) -> bool:
        """Whether nothing is played, outputs are off and markers low."""
        quiet = all(
            not c.output and c.marker_low_v == 0.0 for c in self.channels.values()
        )
        return quiet and not self._playing


def _coarser(codes: NDArray[np.int16], lost: int) -> NDArray[np.int16]:
    """Round codes to a converter with `lost` fewer bits.

    Parameters
    ----------
    codes : ndarray, shape (2, n), int16 [code]
    lost : int
        Missing low bits [bit].
    """
    step = 1 << lost
    top = (TOP_CODE // step) * step
    rounded: NDArray[np.int16] = (codes + np.int16(step >> 1)) >> lost << lost
    return np.clip(rounded, -top, top, out=rounded)
