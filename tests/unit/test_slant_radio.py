"""Radio through the atmosphere: its loss, its heat, and what is left of a key."""

import math

import numpy as np
import pytest

from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan import advice
from scqc.plan.channels import channel_points
from scqc.plan.make import make_front, make_plan
from scqc.plan.radio_settings import SlantRadioChannel
from scqc.plan.values import Values
from sim_backends.propagation import slant_path
from sim_backends.propagation.gas_absorption import specific_attenuation
from sim_backends.propagation.refraction import SlantPath, trace
from sim_backends.propagation.slant_path import slant_attenuation_db, slant_emission
from sim_backends.propagation.thermal import cascade, thermal_photons

ZENITH = 0.5 * math.pi
F_HZ = 1e9 * np.array([22.2, 140.0, 340.0, 650.0])


def layers(frequency_hz, path):
    """Return transmittance and temperature of every layer, upwards."""
    ray = trace(path)
    gamma = [
        float(specific_attenuation(np.array(frequency_hz), air).total_db_per_km)
        for air in (
            type(ray.air)(p, e, t)
            for p, e, t in zip(
                ray.air.dry_hpa, ray.air.vapour_hpa, ray.air.temperature_k, strict=True
            )
        )
    ]
    share = 10.0 ** (-0.1 * ray.lengths_km * np.array(gamma))
    return list(zip(share, ray.air.temperature_k.tolist(), strict=True))


def test_heat_of_the_air_is_that_of_its_layers_in_a_row():
    path = SlantPath(math.radians(30.0), 0.0, 20.0, fast=True)
    found = slant_emission(F_HZ, path)
    assert found.loss_db == pytest.approx(slant_attenuation_db(F_HZ, path), rel=1e-12)
    for i in (1, 3):
        pieces = layers(F_HZ[i], path)
        for photons, row in (
            (found.up_photons, pieces),
            (found.down_photons, pieces[::-1]),
        ):
            total, each = cascade(F_HZ[i], row)
            assert photons[i] == pytest.approx(float(each * (1 - total)), rel=1e-9)


def test_air_of_one_temperature_is_a_grey_body(monkeypatch):
    monkeypatch.setattr(slant_path, "thermal_photons", lambda f, t: 5.0 + 0.0 * t)
    found = slant_emission(F_HZ, SlantPath(ZENITH, fast=True))
    expected = 5.0 * -np.expm1(-0.1 * math.log(10.0) * found.loss_db)
    assert found.down_photons == pytest.approx(expected, rel=1e-12)
    assert found.up_photons == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ghz", [10.0, 15.0, 22.2, 28.0])
def test_temperature_of_the_sky_as_p618_has_it(ghz):
    # ITU-R P.618-13, 2.2.4: mean radiating temperature 37.34 + 0.81 T_ground.
    found = slant_emission(1e9 * ghz, SlantPath(ZENITH, fast=True))
    kelvin = float(found.down_photons[0]) * 6.62607e-34 * 1e9 * ghz / 1.380649e-23
    radiating = kelvin / (1.0 - 10.0 ** (-0.1 * float(found.loss_db[0])))
    assert radiating == pytest.approx(37.34 + 0.81 * 288.15, rel=0.03)


def points(**changes):
    settings = SlantRadioChannel(**changes)
    return settings, channel_points(settings, Values(settings, {}, (1,)))


def test_environment_is_what_all_parts_in_a_row_let_in():
    told = {"lower_km": 5.0, "altitude_km": 12.0, "zenith_deg": 40.0}
    cold = {"frequency_hz": 340e9, "feed_loss_db": 0.5, "feed_k": 77.0}
    path = SlantPath(math.radians(50.0), 5.0, 12.0, fast=True)
    for direction, behind_k in (("down", 2.725), ("up", 290.0)):
        _, got = points(**told, **cold, direction_of_light=direction)
        share = 10.0 ** (-0.1 * float(got.loss_db["diffraction"][0]))
        air = layers(340e9, path)
        row = [(share, behind_k), *(air[::-1] if direction == "down" else air)]
        total, photons = cascade(340e9, [*row, (10**-0.05, 77.0)])
        assert float(got.transmittance[0]) == pytest.approx(float(total), rel=1e-9)
        assert float(got.environment_snu[0]) == pytest.approx(
            1.0 + 2.0 * float(photons), rel=1e-9
        )


def test_no_cold_receiver_cools_the_air():
    told = {"lower_km": 0.0, "frequency_hz": 140e9, "feed_loss_db": 0.5}
    kelvin = [
        float(points(**told, feed_k=t)[1].extra["antenna_k"][0]) for t in (4, 290)
    ]
    # Of 140 GHz at the zenith the air alone sends 90 K; the feed dims it by 11 %.
    assert 0.85 * 89.6 < kelvin[0] < 89.6
    assert kelvin[1] == pytest.approx(kelvin[0] + 290 * (1 - 10**-0.05), abs=2.0)
    # Up, behind the sender is the Earth, whatever the air lets through.
    up = points(**told, feed_k=4.0, direction_of_light="up")[1]
    assert float(up.extra["antenna_k"][0]) > 200.0


def test_lossless_paths_are_cold():
    settings, got = points(lower_km=99.0, altitude_km=100.0, waist_m=50.0,
                           aperture_radius_m=100.0)  # fmt: skip
    assert float(got.transmittance[0]) == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(got.environment_snu).all()
    assert settings.source_k == 0.0


def test_amplifiers_warm_and_cold():
    ends = {}
    for name, kelvin in (("ideal", 0.0), ("cryogenic", 4.0), ("ambient", 100.0)):
        plan = make_plan(
            "thz-slant",
            ["points=21", "stop=60", "block_sizes=[]", f"receiver_k={kelvin}"],
        )
        curve = plan.curves[0]
        ends[name] = float(curve.arrays["key_bits_per_use"][0])
    assert ends["ideal"] > ends["cryogenic"] > ends["ambient"] > 0.0


def test_an_ambient_front_end_is_told_what_it_takes(monkeypatch):
    best = {"channel.receiver_k": 0.0, "channel.feed_k": 0.0}
    monkeypatch.setattr(advice, "_BEST", {"cv": best})
    told = ["altitude_km=20.1", "block_sizes=[]", "feed_k=217", "receiver_k=1000"]
    plan = make_plan("thz-slant", told)
    assert not plan.has_key
    causes = {row["cause"]: row["needed"] for row in plan.limits}
    for cause in best:
        for factor, key in ((0.99, True), (1.01, False)):
            again = [*told, f"{cause}={factor * causes[cause]}"]
            assert make_plan("thz-slant", again).has_key is key


def test_from_the_ground_the_air_is_too_warm(monkeypatch):
    monkeypatch.setattr(advice, "_BEST", {"cv": {}})
    changes = ["lower_km=0", "frequency_hz=140e9", "altitude_km=1", "block_sizes=[]"]
    plan = make_plan("thz-slant", changes)
    assert not plan.has_key
    # The law of the thermal band: (1 - T) W below 0.39, here of 1 km of air alone.
    lost = 1.0 - 10.0 ** (-0.1 * float(plan.curves[0].arrays["loss_gas_db"][0]))
    assert lost * (2.0 * float(thermal_photons(140e9, 280.0)) + 1.0) > 0.39


def test_loss_of_the_path_is_the_one_of_p676():
    # ITU: 28 GHz, 30 degrees, to space 0.47081173 dB; 185 layers are off by 0.03 %.
    got = points(frequency_hz=28e9, zenith_deg=60.0, altitude_km=1000.0)[1]
    assert float(got.loss_db["gas"][0]) == pytest.approx(0.47081173, rel=5e-4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("frequency_hz=2e12", "nearest valid value 1e+12"),
        ("zenith_deg=91", "nearest valid value 90"),
        ("lower_km=120", "nearest valid value"),
        ("direction_of_light=sideways", "'down' or 'up'"),
    ],
)
def test_settings_outside_name_the_range(change, says):
    with pytest.raises(PlanSettingsError) as caught:
        make_plan("thz-slant", [change])
    assert says in str(caught.value)


def test_ends_in_the_wrong_order_are_refused():
    with pytest.raises(ModelRangeError, match=r"end height.*nearest valid value"):
        make_plan("thz-slant", ["altitude_km=10"])


def test_fronts_and_other_presets_take_the_slant_path():
    curves = {c.label: c for c in make_front("thz-slant", [], 21.0).curves}
    assert curves["wavelength"].derived["raman_photons"] == 0.0
    plan = make_plan(
        "thz-indoor", ["channel.kind=radio-slant", "lower_km=20", "points=3"]
    )
    assert "altitude_km" in plan.curves[0].arrays
