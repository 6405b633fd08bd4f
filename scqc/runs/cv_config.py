"""The lab config of the continuous-variable scheme."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from driver.settings import InstrumentSettings
from dsp.settings import ReceiverSettings
from protocols.settings import ClassicalSettings, SecuritySettings
from scqc.core.settings import Settings
from scqc.runs.bench_config import BenchConfig
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
    # By how much the path of tx.q is longer than that of tx.i, from `scqc align`.
    iq_skew_s: float = Field(default=0.0, ge=-1e-8, le=1e-8)


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


class CvConfig(BenchConfig):
    """A whole lab config of the continuous-variable scheme."""

    link: LinkSettings = LinkSettings()
    classical: ClassicalSettings = ClassicalSettings()
    security: SecuritySettings = SecuritySettings()
    alice: AliceSettings
    bob: BobSettings
    sim: SimSettings | None = None

    @property
    def instruments(self) -> dict[str, InstrumentSettings]:
        """All instruments of both stations."""
        return {**self.alice.instruments, **self.bob.instruments}

    @property
    def carries_payload(self) -> bool:
        """Whether a payload goes with the key."""
        return self.classical.psk != "none"
