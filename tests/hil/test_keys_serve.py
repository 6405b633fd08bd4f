"""`scqc keys serve` as two processes on real sinks, and what the sink can do to it."""

import contextlib
import json
import logging
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import delivery_kit as kit
import pytest
from delivery_kit import A1, B1, Client

from protocols.delivery.service import Call, KeyDelivery
from protocols.key_sink import KeySink
from scqc.cli import main
from scqc.core.errors import DeliveryError
from scqc.runs.delivery import process
from scqc.runs.delivery.certificates import init_certificates
from scqc.runs.delivery.process import open_store, sink_path
from scqc.runs.lab_config import load_config, parse_config

pytestmark = pytest.mark.hil
ROOT = Path(__file__).parents[2]
BENCH = (ROOT / "lab_configs/dv_quick.toml").read_text()
ENC = f"/api/v1/keys/{B1}/enc_keys"
DEC = f"/api/v1/keys/{A1}/dec_keys"
TABLE = """
[delivery]
{more}
[delivery.alice]
kme_id = "kme-a"
saes = ["sae-a1", "sae-a2"]
listen_port = 0
certificate_file = "{folder}/kme-a.pem"
private_key_file = "{folder}/kme-a.key"
authority_file = "{folder}/authority.pem"
[delivery.bob]
kme_id = "kme-b"
saes = ["sae-b1", "sae-b2"]
listen_port = 0
certificate_file = "{folder}/kme-b.pem"
private_key_file = "{folder}/kme-b.key"
authority_file = "{folder}/authority.pem"
"""


@pytest.fixture
def config(tmp_path):
    init_certificates(tmp_path / "tls", ["kme-a", "kme-b"], [A1, B1])
    text = BENCH[: BENCH.index("\n[sim]")].replace(
        "[keys]", f'[keys]\ndirectory = "{tmp_path}"'
    )
    path = tmp_path / "lab.toml"
    path.write_text(text + TABLE.format(folder=tmp_path / "tls", more=""))
    return path


def served(config, party):
    command = [sys.executable, "-m", "scqc.cli", "keys", "serve", str(config)]
    return subprocess.Popen(
        [*command, "--party", party, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def address(process):
    told = process.stdout.readline()
    assert told, process.stderr.read()
    assert "url" in told, told
    host, _, port = json.loads(told)["url"].removeprefix("https://").rpartition(":")
    return host, int(port)


def test_two_processes_give_the_same_keys_and_end_when_asked(config, tmp_path):
    kit.fill(tmp_path, 4096)
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(served(config, end)) for end in ("alice", "bob")]
        for end in ends:
            stack.callback(end.kill)
        places = [address(end) for end in ends]
        tls = tmp_path / "tls"
        with (
            Client(places[0], kit.client_context(tls, A1)) as master,
            Client(places[1], kit.client_context(tls, B1)) as slave,
        ):
            status, sent = master.ask("POST", ENC, {"number": 10})
            assert status == 200
            asked = {"key_IDs": [{"key_ID": key["key_ID"]} for key in sent["keys"]]}
            assert slave.ask("POST", DEC, asked) == (200, sent)
            assert slave.ask("POST", DEC, asked)[0] == 400
            limits = Path(f"/proc/{ends[0].pid}/limits")
            if limits.exists():
                assert re.search(r"Max core file size +0 +0 ", limits.read_text())
            # With connections open: nobody is waited for.
            for end in ends:
                end.send_signal(signal.SIGTERM)
            assert [end.wait(60) for end in ends] == [0, 0]
    # What was given stays given, and what was leased ahead is lost, not repeated.
    with KeySink(tmp_path / "bob.sqlite") as sink:
        again = KeyDelivery(
            load_config(config).config.delivery,
            "bob",
            open_store(sink, load_config(config).config.delivery, "bob"),
            time.monotonic,
        )
        body = json.dumps(asked).encode()
        call = Call(B1, "POST", DEC, "application/json", body)
        assert again.answer(call).status == 400


@contextlib.contextmanager
def end_on(folder, party="alice", **more):
    with KeySink(folder / f"{party}.sqlite") as sink:
        found = kit.settings(**more)
        with open_store(sink, found, party) as store:
            yield KeyDelivery(found, party, store, time.monotonic)


def test_simulated_keys_are_delivered_only_by_that_name(tmp_path):
    kit.fill(tmp_path, 4096, simulated=True)
    with end_on(tmp_path) as end:
        assert end.answer(Call(A1, "GET", ENC)).status == 503
    with end_on(tmp_path, allow_simulated_keys=True) as end:
        assert end.answer(Call(A1, "GET", ENC)).status == 200


def test_a_key_that_the_peer_has_not_confirmed_is_given_later(tmp_path):
    """The master may be quicker than the confirmation between the two ends."""
    kit.fill(tmp_path, 4096, confirmed_at_bob=False)
    with end_on(tmp_path) as end:
        sent = json.loads(end.answer(Call(A1, "GET", ENC)).body)["keys"]
    call = Call(B1, "GET", f"{DEC}?key_ID={sent[0]['key_ID']}")
    with end_on(tmp_path, "bob") as end, KeySink(tmp_path / "bob.sqlite") as sink:
        assert end.answer(call).status == 503
        sink.confirm("run", 0)
        answer = end.answer(call)
    assert (answer.status, json.loads(answer.body)["keys"]) == (200, sent)


def test_the_real_store_counts_and_runs_dry(tmp_path):
    kit.fill(tmp_path, 100)
    with end_on(tmp_path) as end:
        status = Call(A1, "GET", f"/api/v1/keys/{B1}/status")
        for left in (3, 2, 1, 0):
            found = json.loads(end.answer(status).body)
            assert found["stored_key_count"] == left
            assert end.answer(Call(A1, "GET", ENC)).status == (200 if left else 503)


def test_whoever_asks_at_the_same_time_gets_keys_of_his_own(tmp_path):
    """Two servers on one sink, and threads on each, as after a restart in a hurry."""
    kit.fill(tmp_path, 1 << 18)
    call = Call(A1, "GET", f"{ENC}?number=10")
    with (
        end_on(tmp_path) as one,
        end_on(tmp_path) as other,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda k: (one, other)[k % 2].answer(call), range(40)))
    assert {answer.status for answer in answers} == {200}
    keys = [key for answer in answers for key in json.loads(answer.body)["keys"]]
    assert len({key["key_ID"] for key in keys}) == len({k["key"] for k in keys}) == 400


def test_the_key_that_is_gone_is_named(tmp_path):
    """All or none: whoever asks for many has to know which one to leave out."""
    kit.fill(tmp_path, 1 << 14)
    with end_on(tmp_path) as end:
        sent = json.loads(end.answer(Call(A1, "GET", f"{ENC}?number=4")).body)["keys"]
    names = [key["key_ID"] for key in sent]
    body = json.dumps({"key_IDs": [{"key_ID": name} for name in names]}).encode()
    with end_on(tmp_path, "bob") as end:
        assert end.answer(Call(B1, "GET", f"{DEC}?key_ID={names[2]}")).status == 200
        answer = end.answer(Call(B1, "POST", DEC, "application/json", body))
        assert answer.status == 400
        assert json.loads(answer.body)["details"] == [{"key_ID": names[2]}]
        # None of the others was given for that.
        assert end.answer(Call(B1, "GET", f"{DEC}?key_ID={names[0]}")).status == 200


def test_of_many_who_ask_for_one_key_one_gets_it(tmp_path):
    kit.fill(tmp_path, 1 << 14)
    with end_on(tmp_path) as end:
        sent = json.loads(end.answer(Call(A1, "GET", f"{ENC}?number=20")).body)["keys"]
    calls = [Call(B1, "GET", f"{DEC}?key_ID={key['key_ID']}") for key in sent] * 4
    with end_on(tmp_path, "bob") as end, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(end.answer, calls))
    given = [json.loads(a.body)["keys"][0] for a in answers if a.status == 200]
    assert sorted(key["key_ID"] for key in given) == sorted(k["key_ID"] for k in sent)
    assert all(key in sent for key in given)
    assert [a.status for a in answers].count(400) == 60


def test_a_damaged_database_is_503_and_the_log_says_what_to_do(tmp_path, caplog):
    kit.fill(tmp_path, 1 << 20)
    with end_on(tmp_path) as end, caplog.at_level(logging.ERROR):
        with sqlite3.connect(tmp_path / "alice.sqlite") as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        size = (tmp_path / "alice.sqlite").stat().st_size
        with (tmp_path / "alice.sqlite").open("r+b") as file:
            file.seek(4096)
            file.write(random.Random(1).randbytes(size - 4096))
        answer = end.answer(Call(A1, "GET", ENC))
    assert answer.status == 503
    assert "scqc keys check" in caplog.text
    assert b"log says why" in answer.body


def test_a_sink_that_cannot_be_written_is_503(tmp_path, caplog):
    """As root every file can be written: the database itself is told not to."""
    kit.fill(tmp_path, 4096)
    with end_on(tmp_path) as end, caplog.at_level(logging.ERROR):
        end.store._sink.db.execute("PRAGMA query_only=ON")
        answer = end.answer(Call(A1, "GET", ENC))
    assert answer.status == 503
    assert "readonly" in caplog.text
    assert "scqc keys check" in caplog.text


def test_no_table_no_keys(config, tmp_path, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr(process, "harden_process", lambda: calls.append("hardened"))
    real = process.server_context
    monkeypatch.setattr(
        process, "server_context", lambda kme: (calls.append("secrets"), real(kme))[1]
    )
    bare = tmp_path / "bare.toml"
    bare.write_text(config.read_text().partition("\n[delivery]")[0])
    assert main(["keys", "serve", str(bare), "--party", "bob"]) == 2
    said = capsys.readouterr().err
    assert "[delivery]" in said
    assert "key-delivery.md" in said
    # Nor without the files it names.
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace("kme-b.pem", "nowhere.pem"))
    assert main(["keys", "serve", str(other), "--party", "bob"]) == 2
    assert "nowhere.pem" in capsys.readouterr().err
    # And no sink: nothing is created in its place.
    assert main(["keys", "serve", str(config), "--party", "bob"]) == 8
    assert not (tmp_path / "bob.sqlite").exists()
    # Core files are off before the first secret is read.
    assert calls == ["hardened", "secrets"] * 2


def test_a_simulated_bench_names_its_sinks(tmp_path):
    simulated = parse_config(BENCH)
    with pytest.raises(DeliveryError, match="simulated_directory"):
        sink_path(simulated, "alice")
    named = parse_config(
        BENCH.replace("[keys]", f'[keys]\nsimulated_directory = "{tmp_path}"')
    )
    assert sink_path(named, "bob") == tmp_path / "bob.sqlite"


def test_init_certs_at_the_command_line(tmp_path, capsys):
    folder = str(tmp_path / "tls")
    names = ["--kme", "k1", "--kme", "k2", "--sae", "s1"]
    assert main(["keys", "init-certs", folder, *names, "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == 8
    assert all(Path(file).is_file() for file in files)
    assert main(["keys", "init-certs", folder, *names]) == 8
