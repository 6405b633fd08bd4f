"""What arrives on the public channel is hostile until proven otherwise."""

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from light_kit import make_alice, make_bob, plain_block, talk
from strategies_messages import messages

from protocols.messages import wire
from protocols.messages.base import Message
from scqc.core.errors import PeerError, ProtocolAbort

BLOCK = plain_block(decoder_iterations=50)
REFERENCE = talk(BLOCK).run()


def _decodes_or_peer_error(data):
    try:
        message = wire.decode(data)
    except PeerError:
        return
    assert isinstance(message, Message)


@given(st.binary(max_size=300))
def test_random_bytes_are_peer_errors(data):
    _decodes_or_peer_error(data)


@settings(max_examples=300)
@given(messages, st.data())
def test_mutated_messages_are_peer_errors(message, data):
    packed = bytearray(wire.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(packed) - 1))
        match data.draw(st.sampled_from(["flip", "drop", "insert", "cut"])):
            case "flip":
                packed[at] ^= data.draw(st.integers(1, 255))
            case "drop" if len(packed) > 1:
                del packed[at]
            case "insert":
                packed.insert(at, data.draw(st.integers(0, 255)))
            case "cut" if at > 0:
                del packed[at:]
    _decodes_or_peer_error(bytes(packed))


@settings(max_examples=150)
@given(messages)
def test_any_message_out_of_turn_is_refused(message):
    """Well-formed messages, in the first state of either party."""
    alice, bob = make_alice(BLOCK), make_bob(BLOCK)
    bob.start()

    def twice(party):
        party.receive(wire.encode(message))
        party.receive(wire.encode(message))

    for party in (alice, bob):
        with pytest.raises((PeerError, ProtocolAbort)):
            twice(party)


@pytest.mark.parametrize("depth", [2000, 100_000])
def test_deep_nesting_is_a_peer_error(depth):
    with pytest.raises(PeerError):
        wire.decode(b"\x91" * depth)
    with pytest.raises(PeerError):
        wire.decode(b"\x81\xa4type" * depth)


@pytest.mark.parametrize("head", [b"\xc6", b"\xdb", b"\xdd", b"\xdf"])
def test_claimed_lengths_are_not_believed(head):
    with pytest.raises(PeerError):
        wire.decode(head + struct.pack(">I", 0xFFFFFFFF))


def test_oversize_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", 100)
    with pytest.raises(PeerError, match="101 bytes, limit 100 bytes"):
        wire.decode(bytes(101))


def report_with(number):
    sums = {"name": "x0", "n": 1, "xx": number, "xy": 0.0, "yy": 0.0}
    return {"type": "EstimationReport", "sums": [sums], "bursts": []}


def test_a_report_with_plain_numbers_is_accepted():
    report = wire.decode(msgspec.msgpack.encode(report_with(1.0)))
    assert report.sums[0].xx == 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "Verdict", "secret_bits": -1},
        {"type": "Verdict", "secret_bits": (1 << 40) + 1},
        {"type": "Verdict", "secret_bits": 1.5},
        {"type": "Verdict", "secret_bits": "7"},
        {"type": "Verdict"},
        {"type": "Verdict", "secret_bits": 7, "more": 1},
        {"type": "Unknown", "secret_bits": 7},
        {"type": "Message"},
        {"secret_bits": 7},
        {"type": "TranscriptTag", "tag": bytes(15)},
        {"type": "TranscriptTag", "tag": bytes(17)},
        report_with(math.nan),
        report_with(math.inf),
        report_with(1e31),
        {"type": "EstimationReport", "sums": [[]] * 9, "bursts": []},
    ],
)
def test_fields_are_checked(fields):
    with pytest.raises(PeerError):
        wire.decode(msgspec.msgpack.encode(fields))


def test_bits_must_fit_their_count():
    assert wire.unpack_bits("x", b"\xa0", 3).tolist() == [1, 0, 1]
    for data, n_bits in ((b"", 1), (b"\0\0", 8), (b"\0", 9), (b"\0", 0)):
        with pytest.raises(PeerError, match=r"x: \d bytes for \d bits"):
            wire.unpack_bits("x", data, n_bits)


def test_arrays_must_fit_their_count_and_be_finite():
    values = np.array([1.5, -2.0], dtype="<f4")
    np.testing.assert_array_equal(
        wire.unpack_array("x", values.tobytes(), "<f4", 2), values
    )
    for count in (0, 1, 3):
        with pytest.raises(PeerError, match="8 bytes for"):
            wire.unpack_array("x", values.tobytes(), "<f4", count)
    for bad in (math.nan, math.inf, -math.inf):
        data = np.array([1.0, bad], dtype="<f4").tobytes()
        with pytest.raises(PeerError, match="not finite"):
            wire.unpack_array("x", data, "<f4", 2)
        with pytest.raises(PeerError, match="not finite"):
            wire.unpack_array("x", data, "<c8", 1)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"n_frames": 1, "crc_ok": b"\x80"}),
        (0, {"crc_ok": b"\0"}),
        (2, {"n_symbols": 43_999}),
        (2, {"n_sample": 0}),
        (2, {"n_sample": 44_000}),
        (3, {"values": b""}),
        (3, {"values": bytes(8 * 2001)}),
        (4, {"n_frames": 0}),
        (4, {"n_frames": 5}),
        (4, {"n_frames": 1 << 40}),
        (4, {"code_sha256": "0" * 64}),
        (4, {"code_size": 1024}),
        (4, {"alpha": b""}),
        (4, {"norm": b""}),
        (4, {"syndromes": b""}),
        (4, {"tags": b""}),
        (4, {"sigma2": -1.0}),
        (4, {"sigma2": 0.0}),
        (5, {"accepted": b""}),
        (5, {"accepted": b"\xf0\0"}),
        (6, {"bits": b"\0"}),
        (8, {"seed": b""}),
        (8, {"secret_bits": 1}),
        (9, {"secret_bits": 1}),
    ],
)
def test_sizes_are_checked_on_arrival(number, change):
    """The receiver of the changed message refuses it itself, by name."""
    sender, data = REFERENCE.messages[number]
    forged = wire.encode(msgspec.structs.replace(wire.decode(data), **change))
    running = talk(BLOCK)
    with pytest.raises((PeerError, ProtocolAbort)):
        running.run(lambda at, _, original: forged if at == number else original)
    assert running.messages[-1] == (sender, forged)


@pytest.mark.parametrize(
    "calibration",
    [
        wire.Calibration(0.01, 0, 10**6),
        wire.Calibration(0.01, 10**6, 999),
        wire.Calibration(-0.01, 10**6, 10**6),
    ],
)
def test_a_calibration_without_samples_is_refused(calibration):
    sender, data = REFERENCE.messages[4]
    offer = msgspec.structs.replace(wire.decode(data), calibration=calibration)
    running = talk(BLOCK)
    with pytest.raises(PeerError, match="calibration"):
        running.run(lambda at, _, original: wire.encode(offer) if at == 4 else original)
    assert sender == "bob"


def test_alice_cannot_take_back_an_accepted_frame():
    """After the retry her flags may only grow."""
    bob = make_bob(BLOCK)
    bob.start()
    for sender, data in REFERENCE.messages[:4]:
        if sender == "alice":
            bob.receive(data)
    bob.receive(wire.encode(wire.ReconciliationResult(b"\xe0")))
    with pytest.raises(PeerError, match="takes back"):
        bob.receive(wire.encode(wire.ReconciliationResult(b"\x70")))


def test_keys_and_seeds_are_not_printed():
    for keys in BLOCK.keys.values():
        assert repr(keys) == "LinkKeys()"
