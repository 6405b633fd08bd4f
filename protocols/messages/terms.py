"""What both ends of a link must agree in: the settings they share, and the time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from protocols.messages.base import MALFORMED
from scqc.core.errors import PeerError

_MOST, _SHOWN = 12, 80
_ABSENT = "absent"


def canonical(settings: Mapping[str, Any]) -> str:
    """Return settings as JSON text that is the same wherever they are the same."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_digest(config: str) -> bytes:
    """Return the digest of canonical settings."""
    return hashlib.sha256(config.encode()).digest()


def check_config(ours: str, theirs: str, digest: bytes) -> None:
    """Refuse a peer that was told to do something else.

    Parameters
    ----------
    ours, theirs : str
        Canonical JSON of the shared settings.
    digest : bytes, 32 bytes
        Of `theirs`, as the peer says.

    Raises
    ------
    PeerError
        If they differ; it names every field, with both values.
    """
    if config_digest(theirs) != digest:
        raise PeerError("greeting: the digest of the peer's settings is not theirs")
    if ours == theirs:
        return
    try:
        mine, other = dict(_fields(ours)), dict(_fields(theirs))
    except MALFORMED as error:
        raise PeerError(f"greeting: settings that are no JSON: {error}") from error
    differing = [
        f"{name[:_SHOWN]} = {mine.get(name, _ABSENT)[:_SHOWN]} here, "
        f"{other.get(name, _ABSENT)[:_SHOWN]} at the peer"
        for name in sorted(mine.keys() | other.keys())
        if mine.get(name, _ABSENT) != other.get(name, _ABSENT)
    ]
    if not differing:
        raise PeerError("greeting: the peer's settings are not in canonical form")
    more = len(differing) - _MOST
    rest = f"; and {more} more" if more > 0 else ""
    raise PeerError(
        f"greeting: the settings of both ends differ: {'; '.join(differing[:_MOST])}"
        f"{rest}; make them alike in both config files"
    )


def check_clock(now_s: float, theirs_s: float, limit_s: float) -> None:
    """Refuse a peer whose clock shows another time.

    Raises
    ------
    PeerError
        If they are farther apart than `limit_s`; it names both times.
    """
    if abs(now_s - theirs_s) > limit_s:
        raise PeerError(
            f"greeting: it is {_shown(now_s)} here and {_shown(theirs_s)} at the peer, "
            f"limit {limit_s:g} s; set the clocks of both computers (NTP)"
        )


def _fields(config: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the value of every entry of a JSON text."""
    try:
        tree = msgspec.json.decode(config, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PeerError(
            f"greeting: the settings are no JSON object: {error}"
        ) from error
    open_tables: list[tuple[str, Any]] = [("", tree)]
    while open_tables:
        name, value = open_tables.pop()
        if isinstance(value, dict) and value:
            inner = f"{name}." if name else ""
            open_tables += [(inner + str(key), item) for key, item in value.items()]
        else:
            yield name, msgspec.json.encode(value).decode()


def _shown(time_s: float) -> str:
    try:
        moment = datetime.fromtimestamp(time_s, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_s:.0f} s after 1970"
    return moment.isoformat(timespec="seconds")
