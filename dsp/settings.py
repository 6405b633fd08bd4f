"""Settings of the signal processing: the frame layout and the receiver.

A frame layout is data: the same receiver reads our own frames and frames that
other programs made. All frequencies are in the transmitter's base band, that
is relative to the carrier of the transmitting laser.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scqc.core.settings import Settings

Positive = Annotated[float, Field(gt=0.0)]


class ZadoffChuPreamble(Settings):
    """A Zadoff-Chu sequence played sample by sample around the carrier."""

    kind: Literal["zadoff-chu"] = "zadoff-chu"
    root: int = Field(default=5, ge=1)
    length: int = Field(default=3989, ge=31, le=1 << 20)
    rate_hz: Positive = 500e6
    # Time from the preamble's first sample to the centre of the first symbol.
    first_symbol_s: Positive = 7.982e-6
    # Whether the pilots already run while the preamble is sent.
    pilots_on: bool = False

    @property
    def duration_s(self) -> float:
        """Length of the preamble [s]."""
        return self.length / self.rate_hz


class QpskPreamble(Settings):
    """Known QPSK symbols before the data, on the same pulse and symbol clock."""

    kind: Literal["qpsk"] = "qpsk"
    symbols: int = Field(default=4096, ge=64, le=1 << 16)
    seed: int = Field(default=1, ge=0)
    # Amplitude per quadrature [sqrt(SNU)] at the channel input.
    amplitude_sqrt_snu: Positive = 12.0


class FrameLayout(Settings):
    """What one burst of light looks like."""

    symbol_rate_hz: Positive = 50e6
    centre_hz: float = -55e6
    roll_off: float = Field(default=0.2, gt=0.0, le=1.0)
    # Strong pilot (phase) first, then the pilot that gives the clock.
    pilots_hz: tuple[float, float] = (-118e6, -12e6)
    symbols: int = Field(default=1_000_000, ge=256)
    preamble: ZadoffChuPreamble | QpskPreamble = Field(
        default=QpskPreamble(), discriminator="kind"
    )

    @model_validator(mode="after")
    def _pilots_outside_the_signal(self) -> Self:
        half_hz = 0.5 * self.symbol_rate_hz * (1.0 + self.roll_off)
        for pilot_hz in self.pilots_hz:
            if abs(pilot_hz - self.centre_hz) < half_hz:
                raise ValueError(
                    f"pilot at {pilot_hz:g} Hz lies inside the signal band "
                    f"{self.centre_hz - half_hz:g} to {self.centre_hz + half_hz:g} Hz"
                )
        if self.pilots_hz[0] == self.pilots_hz[1]:
            raise ValueError("the two pilots must differ in frequency")
        return self


class ReceiverSettings(Settings):
    """How the receiver reads a burst."""

    # Expected beat between transmitting laser and local oscillator.
    beat_hz: float = 150e6
    beat_search_hz: Positive = 3e6
    # One-sided bandwidth kept around each pilot, and whether the weak one's
    # phase joins the strong one's (only where its neighbourhood is clean).
    pilot_bandwidth_hz: Positive = 8e6
    combine_pilots: bool = False
    clock_search_ppm: Positive = 100.0
    matched_span_symbols: int = Field(default=32, ge=8, le=128)
    acquisition_samples: int = Field(default=1 << 18, ge=1 << 12, le=1 << 24)
    # Smallest ratio of the preamble's correlation peak to the mean that counts.
    sync_threshold: float = Field(default=8.0, gt=1.0)
    min_pilot_snr_db: float = 6.0
    # Let the decoded displacement help a weak pilot; slower, no gain above 20 dB.
    decision_directed: bool = False
    cancellation_taps: int = Field(default=13, ge=1, le=65)
