"""What a plan adds up, beside the same worked out here from scratch."""

import math

import numpy as np
import pytest

from protocols.security import dv_finite
from protocols.security.decoy import Intensities
from protocols.security.dv_finite import PhotonBlock, expected_ledger
from protocols.security.dv_rates import PhotonLink
from scqc.plan.make import make_plan
from scqc.plan.overrides import settings_of
from scqc.plan.passes import Flight, PassPlan

HORIZONTAL = ["channel.kind=horizontal", "pointing_rad=0", "wavelength_nm=1550"]
HORIZONTAL += ["waist_m=0.05", "aperture_radius_m=0.1"]


def arrays(name, *changes):
    (curve,) = make_plan(name, ["block_sizes=[]", *changes]).curves
    return curve.arrays


def test_the_wander_of_turbulence_takes_light():
    """Yura and Fante; the mean share of a wandering Gaussian on a round hole."""
    z, cn2, wave, waist, hole = 5000.0, 1e-14, 1550e-9, 0.05, 0.1
    found = arrays("satellite-dv", *HORIZONTAL, f"distance_m={z}", f"cn2={cn2}")
    k = 2.0 * math.pi / wave
    rho = (1.46 * k**2 * cn2 * z * 3.0 / 8.0) ** -0.6
    vacuum = waist * math.hypot(1.0, z * wave / (math.pi * waist**2))
    phi = 0.33 * (rho / waist) ** (1.0 / 3.0)
    spot = math.sqrt(
        vacuum**2 + 2.0 * (wave * z / (math.pi * rho)) ** 2 * (1.0 - phi) ** 2
    )
    # w_lt^2 - w_st^2 = 4 sigma^2, to first order in phi: 2 * 0.33 * 2 / pi^2 = 0.1337.
    deviation = math.sqrt(
        0.25 * 4.0 * 0.33 / math.pi**2 * (wave * z) ** 2 * waist ** (-1 / 3)
    ) * rho ** (-5 / 6)
    rng = np.random.default_rng(3)
    centre = deviation * rng.standard_normal((2, 200_000))
    # Light on the hole by light thrown at it: no closed form is used.
    light = centre + 0.5 * spot * rng.standard_normal(centre.shape)
    hit = np.hypot(*light) < hole
    still = 1.0 - math.exp(-2.0 * (hole / spot) ** 2)
    share = 10.0 ** (-0.1 * found["loss_pointing_db"][0]) * still
    sigma = math.sqrt(share * (1.0 - share) / hit.size)
    assert hit.mean() == pytest.approx(share, abs=5.0 * sigma)
    # Without the wander it would be far off.
    assert abs(hit.mean() - still) > 50.0 * sigma


def test_haze_goes_with_the_distance():
    """Kim: 3.912 / 23 km (1550 / 550)^-1.3, 4.343 dB per neper."""
    per_km = 4.342945 * 3.912 / 23.0 * (1550.0 / 550.0) ** -1.3
    for km in (1.0, 5.0):
        found = arrays("satellite-dv", *HORIZONTAL, f"distance_m={1e3 * km}")
        assert found["loss_haze_db"][0] == pytest.approx(km * per_km, rel=1e-6)


def test_friis_and_beams_agree_far_away():
    """Far away a small hole sees the peak of the beam: the gain of a Gaussian."""
    place = ["distance_m=2e5", "frequency_hz=3e11", "medium=vacuum", "focused=false"]
    ways = [
        arrays("thz-indoor", *place, f"coupling={how}")["loss_diffraction_db"][0]
        for how in ("gaussian", "friis", "friis-saturated")
    ]
    assert max(ways) - min(ways) < 1e-3
    wave = 299792458.0 / 3e11
    spot = 2e5 * wave / (math.pi * 0.15)
    assert ways[0] == pytest.approx(-10.0 * math.log10(2.0 * (0.15 / spot) ** 2), 1e-4)


def test_padded_bits_are_sifted_at_both_ends():
    """Both must choose the key basis: z^2, and no bit without a click."""
    found = {
        z: arrays("fiber-decoy", "length_km=10", f"z_share={z}") for z in (0.5, 0.8)
    }
    payload = [f["payload_bits_per_use"][0] for f in found.values()]
    assert payload[1] / payload[0] == pytest.approx((0.8 / 0.5) ** 2)
    for z, one in found.items():
        assert payload[0] < z**2 * one["gain_signal"][0]


def test_a_payload_drains_the_pad_that_the_key_refills():
    """Two decoys, vacuum known: Ma et al. 2005, with f = 1.05 and 0.6, 0.2 photons."""
    published = arrays("review-fig2", "altitude_km=400", "pointing_rad=0")
    through = 0.2 * published["transmittance"][0]
    dark, wrong = 2e-4 + 2.4e-6 - 2e-4 * 2.4e-6, 0.01

    def gain(photons):
        return 1.0 - (1.0 - dark) * math.exp(-through * photons)

    def errors(photons):
        lit = (1.0 - dark) * -math.expm1(-through * photons)
        return 0.5 * dark + wrong * lit

    def entropy(p):
        return -p * math.log2(p) - (1.0 - p) * math.log2(1.0 - p)

    more, less = gain(0.6) * math.exp(0.6), gain(0.2) * math.exp(0.2)
    single = 0.6 / (0.6 * 0.2 - 0.04) * (less - more / 9.0 - dark * 8.0 / 9.0)
    flipped = (errors(0.2) * math.exp(0.2) - 0.5 * dark) / (single * 0.2)
    found = single * 0.6 * math.exp(-0.6) * (1.0 - entropy(flipped))
    corrected = 1.05 * gain(0.6) * entropy(errors(0.6) / gain(0.6))
    expected = (found - corrected) / (gain(0.6) - corrected)
    assert published["refill_share"][0] == pytest.approx(expected, rel=1e-6)
    # More is spent than is given back.
    assert 0.0 < expected < 1.0
    assert "refill_share" not in arrays("fiber-metro", "length_km=5")


def test_the_bases_of_a_block_are_matched_at_both_ends(monkeypatch):
    """Of n slots n z^2 are key and n (1 - z)^2 check; the rest do not match."""
    told = []
    counts = dv_finite.expected_counts

    def listen(rates, intensities, slots):
        told.append(slots)
        return counts(rates, intensities, slots)

    monkeypatch.setattr(dv_finite, "expected_counts", listen)
    link = PhotonLink(np.array(0.1), 1e-6, 0.01)
    sent = Intensities((0.6, 0.2, 0.0), (0.8, 0.1, 0.1))
    expected_ledger(link, sent, PhotonBlock(slots=1e9, key_basis=0.7))
    assert told == pytest.approx([0.49e9, 0.09e9])


def test_a_pass_is_as_long_as_the_satellite_is_far():
    """The channel rebuilds the height from range and elevation, and the range again."""
    settings, _, _ = settings_of("pass-dv", [])
    assert isinstance(settings, PassPlan)
    elevation = np.radians([10.0, 30.0, 60.0, 89.0])
    range_m = np.array([1700e3, 900e3, 560e3, 500e3])
    channel = settings._channel(Flight(elevation, range_m, 0.0 * elevation, 50.0))
    np.testing.assert_allclose(channel.extra["slant_km"], 1e-3 * range_m, rtol=1e-9)
