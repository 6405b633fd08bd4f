"""Two network namespaces, 20 ms and 1 % loss: the same keys as within one program."""

import shutil
import subprocess

import pytest
from parties_kit import namespaces, programs, wait_for
from run_kit import CONFIGS

from protocols.key_sink.sink import KeySink
from scqc.runs import live
from scqc.runs.lab_config import load_config
from scqc.runs.parties.control import tell
from scqc.runs.progress import Silent

pytestmark = pytest.mark.soak
RUN = "5f0f2a52-3c9e-4b3e-9c59-0d7a8d3b6a11"
PAYLOADS = {"cv_fiber_10km": b"simultaneous " * 50, "dv_fiber_50km": b"pad " * 16}


def allowed():
    """Return whether this user may make namespaces and tunnel devices."""
    if not shutil.which("ip"):
        return False
    try:
        with namespaces():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def key_of(path):
    """Return every pool of a sink's distilled blocks, by name."""
    with KeySink(path) as sink:
        entries = [e for e in sink.list() if not e.identifier.startswith("start/")]
        return {
            e.identifier: sink.take(e.identifier, allow_simulated=True).bits
            for e in entries
            if e.purpose == "key"
        } | {
            e.identifier: sink.spend(
                e.purpose, e.direction, e.available_bits, allow_simulated=True
            ).packed
            for e in entries
            if e.purpose == "pad"
        }


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_parties_in_two_namespaces_make_the_keys_of_one_program(tmp_path, name):
    if not allowed():
        pytest.skip("needs the right to make network namespaces and tunnels")
    payload = PAYLOADS[name]
    text = (CONFIGS / f"{name}.toml").read_text()
    text += '\n[peer]\naddress = "tcp://10.77.0.1:7750"\n'
    config = tmp_path / f"{name}.toml"
    config.write_text(text)
    (tmp_path / "message").write_bytes(payload)
    with (
        namespaces() as ((inside_a, inside_b), address, line),
        programs(tmp_path, config) as made,
    ):
        made.lab("--bind", address)
        made.party("alice", "--run", RUN, "--paused", inside=inside_a)
        home = made.home("alice")
        wait_for((home / "control.sock").exists, lambda: made.log("alice"))
        tell(home, "message", path=str(tmp_path / "message"))
        tell(home, "start")
        made.party("bob", "--blocks", "1", inside=inside_b)
        assert made.wait("bob", 600.0) == 0, made.log("bob")
        (result,) = made.results("bob")
        (inbox,) = (made.home("bob") / "inbox").iterdir()
        assert inbox.read_bytes() == payload
        assert line.lost > 0
    local = live.run_live(load_config(config), payload, tmp_path / "run", Silent(), RUN)
    assert result["key"]["secret_bits"] == local.data["key"]["secret_bits"] > 0
    keys = [
        key_of(path)
        for path in (
            tmp_path / "alice/keys/alice.sqlite",
            tmp_path / "bob/keys/bob.sqlite",
            tmp_path / "run/keys/alice.sqlite",
            tmp_path / "run/keys/bob.sqlite",
        )
    ]
    assert keys[0]
    assert keys[0] == keys[1] == keys[2] == keys[3]
