"""Whatever is asked: an answer of the standard, and no bit to two applications."""

import base64
import json
import uuid

import delivery_kit as kit
from delivery_kit import A1, A2, B1, B2
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.delivery.service import Call

STATUSES = {200, 400, 401, 404, 405, 415, 503}
SAES = st.sampled_from([A1, A2, B1, B2, "nobody"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["number", "size", "key_IDs", "key_ID", "extension_mandatory"]
            )
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
BODIES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
TARGETS = (
    st.text(max_size=40)
    | st.builds(
        "/api/v1/keys/{}/{}{}".format,
        SAES | st.text(max_size=6),
        st.sampled_from(["status", "enc_keys", "dec_keys", "x"]),
        st.sampled_from(["", "?", "?number=2", "?size=128", "?key_ID=x"])
        | st.text(max_size=20).map("?{}".format),
    )
    | st.sampled_from(["open_connect", "get_key", "close"]).map("/api/004/v1/{}".format)
)
CALLS = st.builds(
    Call,
    sae=SAES | st.text(max_size=8),
    method=st.sampled_from(["GET", "POST", "PUT"]) | st.text(max_size=5),
    target=TARGETS,
    content_type=st.sampled_from(["application/json", "text/plain", ""]),
    body=BODIES,
)
ENDS = kit.fake_ends()


@given(CALLS, st.booleans())
@settings(max_examples=300)
def test_every_call_gets_an_answer_of_the_standard(call, at_alice):
    end = ENDS.alice if at_alice else ENDS.bob
    answer = end.answer(call)
    assert answer.status in STATUSES
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    if answer.status != 200:
        assert isinstance(found["message"], str)
        assert "key" not in found
        assert "keys" not in found
    else:
        assert call.sae in end.here.saes


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enc", "dec", "stolen"]),
            SAES,
            SAES,
            st.integers(1, 3),
            st.sampled_from([64, 128, 512]),
            st.integers(0, 20),
        ),
        max_size=25,
    )
)
@settings(max_examples=60)
def test_every_key_goes_once_to_its_master_and_once_to_its_slave(steps):
    ends = kit.fake_ends(4096)
    made, given_to = [], {}
    for action, one, other, number, size, pick in steps:
        if action == "enc":
            status, found = ends.enc(one, other, number=number, size=size)
            if status == 200:
                made += [(one, other, key) for key in found["keys"]]
        elif made:
            master, slave, key = made[pick % len(made)]
            who = slave if action == "dec" else one
            status, found = ends.dec(who, master, key["key_ID"])
            if status == 200:
                assert who == slave
                assert found["keys"] == [key]
                assert key["key_ID"] not in given_to
                given_to[key["key_ID"]] = who
    # No byte of one key is a byte of another: each lies at a place of its own.
    whole = {side: getattr(ends, side).store.sends for side in ("alice", "bob")}
    for side, saes in (("alice", (A1, A2)), ("bob", (B1, B2))):
        keys = [base64.b64decode(k["key"]) for m, _, k in made if m in saes]
        assert b"".join(keys) == whole[side][: sum(map(len, keys))]


@given(st.lists(st.uuids(), min_size=1, max_size=20))
@settings(max_examples=30)
def test_guessed_key_ids_never_name_a_key(guesses):
    ends = kit.fake_ends(4096)
    ends.enc(A1, B1, number=128, size=256)
    for guess in guesses:
        as_version_8 = guess.int & ~(0xF << 76 | 3 << 62) | 8 << 76 | 2 << 62
        name = str(uuid.UUID(int=as_version_8))
        assert ends.dec(B1, A1, name)[0] == 400
