"""A KME without sockets: every answer and every error of the standard."""

import base64
import logging
import uuid

import delivery_kit as kit
import pytest
from delivery_kit import A1, A2, B1, B2
from pydantic import ValidationError

from protocols.delivery.service import LOG_PAUSE_S, Call
from scqc.core.errors import KeySinkError

ENC, DEC = f"/api/v1/keys/{B1}/enc_keys", f"/api/v1/keys/{A1}/dec_keys"
NEVER_MADE = str(uuid.UUID(int=0x0123456789AB_8_CDE_8_123456789ABCDEF))


@pytest.fixture
def ends():
    return kit.fake_ends()


def test_both_get_the_same_keys(ends):
    status, sent = ends.enc(A1, B1, number=3, size=512)
    assert status == 200
    names = [key["key_ID"] for key in sent["keys"]]
    status, found = ends.dec(B1, A1, *names)
    assert status == 200
    assert found == sent
    keys = [base64.b64decode(key["key"], validate=True) for key in sent["keys"]]
    assert [len(key) for key in keys] == [64, 64, 64]
    assert len(set(keys)) == 3


def test_both_directions_at_once_share_no_bit(ends):
    _, forth = ends.enc(A1, B1)
    _, back = ends.enc(B1, A1)
    assert forth["keys"][0]["key"] != back["keys"][0]["key"]
    assert ends.dec(A1, B1, back["keys"][0]["key_ID"]) == (200, back)
    assert ends.dec(B1, A1, forth["keys"][0]["key_ID"]) == (200, forth)


def test_get_works_as_post(ends):
    status, sent = ends.ask(A1, "GET", f"{ENC}?number=2&size=128")
    assert status == 200
    assert [len(base64.b64decode(k["key"])) for k in sent["keys"]] == [16, 16]
    name = sent["keys"][1]["key_ID"]
    status, found = ends.ask(B1, "GET", f"{DEC}?key_ID={name}")
    assert (status, found["keys"]) == (200, sent["keys"][1:])
    status, sent = ends.ask(A1, "GET", ENC)
    assert (status, len(sent["keys"])) == (200, 1)
    assert len(base64.b64decode(sent["keys"][0]["key"])) == 32


def test_status_tells_what_is_there(ends):
    status, found = ends.ask(A1, "GET", f"/api/v1/keys/{B1}/status")
    assert (status, found) == (
        200,
        {
            "source_KME_ID": "kme-a",
            "target_KME_ID": "kme-b",
            "master_SAE_ID": A1,
            "slave_SAE_ID": B1,
            "key_size": 256,
            "stored_key_count": 65536 * 8 // 256,
            "max_key_count": 1_000_000,
            "max_key_per_request": 128,
            "max_key_size": 8192,
            "min_key_size": 64,
            "max_SAE_ID_count": 0,
        },
    )


def test_a_key_is_delivered_once_to_each(ends):
    _, sent = ends.enc(A1, B1)
    name = sent["keys"][0]["key_ID"]
    assert ends.dec(B1, A1, name)[0] == 200
    status, found = ends.dec(B1, A1, name)
    assert status == 400
    assert "once" in found["message"]
    assert "key" not in found


def test_one_unknown_key_id_keeps_all_back(ends):
    _, sent = ends.enc(A1, B1)
    name = sent["keys"][0]["key_ID"]
    assert ends.dec(B1, A1, name, NEVER_MADE)[0] == 400
    assert ends.dec(B1, A1, name)[0] == 200


def test_a_key_id_of_another_sae_is_not_for_this_one(ends):
    _, sent = ends.enc(A1, B1)
    name = sent["keys"][0]["key_ID"]
    status, found = ends.dec(B2, A1, name)
    assert status == 401
    assert found["details"] == [{"key_ID": name}]
    # A wrong master is no way in either, and the rightful one still gets it.
    assert ends.dec(B2, A2, name)[0] == 401
    assert ends.dec(B1, A1, name) == (200, sent)


def test_the_master_cannot_fetch_its_own_key_again(ends):
    _, sent = ends.enc(A1, B1)
    assert ends.dec(A1, B1, sent["keys"][0]["key_ID"])[0] == 400


@pytest.mark.parametrize("sae", ["stranger", B1, "", "x" * 5000])
def test_who_is_not_served_here_is_refused(ends, sae):
    answer = ends.alice.answer(Call(sae, "GET", ENC))
    assert answer.status == 401
    assert len(answer.body) < 200


@pytest.mark.parametrize("slave", ["nobody", A2, A1, "%FF", "x" * 1000, "%00", ""])
def test_a_slave_that_is_not_across_is_refused(ends, slave):
    for action in ("status", "enc_keys"):
        status, found = ends.ask(A1, "GET", f"/api/v1/keys/{slave}/{action}")
        assert status == 400
        assert found["message"]


BAD_BODIES = {
    "number 0": {"number": 0},
    "number 129": {"number": 129},
    "number -1": {"number": -1},
    "number 1e30": b'{"number": 1e30}',
    "number text": {"number": "2"},
    "number null": {"number": None},
    "number 1.5": {"number": 1.5},
    "number true": {"number": True},
    "size 0": {"size": 0},
    "size 12": {"size": 12},
    "size 56": {"size": 56},
    "size 8200": {"size": 8200},
    "size huge": b'{"size": 99999999999999999999999999}',
    "another slave": {"additional_slave_SAE_IDs": [B2]},
    "must": {"extension_mandatory": [{"route_type": "direct"}]},
    "must, empty": {"extension_mandatory": [{}]},
    "unknown": {"Size": 256},
    "no object": b"[]",
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"extension_optional": [{"\xff\xfe": 1}]}',
    "nested": b'{"extension_optional": [' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "NaN": b'{"number": NaN}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_request_for_keys_is_refused(ends, body):
    status, found = ends.ask(A1, "POST", ENC, body)
    assert status == 400
    assert found["message"]
    assert ends.alice.store.at == 0


def test_optional_extensions_are_ignored(ends):
    assert ends.enc(A1, B1, extension_optional=[{"a": {"b": [1]}}])[0] == 200
    assert ends.enc(A1, B1, extension_mandatory=[])[0] == 200
    assert ends.enc(A1, B1, additional_slave_SAE_IDs=[])[0] == 200


QUERIES = "number=0 number=x size=12 number=+1 number=1_0 x=1 number=1&number=1 size"
QUERIES += " number=%D9%A1 %FF=%FF a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1"


@pytest.mark.parametrize("query", QUERIES.split())
def test_a_bad_query_is_refused(ends, query):
    assert ends.ask(A1, "GET", f"{ENC}?{query}")[0] == 400
    assert ends.alice.store.at == 0


def test_bad_key_ids_are_refused(ends):
    bodies = (
        {},
        {"key_IDs": []},
        {"key_IDs": ["x"]},
        {"key_IDs": [{"key_ID": "x"}]},
        {"key_IDs": [{"key_ID": 5}]},
        {"key_IDs": [{"key_ID": NEVER_MADE}] * 2},
        {"key_IDs": [{"key_ID": str(uuid.uuid4())} for _ in range(129)]},
        {"key_IDs": [{"key_ID": str(uuid.uuid4())}]},
    )
    for body in bodies:
        assert ends.ask(B1, "POST", DEC, body)[0] == 400, body
    for query in ("", "?", "?key_ID=x", f"?key_ID={NEVER_MADE}&key_ID={NEVER_MADE}"):
        assert ends.ask(B1, "GET", DEC + query)[0] == 400, query
    for master in (B2, "nobody"):
        path = f"/api/v1/keys/{master}/dec_keys?key_ID={NEVER_MADE}"
        assert ends.ask(B1, "GET", path)[0] == 400


def test_wrong_methods_paths_and_types(ends):
    for method in ("PUT", "DELETE", "PATCH", "HEAD", "X" * 40):
        call = Call(A1, method, ENC)
        answer = ends.alice.answer(call)
        assert (answer.status, answer.allow) == (405, "GET, POST")
    status_path = f"/api/v1/keys/{B1}/status"
    call = Call(A1, "POST", status_path, "application/json", b"{}")
    assert ends.alice.answer(call).status == 405
    for path in ("/", "", "//", "/api/v1/keys", f"{ENC}/", f"/x{ENC}", "/api/004/v1/x"):
        assert ends.ask(A1, "GET", path)[0] == 404, path
    for kind in ("", "text/plain", "application/xml", "application/jsonx"):
        assert ends.ask(A1, "POST", ENC, b"{}", content_type=kind)[0] == 415
    kind = "application/json; charset=utf-8"
    assert ends.ask(A1, "POST", ENC, b"{}", content_type=kind)[0] == 200


def test_an_empty_sink_says_so(ends):
    ends.alice.store.at = len(ends.alice.store.sends) - 40
    assert ends.enc(A1, B1, number=2)[0] == 503
    assert ends.enc(A1, B1, number=1)[0] == 200
    status, found = ends.enc(A1, B1)
    assert status == 503
    assert "not enough keys" in found["message"]


def test_a_broken_sink_is_503_and_the_log_says_what_to_do(ends, caplog):
    ends.alice.store.broken = KeySinkError("key sink a: attempt to write a readonly")
    with caplog.at_level(logging.ERROR):
        status, found = ends.enc(A1, B1)
    assert status == 503
    assert "readonly" not in found["message"]
    assert "readonly" in caplog.text
    assert "scqc keys check" in caplog.text
    # A thousand requests a second would say it a thousand times.
    for _ in range(10):
        assert ends.enc(A1, B1)[0] == 503
    assert len(caplog.records) == 1
    ends.clock.now += LOG_PAUSE_S
    ends.enc(A1, B1)
    assert len(caplog.records) == 2


def test_who_guesses_is_shut_out(caplog):
    ends = kit.fake_ends(max_forged_ids=5)
    _, sent = ends.enc(A1, B1)
    for _ in range(5):
        assert ends.dec(B1, A1, str(uuid.uuid4()))[0] == 400
    status, found = ends.dec(B1, A1, sent["keys"][0]["key_ID"])
    assert status == 401
    assert "unknown key_IDs" in found["message"]
    assert "refused from now on" in caplog.text
    # The others are not.
    assert ends.enc(B2, A1)[0] == 200


def test_counts_tell_what_was_answered(ends):
    ends.enc(A1, B1, number=4)
    ends.enc(A1, B1, number=0)
    ends.ask(A1, "GET", "/nowhere")
    assert ends.alice.counts() == {
        "enc_keys 200": 1,
        "enc_keys 400": 1,
        "other 404": 1,
        "keys": 4,
    }


def test_nothing_that_is_kept_or_printed_shows_a_key(ends):
    status, sent = ends.enc(A1, B1)
    assert status == 200
    key = sent["keys"][0]["key"]
    call = Call(A1, "POST", ENC, "application/json", b'{"number": 1}')
    answer = ends.alice.answer(call)
    shown = repr([ends.alice, call, answer, ends.alice.counts()])
    assert key not in shown
    assert answer.body.decode() not in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"min_key_size_bits": 512}, "key_size_bits"),
        ({"stream_bytes": 1 << 17}, "stream_bytes"),
        ({"bob": {"kme_id": "kme-a"}}, "kme_id"),
        ({"bob": {"saes": [A1]}}, "sae-a1"),
        ({"alice": {"saes": ["a b"]}}, "pattern"),
        ({"key_size_bits": 100}, "multiple"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change, said):
    with pytest.raises(ValidationError, match=said):
        kit.settings(**change)
