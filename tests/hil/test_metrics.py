"""Metrics of both ends and of key delivery, asked over loopback; what a stranger gets.

The ends are the services themselves, greeted, with real sinks; there is no light.
"""

import asyncio
import contextlib
import gc
import http.client
import json
import re
import socket
import sys
import threading
import time
import urllib.request
import weakref
from pathlib import Path

import delivery_kit
import pytest
from prometheus_client.parser import text_string_to_metric_families
from run_kit import CONFIGS

from protocols.key_sink.start_key import provision
from scqc.cli import main
from scqc.core.errors import ConfigError, PeerError, ScqcError, WatchdogError
from scqc.core.rng import ReplayEntropy, SystemEntropy
from scqc.runs.delivery.process import serve_metrics
from scqc.runs.delivery.server import KmeServer
from scqc.runs.journal import Journal, read_journal
from scqc.runs.lab_config import load_config, parse_config
from scqc.runs.metrics import server as metrics_server
from scqc.runs.metrics.server import MetricsServer
from scqc.runs.parties.alarms import CODES
from scqc.runs.parties.alice_service import make_alice
from scqc.runs.parties.asking import ask_all, ask_one
from scqc.runs.parties.bob_service import make_bob
from scqc.runs.parties.control import ControlServer
from scqc.runs.parties.curve import write_link_files
from scqc.runs.parties.link import LocalLink
from scqc.runs.parties.programs import observed
from scqc.runs.parties.service import Place, opened_home
from scqc.runs.parties.status import DoneBlock

pytestmark = pytest.mark.hil
ROOT = Path(__file__).parents[2]
MAKE = {"alice": make_alice, "bob": make_bob}
FIGURES = {"qber_z": 0.01, "qber_x": 0.02, "gain_signal": 0.05}


@contextlib.contextmanager
def services(folder, name="dv_quick.toml", **peer):
    """Yield both services of a link on one computer, with where their metrics are."""
    loaded = load_config(CONFIGS / name)
    config = loaded.config
    changed = config.peer.model_copy(update={"metrics": "127.0.0.1:0"} | peer)
    loaded = type(loaded)(
        config.model_copy(update={"peer": changed}), loaded.text, loaded.path
    )
    links = folder / "links"
    write_link_files(links, SystemEntropy())
    with contextlib.ExitStack() as opened:
        made, urls = [], []
        for party in ("alice", "bob"):
            home = folder / party
            (home / "keys").mkdir(mode=0o700, parents=True)
            (links / f"{party}.link").rename(home / "keys" / f"{party}.link")
            place = Place(loaded, home, None, "00000000-0000-4000-8000-000000000000")
            sink, keys = opened.enter_context(opened_home(place, party))
            journal = opened.enter_context(Journal(home, place.run_uuid))
            made.append(MAKE[party](place, sink, keys, journal))
            urls.append(opened.enter_context(observed(made[-1])))
        yield made, urls


def fetch(url):
    """Return a page, read by the parser of the metrics' own library."""
    with urllib.request.urlopen(url, timeout=60.0) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        text = reply.read().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found[(name, *sorted(labels.items()))]


def test_both_ends_of_a_link_are_asked(tmp_path):
    with services(tmp_path) as ((alice, bob), urls):
        bob._greet(LocalLink(alice))
        bob.status.enter("running")
        bob.status.done(DoneBlock(0, time.monotonic(), 4711, FIGURES))
        bob.status.failed("SyncError: no frame")
        alice.status.done(DoneBlock(0, time.monotonic(), 4711))
        pages = [fetch(url) for url in urls]
        states = [service.handle({"command": "status"}) for service in (alice, bob)]
    for party, page, state in zip(("alice", "bob"), pages, states, strict=True):
        assert value(page, "scqc_key_bits_total", party=party) == 4711
        assert value(page, "scqc_sessions_total", party=party) == 1
        for name, bits in state["sink"].items():
            pool, direction = name.split(".")
            labels = {"pool": pool, "direction": direction, "party": party}
            assert value(page, "scqc_sink_level_bits", **labels) == bits
        assert state["sink"]["authentication.alice-to-bob"] > 0
        known = {labels[0][1] for key, *labels in page if key == "scqc_alarm"}
        assert known == set(CODES)
    _, page = pages
    assert value(page, "scqc_state", party="bob", state="running") == 1
    assert value(page, "scqc_state", party="bob", state="fault") == 0
    assert value(page, "scqc_blocks_total", party="bob") == 2
    assert value(page, "scqc_blocks_failed_total", party="bob") == 1
    assert value(page, "scqc_qber_ratio", party="bob", basis="x") == 0.02
    labels = {"code": "block-failed", "severity": "minor", "party": "bob"}
    assert value(page, "scqc_alarm", **labels) == 1
    assert value(page, "scqc_severity", party="bob") == 1
    assert value(page, "scqc_last_block_age_seconds", party="bob") < 60.0
    # Nothing was measured with continuous variables here.
    assert ("scqc_excess_noise_snu", ("party", "bob")) not in page


def test_a_greeting_that_is_refused_is_an_alarm_at_both_ends(tmp_path):
    with services(tmp_path) as ((alice, bob), _):
        alice.terms = lambda: type(bob.terms())(
            link=alice.keys.link, party="alice", config='{"link": {"bursts": 3}}'
        )
        with pytest.raises(PeerError):
            bob._greet(LocalLink(alice))
        for service in (alice, bob):
            (alarm,) = service.observer.look()["alarms"]
            assert alarm["code"] == "greeting-refused"
            assert "settings of both ends differ" in alarm["text"]
            kinds = [entry["kind"] for entry in read_journal(service.place.home)]
            assert "alarm" in kinds
        del alice.terms
        bob._greet(LocalLink(alice))
        for service in (alice, bob):
            shown = service.observer.look()
            assert (shown["alarms"], shown["state"]) == ([], "linked")
            assert shown["cleared"][0]["code"] == "greeting-refused"


def test_no_key_is_in_what_is_told_of_it(tmp_path, monkeypatch):
    """The start key is made of a pattern; no file but the sink's has any of it."""
    pattern = bytes.fromhex("5ec4e7f00dcafe42")

    def planted(sinks, n_bits, _entropy, pad_bits=0):
        class Planted(ReplayEntropy):
            def read(self, n_bytes):
                return (pattern * (n_bytes // 8 + 1))[:n_bytes]

        return provision(sinks, n_bits, Planted(1, "planted"), pad_bits=pad_bits)

    monkeypatch.setattr("scqc.runs.sinks.provision", planted)
    told = []
    with services(tmp_path) as ((alice, bob), urls):
        bob._greet(LocalLink(alice))
        for service, url in zip((alice, bob), urls, strict=True):
            failing = (
                lambda s=service.sink: s.take(n_bits=1 << 40),
                lambda s=service.sink: s.burn("of no such name"),
                lambda s=service.sink: s.spend(
                    "authentication", "alice-to-bob", 1 << 40
                ),
            )
            for number, call in enumerate(failing):
                with pytest.raises(ScqcError) as caught:
                    call()
                service.note_failure(f"block {number}", caught.value)
            told.append(urllib.request.urlopen(url).read())
            told.append(json.dumps(service.observer.look()).encode())
    sinks = 0
    for path in tmp_path.rglob("*"):
        if path.is_file():
            holds = path.suffix == ".sqlite" or ".sqlite-" in path.name
            content = path.read_bytes()
            sinks += pattern in content and holds
            told += [] if holds else [content]
    # The search finds what there is.
    assert sinks >= 2
    assert len(told) >= 6
    for content in told:
        for half in (pattern[:4], pattern[4:]):
            assert half not in content
            assert half.hex().encode() not in content.lower()
            assert ", ".join(map(str, half)).encode() not in content


def test_delivery_has_metrics_of_its_own():
    ends = delivery_kit.fake_ends(alice={"metrics": "127.0.0.1:0"})

    # Nobody listens for applications: of the server only its counts are asked.
    async def counted():
        server = KmeServer(ends.alice, None)
        with serve_metrics(ends.alice, server) as served:
            status, _ = ends.enc("sae-a1", "sae-b1", number=3)
            assert status == 200
            ends.enc("sae-a1", "nobody")
            return await asyncio.to_thread(fetch, served.url)

    page = asyncio.run(counted())
    labels = {"kme": "kme-a", "action": "enc_keys"}
    assert value(page, "scqc_delivery_answers_total", status="200", **labels) == 1
    assert value(page, "scqc_delivery_keys_total", kme="kme-a") == 3
    left = (1 << 16) - 3 * 32
    assert value(page, "scqc_delivery_available_bytes", kme="kme-a") == left
    refused = [
        (dict(labels)["status"], number)
        for (name, *labels), number in page.items()
        if name == "scqc_delivery_answers_total"
    ]
    assert sorted(refused) == [("200", 1), ("400", 1)]
    assert serve_metrics(ends.bob, None) is None


@pytest.fixture
def page():
    with MetricsServer("127.0.0.1:0", lambda: ("text/plain; version=1", b"x 1\n")) as s:
        yield s


def say(server, request):
    """Send bytes; return everything that comes back until the connection ends."""
    place = re.fullmatch(r"http://([\d.]+):(\d+)/metrics", server.url)
    with socket.create_connection((place[1], int(place[2])), timeout=60.0) as link:
        parts = []
        # A connection that is cut off may be reset while it speaks.
        with contextlib.suppress(ConnectionError):
            link.sendall(request)
            while part := link.recv(4096):
                parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"200"),
        (b"GET /metrics?a=b HTTP/1.0", b"200"),
        (b"HEAD /metrics HTTP/1.1", b"200"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"DELETE /metrics HTTP/1.1", b"405"),
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/../../etc/passwd HTTP/1.1", b"404"),
        (b"GET /metrics", b"400"),
        (b"\x16\x03\x01\x00\xff\x00", b"400"),
        (b"a b c d HTTP/1.1", b"400"),
    ],
)
def test_what_is_asked_gets_its_answer(page, request_line, status):
    reply = say(page, request_line + b"\r\nHost: x\r\n\r\n")
    assert reply.split()[1] == status
    assert reply.endswith(b"x 1\n") == (
        status == b"200" and b"HEAD" not in request_line
    )


def test_a_head_without_end_and_a_slow_one_are_cut_off(page, monkeypatch):
    assert say(page, b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 5000) == b""
    with monkeypatch.context() as hasty:
        hasty.setattr(metrics_server, "_TIMEOUT_S", 0.2)
        assert say(page, b"GET /metrics HTTP/1.1\r\n") == b""
    assert fetch(page.url) == {("x",): 1.0}


def test_one_connection_too_many_is_closed_and_the_others_go_on(page, monkeypatch):
    monkeypatch.setattr(metrics_server, "_TIMEOUT_S", 60.0)
    place = http.client.urlsplit(page.url)
    held = []
    try:
        for _ in range(metrics_server.MOST_CONNECTIONS):
            held.append(socket.create_connection((place.hostname, place.port)))
        assert say(page, b"") == b""
        assert page.turned_away == 1
        held[0].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert held[0].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for link in held:
            link.close()


def test_an_address_that_is_taken_is_an_error_of_the_config(page):
    place = http.client.urlsplit(page.url)
    with pytest.raises(ConfigError, match="cannot listen there"):
        MetricsServer(f"127.0.0.1:{place.port}", lambda: ("", b""))
    with pytest.raises(ConfigError, match="cannot listen there"):
        MetricsServer("127.0.0.1:99999", lambda: ("", b""))


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setattr("scqc.runs.metrics.find_spec", lambda _: None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'scqc\[metrics\]'"),
        services(tmp_path),
    ):
        pass


def test_without_an_address_nothing_listens(tmp_path):
    with services(tmp_path, metrics="") as (_, urls):
        assert urls == ["", ""]
        assert not [t for t in threading.enumerate() if t.name == "metrics"]


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("", True),
        ("127.0.0.1:9750", True),
        ("[::1]:9750", True),
        ("bob.example:0", True),
        (":9750", False),
        ("9750", False),
        ("http://127.0.0.1:9750", False),
        ("127.0.0.1:9750/metrics", False),
        ("::1:9750", False),
    ],
)
def test_addresses_of_the_config(address, good):
    text = (CONFIGS / "dv_quick.toml").read_text()
    text = text.replace("\n[safety]", f'\n[peer]\nmetrics = "{address}"\n\n[safety]', 1)
    with contextlib.nullcontext() if good else pytest.raises(ConfigError):
        assert parse_config(text).peer.metrics == address


@pytest.mark.parametrize("address", ["nonsense", "localhost:x", "[::1]:80\n", ":9750"])
def test_an_address_of_the_command_line(tmp_path, capsys, address):
    home = tmp_path / "bob"
    given = ["bob", str(ROOT / "lab_configs/dv_quick.toml"), "--home", str(home)]
    assert main([*given, "--metrics", address]) == 2
    said = capsys.readouterr().err
    assert "--metrics" in said
    assert "HOST:PORT" in said
    assert "Traceback" not in said
    assert not home.exists()


def test_ten_thousand_looks_leave_nothing_behind(tmp_path):
    """Scrapes, and what is behind them: pages made anew, and connections."""
    with services(tmp_path) as ((alice, bob), urls):
        bob._greet(LocalLink(alice))
        page = _page_of(bob)

        def objects():
            for number in range(5000):
                page._end_s = -1.0 if number % 100 == 0 else page._end_s
                page.page()
            for _ in range(25):
                say_metrics(urls[1])
            gc.collect()
            # Weak references come and go with the threads of others.
            return sum(type(o) is not weakref.ref for o in gc.get_objects())

        # The first round fills caches; then 75 pages are made anew.
        before, after = objects(), objects()
        serving = [t for t in threading.enumerate() if "request" in t.name]
    assert after - before < 60
    assert len(serving) <= metrics_server.MOST_CONNECTIONS


def _page_of(service):
    from scqc.runs.metrics.page import page_of
    from scqc.runs.metrics.party import party_metrics

    return page_of(lambda: party_metrics(service.observer.look())).__self__


def say_metrics(url):
    with urllib.request.urlopen(url, timeout=60.0) as reply:
        return reply.read()


def test_status_of_ends_that_answer_and_of_one_that_does_not(tmp_path):
    with services(tmp_path) as ((alice, bob), _):
        home = bob.place.home
        with ControlServer(home, bob.handle):
            found = ask_one(home)
            assert found["party"] == "bob"
        with pytest.raises(PeerError, match="no service answers"):
            ask_one(home)
        alice.journal.write("error", "WatchdogError: bench: 'safe': watchdog has ended")
        bob.journal.write("error", "KeySinkError: an older epoch")
        ended = ask_all([alice.place.home, home, tmp_path / "nowhere"])
    assert [end["state"] for end in ended] == ["no answer"] * 3
    assert {end["severity"] for end in ended} == {"invalid"}
    codes = [[alarm["code"] for alarm in end["alarms"]] for end in ended]
    assert codes == [["watchdog"], ["fault"], []]


def test_a_watchdog_that_acts_is_an_alarm(tmp_path):
    with services(tmp_path, metrics="") as ((_, bob), _):
        with pytest.raises(WatchdogError), observed(bob):
            raise WatchdogError("bench", "beat", "the watchdog has ended")
        assert bob.observer.look()["alarms"][0]["code"] == "watchdog"


def test_the_dashboard_asks_for_what_there_is(tmp_path):
    dashboard = json.loads((ROOT / "docs/grafana-link.json").read_text())
    wanted = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"\bscqc_\w+|\bprocess_\w+", target["expr"])
    }
    with services(tmp_path) as (_, urls):
        text = say_metrics(urls[1]).decode()
    there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    ours = (ROOT / "scqc/runs/metrics/delivery.py").read_text()
    there |= {
        f"{name}_total" for name in re.findall(r'"(scqc_delivery_\w+)"', ours)
    } | set(re.findall(r'"(scqc_delivery_\w+)"', ours))
    assert len(wanted) > 10
    assert wanted <= there
    page = (ROOT / "docs/reference/status.md").read_text()
    for name in there - {n for n in there if n.startswith("process_")}:
        assert name.removesuffix("_total") in page, name
