"""Settings of photon counting: the slots, the transmitter's drive, the receiver."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from scqc.core.settings import Settings

Positive = Annotated[float, Field(gt=0.0)]
# z0, z1, x0, x1: the order of everything that is kept per detector.
DETECTORS = ("rx.z0", "rx.z1", "rx.x0", "rx.x1")


class SlotLayout(Settings):
    """What both sides know before any light: slots, frames, public slots."""

    slot_rate_hz: Positive = 250e6
    samples_per_slot: int = Field(default=4, ge=2, le=64, multiple_of=2)
    # Period of the public pattern; longer than the whole uncertainty of the delay.
    frame_slots: int = Field(default=1 << 23, ge=1 << 10, le=1 << 26)
    # One slot in so many is public.
    sync_every: int = Field(default=16, ge=2, le=256)
    sync_seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _powers_of_two(self) -> Self:
        for name in ("frame_slots", "sync_every"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(f"{name} = {value} must be a power of two")
        return self

    @property
    def slot_s(self) -> float:
        """Length of a slot [s]."""
        return 1.0 / self.slot_rate_hz

    @property
    def frame_s(self) -> float:
        """Length of a frame [s]."""
        return self.frame_slots / self.slot_rate_hz


class PulseSettings(Settings):
    """How mean photon numbers and phases become volts."""

    # Mean photon number of a slot (both pulses) when the modulator is fully open.
    full_photons: Positive = 1.0
    # Signal, decoy, vacuum.
    mean_photons: tuple[float, float, float] = (0.5, 0.1, 0.0)
    # What the closed modulator lets through, under full; 0: nothing.
    extinction_db: float = Field(default=0.0, ge=0.0, le=120.0)
    intensity_vpi_v: Positive = 3.5
    intensity_gain: Positive = 10.0
    phase_vpi_v: Positive = 3.5
    phase_gain: Positive = 10.0
    awg_limit_v: Positive = 0.35

    @model_validator(mode="after")
    def _levels_are_distinct(self) -> Self:
        signal, decoy, vacuum = self.mean_photons
        if not 0.0 <= vacuum < decoy < signal <= self.full_photons:
            raise ValueError(
                f"mean_photons {self.mean_photons} must fall from signal to vacuum and "
                f"stay within 0 and full_photons = {self.full_photons:g}"
            )
        if vacuum < self.leak * self.full_photons * (1.0 - 1e-9):
            raise ValueError(
                f"mean_photons: vacuum {vacuum:g} is below what the closed modulator "
                f"lets through, {self.leak * self.full_photons:.3g}"
            )
        return self

    @property
    def leak(self) -> float:
        """Transmission of the closed modulator, relative to open [1]."""
        return float(10.0 ** (-0.1 * self.extinction_db)) if self.extinction_db else 0.0


class TagSettings(Settings):
    """How the receiver reads the time tags of one burst."""

    # Inputs of z0, z1, x0, x1, and by how much each is late.
    inputs: tuple[int, int, int, int] = (1, 2, 3, 4)
    skew_s: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    # Half width of the time gate, as a fraction of a slot.
    gate: float = Field(default=0.2, gt=0.0, lt=0.25)
    # At least the detectors' own; acts on all of them together.
    dead_time_s: Positive = 50e-9
    # How far behind the newest tag the device may deliver one.
    sort_window_s: float = Field(default=1e-6, ge=0.0, le=1e-3)
    max_count_rate_hz: Positive = 20e6
    max_clock_error_ppm: float = Field(default=50.0, gt=0.0, le=1000.0)
    max_clock_drift_ppm_per_s: Positive = 2e-3
    # Tagger time of the centre of slot 0.
    min_delay_s: float = -10e-3
    max_delay_s: float = 10e-3
    # What an earlier burst's clock still tells: frequency, and delay if repeatable.
    prior_clock_ppm: Positive = 1.0
    prior_delay_s: float | None = Field(default=None, gt=0.0)
    check_wiring: bool = True

    @model_validator(mode="after")
    def _one_input_each(self) -> Self:
        if len(set(self.inputs)) != 4 or not all(1 <= i <= 255 for i in self.inputs):
            raise ValueError(f"inputs {self.inputs} must be four different, 1 to 255")
        if self.max_delay_s <= self.min_delay_s:
            raise ValueError("max_delay_s must be above min_delay_s")
        return self
