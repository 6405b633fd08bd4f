"""Beams, straight lines over a round Earth, and what air takes from them."""

import math

import mpmath
import numpy as np
import pytest
from scipy import integrate, special

from scqc.core.errors import ModelRangeError
from sim_backends.propagation.beam import (
    Transmitter,
    centred_transmittance,
    diffraction_transmittance,
    rayleigh_range_m,
    spot_radius_m,
)
from sim_backends.propagation.extinction import (
    MODTRAN_785,
    MODTRAN_810,
    MODTRAN_850,
    ElevationTable,
    ExponentialAtmosphere,
    fog_db_per_km,
)
from sim_backends.propagation.geometry import (
    EARTH_RADIUS_M,
    altitude_on_path_m,
    horizon_dip_rad,
    seen_from_below,
    slant_range_m,
    zenith_of_range_rad,
)
from sim_backends.propagation.sky import (
    FieldOfView,
    background_hz,
    background_photons,
    matched_bandwidth_nm,
    named_radiance,
    photon_radiance,
    uplink_photons,
)


def test_slant_ranges():
    # Oracles: 500 km seen at 80 and at 60 degrees from the zenith, mean radius 6371 km.
    ranges_m = slant_range_m(500e3, np.radians([80.0, 60.0, 0.0]))
    assert ranges_m == pytest.approx([1694567.22, 909424.94, 500e3], abs=0.005)
    assert slant_range_m(583e3, math.radians(80)) == pytest.approx(1892.4e3, abs=50)


def test_lines_over_a_round_earth_agree_with_the_law_of_cosines():
    zenith = np.radians([0.0, 30.0, 75.0, 90.0])[:, None]
    altitude_m = np.array([2.0, 2e4, 4e5, 3.6e7])
    mpmath.mp.dps = 40
    for i, angle in enumerate(zenith[:, 0]):
        for j, height_m in enumerate(altitude_m):
            near, far = mpmath.mpf(EARTH_RADIUS_M) + 1.5, mpmath.mpf(EARTH_RADIUS_M)
            far += float(height_m) + 1.5
            cosine, sine = mpmath.cos(float(angle)), mpmath.sin(float(angle))
            want = mpmath.sqrt(far**2 - (near * sine) ** 2) - near * cosine
            # At the horizon the rounding of the angle itself shows.
            got = slant_range_m(altitude_m + 1.5, zenith, 1.5)[i, j]
            assert got == pytest.approx(float(want), rel=1e-9)
    back_m = altitude_on_path_m(slant_range_m(altitude_m, zenith), zenith)
    assert back_m == pytest.approx(np.broadcast_to(altitude_m, back_m.shape), rel=1e-7)


def test_angles_come_back_from_ranges():
    zenith = np.linspace(0.05, 1.5, 7)
    range_m = slant_range_m(600e3, zenith, 2e3)
    assert zenith_of_range_rad(range_m, 600e3, 2e3) == pytest.approx(zenith, abs=1e-9)
    assert zenith_of_range_rad(598e3, 600e3, 2e3) == pytest.approx(0.0, abs=1e-6)
    elevation, far_m = seen_from_below(0.1, 600e3)
    assert slant_range_m(600e3, math.pi / 2 - elevation) == pytest.approx(float(far_m))


def test_a_high_station_sees_below_the_horizontal():
    dip = horizon_dip_rad(20e3)
    assert math.cos(dip) == pytest.approx(EARTH_RADIUS_M / (EARTH_RADIUS_M + 20e3))
    tangent_m = slant_range_m(20e3, math.pi / 2 + dip, 20e3)
    assert tangent_m == pytest.approx(2 * math.sqrt(20e3 * (2 * EARTH_RADIUS_M + 20e3)))
    with pytest.raises(ModelRangeError, match="below the horizon"):
        slant_range_m(500e3, math.pi / 2 + 1.01 * float(dip), 20e3)
    with pytest.raises(ModelRangeError, match="below the horizon"):
        slant_range_m(500e3, 1.6, np.array([20e3, 0.0]))


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda: slant_range_m(500e3, 1.6), math.pi / 2),
        (lambda: slant_range_m(500e3, -0.1), 0.0),
        (lambda: slant_range_m(5e2, 1.0, 1e3), 0.0),
        (lambda: zenith_of_range_rad(400e3, 500e3), 1.0 + 1e-9),
        (lambda: spot_radius_m(0.1, 8e-7, -1.0), 0.0),
        (lambda: ExponentialAtmosphere().transmittance(1.6, 5e5), math.pi / 2),
        (lambda: MODTRAN_785.transmittance(math.radians(4.0)), math.radians(5.0)),
        (lambda: fog_db_per_km(0.001, 8e-7), 0.01),
        (lambda: fog_db_per_km(1.0, 1e-5), 1.6e-6),
        (lambda: uplink_photons(FieldOfView(1, 1e-9, 1, 1e-9), 1.5), 1.0),
        (lambda: background_photons(-1.0, FieldOfView(1, 1e-9, 1, 1e-9)), 0.0),
        (lambda: FieldOfView(1.0, 7.0, 1.0, 1e-9), 2 * math.pi),
    ],
)
def test_outside_a_model_the_nearest_valid_value_is_named(call, nearest):
    with pytest.raises(ModelRangeError, match="nearest valid value") as caught:
        call()
    assert caught.value.nearest == pytest.approx(nearest, abs=1e-9)


def test_secants_end_where_the_earth_is_round():
    with pytest.raises(ModelRangeError, match=r"sec\(z\)"):
        ExponentialAtmosphere().transmittance_flat(math.radians(81.0), 5e5)


def test_numbers_that_are_none_are_refused():
    for call in (
        lambda: slant_range_m(500e3, math.nan),
        lambda: spot_radius_m(math.nan, 8e-7, 1.0),
        lambda: Transmitter(math.inf, 8e-7),
        lambda: centred_transmittance(0.5, 1.0, 0.5),
        lambda: centred_transmittance(0.0, 1.0),
    ):
        with pytest.raises(ModelRangeError):
            call()
    with pytest.raises(ValueError, match="truncation = 'half'"):
        Transmitter(0.1, 8e-7, truncation="half")


def test_spots():
    assert rayleigh_range_m(0.2, 800e-9) == pytest.approx(157e3, rel=1e-3)
    z_m = rayleigh_range_m(0.2, 800e-9)
    assert spot_radius_m(0.2, 800e-9, z_m) == pytest.approx(0.2 * math.sqrt(2))
    assert spot_radius_m(0.2, 800e-9, 0.0) == 0.2
    # Focused on the receiver: lambda z / (pi w0).
    focused_m = spot_radius_m(0.2, 800e-9, 1e6, 1e6)
    assert focused_m == pytest.approx(800e-9 * 1e6 / (math.pi * 0.2))


def test_transmit_truncation_of_a_500_km_downlink():
    # SatQuMA's telescopes: aT = w0 = 0.15 m, 810 nm, aR = 0.6 m at 500.86 km.
    share = {
        truncation: float(
            diffraction_transmittance(
                Transmitter(0.15, 810e-9, 0.15, truncation=truncation),
                500.86e3,
                0.6,
                diffraction="fraunhofer",
            )
        )
        for truncation in ("launched", "source", "none")
    }
    assert share["launched"] == pytest.approx(0.36765, abs=5e-6)
    # The distance is quoted to 10 m, the share to the last digit: half a digit each.
    assert share["source"] == pytest.approx(0.31790, abs=1e-5)
    assert share["none"] == pytest.approx(0.61047, abs=5e-6)
    assert share["source"] / share["launched"] == pytest.approx(1 - math.exp(-2))


def test_a_wide_telescope_does_not_cut():
    z_m = np.array([3e3, 1e4, 1e5, 5e5])
    cut = Transmitter(0.15, 810e-9, 0.6, truncation="source")
    uncut = Transmitter(0.15, 810e-9)
    assert diffraction_transmittance(cut, z_m, 0.3, 0.1) == pytest.approx(
        diffraction_transmittance(uncut, z_m, 0.3, 0.1), abs=2e-7
    )
    bent = Transmitter(0.15, 810e-9, 0.6, 0.0, 2e5, "source")
    spot_m = spot_radius_m(0.15, 810e-9, z_m, 2e5)
    assert diffraction_transmittance(bent, z_m, 0.3) == pytest.approx(
        centred_transmittance(0.3, spot_m), abs=2e-7
    )


def test_a_receiver_that_catches_all_gets_what_was_launched():
    sender = Transmitter(0.15, 810e-9, 0.15, 0.05, truncation="launched")
    k, z_m, far_m = 2 * math.pi / 810e-9, 5e5, 40.0
    # Of a hard edge of length l and amplitude G the share G^2 l z / (pi k rho) goes
    # farther out than rho (of a uniform disc 2 / (pi v), Born and Wolf, 8.5.2).
    edges = [
        2 / (math.pi * 0.15**2) * math.exp(-2 * (r / 0.15) ** 2) * 2 * math.pi * r
        for r in (0.05, 0.15)
    ]
    outside = sum(edges) * z_m / (math.pi * k * far_m) / sender.launched
    got = diffraction_transmittance(sender, z_m, far_m)
    assert 1 - got == pytest.approx(outside, rel=0.05)
    ring = math.exp(-2 / 9) - math.exp(-2)
    assert sender.launched == pytest.approx(ring)


def test_diffraction_integral_beside_a_slow_one():
    sender = Transmitter(0.12, 850e-9, 0.15, 0.04, truncation="source")
    z_m, k = 3e5, 2 * math.pi / 850e-9

    def field(rho_m, part):
        def integrand(r_m):
            amplitude = math.sqrt(2 / math.pi) / 0.12 * math.exp(-((r_m / 0.12) ** 2))
            phase = k * r_m**2 / (2 * z_m)
            return amplitude * part(phase) * special.j0(k * rho_m * r_m / z_m) * r_m

        return k / z_m * integrate.quad(integrand, 0.04, 0.15, epsabs=1e-12)[0]

    def power(rho_m):
        squares = field(rho_m, math.cos) ** 2 + field(rho_m, math.sin) ** 2
        return 2 * math.pi * squares * rho_m

    slow = integrate.quad(power, 0.1, 0.5, epsabs=1e-10)[0]
    assert diffraction_transmittance(sender, z_m, 0.5, 0.1) == pytest.approx(
        slow, rel=1e-9
    )


def test_truncated_beams_too_near_are_refused():
    sender = Transmitter(0.15, 810e-9, 0.15, truncation="launched")
    with pytest.raises(ModelRangeError, match="cut beam") as caught:
        diffraction_transmittance(sender, 100.0, 0.6)
    assert diffraction_transmittance(sender, caught.value.nearest * 1.001, 0.6) <= 1.0
    with pytest.raises(ModelRangeError, match="far field"):
        diffraction_transmittance(sender, 1e5, 0.6, diffraction="fraunhofer")
    bent = Transmitter(0.15, 810e-9, 0.15, 0.0, 4e5, "launched")
    with pytest.raises(ModelRangeError, match="focused elsewhere"):
        diffraction_transmittance(bent, 1e5, 0.6, diffraction="fraunhofer")


def test_clear_air_at_800_nm():
    air = ExponentialAtmosphere()
    steep = math.radians(80.0)
    assert air.transmittance(0.0, 500e3) == pytest.approx(0.967, abs=6e-4)
    assert air.transmittance(steep, 500e3) == pytest.approx(0.832, abs=5e-4)
    assert air.transmittance_flat(steep, 500e3) == pytest.approx(0.827, abs=5e-4)


@pytest.mark.parametrize("zenith_deg", [0.0, 45.0, 85.0, 90.0])
def test_extinction_beside_a_slow_integral(zenith_deg):
    air, zenith = ExponentialAtmosphere(2e-5, 7000.0), math.radians(zenith_deg)
    top_m, low_m = 15e3, 1e3
    near = EARTH_RADIUS_M + low_m

    def density(y_m):
        radius = math.sqrt(near**2 + y_m**2 + 2 * near * y_m * math.cos(zenith))
        return math.exp(-(radius - EARTH_RADIUS_M) / 7000.0)

    length_m = float(slant_range_m(top_m, zenith, low_m))
    column_m = integrate.quad(density, 0.0, length_m, epsrel=1e-11)[0]
    assert air.transmittance(zenith, top_m, low_m) == pytest.approx(
        math.exp(-2e-5 * column_m), rel=1e-9
    )
    if zenith_deg == 0.0:
        flat = air.transmittance_flat(0.0, top_m, low_m)
        assert flat == pytest.approx(float(air.transmittance(0.0, top_m, low_m)))


def test_modtran_rows_and_what_lies_between():
    for table, at_20_deg in (
        (MODTRAN_785, 0.6842),
        (MODTRAN_810, 0.5922),
        (MODTRAN_850, 0.7261),
    ):
        rows = table.transmittance(np.radians(table.elevation_deg))
        assert rows == pytest.approx(table.share, rel=1e-12)
        assert rows[2] == pytest.approx(at_20_deg)
        dense = table.transmittance(np.radians(np.linspace(5.0, 90.0, 400)))
        assert (np.diff(dense) > 0.0).all()
    # The secant misses by far where the table is right: 0.305 instead of 0.3907.
    assert 0.8136 ** (1 / math.sin(math.radians(10))) == pytest.approx(0.305, abs=1e-3)


def test_interpolation_between_rows_of_a_known_atmosphere():
    air, rows_deg = ExponentialAtmosphere(3e-5), (5.0, 10.0, 20.0, 30.0, 60.0, 90.0)
    share = air.transmittance(np.pi / 2 - np.radians(rows_deg), 5e5)
    table = ElevationTable("test", 8e-7, rows_deg, tuple(share))
    between = np.radians(np.linspace(5.0, 90.0, 200))
    exact = air.transmittance(np.maximum(0.0, np.pi / 2 - between), 5e5)
    assert np.abs(table.transmittance(between) / exact - 1.0).max() < 0.02
    flat = np.exp(-0.2 / np.sin(np.radians(rows_deg)))
    secant = ElevationTable("flat", 8e-7, rows_deg, tuple(flat))
    assert secant.transmittance(between) == pytest.approx(
        np.exp(-0.2 / np.sin(between)), rel=1e-12
    )
    for rows, shares in (
        ((10.0, 5.0), (0.1, 0.2)),
        ((5.0, 95.0), (0.1, 0.2)),
        ((5.0, 10.0), (0.1, 1.2)),
        ((5.0,), (0.1,)),
        ((5.0, 10.0), (0.1,)),
    ):
        with pytest.raises(ModelRangeError):
            ElevationTable("bad", 8e-7, rows, shares)


def test_fog_by_kim():
    # 16.99 / V for 2 % of contrast, 13.0 / V for 5 %; at 550 nm q does not matter.
    assert fog_db_per_km(1.0, 550e-9) == pytest.approx(16.99, abs=0.005)
    assert fog_db_per_km(1.0, 550e-9, "5 %") == pytest.approx(13.0, abs=0.02)
    v_km = np.array([0.2, 0.5, 0.8, 1.0, 3.0, 6.0, 20.0, 60.0])
    q = [0.0, 0.0, 0.3, 0.5, 0.82, 1.3, 1.3, 1.6]
    loss_db = fog_db_per_km(v_km, 1550e-9)
    assert loss_db == pytest.approx(
        16.99 / v_km * (1550 / 550) ** -np.array(q), rel=3e-4
    )
    with pytest.raises(ValueError, match="contrast"):
        fog_db_per_km(1.0, 8e-7, "10 %")


def test_background_of_the_review():
    # SCQC review: 9.31e-10 photons per mode on a clear night (1e-13 m filter, 10 ns,
    # 1e-10 sr, 70 cm).
    view = FieldOfView(0.7, 1e-10, 1e-4, 10e-9)
    night = named_radiance("clear-night")
    assert background_photons(night, view) == pytest.approx(9.31e-10, rel=1e-12)
    area = FieldOfView(0.7, 1e-10, 1e-4, 10e-9, "area")
    assert background_photons(night, area) == pytest.approx(math.pi * 9.31e-10)
    assert background_hz(night, view) == pytest.approx(9.31e-2)
    assert uplink_photons(view, 0.3) == pytest.approx(0.3 * 4.6e18 * 0.49e-22)
    with pytest.raises(ValueError, match="clear-night"):
        named_radiance("blue")
    with pytest.raises(ValueError, match="collected"):
        FieldOfView(0.7, 1e-10, 1e-4, 10e-9, "circle")


def test_the_filter_that_a_local_oscillator_is():
    # 10 ns have 100 MHz: 0.21 pm at 800 nm.
    assert matched_bandwidth_nm(800e-9, 10e-9) == pytest.approx(2.135e-4, rel=1e-3)


def test_radiance_in_photons():
    # 1 W of 1 um light are 5.034e18 photons per second.
    assert photon_radiance(1.0, 1e-6) == pytest.approx(5.034117e15, rel=1e-6)
