"""The address emulators listen at: loopback, unless the laboratory serves others."""

from __future__ import annotations

LOOPBACK = "127.0.0.1"
_host = LOOPBACK


def listen_at(address: str) -> None:
    """Let the servers that are made from now on listen at `address`."""
    global _host
    _host = address


def host() -> str:
    """Return the address at which servers listen, and by which they are reached."""
    return _host
