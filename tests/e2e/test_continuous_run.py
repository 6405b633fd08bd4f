"""Several blocks on an open bench, both schemes."""

import json

import pytest
from photon_run_kit import SMALL
from run_kit import CONFIGS, scqc_here

from protocols.key_sink.sink import KeySink
from scqc.runs.disk import block_bytes
from scqc.runs.lab_config import load_config

# The benches of this file live for a second: see warm_kit.
pytestmark = pytest.mark.usefixtures("warm_processes", "undrawn")


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        pytest.param("cv_quick", [("bursts = 2", "bursts = 1")], id="cv_small"),
        pytest.param("dv_quick", SMALL, id="dv_small"),
        pytest.param("cv_quick", [], id="cv_quick", marks=pytest.mark.soak),
        pytest.param("dv_quick", [], id="dv_quick", marks=pytest.mark.soak),
    ],
)
def test_blocks_have_results_of_their_own(tmp_path, config, changes):
    """Small blocks; those of the soak are large enough for a key."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"one file, several blocks")
    text = (CONFIGS / f"{config}.toml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "lab.toml"
    path.write_text(text)
    folder = tmp_path / "run"
    found = scqc_here(
        "run", path, "--payload", payload, "--blocks", 2, "--out", folder, "--json"
    )
    said = json.loads(found.stdout)
    assert [row["block"] for row in said["blocks"]] == [0, 1]
    assert said["payload_delivered"]
    received = folder / "block-000" / "payload.received"
    assert received.read_bytes() == payload.read_bytes()
    results = [
        json.loads((folder / row["folder"] / "result.json").read_text())
        for row in said["blocks"]
    ]
    # Different light in each block, and the key of each in the same two sinks.
    assert results[0]["quantum"] != results[1]["quantum"]
    bits = [r["key"]["secret_bits"] for r in results]
    assert said["secret_bits"] == sum(bits)
    assert found.returncode == (0 if sum(bits) else 3)
    with (
        KeySink(folder / "keys" / "alice.sqlite") as alice,
        KeySink(folder / "keys" / "bob.sqlite") as bob,
    ):
        names = [entry.identifier for entry in alice.list()]
        assert names == [entry.identifier for entry in bob.list()]
    used = sum(f.stat().st_size for f in (folder / "block-000").iterdir())
    assert used <= block_bytes(load_config(path).config)
