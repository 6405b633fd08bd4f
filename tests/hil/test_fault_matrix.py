"""Drivers, wires and faults: the cells that meet all pairs, and in the soak all."""

import os

import pytest
from fault_kit import (
    BUSY_S,
    IO_TIMEOUT_S,
    NAME,
    SAFE_S,
    SLACK_S,
    SUBJECTS,
    cells,
    held,
    laboratory,
    left_over,
    make_safe,
    pairwise,
    parameters,
    strike,
    use_once,
)

from sim_backends.serve import _EMULATORS

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
]


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    """Use every driver once: what is imported and compiled has no deadline then."""
    for driver in SUBJECTS:
        cell = next(c for c in cells() if c.driver == driver)
        with laboratory(cell) as lab:
            use_once(cell, lab)


@pytest.mark.parametrize("cell", parameters())
def test_a_fault_ends_as_documented_and_leaves_nothing_behind(cell):
    before = held()
    with laboratory(cell) as lab:
        device = lab.devices[NAME]
        outcome = strike(cell, lab)
        assert outcome.struck
        assert isinstance(outcome.error, cell.errors)
        if outcome.error is not None:
            assert outcome.error.instrument == NAME
            assert outcome.since_strike_s < IO_TIMEOUT_S + SLACK_S
        if outcome.wall_s >= IO_TIMEOUT_S:
            # Who waits does not spin.
            assert outcome.cpu_s < 0.5 * outcome.wall_s
        # An emulator that still sends cannot be spoken to on some wires.
        assert make_safe(cell, lab) < SAFE_S + BUSY_S.get(cell.kind, 0.0)
        assert getattr(device, "is_safe", True)
        # The fault is over: all is well again, with nothing stale.
        use_once(cell, lab)
    assert not left_over(before)


def test_every_emulated_instrument_is_in_the_matrix():
    assert set(SUBJECTS) == set(_EMULATORS)


def test_the_cover_meets_every_pair_and_is_always_the_same():
    found = cells()
    chosen = pairwise(found)
    assert chosen == pairwise(found)
    assert len(chosen) < len(found) / 4
    for one, other in (("driver", "wire"), ("driver", "at"), ("wire", "kind")):
        everywhere, covered = (
            {(getattr(c, one), getattr(c, other)) for c in group}
            for group in (found, chosen)
        )
        assert covered == everywhere
