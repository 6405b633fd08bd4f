"""What a generator of two channels can do, checked before a byte is sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driver.hal import AwgConfig
from scqc.core.errors import RangeError
from scqc.core.records import Waveform

CHANNELS = (1, 2)


@dataclass(frozen=True, slots=True)
class GeneratorLimits:
    """Limits of one model.

    Parameters
    ----------
    instrument : str
        Name on the bench, for error messages.
    model : str
    rates_hz : tuple of (low, high)
        One or more ranges of the sample rate [Sa/s].
    amplitude_vpp : tuple of (low, high)
        Full scale of a channel, peak to peak [V].
    samples : tuple of (low, high)
        Length of what is played [1].
    granularity : int
        Lengths are multiples of it [1].
    """

    instrument: str
    model: str
    rates_hz: tuple[tuple[float, float], ...]
    amplitude_vpp: tuple[float, float]
    samples: tuple[int, int]
    granularity: int = 1

    def check_config(self, config: AwgConfig) -> None:
        """Check rate, channels and amplitudes.

        Raises
        ------
        RangeError
            Naming limit and model.
        """
        if not any(low <= config.rate_hz <= high for low, high in self.rates_hz):
            known = " or ".join(f"{low:g}..{high:g}" for low, high in self.rates_hz)
            raise self._error(f"rate {config.rate_hz:g} Sa/s", f"limits are {known}")
        if set(config.amplitude_vpp) != set(CHANNELS):
            raise self._error(
                f"amplitude of channels {sorted(config.amplitude_vpp)}",
                "needs channels 1 and 2",
            )
        low_vpp, high_vpp = self.amplitude_vpp
        for n, amplitude_vpp in config.amplitude_vpp.items():
            if not low_vpp <= amplitude_vpp <= high_vpp:
                raise self._error(
                    f"amplitude {n} {amplitude_vpp:g} Vpp",
                    f"limits are {low_vpp:g}..{high_vpp:g}",
                )

    def check_waveform(self, waveform: Waveform, config: AwgConfig) -> None:
        """Check shape, length, rate and voltages of a waveform.

        Raises
        ------
        RangeError
            Naming limit and model.
        """
        rows, n_samples = waveform.samples.shape
        if rows != len(CHANNELS):
            raise self._error(f"{rows} channels", "plays exactly 2")
        self.check_length(n_samples)
        if n_samples % self.granularity:
            raise self._error(
                f"{n_samples} samples", f"no multiple of {self.granularity}"
            )
        if abs(waveform.rate_hz - config.rate_hz) > 1e-9 * config.rate_hz:
            raise self._error(
                f"waveform at {waveform.rate_hz:g} Sa/s",
                f"the generator runs at {config.rate_hz:g} Sa/s",
            )
        for row, n in enumerate(CHANNELS):
            limit_v = 0.5 * config.amplitude_vpp[n]
            # float32 holds the limit itself to half a unit in the last place.
            limit_v *= 1.0 + float(np.finfo(np.float32).eps)
            samples = waveform.samples[row]
            peak_v = float(max(samples.max(), -samples.min()))
            if not peak_v <= limit_v:
                raise self._error(
                    f"channel {n}: {peak_v:g} V", f"exceeds {limit_v:g} V"
                )

    def check_length(self, n_samples: int) -> None:
        """Check the length of what is played in one go.

        Raises
        ------
        RangeError
            Naming limit and model.
        """
        shortest, longest = self.samples
        if not shortest <= n_samples <= longest:
            raise self._error(
                f"{n_samples} samples", f"limits are {shortest}..{longest}"
            )

    def _error(self, value: str, limit: str) -> RangeError:
        return RangeError(self.instrument, value, f"{self.model}: {limit}")
