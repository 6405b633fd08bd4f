"""The instruments of one bench: opened together, made safe on every exit."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import TracebackType
from typing import Any

from driver.bench_lock import BenchLock
from driver.guard import Guard, Supervision
from driver.hal import (
    ArbitraryWaveformGenerator,
    Digitizer,
    Instrument,
    OpticalSwitch,
    PhaseModulator,
    Snapshot,
    TimeTagger,
)
from driver.interlock import Interlock, Interlocked
from driver.interrupts import exit_on_signal, interrupts_held
from driver.launch import DrivenLaunch, LaunchLimit
from driver.links import make_link
from driver.making_safe import make_all_safe, safe_order
from driver.optical_switch.ttl import TtlSwitch
from driver.phase_modulator.awg_channel import AwgPhaseModulator
from driver.registry import DRIVERS, Link, SelfTesting, Tappable, make_driver
from driver.restoring import reconnect
from driver.settings import InstrumentSettings, SafetySettings
from driver.watching import watch_plan
from scqc.core.errors import (
    ConnectError,
    InstrumentError,
    StateError,
    WatchdogError,
)

_LOG = logging.getLogger("scqc.bench")


class Bench:
    """The named instruments and their wiring; a context manager.

    Entering locks all instruments for this program, opens them at the same time
    and starts the watchdog. Leaving, for whatever reason, puts every one of them
    in its safe state and closes it.

    Parameters
    ----------
    instruments : mapping of str to InstrumentSettings
    wiring : mapping of str to str
        Signal name to ``instrument:port``.
    safety : SafetySettings
    supervision : Supervision
    driven : DrivenLaunch
        What the generator's waveforms launch, for the limit of `safety`.
    tap : callable, optional
        Put between every link and its transport, to listen.
    """

    def __init__(
        self,
        instruments: Mapping[str, InstrumentSettings],
        wiring: Mapping[str, str],
        safety: SafetySettings | None = None,
        supervision: Supervision | None = None,
        driven: DrivenLaunch | None = None,
        tap: Callable[[Any], Any] | None = None,
    ) -> None:
        self._settings = dict(instruments)
        self._wiring = dict(wiring)
        self._safety = safety or SafetySettings()
        self._supervision = supervision or Supervision()
        self._launch = LaunchLimit(
            self._safety.max_launch_dbm, self._safety.insertion_db, driven
        )
        self._lock = BenchLock({n: s.resource for n, s in instruments.items()})
        self._interlock: Interlock | None = None
        self._guard: Guard | None = None
        self._instruments: dict[str, Instrument] = {}
        self._links: dict[str, Link] = {}
        self._tap = tap
        self._switches: dict[str, OpticalSwitch] = {}
        self._phases: dict[str, AwgPhaseModulator] = {}
        self._old_sigterm: Any = None
        # Nothing is closed while another thread makes it safe: it would open anew.
        self._changing = threading.Lock()
        self._check_names()

    def __enter__(self) -> Bench:
        """Open all instruments.

        Raises
        ------
        ConnectError
            If one is in use by another program, cannot be reached or is not the
            expected one. If several failed, all are listed, and the cause is the
            group of errors.
        WatchdogError
            If there is no watchdog.
        """
        self._take_sigterm()
        try:
            self._lock.acquire()
            # It starts while the instruments open.
            self._start_watchdog()
            self._open_all()
            if self._guard is not None:
                self._guard.wait_ready()
        except BaseException:
            # Also an interrupt: what is open by then must not stay lit.
            self._leave(quiet=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put every instrument in its safe state and close it."""
        self._leave(quiet=error is not None)

    @property
    def awg(self) -> ArbitraryWaveformGenerator:
        """The bench's only waveform generator."""
        instrument = self._only("awg")
        if not isinstance(instrument, ArbitraryWaveformGenerator):
            raise StateError(instrument.name, "awg", "does not play this role")
        return instrument

    @property
    def digitizer(self) -> Digitizer:
        """The bench's only digitiser."""
        instrument = self._only("digitizer")
        if not isinstance(instrument, Digitizer):
            raise StateError(instrument.name, "digitizer", "does not play this role")
        return instrument

    @property
    def tagger(self) -> TimeTagger:
        """The bench's only time tagger."""
        instrument = self._only("time-tagger")
        if not isinstance(instrument, TimeTagger):
            raise StateError(instrument.name, "time-tagger", "does not play this role")
        return instrument

    @property
    def phase_modulator(self) -> PhaseModulator:
        """The bench's only source of phase voltages."""
        instrument = self._only("phase-modulator")
        if not isinstance(instrument, PhaseModulator):
            raise StateError(instrument.name, "phase-modulator", "not this role")
        return instrument

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the open instruments."""
        return tuple(self._instruments)

    def instrument(self, name: str) -> Instrument:
        """Return the open instrument called `name`, while the bench is watched."""
        if self._guard is not None:
            self._guard.check()
        if name not in self._instruments:
            raise StateError("bench", name, "no open instrument of that name")
        return self._instruments[name]

    def resolve(self, signal_name: str) -> tuple[str, str]:
        """Return the instrument and the port that carry `signal_name`."""
        if signal_name not in self._wiring:
            raise StateError("bench", signal_name, "no such signal in [wiring]")
        name, _, port = self._wiring[signal_name].partition(":")
        return name, port

    def switch(self, signal_name: str) -> OpticalSwitch:
        """Return the shutter wired as `signal_name`, to a marker or by itself."""
        if signal_name not in self._switches:
            name, port = self.resolve(signal_name)
            wired = self.instrument(name)
            number = port.removeprefix("marker")
            if isinstance(wired, OpticalSwitch):
                self._switches[signal_name] = wired
            elif number != port and isinstance(wired, ArbitraryWaveformGenerator):
                self._switches[signal_name] = TtlSwitch(wired, int(number))
            else:
                reason = f"{name}:{port} is no switch, and no marker of a generator"
                raise StateError("bench", signal_name, reason)
        return self._switches[signal_name]

    def phase(self, signal_name: str) -> PhaseModulator:
        """Return what drives a phase shifter: a voltage source, or a generator.

        Raises
        ------
        StateError
            If neither is wired there, or the generator cannot hold a constant.
        """
        name, port = self.resolve(signal_name)
        wired = self.instrument(name)
        if isinstance(wired, PhaseModulator):
            return wired
        if not isinstance(wired, ArbitraryWaveformGenerator):
            reason = f"{name}:{port} is no voltage source, and no generator"
            raise StateError("bench", signal_name, reason)
        return self._phases.setdefault(name, AwgPhaseModulator(wired))

    def recover(self, name: str, timeout_s: float = 10.0) -> None:
        """Open an instrument anew that was lost, and set it as it was configured.

        It comes back in its safe state, with nothing loaded and nothing armed;
        its shutters are closed.

        Parameters
        ----------
        name : str
        timeout_s : float
            How long it may take until it can be reached again [s].

        Raises
        ------
        ConnectError
            If it is not back in time, or another instrument answers.
        DeviceError
            If a set-point is not what it was.
        """
        instrument = self.instrument(name)
        try:
            reconnect(instrument, timeout_s)
            self._settings[name].expect.check(name, instrument.identity)
        finally:
            # Asked for anew, a switch takes its shutter for closed.
            self._switches.clear()
            self._phases.clear()

    def self_test(self, name: str, timeout_s: float) -> bool:
        """Let an instrument test itself, within `timeout_s` [s].

        Returns
        -------
        bool
            False if it has no such test; then it has only been asked whether it
            answers.

        Raises
        ------
        DeviceError
            With what it found wrong.
        """
        if isinstance(link := self._links.get(name), SelfTesting):
            link.self_test(timeout_s)
            return True
        self.instrument(name).ping()
        return False

    def snapshot(self) -> Snapshot:
        """Return identity and settings of every instrument, as JSON values."""
        shown: Snapshot = {}
        for name, instrument in self._instruments.items():
            who = instrument.identity
            shown[name] = {
                "driver": self._settings[name].driver,
                "resource": self._settings[name].resource,
                "identity": [who.vendor, who.model, who.serial, who.firmware],
                "settings": instrument.snapshot(),
            }
        shown["wiring"] = dict(self._wiring)
        return shown

    def safe_state(self) -> list[InstrumentError]:
        """Put every open instrument in its safe state; return what failed.

        Each has its own deadline, and neither a failure nor silence stops the others.
        """
        self._switches.clear()
        self._phases.clear()
        passing = self._interlock.making_safe if self._interlock else nullcontext
        with self._changing:
            roles = {name: self._settings[name].roles for name in self._instruments}
            names = safe_order(roles, self._safety.on_exit)
            found = make_all_safe({n: self._instruments[n] for n in names}, passing)
        for name, error in found.items():
            _LOG.error("%s is not in its safe state: %s", name, error)
        return list(found.values())

    def _check_names(self) -> None:
        wanted = [(s, port.partition(":")[0]) for s, port in self._wiring.items()]
        wanted += [(a, a.partition(".")[0]) for a in self._safety.on_exit]
        for what, name in wanted:
            if name not in self._settings:
                raise StateError("bench", what, f"there is no instrument {name!r}")

    def _open_all(self) -> None:
        drivers = {n: self._driver(n, s) for n, s in self._settings.items()}
        # All are known before any is opened: a half-opened one is closed too.
        self._instruments = drivers
        failures: dict[str, InstrumentError] = {}
        with ThreadPoolExecutor(max(1, len(drivers)), "bench-open") as pool:
            opening = {n: pool.submit(d.open) for n, d in drivers.items()}
            for name, future in opening.items():
                try:
                    self._settings[name].expect.check(name, future.result())
                except InstrumentError as error:
                    failures[name] = error
        with self._changing:
            for name in failures:
                # One that did not open right is not told to do anything.
                self._instruments.pop(name).close()
        if self._guard is not None:
            # Without it nothing opens; that is the one thing to say then.
            self._guard.check()
        self._launch.attach(self._instruments, self._wiring)
        if len(failures) == 1:
            raise next(iter(failures.values()))
        if failures:
            counts = f"{len(failures)} of {len(self._settings)} failed"
            text = f"{counts}: " + "; ".join(map(str, failures.values()))
            group = ExceptionGroup("instruments", list(failures.values()))
            raise ConnectError("bench", "open", text) from group

    def _driver(self, name: str, settings: InstrumentSettings) -> Instrument:
        """Build a driver on a link that asks the interlock."""
        link = make_link(
            DRIVERS[settings.driver].link,
            name,
            settings.resource,
            open_timeout_s=settings.open_timeout_s,
            io_timeout_s=settings.io_timeout_s,
        )
        if isinstance(link, Interlocked):
            link.interlock = self._interlock
        if self._tap is not None and isinstance(link, Tappable):
            link.tap(self._tap)
        self._links[name] = link
        return make_driver(settings.driver, link, settings.commands)

    def _only(self, role: str) -> Instrument:
        names = [n for n, s in self._settings.items() if role in s.roles]
        if len(names) != 1:
            raise StateError("bench", role, f"{len(names)} instruments play this role")
        return self.instrument(names[0])

    def _start_watchdog(self) -> None:
        """Start the process that makes the station safe if this one cannot."""
        if not self._supervision.watchdog:
            return
        self._interlock = interlock = Interlock()
        plan = watch_plan(
            self._settings, self._safety, self._supervision, self._lock, interlock
        )
        self._guard = Guard(plan, interlock, self.safe_state, self._lock.handles)

    def _stop_watchdog(self) -> str | None:
        """Say goodbye to the watchdog; return why it has acted, if it has."""
        guard, interlock = self._guard, self._interlock
        self._guard = self._interlock = None
        if guard is not None:
            guard.release()
        if interlock is None:
            return None
        interlock.remove()
        return interlock.reason if interlock.is_tripped else None

    def _leave(self, *, quiet: bool) -> None:
        """Make safe and close; an interrupt meanwhile waits until that is done."""
        with interrupts_held():
            failures = self.safe_state()
            with self._changing:
                for instrument in self._instruments.values():
                    instrument.close()
                self._instruments = {}
            acted = self._stop_watchdog()
            self._lock.release()
            self._restore_sigterm()
        if acted and not quiet:
            raise WatchdogError("bench", "leave", acted)
        if len(failures) == 1 and not quiet:
            raise failures[0]
        if failures and not quiet:
            raise InstrumentError("bench", "safe state", "; ".join(map(str, failures)))

    def _take_sigterm(self) -> None:
        """Turn a request to end into an exception, so that `__exit__` runs."""
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._old_sigterm = signal.signal(signal.SIGTERM, exit_on_signal)

    def _restore_sigterm(self) -> None:
        if self._old_sigterm is not None:
            signal.signal(signal.SIGTERM, self._old_sigterm)
            self._old_sigterm = None
