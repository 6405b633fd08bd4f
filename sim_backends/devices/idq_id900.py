"""Emulated ID Quantique ID900: four inputs, delays, records, time tags.

An acquisition is rendered when the driver first asks how far it is, so that a
generator started after the tagger is seen. The tags go to whoever connected a
sink to an input; how they travel from there is the business of the wire.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.faults import TAG_KINDS, FaultPlan
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

IDENTITY = ("ID Quantique", "ID900", "0000001", "2.4.0")
INPUTS = (1, 2, 3, 4)
PULSE_V = 1.0
PULSE_PS = 20_000
LONGEST_PS = 10**16
NO_ERROR, RATE_TOO_HIGH = 0, 1001
_LOST_EVERY = 100

Sink = Callable[[NDArray[np.int64]], None]
"""Takes all tags of one input, shape (n,), int64 [ps], at the end of a record."""


@dataclass(slots=True)
class _Input:
    """Registers of one input, its delay and its stream."""

    threshold_v: float = 0.5
    edge: str = "RISING"
    coupling: str = "DC"
    enabled: bool = False
    hires_error: int = NO_ERROR
    count_mode: str = "ACCU"
    count_ns: float = 1e9
    delay_ps: float = 0.0
    lost: int = 0
    sending: bool = False
    sink: Sink | None = None


class IdqId900(ScpiDevice):
    """The controller's registers and its record state.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    """

    def __init__(
        self, name: str, cables: Cables, faults: FaultPlan | None = None
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables = cables
        self._generation = 0
        self.reset()
        self._counted: dict[int, NDArray[np.int64]] | None = None
        # Tags of the record before, which a stale trigger delivers again.
        self._delivered: dict[int, NDArray[np.int64]] = {}
        self._worker: threading.Thread | None = None
        self._add_inputs()
        self._add_routes()
        self._add_record()

    def reset(self) -> None:
        """Return to the power-on state."""
        self.inputs = {n: _Input() for n in INPUTS}
        self._links = {f"RAW{n}": f"TSCO{n}" for n in INPUTS}
        self._links |= {f"TSCO{n}": f"DELA{n}" for n in INPUTS}
        self._links |= {f"DELA{n}": f"INPU{n}" for n in INPUTS}
        self._duration_ps, self._enabled = 10**12, False
        self._stop()

    def connect(self, channel: int, sink: Sink | None) -> None:
        """Send the tags of `channel` to `sink` from now on; None sends nowhere."""
        with self.lock:
            self._input((channel,)).sink = sink

    def shut_down(self) -> None:
        """Wait for a record that is being rendered."""
        if self._worker is not None:
            self._worker.join()

    def _input(self, suffixes: tuple[int, ...]) -> _Input:
        if suffixes[0] not in self.inputs:
            raise ScpiError(-114, f"channel {suffixes[0]}")
        return self.inputs[suffixes[0]]

    def _register(
        self, name: str, take: Callable[[list[Parameter]], object]
    ) -> Handler:
        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(self._input(suffixes), name, take(parameters))

        return on_set

    def _reader(self, name: str, form: str = "{}") -> Handler:
        return lambda suffixes, _: form.format(getattr(self._input(suffixes), name))

    def _both(
        self,
        pattern: str,
        name: str,
        take: Callable[[list[Parameter]], object],
        form: str = "{}",
    ) -> None:
        """Make a register of an input settable and readable."""
        command = Command(
            "configure", self._register(name, take), self._reader(name, form)
        )
        self.add(pattern, command)

    def _add_inputs(self) -> None:
        self._both("INPUt#:COUPling", "coupling", lambda p: choice(p, 0, "DC", "AC"))
        self._both("INPUt#:EDGE", "edge", lambda p: choice(p, 0, "RISING", "FALLING"))
        self._both("INPUt#:THREshold", "threshold_v", _volts, "{:+.3f}V")
        self._both("INPUt#:ENABle", "enabled", lambda p: switch(p, 0), "{:d}")
        select = Command("configure", on_set=lambda _, p: _unshaped(p))
        self.add("INPUt#:SELEct", select)
        self._both(
            "INPUt#:COUNter:MODE", "count_mode", lambda p: choice(p, 0, "ACCU", "CYCL")
        )
        self._both(
            "INPUt#:COUNter:INTEgration",
            "count_ns",
            lambda p: number(p, 0, 1.0, 1e11),
            "{:.0f}",
        )
        self.add("INPUt#:COUNter:RESEt", Command("configure", on_set=self._count_anew))
        self.add("INPUt#:COUNter", Command("fetch", on_query=self._count))
        self.add(
            "INPUt#:HIRES:ERROR",
            Command("fetch", on_query=self._reader("hires_error")),
        )
        self.add(
            "INPUt#:HIRES:ERROR:CLEAR",
            Command("arm", self._register("hires_error", lambda _: NO_ERROR)),
        )
        self._both(
            "DELAy#:VALUe", "delay_ps", lambda p: number(p, 0, 0.0, 1e6), "{:.0f}TB"
        )

    def _add_routes(self) -> None:
        for block, key in (
            ("DELAy#:LINK", "DELA"),
            ("TSCOmbiner#:FIRst:LINK", "TSCO"),
            ("RAW#:STOP:LINK", "RAW"),
        ):
            self.add(block, Command("configure", self._link_setter(key)))
        for name in ("OPIN", "OPOUt"):
            only = Command("configure", on_set=lambda _, p: _only_first(p))
            self.add(f"TSCOmbiner#:{name}", only)
        none = Command("configure", on_set=lambda _, p: _no_reference(p))
        self.add("RAW#:REF:LINK", none)
        self.add("RAW#:SEND", Command("arm", self._register("sending", _on_or_off)))
        self.add("RAW#:ERRORS", Command("fetch", on_query=self._reader("lost")))
        self.add(
            "RAW#:ERRORS:CLEAR", Command("arm", self._register("lost", lambda _: 0))
        )

    def _add_record(self) -> None:
        manual = Command("arm", on_set=lambda _, p: _check_choice(p, "MANUal", "AUTO"))
        self.add("RECord:TRIGger:ARM:MODE", manual)
        self.add("RECord:ENABle", Command("arm", on_set=self._enable))
        self.add("RECord:NUMber", Command("arm", on_set=lambda _, p: _single(p)))
        self.add("RECord:DURation", Command("arm", on_set=self._set_duration))
        self.add("RECord:STOP", Command("configure", on_set=lambda *_: self._stop()))
        self.add("RECord:PLAY", Command("start", on_set=lambda *_: self._play()))
        self.add("RECord:STAGe", Command("wait", on_query=lambda *_: self._report()))

    def _link_setter(self, key: str) -> Handler:
        def on_set(suffixes: tuple[int, ...], parameters: list[Parameter]) -> None:
            self._input(suffixes)
            source = word(parameters, 0).upper()
            if source not in self._links and not source.startswith("INPU"):
                raise ScpiError(-224, source)
            self._links[f"{key}{suffixes[0]}"] = source

        return on_set

    def _enable(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._enabled = switch(parameters, 0)

    def _set_duration(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self._duration_ps = int(number(parameters, 0, 1.0, float(LONGEST_PS)))

    def _stop(self) -> None:
        self._generation += 1
        self._stage, self._asked = "IDLE", False

    def _play(self) -> None:
        if not self._enabled:
            raise ScpiError(-221, "record is not enabled")
        self._stop()
        self._stage = "PLAYING"

    def _report(self) -> str:
        """Say how far the record is; the first question starts the rendering."""
        if self._stage == "PLAYING" and not self._asked:
            self._asked = True
            self._worker = threading.Thread(
                target=self._record,
                args=(self._generation, self._duration_ps),
                name=f"{self.name}-record",
                daemon=True,
            )
            self._worker.start()
        return self._stage

    def _record(self, generation: int, duration_ps: int) -> None:
        fired = self._cables.tags(self.name, duration_ps * 1e-12)
        with self.lock:
            if generation != self._generation:
                return
            sending = {
                n: self._tags_of(n, fired, duration_ps)
                for n, i in self.inputs.items()
                if i.sending and i.sink is not None
            }
            self._damage(sending)
            for n, tags in sending.items():
                sink = self.inputs[n].sink
                if sink is not None:
                    sink(tags)
            self._stage = "IDLE"

    def _tags_of(
        self, n: int, fired: dict[int, NDArray[np.int64]], duration_ps: int
    ) -> NDArray[np.int64]:
        """Follow the links from stream `n` back to an input, and apply its delay."""
        combiner = self._links[f"RAW{n}"]
        delay = self._links.get(combiner, "")
        source = self._links.get(delay, "")
        if not (delay.startswith("DELA") and source.startswith("INPU")):
            return np.zeros(0, dtype=np.int64)
        channel = self._input((int(source[4:]),))
        seen = fired.get(int(source[4:]), np.zeros(0, dtype=np.int64))
        if not channel.enabled or not 0.0 < channel.threshold_v < PULSE_V:
            return np.zeros(0, dtype=np.int64)
        late_ps = int(self._input((int(delay[4:]),)).delay_ps)
        late_ps += PULSE_PS if channel.edge == "FALLING" else 0
        tags = seen + late_ps if late_ps else seen
        first, last = np.searchsorted(tags, (0, duration_ps))
        return tags[first:last]

    def _damage(self, sending: dict[int, NDArray[np.int64]]) -> None:
        """Apply the fault that strikes this record, if any."""
        fresh, stale = dict(sending), self._delivered
        kind = self.faults.take_data("fetch", *TAG_KINDS, "stale-trigger")
        if kind == "stale-trigger":
            none = np.zeros(0, dtype=np.int64)
            sending.update({n: stale.get(n, none) for n in sending})
        elif kind == "wrong-channels":
            rotated = [*sending.values()][1:] + [*sending.values()][:1]
            sending.update(zip(sending, rotated, strict=True))
        elif kind is not None:
            for n, tags in sending.items():
                sending[n] = self._damaged(n, kind, tags)
        self._delivered = fresh

    def _damaged(self, n: int, kind: str, tags: NDArray[np.int64]) -> NDArray[np.int64]:
        if kind == "lost-tags":
            kept = np.delete(tags, np.s_[::_LOST_EVERY])
            self.inputs[n].lost += max(1, tags.size - kept.size)
            return kept
        if kind == "overflow":
            self.inputs[n].hires_error = RATE_TOO_HIGH
            return tags[: tags.size // 2]
        swapped = tags.copy()
        swapped[[0, -1]] = swapped[[-1, 0]]
        return swapped

    def _count_anew(self, _: tuple[int, ...], _parameters: list[Parameter]) -> None:
        self._counted = None

    def _count(self, suffixes: tuple[int, ...], _: list[Parameter]) -> str:
        channel = self._input(suffixes)
        if self._counted is None:
            self._counted = self._cables.tags(self.name, channel.count_ns * 1e-9)
        duration_ps = round(channel.count_ns * 1e3)
        n = suffixes[0]
        return str(self._tags_of(n, self._counted, duration_ps).size)


def _volts(parameters: list[Parameter]) -> float:
    """Return the first parameter as a voltage; its unit may follow it."""
    plain: list[Parameter] = [word(parameters, 0).upper().removesuffix("V")]
    return number(plain, 0, -2.0, 2.0)


def _on_or_off(parameters: list[Parameter]) -> bool:
    return switch(parameters, 0)


def _check_choice(parameters: list[Parameter], *names: str) -> None:
    choice(parameters, 0, *names)


def _unshaped(parameters: list[Parameter]) -> None:
    _check_choice(parameters, "UNSHAPED", "SHAPED")


def _only_first(parameters: list[Parameter]) -> None:
    _check_choice(parameters, "ONLYFIR")


def _no_reference(parameters: list[Parameter]) -> None:
    _check_choice(parameters, "NONE")


def _single(parameters: list[Parameter]) -> None:
    number(parameters, 0, 1.0, 1.0)
