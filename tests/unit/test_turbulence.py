"""Turbulence: integrals, spreading and wander beside slow ones and quoted values."""

import math

import numpy as np
import pytest
from scipy import integrate

from scqc.core.errors import ModelRangeError
from sim_backends.propagation import spreading, turbulence
from sim_backends.propagation.beam import Transmitter
from sim_backends.propagation.geometry import EARTH_RADIUS_M
from sim_backends.propagation.spreading import (
    pointing_variance_m2,
    spot_m,
    wander_variance_m2,
)
from sim_backends.propagation.turbulence import (
    HV_57,
    HV_DAY,
    HufnagelValley,
    TabulatedProfile,
    fried_m,
    horizontal_path,
    isoplanatic_rad,
    rytov_variance,
    slant_path,
    spherical_coherence_m,
    weak,
)

STEEP = math.radians(80.0)
ANGLES = np.radians([0.0, 60.0, 80.0])


def test_hufnagel_valley_5_7():
    path = slant_path(HV_57, 0.0, 500e3)
    # 2.23539e-12 m^(1/3); at 500 nm the 5 (cm) and the 7 (urad) of its name.
    assert path.moment(0.0) == pytest.approx(2.23539e-12, rel=3e-6)
    assert fried_m(path, 500e-9) == pytest.approx(0.0496057, rel=1e-5)
    assert isoplanatic_rad(path, 500e-9) == pytest.approx(6.89464e-6, rel=1e-5)


@pytest.mark.parametrize(
    ("wavelength_m", "fried", "rytov"),
    [
        (800e-9, [0.08719, 0.05753, 0.03050], [0.1359, 0.4842, 3.366]),
        (1550e-9, [0.19283, 0.12722, 0.06745], [0.0628, 0.2238, 1.556]),
    ],
)
def test_quoted_values_under_a_flat_sky(wavelength_m, fried, rytov):
    path = slant_path(HV_57, ANGLES, 500e3, flat=True)
    assert fried_m(path, wavelength_m) == pytest.approx(fried, abs=6e-6)
    assert rytov_variance(path, wavelength_m) == pytest.approx(rytov, rel=5e-4)


def test_curved_paths_are_a_little_shorter():
    # Reference: Rytov variance 3.2 to 3.4 at night and 14.5 to 15.5 by day, at 80
    # degrees and 800 nm, the lower end with curvature.
    night, day = (slant_path(profile, STEEP, 500e3) for profile in (HV_57, HV_DAY))
    assert 3.195 < rytov_variance(night, 800e-9) < 3.366
    assert 14.4 < rytov_variance(day, 800e-9) < 15.5
    assert rytov_variance(
        slant_path(HV_57, 0.0, 500e3, flat=True), 8e-7
    ) == pytest.approx(float(rytov_variance(slant_path(HV_57, 0.0, 500e3), 8e-7)))


@pytest.mark.parametrize("power", [0.0, 5 / 6, 5 / 3])
def test_moments_beside_a_slow_integral(power):
    path = slant_path(HV_57, STEEP, 18e3, 800.0)
    near = EARTH_RADIUS_M + 800.0

    def strength(y_m):
        radius = math.sqrt(near**2 + y_m**2 + 2 * near * y_m * math.cos(STEEP))
        return float(HV_57.cn2(radius - EARTH_RADIUS_M)) * y_m**power

    end_m = float(path.length_m)
    cuts = np.geomspace(1.0, end_m, 12)
    parts = [
        integrate.quad(strength, a, b, epsrel=1e-11)[0]
        for a, b in zip([0.0, *cuts[:-1]], cuts, strict=True)
    ]
    assert path.moment(power) == pytest.approx(sum(parts), rel=1e-7)


def test_level_paths_have_closed_forms():
    cn2, z_m, wave_m = 2e-15, np.array([500.0, 3e3]), 1550e-9
    path, k = horizontal_path(cn2, z_m), 2 * math.pi / wave_m
    rytov = 2.25 * 6 / 11 * cn2 * k ** (7 / 6) * z_m ** (11 / 6)
    assert rytov_variance(path, wave_m) == pytest.approx(rytov, rel=1e-10)
    # The 1.23 of the books.
    assert pytest.approx(1.23, abs=0.005) == 2.25 * 6 / 11
    assert fried_m(path, wave_m) == pytest.approx((0.423 * k**2 * cn2 * z_m) ** -0.6)
    spherical = (1.46 * k**2 * cn2 * z_m * 3 / 8) ** -0.6
    for direction in ("uplink", "downlink"):
        rho_m = spherical_coherence_m(path, wave_m, direction)
        assert rho_m == pytest.approx(spherical, rel=1e-7)


def test_tables_are_exponential_between_rows():
    rows_m = tuple(np.linspace(0.0, 20e3, 6))
    table = TabulatedProfile(rows_m, tuple(1e-15 * np.exp(-np.array(rows_m) / 3e3)))
    want = 1e-15 * 3e3 * (math.exp(-1 / 3) - math.exp(-20 / 3))
    assert slant_path(table, 0.0, 5e5, 1e3).moment(0.0) == pytest.approx(want)
    for profile in (
        lambda: TabulatedProfile((0.0, 1.0, 1.0), (1e-15,) * 3),
        lambda: TabulatedProfile((0.0, 1.0), (1e-15, 0.0)),
        lambda: TabulatedProfile((0.0, 1.0), (1e-15,)),
        lambda: table.cn2(21e3),
        lambda: slant_path(table, 0.0, 5e5, 20e3),
        lambda: HufnagelValley(wind_m_per_s=-1.0),
        lambda: horizontal_path(-1e-15, 1e3),
    ):
        with pytest.raises(ModelRangeError):
            profile()


def test_strong_turbulence_is_refused_where_weak_is_assumed():
    strong = rytov_variance(slant_path(HV_57, STEEP, 500e3), 800e-9)
    with pytest.raises(ModelRangeError, match="weak turbulence") as caught:
        weak(strong)
    assert caught.value.nearest == 1.0
    assert weak(0.3) == 0.3
    with pytest.raises(ModelRangeError, match="zenith"):
        slant_path(HV_57, math.radians(85.0), 5e5, flat=True)


def test_a_downlink_is_hardly_spread():
    # Reference: rho0 = 2.0 m and w + 1 % at 80 degrees, 800 nm, w0 = 20 cm.
    sender, path = Transmitter(0.2, 800e-9), slant_path(HV_57, STEEP, 500e3)
    rho_m = spherical_coherence_m(path, 800e-9, "downlink")
    assert rho_m == pytest.approx(2.0, abs=0.01)
    vacuum_m = spot_m(sender, path, "downlink", "vacuum")
    assert vacuum_m == pytest.approx(float(sender.spot_m(path.length_m)))
    long_m = spot_m(sender, path, "downlink", "fante-yura-long")
    assert long_m / vacuum_m == pytest.approx(1.01, abs=0.001)
    short_m = spot_m(sender, path, "downlink", "fante-yura-short")
    assert vacuum_m < short_m < long_m


def test_the_weight_the_wrong_way_round_would_show(monkeypatch):
    # A mutant: turbulence at the receiver given the lever of turbulence at the sender.
    monkeypatch.setattr(turbulence, "is_down", lambda direction: False)
    sender, path = Transmitter(0.2, 800e-9), slant_path(HV_57, STEEP, 500e3)
    assert spherical_coherence_m(path, 800e-9, "downlink") == pytest.approx(
        0.015, abs=0.001
    )
    absurd_m = spot_m(sender, path, "downlink", "fante-yura-long")
    assert absurd_m == pytest.approx(41.0, abs=1.5)


def test_spreading_by_andrews_and_phillips():
    sender, path = Transmitter(0.2, 800e-9), slant_path(HV_57, STEEP, 500e3)
    w2 = float(sender.spot_m(path.length_m)) ** 2
    term = 1.63 * 20.4**1.2 * 2 * float(path.length_m) * 800e-9 / (2 * math.pi)
    spread_m = spot_m(sender, path, "downlink", "andrews-phillips", 20.4)
    assert spread_m == pytest.approx(math.sqrt(w2 + term))


def test_short_spot_and_wander_make_the_long_spot():
    # phi << 1 is where Yura's form holds: then w_lt^2 = w_st^2 + 4 s^2.
    sender = Transmitter(1.0, 800e-9)
    path = horizontal_path(1e-12, 1e4)
    long_m = spot_m(sender, path, "uplink", "fante-yura-long")
    short_m = spot_m(sender, path, "uplink", "fante-yura-short")
    wander_m2 = wander_variance_m2(sender, path, "uplink", "fante-yura")
    phi = 0.33 * np.cbrt(spherical_coherence_m(path, 800e-9, "uplink"))
    # The wander keeps the first order: 2 phi instead of 2 phi - phi^2.
    assert (long_m**2 - short_m**2) / (4 * wander_m2) == pytest.approx(
        1 - phi / 2, rel=2e-3
    )
    published_m2 = wander_variance_m2(sender, path, "uplink", "as-published")
    assert published_m2 == pytest.approx(4 * wander_m2)
    assert wander_variance_m2(sender, path, "uplink", "none") == 0.0


def test_very_coherent_beams_only_tilt():
    sender, path = Transmitter(0.01, 1550e-9), horizontal_path(1e-18, 1e3)
    assert spherical_coherence_m(path, 1550e-9, "uplink") > 28 * 0.01
    assert spot_m(sender, path, "uplink", "fante-yura-short") == pytest.approx(
        float(sender.spot_m(1e3)), rel=1e-14
    )


def test_the_geometric_wander_is_the_tilt_of_a_gaussian_spot():
    # 2 pi int d^2k k^2 0.033 k^(-11/3) exp(-k^2 w^2 / 4), half of it per axis.
    def integrand(log_kappa):
        kappa = math.exp(log_kappa)
        return kappa ** (3 - 11 / 3) * math.exp(-(kappa**2) / 4) * kappa

    whole = integrate.quad(integrand, -80.0, 4.0, epsabs=0, epsrel=1e-9, limit=200)[0]
    per_axis = 0.5 * (2 * math.pi) ** 2 * 0.033 * whole
    assert pytest.approx(per_axis, rel=1e-6) == spreading.GEOMETRIC
    # Churnside and Lataitis: 0.97 Cn2 D^(-1/3) z^3 per axis.
    path, sender = horizontal_path(1e-15, 1e3), Transmitter(0.3, 1e-6)
    wander_m2 = wander_variance_m2(sender, path, "uplink", "geometric")
    assert wander_m2 == pytest.approx(0.97e-15 * 0.6 ** (-1 / 3) * 1e9, rel=0.02)


def test_uplinks_wander_and_downlinks_do_not():
    sender, path = Transmitter(0.2, 800e-9), slant_path(HV_57, 0.5, 500e3)
    up, down = (
        wander_variance_m2(sender, path, direction, "geometric")
        for direction in ("uplink", "downlink")
    )
    assert up > 1e3 * down
    assert pointing_variance_m2(1e-6, 1.662e6) == pytest.approx(1.66**2, rel=0.01)


def test_names_of_models_are_checked():
    sender, path = Transmitter(0.2, 800e-9), horizontal_path(1e-15, 1e3)
    for call in (
        lambda: spot_m(sender, path, "uplink", "fante"),
        lambda: wander_variance_m2(sender, path, "uplink", "big"),
        lambda: spherical_coherence_m(path, 8e-7, "sideways"),
    ):
        with pytest.raises(ValueError, match="="):
            call()
    with pytest.raises(ModelRangeError, match="jitter"):
        pointing_variance_m2(-1e-6, 1e6)
