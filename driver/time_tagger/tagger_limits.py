"""What a time tagger can be set to, checked before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from driver.hal import TaggerConfig
from scqc.core.errors import RangeError


@dataclass(frozen=True, slots=True)
class TaggerLimits:
    """Limits of one model; each range holds the smallest and the largest value.

    Parameters
    ----------
    channels : tuple of int
        Numbers of its inputs.
    threshold_v : tuple of float
        [V].
    delay_ps : tuple of float
        [ps].
    duration_s, integration_s : tuple of float
        Of a record, and of counting [s].
    """

    channels: tuple[int, ...]
    threshold_v: tuple[float, float]
    delay_ps: tuple[float, float]
    duration_s: tuple[float, float]
    integration_s: tuple[float, float]

    def check(self, name: str, config: TaggerConfig) -> None:
        """Check all settings of the instrument called `name`.

        Raises
        ------
        RangeError
        """
        if not config.channels:
            raise RangeError(name, "no channels", "needs at least one")
        low, high = self.channels[0], self.channels[-1]
        for n, channel in config.channels.items():
            if n not in self.channels:
                raise RangeError(name, f"channel {n}", f"has channels {low} to {high}")
            if channel.edge not in ("rising", "falling"):
                raise RangeError(name, f"edge {channel.edge}", "rising or falling")
            _within(name, f"threshold {n}", channel.threshold_v, self.threshold_v, "V")
            _within(name, f"delay {n}", channel.delay_ps, self.delay_ps, "ps")

    def check_duration(self, name: str, duration_s: float) -> None:
        """Check the length of a record [s].

        Raises
        ------
        RangeError
        """
        _within(name, "duration", duration_s, self.duration_s, "s")

    def check_integration(self, name: str, integration_s: float) -> None:
        """Check for how long to count [s].

        Raises
        ------
        RangeError
        """
        _within(name, "integration time", integration_s, self.integration_s, "s")


def _within(
    name: str, what: str, value: float, limits: tuple[float, float], unit: str
) -> None:
    low, high = limits
    if not low <= value <= high:
        raise RangeError(
            name, f"{what} {value:g} {unit}", f"limits are {low:g}..{high:g}"
        )
