"""Fibres between the instruments that handle light and the virtual laboratory.

An instrument that is wired to nothing changes nothing; light for which no
instrument is wired is as the settings say.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from sim_backends.optics.levers import Emission, Laser, Place

LASERS: dict[str, Laser] = {"tx.laser": "signal", "rx.laser": "lo"}
METERS: dict[str, Place] = {"tx.power": "launch", "rx.power": "receiver"}
ATTENUATOR, POLARISATION, BIAS = "tx.attenuator", "rx.polarisation", "tx.bias"
DETECTOR_BIAS = {
    f"bias.{name}": index for index, name in enumerate(("z0", "z1", "x0", "x1"))
}


@runtime_checkable
class AdjustableLight(Protocol):
    """The part of the virtual laboratory that optical instruments touch."""

    def set_laser(self, laser: Laser, emission: Emission) -> None:
        """Set what a laser emits."""
        ...

    def set_attenuation_db(self, attenuation_db: float) -> None:
        """Set the attenuator in front of the channel [dB]."""
        ...

    def set_polarisation_v(self, volts: tuple[float, ...]) -> None:
        """Set the voltages of the receiver's polarisation controller [V]."""
        ...

    def set_bias_v(self, volts: float | None) -> None:
        """Hold the modulator's bias at a voltage [V]; None locks it to its null."""
        ...

    def set_detector_bias_a(self, detector: int, amperes: float) -> None:
        """Set the bias current of a detector [A]."""
        ...

    def power_w(self, place: Place) -> float:
        """Return the mean optical power at a tap [W]."""
        ...

    def count_rate_hz(self, detector: int) -> float:
        """Return how often a detector fires now [counts/s]."""
        ...


class OpticsCables:
    """Tells by the wiring what an instrument's port does to the light.

    Parameters
    ----------
    light : object
        The virtual laboratory; one that is no `AdjustableLight` stays as it is.
    wiring : mapping of str to str
        Signal name to ``instrument:port``.
    lock : RLock
        Held while the light is touched.
    """

    def __init__(
        self, light: object, wiring: Mapping[str, str], lock: threading.RLock
    ) -> None:
        self._light = light if isinstance(light, AdjustableLight) else None
        self._signals = {port: signal for signal, port in wiring.items()}
        self._lock = lock
        for signal, laser in LASERS.items():
            if signal in wiring and self._light is not None:
                # A laser is dark until its instrument says otherwise.
                self._light.set_laser(laser, Emission(False, 0.0, 0.0))

    def set_laser(self, instrument: str, port: int, emission: Emission) -> None:
        """Set what the laser at a port emits."""
        laser = LASERS.get(self._signal(instrument, str(port)))
        if laser is not None and self._light is not None:
            with self._lock:
                self._light.set_laser(laser, emission)

    def set_attenuation(
        self, instrument: str, port: str, attenuation_db: float
    ) -> None:
        """Set an attenuator [dB]."""
        if self._signal(instrument, port) == ATTENUATOR and self._light is not None:
            with self._lock:
                self._light.set_attenuation_db(attenuation_db)

    def set_polarisation(self, instrument: str, volts: tuple[float, ...]) -> None:
        """Set all voltages of a polarisation controller [V]; its port is 1."""
        if self._signal(instrument, "1") == POLARISATION and self._light is not None:
            with self._lock:
                self._light.set_polarisation_v(volts)

    def set_bias(self, instrument: str, port: str, volts: float | None) -> None:
        """Hold a modulator's bias [V]; None is a lock to its null."""
        if self._signal(instrument, port) == BIAS and self._light is not None:
            with self._lock:
                self._light.set_bias_v(volts)

    def set_detector_bias(self, instrument: str, port: int, amperes: float) -> None:
        """Set the bias current of the detector at a port [A]."""
        detector = DETECTOR_BIAS.get(self._signal(instrument, str(port)))
        if detector is not None and self._light is not None:
            with self._lock:
                self._light.set_detector_bias_a(detector, amperes)

    def power_w(self, instrument: str, port: int) -> float:
        """Return what the power meter at a port sees; dark if it is not wired [W]."""
        place = METERS.get(self._signal(instrument, str(port)))
        if place is None or self._light is None:
            return 0.0
        with self._lock:
            return self._light.power_w(place)

    def count_rate_hz(self, instrument: str, port: int) -> float:
        """Return how often the detector at a port fires [counts/s]."""
        detector = DETECTOR_BIAS.get(self._signal(instrument, str(port)))
        if detector is None or self._light is None:
            return 0.0
        with self._lock:
            return self._light.count_rate_hz(detector)

    def _signal(self, instrument: str, port: str) -> str:
        return self._signals.get(f"{instrument}:{port}", "")
