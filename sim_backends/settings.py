"""Settings of the virtual laboratory: the ``[sim]`` table of a lab config.

Every effect can be switched off by a zero. For ratios in decibel where zero
would mean the worst case (extinction, common-mode rejection, shutter isolation,
relative intensity noise), zero stands for "ideal".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from scqc.core.settings import Settings


def _ideal_or(low: float, high: float, unit: str) -> AfterValidator:
    """Accept zero (the effect is off) or a value from `low` to `high`."""

    def check(value: float) -> float:
        if value != 0.0 and not low <= value <= high:
            raise ValueError(
                f"must be 0 (off) or from {low:g} to {high:g} {unit}, got {value:g}"
            )
        return value

    return AfterValidator(check)


Rin = Annotated[float, _ideal_or(-200.0, -90.0, "dB/Hz")]
Rejection = Annotated[float, _ideal_or(10.0, 120.0, "dB")]
Bandwidth = Annotated[float, _ideal_or(1e7, 1e12, "Hz")]
Linewidth = Annotated[float, Field(ge=0.0, le=1e7)]
FaultVerb = Literal[
    "identify", "configure", "upload", "start", "arm", "wait", "fetch", "switch"
]
FaultKind = Literal[
    "drop-connection",
    "no-reply",
    "half-block",
    "cut-block",
    "slow-drip",
    "garbage",
    "wrong-identity",
    "late-reply",
    "wrong-length",
    "not-a-number",
    "not-taken",
    "reboot",
    "queue-overflow",
    "clipping",
    "dropped-samples",
    "stale-trigger",
    "lost-tags",
    "overflow",
    "out-of-order",
    "wrong-channels",
    "bad-checksum",
    "execution-error",
    "pending-forever",
    "mode-hop",
]
Transport = Literal["tcp", "hislip"]
# How long emulated instruments take to tune and to move, over real ones.
SettleScale = Annotated[float, Field(ge=0.0, le=1.0)]
Drift = Annotated[float, Field(ge=0.0, le=10.0)]
Angle = Annotated[float, Field(ge=-1.6, le=1.6)]


class LaserSettings(Settings):
    """Transmitter laser."""

    power_dbm: float = Field(default=10.0, ge=-60.0, le=30.0)
    wavelength_nm: float = Field(default=1550.0, ge=400.0, le=2500.0)
    linewidth_hz: Linewidth = 100.0
    rin_db_per_hz: Rin = -150.0


class LocalOscillatorSettings(Settings):
    """Bob's laser; its power sets how much of its own RIN the receiver sees."""

    power_dbm: float = Field(default=3.0, ge=-30.0, le=30.0)
    linewidth_hz: Linewidth = 100.0
    rin_db_per_hz: Rin = -160.0


class AwgSettings(Settings):
    """Waveform generator: converter and analogue output."""

    bits: int = Field(default=12, ge=1, le=16)
    bandwidth_hz: Bandwidth = 5e9
    skew_s: float = Field(default=2e-12, ge=-1e-8, le=1e-8)


class ModulatorSettings(Settings):
    """RF driver and IQ modulator.

    `driver_gain_db` is the voltage gain (20 log10) from generator to electrode;
    `imbalance_db` is split evenly between the arms. The arms' sine bends a strong
    pilot: its third harmonic has (a^2 / 24) of the pilot's amplitude, a being the
    electrode's peak phase pi v / (2 V_pi), and may fold into the signal band. Low
    drive with less attenuation behind keeps it down by the square.
    """

    driver_gain_db: float = Field(default=11.0, ge=-40.0, le=60.0)
    v_pi_v: float = Field(default=3.5, gt=0.0, le=100.0)
    insertion_loss_db: float = Field(default=8.0, ge=0.0, le=60.0)
    extinction_ratio_db: Rejection = 35.0
    imbalance_db: float = Field(default=0.2, ge=-6.0, le=6.0)
    quadrature_error_rad: float = Field(default=0.01745, ge=-0.8, le=0.8)
    bias_i_rad: Angle = 0.0
    bias_q_rad: Angle = 0.0
    bias_drift_rad_per_sqrt_s: Drift = 1e-4


class ChannelSettings(Settings):
    """Fibre, and the excess noise an eavesdropper or the channel adds.

    `excess_noise_snu` is referred to the channel input. It fills the band
    `noise_band_centre_hz` +- `noise_band_width_hz` / 2, given relative to the
    transmitter's carrier, flat, and falls to nothing within a further quarter
    of the half-width.
    """

    length_km: float = Field(default=10.0, ge=0.0, le=1000.0)
    attenuation_db_per_km: float = Field(default=0.2, ge=0.0, le=10.0)
    dispersion_ps_per_nm_km: float = Field(default=17.0, ge=-200.0, le=200.0)
    excess_noise_snu: float = Field(default=0.005, ge=0.0, le=100.0)
    noise_band_centre_hz: float = Field(default=-55e6, ge=-1e11, le=1e11)
    noise_band_width_hz: float = Field(default=64e6, ge=1e6, le=1e11)
    polarisation_rad: Angle = 0.0
    polarisation_drift_rad_per_sqrt_s: Drift = 1e-3
    # Turned per volt of a polarisation controller.
    polarisation_rad_per_v: float = Field(default=0.5, ge=-100.0, le=100.0)


class ReceiverSettings(Settings):
    """Balanced RF-heterodyne receiver.

    `electronic_noise_snu` is relative to the shot noise of one sample; it is
    added behind the detector's low-pass.
    """

    efficiency: float = Field(default=0.85, ge=0.0, le=1.0)
    electronic_noise_snu: float = Field(default=0.05, ge=0.0, le=100.0)
    shot_noise: bool = True
    shot_noise_v_rms: float = Field(default=5e-3, gt=0.0, le=10.0)
    bandwidth_hz: Bandwidth = 1.2e9
    cmrr_db: Rejection = 30.0
    beat_hz: float = Field(default=150e6, ge=-1e11, le=1e11)
    lo_offset_error_hz: float = Field(default=0.4e6, ge=-1e9, le=1e9)
    lo_drift_hz_per_s: float = Field(default=1e3, ge=-1e9, le=1e9)
    shutter_isolation_db: Rejection = 60.0
    start_offset_s: tuple[float, float] = (2e-6, 6e-6)

    @model_validator(mode="after")
    def _ordered_start(self) -> ReceiverSettings:
        low, high = self.start_offset_s
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(
                f"start_offset_s = [{low:g}, {high:g}]: must be rising, within 0 to 1 s"
            )
        return self


class DigitizerSettings(Settings):
    """Digitiser: converter and its own clock."""

    bits: int = Field(default=10, ge=1, le=16)
    clock_error_ppm: float = Field(default=3.0, ge=-1000.0, le=1000.0)
    clock_drift_ppm_per_s: float = Field(default=0.0, ge=-10.0, le=10.0)


class FaultSettings(Settings):
    """Something that goes wrong, `count` times, at a named point of a device.

    It strikes from the time after the first `after` on.
    """

    at: FaultVerb
    kind: FaultKind
    count: int = Field(1, ge=1, le=1_000_000)
    after: int = Field(0, ge=0, le=1_000_000)


class SimSettings(Settings):
    """The ``[sim]`` table: one seed and everything between the instruments."""

    seed: int = Field(1, ge=0, le=2**63 - 1)
    laser: LaserSettings = LaserSettings()
    lo: LocalOscillatorSettings = LocalOscillatorSettings()
    awg: AwgSettings = AwgSettings()
    modulator: ModulatorSettings = ModulatorSettings()
    attenuator_db: float = Field(default=25.4, ge=0.0, le=200.0)
    channel: ChannelSettings = ChannelSettings()
    receiver: ReceiverSettings = ReceiverSettings()
    digitizer: DigitizerSettings = DigitizerSettings()
    faults: dict[str, list[FaultSettings]] = Field(default_factory=dict)
    ports: dict[str, Annotated[int, Field(ge=0, le=65535)]] | None = None
    transports: dict[str, Transport] = Field(default_factory=dict)
    settle_scale: SettleScale = 0.02


Switch = Literal["signal", "lo"]
