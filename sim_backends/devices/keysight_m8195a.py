"""Emulated Keysight M8195A: dual channel with marker, extended memory, 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import StateError
from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import (
    Command,
    Parameter,
    choice,
    number,
    switch,
)
from sim_backends.wire.status import ScpiError

IDENTITY = ("Keysight Technologies", "M8195A", "DE55300001", "3.6.0.0-2")
DATA_CHANNELS, OUTPUTS = (1, 2), (1, 2, 3, 4)
MODES = ("SINGle", "DUAL", "FOUR", "MARKer", "DCDuplicate", "DCMarker")
GRANULARITY = {1: 256, 2: 128, 4: 64}
SHORTEST, LONGEST = 1280, 1 << 34
CLOCK_HZ = (53.76e9, 65e9)
TOP_CODE, NATIVE_BITS = 127, 8
MARKER_1 = 0x1


@dataclass(slots=True)
class _Output:
    """Registers of one output and its memory."""

    amplitude_vpp: float = 0.5
    offset_v: float = 0.0
    on: bool = False
    memory: str = "INT"
    selected: int = 1
    segments: dict[int, NDArray[np.int8]] = field(default_factory=dict)


class KeysightM8195A(ScpiDevice):
    """The module's registers and its play state; volts go to the cables.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    bits : int
        Resolution of the converter [bit]; below 8 the low bits are lost.
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        bits: int = NATIVE_BITS,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables, self._bits = cables, min(bits, NATIVE_BITS)
        self._power_on()
        cables.on_trigger(self._triggered)
        self._add_playback()
        self._add_outputs()
        self._add_trace()

    def _power_on(self) -> None:
        self.clock_hz, self.divider, self.dac_mode = 64e9, 1, "SING"
        self.outputs = {n: _Output() for n in OUTPUTS}
        self.continuous, self.gated, self.armed = True, False, False
        self.source = "TRIG"

    def reset(self) -> None:
        """Return to the power-on state."""
        self._abort()
        self._power_on()

    @property
    def is_safe(self) -> bool:
        """Whether nothing is played and all outputs are off."""
        return not any(o.on for o in self.outputs.values()) and not self._playing

    def _add_playback(self) -> None:
        self.add("ABORt", Command("configure", on_set=lambda *_: self._abort()))
        self.add(
            "INITiate:IMMediate", Command("start", on_set=lambda *_: self._initiate())
        )
        begin = Command("start", on_set=lambda *_: self._begin())
        self.add("TRIGger[:SEQuence][:STARt]:BEGin[:IMMediate]", begin)
        self.add("INITiate:CONTinuous[:STATe]", self._flag("continuous"))
        self.add("INITiate:GATE[:STATe]", self._flag("gated"))
        sources = self._word("source", "TRIGger", "EVENt", "INTernal")
        self.add("TRIGger:SOURce:ENABle", sources)
        only = Command("configure", on_set=lambda _, p: _only_arb(p))
        self.add("FUNCtion:MODE", only)
        self.add("INSTrument:DACMode", self._word("dac_mode", *MODES))
        self.add(
            "INSTrument:MEMory:EXTended:RDIVider",
            Command("configure", self._divide, lambda *_: f"DIV{self.divider}"),
        )
        self.add(
            "FREQuency:RASTer",
            Command("configure", self._set_clock, lambda *_: f"{self.clock_hz:.12g}"),
        )

    def _add_outputs(self) -> None:
        self.add("OUTPut#[:STATe]", self._register("on", _on_or_off, "{:d}", "start"))
        self.add(
            "VOLTage#[:LEVel][:IMMediate]:AMPLitude",
            self._register("amplitude_vpp", lambda p: number(p, 0, 0.075, 1.0)),
        )
        self.add(
            "VOLTage#[:LEVel][:IMMediate]:OFFSet",
            self._register("offset_v", lambda p: number(p, 0, -1.0, 2.5)),
        )

    def _add_trace(self) -> None:
        memory = self._register(
            "memory", lambda p: choice(p, 0, "INTernal", "EXTended"), "{}"
        )
        self.add("TRACe#:MMODe", memory)
        self.add("TRACe#:DELete:ALL", Command("upload", on_set=self._delete_all))
        self.add("TRACe#:DEFine", Command("upload", on_set=self._define))
        self.add("TRACe#[:DATA]", Command("upload", on_set=self._data))
        self.add("TRACe#:SELect", Command("upload", on_set=self._select))

    def _output(self, suffixes: tuple[int, ...]) -> _Output:
        if suffixes[0] not in self.outputs:
            raise ScpiError(-114, f"channel {suffixes[0]}")
        return self.outputs[suffixes[0]]

    def _register(
        self,
        name: str,
        take: Callable[[list[Parameter]], object],
        form: str = "{:.9g}",
        verb: str = "configure",
    ) -> Command:
        """Make a command for a register of an output."""

        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self._output(suffixes), name, take(parameters))

        return Command(
            verb, on_set, lambda s, _: form.format(getattr(self._output(s), name))
        )

    def _flag(self, name: str) -> Command:
        def on_set(_: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self, name, switch(parameters, 0))

        return Command("configure", on_set, lambda *_: f"{getattr(self, name):d}")

    def _word(self, name: str, *words: str) -> Command:
        def on_set(_: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self, name, choice(parameters, 0, *words))

        return Command("configure", on_set, lambda *_: str(getattr(self, name)))

    def _divide(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._abort()
        self.divider = int(choice(parameters, 0, "DIV1", "DIV2", "DIV4")[3:])

    def _set_clock(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        clock_hz = number(parameters, 0, *CLOCK_HZ)
        self._abort()
        self.clock_hz = clock_hz

    @property
    def _bytes_per_sample(self) -> dict[int, int]:
        """Channel 1 brings a marker byte with every sample in the marker modes."""
        return {1: 2 if self.dac_mode in {"MARK", "DCM"} else 1, 2: 1, 3: 1, 4: 1}

    def _delete_all(self, suffixes: tuple[int, ...], _: list[Parameter]) -> None:
        self._abort()
        self._output(suffixes).segments.clear()

    def _define(self, suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
        output, step = self._output(suffixes), GRANULARITY[self.divider]
        segment = int(number(parameters, 0, 1, 1 << 24))
        length = int(number(parameters, 1, SHORTEST, LONGEST))
        if length % step:
            raise ScpiError(-222, f"length {length} not a multiple of {step}")
        if segment in output.segments:
            raise ScpiError(-221, f"segment {segment} exists")
        size = length * self._bytes_per_sample[suffixes[0]]
        output.segments[segment] = np.zeros(size, dtype=np.int8)

    def _data(self, suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
        segments = self._output(suffixes).segments
        segment = int(number(parameters, 0, 1, 1 << 24))
        if segment not in segments:
            raise ScpiError(-221, f"segment {segment} is not defined")
        memory, width = segments[segment], self._bytes_per_sample[suffixes[0]]
        offset = width * int(number(parameters, 1, 0, memory.size))
        if len(parameters) < 3:
            raise ScpiError(-109)
        block = parameters[2]
        if isinstance(block, str) or len(block) % width:
            raise ScpiError(-104, "expected a block of samples")
        codes = np.frombuffer(block, dtype=np.int8)
        if offset + codes.size > memory.size:
            raise ScpiError(-223, f"{offset} + {codes.size} > {memory.size}")
        memory[offset : offset + codes.size] = codes

    def _select(self, suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
        segment = int(number(parameters, 0, 1, 1 << 24))
        if segment not in self._output(suffixes).segments:
            raise ScpiError(-221, f"segment {segment} is not defined")
        self._output(suffixes).selected = segment

    @property
    def _playing(self) -> bool:
        return self._cables.is_playing(self.name)

    def _abort(self) -> None:
        self.armed = False
        if self._playing:
            self._cables.stop(self.name)

    def _initiate(self) -> None:
        for n in DATA_CHANNELS:
            output = self.outputs[n]
            if output.selected not in output.segments:
                raise ScpiError(-221, f"channel {n}: no segment")
        self.armed = True
        if self.continuous:
            self._play()

    def _begin(self) -> None:
        if not self.armed:
            raise ScpiError(-221, "not initiated")
        self._play()

    def _triggered(self) -> None:
        """See the pulse of another generator on the trigger input."""
        if self.armed and self.source == "TRIG" and not self._playing:
            self._play()

    def _play(self) -> None:
        """Put the selected segments on the outputs that are on."""
        if self.dac_mode != "DCM":
            raise ScpiError(-221, f"mode {self.dac_mode} is not emulated")
        marked, plain = (self._codes(n) for n in DATA_CHANNELS)
        pairs = marked.reshape(-1, 2)
        rows = [pairs[:, 0], plain]
        codes = np.zeros((2, max(row.size for row in rows)), dtype=np.int16)
        for row, played in enumerate(rows):
            codes[row, : played.size] = played
        lost = NATIVE_BITS - self._bits
        codes = (codes >> lost) << lost
        half_v = [0.5 * self.outputs[n].amplitude_vpp for n in DATA_CHANNELS]
        scale = np.array(half_v, dtype=np.float32)[:, None] / np.float32(TOP_CODE)
        rate_hz = self.clock_hz / self.divider
        try:
            self._cables.play(
                self.name, codes, codes * scale, rate_hz, once=not self.continuous
            )
        except StateError as error:
            # The laboratory cannot use this waveform; the module says so.
            raise ScpiError(-221, error.reason) from error
        raised = np.any(pairs[: GRANULARITY[1], 1] & MARKER_1)
        if self.outputs[3].on and raised and self.source != "TRIG":
            self._cables.trigger()

    def _codes(self, n: int) -> NDArray[np.int8]:
        output = self.outputs[n]
        if not (self.armed and output.on and output.memory == "EXT"):
            return np.zeros(0, dtype=np.int8)
        return output.segments[output.selected]


def _on_or_off(parameters: list[Parameter]) -> bool:
    return switch(parameters, 0)


def _only_arb(parameters: list[Parameter]) -> None:
    choice(parameters, 0, "ARBitrary")
