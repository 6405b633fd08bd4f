"""Emulated Tektronix AWG70002A: two channels, 8 to 10 bits, triggered or continuous."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import StateError
from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.devices.wfmx import WaveformFile, read_wfmx
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import (
    Command,
    Handler,
    Parameter,
    choice,
    number,
    switch,
    word,
)
from sim_backends.wire.status import ScpiError

IDENTITY = ("TEKTRONIX", "AWG70002A", "B000001", "FV:5.3.0128.0")
CHANNELS = MARKERS = (1, 2)
NATIVE_BITS, HIGHEST_BITS = 8, 10
DEFAULT_RATE_HZ = 25e9
SYNC_BIT = 0x2
MAX_FILES, MAX_NAME = 64, 260
STOPPED, WAITING, RUNNING = "0", "1", "2"
_TRIGGERS = ("ATRigger", "BTRigger", "ITRigger")
_MARKER_LIMIT_V, _MARKER_SPAN_V = 1.4, (0.5, 1.4)


@dataclass(slots=True)
class _Marker:
    """Registers of one marker."""

    amplitude_v: float = 1.0
    offset_v: float = 0.5
    stopped: str = "LOW"
    waiting: str = "LOW"

    @property
    def high_v(self) -> float:
        return self.offset_v + 0.5 * self.amplitude_v

    @property
    def low_v(self) -> float:
        return self.offset_v - 0.5 * self.amplitude_v


@dataclass(slots=True)
class _Channel:
    """Registers of one channel."""

    amplitude_vpp: float = 0.5
    output: bool = False
    path: str = "DIR"
    bits: int = HIGHEST_BITS
    mode: str = "CONT"
    trigger: str = "ATR"
    rest: str = "ZERO"
    assigned: str = ""
    markers: dict[int, _Marker] = field(
        default_factory=lambda: {m: _Marker() for m in MARKERS}
    )


class TektronixAwg70000(ScpiDevice):
    """The generator's registers, files and run state; volts go to the cables.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    bits : int
        Resolution of the converter [bit]; below the set one the low bits are lost.
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        bits: int = HIGHEST_BITS,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables, self._bits = cables, bits
        self.files: dict[str, memoryview] = {}
        self._initialise()
        cables.on_trigger(lambda: self._triggered("ATR"))
        self._add_playback()
        self._add_levels()
        self._add_files()

    def _initialise(self) -> None:
        self.rate_hz = DEFAULT_RATE_HZ
        self.channels = {n: _Channel() for n in CHANNELS}
        self.waveforms: dict[str, WaveformFile] = {}
        self._folder = "\\"
        self._running = False

    def reset(self) -> None:
        """Return to the power-on state; files stay on the disk."""
        self._stop()
        self._initialise()
        self._drive_markers()

    @property
    def state(self) -> str:
        """What ``AWGControl:RSTATe?`` answers."""
        if not self._running:
            return STOPPED
        return RUNNING if self._cables.is_playing(self.name) else WAITING

    @property
    def is_safe(self) -> bool:
        """Whether nothing is played, outputs are off and markers low."""
        off = all(not c.output for c in self.channels.values())
        return off and self.state == STOPPED

    def _channel(self, suffixes: tuple[int, ...]) -> _Channel:
        if suffixes[0] not in self.channels:
            raise ScpiError(-114, f"channel {suffixes[0]}")
        return self.channels[suffixes[0]]

    def _marker(self, suffixes: tuple[int, ...]) -> _Marker:
        channel = self._channel(suffixes)
        if suffixes[1] not in channel.markers:
            raise ScpiError(-114, f"marker {suffixes[1]}")
        return channel.markers[suffixes[1]]

    def _choice(self, verb: str, name: str, *names: str) -> Command:
        """Make a command for a register of a channel that takes one of some words."""

        def on_set(suffixes: tuple[int, ...], given: list[Parameter]) -> None:
            setattr(self._channel(suffixes), name, choice(given, 0, *names))

        def on_query(suffixes: tuple[int, ...], _: list[Parameter]) -> str:
            return str(getattr(self._channel(suffixes), name))

        return Command(verb, on_set, on_query)

    def _marker_choice(self, name: str, *names: str) -> Command:
        def on_set(suffixes: tuple[int, ...], given: list[Parameter]) -> None:
            setattr(self._marker(suffixes), name, choice(given, 0, *names))
            self._drive_markers()

        def on_query(suffixes: tuple[int, ...], _: list[Parameter]) -> str:
            return str(getattr(self._marker(suffixes), name))

        return Command("switch", on_set, on_query)

    def _add_playback(self) -> None:
        self.add("AWGControl:RUN[:IMMediate]", Command("start", lambda *_: self._run()))
        self.add(
            "AWGControl:STOP[:IMMediate]",
            Command("configure", lambda *_: self._stop()),
        )
        self.add("AWGControl:RSTATe", Command("start", on_query=lambda *_: self.state))
        self.add("TRIGger:IMMediate", Command("start", self._force))
        mode = Command("configure", lambda _, p: self._awg_mode(p), lambda *_: "AWG")
        self.add("INSTrument:MODE", mode)
        self.add(
            "SOURce#:RMODe",
            self._choice("configure", "mode", "CONTinuous", "TRIGgered"),
        )
        self.add("SOURce#:TINPut", self._choice("configure", "trigger", *_TRIGGERS))
        self.add(
            "CLOCk:SRATe",
            Command("configure", self._set_rate, lambda *_: f"{self.rate_hz:.12g}"),
        )
        self.add("CLOCk:SOURce", Command("configure", on_query=lambda *_: "INT"))

    def _add_levels(self) -> None:
        output = Command(
            "start",
            self._set_output,
            lambda suffixes, _: f"{self._channel(suffixes).output:d}",
        )
        self.add("OUTPut#[:STATe]", output)
        self.add("OUTPut#:PATH", self._choice("configure", "path", "DIRect"))
        self.add(
            "OUTPut#:WVALue[:ANALog][:STATe]", self._choice("configure", "rest", "ZERO")
        )
        self.add("OUTPut#:SVALue:MARKer#", self._marker_choice("stopped", "OFF", "LOW"))
        self.add(
            "OUTPut#:WVALue:MARKer#",
            self._marker_choice("waiting", "FIRSt", "LOW", "HIGH"),
        )
        self.add(
            "SOURce#:DAC:RESolution",
            Command("configure", self._set_bits, self._channel_value("bits")),
        )
        self.add(
            "SOURce#:VOLTage[:LEVel][:IMMediate][:AMPLitude]",
            Command(
                "configure", self._set_amplitude, self._channel_value("amplitude_vpp")
            ),
        )
        level = "SOURce#:MARKer#:VOLTage[:LEVel][:IMMediate]"
        for node, name in (("AMPLitude", "amplitude_v"), ("OFFSet", "offset_v")):
            self.add(f"{level}:{node}", self._marker_number(name))
        for node, name in (("HIGH", "high_v"), ("LOW", "low_v")):
            self.add(f"{level}:{node}", Command("switch", None, self._marker_get(name)))

    def _add_files(self) -> None:
        self.add(
            "MMEMory:CDIRectory",
            Command("upload", self._set_folder, lambda *_: f'"{self._folder}"'),
        )
        self.add("MMEMory:DELete", Command("upload", self._delete_file))
        self.add("MMEMory:DATA", Command("upload", self._write_file))
        self.add("MMEMory:OPEN", Command("upload", self._open_file))
        listed = Command("upload", on_query=lambda *_: self._list())
        self.add("WLISt:LIST", listed)
        self.add("WLISt:WAVeform:DELete", Command("upload", self._delete_waveforms))
        self.add("SOURce#:CASSet:WAVeform", Command("upload", self._assign))
        assigned = Command("upload", on_query=lambda s, _: self._assigned(s))
        self.add("SOURce#:CASSet", assigned)
        code = Command("", on_query=lambda *_: str(self.status.errors.pop()[0]))
        self.add("SYSTem:ERRor:CODE[:NEXT]", code)

    def _channel_value(self, name: str) -> Handler:
        return lambda suffixes, _: f"{getattr(self._channel(suffixes), name):.9g}"

    def _marker_get(self, name: str) -> Handler:
        return lambda suffixes, _: f"{getattr(self._marker(suffixes), name):.9g}"

    def _marker_number(self, name: str) -> Command:
        """Make a command for amplitude or offset; both levels must fit the window."""

        def on_set(suffixes: tuple[int, ...], given: list[Parameter]) -> None:
            marker = self._marker(suffixes)
            low, high = (-2.0, 2.0) if name == "offset_v" else _MARKER_SPAN_V
            before = getattr(marker, name)
            setattr(marker, name, number(given, 0, low, high))
            limit_v = _MARKER_LIMIT_V * (1 + 1e-9)
            if marker.high_v > limit_v or marker.low_v < -limit_v:
                found = f"marker {marker.low_v:g}..{marker.high_v:g} V"
                setattr(marker, name, before)
                raise ScpiError(-222, found)
            self._drive_markers()

        return Command("switch", on_set, self._marker_get(name))

    def _awg_mode(self, given: list[Parameter]) -> None:
        choice(given, 0, "AWG")

    def _set_rate(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        self.rate_hz = number(given, 0, 1.49e3, 25e9)

    def _set_bits(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        bits = number(given, 0, NATIVE_BITS, HIGHEST_BITS)
        self._channel(suffixes).bits = int(bits)

    def _set_amplitude(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        self._channel(suffixes).amplitude_vpp = number(given, 0, 0.25, 0.5)

    def _set_output(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        self._channel(suffixes).output = switch(given, 0)
        self._drive_markers()

    def _drive_markers(self, *, playing: bool = False) -> None:
        """Put marker 1 of each channel on its cable, as the run state has it."""
        for n, channel in self.channels.items():
            marker = channel.markers[1]
            level_v = 0.0
            if self._running and channel.output:
                high = marker.waiting == "HIGH"
                if marker.waiting == "FIRS" or playing:
                    # A marker that changes within a waveform drives no shutter.
                    high = bool(self.waveforms[channel.assigned].markers[0] & 1)
                level_v = marker.high_v if high else marker.low_v
            self._cables.set_marker(self.name, n, level_v)

    def _path(self, given: list[Parameter], *, whole: bool = False) -> str:
        text = word(given, 0).strip('"').removeprefix("C:")
        if not text or len(text) > MAX_NAME:
            raise ScpiError(-256, text[:40])
        return text if whole or text.startswith("\\") else f"{self._folder}\\{text}"

    def _set_folder(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        self._folder = self._path(given, whole=True)

    def _delete_file(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        if self.files.pop(self._path(given), None) is None:
            raise ScpiError(-256, word(given, 0)[:40])

    def _write_file(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        path = self._path(given)
        if len(given) < 2:
            raise ScpiError(-109)
        block = given[1]
        if isinstance(block, str):
            raise ScpiError(-104, "expected a block")
        if path not in self.files and len(self.files) >= MAX_FILES:
            raise ScpiError(-223, f"{MAX_FILES} files")
        self.files[path] = block

    def _open_file(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        path = self._path(given)
        if path not in self.files:
            raise ScpiError(-256, path[:40])
        name = path.rpartition("\\")[2].removesuffix(".wfmx")
        self.waveforms[name] = read_wfmx(self.files[path])

    def _list(self) -> str:
        return '"' + ",".join(self.waveforms) + '"'

    def _delete_waveforms(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        name = word(given, 0)
        wanted = list(self.waveforms) if name.upper() == "ALL" else [name.strip('"')]
        self._stop()
        for each in wanted:
            if self.waveforms.pop(each, None) is None:
                raise ScpiError(-224, each[:40])
        for channel in self.channels.values():
            if channel.assigned in wanted:
                channel.assigned = ""

    def _assign(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        name = word(given, 0).strip('"')
        if name not in self.waveforms:
            raise ScpiError(-224, name[:40])
        self._stop()
        self._channel(suffixes).assigned = name

    def _assigned(self, suffixes: tuple[int, ...]) -> str:
        return f'"{self._channel(suffixes).assigned}"'

    def _run(self) -> None:
        """Wait for a trigger, or play at once in continuous mode."""
        if any(not c.assigned for c in self.channels.values()):
            raise ScpiError(-221, "a channel has no waveform")
        self._running = True
        self._drive_markers()
        if all(c.mode == "CONT" for c in self.channels.values()):
            self._play(once=False)

    def _stop(self) -> None:
        if self._cables.is_playing(self.name):
            self._cables.stop(self.name)
        self._running = False
        self._drive_markers()

    def _force(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        self._triggered(choice(given, 0, "ATRigger", "BTRigger"))

    def _triggered(self, source: str) -> None:
        """See a trigger; only in the waiting state does it start anything."""
        listening = all(
            c.trigger == source and c.mode == "TRIG" for c in self.channels.values()
        )
        if listening and self._running:
            self._play(once=True)

    def _play(self, *, once: bool) -> None:
        """Put the assigned waveforms on the outputs that are on."""
        files = [self.waveforms[c.assigned] for c in self.channels.values()]
        n_samples = max(f.samples.size for f in files)
        codes = np.zeros((2, n_samples), dtype=np.int16)
        volts = np.zeros((2, n_samples), dtype=np.float32)
        for row, channel in enumerate(self.channels.values()):
            if not channel.output:
                continue
            top = (1 << (min(channel.bits, self._bits) - 1)) - 1
            part = _codes(files[row].samples, top)
            codes[row, : part.size] = part
            step_v = np.float32(0.5 * channel.amplitude_vpp / top)
            np.multiply(codes[row], step_v, out=volts[row])
        self._drive_markers(playing=True)
        try:
            self._cables.play(self.name, codes, volts, self.rate_hz, once=once)
        except StateError as error:
            # The laboratory cannot use this waveform; the generator says so.
            raise ScpiError(-221, error.reason) from error
        first = self.channels[1]
        marked = first.bits == NATIVE_BITS and files[0].markers[0] & SYNC_BIT
        # The one that follows another's marker is not wired back to itself.
        if marked and first.trigger != "ATR":
            self._cables.trigger()


def _codes(samples: NDArray[np.float32], top: int) -> NDArray[np.int16]:
    """Return what the converter makes of samples, shape (n,), float32 [1].

    Returns
    -------
    ndarray, shape (n,), int16 [code]
    """
    scaled = np.rint(samples * np.float32(top))
    codes: NDArray[np.int16] = np.clip(scaled, -top, top, out=scaled).astype(np.int16)
    return codes
