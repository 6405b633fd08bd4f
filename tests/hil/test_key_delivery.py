"""Keys over mutual TLS on loopback: who gets in, who is cut off, what is served."""

import base64
import contextlib
import json
import logging
import os
import socket
import ssl
import stat
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import delivery_kit as kit
import pytest
from cryptography import x509
from delivery_kit import A1, B1, B2, Client
from patience_kit import PATIENT_S, Late, not_late_each_time, until

from protocols.delivery import openapi
from protocols.delivery.service import KeyDelivery
from scqc.core.errors import ConfigError, DeliveryError
from scqc.runs.delivery import server, tls
from scqc.runs.delivery.certificates import MARK, TestAuthority, init_certificates
from scqc.runs.delivery.tls import check_unexpired, expiry_s, sae_of, server_context

pytestmark = pytest.mark.hil
ENC, DEC = f"/api/v1/keys/{B1}/enc_keys", f"/api/v1/keys/{A1}/dec_keys"
DOCUMENT = Path(__file__).parents[2] / "docs/reference/key-delivery.openapi.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("certificates")
    saes = [A1, "sae-a2", B1, B2, "stranger"]
    init_certificates(found, ["kme-a", "kme-b"], saes)
    return found


def deliveries(folder, n_bytes=1 << 16, **more):
    forth, back = os.urandom(n_bytes), os.urandom(n_bytes)
    found = kit.certified(folder, **more)
    stores = kit.FakeStore(forth, back), kit.FakeStore(back, forth)
    return [
        KeyDelivery(found, party, store, time.monotonic)
        for party, store in zip(("alice", "bob"), stores, strict=True)
    ]


@pytest.fixture(scope="module")
def served(folder):
    with kit.serving(*deliveries(folder)) as servers:
        yield servers


@pytest.fixture
def connect(served, folder):
    with contextlib.ExitStack() as stack:

        def connected(sae, end=None):
            at_alice = sae.startswith("sae-a") if end is None else end == "alice"
            address = served[0 if at_alice else 1].address
            return stack.enter_context(Client(address, kit.client_context(folder, sae)))

        yield connected


def test_full_flow(connect):
    master, slave = connect(A1), connect(B1)
    status, found = master.ask("GET", f"/api/v1/keys/{B1}/status")
    assert (status, found["slave_SAE_ID"]) == (200, B1)
    status, sent = master.ask("POST", ENC, {"number": 3, "size": 512})
    assert status == 200
    asked = {"key_IDs": [{"key_ID": key["key_ID"]} for key in sent["keys"]]}
    assert slave.ask("POST", DEC, asked) == (200, sent)
    assert [len(base64.b64decode(key["key"])) for key in sent["keys"]] == [64] * 3
    assert slave.ask("POST", DEC, asked)[0] == 400
    status, sent = master.ask("GET", ENC)
    name = sent["keys"][0]["key_ID"]
    assert connect(B2).ask("GET", f"{DEC}?key_ID={name}")[0] == 401
    assert slave.ask("GET", f"{DEC}?key_ID={name}") == (200, sent)


def test_a_stream_flows(connect):
    master, slave = connect(A1), connect(B1)
    body = {"source": A1, "destination": B1}
    _, there = master.ask("POST", "/api/004/v1/open_connect", body)
    named = {"key_stream_id": there["key_stream_id"]}
    _, found = slave.ask("POST", "/api/004/v1/open_connect", body | named)
    assert (there["status"], found["status"]) == (1, 0)
    chunks = [one.ask("POST", "/api/004/v1/get_key", named) for one in (master, slave)]
    assert chunks[0] == chunks[1]
    assert chunks[0][1]["status"] == 0


@pytest.mark.parametrize("sae", ["stranger", B1])
def test_a_sae_that_is_not_of_this_end_is_refused(connect, sae):
    assert connect(sae, "alice").ask("GET", ENC)[0] == 401


def refusal(address, context):
    """Return whether a connection is refused before anything is answered.

    With TLS 1.3 the client learns of it when it reads.
    """
    try:
        with (
            socket.create_connection(address, timeout=PATIENT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return link.recv(100) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.fixture(scope="module")
def wrong(folder, tmp_path_factory):
    """Certificates that must not open the door, one by one."""
    found = tmp_path_factory.mktemp("wrong")
    ours = TestAuthority(
        *_loaded(folder / "authority.key", folder / "authority.pem"),
    )
    cases = {
        "expired": ours.issue(A1, -1.0),
        "another authority": TestAuthority.new(1.0).issue(A1, 1.0),
        "a server's": ours.issue(A1, 1.0, ["localhost"]),
    }
    for name, (certificate, key) in cases.items():
        (found / f"{name}.pem").write_bytes(certificate)
        (found / f"{name}.key").write_bytes(key)
    return found


def _loaded(key, certificate):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return (
        load_pem_private_key(key.read_bytes(), None),
        x509.load_pem_x509_certificate(certificate.read_bytes()),
    )


@pytest.mark.parametrize("case", ["expired", "another authority", "a server's"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_wrong_certificate_is_refused(served, folder, wrong, case, version):
    context = kit.client_context(wrong, case, folder / "authority.pem")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    before = served[0].counts()["connections"]
    assert refusal(served[0].address, context)
    # Connections of earlier tests may end meanwhile.
    assert served[0].counts()["connections"] <= before


def test_without_a_certificate_nobody_gets_in(served, folder):
    assert refusal(served[0].address, kit.client_context(folder, None))


def test_a_good_certificate_gets_in_with_the_oldest_tls(served, folder):
    context = kit.client_context(folder, A1)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert not refusal(served[0].address, context)


def test_older_tls_is_not_offered(folder):
    context = server_context(kit.certified(folder).alice)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_a_certificate_that_ends_on_an_open_connection(folder):
    with pytest.raises(DeliveryError, match="expired") as caught:
        check_unexpired(time.time() - 1.0)
    assert caught.value.status == 401
    check_unexpired(time.time() + 100.0)
    assert expiry_s(None) == 0.0
    assert expiry_s({"notAfter": "Jan  1 00:00:00 1970 GMT"}) == 0.0


def test_an_open_connection_ends_with_its_certificate(connect, monkeypatch):
    client = connect(A1)
    assert client.ask("GET", ENC)[0] == 200
    monkeypatch.setattr(server, "expiry_s", lambda _: time.time() - 1.0)
    status, found = client.ask("GET", ENC)
    assert (status, "keys" in found) == (401, False)


def test_who_waits_to_be_told_to_send_his_body_is_told(raw):
    link = raw()
    link.sendall(
        f"POST {ENC} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert link.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    link.sendall(b"{}")
    assert link.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "subject", [(), ((("commonName", "a"),), (("commonName", "b"),)), ((("o", "a"),),)]
)
def test_a_certificate_without_one_name_names_nobody(subject):
    with pytest.raises(DeliveryError, match="common names"):
        sae_of({"subject": subject})
    with pytest.raises(DeliveryError, match="common names"):
        sae_of(None)


def test_certificates_are_private_and_marked(folder):
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one = x509.load_pem_x509_certificate((folder / f"{A1}.pem").read_bytes())
    assert MARK in one.subject.rfc4514_string()
    assert "not for use" in MARK
    with pytest.raises(DeliveryError, match="exists"):
        init_certificates(folder, ["kme-a"], [A1])


@pytest.mark.parametrize("names", [["x", "x"], ["authority"], ["../x"], [""], ["é"]])
def test_names_that_are_no_files_are_refused(tmp_path, names):
    with pytest.raises(DeliveryError, match="certificate name"):
        init_certificates(tmp_path, ["kme-a"], names)


def test_files_that_are_not_there_or_open_to_others_are_refused(folder, tmp_path):
    good = kit.certified(folder).alice
    for change in ({"certificate_file": ""}, {"authority_file": "/nowhere"}):
        with pytest.raises(ConfigError, match="init-certs"):
            server_context(good.model_copy(update=change))
    key = tmp_path / "open.key"
    key.write_bytes((folder / "kme-a.key").read_bytes())
    key.chmod(0o644)
    with pytest.raises(DeliveryError, match="0600"):
        server_context(good.model_copy(update={"private_key_file": str(key)}))
    key.chmod(0o600)
    key.write_text("nothing")
    with pytest.raises(DeliveryError, match="kme-a"):
        server_context(good.model_copy(update={"private_key_file": str(key)}))


@pytest.mark.parametrize(("days", "what"), [(-1.0, "expired"), (30.0, "from")])
def test_a_server_whose_own_certificate_is_not_good_does_not_begin(
    tmp_path, monkeypatch, days, what
):
    init_certificates(tmp_path, ["kme-a", "kme-b"], [A1])
    authority = TestAuthority.new(60.0)
    if days > 0.0:
        # As a clock that is a year slow sees it.
        clock = SimpleNamespace(now=lambda zone: datetime(2001, 2, 3, 4, tzinfo=zone))
        monkeypatch.setattr(tls, "datetime", clock)
    certificate, key = authority.issue("kme-a", days, ["localhost"])
    (tmp_path / "kme-a.pem").write_bytes(certificate)
    (tmp_path / "kme-a.key").write_bytes(key)
    ends = x509.load_pem_x509_certificate(certificate)
    moment = ends.not_valid_after_utc if days < 0.0 else ends.not_valid_before_utc
    with pytest.raises(DeliveryError, match=what) as caught:
        server_context(kit.certified(tmp_path).alice)
    said = str(caught.value)
    assert f"{moment:%Y-%m-%d}" in said
    assert "new one" in said


def test_refused_handshakes_are_in_the_log_but_do_not_fill_it(
    folder, monkeypatch, caplog
):
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(server, "time", clock)
    (end, _) = deliveries(folder)
    stranger = kit.client_context(folder, None)
    with caplog.at_level(logging.WARNING), kit.serving(end) as (served,):
        for _ in range(3):
            assert refusal(served.address, stranger)
        until_refused(served, 3)
        clock.monotonic = lambda: 1000.0 + server.WARN_EVERY_S
        assert refusal(served.address, stranger)
        until_refused(served, 4)
    said = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert [text.split()[1] for text in said] == ["1", "3"]
    assert all(text.startswith("kme-a: ") and "expired" in text for text in said)


def until_refused(served, number):
    until(lambda: served.counts().get("handshakes refused", 0) >= number)


def test_bad_requests_leave_the_connection_usable(connect):
    client = connect(A1)
    bad = {"PUT": 405, "DELETE": 405}
    for method, status in bad.items():
        assert client.ask(method, ENC)[0] == status
    assert client.ask("GET", "/nowhere")[0] == 404
    assert client.ask("POST", ENC, b"\xff\xfe{}")[0] == 400
    assert client.ask("POST", ENC, b"[" * 60_000)[0] == 400
    wrong = {"Content-Type": "text/plain"}
    assert client.ask("POST", ENC, b"{}", wrong.items())[0] == 415
    packed = {"Content-Encoding": "gzip"}
    assert client.ask("POST", ENC, b"\x1f\x8b\x08\0\0", packed.items())[0] == 400
    assert client.ask("GET", ENC)[0] == 200


@pytest.fixture
def raw(served, folder):
    with contextlib.ExitStack() as stack:

        def connected(address=None):
            plain = socket.create_connection(
                address or served[0].address, timeout=PATIENT_S
            )
            stack.enter_context(plain)
            context = kit.client_context(folder, A1)
            return stack.enter_context(
                context.wrap_socket(plain, server_hostname="localhost")
            )

        yield connected


def everything(link):
    found = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := link.recv(65536):
            found += data
    return found


@pytest.mark.parametrize("chunked", [False, True], ids=["told", "chunked"])
def test_a_huge_body_is_refused_before_it_is_read(raw, chunked):
    link = raw()
    how = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000000000"
    link.sendall(
        f"POST {ENC} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"{how}\r\n\r\n".encode()
    )
    part = b"10000\r\n" + bytes(65536) + b"\r\n"
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        for _ in range(2 if chunked else 0):
            link.sendall(part)
    link.settimeout(PATIENT_S)
    assert link.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"\0\1\2\3 rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n",
    ],
    ids=["long line", "long field", "rubbish", "lengths", "version", "chunks"],
)
def test_a_bad_head_is_refused(served, raw, head, caplog):
    """In the standard's words, with no line in the log that a stranger could fill."""
    counted = served[0].counts().get("other 400", 0)
    link = raw()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        link.sendall(head)
    told, _, body = everything(link).partition(b"\r\n\r\n")
    assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"application/json" in told
    assert b"aiohttp" not in told
    assert json.loads(body)["message"]
    assert not [r for r in caplog.records if r.name.startswith("aiohttp")]
    assert served[0].counts()["other 400"] > counted


def test_a_mistake_of_ours_is_told_to_the_log_alone(served, raw, monkeypatch, caplog):
    monkeypatch.setattr(served[0], "_read", None)
    link = raw()
    link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    told, _, body = everything(link).partition(b"\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 500")
    assert json.loads(body) == {"message": "a mistake of this KME"}
    assert "TypeError" in caplog.text


@pytest.fixture(scope="module")
def hasty(folder):
    """An end that waits for nobody and takes two connections."""
    waits = {"request_timeout_s": 0.3, "idle_timeout_s": 0.3, "max_connections": 2}
    with kit.serving(deliveries(folder, **waits)[0]) as servers:
        yield servers[0]


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET / HT",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["nothing", "half a line", "half a body", "nothing more"],
)
@not_late_each_time
def test_who_is_slow_is_cut_off(raw, hasty, start):
    try:
        link = raw(hasty.address)
        link.sendall(start)
    except OSError as error:
        raise Late("this end was slow itself") from error
    # The other side closes; if it did not, this would end by the test's own timeout.
    told, whole = everything(link), start.startswith(b"GET / HTTP")
    if whole and not told:
        raise Late("this end was slow itself")
    assert told.count(b"HTTP/1.1 404") == whole


def test_who_drips_is_cut_off_too(raw, hasty):
    link = raw(hasty.address)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        for _ in range(600):
            link.sendall(b"X")
            time.sleep(0.05)
        pytest.fail("a request of thirty seconds was waited for")


def test_a_connection_too_many_is_closed(raw, folder):
    ends = deliveries(folder, max_connections=2)[:1]
    with kit.serving(*ends) as (server,):
        links = [raw(server.address) for _ in range(2)]
        for link in links:
            link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert link.recv(20).startswith(b"HTTP/1.1 404")
        assert everything(raw(server.address)) == b""
        assert server.counts()["connections"] == 2
        for link in links:
            link.close()


@not_late_each_time
def test_who_never_shakes_hands_keeps_nobody_out(folder, monkeypatch):
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(server, "MOST_HANDSHAKES", 2)
    with contextlib.ExitStack() as stack:
        (end, _) = deliveries(folder)
        (served,) = stack.enter_context(kit.serving(end))
        for _ in range(6):
            stack.enter_context(socket.create_connection(served.address))
        context = kit.client_context(folder, A1)
        client = stack.enter_context(Client(served.address, context))
        try:
            status, _ = client.ask("GET", ENC)
        except OSError as error:
            raise Late("this end did not shake hands in time itself") from error
        assert status == 200
        until(lambda: served.counts().get("handshakes refused", 0) >= 4)


def test_an_address_of_version_6(folder):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    (end, _) = deliveries(folder, alice={"listen_host": "::1"})
    with kit.serving(end) as (served,):
        context = kit.client_context(folder, A1)
        with Client(served.address, context) as client:
            assert client.ask("GET", ENC)[0] == 200


def test_the_description_is_served_and_is_the_one_in_the_docs(connect):
    status, found = connect(A1).ask("GET", "/openapi.json")
    assert status == 200
    assert found == openapi.description(kit.settings())
    assert found == json.loads(DOCUMENT.read_text())
    assert found == json.loads(DOCUMENT.read_text())


def test_counts_are_told(served, connect):
    client = connect(A1)
    before = served[0].counts()
    client.ask("GET", ENC)
    after = served[0].counts()
    assert after["enc_keys 200"] == before.get("enc_keys 200", 0) + 1
    assert after["keys"] == before.get("keys", 0) + 1
    assert after["connections"] >= 1


def test_an_address_that_is_taken_is_told(folder, served):
    port = served[0].address[1]
    (end, _) = deliveries(folder, alice={"listen_port": port})
    with pytest.raises(DeliveryError, match=str(port)), kit.serving(end):
        pass
