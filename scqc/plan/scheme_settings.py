"""What the light carries: the two schemes, and how their keys are counted."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scqc.core.settings import Settings


class CvScheme(Settings):
    """Displaced Gaussian-modulated coherent states."""

    kind: Literal["cv"] = "cv"
    variance_unit: Literal["SNU", "N0=1/4"] = Field(
        default="SNU",
        description="convention of modulation_variance: vacuum 1, or vacuum 1/4",
    )
    modulation_variance: float = Field(
        default=4.0,
        gt=0.0,
        le=1e9,
        description="per quadrature, in variance_unit, which is set with it",
    )
    detection: Literal["homodyne", "heterodyne"] = Field(
        default="homodyne",
        description="homodyne measures one quadrature of a use, heterodyne both",
    )
    direction: Literal["reverse", "direct"] = Field(
        default="reverse", description="whose data the key is made of: Bob's or Alice's"
    )
    efficiency: float = Field(
        default=0.6, gt=0.0, le=1.0, description="of Bob's detector"
    )
    electronic_snu: float = Field(
        default=0.1, ge=0.0, le=100.0, description="per quadrature, at Bob"
    )
    trust_efficiency: bool = Field(
        default=True, description="light lost in the detector is not Eve's"
    )
    trust_electronic: bool = Field(
        default=True,
        description="noise of the detector, and of an amplifier before it "
        "(receiver_k), is not Eve's",
    )
    trust_phase: bool = Field(
        default=False, description="phase noise measured by Bob: Qi and Lim 2018"
    )
    excess_noise_snu: float = Field(
        default=0.01, ge=0.0, le=100.0, description="at the channel input"
    )
    noise_bob_snu: float = Field(
        default=0.0,
        ge=0.0,
        le=100.0,
        description="untrusted noise floor at Bob, after the efficiency: η T ξ",
    )
    phase_variance_rad2: float = Field(
        default=0.0, ge=0.0, le=1.0, description="residual, after the recovery"
    )
    psk: Literal["none", "bpsk", "qpsk"] = Field(
        default="bpsk", description="bits per use: 0, 1, 2; two need heterodyne"
    )
    target_raw_ber: float = Field(
        default=1e-6,
        gt=0.0,
        lt=0.5,
        description="that the code corrects; it sets the displacement",
    )
    outage_share: float = Field(
        default=0.5,
        ge=0.0,
        le=0.99,
        description="of a fading channel's uses, in the deepest fades, that are given "
        "up: the displacement, one for all fades, reaches target_raw_ber above them; "
        "they carry neither data nor key",
    )
    fec_rate: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="information over coded bits; 1: no code, raw errors stay",
    )
    residual_ber: float = Field(
        default=1e-3,
        gt=0.0,
        lt=0.5,
        description="most errors of data without a code: above them there is none",
    )
    classical_rate: Literal["payload", "information"] = Field(
        default="payload",
        description="payload: coded bits of the displacement; information: mutual "
        "information of the modulation, which published figures call classical rate",
    )
    displaced_axes: Literal["both", "measured"] = Field(
        default="both",
        description="measured: the one that homodyne always measures; phase noise "
        "enters in second order",
    )
    removal_gain: Literal["bin", "use"] = Field(
        default="bin",
        description="by which the displacement is taken off: of the bin, so that what "
        "fading leaves within it is excess noise; of each use, from a pilot",
    )
    gain_variance: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="of the relative amplitude of that gain: times the squared "
        "displacement it is excess noise",
    )
    beta: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="efficiency of the reconciliation; absent: measured, over the SNR",
    )
    frame_error_rate: float | None = Field(
        default=None, ge=0.0, lt=1.0, description="goes with beta"
    )
    fading: Literal["mean", "binned", "unbinned"] = Field(
        default="binned",
        description="binned by a pilot; unbinned: Var(√T) counts as excess noise; "
        "mean: as if there were none (as published)",
    )
    fading_bins: int = Field(
        default=32,
        ge=1,
        le=256,
        description="of equally many uses, each estimated by itself; what √T varies by "
        "within a bin is excess noise",
    )
    finite: Literal["ledger", "literature", "published"] = Field(
        default="ledger",
        description="ledger: what the bench uses; literature: composable rate of "
        "Pirandola 2021, corrected; published: penalty / √N",
    )
    literature_digits: int = Field(
        default=6,
        ge=1,
        le=16,
        description="of finite = literature: bits per quadrature of the key's alphabet",
    )
    published_penalty_bits: float = Field(
        default=49.0, ge=0.0, le=1e6, description="of finite = published, per √N"
    )
    epsilon: float = Field(
        default=1e-10,
        gt=0.0,
        lt=1.0,
        description="total, of a block; shared by the bins; not of finite = published",
    )
    calibration_samples: float | None = Field(
        default=None,
        ge=1e3,
        le=1e18,
        description="behind shot and electronic noise; absent: as many as symbols",
    )
    disclosed_share: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="of the symbols, sacrificed; 0: estimated after reconciliation, "
        "which finite = literature cannot",
    )

    @property
    def modulation_snu(self) -> float:
        """Modulation variance with vacuum variance 1 [SNU]."""
        scale = 4.0 if self.variance_unit == "N0=1/4" else 1.0
        return scale * self.modulation_variance

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.beta is None) != (self.frame_error_rate is None):
            raise ValueError(
                "beta and frame_error_rate are a pair: an efficiency without the "
                "frames it loses means nothing; give both or neither"
            )
        return self

    @model_validator(mode="after")
    def _axes(self) -> Self:
        if self.detection == "homodyne" and self.psk == "qpsk":
            raise ValueError(
                "psk = qpsk has a bit in either quadrature and detection = homodyne "
                "measures one: set psk=bpsk or detection=heterodyne"
            )
        if self.detection == "heterodyne" and self.displaced_axes == "measured":
            raise ValueError(
                "displaced_axes = measured leaves a quadrature that detection = "
                "heterodyne measures: set displaced_axes=both or detection=homodyne"
            )
        return self

    def check_blocks(self) -> None:
        """Refuse what finite blocks of this scheme are not counted for.

        Raises
        ------
        ValueError
            Naming the settings, and what to set in their place.
        """
        endless = "ask for endless blocks only, block_sizes=[]"
        other = f"set finite=literature with a disclosed_share, or {endless}"
        trusted = (self.trust_efficiency, self.trust_electronic)
        if self.finite == "ledger":
            if self.direction == "direct":
                raise ValueError(
                    "direction = direct: finite = ledger counts reverse reconciliation "
                    f"only, as the bench does; {other}"
                )
            if self.trust_phase or trusted[0] != trusted[1]:
                raise ValueError(
                    "trust_efficiency, trust_electronic, trust_phase = "
                    f"{trusted[0]}, {trusted[1]}, {self.trust_phase}: finite = ledger "
                    "trusts efficiency and electronic noise both or neither, and never "
                    f"the phase; {other}"
                )
        if self.finite == "literature" and self.disclosed_share == 0.0:
            raise ValueError(
                "disclosed_share = 0: finite = literature estimates from disclosed "
                f"symbols; set disclosed_share, 0.1 for instance, or {endless}"
            )


class DvScheme(Settings):
    """Weak pulses with decoy states, carrying a one-time-padded message."""

    kind: Literal["dv"] = "dv"
    signal_photons: float = Field(
        default=0.6,
        gt=0.0,
        le=5.0,
        description="mean photons per slot of signal pulses, at Alice's exit",
    )
    decoy_photons: float = Field(
        default=0.2, gt=0.0, le=5.0, description="the same of decoy pulses"
    )
    vacuum_photons: float = Field(
        default=0.0, ge=0.0, le=1.0, description="the same of slots left dark"
    )
    signal_share: float = Field(
        default=0.9, gt=0.0, lt=1.0, description="of the slots that are not public"
    )
    decoy_share: float = Field(default=0.05, gt=0.0, lt=1.0, description="the same")
    z_share: float = Field(default=0.6, gt=0.0, lt=1.0, description="of both parties")
    public_share: float = Field(
        default=0.0, ge=0.0, le=0.5, description="of the slots: clock, frame and phase"
    )
    efficiency: float = Field(default=0.2, gt=0.0, le=1.0, description="of detectors")
    in_gate_share: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="of the photons found; 0.5: an unbalanced interferometer of even "
        "arms, whose middle one of three pulses interferes",
    )
    dead_time_s: float = Field(
        default=0.0,
        ge=0.0,
        le=1e-3,
        description="of the whole receiver, two detectors, after any click, in the "
        "gate or not",
    )
    dark_yield: float = Field(
        default=2.4e-6, ge=0.0, lt=0.5, description="clicks per slot without light"
    )
    stray_yield: float = Field(
        default=1e-6,
        ge=0.0,
        lt=0.5,
        description="clicks per slot from stray light that no model here knows",
    )
    filter_nm: float = Field(
        default=1.0,
        gt=0.0,
        le=1000.0,
        description="width of the spectral filter, for skylight and Raman light",
    )
    gate_s: float = Field(
        default=1e-9, gt=0.0, le=1e-3, description="in which a slot's clicks count"
    )
    misalignment: float = Field(
        default=0.01, ge=0.0, le=0.5, description="photons at the wrong detector"
    )
    correction_efficiency: float = Field(
        default=1.16, ge=1.0, le=5.0, description="f: leak over Shannon limit"
    )
    finite: Literal["hoeffding", "chernoff", "gaussian", "published"] = Field(
        default="chernoff",
        description="published: the Chernoff form of Vasylyev 2019, appendix G",
    )
    epsilon: float = Field(
        default=1e-10,
        gt=0.0,
        lt=1.0,
        description="total; half for secrecy. published: of every statement",
    )

    @property
    def vacuum_share(self) -> float:
        """Share of slots that are left dark [1]."""
        return 1.0 - self.signal_share - self.decoy_share

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.signal_photons <= self.decoy_photons + self.vacuum_photons:
            raise ValueError(
                f"signal_photons {self.signal_photons:g} must exceed decoy + vacuum, "
                f"{self.decoy_photons + self.vacuum_photons:g}: the bounds need it"
            )
        if self.decoy_photons <= self.vacuum_photons:
            raise ValueError(
                f"decoy_photons {self.decoy_photons:g} must exceed vacuum_photons "
                f"{self.vacuum_photons:g}"
            )
        if self.vacuum_share <= 0.0:
            raise ValueError(
                f"signal_share + decoy_share = {self.signal_share + self.decoy_share:g}"
                ": must leave a share above 0 for the vacuum"
            )
        return self


SchemeSettings = Annotated[CvScheme | DvScheme, Field(discriminator="kind")]
