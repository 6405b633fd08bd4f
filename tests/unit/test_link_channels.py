"""Every message has its place; what is out of place is refused and changes nothing."""

from typing import get_args

import msgspec
import pytest
from link_kit import (
    LINK,
    OTHER_LINK,
    OTHER_SESSION,
    PROOF,
    SESSION,
    ask,
    changed,
    frames_of,
    hello,
    opened,
    state,
)

from protocols.messages import envelope as envelopes
from protocols.messages.channel import KINDS, AskingChannel, Notice, Place
from protocols.messages.ends import AnsweringEnd, AskingEnd, StrangeSession
from protocols.messages.envelope import STREAMS, Envelope, pack, unpack
from protocols.messages.session import KeyConfirm
from protocols.messages.wire import AnyMessage, decode, encode
from scqc.core.errors import KeySinkError, PeerError, PeerRefused

BOB_TO_ALICE, ALICE_TO_BOB = "bob-to-alice", "alice-to-bob"


def refused(end, data, match):
    """The message is refused, for that reason, and the end is as it was."""
    before = state(end)
    with pytest.raises(PeerError, match=match):
        end.unwrap(data)
    assert state(end) == before


def envelope(**changes):
    fields = {
        "protocol": (1, 0),
        "link": LINK,
        "session": SESSION,
        "direction": BOB_TO_ALICE,
        "stream": "key",
        "sequence": 0,
        "block": 0,
    }
    return Envelope(**{**fields, **changes})


@pytest.mark.parametrize("stream", STREAMS)
def test_turns_follow_one_another(stream):
    bob, alice = opened()
    for number in range(3):
        channel, request = ask(bob, stream, number)
        answering, turn = alice.unwrap(request)
        assert (turn.block, turn.frames) == (number, frames_of(stream, number))
        assert not turn.repeated
        reply = alice.reply(answering, frames_of(stream, number + 1))
        assert channel.unwrap(reply).frames == frames_of(stream, number + 1)


def test_streams_do_not_wait_for_one_another():
    bob, alice = opened()
    asked = {stream: ask(bob, stream) for stream in STREAMS}
    answering = {s: alice.unwrap(request)[0] for s, (_, request) in asked.items()}
    for stream in reversed(STREAMS):
        asked[stream][0].unwrap(alice.reply(answering[stream], []))


def test_a_repeated_request_is_answered_and_not_acted_on():
    bob, alice = opened()
    channel, request = ask(bob, "key")
    answering, _ = alice.unwrap(request)
    assert alice.unwrap(request)[1].repeated
    assert answering.is_working
    assert channel.unwrap(answering.notice()) == Notice(0)
    reply = alice.reply(answering, frames_of("key"))
    assert alice.unwrap(request)[1].repeated
    assert channel.unwrap(answering.notice(len(reply))) == Notice(len(reply))
    assert answering.reply == reply
    assert channel.unwrap(reply).frames == frames_of("key")


def test_the_same_turn_with_other_bytes_is_refused():
    bob, alice = opened()
    _, request = ask(bob, "key")
    answering, _ = alice.unwrap(request)
    other = changed(request, frames=frames_of("key", 7))
    refused(alice, other, "message of turn 0, expected 1")
    alice.reply(answering, [])
    refused(alice, other, "message of turn 0, expected 1")


def test_the_next_turn_waits_for_the_answer():
    bob, alice = opened()
    _, request = ask(bob, "key")
    alice.unwrap(request)
    refused(alice, changed(request, sequence=1), "turn 0 is not answered")


MISPLACED = {
    "another link": ({"link": OTHER_LINK}, "link"),
    "another session": ({"session": OTHER_SESSION}, "session"),
    "reflected": ({"direction": ALICE_TO_BOB}, "direction"),
    "another stream": ({"stream": "light"}, "on it"),
    "skipped": ({"sequence": 1}, "turn 1, expected 0"),
    "far ahead": ({"sequence": (1 << 63) - 1}, "expected 0"),
    "with a reason": ({"sentence": "why"}, "with 'sentence', which only 'refused' has"),
    "with an error": ({"error": "E"}, "with 'error', which only 'refused' has"),
    "with a size": ({"coming_bytes": 1}, "which only 'working' has"),
    "no request": ({"status": "working", "frames": []}, "status 'working'"),
    "a refusal": ({"status": "refused", "frames": []}, "status 'refused'"),
    "no message": ({"frames": [b"junk"]}, "message of 4 bytes"),
    "one of two bad": ({"frames": [*frames_of("key"), b""]}, "message of 0 bytes"),
    "of the light": ({"frames": frames_of("light")}, "'key': a LoadBurst on it"),
    "a greeting": ({"frames": [hello()]}, "'key': a Hello on it"),
}


@pytest.mark.parametrize("name", MISPLACED)
def test_alice_refuses_what_is_out_of_place(name):
    fields, match = MISPLACED[name]
    bob, alice = opened()
    _, request = ask(bob, "key")
    refused(alice, changed(request, **fields), match)
    assert not alice.unwrap(request)[1].repeated


ANSWERS = {
    "another link": ({"link": OTHER_LINK}, "message of link"),
    "another session": ({"session": OTHER_SESSION}, "message of session"),
    "reflected": ({"direction": BOB_TO_ALICE}, "message of direction"),
    "another stream": ({"stream": "light"}, "message of stream"),
    "another turn": ({"sequence": 1}, "turn 1, expected 0"),
    "another block": ({"block": 1}, "block 1, expected 0"),
    "no message": ({"frames": [b"junk"]}, "message of 4 bytes"),
    "a full refusal": ({"status": "refused"}, "with 'frames', which only 'ok' has"),
    "a full notice": ({"status": "working"}, "with 'frames', which only 'ok' has"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_bob_refuses_what_is_out_of_place(name):
    fields, match = ANSWERS[name]
    bob, alice = opened()
    channel, request = ask(bob, "key")
    reply = alice.reply(alice.unwrap(request)[0], frames_of("key"))
    refused(channel, changed(reply, **fields), match)
    assert channel.unwrap(reply).frames == frames_of("key")
    # And the right one, a second time: the turn is over.
    refused(channel, reply, "a reply to no request")


def test_bob_gets_only_the_reply_to_what_is_open():
    bob, alice = opened()
    channel, request = ask(bob, "key")
    first = alice.reply(alice.unwrap(request)[0], frames_of("key"))
    channel.unwrap(first)
    channel, request = ask(bob, "key", 1)
    refused(channel, first, "turn 0, expected 1")
    refused(channel, request, "direction")
    with pytest.raises(PeerError, match="turn 1 is still open"):
        channel.wrap(1, [])


def test_a_refusal_ends_the_turn_and_carries_the_reason():
    bob, alice = opened()
    channel, request = ask(bob, "key")
    answering, _ = alice.unwrap(request)
    alice.refuse(answering, KeySinkError("key sink: 0 bits; provision more" * 1000))
    with pytest.raises(PeerRefused, match="KeySinkError: key sink: 0 bits") as caught:
        channel.unwrap(answering.reply)
    assert caught.value.error == "KeySinkError"
    assert channel.request is None
    channel, request = ask(bob, "key", 1)
    assert not alice.unwrap(request)[1].repeated


def test_nothing_is_answered_twice_or_unasked():
    _, alice = opened()
    channel = alice._current.channels["key"]
    with pytest.raises(PeerError, match="no turn to answer"):
        channel.wrap([])


# Sessions ------------------------------------------------------------------------


def test_a_session_begins_with_its_greeting():
    alice = AnsweringEnd(LINK)
    bob, _ = opened()
    _, request = ask(bob, "light")
    refused(alice, request, "is not served")
    _, request = ask(bob, "session")
    refused(alice, changed(request, sequence=0), "does not begin with its greeting")
    strange = pack(envelope(stream="session", frames=[hello(OTHER_SESSION)]))
    refused(alice, strange, "does not begin with its greeting")
    with pytest.raises(PeerError, match="no session was begun"):
        AskingEnd(LINK).channel("light", [])


def test_a_stranger_is_told_only_when_he_knows_the_link():
    alice = AnsweringEnd(LINK)
    bob, _ = opened()
    channel, request = ask(bob, "light")
    with pytest.raises(StrangeSession) as caught:
        alice.unwrap(request)
    with pytest.raises(PeerRefused, match=r"StrangeSession: .* greet again"):
        channel.unwrap(caught.value.reply)
    with pytest.raises(PeerError, match="message of link") as plain:
        alice.unwrap(changed(request, link=OTHER_LINK))
    assert not isinstance(plain.value, StrangeSession)


def test_other_streams_open_when_the_greeting_has_proven_itself():
    bob, alice = AskingEnd(LINK), AnsweringEnd(LINK)
    session = bob.channel("session", [hello()])
    session.wrap(0, [hello()])
    _, light = ask(bob, "light")
    refused(alice, light, "is not served")
    answering, _ = alice.unwrap(session.request)
    session.unwrap(alice.reply(answering, [hello()]))
    refused(alice, light, "is not served")
    session.wrap(0, [PROOF])
    alice.unwrap(session.request)
    refused(alice, light, "is not served")
    session.unwrap(alice.reply(answering, [PROOF]))
    alice.unwrap(light)


def test_a_greeting_that_proves_nothing_ends_no_session():
    bob, alice = opened()
    stranger = AskingEnd(LINK)
    greeting = stranger.channel("session", [hello(OTHER_SESSION)])
    greeting.wrap(0, [hello(OTHER_SESSION)])
    answering, _ = alice.unwrap(greeting.request)
    greeting.unwrap(alice.reply(answering, [PROOF]))
    greeting.wrap(0, [PROOF])
    alice.unwrap(greeting.request)
    alice.refuse(answering, PeerError("the tag is wrong"))
    # The refusal can be had again, but the session goes no further.
    assert alice.unwrap(greeting.request)[1].repeated
    with pytest.raises(PeerRefused, match="the tag is wrong"):
        greeting.unwrap(answering.reply)
    greeting.wrap(0, [PROOF])
    refused(alice, greeting.request, "is not served")
    _, request = ask(bob, "key")
    alice.unwrap(request)


def test_a_proven_session_replaces_the_one_before():
    bob, alice = opened()
    _, old = ask(bob, "key")
    new, _ = opened(OTHER_SESSION, alice)
    refused(alice, old, "is not served")
    _, request = ask(new, "key")
    alice.unwrap(request)
    assert alice.sessions == [OTHER_SESSION]


# Envelopes -----------------------------------------------------------------------


def test_every_message_has_its_stream():
    placed = {kind for kinds in KINDS.values() for kind in kinds}
    assert placed == set(get_args(AnyMessage))


@pytest.mark.parametrize("version", [(0, 9), (2, 0), (255, 255)])
def test_another_major_version_is_refused_by_name(version):
    data = msgspec.msgpack.encode(envelope(protocol=version))
    text = f"protocol version {version[0]}.{version[1]}, this program speaks 1.0"
    with pytest.raises(PeerError, match=text):
        unpack(data)
    # Whatever else that version has in its envelope.
    with pytest.raises(PeerError, match=text):
        unpack(msgspec.msgpack.encode({"protocol": version, "novelty": [1, {}]}))


def test_a_newer_minor_version_may_add_optional_keys():
    bob, alice = opened()
    _, request = ask(bob, "key")
    newer = changed(request, protocol=(1, 7), ext={"colour": b"blue"})
    assert alice.unwrap(newer)[1].frames == frames_of("key")
    tree = msgspec.msgpack.decode(request)
    for extra in (
        {"colour": b"blue"},
        {"ext": {"colour": 1}},
        {"ext": {"c" * 65: b""}},
    ):
        with pytest.raises(PeerError):
            unpack(msgspec.msgpack.encode({**tree, **extra}))


WRONG = {
    "protocol": [(1,), (1, 0, 0), (256, 0), (-1, 0), ("1", "0"), None],
    "link": [b"", bytes(15), bytes(17), "0" * 16, None],
    "session": [b"", bytes(15), bytes(17), 16],
    "direction": ["", "alice", "alice-to-alice", 0],
    "stream": ["", "keys", 1, None],
    "sequence": [-1, 1 << 63, (1 << 64) - 1, 0.5, "0"],
    "block": [-1, (1 << 40) + 1, 0.5],
    "status": ["", "OK", 0],
    "frames": [None, b"", [1], ["text"], [[b""]], [b""] * 4097],
    "error": ["x" * 65, b"x", None],
    "sentence": ["x" * 4001, 7],
    "coming_bytes": [-1, (1 << 40) + 1],
    "ext": [[], {"a": {}}, {str(n): b"" for n in range(17)}, {"a": bytes(4097)}],
}


@pytest.mark.parametrize("name", WRONG)
def test_every_field_has_limits(name):
    tree = msgspec.msgpack.decode(msgspec.msgpack.encode(envelope()))
    assert unpack(msgspec.msgpack.encode(tree)) == envelope()
    for value in WRONG[name]:
        with pytest.raises(PeerError):
            unpack(msgspec.msgpack.encode({**tree, name: value}))
    if name not in {"status", "frames", "error", "sentence", "coming_bytes", "ext"}:
        del tree[name]
        with pytest.raises(PeerError):
            unpack(msgspec.msgpack.encode(tree))


def test_what_is_too_large_is_neither_sent_nor_read(monkeypatch):
    monkeypatch.setitem(envelopes.MAX_BYTES, "light", 20_000)
    monkeypatch.setattr(envelopes, "LARGEST_BYTES", 40_000)
    large = envelope(stream="light", frames=[bytes(20_001)])
    with pytest.raises(PeerError, match="'light': 1 frames with 20001 bytes"):
        pack(large)
    with pytest.raises(PeerError, match=r"'light': .* limit 20000 bytes"):
        unpack(msgspec.msgpack.encode(large))
    with pytest.raises(PeerError, match="40001 bytes, limit 40000 bytes"):
        unpack(bytes(40_001))
    many = AskingChannel(Place(LINK, SESSION, "light"))
    with pytest.raises(PeerError, match="4097 frames"):
        many.wrap(0, [b""] * 4097)
    assert many.request is None


@pytest.mark.parametrize("name", ["", "0a\n", "../0a", "0A", "0a/1", "0" * 65])
def test_names_of_runs_are_fit_for_folders(name):
    message = KeyConfirm("0a-1", 0, bytes(16))
    tree = msgspec.msgpack.decode(encode(message))
    assert decode(msgspec.msgpack.encode(tree)) == message
    with pytest.raises(PeerError):
        decode(msgspec.msgpack.encode({**tree, "run_uuid": name}))
