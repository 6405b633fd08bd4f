"""Roles of the instruments that make, weaken, turn and measure light.

Like `driver.hal`: structural types in SI units, frozen settings, `configure`
returns what the device really took, and anything outside the limits is a
`RangeError` before a byte is sent. Powers are in dBm because every instrument
of these kinds states its limits so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from driver.hal import Instrument

BiasPoint = Literal["null", "peak", "quad+", "quad-"]


@dataclass(frozen=True, slots=True)
class LaserConfig:
    """Set-points of a laser; it emits only after `set_enabled`.

    Parameters
    ----------
    frequency_hz : float
        Optical frequency [Hz].
    power_dbm : float
        Output power [dBm].
    """

    frequency_hz: float
    power_dbm: float


@dataclass(frozen=True, slots=True)
class LaserReading:
    """What a laser says of itself.

    Parameters
    ----------
    is_on : bool
        Whether it emits.
    frequency_hz : float
        Optical frequency [Hz].
    power_dbm : float
        Output power [dBm]; what it is set to where it cannot be measured.
    """

    is_on: bool
    frequency_hz: float
    power_dbm: float


@dataclass(frozen=True, slots=True)
class AttenuatorConfig:
    """Set-points of a variable attenuator.

    Parameters
    ----------
    attenuation_db : float
        Attenuation [dB].
    """

    attenuation_db: float


@dataclass(frozen=True, slots=True)
class BiasConfig:
    """Set-points of a modulator's bias controller.

    Parameters
    ----------
    point : {"null", "peak", "quad+", "quad-"} or None
        Where it locks; None to hold `hold_v` without a lock.
    hold_v : float
        Voltage held without a lock [V].
    """

    point: BiasPoint | None = "null"
    hold_v: float = 0.0


@dataclass(frozen=True, slots=True)
class BiasReading:
    """What a bias controller says of its lock.

    Parameters
    ----------
    is_locked : bool
        Whether the point is reached and held.
    volts : float
        Bias voltage [V].
    """

    is_locked: bool
    volts: float


@dataclass(frozen=True, slots=True)
class PolarisationConfig:
    """Set-points of a polarisation controller.

    Parameters
    ----------
    volts : mapping of int to float
        Voltage of each of its channels, numbered from 1 [V].
    """

    volts: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PowerMeterConfig:
    """Settings of a power meter.

    Parameters
    ----------
    wavelength_m : float
        Wavelength its calibration is taken at [m].
    averages : int
        Samples averaged per reading [1].
    """

    wavelength_m: float = 1550e-9
    averages: int = 1


@dataclass(frozen=True, slots=True)
class DetectorBiasConfig:
    """Settings of the supply of superconducting detectors.

    Parameters
    ----------
    bias_a : mapping of int to float
        Bias current of each detector, numbered from 1 [A].
    trigger_level_v : mapping of int to float
        Level above which a pulse counts [V].
    """

    bias_a: Mapping[int, float]
    trigger_level_v: Mapping[int, float] = field(default_factory=dict)


@runtime_checkable
class Laser(Instrument, Protocol):
    """A tunable laser."""

    @property
    def frequency_range_hz(self) -> tuple[float, float]:
        """Lowest and highest optical frequency [Hz]."""
        ...

    @property
    def power_range_dbm(self) -> tuple[float, float]:
        """Lowest and highest output power [dBm]."""
        ...

    def configure(self, config: LaserConfig) -> LaserConfig:
        """Set frequency and power; return what the laser took.

        A laser that emits is switched off first if it can change its
        frequency only dark, and stays off.
        """
        ...

    def set_enabled(self, is_on: bool, timeout_s: float) -> None:
        """Switch the light on or off and return when it has settled.

        Raises
        ------
        InstrumentTimeout
            If it has not settled after `timeout_s` [s].
        StateError
            If it is to be switched on before it was configured.
        """
        ...

    def reading(self) -> LaserReading:
        """Return what the laser says of itself."""
        ...


@runtime_checkable
class Attenuator(Instrument, Protocol):
    """A variable optical attenuator; its safe state is the largest attenuation."""

    @property
    def attenuation_range_db(self) -> tuple[float, float]:
        """Smallest and largest attenuation [dB]."""
        ...

    def set_attenuation(self, config: AttenuatorConfig) -> AttenuatorConfig:
        """Set the attenuation, wait until it is reached, return what it took."""
        ...

    def attenuation_db(self) -> float:
        """Return the attenuation it reads [dB]."""
        ...


@runtime_checkable
class BiasController(Instrument, Protocol):
    """Holds a modulator at a point of its characteristic."""

    @property
    def hold_range_v(self) -> tuple[float, float]:
        """Lowest and highest voltage held without a lock [V]."""
        ...

    def set_bias(self, config: BiasConfig, timeout_s: float) -> BiasReading:
        """Lock to a point, or hold a voltage; return when it is reached.

        Raises
        ------
        InstrumentTimeout
            If it is not reached after `timeout_s` [s].
        """
        ...

    def bias(self) -> BiasReading:
        """Return the state of the lock."""
        ...


@runtime_checkable
class PolarisationController(Instrument, Protocol):
    """Turns the polarisation with a few voltages; its safe state is 0 V."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of its channels."""
        ...

    @property
    def volts_range(self) -> tuple[float, float]:
        """Lowest and highest voltage of every channel [V]."""
        ...

    def set_polarisation(self, config: PolarisationConfig) -> PolarisationConfig:
        """Set the voltages that are named; return those of all channels."""
        ...

    def polarisation(self) -> PolarisationConfig:
        """Return the voltages it reads."""
        ...


@runtime_checkable
class PowerMeter(Instrument, Protocol):
    """Measures optical power."""

    @property
    def wavelength_range_m(self) -> tuple[float, float]:
        """Shortest and longest wavelength of the sensor [m]."""
        ...

    def configure_meter(self, config: PowerMeterConfig) -> PowerMeterConfig:
        """Set wavelength and averaging; return what the meter took."""
        ...

    def power_w(self) -> float:
        """Return one reading [W].

        Raises
        ------
        WireProtocolError
            If it is not a finite number.
        """
        ...


@runtime_checkable
class DetectorBias(Instrument, Protocol):
    """Supplies superconducting detectors; its safe state is no current."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of its detectors."""
        ...

    @property
    def bias_range_a(self) -> tuple[float, float]:
        """Lowest and highest bias current [A]."""
        ...

    def set_detectors(self, config: DetectorBiasConfig) -> DetectorBiasConfig:
        """Set currents and trigger levels; return what the supply took."""
        ...

    def count_rates_hz(self, integration_s: float) -> dict[int, float]:
        """Return how often each detector fires [counts/s]."""
        ...
