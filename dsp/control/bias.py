"""Hold a phase with a phase shifter of limited range."""

from __future__ import annotations

import math


class PhaseIntegrator:
    """Integrating controller that steps back by whole turns at its limits.

    Parameters
    ----------
    gain : float
        Share of a measured error that one step takes back, 0 to 1 [1].
    rad_per_v : float
        Change of the phase error per volt; its sign is that of the wiring [rad/V].
    limits_v : tuple of float
        Range of the phase shifter; wider than a turn [V].
    """

    def __init__(
        self, gain: float, rad_per_v: float, limits_v: tuple[float, float]
    ) -> None:
        self._gain, self._rad_per_v = gain, rad_per_v
        self._low_v, self._high_v = limits_v
        self.volts = 0.5 * (self._low_v + self._high_v)

    def start(self, volts: float) -> float:
        """Begin at `volts` and return it [V]."""
        self.volts = volts
        return volts

    def update(self, error_rad: float, gain: float | None = None) -> float:
        """Take a measured phase error into account; return the new setting [V].

        Parameters
        ----------
        error_rad : float
            What is to be taken back [rad].
        gain : float, optional
            Instead of the controller's own [1].
        """
        share = self._gain if gain is None else gain
        volts = self.volts - share * error_rad / self._rad_per_v
        turn_v = 2.0 * math.pi / abs(self._rad_per_v)
        if volts > self._high_v:
            volts -= turn_v * math.ceil((volts - self._high_v) / turn_v)
        if volts < self._low_v:
            volts += turn_v * math.ceil((self._low_v - volts) / turn_v)
        self.volts = volts
        return volts
