"""What limits a key: every answer is a zero of the key."""

import math
from dataclasses import replace

import numpy as np
import pytest

from protocols.reconciliation import pairs
from protocols.security.cv_finite import Block
from protocols.security.cv_rates import Link, Receiver
from protocols.security.decoy import Intensities
from protocols.security.displacement import Imperfections
from protocols.security.dv_finite import PhotonBlock, expected_ledger
from protocols.security.dv_rates import Decoys, PhotonLink, gains, key_per_slot
from protocols.security.key_limits import (
    Cause,
    CvPlan,
    cv_balance,
    cv_limits,
    dv_block_limits,
    dv_limits,
    turning_points,
)

GOOD = CvPlan(
    Link(0.6, 4.0, 0.01),
    Receiver(0.8, 0.05, "heterodyne"),
    1e-6,
    Imperfections(1e-5),
    pairs.fixed(0.95, 0.05),
    Block(1e9, 1e9),
)


def _moved(plan, name, value):
    if name == "phase_variance_rad2":
        return replace(plan, imperfections=replace(plan.imperfections, **{name: value}))
    if name == "beta":
        return replace(plan, pair=replace(plan.pair, beta=np.asarray(value)))
    if name == "block_symbols":
        return replace(plan, block=Block(value, value))
    if name == "loss_db":
        return replace(plan, link=replace(plan.link, transmittance=10 ** (-value / 10)))
    return replace(plan, link=replace(plan.link, **{name: value}))


@pytest.mark.parametrize(
    ("name", "spoiled"),
    [
        ("loss_db", 25.0),
        ("xi_snu", 0.3),
        ("phase_variance_rad2", 4e-3),
        ("beta", 0.4),
        ("environment_snu", 1.8),
        ("block_symbols", 2e4),
    ],
)
def test_the_one_thing_spoiled_is_found_and_its_zero_too(name, spoiled):
    assert cv_balance(GOOD) > 0.0
    bad = _moved(GOOD, name, spoiled)
    assert cv_balance(bad) <= 0.0
    turns = {turn.name: turn for turn in cv_limits(bad)}
    needed = turns[name].needed
    assert turns[name].possible
    assert cv_balance(_moved(bad, name, needed)) > 0.0
    slightly = needed + 1e-3 * (spoiled - needed)
    assert cv_balance(_moved(bad, name, slightly)) <= 0.0
    assert f"{name} = {spoiled:.4g}: must be" in str(turns[name])


def test_what_limits_most_comes_first():
    bad = replace(GOOD, imperfections=Imperfections(5e-3))
    turns = cv_limits(bad)
    assert turns[0].name == "phase_variance_rad2"
    hopeless = [turn for turn in turns if not turn.possible]
    assert hopeless
    assert all("no value alone" in str(turn) for turn in hopeless)
    # Those that help stand before those that do not.
    assert [t.possible for t in turns] == sorted(
        (t.possible for t in turns), reverse=True
    )


def test_phase_noise_beyond_any_displacement_is_a_limit_too():
    bad = replace(GOOD, imperfections=Imperfections(0.2))
    assert cv_balance(bad) == -math.inf
    assert cv_limits(bad)[0].name == "phase_variance_rad2"


def test_a_point_with_a_key_needs_nothing():
    for turn in cv_limits(GOOD):
        assert turn.needed == turn.value


def test_endless_blocks_have_no_size():
    names = {turn.name for turn in cv_limits(replace(GOOD, block=None))}
    assert "block_symbols" not in names


def test_photon_limits():
    decoys = Decoys()
    link = PhotonLink(2e-3, 2.024e-4, 0.01)
    turns = {turn.name: turn for turn in dv_limits(link, decoys)}

    def key(changed):
        return float(key_per_slot(gains(changed, decoys), decoys))

    assert key(link) < 0.0
    dark = turns["background_yield"].needed
    assert key(replace(link, background_yield=dark)) > 0.0
    assert key(replace(link, background_yield=1.001 * dark)) < 0.0
    loss = turns["loss_db"].needed
    assert key(replace(link, transmittance=10 ** (-0.1 * loss))) > 0.0
    assert not turns["misalignment"].possible
    fading = PhotonLink(np.array([1e-3, 3e-3]), 2.024e-4, 0.01, np.array([0.5, 0.5]))
    faded = {turn.name: turn for turn in dv_limits(fading, decoys)}
    assert faded["loss_db"].needed == pytest.approx(loss, abs=0.05)


def test_photon_blocks_have_a_size():
    link, block = PhotonLink(1e-3, 1e-6, 0.01), PhotonBlock(1e7, 0.8)
    intensities = Intensities((0.6, 0.2, 0.0), (0.8, 0.1, 0.1))
    assert expected_ledger(link, intensities, block).secret_bits == 0
    turns = {turn.name: turn for turn in dv_block_limits(link, intensities, block)}
    needed = turns["block_slots"].needed
    assert needed > 1e7
    for factor, some in ((1.05, True), (0.95, False)):
        grown = replace(block, slots=factor * needed)
        ledger = expected_ledger(link, intensities, grown)
        # Counts are whole numbers: within a few parts in a hundred.
        assert (ledger.secret_bits > 0) == some


def test_a_window_in_the_middle_is_found():
    window = Cause("size", 1.0, 100.0, lambda v: 1.0 if 3.0 < v < 9.0 else -1.0)
    (turn,) = turning_points([window])
    assert turn.needed == pytest.approx(3.0, rel=1e-6)
