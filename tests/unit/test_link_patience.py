"""How long Bob waits: while there is hope, and no longer."""

import pytest

from scqc.runs.parties.patience import LinkTimes, Patience

TIMES = LinkTimes(silence_s=5.0, lost_s=30.0, turn_s=600.0, slowest_bytes_per_s=1e6)


def waiting(n_bytes=0, up=True):
    return Patience(TIMES, n_bytes, up, 100.0)


def test_silence_calls_for_another_connection_and_then_for_the_end():
    patience = waiting()
    assert not patience.wants_another(104.9)
    assert patience.wants_another(105.1)
    patience.sent(105.1)
    assert not patience.wants_another(110.0)
    # To repeat oneself is no sign of life of hers.
    assert not patience.is_lost(129.9)
    assert patience.is_lost(130.1)


def test_a_sign_of_life_renews_hope_but_a_turn_has_an_end():
    patience = waiting()
    for now_s in range(101, 700):
        patience.alive(0, float(now_s))
        assert not patience.is_lost(now_s + 29.9)
        assert not patience.wants_another(now_s + 4.9)
        assert patience.is_over(now_s) == (now_s > 700)
    assert patience.is_over(700.1)


@pytest.mark.parametrize("announced", [False, True])
def test_a_large_message_has_its_time_in_either_direction(announced):
    patience = waiting(0 if announced else 20_000_000)
    if announced:
        patience.alive(20_000_000, 100.0)
    assert not patience.wants_another(124.9)
    assert patience.wants_another(125.1)
    assert not patience.is_lost(149.9)
    assert patience.is_lost(150.1)


def test_a_message_is_on_its_way_only_while_there_is_a_connection():
    patience = waiting(600_000_000)
    patience.connected(False, 110.0)
    assert not patience.is_lost(139.9)
    assert patience.is_lost(140.1)
    patience.connected(True, 139.0)
    assert not patience.is_lost(500.0)
    # What was announced on a connection is gone with it.
    patience.alive(600_000_000, 500.0)
    patience.connected(False, 501.0)
    patience.connected(True, 502.0)
    assert patience.is_lost(500.0 + 30.0 + 600.1)


def test_nobody_was_ever_there():
    patience = waiting(600_000_000, up=False)
    for now_s in (110.0, 129.9):
        patience.connected(False, now_s)
        assert not patience.is_lost(now_s)
    assert patience.is_lost(130.1)


def test_a_connection_that_comes_and_goes_is_no_life():
    patience = waiting()
    for now_s in range(101, 140):
        patience.connected(bool(now_s % 2), float(now_s))
        patience.sent(float(now_s))
        assert patience.is_lost(now_s) == (now_s > 130)
