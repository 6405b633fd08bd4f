"""A phase shifter on a channel of a waveform generator.

The generator holds a constant, so it plays nothing else, and its other channel
stays at 0 V. A phase shifter turns by pi when the voltage rises by its V_pi.
"""

from __future__ import annotations

import math

from driver.hal import (
    ArbitraryWaveformGenerator,
    AwgConfig,
    Identity,
    LevelHolder,
    Snapshot,
)
from scqc.core.errors import RangeError, StateError

# A constant needs no rate of its own; all generators have this one.
RATE_HZ = 1e9


class AwgPhaseModulator:
    """Plays role `PhaseModulator` on a generator that is open already.

    Parameters
    ----------
    generator : ArbitraryWaveformGenerator
        One that is a `LevelHolder` too.

    Raises
    ------
    StateError
        If the generator cannot hold a constant.
    """

    def __init__(self, generator: ArbitraryWaveformGenerator) -> None:
        if not isinstance(generator, LevelHolder):
            reason = "this generator cannot hold a constant on a channel"
            raise StateError(generator.name, "phase", reason)
        self.name = generator.name
        self._generator, self._holder = generator, generator
        self._levels_v: dict[int, float] = {}

    @property
    def identity(self) -> Identity:
        """Who answered when the generator was opened."""
        return self._generator.identity

    @property
    def limits_v(self) -> tuple[float, float]:
        """Lowest and highest voltage of every channel [V]."""
        half_v = 0.5 * self._generator.amplitude_range_vpp[1]
        return -half_v, half_v

    def open(self) -> Identity:
        """Open the generator."""
        return self._generator.open()

    def close(self) -> None:
        """Close the generator's link; calling it again does nothing."""
        self._generator.close()

    def ping(self) -> None:
        """Check that the generator still answers."""
        self._generator.ping()

    def safe_state(self, timeout_s: float) -> None:
        """Stop the generator and switch its outputs off, within `timeout_s` [s]."""
        self._levels_v = {}
        self._generator.safe_state(timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        return {"set_v": {str(n): volts for n, volts in self._levels_v.items()}}

    def set_voltage(self, channel: int, volts: float) -> None:
        """Hold a channel at a voltage [V]; the others stay as they are.

        Raises
        ------
        RangeError
            If the channel or the voltage is outside the limits; nothing is sent.
        """
        low_v, high_v = self.limits_v
        if channel not in (1, 2):
            raise RangeError(self.name, f"channel {channel}", "has channels 1 and 2")
        if not (math.isfinite(volts) and low_v <= volts <= high_v):
            limits = f"limits of {self.identity.model} are {low_v:g}..{high_v:g}"
            raise RangeError(self.name, f"channel {channel}: {volts:g} V", limits)
        if not self._levels_v:
            amplitude_vpp = self._generator.amplitude_range_vpp[1]
            both = {1: amplitude_vpp, 2: amplitude_vpp}
            self._generator.configure(AwgConfig(RATE_HZ, both))
        levels_v = {1: 0.0, 2: 0.0, **self._levels_v, channel: volts}
        self._holder.hold(levels_v)
        self._levels_v = levels_v

    def voltage(self, channel: int) -> float:
        """Return what a channel was set to; a generator cannot measure it [V].

        Raises
        ------
        RangeError
            If there is no such channel.
        """
        if channel not in (1, 2):
            raise RangeError(self.name, f"channel {channel}", "has channels 1 and 2")
        return self._levels_v.get(channel, 0.0)


def set_phase(
    modulator: AwgPhaseModulator, channel: int, phase_rad: float, v_pi_v: float
) -> float:
    """Turn by a phase, modulo a whole turn; return the voltage [V].

    Parameters
    ----------
    modulator : AwgPhaseModulator
    channel : int
    phase_rad : float
        Wanted phase [rad]; the equal one nearest to zero is set.
    v_pi_v : float
        Voltage that turns by pi [V].

    Raises
    ------
    RangeError
        If the voltage is outside the limits; nothing is sent.
    """
    volts = v_pi_v * math.remainder(phase_rad, 2.0 * math.pi) / math.pi
    modulator.set_voltage(channel, volts)
    return volts
