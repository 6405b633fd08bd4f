"""The three programs of a link: laboratory, Alice and Bob, as a user starts them."""

import json
import signal

import pytest
from parties_kit import programs, wait_for
from run_kit import CONFIGS, mode_of, scqc

from protocols.key_sink import AUTHENTICATION_PURPOSE, KEY_PURPOSE, PAD_PURPOSE, KeySink
from scqc.runs.journal import read_journal
from sim_backends.wire.zmq_tagger import free_ports
from tests.sink_kit import TO_ALICE, TO_BOB

MESSAGE = b"from Alice to Bob, under a one-time pad"
RUN = "7d1cf9f3-2d35-4a6c-9d3f-8f4f2d2d0c11"


@pytest.fixture
def config(tmp_path, free_port):
    """The quick photon-counting bench, at a port of this test's."""
    text = (CONFIGS / "dv_quick.toml").read_text()
    path = tmp_path / "dv_quick.toml"
    path.write_text(text + f'\n[peer]\naddress = "tcp://127.0.0.1:{free_port}"\n')
    return path


@pytest.fixture
def free_port():
    return free_ports(1)


def told(home, *words):
    """Use the command line; return what it says."""
    done = scqc("tell", home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def blocks(made, party):
    return made.state(party)["blocks"]


def usable(home, party):
    """Return what each pool of a sink can release."""
    with KeySink(home / f"keys/{party}.sqlite") as sink:
        assert sink.verified_blocks() == []
        return {
            (purpose, way): sink.available_bits(purpose, way, True)
            for purpose in (AUTHENTICATION_PURPOSE, PAD_PURPOSE, KEY_PURPOSE)
            for way in (TO_BOB, TO_ALICE)
        }


def test_parties_as_programs(tmp_path, config):
    message = tmp_path / "message.txt"
    message.write_bytes(MESSAGE)
    with programs(tmp_path, config) as made:
        alice, bob = made.home("alice"), made.home("bob")
        made.lab()
        made.party("alice", "--paused")
        made.party("bob")
        wait_for((alice / "control.sock").exists, lambda: made.log("alice"))
        assert told(alice, "message", message)["waiting"] == 1
        wait_for((bob / "control.sock").exists, lambda: made.log("bob"))
        wait_for(
            lambda: "paused" in str(made.state("bob").get("why")),
            lambda: str(made.state("bob")),
        )
        assert made.state("bob")["blocks"] == 0
        told(alice, "start")
        inbox = bob / "inbox"
        wait_for(
            lambda: inbox.exists() and any(inbox.glob("*.bin")),
            lambda: made.log("bob") + made.log("alice"),
        )
        (arrived,) = inbox.glob("*.bin")
        assert arrived.read_bytes() == MESSAGE
        assert mode_of(arrived) == 0o600

        # Bob dies, and comes back: nobody is told anything.
        sessions = made.state("alice")["sessions"]
        made.kill("bob")
        before = blocks(made, "alice")
        made.party("bob")
        wait_for(
            lambda: blocks(made, "alice") > before + 1,
            lambda: made.log("bob") + made.log("alice"),
        )
        assert made.state("alice")["sessions"] == sessions + 1

        wait_for(lambda: blocks(made, "bob") >= 1, lambda: made.log("bob"))
        shown = scqc("status", bob, "--json")
        assert shown.returncode == 0, shown.stderr
        found = json.loads(shown.stdout)
        assert found["party"] == "bob"
        assert found["state"] == "running"
        assert found["blocks"] >= 1
        assert 0.0 < found["last"]["qber_z"] < 0.08
        assert found["secret_bits"] > 0
        for pool in ("authentication", "pad"):
            assert found["sink"][f"{pool}.{TO_BOB}"] > 0

        # Both stop after the block in progress.
        told(bob, "stop")
        wait_for(
            lambda: made.state("bob")["state"] == "paused",
            lambda: str(made.state("bob")),
        )
        wait_for(
            lambda: made.state("bob")["blocks_waiting"] == 0,
            lambda: str(made.state("bob")),
        )
        for party in ("bob", "alice"):
            if party == "bob":
                told(bob, "end")
            else:
                made.running[party].send_signal(signal.SIGTERM)
            # Within seconds where nothing else runs.
            assert made.wait(party, 60.0) == 0, made.log(party)
        levels = usable(alice, "alice"), usable(bob, "bob")
        assert levels[0] == levels[1]
        for home in (alice, bob):
            kinds = {entry["kind"] for entry in read_journal(home)}
            assert {"service", "bench", "greeting", "key"} <= kinds
            assert read_journal(home)[-2]["text"] == "safe state"
            assert not (home / "control.sock").exists()
        assert list((alice / "outbox").iterdir()) == []
        assert len(list((alice / "sent").iterdir())) == 1
        done = scqc("status", bob)
        assert done.returncode == 7
        assert "no service answers" in done.stderr
        lab = made.running["lab"]
        assert lab.poll() is None
