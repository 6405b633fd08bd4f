"""Where the keys come from, as delivery sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protocols.key_sink.export import ExportKey, KeyPosition


class KeyStore(Protocol):
    """The export pool of one end; `protocols.key_sink.export` has the real one.

    Every byte is given at most once, and marked so on disk before it is given.
    """

    def available_bytes(self) -> int:
        """Return what can still be allocated [byte]."""
        ...

    def allocate(self, n_keys: int, n_bytes: int) -> list[ExportKey]:
        """Return fresh keys of the sending direction, all or none.

        Raises
        ------
        NotEnoughKey
            If there is not so much.
        """
        ...

    def fetch(self, positions: Sequence[KeyPosition]) -> list[ExportKey]:
        """Return the keys that the other end allocated, all or none.

        Raises
        ------
        UnknownKey
            If one never was, or was fetched before.
        NotEnoughKey
            If one cannot be given yet.
        """
        ...

    def key_id_secret(self) -> bytes:
        """Return the secret under which both ends name keys."""
        ...
