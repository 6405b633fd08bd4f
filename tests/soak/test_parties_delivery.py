"""Both ends of key delivery are killed again and again: no key goes out twice."""

import base64
import contextlib
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import delivery_kit as kit
import pytest
from delivery_kit import A1, B1, Client

from scqc.runs.delivery.certificates import init_certificates

ROOT = Path(__file__).parents[2]
END = """
[delivery.{party}]
kme_id = "kme-{short}"
saes = ["sae-{short}1"]
listen_port = 0
certificate_file = "{tls}/kme-{short}.pem"
private_key_file = "{tls}/kme-{short}.key"
authority_file = "{tls}/authority.pem"
"""
TRIALS = 100
# What a client sees of a server that is killed.
LOST = (OSError, http.client.HTTPException, ValueError)


@pytest.fixture
def bench(tmp_path):
    tls = tmp_path / "tls"
    init_certificates(tls, ["kme-a", "kme-b"], [A1, B1])
    # Each start of Alice's end may lose what it had leased in advance: 64 KiB.
    kit.fill(tmp_path, (TRIALS + 10) << 17)
    text = (ROOT / "lab_configs/dv_quick.toml").read_text()
    text = text[: text.index("\n[sim]")]
    text = text.replace("[keys]", f'[keys]\ndirectory = "{tmp_path}"')
    for party in ("alice", "bob"):
        text += END.format(party=party, short=party[0], tls=tls)
    (tmp_path / "lab.toml").write_text(text)
    return tmp_path


@contextlib.contextmanager
def killed_after(bench, party, delay_s):
    """Serve one end, and kill it, so long after it began to listen."""
    command = [sys.executable, "-m", "scqc.cli", "keys", "serve", bench / "lab.toml"]
    with subprocess.Popen(
        [*command, "--party", party, "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        told = json.loads(process.stdout.readline())
        host, _, port = told["url"].removeprefix("https://").rpartition(":")
        timer = threading.Timer(delay_s, process.kill)
        timer.start()
        try:
            yield host, int(port)
        finally:
            timer.join()


@pytest.mark.soak
def test_soak_parties_delivery_killed_at_random(bench):
    choose = random.Random(5)
    sent, got, refused = {}, {}, set()
    for _ in range(TRIALS):
        context = kit.client_context(bench / "tls", A1)
        with (
            killed_after(bench, "alice", choose.uniform(0.02, 0.3)) as place,
            contextlib.suppress(*LOST),
            Client(place, context) as master,
        ):
            end = time.monotonic() + 5.0
            while time.monotonic() < end:
                path = f"/api/v1/keys/{B1}/enc_keys"
                status, found = master.ask("POST", path, {"number": 8})
                assert status == 200, found
                for key in found["keys"]:
                    assert key["key_ID"] not in sent
                    sent[key["key_ID"]] = key["key"]
        context = kit.client_context(bench / "tls", B1)
        waiting = [name for name in sent if name not in got and name not in refused]
        with (
            killed_after(bench, "bob", choose.uniform(0.02, 0.3)) as place,
            contextlib.suppress(*LOST),
            Client(place, context) as slave,
        ):
            for asking in waiting:
                path = f"/api/v1/keys/{A1}/dec_keys?key_ID={asking}"
                status, found = slave.ask("GET", path)
                if status == 200:
                    got[asking] = found["keys"][0]["key"]
                else:
                    # Spent just before the kill: lost, and not given again.
                    refused.add(asking)
    assert len(set(sent.values())) == len(sent) > TRIALS
    assert all(sent[name] == key for name, key in got.items())
    # At most the request that a kill interrupted is lost.
    assert len(refused) <= TRIALS
    assert all(len(base64.b64decode(key)) == 32 for key in got.values())
