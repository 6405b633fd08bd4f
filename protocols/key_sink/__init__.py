"""The store of secret bits: append-only, each bit released once."""

from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    HASH_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    KeyEntry,
    PoolKey,
    Spent,
    State,
)
from protocols.key_sink.sink import KeySink
from protocols.key_sink.start_key import provision

__all__ = [
    "AUTHENTICATION_PURPOSE",
    "HASH_PURPOSE",
    "KEY_PURPOSE",
    "PAD_PURPOSE",
    "KeyEntry",
    "KeySink",
    "PoolKey",
    "Spent",
    "State",
    "provision",
]
