r"""What a simulated run must find, from its ``[sim]`` settings and theory alone.

The receiver adds a known penalty to the injected excess noise:

- *residual phase*: the pilot's two-sided smoother leaves
  :math:`P = QR/\sqrt{Q^2+4QR}`; each quadrature sees
  :math:`(D^2/2 + V_A)\,P` with :math:`D^2/2 = d^2` for a displacement `d` per
  quadrature;
- *tails*: a tone's phase noise reaches into the signal band. Its density at
  offset `f` is :math:`\Delta\nu/(2\pi f^2)`, which the receiver cannot remove
  once it lies below the pilot's own noise;
- *converter*: the generator's quantisation is light like any other.

The digitiser's quantisation is in the electronic-noise record, not in `xi`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsp.phase import PhaseNoise
from dsp.pilots import pilot_filters
from dsp.settings import FrameLayout
from scqc.core.units import fibre_transmittance
from scqc.runs.cv_config import CvConfig
from scqc.runs.transmit import (
    LinkBudget,
    displacement_sqrt_snu,
    frame_layout,
    full_scale_sqrt_snu,
)
from sim_backends.settings import SimSettings

# The matched filter's noise bandwidth, in symbol rates around the centre.
_BAND = (np.arange(64) + 0.5) / 64.0 - 0.5


@dataclass(frozen=True, slots=True)
class Expected:
    """Truth of a simulated run.

    Parameters
    ----------
    transmittance : float
        [1]
    xi_injected_snu, xi_phase_snu, xi_tails_snu, xi_converter_snu : float
        Parts of the expected excess noise [SNU].
    """

    transmittance: float
    xi_injected_snu: float
    xi_phase_snu: float
    xi_tails_snu: float
    xi_converter_snu: float

    @property
    def xi_expected_snu(self) -> float:
        """Sum of all parts."""
        return (
            self.xi_injected_snu
            + self.xi_phase_snu
            + self.xi_tails_snu
            + self.xi_converter_snu
        )

    def as_dict(self) -> dict[str, float]:
        """Return all parts and the sum."""
        return {
            "transmittance": self.transmittance,
            "xi_injected_snu": self.xi_injected_snu,
            "xi_expected_snu": self.xi_expected_snu,
            "xi_phase_snu": self.xi_phase_snu,
            "xi_tails_snu": self.xi_tails_snu,
            "xi_converter_snu": self.xi_converter_snu,
        }


def true_budget(sim: SimSettings) -> LinkBudget:
    """Return the link budget of the simulated bench."""
    transmittance = _transmittance(sim)
    receiver = sim.receiver
    return LinkBudget(
        0.5 * receiver.efficiency * transmittance, 1.0 + receiver.electronic_noise_snu
    )


def expected(config: CvConfig, sim: SimSettings) -> Expected:
    """Compute the truth of a simulated run."""
    layout = frame_layout(config)
    budget = true_budget(sim)
    d = displacement_sqrt_snu(config, budget)
    noise = phase_noise(config, sim)
    strength = d * d + config.security.v_a_snu
    return Expected(
        transmittance=_transmittance(sim),
        xi_injected_snu=sim.channel.excess_noise_snu,
        xi_phase_snu=strength * noise.smoothed_rad2,
        xi_tails_snu=_tails(config, sim, layout, budget),
        xi_converter_snu=_converter(config, sim, budget),
    )


def phase_noise(config: CvConfig, sim: SimSettings) -> PhaseNoise:
    """Return Wiener step and measurement noise per hop of the pilot filter."""
    receiver, use = config.bob.receiver, config.bob.digitizer
    link = config.link
    strong, _ = pilot_filters(
        (
            receiver.beat_hz + link.pilots_hz[0],
            receiver.beat_hz + link.pilots_hz[1],
        ),
        use.rate_hz,
        receiver,
    )
    hop_s = strong.hop / use.rate_hz
    linewidth_hz = sim.laser.linewidth_hz + sim.lo.linewidth_hz
    snr = 10.0 ** (config.alice.transmitter.pilot_snr_db / 10.0)
    snr_hop = snr * hop_s * link.symbol_rate_hz
    step = max(2.0 * math.pi * linewidth_hz * hop_s, 1e-12)
    return PhaseNoise(step, 1.0 / (2.0 * snr_hop))


def _transmittance(sim: SimSettings) -> float:
    channel = sim.channel
    fibre = fibre_transmittance(channel.length_km, channel.attenuation_db_per_km)
    projection: float = math.cos(channel.polarisation_rad) ** 2
    return fibre * projection


def _tails(
    config: CvConfig, sim: SimSettings, layout: FrameLayout, budget: LinkBudget
) -> float:
    """Return the excess noise from the tones' phase-noise tails [SNU]."""
    transmitter = config.alice.transmitter
    snr = 10.0 ** (transmitter.pilot_snr_db / 10.0)
    strong = snr * 2.0 * budget.noise_snu / budget.gain
    weak = strong * 10.0 ** (transmitter.weak_pilot_db / 10.0)
    leak = 0.0
    if sim.modulator.extinction_ratio_db:
        per_sample = full_scale_sqrt_snu(config) ** 2 * 10.0 ** (
            -sim.modulator.extinction_ratio_db / 10.0
        )
        leak = per_sample * transmitter.rate_hz / layout.symbol_rate_hz
    linewidth_hz = sim.laser.linewidth_hz + sim.lo.linewidth_hz
    beat_hz, rate_hz = config.bob.receiver.beat_hz, config.bob.digitizer.rate_hz
    band_hz = beat_hz + layout.centre_hz + layout.symbol_rate_hz * _BAND
    total = 0.0
    for energy, tone_hz in (
        (strong, layout.pilots_hz[0]),
        (weak, layout.pilots_hz[1]),
        (leak, 0.0),
    ):
        received_hz = beat_hz + tone_hz
        # A real record also holds the tone's mirror image; and a sampled Wiener
        # phase has the density of all its aliases, (pi/rate)^2 / sin^2(pi f/rate).
        for offset_hz in (band_hz - received_hz, band_hz + received_hz):
            angle = np.pi * offset_hz / rate_hz
            per_hz2 = (np.pi / rate_hz) ** 2 / np.sin(angle) ** 2
            density = linewidth_hz / (2.0 * math.pi) * float(np.mean(per_hz2))
            total += 0.5 * energy * density * layout.symbol_rate_hz
    return total


def _converter(config: CvConfig, sim: SimSettings, budget: LinkBudget) -> float:
    """Return the excess noise from the generator's quantisation [SNU]."""
    transmitter = config.alice.transmitter
    full = full_scale_sqrt_snu(config)
    gain = 10.0 ** (transmitter.driver_gain_db / 20.0)
    snr = 10.0 ** (transmitter.pilot_snr_db / 10.0)
    sps = transmitter.rate_hz / config.link.symbol_rate_hz
    strong = math.sqrt(snr * 2.0 * budget.noise_snu / budget.gain / sps)
    weak = strong * 10.0 ** (transmitter.weak_pilot_db / 20.0)
    d = displacement_sqrt_snu(config, budget)
    # Six standard deviations of the modulated pulses on top of both pilots.
    pulses = math.sqrt((d * d + config.security.v_a_snu) / sps)
    peak = strong + weak + 6.0 * pulses
    slope: float = full * math.pi * gain / (2.0 * transmitter.v_pi_v)
    range_v = max(2.02 * peak / slope, 0.1)
    step_v: float = range_v / 2.0**sim.awg.bits
    noise: float = (slope * step_v) ** 2 / 12.0
    return noise
