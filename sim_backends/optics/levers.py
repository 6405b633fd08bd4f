"""What optical instruments on the bench do to the light, relative to the settings.

Light for which no instrument is wired is as the settings say. An instrument
that is wired moves it from there: a laser set to the power and frequency of the
settings, and an attenuator at their attenuation, change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from scqc.core.units import LIGHT_SPEED_M_PER_S

Laser = Literal["signal", "lo"]
Place = Literal["launch", "receiver"]


@dataclass(frozen=True, slots=True)
class Emission:
    """What a laser emits.

    Parameters
    ----------
    is_on : bool
    power_dbm : float
        Output power [dBm].
    frequency_hz : float
        Optical frequency [Hz].
    """

    is_on: bool
    power_dbm: float
    frequency_hz: float


@dataclass(frozen=True, slots=True)
class Nominal:
    """The light that the settings describe.

    Parameters
    ----------
    power_dbm, lo_power_dbm : float
        Of the two lasers [dBm].
    wavelength_nm : float
        Of the transmitter's laser [nm].
    beat_hz : float
        How far the local oscillator is below the transmitter's laser [Hz].
    attenuation_db : float
        In front of the channel [dB].
    """

    power_dbm: float
    lo_power_dbm: float
    wavelength_nm: float
    beat_hz: float
    attenuation_db: float


@dataclass(frozen=True, slots=True)
class Levers:
    """Where the bench's optical instruments stand; None: none is wired.

    Parameters
    ----------
    signal, lo : Emission or None
    attenuation_db : float or None
        In front of the channel [dB].
    polarisation_v : float
        Sum of the voltages of the polarisation controller [V].
    bias_v : float
        Voltage at which the modulator's bias is held [V].
    bias_locked : bool
        Whether it is locked to its null instead.
    detector_bias_a : mapping of int to float
        Bias currents of photon counters that are supplied on the bench [A].
    """

    signal: Emission | None = None
    lo: Emission | None = None
    attenuation_db: float | None = None
    polarisation_v: float = 0.0
    bias_v: float = 0.0
    bias_locked: bool = False
    detector_bias_a: Mapping[int, float] = field(default_factory=dict)

    def signal_amplitude(self, nominal: Nominal) -> float:
        """Return the launched field over the one that the settings describe [1]."""
        gain_db = 0.0
        if self.signal is not None:
            if not self.signal.is_on:
                return 0.0
            gain_db += self.signal.power_dbm - nominal.power_dbm
        if self.attenuation_db is not None:
            gain_db -= self.attenuation_db - nominal.attenuation_db
        return float(10.0 ** (gain_db / 20.0))

    def lo_amplitude(self, nominal: Nominal) -> float:
        """Return the local oscillator's field over the one of the settings [1]."""
        if self.lo is None:
            return 1.0
        if not self.lo.is_on:
            return 0.0
        return float(10.0 ** ((self.lo.power_dbm - nominal.lo_power_dbm) / 20.0))

    def beat_hz(self, nominal: Nominal) -> float:
        """Return the transmitter's optical frequency less the oscillator's [Hz]."""
        if self.signal is None and self.lo is None:
            return nominal.beat_hz
        carrier_hz = LIGHT_SPEED_M_PER_S / (nominal.wavelength_nm * 1e-9)
        signal_hz = carrier_hz if self.signal is None else self.signal.frequency_hz
        if self.lo is None:
            return signal_hz - carrier_hz + nominal.beat_hz
        return signal_hz - self.lo.frequency_hz


AS_SET = Levers()
"""Nothing wired: the light of the settings."""


class AdjustableOptics:
    """A laboratory whose light instruments can move.

    Attributes
    ----------
    levers : Levers
    """

    def __init__(self) -> None:
        self.levers = AS_SET

    def set_laser(self, laser: Laser, emission: Emission) -> None:
        """Set what a laser emits; one that is never set is as in the settings."""
        if laser == "signal":
            self.levers = replace(self.levers, signal=emission)
        else:
            self.levers = replace(self.levers, lo=emission)

    def set_attenuation_db(self, attenuation_db: float) -> None:
        """Set the attenuator in front of the channel [dB]."""
        self.levers = replace(self.levers, attenuation_db=attenuation_db)

    def set_polarisation_v(self, volts: tuple[float, ...]) -> None:
        """Set the polarisation controller [V]; its squeezers turn the same way."""
        self.levers = replace(self.levers, polarisation_v=sum(volts))

    def set_bias_v(self, volts: float | None) -> None:
        """Hold the modulator's bias at a voltage [V]; None locks it to its null."""
        self.levers = replace(
            self.levers, bias_v=volts or 0.0, bias_locked=volts is None
        )

    def set_detector_bias_a(self, detector: int, amperes: float) -> None:
        """Set the bias current of a photon counter [A]."""
        currents = {**self.levers.detector_bias_a, detector: amperes}
        self.levers = replace(self.levers, detector_bias_a=currents)
