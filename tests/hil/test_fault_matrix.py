"""Drivers, wires and faults: the cells that meet all pairs, and in the soak all."""

import os

import pytest
from fault_kit import (
    SUBJECTS,
    cells,
    check,
    in_time,
    laboratory,
    pairwise,
    parameters,
    strike,
    warm_up,
)
from patience_kit import Late, not_late_each_time

from scqc.core.errors import InstrumentTimeout
from sim_backends.serve import _EMULATORS

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
    # pyvisa-py leaves the sockets of a session that it could not open to the
    # collector of garbage.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _warm():
    warm_up()


@pytest.mark.parametrize("cell", parameters(on_lines=False))
def test_a_fault_ends_as_documented_and_leaves_nothing_behind(cell):
    check(cell)


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


@pytest.mark.parametrize(
    ("driver", "at", "check"),
    [
        ("keysight.m8190a", "switch", "driver.awg.keysight_m8190a.require_taken"),
        (
            "thorlabs.pm100",
            "configure",
            "driver.power_meter.thorlabs_pm100.require_taken",
        ),
    ],
)
@not_late_each_time
def test_the_matrix_sees_a_missing_look_at_what_was_taken(
    monkeypatch, driver, at, check
):
    """A shutter that stays where it was must not pass for one that moved."""
    wanted = (driver, "tcp", at, "not-taken")
    cell = next(c for c in cells() if (c.driver, c.wire, c.at, c.kind) == wanted)
    with laboratory(cell) as lab:
        outcome = strike(cell, lab)
        in_time(cell, outcome)
        assert isinstance(outcome.error, cell.errors)
        with monkeypatch.context() as blind:
            blind.setattr(check, lambda *_: None)
            error = strike(cell, lab).error
        if isinstance(error, InstrumentTimeout):
            raise Late("an exchange was cut off")
        assert error is None
