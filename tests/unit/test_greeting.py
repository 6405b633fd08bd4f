"""Two programs that greet: they agree, or they are told what does not fit."""

import json
import re
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest
from link_kit import LINK, OTHER_LINK, OTHER_SESSION, SESSION, as_json

from protocols.key_sink import KeySink, provision
from protocols.key_sink.resync import Resync
from protocols.messages import wire
from protocols.messages.greeting import AliceGreeting, BobGreeting, Terms
from protocols.messages.terms import canonical, config_digest
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.core.errors import KeySinkError, PeerError, ProtocolAbort, ScqcError
from scqc.core.rng import ReplayEntropy
from scqc.runs.lab_config import parse_config
from scqc.runs.parties.shared_config import shared_config

SETTINGS = {"link": {"bursts": 8, "rate_hz": 5e7}, "simulated": True}


class Pair:
    """Both ends of a greeting, with key sinks of the same start key."""

    def __init__(self, folder, bob_folder=None):
        self.sinks = {"alice": KeySink(folder / "a"), "bob": KeySink(folder / "b")}
        provision(list(self.sinks.values()), 1 << 16, ReplayEntropy(1, "start"))
        self.reset()

    def reset(self, alice=None, bob=None):
        def terms(party, changes):
            fields = {"link": LINK, "party": party, "config": canonical(SETTINGS)}
            return Terms(**{**fields, **(changes or {})})

        def sink(party, sends):
            entropy = ReplayEntropy(time.monotonic_ns(), party)
            return Resync(
                self.sinks[party], sends, allow_simulated=True, entropy=entropy
            )

        self.alice = AliceGreeting(terms("alice", alice), sink("alice", ALICE_TO_BOB))
        self.bob = BobGreeting(terms("bob", bob), sink("bob", BOB_TO_ALICE), SESSION)
        return self

    def run(self, change=lambda number, frames: frames):
        """Carry the frames; `change` may alter those of a turn."""
        frames, number = self.bob.start(), 0
        while frames:
            answer = self.alice.answer(change(number, frames))
            frames = self.bob.receive(change(number + 1, answer))
            number += 2

    def spent_bits(self):
        return {
            name: sum(e.used_bits for e in sink.list())
            for name, sink in self.sinks.items()
        }

    def close(self):
        for sink in self.sinks.values():
            sink.close()


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    yield made
    made.close()


def test_both_ends_agree_and_pay_for_one_tag_each(pair):
    for number in range(1, 4):
        pair.reset().run()
        assert pair.alice.finished
        assert pair.bob.finished
        assert pair.alice.peer.party == "bob"
        # A tag of 128 bits per direction, drawn at both ends.
        assert pair.spent_bits() == {"alice": 256 * number, "bob": 256 * number}


def test_a_greeting_that_was_cut_short_leaves_the_ends_in_step(pair):
    def lost(number, frames):
        if number == 3:
            raise ConnectionError
        return frames

    with pytest.raises(ConnectionError):
        pair.run(lost)
    assert pair.alice.finished
    assert not pair.bob.finished
    pair.reset().run()
    assert pair.bob.finished
    marks = [
        {e.identifier: e.used_bits for e in sink.list()} for sink in pair.sinks.values()
    ]
    assert marks[0] == marks[1]


@pytest.mark.parametrize("party", ["alice", "bob"])
def test_no_tag_no_trust(pair, party):
    """A forged tag: nothing of what the peer said of its sink is acted upon."""
    at = 2 if party == "alice" else 3

    def forged(number, frames):
        if number != at:
            return frames
        tag = wire.decode(frames[-1]).tag
        other = bytes([tag[0] ^ 1]) + tag[1:]
        return [
            *frames[:-1],
            wire.encode(msgspec.structs.replace(wire.decode(frames[-1]), tag=other)),
        ]

    settled = []
    end = getattr(pair, party)
    end._sink.settle = settled.append
    with pytest.raises(ProtocolAbort, match="tag"):
        pair.run(forged)
    assert settled == []
    assert not end.finished
    # Nobody gets a second try.
    with pytest.raises(PeerError, match="greet again"):
        (end.answer if party == "alice" else end.receive)([])


def test_every_bit_of_the_greeting_is_covered(pair):
    """Flip bits of every frame: it is refused, by a check or by the tag."""
    lengths = []

    def measure(number, frames):
        lengths.append([len(f) for f in frames])
        return frames

    pair.run(measure)
    count = 0
    for turn, sizes in enumerate(lengths):
        for part, size in enumerate(sizes):
            for bit in {0, 8 * size // 3, 4 * size, 8 * size - 1}:

                def flip(number, frames, turn=turn, part=part, bit=bit):
                    if number != turn:
                        return frames
                    data = bytearray(frames[part])
                    data[bit // 8 % len(data)] ^= 1 << bit % 8
                    return [*frames[:part], bytes(data), *frames[part + 1 :]]

                pair.reset()
                with pytest.raises(ScqcError):
                    pair.run(flip)
                assert not pair.bob.finished
                count += 1
    # Hello; Hello, questions; questions, answers, tag; answers, tag.
    assert count >= 4 * 8 - 4


MISFITS = {
    "link": ({"link": OTHER_LINK}, PeerError, "scqc keys init-link"),
    "role": ({"party": "alice"}, PeerError, "this end is 'alice' and the peer 'alice'"),
    "clock": (
        {"now_s": lambda: time.time() + 7200.0},
        PeerError,
        r"it is \d{4}-.* here and \d{4}-.* at the peer, limit 60 s; set the clocks",
    ),
    "config": (
        {"config": canonical({**SETTINGS, "link": {"bursts": 9, "rate_hz": 5e7}})},
        PeerError,
        "link.bursts = 8 here, 9 at the peer; make them alike",
    ),
    "entry": (
        {"config": canonical({**SETTINGS, "link": {"bursts": 8}})},
        PeerError,
        "link.rate_hz = 50000000.0 here, absent at the peer",
    ),
    "simulation": (
        {"config": canonical({**SETTINGS, "simulated": False})},
        PeerError,
        "simulated = true here, false at the peer",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_peer_that_does_not_fit_is_told_why(pair, name):
    changes, error, match = MISFITS[name]
    pair.reset(bob=changes)
    with pytest.raises(error, match=match):
        pair.run()
    # Before anything was spent.
    assert pair.spent_bits() == {"alice": 0, "bob": 0}


def test_bob_checks_alice_the_same_way(pair):
    for name in ("link", "clock", "config"):
        changes, error, match = MISFITS[name]
        pair.reset(alice=changes)
        # She would refuse him, too, had she looked.
        pair.alice._check_terms = partial(setattr, pair.alice, "peer")
        with pytest.raises(error, match=match):
            pair.run()
        assert pair.spent_bits() == {"alice": 0, "bob": 0}


def test_an_answer_of_another_session_is_refused(pair):
    def other(number, frames):
        if number != 1:
            return frames
        hello = wire.decode(frames[0])
        changed = msgspec.structs.replace(hello, session=OTHER_SESSION)
        return [wire.encode(changed), *frames[1:]]

    with pytest.raises(PeerError, match="of session 6f6f"):
        pair.run(other)


def test_another_start_key_is_a_fault_with_both_fingerprints(pair, tmp_path):
    pair.sinks["bob"].close()
    pair.sinks["bob"] = KeySink(tmp_path / "other")
    provision([pair.sinks["bob"]], 4096, ReplayEntropy(2, "start"))
    pair.reset()
    pattern = r"fingerprint [0-9a-f]{32} here, [0-9a-f]{32} .*scqc keys fingerprint"
    with pytest.raises(KeySinkError, match=pattern):
        pair.run()
    assert pair.spent_bits()["alice"] == 0


def test_a_restored_backup_is_a_fault(pair, tmp_path):
    pair.run()
    pair.sinks["bob"].close()
    backup = (tmp_path / "b").read_bytes()
    pair.sinks["bob"] = KeySink(tmp_path / "b")
    pair.reset().run()
    pair.sinks["bob"].close()
    for name in ("b-wal", "b-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "b").write_bytes(backup)
    pair.sinks["bob"] = KeySink(tmp_path / "b")
    spent = pair.reset().spent_bits()
    with pytest.raises(KeySinkError, match="old copy or a clone"):
        pair.run()
    assert pair.spent_bits() == spent


def test_another_major_version_is_refused(pair):
    def newer(_, frames):
        hello = msgspec.structs.replace(wire.decode(frames[0]), protocol=(2, 0))
        return [wire.encode(hello)]

    with pytest.raises(PeerError, match=r"version 2\.0, this program speaks 1\.0"):
        pair.run(newer)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a":' * 5000, '{"a":1e999}', "nonsense", '{"link": {}}'],
)
def test_settings_that_are_no_settings(pair, text):
    def other(_, frames):
        hello = wire.decode(frames[0])
        fields = {"config": text, "config_sha256": config_digest(text)}
        return [wire.encode(msgspec.structs.replace(hello, **fields))]

    with pytest.raises(PeerError, match="greeting: "):
        pair.run(other)


def test_a_digest_that_does_not_belong_to_the_settings(pair):
    def other(_, frames):
        hello = msgspec.structs.replace(wire.decode(frames[0]), config="{}")
        return [wire.encode(hello)]

    with pytest.raises(PeerError, match="digest of the peer's settings"):
        pair.run(other)


def test_frames_out_of_order_are_refused(pair):
    for change in (
        lambda _, frames: [],
        lambda _, frames: frames * 2,
        lambda _, frames: [wire.encode(wire.Verdict(1))],
    ):
        with pytest.raises(
            PeerError, match=r"greeting: got \d frames .*expected Hello"
        ):
            pair.reset().run(change)


# Shared settings -----------------------------------------------------------------


def quick(name, **changes):
    text = (Path(__file__).parents[2] / f"lab_configs/{name}.toml").read_text()
    for old, new in changes.items():
        assert re.search(old, text)
        text = re.sub(old, new, text)
    return parse_config(text)


@pytest.mark.parametrize("name", ["cv_quick", "dv_quick"])
def test_each_end_keeps_its_own_instruments_to_itself(name):
    shared = shared_config(quick(name))
    own = quick(
        name,
        **{
            r"192\.0\.2\.10": "198.51.100.7",
            r"\[sim\]\nseed = 1": "[sim]\nseed = 7",
            "threads = 2": "threads = 1",
        },
    )
    assert shared_config(own) == shared
    for word in ("192.0.2", "tcp://", "awg:1", "directory", "length_km", "threads"):
        assert word not in shared
    assert shared == as_json(json.loads(shared))
    assert json.loads(shared)["simulated"] is True


def test_what_is_sent_is_shared():
    one, other = (
        json.loads(shared_config(quick("cv_quick", **changes)))
        for changes in (
            {},
            {"v_a_snu = 2.0": "v_a_snu = 3.0", "bursts = 2": "bursts = 4"},
        )
    )
    assert one["security"]["v_a_snu"] != other["security"]["v_a_snu"]
    assert one["link"]["bursts"] != other["link"]["bursts"]
