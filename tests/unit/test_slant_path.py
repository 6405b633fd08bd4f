"""Bent rays and the loss along them, against a step-by-step reference."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from scqc.core.errors import ModelRangeError
from sim_backends.propagation.atmospheres import Atmosphere
from sim_backends.propagation.gas_absorption import dry_air, specific_attenuation
from sim_backends.propagation.refraction import (
    EARTH_RADIUS_KM,
    SlantPath,
    elongation,
    layer_bounds_km,
    published_elongation,
    refractive_index,
    towards,
    trace,
)
from sim_backends.propagation.slant_path import (
    attenuation_by_elevation_db,
    cumulative_attenuation_db,
    slant_attenuation_db,
)

ZENITH = math.pi / 2


def recursion(f_hz, elevation_rad, start_km=0.0, end_km=1e3):
    """Return (loss [dB], length [km]) layer after layer, as P.676-13 writes it."""
    bounds = layer_bounds_km(start_km, end_km, fast=False)
    beta = 0.5 * math.pi - elevation_rad
    loss = length = 0.0
    indices = []
    for low, high in itertools.pairwise(bounds):
        air = Atmosphere().air(min(100.0, 0.5 * (low + high)))
        indices.append((air, float(refractive_index(air))))
    for k, (low, high) in enumerate(itertools.pairwise(bounds)):
        air, n = indices[k]
        r, d = EARTH_RADIUS_KM + low, high - low
        c = r * math.cos(beta)
        a = -c + math.sqrt(c * c + 2.0 * r * d + d * d)
        loss += a * float(specific_attenuation(f_hz, air).total_db_per_km)
        length += a
        alpha = math.asin(r / (r + d) * math.sin(beta))
        if k + 1 < len(indices):
            beta = math.asin(n / indices[k + 1][1] * math.sin(alpha))
    return loss, length


@pytest.mark.parametrize("degrees", [5.0, 45.0])
def test_it_is_the_recursion_of_the_recommendation(degrees):
    elevation = math.radians(degrees)
    loss, length = recursion(183.31e9, elevation)
    path = SlantPath(elevation)
    assert slant_attenuation_db(183.31e9, path) == pytest.approx(loss, rel=1e-10)
    assert trace(path).length_km == pytest.approx(length, rel=1e-10)


def test_a_path_between_two_heights_is_the_recursion_too():
    loss, length = recursion(60e9, 0.3, start_km=3.2, end_km=21.7)
    path = SlantPath(0.3, start_km=3.2, end_km=21.7)
    assert slant_attenuation_db(60e9, path) == pytest.approx(loss, rel=1e-10)
    assert trace(path).length_km == pytest.approx(length, rel=1e-10)


def test_layers_are_those_of_the_recommendation():
    bounds = layer_bounds_km(0.0, math.inf, fast=False)
    assert bounds.size == 923
    assert np.diff(bounds[:2])[0] == pytest.approx(1e-4)
    assert np.diff(bounds[-2:])[0] == pytest.approx(1e-4 * math.exp(9.21), rel=1e-12)
    i = np.arange(1, 923)
    written = 1e-4 * (np.exp((i - 1) / 100) - 1) / (math.exp(0.01) - 1)
    assert bounds[:-1] == pytest.approx(written, rel=1e-12, abs=1e-15)
    cut = layer_bounds_km(1.0, 2.0, fast=False)
    assert (cut[0], cut[-1]) == (1.0, 2.0)
    assert (np.diff(cut) > 0.0).all()


def test_level_rays_leave_from_any_height():
    # Wherever the start cuts a layer, thin or thick.
    for start in np.concatenate((np.linspace(0.0, 3.0, 61), [9.9, 30.1, 77.7])):
        for fast in (False, True):
            ray = trace(SlantPath(0.0, float(start), 300.0, fast=fast))
            assert -0.02 < ray.true_elevation_rad < 0.0


def test_straight_paths_obey_plane_trigonometry():
    for degrees in (0.0, 3.0, 30.0, 90.0):
        path = SlantPath(math.radians(degrees), 0.0, 500.0, refraction=False)
        ray = trace(path)
        sine = math.sin(path.elevation_rad)
        high = EARTH_RADIUS_KM + 500.0
        root = math.sqrt(
            high**2 - EARTH_RADIUS_KM**2 * math.cos(path.elevation_rad) ** 2
        )
        assert ray.length_km == pytest.approx(root - EARTH_RADIUS_KM * sine, rel=1e-9)
        assert ray.chord_km == pytest.approx(ray.length_km, rel=1e-9)
        assert ray.true_elevation_rad == pytest.approx(path.elevation_rad, abs=1e-9)
        assert elongation(path) == pytest.approx(1.0, rel=1e-9)


def test_bending_is_that_of_a_plane_atmosphere_high_up():
    # To a star: (n0 - 1) cot(elevation), with curvature below 1 % at 45 degrees.
    path = SlantPath(math.radians(45.0), 0.0, 1e7)
    n0 = float(refractive_index(Atmosphere().air(0.0)))
    bent = path.elevation_rad - trace(path).true_elevation_rad
    assert bent == pytest.approx(n0 - 1.0, rel=0.01)
    # At the horizon radio waves are bent by some 0.7 degrees, light by half a one.
    flat = SlantPath(0.0, 0.0, 1e7)
    assert 0.65 < -math.degrees(trace(flat).true_elevation_rad) < 0.8
    light = dataclasses.replace(flat, wavelength_m=590e-9)
    assert 30.0 < -60.0 * math.degrees(trace(light).true_elevation_rad) < 37.0


def test_index_of_light_is_within_a_percent_of_the_standard():
    # Ciddor (1996): dry air, 15 C, 1013.25 hPa, 633 nm: n - 1 = 2.7653e-4.
    index = refractive_index(dry_air(1013.25, 288.15, 0.0), 633e-9)
    assert index - 1.0 == pytest.approx(2.7653e-4, rel=0.01)
    with pytest.raises(ModelRangeError, match="wavelength"):
        refractive_index(dry_air(1013.25, 288.15, 0.0), 3e-3)


@pytest.mark.parametrize(
    ("nm", "above"), [(400.0, 0.0105), (800.0, 0.0038), (1550.0, 0.0018), (1e4, 0.001)]
)
def test_index_of_light_beside_edlen(nm, above):
    # Edlen, Metrologia 2, 71 (1966): dry air, 15 C, 760 torr.
    s = (1e3 / nm) ** 2
    edlen = 1e-8 * (8342.13 + 2406030.0 / (130.0 - s) + 15997.0 / (38.9 - s))
    index = refractive_index(dry_air(1013.25, 288.15, 0.0), 1e-9 * nm)
    assert index - 1.0 == pytest.approx(edlen * (1.0 + above), rel=3e-4)


def test_elongation_traced_and_as_published():
    path = SlantPath(math.radians(10.0), 0.0, 780.0)
    for wavelength in (None, 800e-9):
        found = elongation(dataclasses.replace(path, wavelength_m=wavelength))
        assert 1.0027 < found < 1.0041
    # From the true direction there is nothing to stretch: chord and ray agree.
    ray = trace(path)
    assert 0.0 < ray.length_km / ray.chord_km - 1.0 < 1e-6
    published = published_elongation(np.radians([0.0, 80.0, 85.0]))
    assert published == pytest.approx([1.0, 1.0764, 1.142], abs=5e-4)
    with pytest.raises(ModelRangeError, match="published"):
        published_elongation(math.radians(86.0))


@pytest.mark.parametrize("degrees", [-0.3, 0.0, 10.0, 89.9999, 90.0])
def test_the_ray_to_a_satellite_arrives(degrees):
    path = towards(math.radians(degrees), SlantPath(0.0, 0.0, 500.0))
    assert trace(path).true_elevation_rad == pytest.approx(
        math.radians(degrees), abs=1e-9
    )
    assert path.elevation_rad >= math.radians(degrees)


def test_a_satellite_below_the_horizon_is_refused():
    with pytest.raises(ModelRangeError, match="below the horizon"):
        towards(math.radians(-1.0), SlantPath(0.0, 0.0, 500.0))


def test_loss_grows_with_distance_and_ends_with_the_air():
    path = SlantPath(math.radians(20.0))
    f = np.array([60e9, 340e9])
    distance = np.array([0.0, 1e-5, 0.5, 5.0, 60.0, 250.0, 1e4, 1e6])
    found = cumulative_attenuation_db(f, distance, path)
    assert (found[:, 0] == 0.0).all()
    assert (np.diff(found, axis=1)[:, :5] > 0.0).all()
    assert found[:, -1] == pytest.approx(slant_attenuation_db(f, path), rel=1e-12)
    assert (found[:, -1] == found[:, -2]).all()
    space = SlantPath(math.radians(20.0), 0.0, 600.0)
    assert slant_attenuation_db(f, space) == pytest.approx(found[:, -1], rel=1e-12)
    ground = specific_attenuation(f, Atmosphere().air(0.0)).total_db_per_km
    assert found[:, 1] == pytest.approx(1e-5 * ground, rel=1e-4)


def test_two_halves_of_a_vertical_path_make_the_whole():
    whole = slant_attenuation_db(183.31e9, SlantPath(ZENITH))
    for cut in (0.7, 12.0, 63.0):
        lower = slant_attenuation_db(183.31e9, SlantPath(ZENITH, 0.0, cut))
        upper = slant_attenuation_db(183.31e9, SlantPath(ZENITH, cut))
        # One layer has another middle: its share of the whole times its curvature.
        assert lower + upper == pytest.approx(whole, rel=1e-5)


def test_many_elevations_are_many_paths():
    degrees = np.concatenate(([0.0, 5.0, 90.0], np.linspace(1.0, 89.0, 300)))
    f = np.array([60e9, 340e9])
    path = SlantPath(0.0, 0.2, 600.0)
    found = attenuation_by_elevation_db(f, np.radians(degrees), path)
    assert found.shape == (2, 303)
    for k in (0, 1, 2, 290):
        one = dataclasses.replace(path, elevation_rad=math.radians(degrees[k]))
        assert found[:, k] == pytest.approx(slant_attenuation_db(f, one), rel=1e-12)
    with pytest.raises(ModelRangeError, match="elevation"):
        attenuation_by_elevation_db(f, [0.5, -0.1], path)


def test_a_trapped_ray_is_refused_and_the_lowest_free_one_named():
    # Vapour so thick near the ground that n falls by more than 157e-6 per km.
    damp = Atmosphere(surface_vapour_g_per_m3=80.0)
    with pytest.raises(ModelRangeError, match="traps") as caught:
        trace(SlantPath(0.0, atmosphere=damp))
    lowest = caught.value.nearest
    assert 0.0 < lowest < 0.02
    assert trace(SlantPath(lowest * 1.000001, atmosphere=damp)).length_km > 100.0
    with pytest.raises(ModelRangeError, match="traps"):
        trace(SlantPath(lowest * 0.999, atmosphere=damp))


def test_fast_layers_are_within_their_statement():
    f = np.linspace(1e9, 1e12, 500)
    distance = np.linspace(0.5, 140.0, 60)
    for degrees in (1.0, 45.0):
        full = SlantPath(math.radians(degrees))
        fast = dataclasses.replace(full, fast=True)
        a = cumulative_attenuation_db(f, distance, full)
        b = cumulative_attenuation_db(f, distance, fast)
        assert np.abs(b / a - 1.0).max() < 2e-3


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (SlantPath(-0.01), "elevation.*nearest valid value 0"),
        (SlantPath(1.6), "elevation"),
        (SlantPath(math.nan), "elevation"),
        (SlantPath(0.5, -1.0), "start height"),
        (SlantPath(0.5, 101.0), "start height"),
        (SlantPath(0.5, 10.0, 10.0), "end height"),
        (SlantPath(0.5, 10.0, 5.0), "end height"),
    ],
)
def test_impossible_paths_are_refused(path, words):
    with pytest.raises(ModelRangeError, match=words):
        trace(path)


def test_distances_beyond_the_end_are_refused():
    with pytest.raises(ModelRangeError, match="distance"):
        cumulative_attenuation_db(np.array([1e10]), [6.0], SlantPath(ZENITH, 0.0, 5.0))
    with pytest.raises(ModelRangeError, match="distance"):
        cumulative_attenuation_db(np.array([1e10]), [-1.0], SlantPath(ZENITH))
    with pytest.raises(ModelRangeError, match="frequency"):
        slant_attenuation_db(2e12, SlantPath(ZENITH))
