"""Dead time of a receiver of pulse pairs: the closed form against clicks one by one."""

import numpy as np
import pytest

from protocols.security.dv_rates import PhotonLink, click_rate, wrong_click_rate
from scqc.core.rng import stream
from scqc.plan.dead_time import Brightness, DeadTime
from scqc.plan.make import make_plan

SLOTS, RATE_HZ = 600_000, 50e6
FOUND = 0.2
BRIGHTNESS, SHARES = np.array([0.7, 0.25, 0.0]), np.array([0.3, 0.5, 0.2])


@pytest.mark.parametrize(
    ("dead_s", "edges", "middles"),
    [
        (0.0, 0.0, 0.0),
        (9e-9, 0.0, 0.0),
        # A dead time away: as often hidden as not.
        (10e-9, 0.5, 0.0),
        (11e-9, 1.0, 0.0),
        (40e-9, 2.0, 1.5),
        (45e-9, 2.0, 2.0),
        (50e-9, 2.5, 2.0),
    ],
)
def test_what_a_click_hides(dead_s, edges, middles):
    found = DeadTime.of(np.array([dead_s]), RATE_HZ)
    assert found.edges.tolist() == [edges]
    assert found.middles.tolist() == [middles]


def clicks_one_by_one(random, in_gate, half_slots, background=0.0):
    """Play slots with two detectors; return kinds, and where a middle would count."""
    kinds = random.choice(3, SLOTS, p=SHARES)
    light = 0.5 * FOUND * BRIGHTNESS[kinds]
    side = 0.25 * (1.0 - in_gate) * FOUND * BRIGHTNESS[kinds]
    last = np.full(2 * SLOTS, -(10**9))
    for _ in range(2):
        # Half slots: an edge, a middle, an edge, ...
        means = np.empty(2 * SLOTS)
        means[0::2] = side + np.append(0.0, side[:-1])
        means[1::2] = in_gate * light
        means += background
        events = np.flatnonzero(random.random(2 * SLOTS) < -np.expm1(-means))
        seen, ready = [], -1
        for t in events.tolist():
            if t >= ready:
                seen.append(t)
                ready = t + half_slots + 1
        clicks = np.full(2 * SLOTS, -(10**9))
        clicks[seen] = seen
        np.maximum(last, np.maximum.accumulate(clicks), out=last)
    middles = np.arange(1, 2 * SLOTS, 2)
    return kinds, middles - last[middles - 1] > half_slots


@pytest.mark.parametrize(
    ("in_gate", "half_slots", "background"),
    [
        # Clicks of background, per detector and half slot: seven in a thousand.
        (0.5, 4, 0.007),
        pytest.param(0.5, 4, 0.0, marks=pytest.mark.soak),
        pytest.param(0.8, 3, 0.0, marks=pytest.mark.soak),
        pytest.param(0.5, 30, 0.0, marks=pytest.mark.soak),
        pytest.param(0.5, 30, 0.01, marks=pytest.mark.soak),
    ],
)
def test_share_of_slots_that_are_seen(in_gate, half_slots, background):
    """Within five sigma and what the model says that it leaves out."""
    random = stream(7, f"dead/{half_slots}")
    kinds, counts = clicks_one_by_one(random, in_gate, half_slots, background)
    dead_s = 0.5 * (half_slots + 0.5) / RATE_HZ
    # Here background comes at half slots, so that a dead time holds a whole number.
    rate_hz = background * half_slots / dead_s
    dead = DeadTime.of(np.array(dead_s), RATE_HZ, rate_hz)
    light = Brightness(tuple(BRIGHTNESS), tuple(SHARES))
    assert light.mean == pytest.approx(BRIGHTNESS @ SHARES)
    receiver = np.array(FOUND), np.array(in_gate), light
    ready, off = dead.ready(*receiver), dead.left_out(*receiver)
    blinding = dead.blinding(np.array(FOUND), np.array(in_gate))
    for kind, photons in enumerate(BRIGHTNESS):
        seen = counts[kinds == kind]
        expected = ready * np.exp(-blinding * photons)
        sigma = np.sqrt(expected * (1.0 - expected) / seen.size)
        assert abs(seen.mean() - expected) < 5.0 * sigma + (off + 1e-3) * expected
    if half_slots == 4:
        # Without the slot's own early photons it would fail.
        assert blinding * BRIGHTNESS[0] > 3.0 * (5.0 * sigma + off + 1e-3)


def test_gains_are_those_of_a_receiver_that_sleeps():
    awake = PhotonLink(0.1, 1e-5, 0.02)
    asleep = PhotonLink(0.1, 1e-5, 0.02, ready=0.9, blinding=0.05)
    for rate in (click_rate, wrong_click_rate):
        expected = 0.9 * np.exp(-0.05 * 0.6) * rate(awake, 0.6)
        assert rate(asleep, 0.6) == pytest.approx(float(expected), rel=1e-12)


DECOY = ["scheme.kind=dv", "length_km=20", "block_sizes=[]"]


def gain(*changes):
    plan = make_plan("fiber-metro", [*DECOY, *changes])
    return float(plan.curves[0].arrays["gain_signal"][0])


def test_settings_of_the_receiver_reach_the_gains_and_the_list():
    # Half the photons: no click is the root of no click before; background apart.
    half = 1.0 - np.sqrt(1.0 - gain())
    assert gain("in_gate_share=0.5") == pytest.approx(half, rel=1e-4)
    assert gain("dead_time_s=1e-6") < 0.7 * gain()
    plan = make_plan("fiber-metro", [*DECOY, "dead_time_s=45e-9"])
    listed = {a.key: (a.value, a.origin) for a in plan.assumptions}
    assert listed["scheme.dead_time_s"] == (45e-9, "set")
    assert listed["scheme.in_gate_share"] == (1.0, "default")
    assert listed["scheme.public_share"] == (0.0, "default")


def test_public_slots_give_no_key_and_no_payload():
    def rates(*changes):
        plan = make_plan("fiber-metro", [*DECOY, "scheme.efficiency=0.7", *changes])
        arrays = plan.curves[0].arrays
        return [arrays[n][0] for n in ("key_bits_per_use", "payload_bits_per_use")]

    assert rates("public_share=0.25") == pytest.approx(
        [0.75 * r for r in rates()], rel=1e-4
    )
