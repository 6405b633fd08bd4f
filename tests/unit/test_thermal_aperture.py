"""Thermal photons, what they do along a link, and radio apertures."""

import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from scqc.core.errors import ModelRangeError
from sim_backends.propagation.rf_aperture import (
    antenna_gain,
    aperture_coupling,
    friis,
    friis_ratio,
    in_near_field,
    near_field_safe,
)
from sim_backends.propagation.thermal import (
    AMBIENT_K,
    CRYOGENIC_K,
    amplifier_noise_snu,
    cascade,
    thermal_photons,
    thermal_variance_snu,
)

TEMPERATURES_K = (20e-3, 2.725, 4.0, 77.0, 296.0, 300.0)
#: GHz, then photons per mode at each temperature, as tabulated (0: below 1e-307).
PHOTONS = """
5.5 1.85446e-6 9.83167 14.6594 291.213 1120.89 1136.04
28 6.6e-30 1.56878 2.50460 56.8022 219.773 222.750
300 0 5.10016e-3 0.0281077 4.86364 20.0629 20.3406
1000 0 2.24517e-8 6.15589e-6 1.15603 5.68114 5.76431
10000 0 0 0 1.96784e-3 0.246306 0.253050
30000 0 0 0 7.575e-9 7.77883e-3 8.30437e-3
193414.489 0 0 0 4.4e-53 2.40278e-14 3.65009e-14
"""


def test_photons_as_tabulated():
    for line in PHOTONS.strip().splitlines():
        ghz, *values = line.split()
        found = thermal_photons(1e9 * float(ghz), TEMPERATURES_K)
        for value, text in zip(found, values, strict=True):
            digits = len(text.split("e")[0].replace(".", "").lstrip("0"))
            if text == "0":
                assert value < 1e-50
            else:
                assert value == pytest.approx(float(text), rel=10.0 ** (1 - digits))


def test_photons_against_40_digits_from_microwaves_to_x_rays():
    with mpmath.workdps(40):
        for f in (1.0, 1e6, 1e10, 3e11, 2e14, 1e16):
            for t in (1e-3, 2.725, 296.0, 6000.0):
                x = mpmath.mpf("6.62607015e-34") * f / (mpmath.mpf("1.380649e-23") * t)
                wanted = 1 / mpmath.expm1(x)
                found = float(thermal_photons(f, t))
                if wanted > 1e-290:
                    # The exponent x carries a rounding of its own.
                    assert abs(found / wanted - 1) < 1e-15 * max(4.0, 2.0 * float(x))
                else:
                    assert found <= 1e-290


def test_claims_of_the_optical_bands():
    hz = np.linspace(193e12, 375e12, 50)
    assert thermal_photons(hz, 298.15).max() < 1e-5
    assert thermal_photons(71e12, 296.0) == pytest.approx(1e-5, rel=0.02)
    assert thermal_photons(14.4408e9 * 4.0, 4.0) == pytest.approx(1.0, rel=1e-3)
    assert thermal_photons(1e9, 0.0) == 0.0
    assert thermal_variance_snu(300e9, 296.0) == pytest.approx(41.1257, abs=1e-4)


@pytest.mark.parametrize(
    ("f", "t"), [(0.0, 1.0), (-1.0, 1.0), (1e9, -1.0), (math.nan, 4.0)]
)
def test_unphysical_light_is_refused(f, t):
    with pytest.raises(ModelRangeError):
        thermal_photons(f, t)


def test_a_chain_of_losses_is_one_channel():
    # Variances through beam splitters, one after another.
    pieces = [(0.9, AMBIENT_K), (0.5, CRYOGENIC_K), (0.99, 77.0)]
    variance, signal = 3.7, 1.0
    for t, kelvin in pieces:
        variance = t * variance + (1 - t) * float(thermal_variance_snu(100e9, kelvin))
        signal *= t
    total, photons = cascade(100e9, pieces)
    assert total == pytest.approx(signal)
    one = total * 3.7 + (1 - total) * (2.0 * photons + 1.0)
    assert one == pytest.approx(variance, rel=1e-12)


def test_a_cold_receiver_does_not_cool_the_air():
    warm_air, cold_box = (0.999, AMBIENT_K), (1.0, CRYOGENIC_K)
    _, photons = cascade(300e9, [warm_air, cold_box])
    assert photons == pytest.approx(thermal_photons(300e9, AMBIENT_K), rel=1e-9)
    # Cold loss after it does dilute the noise.
    _, diluted = cascade(300e9, [warm_air, (0.5, CRYOGENIC_K)])
    assert diluted < 0.01 * photons


def test_no_loss_couples_to_the_last_piece():
    total, photons = cascade(300e9, [(1.0, AMBIENT_K), (1.0, CRYOGENIC_K)])
    assert total == 1.0
    assert photons == thermal_photons(300e9, CRYOGENIC_K)


@pytest.mark.parametrize("pieces", [[], [(1.1, 4.0)], [(-0.1, 4.0)], [(0.5, -1.0)]])
def test_impossible_chains_are_refused(pieces):
    with pytest.raises(ModelRangeError):
        cascade(1e11, pieces)


def test_noise_of_an_amplifier():
    # 2 kT/(hf): 20.837 GHz per kelvin, so 4.1673 SNU at 10 K and 100 GHz.
    assert amplifier_noise_snu(100e9, 10.0) == pytest.approx(4.16732, rel=1e-5)
    with pytest.raises(ModelRangeError):
        amplifier_noise_snu(100e9, -1.0)


def test_coupling_collimated_and_focused():
    # Rayleigh range of 0.15 m at 300 GHz: there the collimated spot is sqrt(2) wide,
    # and the focused one as wide as at the transmitter.
    z_r = math.pi * 0.15**2 * 300e9 / 299792458.0
    for focus, spot in (("collimated", 0.15 * math.sqrt(2.0)), ("focused", 0.15)):
        share, _ = quad(
            lambda r, w=spot: 4 * r / w**2 * math.exp(-2 * (r / w) ** 2), 0, 0.1
        )
        found = aperture_coupling(300e9, z_r, 0.15, 0.1, focus)
        assert found == pytest.approx(share, rel=1e-12)
    # Tiny shares keep their digits.
    far = aperture_coupling(300e9, 1e8 * z_r, 0.15, 1e-3, "focused")
    assert far == pytest.approx(2.0 * (1e-3 / 0.15e8) ** 2, rel=1e-12)


def test_far_away_a_focused_beam_obeys_friis():
    f, d, a = 300e9, 5e3, 0.15
    gains = (antenna_gain(f, a), math.pi * a**2 * 4 * math.pi * (f / 299792458.0) ** 2)
    ratio = friis_ratio(f, d, gains)
    focused = aperture_coupling(f, d, a, a, "focused")
    assert focused == pytest.approx(ratio, rel=ratio)
    assert friis(f, d, gains) == ratio
    assert not in_near_field(ratio)
    # Near and far, the safe form is that beam exactly, and at most one.
    for distance in (0.1, 5.0, 22.5, 100.0, 1e5):
        beam = aperture_coupling(f, distance, a, a, "focused")
        assert near_field_safe(f, distance, gains) == pytest.approx(beam, rel=1e-12)
        assert beam <= 1.0


def test_friis_above_one_is_refused():
    # At the Fresnel distance a^2/lambda of 0.15 m and 300 GHz.
    gains = (antenna_gain(300e9, 0.15), antenna_gain(300e9, 0.15))
    assert in_near_field(friis_ratio(300e9, 22.5, gains))
    with pytest.raises(
        ModelRangeError, match=r"Friis.*near field.*nearest valid value 1"
    ):
        friis(300e9, 22.5, gains)
    with pytest.raises(ModelRangeError):
        friis(300e9, 0.0, gains)


def test_microwaves_lose_little_at_arms_length():
    # 0.15 m apertures at 5.5 GHz, focused: 6e-6 dB at 0.5 m, 0.153 dB at 1 m.
    share = aperture_coupling(5.5e9, [0.5, 1.0], 0.15, 0.15, "focused")
    loss = -10.0 * np.log10(share)
    assert loss[0] == pytest.approx(6e-6, rel=0.09)
    assert loss[1] == pytest.approx(0.153, abs=5e-4)
