"""Settings of the parties: classical stream and key distillation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from protocols.security.decoy import Intensities
from scqc.core.settings import Settings


class ClassicalSettings(Settings):
    """The classical bits on the displacement.

    ``psk = "none"`` sends no displacement: plain Gaussian modulation.
    """

    psk: Literal["qpsk", "bpsk", "none"] = "qpsk"
    fec_rate: float = Field(default=0.75, ge=1 / 3, le=8 / 9)
    target_raw_ber: float = Field(default=1e-2, gt=1e-12, lt=0.2)
    frames_per_burst: int = Field(default=64, ge=1, le=100_000)
    fec_iterations: int = Field(default=30, ge=1, le=500)


class SecuritySettings(Settings):
    """Detector, estimation and key distillation."""

    v_a_snu: float = Field(default=2.0, gt=0.0, le=100.0)
    detector_efficiency: float = Field(default=0.85, gt=0.0, le=1.0)
    trusted_detector: bool = True
    # Total composable security parameter.
    epsilon: float = Field(default=1e-10, gt=1e-40, lt=1e-2)
    # Symbols whose Gaussian values Alice discloses to choose the code rate.
    disclosed_symbols: int = Field(default=80_000, ge=200)
    code_size: Literal[256, 1024, 2560] = 2560
    decoder_iterations: int = Field(default=200, ge=10, le=2000)
    # Margin on the SNR of the sample before the code rate is chosen from it.
    rate_margin_sigmas: float = Field(default=1.0, ge=0.0, le=10.0)
    threads: int = Field(default=2, ge=1, le=64)


# The bounds take the probabilities as exact, so they are those of the integers.
_INTENSITY_STEPS, _BASIS_STEPS = 1 << 16, 1 << 15


class DecoySettings(Settings):
    """Alice's pulses: how often each basis and intensity, and how bright.

    The mean photon numbers are those of a whole slot at Alice's exit. The
    vacuum share is what signal and decoy leave.
    """

    signal_photons: float = Field(default=0.58, gt=0.0, le=2.0)
    decoy_photons: float = Field(default=0.24, gt=0.0, le=2.0)
    # What still leaks when the intensity modulator is closed, as measured.
    vacuum_photons: float = Field(default=0.0005, ge=0.0, le=0.1)
    signal_share: float = Field(default=0.35, gt=0.0, lt=1.0)
    decoy_share: float = Field(default=0.45, gt=0.0, lt=1.0)
    # Share of slots in the message basis Z.
    z_share: float = Field(default=0.8, gt=0.0, lt=1.0)

    def thresholds(self) -> tuple[int, int, int]:
        """Return what random integers are compared with when slots are drawn.

        Returns
        -------
        z : int
            Below it, of 2^15, the slot is in the message basis.
        signal, bright : int
            Below it, of 2^16, the slot is a signal; a signal or a decoy.
        """
        signal = round(_INTENSITY_STEPS * self.signal_share)
        bright = signal + round(_INTENSITY_STEPS * self.decoy_share)
        return round(_BASIS_STEPS * self.z_share), signal, bright

    @property
    def intensities(self) -> Intensities:
        """Mean photon numbers, and the probabilities exactly as they are drawn."""
        _, signal, bright = self.thresholds()
        return Intensities(
            (self.signal_photons, self.decoy_photons, self.vacuum_photons),
            (
                signal / _INTENSITY_STEPS,
                (bright - signal) / _INTENSITY_STEPS,
                1.0 - bright / _INTENSITY_STEPS,
            ),
        )

    @model_validator(mode="after")
    def _ordered(self) -> DecoySettings:
        z, signal, bright = self.thresholds()
        if not 0 < signal < bright < _INTENSITY_STEPS:
            raise ValueError(
                "signal_share + decoy_share must leave a vacuum share, and none of the "
                f"three may be below 1/{_INTENSITY_STEPS}"
            )
        if not 0 < z < _BASIS_STEPS:
            raise ValueError(f"z_share: both bases need at least 1/{_BASIS_STEPS}")
        if not self.signal_photons > self.decoy_photons + self.vacuum_photons:
            raise ValueError(
                "signal_photons must exceed decoy_photons + vacuum_photons"
            )
        if not self.decoy_photons > self.vacuum_photons:
            raise ValueError("decoy_photons must exceed vacuum_photons")
        return self


class PhotonSecuritySettings(Settings):
    """Encoding, estimation and key distillation of the photon-counting scheme."""

    # "masked": payload and fresh key. "direct": payload only, never a key.
    encoding: Literal["masked", "direct"] = "masked"
    # Total composable security parameter.
    epsilon: float = Field(default=1e-10, gt=1e-40, lt=0.1)
    # "gaussian" is a heuristic and proves nothing.
    bounds: Literal["hoeffding", "chernoff", "gaussian"] = "hoeffding"
    # An error rate above this in either basis ends the run without key or message.
    max_error_rate: float = Field(default=0.08, gt=0.0, lt=0.5)
    # Most by which the efficiencies of Bob's detectors differ, as measured.
    efficiency_mismatch: float = Field(default=0.0, ge=0.0, lt=0.5)
    # "cascade" needs some 200 round trips, cannot carry a payload, and costs about
    # twice the key: the parities of both parties count.
    reconciliation: Literal["ldpc", "cascade"] = "ldpc"
    # Length of a reconciliation frame; the last block is cut to whole frames.
    frame_bits: int = Field(default=102_400, ge=8_000, le=1_000_000)
    decoder_iterations: int = Field(default=150, ge=10, le=2000)
    # Frames of the word of the direct encoding; each carries about 1 kB.
    direct_frames: int = Field(default=1, ge=1, le=10_000)
    threads: int = Field(default=2, ge=1, le=64)
