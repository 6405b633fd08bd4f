"""Settings of the parties: classical stream and key distillation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
