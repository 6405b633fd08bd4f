"""Either end, or what delivers its keys, is killed at random and started anew.

Services, link, sinks and delivery are the real ones (`tests/parties_killed_kit.py`).
Whatever is killed when: no bit serves two purposes, at either end or between them; no
key goes out twice or differs; what one end gave out the other can fetch; both ends run
again, or say what is wrong, within ten seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.key_sink import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    KeySink,
    State,
    entries,
    material,
)
from protocols.key_sink.check import examine
from protocols.key_sink.export import ExportStore, KeyPosition
from protocols.key_sink.resync import Resync
from scqc.core.errors import KeySinkError
from tests.sink_kit import TO_ALICE, TO_BOB

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9")
HOME = Path(__file__).parents[2]
KIT = HOME / "tests/parties_killed_kit.py"
ENDS, SENDS = ("alice", "bob"), {"alice": TO_BOB, "bob": TO_ALICE}
#: Both ends are back so soon: as required, and on a machine that is busy with tests.
BACK_S, BUSY_S = 10.0, 60.0


def killed(folder, trials, seed, *mutant):
    """Let programs be killed; return what the warm process reports."""
    folder.mkdir()
    command = [sys.executable, KIT, folder, trials, seed, *mutant]
    here = {**os.environ, "PYTHONPATH": str(HOME)}
    words = [str(word) for word in command]
    subprocess.run(words, check=True, timeout=3000, cwd=HOME, env=here)
    return json.loads((folder / "report.json").read_text())


def lines(path, *kinds):
    """Return what was written down; a last line that a kill cut off is left out."""
    text = path.read_text() if path.exists() else ""
    found = [line.split("\t") for line in text[: text.rfind("\n") + 1].splitlines()]
    return [line for line in found if line[0] in kinds]


class Uses:
    """What each bit of one end was used for."""

    def __init__(self, path, numbers):
        self.bits, self.purposes = {}, {}
        for _, name, start, text, purpose in lines(path, "used"):
            at = slice(int(start), int(start) + len(text))
            bits, why = self.block(name, at.stop)
            assert not why[at].any(), f"{name} {at} released twice at one end"
            bits[at] = np.frombuffer(text.encode(), np.uint8)
            why[at] = numbers.setdefault(purpose, len(numbers) + 1)

    def block(self, name, size):
        for table, kind in ((self.bits, np.uint8), (self.purposes, np.int32)):
            old = table.get(name, np.zeros(0, kind))
            if old.size < size:
                table[name] = np.concatenate([old, np.zeros(size - old.size, kind)])
        return self.bits[name], self.purposes[name]


def check_uses(folder):
    """No bit serves two purposes; what both used for one is the same bit."""
    numbers = {}
    alice, bob = (Uses(folder / f"{party}.used", numbers) for party in ENDS)
    assert {why.split()[0] for why in numbers} >= {"greeting", "tags"}
    for name in alice.purposes.keys() & bob.purposes.keys():
        size = min(alice.purposes[name].size, bob.purposes[name].size)
        mine, theirs = alice.purposes[name][:size], bob.purposes[name][:size]
        both = (mine > 0) & (theirs > 0)
        assert (mine == theirs)[both].all(), f"{name} used for two purposes"
        assert (alice.bits[name][:size] == bob.bits[name][:size])[both].all()


def check_delivery(folder):
    """Each key goes out once at each end, the same; none that was given is lost."""
    given, fetched, asked, refused = {}, {}, {}, {}
    for end, party in enumerate(ENDS):
        for kind, *place, rest in (
            line[:5] for line in lines(folder / f"{party}.given", "given", "fetched")
        ):
            table = given if kind == "given" else fetched
            # A block has one direction: an end gives out, the other fetches.
            assert (*place, end) not in table, "delivered twice"
            table[*place, end] = rest
        for kind, *place in (
            line[:4] for line in lines(folder / f"{party}.given", "asking", "refused")
        ):
            table = asked if kind == "asking" else refused
            table[*place, end] = table.get((*place, end), 0) + 1
    assert given
    left = [{}, {}]
    for (*place, end), bits in given.items():
        name = (*place, 1 - end)
        if name in refused:
            # Asked for when a kill came: spent, and perhaps handed out.
            assert asked[name] > 1, f"{place}: given out, refused at the other end"
        elif name in fetched:
            assert fetched[name] == bits, f"{place}: given out, another one fetched"
        else:
            left[1 - end][tuple(map(int, place))] = bits
    for end, wanted in enumerate(left):
        fetch_rest(folder, ENDS[end], wanted)


def fetch_rest(folder, party, wanted):
    """Fetch what nobody has fetched yet."""
    ways = SENDS[party], SENDS[ENDS[1 - ENDS.index(party)]]
    with (
        KeySink(folder / f"{party}/keys/{party}.sqlite") as sink,
        ExportStore(sink, *ways, allow_simulated=True) as store,
    ):
        for place, bits in wanted.items():
            try:
                (key,) = store.fetch([KeyPosition(*place)])
            except KeySinkError as error:
                raise AssertionError(f"{place}: given out, {error}") from error
            assert key.bits.hex() == bits, f"{place}: given out, another one fetched"


def check_sinks(folder):
    """After another greeting both ends agree about everything that is left."""
    with (
        KeySink(folder / "alice/keys/alice.sqlite") as alice,
        KeySink(folder / "bob/keys/bob.sqlite") as bob,
    ):
        sinks = {"alice": alice, "bob": bob}
        greet(alice, bob)
        for sink in sinks.values():
            assert examine(sink).journal_entries
            assert sink.verified_blocks() == []
        for purpose in (AUTHENTICATION_PURPOSE, PAD_PURPOSE):
            for way in (TO_BOB, TO_ALICE):
                levels = [s.available_bits(purpose, way, True) for s in sinks.values()]
                assert levels[0] == levels[1], (purpose, way)
        held = {party: by_name(sink) for party, sink in sinks.items()}
        for party, other in (ENDS, ENDS[::-1]):
            for name, entry in held[party].items():
                there = held[other].get(name)
                sends = entry.direction == SENDS[party]
                if entry.purpose == KEY_PURPOSE and sends and entry.available_bits:
                    assert there is not None, f"{name}: the peer does not have it"
                if there is not None and max(entry.state, there.state) < State.CONSUMED:
                    same_bits(sinks[party], entry, sinks[other], there)


def greet(alice, bob):
    ends = [
        Resync(sink, way, allow_simulated=True)
        for sink, way in ((alice, TO_BOB), (bob, TO_ALICE))
    ]
    theirs = [end.describe() for end in ends][::-1]
    for end, peer in zip(ends, theirs, strict=True):
        end.tag_keys(peer)
    asked = [e.questions(t) for e, t in zip(ends, theirs, strict=True)]
    for end, peer in zip(ends, theirs, strict=True):
        end.settle(peer)
    told = [ends[1].answer(asked[0]), ends[0].answer(asked[1])]
    for end, answers in zip(ends, told, strict=True):
        end.resolve(answers)
        end.promise()


def by_name(sink):
    return {entry.identifier: entry for entry in sink.list()}


def same_bits(sink, entry, other_sink, other):
    free = [np.zeros(entry.n_bits, bool) for _ in range(2)]
    bits = []
    for mask, place, one in zip(free, (sink, other_sink), (entry, other), strict=True):
        for _, start, count in entries.free_runs(place.db, one):
            mask[start : start + count] = True
        bits.append(material.read(place.db, one.serial, 0, one.n_bits))
    both = free[0] & free[1]
    assert np.array_equal(bits[0][both], bits[1][both]), entry.identifier


def check_messages(folder):
    """A message that Alice counts as delivered is in Bob's inbox."""
    arrived = {path.read_bytes() for path in (folder / "bob/inbox").iterdir()}
    for path in (folder / "alice/sent").iterdir():
        assert path.read_bytes() in arrived, path.name


def check(report, limit_s=BUSY_S):
    """Check everything; return figures."""
    worst = {}
    for pair in report["pairs"]:
        home = Path(pair["home"])
        check_uses(home)
        check_delivery(home)
        check_sinks(home)
        check_messages(home)
        for trial in pair["trials"]:
            victim = trial["victim"]
            assert trial["back_s"] < limit_s, (home.name, trial)
            worst[victim] = max(trial["back_s"], worst.get(victim, 0.0))
        assert set(pair["codes"].values()) == {0}, pair["codes"]
    trials = sum(len(pair["trials"]) for pair in report["pairs"])
    return {"trials": trials, "worst_s": worst, "cpu_s": report["cpu_s"]}


def test_parties_killed_at_random_use_nothing_twice(tmp_path):
    found = check(killed(tmp_path / "labs", 50, 1))
    assert found["trials"] >= 50


@pytest.mark.soak
@pytest.mark.parametrize(
    ("mutant", "why"),
    [("late-lease", "delivered twice"), ("early-key", "given out")],
)
def test_the_checks_notice_a_broken_step(tmp_path, mutant, why):
    """A few kills are enough, on the whole: chance may ask for another few."""
    for seed in range(5):
        report = killed(tmp_path / f"labs{seed}", 6, seed, mutant)
        try:
            check(report)
        except AssertionError as error:
            if why in str(error):
                return
    pytest.fail(f"{mutant}: nothing was noticed")


@pytest.mark.soak
def test_soak_parties_killed_at_random_five_hundred_times(tmp_path, capsys):
    report = killed(tmp_path / "labs", 500, int(os.environ.get("SCQC_SEED", "5")))
    found = check(report, BACK_S)
    assert found["trials"] >= 500
    with capsys.disabled():
        print(json.dumps(found))
