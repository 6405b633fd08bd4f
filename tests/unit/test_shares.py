"""A fresh key is cut the same way at both ends, and every bit goes somewhere once."""

import numpy as np
import pytest
from pydantic import ValidationError

from protocols.key_sink.schedule import BLOCK_PAD_BITS, TAG_PAD_BITS
from protocols.key_sink.shares import ShareSettings, refill_tags, share, share_sizes
from tests.sink_kit import TO_ALICE, TO_BOB, key_block, packed


def bits_of(key):
    return np.unpackbits(np.frombuffer(key.bits, np.uint8), count=key.n_bits)


@pytest.mark.parametrize("n_bits", [0, 1, 127, 128, 300, 511, 512, 513, 540, 5001])
@pytest.mark.parametrize("part", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("messages", [False, True])
def test_the_pieces_are_the_key_in_order(n_bits, part, messages):
    settings = ShareSettings(tags_per_block=2, message_share=part)
    pools = share(key_block(3, n_bits), settings, messages=messages)
    whole = np.unpackbits(np.frombuffer(packed(3, n_bits), np.uint8), count=n_bits)
    joined = np.concatenate([bits_of(p.key) for p in pools] or [whole[:0]])
    np.testing.assert_array_equal(joined, whole[: joined.size])
    # Only what is too short for the tags is left over.
    assert n_bits - joined.size < (128 if n_bits < 512 else 1)
    assert len({p.key.identifier for p in pools}) == len(pools)
    assert all(p.key.provenance["run_uuid"] == "run" for p in pools)
    assert all(p.key.epsilon == 1e-10 for p in pools)


@pytest.mark.parametrize(
    ("n_bits", "tags", "part", "sizes"),
    [
        (5000, 2, None, [256, 256, 4488]),
        (5000, 2, 0.0, [256, 256, 2240, 2248]),
        (5000, 0, 0.5, [2500, 1248, 1252]),
        (5000, 3, 1.0, [384, 384, 4232]),
        (512, 2, 1.0, [256, 256]),
        (400, 2, 1.0, [256, 128]),
        (128, 2, 1.0, [128]),
        (127, 2, 1.0, []),
    ],
)
def test_tags_come_first_then_messages_then_export(n_bits, tags, part, sizes):
    settings = ShareSettings(tags_per_block=tags, message_share=part)
    found = share_sizes(n_bits, settings, messages=True)
    assert [size for _, _, size in found] == sizes


def test_each_end_has_key_of_its_own_to_allocate():
    pools = share_sizes(5000, ShareSettings(tags_per_block=2), messages=False)
    export = {d: n for purpose, d, n in pools if purpose == "key"}
    assert export == {TO_BOB: 2240, TO_ALICE: 2248}


def test_a_block_pays_by_default_for_the_next_and_for_a_greeting():
    refill = {
        d: n
        for p, d, n in share_sizes(5000, ShareSettings(), messages=False)
        if p == "authentication"
    }
    assert min(refill.values()) >= BLOCK_PAD_BITS + TAG_PAD_BITS


@pytest.mark.parametrize(
    ("available_bits", "tags"), [(0, 3), (1279, 3), (1280, 0), (10**9, 0)]
)
def test_a_full_stock_of_tags_takes_no_more(available_bits, tags):
    settings = ShareSettings(tags_in_stock=10)
    assert refill_tags(available_bits, settings) == tags


@pytest.mark.parametrize("wrong", [{"tags_per_block": -1}, {"message_share": 1.1}])
def test_settings_have_limits(wrong):
    with pytest.raises(ValidationError):
        ShareSettings(**wrong)
