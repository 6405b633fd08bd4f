"""The photon-counting benches at length: distance, seeds, fading, sudden deaths.

Started by ``make soak AREA=dv``; about half an hour on two cores.
"""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from photon_run_kit import MESSAGE, bench, run
from run_kit import CONFIGS, HOME, made_pools

from protocols.key_sink import PAD_PURPOSE
from protocols.messages.photon import MaskedWords
from protocols.messages.wire import decode
from scqc.store.results import read_transcript

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
DEFAULT = "dv_fiber_50km.toml"


def test_dv_default_over_seeds(tmp_path):
    for seed in range(1, 6):
        folder = tmp_path / str(seed)
        result = run(folder, name=DEFAULT, seed=seed)
        assert (folder / "payload.received").read_bytes() == MESSAGE
        assert result.data["key"]["agree"]
        assert result.data["key"]["secret_bits"] > 0
        shutil.rmtree(folder)


def test_dv_message_over_100_km(tmp_path):
    message = MESSAGE * 5
    assert len(message) >= 1000
    result = run(
        tmp_path,
        ("length_km = 50.0", "length_km = 100.0"),
        payload=message,
        name=DEFAULT,
    )
    assert (tmp_path / "payload.received").read_bytes() == message
    assert result.data["key"]["agree"]


@pytest.mark.parametrize(
    "fading",
    [
        'kind = "lognormal"\nlog_sigma = 0.3',
        'kind = "weibull"\nbeam_radius_m = 1.0\npointing_sigma_m = 0.3',
    ],
)
def test_dv_fading(tmp_path, fading):
    result = run(
        tmp_path,
        ("length_km = 50.0", f"extra_loss_db = 8.0\n[sim.channel.fading]\n{fading}\n#"),
        ("attenuation_db_per_km = 0.2\n", ""),
        name=DEFAULT,
    )
    assert result.data["payload"]["delivered"]
    assert result.data["key"]["agree"]
    rates = [burst["rate_hz"] for burst in result.data["bursts"]]
    assert max(rates) > 1.02 * min(rates)


def test_dv_kill_9_at_any_moment(tmp_path):
    """No pad bit is ever used twice, no acknowledged key is lost."""
    trials, chance = 100, random.Random(1)
    config = tmp_path / "bench.toml"
    text = bench(("start_pad_bits = 65_536", "start_pad_bits = 800_000")).text
    keys = tmp_path / "keys"
    text = text.replace("[keys]\n", f'[keys]\nsimulated_directory = "{keys}"\n')
    config.write_text(
        text.replace("start_pad_bits = 65_536", "start_pad_bits = 800_000")
    )
    note = CONFIGS / "payload.txt"
    command = [sys.executable, "-m", "scqc.cli", "run", config, "--payload", note]
    begun = time.monotonic()
    whole = subprocess.run(
        [*command, "--json", "--out", tmp_path / "run-whole"],
        capture_output=True,
        cwd=HOME,
        check=False,
    )
    assert whole.returncode == 0, whole.stderr
    duration_s = time.monotonic() - begun
    for number in range(trials):
        process = subprocess.Popen(
            [*command, "--json", "--out", tmp_path / f"run-{number}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=HOME,
        )
        if number % 4:
            # Most moments of interest come right after the last burst is stored.
            wait_for(tmp_path / f"run-{number}" / "journal.jsonl", '"burst"', process)
            time.sleep(chance.uniform(0.0, 2.0))
        else:
            time.sleep(duration_s * chance.uniform(0.05, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    folders = [f for f in tmp_path.glob("run-*") if f.is_dir()]
    assert len(folders) > trials // 2
    check_no_bit_twice(keys)
    check_words_have_pads_of_their_own(folders)
    check_acknowledged_keys(folders, keys)


def wait_for(path, text, process):
    """Return when a file says `text`, or the process is over."""
    while process.poll() is None:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)


def check_no_bit_twice(keys):
    """Releases of one block never overlap, at either end."""
    for name in ("alice", "bob"):
        database = sqlite3.connect(keys / f"{name}.sqlite")
        rows = database.execute(
            "SELECT serial, start_bit, n_bits FROM releases ORDER BY 1, 2"
        ).fetchall()
        database.close()
        assert rows
        for (one, start, n), (two, following, _) in pairwise(rows):
            assert one != two or start + n <= following


def check_words_have_pads_of_their_own(folders):
    """No two published words name a common bit."""
    spans = []
    for folder in folders:
        path = folder / "transcript.scqc"
        if not path.exists():
            continue
        _, messages = read_transcript(path)
        words = [decode(m.frame) for m in messages]
        for word in (w for w in words if isinstance(w, MaskedWords)):
            spans += [(p.identifier, p.start_bit, p.n_bits) for p in word.pads]
    assert spans
    for (one, start, n), (two, following, _) in pairwise(sorted(spans)):
        assert one != two or start + n <= following


def check_acknowledged_keys(folders, keys):
    """Every key that a journal calls stored is in both sinks, and equal."""
    told = set()
    for folder in folders:
        journal = folder / "journal.jsonl"
        lines = journal.read_text().splitlines() if journal.exists() else []
        for line in lines:
            entry = json.loads(line) if line.endswith("}") else {}
            if entry.get("kind") == "key":
                told.add(entry["run_uuid"])
    assert told
    found = []
    for name in ("alice", "bob"):
        pools = made_pools(keys, name)
        found.append(
            {e.run_uuid: bits for e, bits in pools if e.purpose == PAD_PURPOSE}
        )
    for run_uuid in told:
        assert found[0][run_uuid] == found[1][run_uuid]
