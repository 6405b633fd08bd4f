"""The lab config of the photon-counting scheme."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from driver.settings import InstrumentSettings
from dsp.time_tags.settings import DETECTORS, PulseSettings, SlotLayout, TagSettings
from protocols.settings import DecoySettings, PhotonSecuritySettings
from scqc.core.settings import Settings
from scqc.runs.bench_config import BenchConfig
from sim_backends.photon_settings import PhotonSimSettings

Scheme = Literal["dv-qsdc", "dv-decoy-bb84"]
PathDelay = Annotated[int, Field(ge=0, le=1_000_000_000)]


class PhotonLinkSettings(SlotLayout):
    """What is sent: scheme, slots, and in how many bursts and blocks.

    ``dv-decoy-bb84`` is the same without a payload. A burst is one upload and one
    acquisition; a block of bursts is distilled together.
    """

    scheme: Scheme
    blocks: int = Field(default=1, ge=1, le=1000)
    bursts: int = Field(default=20, ge=1, le=4096)
    burst_slots: int = Field(default=5_000_000, ge=1024, le=200_000_000)

    @property
    def block_slots(self) -> int:
        """Slots of a block [1]."""
        return self.bursts * self.burst_slots


class PulseTransmitterSettings(Settings):
    """What Alice knows of her own source and modulators."""

    # Mean photon number of a slot (both pulses) when the modulator is fully open.
    full_photons: float = Field(default=1.0, gt=0.0, le=100.0)
    # What the closed intensity modulator lets through, under full; 0: nothing.
    extinction_db: float = Field(default=0.0, ge=0.0, le=120.0)
    intensity_vpi_v: float = Field(default=3.5, gt=0.0)
    intensity_gain: float = Field(default=10.0, gt=0.0)
    phase_vpi_v: float = Field(default=3.5, gt=0.0)
    phase_gain: float = Field(default=10.0, gt=0.0)
    amplitude_vpp: float = Field(default=0.7, gt=0.0)
    # More than one: segments are loaded first and played in a gapless sequence.
    segments: int = Field(default=1, ge=1, le=4096)


class TaggerUse(Settings):
    """How Bob uses his time tagger."""

    threshold_v: float = Field(default=0.1, ge=-5.0, le=5.0)
    # Added by the tagger to the tags of z0, z1, x0, x1, from `scqc align`.
    delays_ps: tuple[PathDelay, PathDelay, PathDelay, PathDelay] = (0, 0, 0, 0)
    # Recorded beyond the length of a burst: the start is not known better.
    margin_s: float = Field(default=12e-3, gt=0.0, le=10.0)
    timeout_s: float = Field(default=60.0, gt=0.0, le=3600.0)
    # On a link that fades: leave out bursts in which no light is found.
    skip_dark_bursts: bool = False


class BasisSettings(Settings):
    """How Bob chooses his basis.

    ``passive``: a beam splitter and four detectors. ``active``: his phase modulator,
    driven by a generator of his own that starts with Alice's and runs on her clock,
    and two detectors.
    """

    choice: Literal["passive", "active"] = "passive"
    # Share of slots that an active choice puts in the message basis.
    z_share: float = Field(default=0.8, gt=0.0, lt=1.0)
    phase_vpi_v: float = Field(default=3.5, gt=0.0)
    phase_gain: float = Field(default=10.0, gt=0.0)
    amplitude_vpp: float = Field(default=0.7, gt=0.0)


class BiasSettings(Settings):
    """The loop that holds the phase between the two interferometers.

    It needs a phase modulator wired to ``rx.phase``; a gain of 0 leaves it alone.
    """

    gain: float = Field(default=0.0, ge=0.0, le=1.0)
    # Change of the measured phase per volt; its sign is that of the wiring.
    rad_per_v: float = Field(default=0.5, ge=-100.0, le=100.0)
    start_v: float = Field(default=30.0, ge=-1000.0, le=1000.0)
    # Wider than a whole turn, so that the loop can step back by one.
    limits_v: tuple[float, float] = (0.0, 75.0)

    @model_validator(mode="after")
    def _wide_enough(self) -> BiasSettings:
        low_v, high_v = self.limits_v
        if self.rad_per_v == 0.0:
            raise ValueError("rad_per_v = 0 turns nothing")
        turn_v = 2.0 * math.pi / abs(self.rad_per_v)
        if not high_v - low_v > turn_v or not low_v <= self.start_v <= high_v:
            raise ValueError(
                f"limits_v = [{low_v:g}, {high_v:g}] must hold start_v = "
                f"{self.start_v:g} and be wider than a turn, {turn_v:.3g} V"
            )
        return self


class PhotonAliceSettings(Settings):
    """Alice's station."""

    instruments: dict[str, InstrumentSettings]
    transmitter: PulseTransmitterSettings = PulseTransmitterSettings()


class PhotonBobSettings(Settings):
    """Bob's station."""

    instruments: dict[str, InstrumentSettings]
    tagger: TaggerUse = TaggerUse()
    receiver: TagSettings = TagSettings()
    basis: BasisSettings = BasisSettings()
    bias: BiasSettings = BiasSettings()


class PhotonConfig(BenchConfig):
    """A whole lab config of the photon-counting scheme."""

    link: PhotonLinkSettings
    decoy: DecoySettings = DecoySettings()
    security: PhotonSecuritySettings = PhotonSecuritySettings()
    alice: PhotonAliceSettings
    bob: PhotonBobSettings
    sim: PhotonSimSettings | None = None

    @property
    def instruments(self) -> dict[str, InstrumentSettings]:
        """All instruments of both stations."""
        return {**self.alice.instruments, **self.bob.instruments}

    @property
    def carries_payload(self) -> bool:
        """Whether a message goes with the key."""
        return self.link.scheme == "dv-qsdc"

    @property
    def pulses(self) -> PulseSettings:
        """What turns slot bytes into volts."""
        transmitter, decoy = self.alice.transmitter, self.decoy
        return PulseSettings(
            full_photons=transmitter.full_photons,
            mean_photons=decoy.intensities.mean_photons,
            extinction_db=transmitter.extinction_db,
            intensity_vpi_v=transmitter.intensity_vpi_v,
            intensity_gain=transmitter.intensity_gain,
            phase_vpi_v=transmitter.phase_vpi_v,
            phase_gain=transmitter.phase_gain,
            awg_limit_v=0.5 * transmitter.amplitude_vpp,
        )

    @property
    def active_basis(self) -> bool:
        """Whether Bob's modulator chooses his basis."""
        return self.bob.basis.choice == "active"

    @property
    def detectors(self) -> tuple[str, ...]:
        """Signals of Bob's detectors: both bases', or the two that serve both."""
        return DETECTORS[:2] if self.active_basis else DETECTORS

    def tag_inputs(self) -> tuple[int, ...]:
        """Return the tagger's inputs of `detectors`, from the wiring."""
        return tuple(int(self.wiring[s].partition(":")[2]) for s in self.detectors)

    @model_validator(mode="after")
    def _direct_is_no_bb84(self) -> PhotonConfig:
        if not self.carries_payload and self.security.encoding == "direct":
            raise ValueError(
                "security.encoding = 'direct' sends a payload, link.scheme = "
                f"{self.link.scheme!r} has none"
            )
        return self

    @model_validator(mode="after")
    def _cascade_carries_nothing(self) -> PhotonConfig:
        if self.carries_payload and self.security.reconciliation == "cascade":
            raise ValueError(
                "security.reconciliation = 'cascade' has no word that could carry a "
                f"payload, link.scheme = {self.link.scheme!r} sends one; take 'ldpc', "
                "or link.scheme = 'dv-decoy-bb84'"
            )
        return self
