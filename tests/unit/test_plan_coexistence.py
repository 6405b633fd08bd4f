"""Classical channels beside a key: what they scatter, leak and cost."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan import advice, coexistence
from scqc.plan.make import make_front, make_plan
from sim_backends.propagation.raman import (
    ClassicalChannel,
    raman_density,
    raman_length_km,
    raman_photons_per_mode,
)

LIGHT, PLANCK = 299_792_458.0, 6.62607015e-34
KEY_HZ, DATA_HZ = LIGHT / 1550.12e-9, LIGHT / 1551.72e-9
NEPER = 0.1 * math.log(10.0)


@pytest.mark.parametrize("counter", [False, True])
@pytest.mark.parametrize(
    ("noise_db", "pump_db"),
    [(0.2, 0.35), (0.35, 0.2), (0.2, 0.2), (0.0, 0.0), (3.0, 0.2)],
)
def test_scattering_with_two_attenuations(noise_db, pump_db, counter):
    q, p, length = NEPER * noise_db, NEPER * pump_db, 60.0

    def born(z):
        return math.exp(-p * (length - z if counter else z) - q * (length - z))

    # What is born at z is attenuated over the rest: as narrow as 1/q at an end.
    whole = sum(
        quad(born, a, b, epsrel=1e-12)[0]
        for a, b in ((0, 1), (1, 30), (30, 59), (59, 60))
    )
    found = raman_length_km(length, noise_db, pump_db, counter)
    assert found == pytest.approx(whole, rel=1e-9)


def test_scattering_along_and_against_the_key():
    length = np.array([0.01, 10.0, 22.0, 80.0, 1000.0])
    along, against = (raman_length_km(length, 0.2, 0.2, c) for c in (False, True))
    # Short fibres scatter alike; long ones send only their near end back.
    assert along[0] == pytest.approx(against[0], rel=1e-3)
    assert along.argmax() == 2
    assert against[-1] == pytest.approx(1.0 / (2.0 * NEPER * 0.2), rel=1e-6)
    assert np.all(np.diff(against) > 0.0)
    with pytest.raises(ModelRangeError, match="attenuation"):
        raman_length_km(1.0, -0.2, 0.2, False)


# GNPy (BSD-3-Clause), gnpy.core.parameters.DEFAULT_RAMAN_COEFFICIENT: standard fibre,
# pump of 1454 nm, depolarised: offset [THz] and gain [1/(W km)].
GNPY = (
    (0.5, 0.0112), (1.0, 0.0348), (2.0, 0.0807), (3.0, 0.1105), (5.0, 0.1410),
    (7.0, 0.1884), (9.0, 0.2777), (11.0, 0.3771), (13.0, 0.4170), (14.5, 0.4086),
)  # fmt: skip


@pytest.mark.parametrize(("offset_thz", "gain"), GNPY)
def test_raman_gain_beside_another_planner(offset_thz, gain):
    pump = 196e12
    noise = pump - 1e12 * offset_thz
    density = float(raman_density(noise, pump, 0.0))
    # The gain is in proportion to the pump's frequency.
    expected = 2.0 * PLANCK * noise * gain * pump / 206.1846e12
    assert density == pytest.approx(expected, rel=0.3)


def test_raman_gain_from_first_values():
    # 1e-13 m/W polarised, pump of 1 um (Stolen and Ippen); 80 um^2; half depolarised.
    per_w_m = 0.5 * 1e-13 / 1.55 / 80e-12
    peak = float(raman_density(KEY_HZ - 13.2e12, KEY_HZ, 0.0))
    assert peak / (2.0 * PLANCK * (KEY_HZ - 13.2e12)) == pytest.approx(
        1e3 * per_w_m, rel=0.02
    )
    more = float(raman_density(KEY_HZ - 13.2e12, KEY_HZ, 0.0, 0.8))
    assert more == pytest.approx(2.0 * peak, rel=1e-9)


def one_point(preset, *changes):
    return (
        make_plan(preset, ["length_km=20", "block_sizes=[]", *changes]).curves[0].arrays
    )


@pytest.mark.parametrize("direction", ["co", "counter"])
def test_noise_of_a_neighbour_by_hand(direction):
    told = ["neighbour_dbm=0", f"neighbour_direction={direction}", "psk=none"]
    fixed = ["fixed_loss_db=3", "neighbour_db_per_km=0.25"]
    noise = one_point("fiber-metro", *told, *fixed)["stray_light_snu"][0]
    p, q = NEPER * 0.25, NEPER * 0.2
    # The longer wave scatters up: only what heat has excited.
    density = float(raman_density(KEY_HZ, DATA_HZ))
    if direction == "co":
        grown = (math.exp(-q * 20) - math.exp(-p * 20)) / (p - q)
        arriving = 1e-3 * math.exp(-p * 20)
    else:
        grown, arriving = (1 - math.exp(-(p + q) * 20)) / (p + q), 1e-3
    mode = 1e-3 * density * grown / (2 * PLANCK * KEY_HZ)
    mode += arriving * 1e-8 / (PLANCK * DATA_HZ) / 10e9
    photons = mode * 10**-0.3
    transmittance = 10**-0.4 * 10**-0.3
    assert noise == pytest.approx(2 * photons / transmittance, rel=1e-6)


def test_clicks_of_a_neighbour_by_hand():
    told = ["neighbour_dbm=-20", "filter_nm=0.1", "gate_s=1e-9", "fixed_loss_db=0"]
    clicks = one_point("fiber-decoy", *told)["stray_light_yield"][0]
    data = ClassicalChannel(DATA_HZ, 1e-5)
    mode = float(raman_photons_per_mode(KEY_HZ, [data], 20.0))
    # Both polarisations of all modes within 0.1 nm and 1 ns.
    modes = 2.0 * LIGHT / 1550.12e-9**2 * 0.1e-9 * 1e-9
    leaked = 1e-5 * 10**-0.4 * 1e-8 / (PLANCK * DATA_HZ) * 1e-9
    assert clicks == pytest.approx(
        1 - math.exp(-0.7 * (mode * modes + leaked)), rel=1e-6
    )
    # What the filter cuts is light of other modes; of one line it cuts nothing.
    wider = one_point("fiber-decoy", *told, "filter_nm=0.2")["stray_light_yield"][0]
    added = math.log1p(-clicks) - math.log1p(-wider)
    assert added == pytest.approx(0.7 * mode * modes, rel=1e-6)


def test_a_neighbour_that_is_too_strong_is_a_cause(monkeypatch):
    best = {"channel.neighbour_dbm": advice._BEST["cv"]["channel.neighbour_dbm"]}
    monkeypatch.setattr(advice, "_BEST", {"cv": best})
    changes = ["length_km=20", "block_sizes=[]", "neighbour_dbm=25"]
    plan = make_plan("fiber-metro", changes)
    causes = {row["cause"]: row["needed"] for row in plan.limits}
    needed = causes["channel.neighbour_dbm"]
    for more, key in ((-0.1, True), (0.1, False)):
        again = [*changes[:2], f"neighbour_dbm={needed + more}"]
        assert make_plan("fiber-metro", again).has_key is key


def front(*changes, at=20.0):
    return {c.label: c for c in make_front("fiber-metro", changes, at).curves}


def test_data_of_its_own_carrier_is_launched_for_its_receiver():
    found = front("classical_db_per_km=0.25", "fixed_loss_db=1")["wavelength"].derived
    launch_dbm = -34.0 + 3.0 + 0.25 * 20.0 + 1.0
    assert found["launch_dbm"] == pytest.approx(launch_dbm)
    arriving = 1e-3 * 10 ** (0.1 * (-34.0 + 3.0)) / (PLANCK * DATA_HZ) / 50e6
    assert found["crosstalk_photons"] == pytest.approx(arriving * 1e-8, rel=1e-9)
    data = ClassicalChannel(DATA_HZ, 1e-3 * 10 ** (0.1 * launch_dbm), False, 0.25)
    mode = float(raman_photons_per_mode(KEY_HZ, [data], 20.0)) * 10**-0.1
    assert found["raman_photons"] == pytest.approx(mode, rel=1e-6)
    transmittance = 10**-0.4 * 10**-0.1
    assert found["added_noise_snu"] == pytest.approx(
        2.0 * found["stray_photons"] / transmittance, rel=1e-9
    )


def test_only_what_shares_the_medium_is_disturbed():
    plain = front()
    time, wave, band = (plain[n].derived for n in ("time", "wavelength", "frequency"))
    assert time["stray_photons"] == 0.0
    assert time["key_alone_bits_per_use"] > band["key_alone_bits_per_use"]
    assert band["raman_photons"] == 0.0
    assert wave["raman_photons"] > 0.0
    # The one carrier sends what its coherent receiver needs at 1e-6: z^2 = 22.6.
    # Per quadrature and use D^2 = z^2 V / (eta T / 2); heterodyne: V = 1 + 0.05 + ...
    photons = 2 * 22.595 * (1.0 + 0.05) / (0.85 * 10**-0.4 / 2.0) / 4.0
    sent = band["crosstalk_photons"] / 1e-6 / 10**-0.4
    assert sent == pytest.approx(photons, rel=0.02)


def test_stronger_light_means_less_key_and_better_filters_more():
    at = [("sensitivity_dbm=-34",), ("sensitivity_dbm=-30",), ("sensitivity_dbm=-30",
          "isolation_db=300"), ("sensitivity_dbm=-10", "isolation_db=300")]  # fmt: skip
    keys = [front(*c)["wavelength"].derived["key_alone_bits_per_use"] for c in at]
    assert keys[2] > keys[0] > keys[1]
    assert keys[3] < keys[2]


def test_the_key_beside_data_is_that_of_a_noisier_plan():
    own = ["modulation_variance=2", "variance_unit=SNU"]
    found = front("sensitivity_dbm=-28", *own)["wavelength"].derived
    noise = 0.0085 + found["added_noise_snu"]
    told = [*own, "psk=none", f"excess_noise_snu={noise}", "length_km=20"]
    finite = make_plan("fiber-metro", told).curves[1]
    assert finite.label == "1e9"
    assert found["key_alone_bits_per_use"] == pytest.approx(
        float(finite.arrays["balance_bits_per_use"][0]), rel=1e-9
    )


def test_raman_light_that_is_forgotten_would_be_seen(monkeypatch):
    changes = ["sensitivity_dbm=-10", "isolation_db=300"]
    honest = front(*changes)["wavelength"].derived["key_alone_bits_per_use"]
    monkeypatch.setattr(
        coexistence, "scattered_photons", lambda values, data: np.zeros(1)
    )
    assert front(*changes)["wavelength"].derived["key_alone_bits_per_use"] > honest
    monkeypatch.undo()
    whole = coexistence.own_carrier

    def forgets_margin(scenario, value):
        found = whole(scenario, value)
        weaker = replace(found.neighbour, photons_per_use=0.0)
        return replace(found, neighbour=weaker)

    monkeypatch.setattr("scqc.plan.pareto.own_carrier", forgets_margin)
    assert front(*changes)["wavelength"].derived["stray_photons"] == 0.0


def test_every_constant_is_an_assumption_that_can_be_set():
    changes = ["guard_time=0.2", "coexistence.isolation_db=60", "fibre_k=250"]
    plan = make_front("fiber-metro", changes, 20.0)
    origin = {a.key: (a.value, a.origin) for a in plan.assumptions}
    assert origin["coexistence.guard_time"] == (0.2, "set")
    assert origin["coexistence.isolation_db"] == (60.0, "set")
    assert origin["coexistence.classical_nm"] == (1551.72, "default")
    for name in coexistence.Coexistence.model_fields:
        assert f"coexistence.{name}" in origin
    time = next(c for c in plan.curves if c.label == "time")
    data, key = (time.arrays[f"{n}_bits_per_use"] for n in ("classical", "key"))
    # With everything divided, one fifth of both is lost.
    share = data / data.max() + key / time.derived["key_alone_bits_per_use"]
    assert share[1:-1] == pytest.approx(np.full(share.size - 2, 0.8), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["guard_time=1"], "must be at least 0 and below 1; nearest valid value 0.999"),
        (["classical_nm=1700"], "nearest valid value 1665"),
        (["sensitivty_dbm=-30"], "did you mean 'sensitivity_dbm'"),
        (["raman_gain_per_w_km=-1"], "nearest valid value 0"),
        (["classical_direction=back"], "'co' or 'counter'"),
    ],
)
def test_bad_constants_name_the_range(changes, says):
    with pytest.raises(PlanSettingsError) as caught:
        front(*changes)
    assert says in str(caught.value)


def test_models_of_coexistence_refuse_what_they_do_not_know():
    with pytest.raises(
        ModelRangeError, match=r"Raman offset.*nearest valid value 5e\+10"
    ):
        front("classical_nm=1550.2")
    with pytest.raises(ModelRangeError, match=r"launch power.*nearest valid value 20"):
        front("sensitivity_dbm=20")
    with pytest.raises(ModelRangeError, match="Raman offset"):
        make_plan("fiber-metro", ["neighbour_dbm=0", "neighbour_nm=1550.12"])
    with pytest.raises(PlanSettingsError, match="unknown key"):
        make_plan("fiber-metro", ["guard_time=0.1"])
    with pytest.raises(PlanSettingsError, match="neither data nor key"):
        make_front("review-fig4", [], 1.0)
    with pytest.raises(PlanSettingsError, match="nearest valid value 1000"):
        make_front("fiber-metro", [], 5000.0)


def test_free_space_has_no_raman_light():
    for preset, at in (("satellite-cv", 500.0), ("thz-indoor", 1.0)):
        curves = {
            c.label: c
            for c in make_front(
                preset, ["fading_nodes=8"] if "sat" in preset else [], at
            ).curves
        }
        found = curves["wavelength"].derived
        assert found["raman_photons"] == 0.0
        assert found["crosstalk_photons"] > 0.0
