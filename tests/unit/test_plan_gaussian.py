"""The Gaussian scheme in plans: one displacement, fades, blocks, what is refused."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erfc

from protocols.security.cv_rates import Link, Receiver, rates
from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan import cv, cv_light
from scqc.plan.channels import channel_points
from scqc.plan.cv import cv_points
from scqc.plan.cv_blocks import reconciliation_pair
from scqc.plan.evaluate import evaluate_points
from scqc.plan.fades import adjacent_bins, sorted_into_bins, uses_of
from scqc.plan.make import make_plan
from scqc.plan.overrides import settings_of
from scqc.plan.points import one_block
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.values import Values

AT = ("altitude_km=500", "block_sizes=[]")


def one(preset, *changes, size=0.0):
    """Return columns at one point, the key among them."""
    scenario, _, _ = settings_of(preset, list(changes))
    name = scenario.sweep.variable
    found = evaluate_points(scenario, {name: np.array([scenario.sweep.start])}, (size,))
    columns = {k: float(v[0]) for k, v in found.columns.items()}
    return columns | {"key": float(found.balance_bits[size][0])}


def channel_and_values(preset, *changes):
    scenario, _, _ = settings_of(preset, list(changes))
    channel = channel_points(scenario.channel, Values(scenario.channel, {}, (1,)))
    return scenario.scheme, Values(scenario.scheme, {}, (1,)), channel


# satellite-cv: V_A 4, homodyne 0.6, 0.1 SNU, excess noise 0.005, 1e-4 rad^2.
V_A, ETA, NU, XI, SIGMA2 = 4.0, 0.6, 0.1, 0.005, 1e-4


def errors_of(squared, t):
    noise = 1.0 + NU + ETA * t * (V_A + XI + SIGMA2 * (squared + V_A))
    return 0.5 * erfc(np.sqrt(ETA * t * squared / (2.0 * noise)))


def planned_once(outage):
    """Displacement, payload and key of fading nodes, each a bin, by hand."""
    scheme, _, channel = channel_and_values("satellite-cv", *AT, "fading_nodes=512")
    t, weights = channel.nodes[:, 0], channel.weights
    reached = np.cumsum(weights) - 0.5 * weights
    level = np.interp(outage, reached, t)
    squared = brentq(lambda d: errors_of(d, level) - 1e-2, 1.0, 1e6)
    reads = errors_of(squared, t) <= 1e-2
    noise = XI + SIGMA2 * (squared + V_A) + 0.0 * t
    found = rates(Link(t, V_A, noise), Receiver(ETA, NU))
    pair = reconciliation_pair(scheme, found.snr)
    key = np.maximum((1.0 - pair.fer) * found.key_bits(pair.beta), 0.0)
    return squared, 0.75 * weights[reads].sum(), (weights * key)[reads].sum()


@pytest.mark.parametrize("outage", [0.25, 0.5])
def test_one_displacement_serves_all_fades(outage):
    squared, payload, key = planned_once(outage)
    # Fine bins, displacement taken off use by use: as good as a bin for every fade.
    fine = ("fading_bins=256", "fading_nodes=256", "removal_gain=use")
    found = one("satellite-cv", *AT, *fine, f"outage_share={outage}")
    assert found["photons_per_use"] == pytest.approx(
        0.5 * squared + 0.5 * V_A, rel=0.01
    )
    assert found["decoded_share"] == pytest.approx(1.0 - outage)
    assert found["classical_bits_per_use"] == pytest.approx(payload, abs=0.75 / 256)
    assert found["key"] == pytest.approx(key, rel=0.03)


def test_a_displacement_that_knows_the_fade_would_be_seen(monkeypatch):
    honest = one("satellite-cv", *AT, "outage_share=0.05")
    asked = cv_light._displaced

    def clairvoyant(scheme, parts, uses, level):
        return asked(scheme, parts, uses, uses.transmittance)

    monkeypatch.setattr(cv_light, "_displaced", clairvoyant)
    cheat = one("satellite-cv", *AT, "outage_share=0.05")
    assert cheat["key"] > 0.0 > honest["key"]


def test_alice_sends_the_same_into_every_bin():
    scheme, values, channel = channel_and_values("satellite-cv", *AT)
    points = cv_points(scheme, values, channel)
    phase = np.asarray(points.link.phase_xi_snu)
    assert phase.shape == (32, 1)
    # All but what the mean of a bin's root hides, which the deepest have most of.
    assert np.ptp(phase[16:]) < 1e-3 * phase.mean()


def test_a_steady_channel_gives_nothing_up():
    plain = one("fiber-metro", "length_km=20")
    assert plain["decoded_share"] == 1.0
    assert plain == one("fiber-metro", "length_km=20", "outage_share=0.9")


def test_what_spreads_within_a_bin_is_noise_of_modulation_and_displacement():
    scheme, values, channel = channel_and_values(
        "satellite-cv", *AT, "fading=unbinned", "fading_nodes=512"
    )
    squared, _, _ = planned_once(0.5)
    root = np.sqrt(channel.nodes[channel.weights.size // 2 :, 0])
    part = channel.weights[channel.weights.size // 2 :] / 0.5
    mean = (part * root).sum()
    spread = (part * (root - mean) ** 2).sum() / mean**2
    own = XI + 0.0
    link = cv_points(scheme, values, channel).link
    stray = 2.0 * float(channel.stray_mode_photons[0]) / mean**2
    assert link.xi_snu[0, 0] == pytest.approx(
        own + stray + spread * (V_A + squared), rel=0.01
    )
    tracked = scheme.model_copy(update={"removal_gain": "use"})
    link = cv_points(tracked, values, channel).link
    assert link.xi_snu[0, 0] == pytest.approx(own + stray + spread * V_A, rel=0.01)
    left = scheme.model_copy(update={"removal_gain": "use", "gain_variance": 1e-3})
    more = cv_points(left, Values(left, {}, (1,)), channel).link
    assert (more.xi_snu - link.xi_snu)[0, 0] == pytest.approx(1e-3 * squared, rel=0.01)


def test_bins_of_a_uniform_root():
    # Root uniform in 0 to 1: variance of a bin of width w is w^2 / 12.
    edges = np.linspace(0.0, 1.0, 1601)
    nodes = (0.5 * (edges[1:] + edges[:-1]))[:, np.newaxis] ** 2
    uses = uses_of(nodes, np.full(1600, 1.0 / 1600))
    for found in (adjacent_bins(uses, 8), sorted_into_bins(uses, 8)):
        middle = (np.arange(8) + 0.5) / 8
        assert found.root[:, 0] == pytest.approx(middle)
        assert found.variance[:, 0] == pytest.approx(
            np.full(8, 1 / 768), rel=(8 / 1600) ** 2 * 2
        )
        assert found.weights[:, 0] == pytest.approx(np.full(8, 1 / 8))


@pytest.mark.parametrize("size", [0.0, 1e10])
def test_nodes_of_the_fading_are_no_bins(size):
    keys = [
        one("satellite-cv", *AT, f"fading_nodes={n}", size=size)["key"]
        for n in (8, 32, 512)
    ]
    assert keys[1] == pytest.approx(keys[2], rel=0.02)
    assert keys[0] == pytest.approx(keys[2], rel=0.1)


def test_what_fewer_bins_hide_costs_key():
    keys = [
        one("satellite-cv", *AT, f"fading_bins={n}")["key"] for n in (4, 8, 16, 32, 64)
    ]
    assert keys == sorted(keys)
    assert keys[-1] > 0.0


def test_a_pass_is_displaced_second_by_second():
    # One block of two seconds at different ranges keeps either's light in its bins.
    scheme, _, _ = settings_of("satellite-cv", ["altitude_km=300"])
    channel = scheme.channel
    arrays = {"altitude_km": np.array([300.0, 900.0])}
    points = channel_points(channel, Values(channel, arrays, (2,)))
    values = Values(scheme.scheme, {}, (2,))
    uses = cv_light.decoded_uses(scheme.scheme, values, points)
    alone = cv_points(scheme.scheme, values, points)
    block = one_block(points, uses, 256)
    both = cv_points(scheme.scheme, Values(scheme.scheme, {}, (1,)), block)
    assert both.classical_bits[0] == pytest.approx(alone.classical_bits.mean())
    # Noise at the output is what adds up.
    out = [
        (p.weights * p.link.transmittance * p.link.phase_xi_snu).sum(axis=0).mean()
        for p in (alone, both)
    ]
    assert out[0] == pytest.approx(out[1], rel=1e-3)
    keys = [cv.cv_key_bits(scheme.scheme, p, 0.0).mean() for p in (alone, both)]
    assert keys[1] == pytest.approx(keys[0], rel=0.1)


PAIR = ["beta=0.95", "frame_error_rate=0.05"]
LITERATURE = ["finite=literature", "disclosed_share=0.1"]


@pytest.mark.parametrize("detection", [[], ["detection=homodyne", "psk=bpsk"]])
@pytest.mark.parametrize(
    "more",
    [
        ["direction=direct"],
        ["trust_phase=true"],
        ["trust_efficiency=false"],
        ["trust_electronic=false", "direction=direct"],
        [],
    ],
)
def test_a_finite_block_has_no_more_key_than_an_endless_one(more, detection):
    changes = [*PAIR, *LITERATURE, *more, *detection, "points=9", "stop=40"]
    plan = make_plan("fiber-metro", changes)
    endless, *finite = (c.arrays["balance_bits_per_use"] for c in plan.curves)
    assert np.any(endless > 0.0)
    for found in finite:
        assert np.all(found < np.maximum(endless, 0.0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["direction=direct"], "direction = direct: finite = ledger"),
        (["trust_phase=true"], "trust_phase = True, True, True"),
        (["trust_electronic=false"], "trust_electronic, trust_phase = True, False"),
        (["finite=literature"], "disclosed_share = 0: finite = literature"),
        (["detection=homodyne"], "set psk=bpsk or detection=heterodyne"),
        (["displaced_axes=measured"], "displaced_axes = measured leaves a quadrature"),
        (["modulation_variance=5"], "a variance without its unit: set variance_unit"),
        (
            ["modulation_variance=0", "variance_unit=SNU"],
            "modulation_variance = 0: must be above 0",
        ),
    ],
)
def test_refused_with_the_settings_that_are_wrong(changes, says):
    with pytest.raises(PlanSettingsError) as caught:
        make_plan("fiber-metro", [*changes, "points=2"])
    assert says in str(caught.value)


@pytest.mark.parametrize("changes", [["direction=direct"], ["trust_phase=true"]])
def test_endless_blocks_need_no_bench(changes):
    plan = make_plan("fiber-metro", [*changes, "length_km=2", "block_sizes=[]"])
    assert plan.has_key


def test_passes_are_finite_blocks():
    with pytest.raises(PlanSettingsError, match="direction = direct"):
        make_plan("pass-cv", ["direction=direct", "hours=1"])


def test_data_without_a_code_keep_their_errors():
    bare = ["length_km=10", "fec_rate=1", "block_sizes=[]"]
    with pytest.raises(ModelRangeError, match=r"without a code = 0\.4.*value 0\.001"):
        make_plan("fiber-metro", [*bare, "target_raw_ber=0.4"])
    assert one("fiber-metro", *bare, "target_raw_ber=1e-4")[
        "classical_bits_per_use"
    ] == pytest.approx(2.0)
    allowed = one("fiber-metro", *bare, "target_raw_ber=0.02", "residual_ber=0.03")
    assert allowed["classical_bits_per_use"] == pytest.approx(2.0)
    # With a code its own limit counts: 1.5 bits per use at 1 %.
    assert one("fiber-metro", "length_km=10")["classical_bits_per_use"] == 1.5


def test_literature_is_as_secure_as_asked():
    keys = [
        one("fiber-metro", *PAIR, *LITERATURE, "length_km=10", f"epsilon={e}", size=1e9)
        for e in (1e-3, 1e-10, 1e-30)
    ]
    assert keys[0]["key"] > keys[1]["key"] > keys[2]["key"]
    digits = one(
        "fiber-metro", *PAIR, *LITERATURE, "length_km=10", "literature_digits=8",
        size=1e9,
    )  # fmt: skip
    assert digits["key"] < keys[1]["key"]


@pytest.mark.parametrize(
    ("changes", "axes"), [([], 2.0), (["displaced_axes=measured"], 1.0)]
)
def test_photons_of_the_quadratures_that_are_displaced(changes, axes):
    at = ["altitude_km=500", "fading=mean", "phase_variance_rad2=0", "block_sizes=[]"]
    scheme, values, channel = channel_and_values("satellite-cv", *at, *changes)
    t = float(channel.transmittance[0])
    noise = 1.0 + NU + ETA * t * (V_A + XI)
    # z of an error rate of 1 %.
    squared = 2.326348**2 * noise / (ETA * t)
    found = cv_points(scheme, values, channel).columns["photons_per_use"][0]
    assert found == pytest.approx(0.25 * axes * squared + 0.5 * V_A, rel=1e-4)


@pytest.mark.parametrize("preset", ["fiber-metro", "fiber-access"])
def test_the_raw_error_rate_is_that_of_the_bits(preset):
    found = one(preset, "length_km=5")
    assert found["raw_ber"] == pytest.approx(1e-2, rel=1e-6)


def test_every_row_of_the_scheme_says_what_it_is():
    assert not [
        name
        for name, field in CvScheme.model_fields.items()
        if name != "kind" and not field.description
    ]
    rows = {a.key: a for a in make_plan("fiber-metro", ["length_km=5"]).assumptions}
    assert rows["model.attacks"].value == "collective"
    assert rows["model.attacks"].origin == "model"
    assert rows["model.amplifier_noise"].value == "trusted"
    untrusted = ["length_km=5", "trust_electronic=false", "trust_efficiency=false"]
    rows = {a.key: a for a in make_plan("fiber-metro", untrusted).assumptions}
    assert rows["model.amplifier_noise"].value == "Eve's"
    assert "model.code_words" in rows


@pytest.mark.parametrize("gain", ["bin", "use"])
def test_light_that_is_sent_through_fades_is_as_planned(gain):
    """Draw fades, symbols and bits; decide, take the displacement off, estimate."""
    at = ("altitude_km=300", "fading=unbinned", "fading_nodes=512", "block_sizes=[]")
    scheme, values, channel = channel_and_values(
        "satellite-cv", *at, f"removal_gain={gain}"
    )
    points = cv_points(scheme, values, channel)
    d = np.sqrt(2.0 * (points.columns["photons_per_use"][0] - 0.5 * V_A))
    rng = np.random.default_rng(7)
    reached = np.cumsum(channel.weights) - 0.5 * channel.weights
    # Half of the uses, in the deepest fades, are given up.
    share = 0.5 + 0.5 * rng.random(400_000)
    root = np.interp(share, reached, np.sqrt(channel.nodes[:, 0]))
    n = root.size
    bits = 1.0 - 2.0 * rng.integers(0, 2, n)
    sent = rng.normal(0.0, np.sqrt(V_A), (2, n))
    light = sent + d * bits + rng.normal(0.0, np.sqrt(1.0 + XI), (2, n))
    phase = rng.normal(0.0, np.sqrt(SIGMA2), n)
    arriving = root * (np.cos(phase) * light[0] - np.sin(phase) * light[1])
    vacuum = np.sqrt(1.0 + NU - ETA * root**2) * rng.normal(0.0, 1.0, n)
    seen = np.sqrt(ETA) * arriving + vacuum
    wrong = np.mean(seen * bits < 0.0)
    planned = points.columns["raw_ber"][0]
    assert wrong == pytest.approx(planned, abs=4.0 * np.sqrt(planned / n))
    known = root.mean() if gain == "bin" else root
    left = seen - np.sqrt(ETA) * known * d * bits
    slope = np.mean(left * sent[0]) / np.mean(sent[0] ** 2)
    rest = (left - slope * sent[0]) ** 2
    noise = (rest.mean() - 1.0 - NU) / slope**2
    link = points.link
    expected = float(link.xi_snu[0, 0] + link.phase_xi_snu[0, 0])
    assert noise == pytest.approx(
        expected, abs=4.0 * rest.std() / np.sqrt(n) / slope**2
    )
    off = np.sqrt(rest.mean() / (n * V_A)) / slope
    assert slope**2 / ETA == pytest.approx(
        float(link.transmittance[0, 0]), rel=8.0 * off
    )


def test_a_pass_has_no_more_key_than_its_seconds():
    # So many symbols that only bins and displacement tell the block from its seconds.
    plan = make_plan("pass-cv", ["hours=7", "symbol_rate_hz=1e12", "bins=128"])
    _, *every = plan.curves
    for curve in every:
        whole, parts = (
            curve.derived[n] for n in ("pass_key_bits", "asymptotic_key_bits")
        )
        assert 0.5 * parts < whole <= parts
