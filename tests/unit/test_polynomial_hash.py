import math

import pytest

from protocols import verification
from protocols.authentication import wegman_carter
from protocols.authentication.polynomial_hash import (
    PolynomialHash,
    collision_probability,
)
from scqc.core.errors import ProtocolAbort

POLYNOMIAL = (1 << 128) | 0x87


def _multiply(a, b):
    """Schoolbook product in GF(2^128) on Python integers."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1, b >> 1
    while product.bit_length() > 128:
        product ^= POLYNOMIAL << (product.bit_length() - 129)
    return product


def _reference(key, message):
    r = int.from_bytes(key, "little")
    h = 0
    for start in range(0, len(message), 16):
        h = _multiply(
            h ^ int.from_bytes(message[start : start + 16].ljust(16, b"\0"), "little"),
            r,
        )
    return _multiply(h ^ (8 * len(message)), r).to_bytes(16, "little")


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 32, 100, 1000])
def test_hash_equals_the_field_arithmetic(length):
    import random

    rng = random.Random(length)
    key, message = rng.randbytes(16), rng.randbytes(length)
    assert PolynomialHash(key).digest(message) == _reference(key, message)


def test_padding_and_length_are_told_apart():
    function = PolynomialHash(bytes(range(16)))
    digests = {function.digest(bytes(k)) for k in range(40)}
    assert len(digests) == 40


def test_wrong_key_length():
    with pytest.raises(ProtocolAbort, match="15 bytes"):
        PolynomialHash(bytes(15))


def test_repr_shows_no_key():
    assert "0" not in repr(PolynomialHash(bytes(16)))


def test_collision_probability_counts_blocks():
    assert collision_probability(12_500_000) == (781_250 + 1) * 2.0**-128
    # n = 1e6 bits, 64-bit tag: 7813 blocks + 1
    assert math.isclose(verification.collision_probability(1_000_000, 64), 7814 / 2**64)


def test_tag_round_trip_and_every_kind_of_forgery():
    key, pad = bytes(range(16)), bytes(range(100, 116))
    message = wegman_carter.bind("link", "alice-to-bob", 3, b"hello" * 100)
    good = wegman_carter.tag(key, pad, message)
    wegman_carter.check(key, pad, message, good)
    flipped = bytearray(good)
    flipped[5] ^= 1
    changed = bytearray(message)
    changed[-1] ^= 0x80
    elsewhere = wegman_carter.bind("link", "bob-to-alice", 3, b"hello" * 100)
    later = wegman_carter.bind("link", "alice-to-bob", 4, b"hello" * 100)
    for bad_message, bad_tag in (
        (message, bytes(flipped)),
        (message, good[:-1]),
        (bytes(changed), good),
        (message + b"\0", good),
        (elsewhere, good),
        (later, good),
    ):
        with pytest.raises(ProtocolAbort, match="tag of a"):
            wegman_carter.check(key, pad, bad_message, bad_tag)


def test_binding_is_unambiguous():
    assert wegman_carter.bind("ab", "c", 0, b"") != wegman_carter.bind(
        "a", "bc", 0, b""
    )


def test_pad_must_be_whole():
    with pytest.raises(ProtocolAbort, match="one-time pad: 8 bytes"):
        wegman_carter.tag(bytes(16), bytes(8), b"")


def test_forgery_adds_up_over_tags():
    assert wegman_carter.forgery_probability(160, 5) == 5 * 11 * 2.0**-128


def test_verification_tags_differ_for_one_flipped_bit():
    import numpy as np

    rng = np.random.default_rng(1)
    words = rng.integers(0, 2, (3, 999), dtype=np.uint8)
    other = words.copy()
    other[1, 998] ^= 1
    a = verification.tags(words, bytes(range(16)))
    b = verification.tags(other, bytes(range(16)))
    assert a.shape == (3, 8)
    assert (a == b).all(axis=1).tolist() == [True, False, True]
    with pytest.raises(ProtocolAbort, match="12 bits"):
        verification.tags(words, bytes(16), 12)
