"""Alarms of a running end: when they begin, how often, and when they are over."""

import json
import time
from dataclasses import replace

import pytest
from patience_kit import until
from run_kit import CONFIGS

from protocols.key_sink.schedule import BLOCK_PAD_BITS
from scqc.core.errors import CaptureError, KeySinkError
from scqc.runs.lab_config import parse_config
from scqc.runs.parties import levels as levels_module
from scqc.runs.parties.alarms import CODES, SEVERITIES, Alarms, worst
from scqc.runs.parties.conditions import (
    figures_severity,
    judge,
    limits_of,
    severity_of,
)
from scqc.runs.parties.levels import LevelHistory
from scqc.runs.parties.observer import Observer, Sources
from scqc.runs.parties.status import DoneBlock, Status

CV = parse_config((CONFIGS / "cv_quick.toml").read_text())
DV = parse_config((CONFIGS / "dv_quick.toml").read_text())


class Sink:
    """Levels that a test sets."""

    def __init__(self, bits=1 << 20):
        self.bits, self.error = dict.fromkeys(("authentication", "pad", "key"), bits), 0

    def available_bits(self, purpose, direction, simulated):
        if self.error:
            raise self.error
        return self.bits[purpose]


@pytest.fixture
def end(tmp_path):
    return observed("bob", DV, tmp_path)


class observed:  # noqa: N801
    """An end with everything that is asked of it under the test's hands."""

    def __init__(self, party, config, home):
        self.status, self.sink, self.link = Status(party), Sink(), None
        self.lines = []
        self.status.alarms.tell = self.lines.append
        self.sources = Sources(config, home, self.sink, self.status, lambda: self.link)
        self.observer = Observer(self.sources)

    def codes(self):
        return [alarm["code"] for alarm in self.observer.look()["alarms"]]


class Link:
    received, rejected, strangers = 7, 2, 1

    def __init__(self, silent_s):
        self.heard_s = time.monotonic() - silent_s


def block(bits=100, **figures):
    return DoneBlock(0, time.monotonic(), bits, figures)


def test_an_alarm_counts_and_tells_only_when_it_begins_and_ends():
    lines = []
    alarms = Alarms(lines.append)
    for number in range(5):
        alarms.happened("block-failed", f"no {number}")
    (alarm,) = alarms.standing()
    assert (alarm["count"], alarm["text"]) == (5, "no 4")
    assert (alarm["code"], alarm["severity"]) == ("block-failed", "minor")
    assert alarm["first_utc"] <= alarm["last_utc"]
    assert len(lines) == 1
    alarms.clear("block-failed")
    alarms.clear("block-failed")
    assert (alarms.standing(), len(lines)) == ([], 2)
    (over,) = alarms.cleared()
    assert over["count"] == 5
    assert over["cleared_utc"] >= over["last_utc"]
    alarms.happened("block-failed", "again")
    assert alarms.standing()[0]["count"] == 1


def test_a_condition_that_goes_on_is_not_counted_again():
    alarms = Alarms()
    for text in ("80 bits", "60 bits", "40 bits"):
        alarms.judge("authentication-low", text)
    (alarm,) = alarms.standing()
    assert (alarm["count"], alarm["text"]) == (1, "40 bits")
    alarms.judge("authentication-low", "")
    assert alarms.standing() == []


def test_the_worst_comes_first_and_memory_is_bounded():
    alarms = Alarms()
    alarms.happened("block-failed", "x" * 100_000 + "\n" + "y")
    alarms.happened("fault", "z")
    assert [alarm["code"] for alarm in alarms.standing()] == ["fault", "block-failed"]
    assert len(alarms.standing()[1]["text"]) <= 1000
    for _ in range(100):
        alarms.happened("no-key", "t")
        alarms.clear("no-key")
    assert len(alarms.cleared()) == 20


def test_an_alarm_stands_when_the_journal_cannot_be_written():
    def full(_):
        raise CaptureError("journal: append: no space left")

    alarms = Alarms(full)
    alarms.happened("disk-low", "full")
    assert alarms.standing()
    alarms.clear("disk-low")
    assert not alarms.standing()


def test_severities_are_ordered():
    assert SEVERITIES == ("ok", "minor", "major", "invalid")
    assert worst([]) == "ok"
    assert worst(["minor", "major", "ok"]) == "major"
    assert set(CODES.values()) <= {"minor", "major"}


def test_blocks_that_fail_and_one_that_does_not(end):
    assert end.codes() == []
    for _ in range(DV.peer.no_key_blocks):
        end.status.failed("light of block-000000: SyncError: no frame")
    assert end.codes() == ["block-failed", "no-key"]
    shown = end.observer.look()
    assert shown["alarms"][0]["count"] == DV.peer.no_key_blocks
    assert (shown["failed"], shown["blocks_without_key"]) == (3, 3)
    end.status.done(block(0))
    assert end.codes() == ["no-key"]
    end.status.done(block(1))
    assert end.codes() == []


def test_a_channel_with_too_many_errors(end):
    limit = DV.security.max_error_rate
    end.status.done(block(qber_z=0.01, qber_x=1.01 * limit))
    assert end.codes() == ["qber-high"]
    assert end.observer.look()["last_severity"] == "major"
    end.status.done(block(qber_z=0.01, qber_x=0.99 * limit))
    assert end.codes() == []
    # A block that a check stops has no figures: the alarm stays with the old ones.
    end.status.failed("error rate 9.00% in basis X", too_many_errors=True)
    for _ in range(2):
        assert end.codes() == ["qber-high", "block-failed"]
    end.status.done(block(qber_z=0.01, qber_x=0.01))
    assert end.codes() == []


def test_excess_noise_is_an_alarm_only_with_a_limit(tmp_path):
    peer = CV.peer.model_copy(update={"max_xi_snu": 0.05})
    for config, expected in ((CV, []), (CV.model_copy(update={"peer": peer}), "xi")):
        end = observed("bob", config, tmp_path)
        end.status.done(block(xi_snu=0.06, transmittance=0.5, ber=0.01))
        assert end.codes() == (["xi-high"] if expected else [])
        end.status.done(block(xi_snu=0.04, transmittance=0.5, ber=0.01))
        assert end.codes() == []


def test_levels_that_are_low(end):
    low = DV.peer.low_blocks * BLOCK_PAD_BITS
    end.sink.bits["authentication"] = low
    assert end.codes() == []
    end.sink.bits["authentication"] = low - 1
    assert end.codes() == ["authentication-low"]
    end.sink.bits["pad"] = DV.keys.reserve_bits + DV.peer.low_pad_bits - 1
    assert end.codes() == ["authentication-low", "pad-low"]
    assert end.observer.look()["severity"] == "major"
    end.sink.bits.update(authentication=low, pad=1 << 20)
    assert end.codes() == []


def test_pad_and_export_are_missed_only_where_there_should_be_some(tmp_path):
    cv, dv = (observed("bob", config, tmp_path) for config in (CV, DV))
    for end in (cv, dv):
        end.sink.bits.update(pad=0, key=0)
        # Before the first block nobody has made any.
        assert "export-empty" not in end.codes()
        end.status.done(block())
    assert cv.codes() == ["export-empty"]
    assert dv.codes() == ["pad-low"]


def test_a_sink_that_cannot_be_read_is_an_alarm_and_no_more(end):
    end.sink.error = KeySinkError("bob.sqlite: database disk image is malformed")
    shown = end.observer.look()
    assert [alarm["code"] for alarm in shown["alarms"]] == ["sink-failed"]
    assert (shown["sink"], shown["sink_lasts_s"]) == ({}, {})
    assert "malformed" in shown["sink_problem"]
    end.sink.error = 0
    assert end.codes() == []


def test_disk_and_clocks(end, monkeypatch):
    free = [10**15]
    monkeypatch.setattr(
        "scqc.runs.parties.observer.shutil.disk_usage",
        lambda _: type("Usage", (), {"free": free[0]}),
    )
    end.status.greeted(0.4 * DV.peer.max_clock_skew_s)
    assert end.codes() == []
    end.status.greeted(-0.6 * DV.peer.max_clock_skew_s)
    free[0] = limits_of(DV).disk_bytes - 1
    assert end.codes() == ["disk-low", "clock-skew"]


def test_alice_sees_that_bob_is_silent(tmp_path):
    end = observed("alice", DV, tmp_path)
    end.link = Link(DV.peer.peer_silent_s + 5.0)
    # Whom she has not met cannot be lost.
    assert end.codes() == []
    end.status.enter("linked")
    end.status.greeted(0.0)
    assert end.codes() == ["peer-lost"]
    end.link = Link(1.0)
    shown = end.observer.look()
    assert (shown["alarms"], shown["peer_age_s"]) == ([], pytest.approx(1.0, abs=1.0))
    assert (shown["messages_rejected"], shown["strangers"]) == (2, 1)


def test_a_greeting_ends_what_stood_before_it(end):
    end.status.alarms.happened("peer-lost", "PeerLost: no sign of life")
    end.status.alarms.happened("greeting-refused", "another config")
    assert end.codes() == ["peer-lost", "greeting-refused"]
    end.status.greeted(0.0)
    assert end.codes() == []


def test_a_fault_lasts_as_long_as_the_state(end):
    for _ in range(3):
        end.status.enter("fault", "3 blocks in a row failed")
    assert end.codes() == ["fault"]
    assert end.observer.look()["alarms"][0]["count"] == 1
    assert end.observer.look()["severity"] == "major"
    end.status.enter("running")
    assert end.codes() == []
    assert len(end.lines) == 2


def test_figures_grow_old():
    fresh = {"last_age_s": 1.0, "blocks_per_s": 1.0}
    assert figures_severity(fresh, []) == "ok"
    assert figures_severity(fresh, ["xi-high"]) == "major"
    assert figures_severity(fresh | {"last_age_s": None}, []) == "invalid"
    assert figures_severity(fresh | {"last_age_s": 61.0}, []) == "invalid"
    # Where a block takes a minute, five of them may pass.
    slow = {"last_age_s": 299.0, "blocks_per_s": 1.0 / 60.0}
    assert figures_severity(slow, []) == "ok"


def test_a_state_has_a_severity():
    for state, expected in (("running", "ok"), ("paused", "minor"), ("fault", "major")):
        assert severity_of({"state": state, "alarms": []}) == expected


def test_every_alarm_is_judged_or_told_by_somebody(tmp_path):
    """Conditions may not name an alarm that is none, or leave one standing."""
    end, judged = observed("alice", DV, tmp_path), []

    class Noting(Alarms):
        def judge(self, code, text):
            judged.append(code)

    shown = end.observer.look()
    judge(Noting(), shown | {"last": {"qber_z": 0.0, "xi_snu": 0.0}}, limits_of(DV))
    events = {"greeting-refused", "block-failed", "fault", "watchdog"}
    assert set(judged) | events == set(CODES)


def test_how_long_a_pool_lasts(monkeypatch):
    history = LevelHistory()
    assert history.lasts_s() == {}
    # A saw: 100 bits go every 5 s, 300 come every 20 s.
    for step in range(61):
        level = 10_000 - 100 * step + 300 * (step // 4)
        history.add({"pad": level, "full": 5, "up": step}, 5.0 * step)
    drained = 100 * 60 - 300 * 15
    expected = (10_000 - drained) * 300.0 / drained
    assert history.lasts_s() == {
        "pad": pytest.approx(expected, abs=0.1),
        "full": None,
        "up": None,
    }
    # Many samples of one moment are one, and the oldest go.
    for step in range(10_000):
        history.add({"pad": 1}, 400.0 + 0.01 * step)
    assert len(history._samples) <= levels_module._SAMPLES


def test_little_is_said_too_early():
    history = LevelHistory()
    for at_s in (0.0, 10.0, 20.0):
        history.add({"pad": int(1000 - at_s)}, at_s)
    assert history.lasts_s() == {"pad": None}


def test_a_link_that_stands_still_has_no_rate(end):
    at_s = time.monotonic() - 100.0
    for number in range(3):
        end.status.done(DoneBlock(number, at_s + number, 1000))
    shown = end.observer.look()
    # Two blocks in two seconds, then nothing for 98, or more if this took long.
    now_s = time.monotonic() - at_s
    assert 2.0 / now_s * 0.8 < shown["blocks_per_s"] < 2.0 / 99.0 * 1.2
    assert 97.9 < shown["last_block_age_s"] < now_s - 1.9


def test_the_observer_looks_when_nobody_asks(end, monkeypatch):
    monkeypatch.setattr("scqc.runs.parties.observer._INTERVAL_S", 0.01)
    end.sink.bits["authentication"] = 0
    with end.observer.watching():
        until(lambda: end.lines)
    assert end.lines[0].startswith("authentication-low: major: 0 bits")


def test_what_is_shown_is_json_and_bounded(end):
    for number in range(1000):
        end.status.failed(f"no {number}")
        end.status.done(block(10, qber_z=0.01, qber_x=0.01))
    assert len(json.dumps(end.observer.look())) < 30_000


def test_the_limits_of_a_direct_link_expect_no_key():
    security = DV.security.model_copy(update={"encoding": "direct"})
    limits = limits_of(DV.model_copy(update={"security": security}))
    assert limits == replace(limits_of(DV), no_key_blocks=0)
