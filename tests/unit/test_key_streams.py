"""Key streams by ETSI GS QKD 004: the same index is the same chunk at both ends."""

import base64
import json
import uuid

import delivery_kit as kit
import pytest
from delivery_kit import A1, B1, B2

from protocols.delivery.streams import Qos, Status, _chunks, _within_limits
from scqc.core.errors import KeySinkError


@pytest.fixture
def ends():
    return kit.fake_ends()


def opened(ends, source=A1, destination=B1, **qos):
    here = ends.stream(
        source, "open_connect", source=source, destination=destination, qos=qos
    )
    assert here["status"] == Status.PEER_NOT_CONNECTED
    return here["key_stream_id"]


def joined(ends, name, source=A1, destination=B1, **qos):
    return ends.stream(
        destination,
        "open_connect",
        source=source,
        destination=destination,
        qos=qos,
        key_stream_id=name,
    )


def chunk(ends, sae, name, **more):
    return ends.stream(sae, "get_key", key_stream_id=name, **more)


@pytest.mark.parametrize("size", [8, 24, 32, 1000])
def test_the_same_index_is_the_same_chunk(ends, size):
    name = opened(ends, Key_chunk_size=size)
    assert joined(ends, name, Key_chunk_size=size)["status"] == Status.SUCCESSFUL
    here = [chunk(ends, A1, name) for _ in range(4)]
    there = [chunk(ends, B1, name, index=k) for k in (2, 0, 3, 1)]
    assert here == sorted(there, key=lambda found: found["index"])
    keys = [base64.b64decode(found["key_buffer"]) for found in here]
    assert [len(key) for key in keys] == [size] * 4
    assert len(set(keys)) == 4


def test_a_stream_from_the_other_end_takes_other_bits(ends):
    forth, back = opened(ends), opened(ends, B1, A1)
    assert joined(ends, forth)["status"] == 0
    assert joined(ends, back, B1, A1)["status"] == 0
    first, second = chunk(ends, A1, forth), chunk(ends, A1, back)
    assert first["key_buffer"] != second["key_buffer"]
    assert second == chunk(ends, B1, back)


def test_keys_and_streams_share_no_bit(ends):
    name = opened(ends, Key_chunk_size=32)
    _, sent = ends.enc(A1, B1, number=100)
    keys = {key["key"] for key in sent["keys"]}
    for _ in range(128):
        assert chunk(ends, A1, name)["key_buffer"] not in keys


def test_a_chunk_is_given_once_and_a_stream_ends(ends):
    name = opened(ends, Key_chunk_size=1024)
    assert chunk(ends, A1, name, index=2)["status"] == 0
    assert chunk(ends, A1, name, index=2)["status"] == Status.INSUFFICIENT_KEY
    # Without an index: the next that was not given.
    assert [chunk(ends, A1, name)["index"] for _ in range(3)] == [0, 1, 3]
    assert chunk(ends, A1, name) == {"status": Status.INSUFFICIENT_KEY}
    for index in (-1, 4, 1 << 40):
        assert chunk(ends, A1, name, index=index)["status"] == 2


def test_close_ends_it_for_good(ends):
    name = opened(ends)
    joined(ends, name)
    for sae in (A1, B1):
        assert ends.stream(sae, "close", key_stream_id=name) == {"status": 0}
        assert ends.stream(sae, "close", key_stream_id=name)["status"] == 4
    assert chunk(ends, A1, name)["status"] == Status.NO_CONNECTION
    assert joined(ends, name)["status"] == Status.NO_CONNECTION


def test_a_stream_in_use_is_not_opened_again(ends):
    name = opened(ends)
    joined(ends, name)
    assert joined(ends, name)["status"] == Status.IN_USE


def test_who_has_not_opened_is_told_so(ends):
    name = opened(ends)
    assert chunk(ends, B1, name)["status"] == Status.NOT_YET_CONNECTED


def test_another_sae_gets_nothing_from_a_stream(ends):
    name = opened(ends)
    body = {"source": A1, "destination": B2, "key_stream_id": name}
    status, _ = ends.ask(B2, "POST", "/api/004/v1/open_connect", body)
    assert status == 400
    for call in ("get_key",):
        assert ends.ask(B2, "POST", f"/api/004/v1/{call}", {"key_stream_id": name})[
            0
        ] == (400)
    assert ends.stream(B2, "close", key_stream_id=name)["status"] == 4
    assert joined(ends, name)["status"] == 0


def test_names_of_others_are_refused(ends):
    for source, destination in ((B2, B1), (A1, "kit-a2"), (A1, A1), (B1, B2)):
        body = {"source": source, "destination": destination}
        assert ends.ask(A1, "POST", "/api/004/v1/open_connect", body)[0] == 400


def test_guessed_streams_are_counted():
    ends = kit.fake_ends(max_forged_ids=3)
    for call in ("open_connect", "get_key", "get_key"):
        body = {"key_stream_id": str(uuid.uuid4())}
        if call == "open_connect":
            body |= {"source": A1, "destination": B1}
        assert ends.ask(B1, "POST", f"/api/004/v1/{call}", body)[0] == 400
    assert ends.enc(B1, A1)[0] == 401


def test_a_lifetime_that_is_over_ends_the_stream(ends):
    name = opened(ends, TTL=10)
    ends.clock.now = 9.9
    assert chunk(ends, A1, name)["status"] == 0
    ends.clock.now = 10.0
    assert chunk(ends, A1, name)["status"] == Status.NO_CONNECTION


def test_a_timeout_is_told(ends, monkeypatch):
    store = ends.alice.store
    allocate = store.allocate

    def slow(*args):
        ends.clock.now += 0.2
        return allocate(*args)

    monkeypatch.setattr(store, "allocate", slow)
    found = ends.stream(
        A1, "open_connect", source=A1, destination=B1, qos={"Timeout": 100}
    )
    assert found["status"] == Status.TIMEOUT
    assert "key_stream_id" not in found
    opened(ends, Timeout=300)


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ({"Key_chunk_size": 7}, {"Key_chunk_size": 8}),
        ({"Key_chunk_size": 9000}, {"Key_chunk_size": 8192}),
        ({"TTL": 0}, {"TTL": 1}),
        ({"TTL": 1 << 40}, {"TTL": 86_400}),
        # 64 KiB for an hour are 145 bit/s, rounded down.
        ({"Min_bps": 146}, {"Min_bps": 145}),
        (
            {"Metadata_mimetype": "text/plain"},
            {"Metadata_mimetype": "application/json"},
        ),
        ({"Min_bps": 100, "Max_bps": 50}, {"Max_bps": 100}),
    ],
)
def test_a_quality_that_cannot_be_kept_is_answered_with_one_that_can(
    ends, asked, offered
):
    found = ends.stream(A1, "open_connect", source=A1, destination=B1, qos=asked)
    assert found["status"] == Status.QOS_NOT_MET
    assert {key: found["qos"][key] for key in offered} == offered
    again = ends.stream(A1, "open_connect", source=A1, destination=B1, qos=found["qos"])
    assert again["status"] == Status.PEER_NOT_CONNECTED


def test_another_chunk_size_than_the_sources_is_answered_with_the_sources(ends):
    name = opened(ends, Key_chunk_size=64)
    found = joined(ends, name, Key_chunk_size=32)
    assert found["status"] == Status.QOS_NOT_MET
    assert found["qos"]["Key_chunk_size"] == 64
    assert joined(ends, name, Key_chunk_size=64)["status"] == 0


def test_min_bps_is_reserved_for_the_whole_lifetime(ends):
    qos = {"Min_bps": 1000, "TTL": 60, "Key_chunk_size": 32}
    name = opened(ends, **qos)
    needed = -(-1000 * 60 // (8 * 32))
    got = 0
    while chunk(ends, A1, name)["status"] == 0:
        got += 1
    assert got >= needed


@pytest.mark.parametrize("chunk_bytes", [8, 33, 8192])
@pytest.mark.parametrize("min_bps", [0, 1, 10**9])
@pytest.mark.parametrize("ttl", [1, 100, 10**9])
def test_what_is_offered_can_be_kept(chunk_bytes, min_bps, ttl):
    limits = kit.settings()
    asked = Qos(Key_chunk_size=chunk_bytes, Min_bps=min_bps, TTL=ttl)
    offered = _within_limits(asked, limits.max_stream_bytes)
    assert _within_limits(offered, limits.max_stream_bytes) == offered
    least, wished = _chunks(offered, limits)
    assert 8 * least * chunk_bytes >= offered.Min_bps * offered.TTL
    assert least <= wished
    assert wished * chunk_bytes <= limits.max_stream_bytes


def test_metadata_needs_room(ends):
    name = opened(ends, Metadata_mimetype="application/json")
    short = chunk(ends, A1, name, metadata_size=2)
    assert short["status"] == Status.METADATA_SIZE
    found = chunk(ends, A1, name, metadata_size=short["metadata_size"])
    assert (found["status"], found["index"]) == (0, 0)
    assert json.loads(found["metadata_buffer"]) == {"age": 0, "hops": 0}


def test_a_poor_sink_gives_a_shorter_stream_and_an_empty_one_none(ends):
    store = ends.alice.store
    store.at = len(store.sends) - 100
    name = opened(ends, Key_chunk_size=32)
    assert [chunk(ends, A1, name)["status"] for _ in range(3)] == [0, 0, 2]
    store.at = len(store.sends)
    found = ends.stream(A1, "open_connect", source=A1, destination=B1)
    assert found["status"] == Status.NO_CONNECTION


def test_the_number_of_streams_has_a_limit():
    ends = kit.fake_ends(max_streams_per_sae=2)
    opened(ends), opened(ends)
    found = ends.stream(A1, "open_connect", source=A1, destination=B1)
    assert found["status"] == Status.NO_CONNECTION
    opened(ends, "sae-a2")


def test_a_broken_sink_is_503(ends):
    ends.alice.store.broken = KeySinkError("key sink: disk I/O error")
    body = {"source": A1, "destination": B1}
    assert ends.ask(A1, "POST", "/api/004/v1/open_connect", body)[0] == 503


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"source": 1}', b'{"source":"a","destination":"b","x":1}']
)
def test_a_malformed_body_is_refused(ends, body):
    assert ends.ask(A1, "POST", "/api/004/v1/open_connect", body)[0] == 400
