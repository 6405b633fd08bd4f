"""One TOML file for bench and simulation: the rooms' settings, composed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from driver.settings import InstrumentSettings, SafetySettings, WiringSettings
from dsp.settings import ReceiverSettings
from protocols.settings import ClassicalSettings, SecuritySettings
from scqc.core.settings import Settings
from sim_backends.settings import SimSettings


class LinkSettings(Settings):
    """What is sent: scheme, frame layout and number of bursts.

    The number of symbols of a burst follows from ``classical.frames_per_burst``
    and the code's frame length; with ``psk = "none"`` it is ``burst_symbols``.
    """

    scheme: Literal["cv-displaced-gmcs"] = "cv-displaced-gmcs"
    bursts: int = Field(default=8, ge=1, le=10_000)
    burst_symbols: int = Field(default=1_000_000, ge=2048, le=100_000_000)
    symbol_rate_hz: float = Field(default=50e6, gt=0.0)
    centre_hz: float = -55e6
    roll_off: float = Field(default=0.2, gt=0.0, le=1.0)
    pilots_hz: tuple[float, float] = (-118e6, -12e6)


class TransmitterSettings(Settings):
    """What Alice knows of her own modulator and the light she may launch."""

    rate_hz: float = Field(default=400e6, gt=0.0)
    v_pi_v: float = Field(default=3.5, gt=0.0)
    driver_gain_db: float = 11.0
    # Launch power with one arm of the modulator fully on.
    full_scale_launch_dbm: float = -23.4
    wavelength_nm: float = Field(default=1550.0, gt=0.0)
    preamble_amplitude_sqrt_snu: float = Field(default=12.0, gt=0.0)
    pilot_snr_db: float = Field(default=30.0, ge=0.0, le=80.0)
    weak_pilot_db: float = Field(default=-10.0, ge=-40.0, le=0.0)
    # First guess of the channel, until the probe burst has measured it.
    expected_transmittance: float = Field(default=0.6, gt=0.0, le=1.0)
    probe_symbols: int = Field(default=20_000, ge=2048, le=10_000_000)


class DigitizerUse(Settings):
    """How Bob uses his digitiser."""

    rate_hz: float = Field(default=400e6, gt=0.0)
    range_v: float = Field(default=0.5, gt=0.0)
    # Extra record before and after the burst.
    margin_s: float = Field(default=10e-6, gt=0.0, le=1.0)
    timeout_s: float = Field(default=30.0, gt=0.0, le=3600.0)


class AliceSettings(Settings):
    """Alice's station."""

    instruments: dict[str, InstrumentSettings]
    transmitter: TransmitterSettings = TransmitterSettings()


class BobSettings(Settings):
    """Bob's station."""

    instruments: dict[str, InstrumentSettings]
    digitizer: DigitizerUse = DigitizerUse()
    receiver: ReceiverSettings = ReceiverSettings()


class LabConfig(Settings):
    """A whole lab config.

    The same file runs on hardware and, when ``[sim]`` is present, on emulators.
    """

    schema_: Literal[1] = Field(alias="schema")
    link: LinkSettings = LinkSettings()
    classical: ClassicalSettings = ClassicalSettings()
    security: SecuritySettings = SecuritySettings()
    alice: AliceSettings
    bob: BobSettings
    wiring: WiringSettings
    safety: SafetySettings = SafetySettings()
    sim: SimSettings | None = None

    @property
    def instruments(self) -> dict[str, InstrumentSettings]:
        """All instruments of both stations."""
        return {**self.alice.instruments, **self.bob.instruments}

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        both = self.alice.instruments.keys() & self.bob.instruments.keys()
        if both:
            raise ValueError(
                f"instruments {sorted(both)} are named at both stations; names must "
                "be unique"
            )
        return self
