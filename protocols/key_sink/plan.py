"""Which bits to spend: the oldest, or those the peer names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.key_sink.records import Entries, Parts, Range
from scqc.core.errors import KeySinkError


def oldest(entries: Entries, wanted: int, where: str) -> Parts:
    """Choose (entry, first bit, number of bits) from pools that go in step.

    Raises
    ------
    KeySinkError
        If there are not so many bits.
    """
    room = sum(e.available_bits for e in entries)
    if wanted > room or wanted <= 0:
        raise KeySinkError(f"{where}: {wanted} bits asked for, {room} available")
    parts = []
    for entry in entries:
        count = min(entry.available_bits, wanted)
        if count > 0:
            parts.append((entry, entry.used_bits, count))
            wanted -= count
    return parts


def followed(
    entries: Entries, ranges: Sequence[Range], where: str
) -> tuple[Parts, Parts]:
    """Return the named runs of bits, and the runs before them that go unused.

    Raises
    ------
    KeySinkError
        If a bit is unknown, out of order, or was spent before.
    """
    position = {entry.identifier: n for n, entry in enumerate(entries)}
    used = [entry.used_bits for entry in entries]
    parts, burnt, at = [], [], 0
    for identifier, start, count in ranges:
        number = position.get(identifier, -1)
        if number < at:
            raise KeySinkError(
                f"{where}: pad {identifier!r} unknown, spent or out of order"
            )
        entry = entries[number]
        if count < 1 or start + count > entry.n_bits:
            raise KeySinkError(
                f"{where}: pad {identifier} bits {start} to {start + count}, it has "
                f"{entry.n_bits}"
            )
        if start < used[number]:
            raise KeySinkError(
                f"{where}: pad {identifier} bits from {start} on, spent up to "
                f"{used[number]}"
            )
        for earlier in range(at, number + 1):
            end = start if earlier == number else entries[earlier].n_bits
            if end > used[earlier]:
                burnt.append((entries[earlier], used[earlier], end - used[earlier]))
            used[earlier] = end
        parts.append((entry, start, count))
        used[number], at = start + count, number
    if not parts:
        raise KeySinkError(f"{where}: no pad named")
    return parts, burnt


def whole_bytes(runs: Sequence[Range]) -> list[Range]:
    """Cut runs of bits to whole bytes of their blocks; empty ones go."""
    out = []
    for identifier, start, count in runs:
        first, end = -(-start // 8), (start + count) // 8
        if end > first:
            out.append((identifier, 8 * first, 8 * (end - first)))
    return out
