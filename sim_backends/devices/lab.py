"""What stands between the emulated instruments: cables, light, one lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import ConfigError, ConfigProblem
from sim_backends.devices.optics_cables import OpticsCables
from sim_backends.optics.click_detectors import by_detector
from sim_backends.settings import Switch

DETECTORS = ("rx.z0", "rx.z1", "rx.x0", "rx.x1")
PHASE_SIGNAL = "rx.phase"
BASIS_SIGNAL = "rx.pm"


class Light(Protocol):
    """The part of the virtual laboratory that instruments touch."""

    def play(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Start a waveform.

        Parameters
        ----------
        samples_v : ndarray, shape (2, n), float32 [V]
        rate_hz : float
        """
        ...

    def stop(self) -> None:
        """End the waveform."""
        ...

    def set_level(self, switch: Switch, volts: float) -> None:
        """Drive a shutter input."""
        ...


@runtime_checkable
class RecordedLight(Light, Protocol):
    """Light on a receiver whose output voltage is digitised."""

    def record(self, n_samples: int, rate_hz: float) -> NDArray[np.float32]:
        """Return what the digitiser's input sees, shape (n,), float32 [V]."""
        ...


@runtime_checkable
class CountedLight(Light, Protocol):
    """Light on single-photon detectors behind interferometers."""

    def tags(self, duration_s: float) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return what the detectors fire in the next `duration_s` [s].

        Returns
        -------
        tuple
            Times, shape (n,), int64 [ps], in order and in the clock of the time
            tagger, and detectors, shape (n,), uint8 [1], indices into `DETECTORS`.
        """
        ...

    def play_basis(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Start the waveform of Bob's modulator.

        Parameters
        ----------
        samples_v : ndarray, shape (n,), float32 [V]
        rate_hz : float
        """
        ...

    def set_phase_v(self, volts: float) -> None:
        """Drive the phase shifter of the receiver's interferometers."""
        ...


class Cables:
    """Carries levels and triggers between devices; serialises the light.

    Parameters
    ----------
    light : Light
    wiring : mapping of str to str
        Signal name to ``instrument:port``; ``switch.*`` signals are shutters,
        `DETECTORS` lead to a time tagger and `PHASE_SIGNAL` from a voltage source.
    keep_played : bool
        Whether the codes of every waveform are kept for the truth tap.

    Attributes
    ----------
    played : list of ndarray, shape (2, n), int16 [code]
        Truth tap, for tests: what was started, in order.
    optics : OpticsCables
        For lasers, attenuators and the like.
    """

    def __init__(
        self, light: Light, wiring: Mapping[str, str], *, keep_played: bool = False
    ) -> None:
        self.light = light
        self.lock = threading.RLock()
        self.optics = OpticsCables(light, wiring, self.lock)
        self.played: list[NDArray[np.int16]] = []
        self._playing: set[str] = set()
        self._once = False
        self._keep_played = keep_played
        self._switches = _shutters(wiring)
        self._detectors = {s: wiring[s] for s in DETECTORS if s in wiring}
        self._phase_port = wiring.get(PHASE_SIGNAL)
        self._phase_generator = wiring.get(PHASE_SIGNAL, "").partition(":")
        self._holds_phase = False
        self._basis_port = wiring.get(BASIS_SIGNAL, "").partition(":")
        self._on_trigger: list[Callable[[], None]] = []
        self._changes: deque[Callable[[], None]] = deque()

    def on_trigger(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a generator's sync marker pulses."""
        self._on_trigger.append(callback)

    def set_marker(self, instrument: str, marker: int, volts: float) -> None:
        """Set the level of a marker output; a shutter wired to it moves."""
        self.set_switch(instrument, f"marker{marker}", volts)

    def set_switch(self, instrument: str, port: str, volts: float) -> None:
        """Drive the shutter that hangs on a port, if there is one."""
        switch = self._switches.get(f"{instrument}:{port}")
        if switch is not None:
            self._change(lambda: self.light.set_level(switch, volts))

    def _change(self, change: Callable[[], None]) -> None:
        """Change the light: now, or right after the exposure that is being rendered.

        No instrument waits for that: in a laboratory it would be over long since.
        """
        self._changes.append(change)
        self._catch_up()

    def _catch_up(self) -> None:
        """Make the changes that wait, unless whoever has the lock does so after."""
        while self._changes and self.lock.acquire(blocking=False):
            try:
                self._apply()
            finally:
                self.lock.release()

    def _apply(self) -> None:
        """Make the changes that wait, in their order; the lock is held."""
        while self._changes:
            self._changes.popleft()()

    @property
    def playing(self) -> bool:
        """Whether a waveform is on a generator's outputs."""
        return bool(self._playing)

    def is_playing(self, instrument: str) -> bool:
        """Return whether a waveform is on this generator's outputs."""
        if self._phase_generator[0] == instrument:
            return self._holds_phase
        return instrument in self._playing

    def play(
        self,
        instrument: str,
        codes: NDArray[np.int16],
        samples_v: NDArray[np.float32],
        rate_hz: float,
        *,
        once: bool,
    ) -> None:
        """Start a waveform; one played `once` is over after the next record.

        The generator wired to `BASIS_SIGNAL` drives Bob's modulator, one wired to
        `PHASE_SIGNAL` holds his phase shifter, any other one drives Alice's.

        Parameters
        ----------
        instrument : str
        codes : ndarray, shape (2, n), int16 [code]
        samples_v : ndarray, shape (2, n), float32 [V]
        rate_hz : float
            Sample rate [Sa/s].
        once : bool
        """
        if self._phase_generator[0] == instrument:
            self._hold_phase(samples_v)
            return
        with self.lock:
            self._apply()
            if self._keep_played:
                self.played.append(codes)
            name, _, port = self._basis_port
            if name == instrument and isinstance(self.light, CountedLight):
                self.light.play_basis(samples_v[int(port) - 1], rate_hz)
            else:
                self.light.play(samples_v, rate_hz)
            self._playing.add(instrument)
            self._once = once
        self._catch_up()

    def trigger(self) -> None:
        """Pulse the sync marker."""
        for callback in self._on_trigger:
            callback()

    def record(self, n_samples: int, rate_hz: float) -> NDArray[np.float32]:
        """Return what the digitiser's input sees, shape (n,), float32 [V]."""
        with self.lock:
            self._apply()
            if isinstance(self.light, RecordedLight):
                volts = self.light.record(n_samples, rate_hz)
            else:
                volts = np.zeros(n_samples, dtype=np.float32)
            if self._once:
                self._all_over()
        self._catch_up()
        return volts

    def tags(self, instrument: str, duration_s: float) -> dict[int, NDArray[np.int64]]:
        """Return when the inputs of a time tagger fire in the next `duration_s` [s].

        Returns
        -------
        dict of int to ndarray, shape (n_i,), int64 [ps]
            For every input that a detector is wired to, in order of time.
        """
        with self.lock:
            self._apply()
            if isinstance(self.light, CountedLight):
                times_ps, detector = self.light.tags(duration_s)
            else:
                times_ps = np.zeros(0, dtype=np.int64)
                detector = np.zeros(0, dtype=np.uint8)
            if self._once:
                self._all_over()
        self._catch_up()
        found = {}
        each = by_detector(times_ps, detector, len(DETECTORS))
        for signal, wired in self._detectors.items():
            name, _, port = wired.partition(":")
            if name == instrument:
                found[int(port)] = each[DETECTORS.index(signal)]
        return found

    def set_phase_voltage(self, instrument: str, port: int, volts: float) -> None:
        """Set an output of a voltage source; a phase shifter wired to it moves."""
        if self._phase_port == f"{instrument}:{port}":
            light = self.light
            if isinstance(light, CountedLight):
                self._change(lambda: light.set_phase_v(volts))

    def _hold_phase(self, samples_v: NDArray[np.float32]) -> None:
        """Hold the first sample of a channel; the other one leads nowhere."""
        name, _, port = self._phase_generator
        self._holds_phase = True
        self.set_phase_voltage(name, int(port), float(samples_v[int(port) - 1, 0]))

    def stop(self, instrument: str | None = None) -> None:
        """End the waveform of one generator, or of all that play one."""
        if instrument is not None and self._phase_generator[0] == instrument:
            self._holds_phase = False
            self.set_phase_voltage(instrument, int(self._phase_generator[2]), 0.0)
        elif instrument is None or self._playing <= {instrument}:
            self._playing.clear()
            self._change(self._all_over)
        else:
            self._playing.discard(instrument)

    def _all_over(self) -> None:
        """Leave no waveform on any output."""
        self.light.stop()
        self._playing.clear()
        self._once = False


def _shutters(wiring: Mapping[str, str]) -> dict[str, Switch]:
    """Return which shutter hangs on which port.

    Raises
    ------
    ConfigError
        If the laboratory has no shutter of that name.
    """
    known: dict[str, Switch] = {f"switch.{name}": name for name in get_args(Switch)}
    wired = {s: port for s, port in wiring.items() if s.startswith("switch.")}
    problems = [
        ConfigProblem("config", "wiring", s, port, f"shutters are {', '.join(known)}")
        for s, port in wired.items()
        if s not in known
    ]
    if problems:
        raise ConfigError(problems)
    return {port: known[s] for s, port in wired.items()}
