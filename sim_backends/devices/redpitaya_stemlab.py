"""Emulated Red Pitaya STEMlab 125-14: registers of its SCPI server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from sim_backends.devices.base import Call, ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.devices.redpitaya_halves import (
    BUFFER_SAMPLES,
    CHANNELS,
    GAINS_V,
    Generator,
    Recorder,
)
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import (
    Command,
    Handler,
    Parameter,
    Reply,
    choice,
    number,
    switch,
    word,
)
from sim_backends.wire.status import ScpiError

IDENTITY = ("REDPITAYA", "INSTR2023", "0", "01-02")
BOARD = "STEMlab 125-14 v1.0"
Window = Callable[[list[Parameter]], tuple[int, int]]
# A header without a number means both outputs.
_BOTH = ("SOUR", "SOURCE", "OUTPUT")
_EDGES = {
    f"{who}_{edge}" for who in ("CH1", "CH2", "EXT", "AWG") for edge in ("PE", "NE")
}
_SOURCES = {"DISABLED", "NOW"} | _EDGES
_PINS = {f"DIO{n}_{side}" for n in range(8) for side in "NP"}
_PINS |= {f"LED{n}" for n in range(8)}
_SLOW = {f"AIN{n}" for n in range(4)} | {f"AOUT{n}" for n in range(4)}


class RedPitayaStemlab(ScpiDevice):
    """The board's registers; its two halves hold what is played and recorded.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    input_channel : int
        The input that the detector is plugged into.
    """

    line_end = b"\r\n"

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        input_channel: int = 1,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self.generator = Generator(name, cables)
        self.recorder = Recorder(name, cables, self.lock, self.faults, input_channel)
        self.generator.on_start = lambda: self.recorder.triggered("AWG_PE")
        cables.on_trigger(self._pulse)
        self._pins: dict[str, str] = {}
        self._directions: dict[str, str] = {}
        self._add_generator()
        self._add_acquisition()
        self._add_data()
        self._add_board()

    def resolve(
        self, path: list[str], parameters: list[Parameter], *, is_query: bool
    ) -> Call:
        """Find what a header means; ``SOUR`` alone is number 0, both outputs.

        Raises
        ------
        ScpiError
            -113 if there is no such command or query.
        """
        if path[0].upper() in _BOTH:
            path = [path[0] + "0", *path[1:]]
        return super().resolve(path, parameters, is_query=is_query)

    def reset(self) -> None:
        """Return to the power-on state."""
        self.generator.reset()
        self.recorder.reset()

    def shut_down(self) -> None:
        """Wait for a record in progress."""
        self.recorder.join()

    @property
    def is_safe(self) -> bool:
        """Whether both outputs are off and nothing is played."""
        return self.generator.is_safe

    def _pulse(self) -> None:
        """React to a pulse on the trigger input."""
        with self.lock:
            self.generator.pulse()
            self.recorder.triggered("EXT_PE")

    def _add_generator(self) -> None:
        generator, add = self.generator, self.add
        add("GEN:RST", Command("configure", lambda *_: generator.reset()))
        add("OUTPUT#:STATE", Command("start", self._output, self._output_state))
        add("SOUR#:TRig:INT", Command("start", lambda s, _: generator.start(_rows(s))))
        add("SOUR#:TRig:SOUR", self._source_word("trigger", "INT", "EXT_PE", "EXT_NE"))
        add("SOUR#:FUNC", self._source_word("shape", "SINE", "SQUARE", "ARBITRARY"))
        add("SOUR#:BURS:STAT", self._source_word("mode", "CONTINUOUS", "BURST"))
        for pattern, name, limits in (
            ("SOUR#:FREQ:FIX", "frequency_hz", (0.0, 62.5e6)),
            ("SOUR#:VOLT", "amplitude_v", (0.0, 1.0)),
            ("SOUR#:VOLT:OFFS", "offset_v", (-1.0, 1.0)),
            ("SOUR#:BURS:NCYC", "cycles", (1, 50_000)),
            ("SOUR#:BURS:NOR", "repetitions", (1, 50_000)),
        ):
            add(pattern, self._source_number(name, limits))
        add("SOUR#:TRAC:DATA:DATA", Command("upload", self._set_buffer))
        add("PHAS:ALIGN", Command("start", lambda *_: None))

    def _source_number(self, name: str, limits: tuple[float, float]) -> Command:
        """Make a command for a number of an output."""

        def on_set(suffixes: tuple[int, ...], given: list[Parameter]) -> None:
            value = number(given, 0, *limits)
            for n in _rows(suffixes):
                setattr(self.generator.outputs[n], name, value)

        def on_query(suffixes: tuple[int, ...], _: list[Parameter]) -> str:
            return f"{getattr(self.generator.outputs[_one(suffixes)], name):.10g}"

        return Command("configure", on_set, on_query)

    def _source_word(self, name: str, *names: str) -> Command:
        """Make a command for a register of an output that takes one of some words."""

        def on_set(suffixes: tuple[int, ...], given: list[Parameter]) -> None:
            value = choice(given, 0, *names)
            for n in _rows(suffixes):
                setattr(self.generator.outputs[n], name, value)

        def on_query(suffixes: tuple[int, ...], _: list[Parameter]) -> str:
            return str(getattr(self.generator.outputs[_one(suffixes)], name))

        return Command("configure", on_set, on_query)

    def _output(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        self.generator.switch(_rows(suffixes), on=switch(given, 0))

    def _output_state(self, suffixes: tuple[int, ...], _: list[Parameter]) -> str:
        return f"{self.generator.outputs[_one(suffixes)].on:d}"

    def _set_buffer(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        if len(given) > BUFFER_SAMPLES:
            raise ScpiError(-223, f"more than {BUFFER_SAMPLES} samples")
        try:
            values = np.array(given, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ScpiError(-104, "samples are numbers") from error
        if not np.all(np.abs(values) <= 1.0):
            raise ScpiError(-222, "samples are not within -1..1")
        for n in _rows(suffixes):
            self.generator.load(n, values)

    def _add_acquisition(self) -> None:
        recorder, add = self.recorder, self.add
        add("ACQ:START", Command("arm", lambda *_: recorder.start()))
        add("ACQ:STOP", Command("configure", lambda *_: recorder.stop()))
        add("ACQ:RST", Command("configure", lambda *_: recorder.reset()))
        add("ACQ:DEC", Command("configure", self._set_decimation, self._decimation))
        add("ACQ:SRATe", self._shown(lambda: f"{recorder.rate_hz:.10g} Hz"))
        add(
            "ACQ:AVG",
            Command(
                "configure",
                lambda _, p: setattr(recorder, "averaging", switch(p, 0)),
                lambda *_: "ON" if recorder.averaging else "OFF",
            ),
        )
        add("ACQ:TRig", Command("arm", lambda _, p: recorder.listen(_source(p))))
        add("ACQ:TRig:STAT", Command("wait", on_query=lambda *_: recorder.state))
        add("ACQ:TRig:FILL", Command("wait", on_query=lambda *_: f"{recorder.full:d}"))
        add(
            "ACQ:TRig:DLY",
            Command(
                "configure",
                lambda _, p: setattr(recorder, "delay", int(number(p, 0, -8192, 8192))),
                lambda *_: str(recorder.delay),
            ),
        )
        add(
            "ACQ:TRig:LEV",
            Command(
                "configure",
                lambda _, p: setattr(recorder, "level_v", number(p, 0, -20.0, 20.0)),
                lambda *_: f"{recorder.level_v:g}",
            ),
        )
        add("ACQ:SOUR#:GAIN", Command("configure", self._set_gain, self._gain))

    def _add_data(self) -> None:
        recorder, add = self.recorder, self.add
        for pattern, name, names in (
            ("ACQ:DATA:Units", "units", ("RAW", "VOLTS")),
            ("ACQ:DATA:FORMAT", "form", ("BIN", "ASCII")),
        ):
            add(pattern, self._recorder_word(name, *names))
        add("ACQ:BUF:SIZE", self._shown(lambda: str(BUFFER_SAMPLES)))
        add("ACQ:TPOS", Command("fetch", on_query=lambda *_: str(recorder.position)))
        add("ACQ:WPOS", Command("fetch", on_query=lambda *_: str(recorder.end)))
        add("ACQ:SOUR#:DATA", self._data(lambda _: (recorder.end, BUFFER_SAMPLES)))
        add("ACQ:SOUR#:DATA:Old:N", self._data(lambda p: (recorder.end, _count(p, 0))))
        add(
            "ACQ:SOUR#:DATA:STArt:N",
            self._data(
                lambda p: (int(number(p, 0, 0, BUFFER_SAMPLES - 1)), _count(p, 1))
            ),
        )

    def _data(self, window: Window) -> Command:
        def on_query(suffixes: tuple[int, ...], given: list[Parameter]) -> Reply:
            first, count = window(given)
            return self.recorder.data(_one(suffixes), first, count)

        return Command("fetch", on_query=on_query)

    def _recorder_word(self, name: str, *names: str) -> Command:
        return Command(
            "configure",
            lambda _, p: setattr(self.recorder, name, choice(p, 0, *names)),
            lambda *_: str(getattr(self.recorder, name)),
        )

    def _shown(self, show: Callable[[], str]) -> Command:
        return Command("configure", on_query=lambda *_: show())

    def _set_decimation(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        factor = int(number(given, 0, 1, 65536))
        if factor < 16 and factor & (factor - 1):
            raise ScpiError(-224, str(factor))
        self.recorder.decimation = factor

    def _decimation(self, *_: object) -> str:
        return str(self.recorder.decimation)

    def _set_gain(self, suffixes: tuple[int, ...], given: list[Parameter]) -> None:
        self.recorder.gains[_one(suffixes)] = choice(given, 0, *GAINS_V)

    def _gain(self, suffixes: tuple[int, ...], _: list[Parameter]) -> str:
        return self.recorder.gains[_one(suffixes)]

    def _add_board(self) -> None:
        """Register the slow pins, the clock and the name of the board."""
        add = self.add
        add("SYSTem:BRD:Name", Command("identify", on_query=lambda *_: BOARD))
        add("SYSTem:TIME", Command("configure", self._set_time, self._time("%H,%M,%S")))
        add("SYSTem:DATE", Command("configure", self._set_time, self._time("%Y,%m,%d")))
        add("DIG:RST", Command("configure", lambda *_: self._pins.clear()))
        add("ANALOG:RST", Command("configure", lambda *_: self._pins.clear()))
        add("DIG:PIN", self._pin(self._pins, _PINS, "0"))
        add("DIG:PIN:DIR", self._direction())
        add("ANALOG:PIN", self._pin(self._pins, _SLOW, "0.0"))

    def _pin(self, registers: dict[str, str], known: set[str], rest: str) -> Command:
        def on_set(_: tuple[int, ...], given: list[Parameter]) -> None:
            registers[_known(given, 0, known)] = f"{number(given, 1, 0.0, 3.3):g}"

        def on_query(_: tuple[int, ...], given: list[Parameter]) -> str:
            return registers.get(_known(given, 0, known), rest)

        return Command("switch", on_set, on_query)

    def _direction(self) -> Command:
        """``DIG:PIN:DIR OUT,DIO0_P``: the direction comes first."""

        def on_set(_: tuple[int, ...], given: list[Parameter]) -> None:
            self._directions[_known(given, 1, _PINS)] = choice(given, 0, "IN", "OUT")

        def on_query(_: tuple[int, ...], given: list[Parameter]) -> str:
            return self._directions.get(_known(given, 0, _PINS), "IN")

        return Command("configure", on_set, on_query)

    def _set_time(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        for k in range(3):
            number(given, k, 0, 9999)

    def _time(self, form: str) -> Handler:
        return lambda *_: datetime.now(UTC).strftime(form)


def _rows(suffixes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the channels that a header means; 0 is both."""
    return CHANNELS if suffixes[0] == 0 else (_one(suffixes),)


def _one(suffixes: tuple[int, ...]) -> int:
    if suffixes[0] not in CHANNELS:
        raise ScpiError(-114, f"channel {suffixes[0]}")
    return suffixes[0]


def _source(given: list[Parameter]) -> str:
    source = word(given, 0).upper()
    if source not in _SOURCES:
        raise ScpiError(-224, source[:20])
    return source


def _count(given: list[Parameter], index: int) -> int:
    return int(number(given, index, 1, BUFFER_SAMPLES))


def _known(given: list[Parameter], index: int, known: set[str]) -> str:
    pin = word(given, index).upper()
    if pin not in known:
        raise ScpiError(-224, pin[:20])
    return pin
