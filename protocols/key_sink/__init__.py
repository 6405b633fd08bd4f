"""The store of secret bits: append-only, each bit released once."""

from protocols.key_sink.provision import HASH_PURPOSE, provision
from protocols.key_sink.sink import KeyEntry, KeySink

__all__ = ["HASH_PURPOSE", "KeyEntry", "KeySink", "provision"]
