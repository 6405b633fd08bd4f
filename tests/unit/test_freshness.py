"""A record that was there before is refused, whatever its length is now."""

import numpy as np
import pytest

from scqc.core.errors import SignalError
from scqc.core.rng import stream
from scqc.runs.freshness import COMPARED, REMEMBERED, FreshRecords


def noise(n_samples, name):
    return stream(1, name).integers(-500, 500, n_samples).astype(np.int16)


def test_an_old_record_is_refused_and_both_are_named():
    fresh, first = FreshRecords(), noise(3 * COMPARED, "first")
    fresh.check("signal of burst 1", first)
    fresh.check("shot of burst 1", noise(3 * COMPARED, "second"))
    with pytest.raises(SignalError, match=r"shot of burst 2.*signal of burst 1.*stale"):
        fresh.check("shot of burst 2", first)


@pytest.mark.parametrize("length", [COMPARED, 2 * COMPARED, 5 * COMPARED])
def test_another_length_hides_nothing(length):
    fresh, first = FreshRecords(), noise(3 * COMPARED, "first")
    fresh.check("signal", first)
    with pytest.raises(SignalError):
        fresh.check("shot", np.resize(first, length))


def test_records_that_differ_in_one_sample_are_two():
    fresh, first = FreshRecords(), noise(COMPARED, "first")
    fresh.check("signal", first)
    other = first.copy()
    other[-1] += 1
    fresh.check("signal", other)
    assert len(fresh.seen) == 2


def test_a_constant_record_tells_nothing():
    fresh = FreshRecords()
    for _ in range(2):
        fresh.check("electronic", np.zeros(100, dtype=np.int16))
        fresh.check("electronic", np.zeros(0, dtype=np.int16))
    assert not fresh.seen


def test_what_is_remembered_is_bounded():
    fresh = FreshRecords()
    records = np.random.default_rng(7).integers(0, 99, (REMEMBERED + 5, 16))
    for number, record in enumerate(records):
        fresh.check(str(number), record)
    assert len(fresh.seen) == REMEMBERED
    with pytest.raises(SignalError, match=str(REMEMBERED + 4)):
        fresh.check("again", records[-1])
    with pytest.raises(SignalError, match="is the one of 5:"):
        fresh.check("again", records[5])
