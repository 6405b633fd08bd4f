"""Every number of a plan that may vary: swept it gives what it gives when set."""

import numpy as np
import pytest

from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan import evaluate
from scqc.plan.curves import curves
from scqc.plan.evaluate import evaluate_points
from scqc.plan.overrides import settings_of
from scqc.plan.scenario import numeric_names

PAIR = ("beta=0.9", "frame_error_rate=0.1")
FIBRE = ("length_km=10", "scheme.efficiency=0.7")
DV = ("scheme.kind=dv", "stray_yield=1e-6", "vacuum_photons=0.01")
NEIGHBOUR = ("neighbour_dbm=-20", "neighbour_direction=counter")
#: Settings with which the numbers of a part matter, and which part.
CASES = {
    "ledger": ("fiber-metro", "scheme", (*FIBRE, *PAIR, "calibration_samples=1e8")),
    "literature": (
        "fiber-metro",
        "scheme",
        (*FIBRE, *PAIR, "finite=literature", "disclosed_share=0.1"),
    ),
    "published": ("fiber-metro", "scheme", (*FIBRE, *PAIR, "finite=published")),
    "fading": ("satellite-cv", "scheme", ("altitude_km=300", *PAIR)),
    "chernoff": ("fiber-metro", "scheme", ("length_km=10", *DV)),
    "dv-published": ("review-fig2", "scheme", ("altitude_km=300",)),
    "fibre": ("fiber-metro", "channel", ("length_km=10", *DV, *NEIGHBOUR)),
    "downlink": ("satellite-cv", "channel", ("altitude_km=500", "sky=day")),
    "secant": ("satellite-cv", "channel", ("altitude_km=500", "extinction=secant")),
    "rytov": (
        "satellite-dv",
        "channel",
        ("altitude_km=500", "rytov_variance=1.0", "spreading=andrews-phillips"),
    ),
    "horizontal": ("satellite-cv", "channel", ("channel.kind=horizontal", "cn2=1e-14")),
    "radio": ("thz-indoor", "channel", ("distance_m=3", "rain_mm_per_h=1")),
    "slant": ("thz-slant", "channel", ("altitude_km=300",)),
    "between": ("satellite-dv", "channel", ("channel.kind=inter-satellite",)),
}


#: Numbers that another case has, too, by another model.
LONGER = {"literature", "secant", "rytov", "between"}


def other(field, now):
    """Another value, inside every range there is."""
    if field == "correction_efficiency":
        return 1.05 * now
    if field.endswith("_dbm"):
        return now + 3.0
    if field.endswith("_nm"):
        return 0.97 * now
    return 0.8 * now if now else 1e-3


def cases():
    for label, (preset, part, changes) in CASES.items():
        scenario, _, _ = settings_of(preset, changes)
        for name in numeric_names(scenario):
            now = getattr(getattr(scenario, part), name.rpartition(".")[2], None)
            if name.startswith(part) and now is not None:
                marks = [pytest.mark.soak] if label in LONGER else []
                case = (preset, changes, name)
                yield pytest.param(*case, id=f"{label}-{name}", marks=marks)


@pytest.mark.parametrize(("preset", "changes", "name"), list(cases()))
def test_the_end_of_a_sweep_is_what_setting_it_gives(preset, changes, name):
    start, _, _ = settings_of(preset, changes)
    part, _, field = name.partition(".")
    now, size = getattr(getattr(start, part), field), 1e9 * (part == "scheme")
    end = other(field, now)
    kept = [c for c in changes if not c.startswith((f"{field}=", f"{name}="))]
    unit = ["variance_unit=SNU"] if field == "modulation_variance" else []
    given, _, _ = settings_of(preset, [*kept, *unit, f"{name}={end!r}"])
    swept = evaluate_points(start, {name: np.array([now, end, now])}, (size,))
    alone = evaluate_points(given, {name: np.array([end])}, (size,))
    np.testing.assert_allclose(
        swept.balance_bits[size][1], alone.balance_bits[size][0], rtol=1e-9
    )
    np.testing.assert_allclose(
        swept.channel.total_loss_db[1], alone.channel.total_loss_db[0], rtol=1e-9
    )
    # And the start is not touched by it.
    first, _, last = swept.balance_bits[size]
    assert first == last


def test_a_number_that_is_not_grouped_would_be_seen(monkeypatch):
    monkeypatch.setattr(evaluate, "ONE_AT_A_TIME", frozenset())
    with pytest.raises(AssertionError):
        test_the_end_of_a_sweep_is_what_setting_it_gives(
            "fiber-metro", (*FIBRE, *PAIR), "scheme.beta"
        )


def test_groups_keep_the_order_and_the_shape_of_the_points():
    scenario, _, _ = settings_of("satellite-cv", ["block_sizes=[]"])
    cn2, wind = np.array([[1e-14, 2e-14, 1e-14], [0.0, 2e-14, 1e-14]]), 21.0
    height = np.array([[300.0, 400.0, 500.0], [600.0, 700.0, 800.0]])
    points = {
        "channel.ground_cn2": cn2,
        "channel.altitude_km": height,
        "channel.wind_m_per_s": np.full(cn2.shape, wind),
    }
    found = evaluate_points(scenario, points, (0.0,))
    assert found.balance_bits[0.0].shape == cn2.shape
    for i in np.ndindex(cn2.shape):
        one = {name: values[i].reshape(1) for name, values in points.items()}
        alone = evaluate_points(scenario, one, (0.0,))
        assert found.balance_bits[0.0][i] == pytest.approx(alone.balance_bits[0.0][0])
        assert found.channel.loss_db["turbulence"][i] == pytest.approx(
            alone.channel.loss_db["turbulence"][0]
        )


def test_the_swept_column_is_what_is_swept():
    sweep = [
        "sweep.variable=scheme.excess_noise_snu",
        "sweep.start=0",
        "sweep.stop=0.1",
    ]
    scenario, _, _ = settings_of(
        "fiber-metro", ["length_km=10", "sweep.points=3", "block_sizes=[]", *sweep]
    )
    (curve,), _ = curves(scenario)
    assert curve.arrays["excess_noise_snu"].tolist() == [0.0, 0.05, 0.1]
    assert np.all(curve.arrays["total_excess_noise_snu"] > [0.0, 0.05, 0.1])


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("scheme.signal_photons", [0.6, 0.2], "exceed decoy"),
        ("scheme.decoy_photons", [0.1, 0.0], "exceed the vacuum"),
        ("scheme.signal_share", [0.5, 0.96], "share of the vac"),
    ],
)
def test_intensities_out_of_order_are_outside_the_model(name, values, says):
    scenario, _, _ = settings_of("satellite-dv", ["altitude_km=500"])
    with pytest.raises(ModelRangeError, match=says):
        evaluate_points(scenario, {name: np.array(values)}, (0.0,))


def test_a_rule_between_settings_refuses_a_sweep_readably():
    sweep = ["sweep.variable=scheme.signal_share", "start=0.5", "stop=0.95"]
    changes = ["altitude_km=500", *sweep]
    with pytest.raises(PlanSettingsError, match="must leave a share above 0"):
        settings_of("satellite-dv", changes)
    with pytest.raises(PlanSettingsError, match="nearest valid value 1"):
        settings_of("satellite-dv", [*changes[:-1], "stop=1.5"])
