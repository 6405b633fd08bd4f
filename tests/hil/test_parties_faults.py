"""What the two services do about what goes wrong: a typed fault, and nothing released.

The services, the link and the sinks are the real ones; light and scheme are those of
`tests/parties_killed_kit.py`. Both services run in threads of this process.
"""

import json
import os
import random
import shutil
import socket
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import replace

import parties_killed_kit as kit
import pytest
from patience_kit import until

from protocols.key_sink.resync import last_epoch
from protocols.key_sink.schedule import BLOCK_PAD_BITS, GREETING_RESERVE_BITS
from protocols.key_sink.sink import KeySink
from scqc.core.errors import (
    DiskSpaceError,
    KeySinkError,
    PayloadError,
    PeerError,
    PeerLost,
    ScqcError,
    SignalError,
)
from scqc.runs.lab_config import load_config
from scqc.runs.parties import alice_service, bob_service, programs, service
from scqc.runs.parties.control import tell
from scqc.runs.parties.programs import serve_party
from scqc.runs.parties.service import Place
from scqc.runs.sinks import open_sink

pytestmark = pytest.mark.skipif(os.name != "posix", reason="control sockets")
#: What is told to end has ended; far less on a quiet machine.
END_S = 60.0


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """Light and scheme of the kit; this process is not hardened."""
    monkeypatch.setattr(alice_service, "scheme_alice", kit.ToyAliceScheme)
    monkeypatch.setattr(alice_service, "open_own_station", kit.toy_station)
    monkeypatch.setattr(bob_service, "open_own_station", kit.toy_station)
    monkeypatch.setattr(bob_service, "scheme_bob", kit.ToyBobScheme)
    monkeypatch.setattr(bob_service, "bob_light", kit.ToyBobLight)
    monkeypatch.setattr(bob_service, "message_of", lambda bob: bob.payload)
    monkeypatch.setattr(bob_service.BobService, "_distil_photon", kit.toy_distil)
    monkeypatch.setattr(programs, "harden_process", lambda: None)


@pytest.fixture
def lab(tmp_path):
    return kit.Lab(tmp_path / "lab")


class Running:
    """A service in a thread."""

    def __init__(self, lab, party, loaded=None, home=None, **options):
        self.party, self.home = party, home or lab.home(party)
        self.service, self.error = None, None
        place = Place(
            loaded or lab.loaded, self.home, None, str(uuid.uuid4()), **options
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(place,))
        self._thread.start()
        assert self._ready.wait(END_S)

    def _run(self, place):
        def ready(service):
            self.service = service
            self._ready.set()

        try:
            serve_party(place, self.party, ready)
        except ScqcError as error:
            self.error = error
        finally:
            self._ready.set()

    def state(self):
        return self.service.status.state

    def says(self):
        """Return all that a user can read."""
        looked = json.dumps(self.service.handle({"command": "status"}))
        return looked + (self.home / "journal.jsonl").read_text()

    def end(self):
        if self.service is not None:
            self.service.end.set()
        self.join()

    def join(self):
        self._thread.join(END_S)
        assert not self._thread.is_alive(), "it does not end"


@contextmanager
def running(*starts):
    """Start services, and end them."""
    made = []
    try:
        for start in starts:
            made.append(start())
        yield made
    finally:
        # Bob first: he need not wait for her then.
        for one in reversed(made):
            one.end()


def released(lab):
    """Return how many bits were ever released, at both ends."""
    total = []
    for party in ("alice", "bob"):
        with KeySink(lab.home(party) / f"keys/{party}.sqlite") as sink:
            total.append(sum(e.used_bits for e in sink.list()))
    return total


def changed(lab, old, new):
    """Return the config with one thing changed."""
    path = lab.folder / "other.toml"
    text = lab.loaded.path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return load_config(path)


def without_sim(lab):
    path = lab.folder / "real.toml"
    text = lab.loaded.text.partition("\n[sim]\n")[0]
    keys = lab.home("bob") / "keys"
    path.write_text(text.replace("[keys]", f'[keys]\ndirectory = "{keys}"', 1))
    return load_config(path)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda lab: changed(lab, "signal_share = 0.23", "signal_share = 0.25"),
         "decoy.signal_share"),
        (lambda lab: changed(lab, "message_share = 0.05", "message_share = 0.07"),
         "keys.message_share"),
        (without_sim, "simulated"),
    ],
)  # fmt: skip
def test_another_config_is_named_at_both_ends(lab, other, named):
    loaded, before = other(lab), released(lab)
    with running(
        lambda: Running(lab, "alice"), lambda: Running(lab, "bob", loaded)
    ) as (alice, bob):
        until(lambda: named in alice.says() and named in bob.says(), bob.says)
        # The refusal is told in the journal before either has gone back to waiting.
        until(lambda: alice.state() == bob.state() == "waiting", bob.says)
    assert released(lab) == before


def test_what_never_fits_fills_no_disk(lab, monkeypatch):
    """The same sentence is told once, and the greetings become rare."""
    monkeypatch.setattr(bob_service, "_AGAIN_S", 0.01)
    loaded = changed(lab, "signal_share = 0.23", "signal_share = 0.25")
    with running(
        lambda: Running(lab, "alice"), lambda: Running(lab, "bob", loaded)
    ) as (alice, bob):
        alarms = alice.service.status.alarms
        until(lambda: any(a["count"] >= 5 for a in alarms.standing()), bob.says)
        for end in (alice, bob):
            told = (end.home / "journal.jsonl").read_text()
            # The refusal, and the alarm about it.
            assert told.count("decoy.signal_share") == 2
    # Each was an epoch of both sinks; while nobody is there it stays one.
    monkeypatch.setattr(bob_service, "TIMES", replace(service.TIMES, lost_s=0.2))
    with KeySink(lab.home("bob") / "keys/bob.sqlite") as sink:
        before = last_epoch(sink)
        assert before >= 5
    with running(lambda: Running(lab, "bob")) as (alone,):
        alarms = alone.service.status.alarms
        until(lambda: any(a["count"] >= 4 for a in alarms.standing()), alone.says)
        assert "PeerUnreached" in alone.says()
        assert last_epoch(alone.service.sink) == before + 1
    refused, lost = PeerError("settings"), PeerLost("nobody")
    bob.service.pause_s(lost)
    pauses_s = [bob.service.pause_s(refused) for _ in range(3000)]
    assert pauses_s[:3] == [0.01, 0.02, 0.04]
    assert max(pauses_s) == pauses_s[-1] == 10.0
    # Who comes back after silence may have been mended.
    assert bob.service.pause_s(lost) == bob.service.pause_s(refused) == 0.01


def test_another_start_key_is_refused_and_nothing_released(lab):
    sink = lab.home("bob") / "keys/bob.sqlite"
    for path in sink.parent.glob("bob.sqlite*"):
        path.unlink()
    other = changed(lab, "seed = 1", "seed = 2")
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob", other)) as (
        alice,
        bob,
    ):
        until(lambda: "fingerprint" in alice.says() + str(bob.error), alice.says)
        until(lambda: bob.error or bob.state() in ("waiting", "fault"))
    assert "start key" in str(bob.error or bob.says())
    assert released(lab) == [0, 0]


def test_clocks_hours_apart_are_refused(lab, monkeypatch):
    original = bob_service.BobService.terms

    def late(self):
        return replace(original(self), now_s=lambda: time.time() + 7200.0)

    monkeypatch.setattr(bob_service.BobService, "terms", late)
    before = released(lab)
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob")) as (
        alice,
        bob,
    ):
        until(lambda: "clock" in bob.says() and "clock" in alice.says(), bob.says)
        assert alice.service.status.blocks == bob.service.status.blocks == 0
    assert released(lab) == before


def some_blocks(lab, n=3):
    """Let both ends make some blocks, and end."""
    with running(
        lambda: Running(lab, "alice"), lambda: Running(lab, "bob", blocks=n)
    ) as (_, bob):
        bob.join()
        assert bob.error is None
        assert bob.service.status.blocks == n


@pytest.mark.parametrize("party", ["alice", "bob"])
def test_a_sink_restored_from_a_backup_is_a_fault(lab, party):
    some_blocks(lab, 1)
    path = lab.home(party) / f"keys/{party}.sqlite"
    copy = shutil.copy(path, lab.folder / "backup")
    some_blocks(lab, 1)
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    shutil.copy(copy, path)
    before = released(lab)
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob")) as (
        alice,
        bob,
    ):
        until(lambda: "old copy or a clone" in alice.says() + str(bob.error))
        until(lambda: bob.error or bob.state() == "waiting", bob.says)
        assert alice.service.status.blocks == 0
        assert "old copy or a clone" in str(bob.error) + bob.says()
        assert "scqc keys burn" in str(bob.error) + bob.says()
    # The greeting's own tags may be spent, nothing else.
    assert all(n - m <= 256 for n, m in zip(released(lab), before, strict=True))


def test_a_damaged_sink_is_a_typed_error(lab):
    path = lab.home("bob") / "keys/bob.sqlite"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(3 * 4096))
    bob = Running(lab, "bob")
    bob.join()
    assert isinstance(bob.error, KeySinkError)
    assert "damaged" in str(bob.error)


@pytest.mark.parametrize("party", ["alice", "bob"])
def test_a_full_disk_stops_blocks_and_says_so(lab, monkeypatch, party):
    original = service.require_space

    def full(folder, needed, what):
        if folder == lab.home(party):
            raise DiskSpaceError(f"{folder}: 0 MB free")
        original(folder, needed, what)

    monkeypatch.setattr(service, "require_space", full)
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob")) as (
        alice,
        bob,
    ):
        until(
            lambda: "0 MB free" in alice.says() + bob.says() + str(bob.error), bob.says
        )
        ended = alice if party == "alice" else bob
        until(lambda: ended.error or ended.state() == "fault", ended.says)
        assert alice.service.status.blocks == bob.service.status.blocks == 0


def test_pad_for_greetings_is_left_when_there_is_none_for_blocks(lab):
    """Else a key whose confirmation was lost could never be confirmed."""
    first = 128
    left = GREETING_RESERVE_BITS + BLOCK_PAD_BITS - 8
    for party in ("alice", "bob"):
        with open_sink(lab.loaded.config, lab.home(party), party) as sink:
            for way in ("alice-to-bob", "bob-to-alice"):
                there = sink.available_bits("authentication", way, True)
                bits = there - first - left
                sink.spend("authentication", way, bits, allow_simulated=True)
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob")) as (
        alice,
        bob,
    ):
        until(lambda: alice.state() == "fault", alice.says)
        assert f"{left} bits of authentication pad" in alice.says()
        until(lambda: "authentication pad" in bob.says(), bob.says)
        assert alice.service.status.blocks == bob.service.status.blocks == 0
        levels = alice.service.sink, bob.service.sink
        for sink in levels:
            assert sink.available_bits("authentication", "alice-to-bob", True) == left


def test_two_bobs(lab):
    """One home has one service; a copy of a home is a clone."""
    some_blocks(lab, 1)
    copy = lab.folder / "clone"
    shutil.copytree(lab.home("bob"), copy)
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob")) as (
        alice,
        bob,
    ):
        until(lambda: bob.service.status.blocks > 0, bob.says)
        second = Running(lab, "bob")
        second.join()
        assert isinstance(second.error, PeerError)
        assert "another service runs here" in str(second.error)
        blocks = bob.service.status.blocks
        clone = Running(lab, "bob", home=copy)
        until(lambda: clone.error or "clone" in clone.says(), clone.says)
        clone.end()
        assert "old copy or a clone" in str(clone.error) + clone.says()
        assert clone.service.status.blocks == 0
        # The true one goes on.
        until(lambda: bob.service.status.blocks > blocks + 2, bob.says)
        assert alice.error is None


NONSENSE = [
    b"",
    b"\n",
    b"no json\n",
    b"[1, 2]\n",
    b"null\n",
    b'{"command": 1}\n',
    b'{"command": ["status"]}\n',
    b'{"command": "message"}\n',
    b'{"command": "message", "path": "/no/such/file"}\n',
    b'{"command": "message", "path": {"a": 1}}\n',
    b'{"command": "message", "path": "\\u0000"}\n',
    b"[" * 60_000 + b"\n",
    b'{"a":' * 20_000 + b"\n",
    b"x" * 1_000_000 + b"\n",
    b"\xff\xfe\x00" * 100 + b"\n",
]


def test_nonsense_at_the_control_socket(lab):
    with running(lambda: Running(lab, "alice", paused=True)) as (alice,):
        until((alice.home / "control.sock").exists)
        for line in NONSENSE:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(END_S)
                asked.connect(os.path.relpath(alice.home / "control.sock"))
                answer = b""
                try:
                    asked.sendall(line)
                    asked.shutdown(socket.SHUT_WR)
                    answer = asked.makefile("rb").readline()
                except (BrokenPipeError, ConnectionResetError):
                    # It does not read on for ever.
                    assert len(line) > 1 << 16
            if answer:
                assert json.loads(answer)["ok"] is False, line[:60]
        assert tell(alice.home, "status")["state"] == "waiting"
        assert alice.service.outbox.waiting() == []


def test_a_message_that_no_block_carries_is_refused(lab, tmp_path):
    (tmp_path / "large").write_bytes(bytes(1 << 22))
    (tmp_path / "empty").write_bytes(b"")
    with running(lambda: Running(lab, "alice", paused=True)) as (alice,):
        until((alice.home / "control.sock").exists)
        for name in ("large", "empty"):
            wanted = name if name == "empty" else "bytes"
            with pytest.raises(PayloadError, match=wanted):
                tell(alice.home, "message", path=str(tmp_path / name))
        assert alice.service.outbox.waiting() == []


@pytest.mark.parametrize("where", ["light", "key"])
def test_a_message_whose_block_is_lost_at_bob_is_sent_again(
    lab, tmp_path, monkeypatch, where
):
    place = {
        "light": (kit.ToyBobLight, "capture"),
        "key": (bob_service.BobService, "_distil_photon"),
    }[where]
    original, failed = getattr(*place), []

    def fails_first(self, *rest):
        if not failed:
            failed.append(1)
            raise SignalError("no signal")
        return original(self, *rest)

    monkeypatch.setattr(*place, fails_first)
    (tmp_path / "message").write_bytes(b"again")
    with running(
        lambda: Running(lab, "alice", paused=True), lambda: Running(lab, "bob")
    ) as (alice, bob):
        until((alice.home / "control.sock").exists)
        tell(alice.home, "message", path=str(tmp_path / "message"))
        tell(alice.home, "start")
        inbox = bob.home / "inbox"
        until(lambda: any(inbox.glob("*.bin")), lambda: alice.says() + bob.says())
        until(lambda: alice.service.outbox.waiting() == [])
        assert failed
        (arrived,) = inbox.glob("*.bin")
        assert arrived.read_bytes() == b"again"
        assert alice.service.status.counts()["failed"] == 0


@pytest.mark.parametrize("party", ["alice", "bob"])
def test_either_end_stops_and_starts_again(lab, party):
    with running(lambda: Running(lab, "alice"), lambda: Running(lab, "bob")) as both:
        alice, bob = both
        told = alice if party == "alice" else bob
        until(lambda: bob.service.status.blocks > 0, bob.says)
        assert tell(told.home, "stop")
        until(lambda: told.state() == "paused", told.says)
        # The blocks that were in progress are over, too.
        until(lambda: bob.service.taken == bob.service.status.blocks, bob.says)
        assert not tell(bob.home, "status")["blocks_waiting"]
        blocks = bob.service.status.blocks
        time.sleep(0.5)
        assert bob.service.status.blocks == blocks
        assert tell(told.home, "start")
        until(lambda: bob.service.status.blocks > blocks + 1, bob.says)


@pytest.mark.parametrize("state", ["waiting", "paused", "running", "alone"])
def test_end_ends_in_every_state(lab, state):
    """At once; `alone`: Alice goes in the middle of a block."""
    starts = [lambda: Running(lab, "alice"), lambda: Running(lab, "bob")]
    with running(*starts[state == "waiting" :]) as made:
        bob = made[-1]
        if state == "paused":
            tell_when_there(bob, "stop")
            until(lambda: bob.state() == "paused", bob.says)
        elif state in ("running", "alone"):
            until(lambda: bob.service.status.blocks > 0, bob.says)
        if state == "alone":
            made[0].end()
        tell_when_there(bob, "end")
        bob.join()
        assert bob.error is None
        assert bob.state() == "ended"


def tell_when_there(one, command):
    until((one.home / "control.sock").exists)
    tell(one.home, command)


def test_two_programs_of_a_party_may_begin_at_once(lab):
    """A simulated sink gets its start key once, however many programs open it first."""
    config, home = lab.loaded.config, lab.folder / "fresh"
    gate, errors = threading.Barrier(6), []

    def begin():
        gate.wait()
        try:
            with open_sink(config, home, "alice") as sink:
                errors.append(len(sink.list()))
        except KeySinkError as error:
            errors.append(error)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(str, errors))) == 1
    assert isinstance(errors[0], int)
