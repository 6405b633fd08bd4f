"""Error verification: equal tags mean equal keys, up to a known probability."""

from protocols.verification.tags import TAG_BITS, collision_probability, tags

__all__ = ["TAG_BITS", "collision_probability", "tags"]
