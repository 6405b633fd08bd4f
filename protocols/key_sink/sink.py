"""Key sink: one party's store of secret bits, each released once.

Bits are marked as released in a committed transaction *before* they are handed out:
after a crash they are lost, never given twice. A block comes in *verified* and can be
released once the peer has confirmed that it holds it, too (`protocols.key_sink.resync`
settles what a crash left open). Restoring a backup or cloning a virtual machine brings
spent bits back to life; the epochs that both ends exchange when they meet show it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from protocols.key_sink import entries, health, opening, spending, storing
from protocols.key_sink.database import Database
from protocols.key_sink.lease import Lease, LeasedRun
from protocols.key_sink.records import (
    IN_STEP,
    KEY_PURPOSE,
    Entries,
    Parts,
    PoolKey,
    Range,
    Spent,
)
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock


class KeySink:
    """One party's store of key blocks; several threads may share it.

    Parameters
    ----------
    path : path-like
        Database file; created with mode 0600 when absent.
    create : bool
        False: an absent file is an error.
    checked : bool
        False to open a damaged file, in order to burn it.

    Raises
    ------
    KeySinkError
        If the file is absent, damaged, of a newer version, or open to others.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        create: bool = True,
        *,
        checked: bool = True,
    ) -> None:
        self.path = Path(path)
        self.db = Database(self.path, create)
        try:
            opening.prepare(self.db, checked=checked)
        except KeySinkError:
            self.db.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def __enter__(self) -> KeySink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"KeySink({str(self.path)!r})"

    # How blocks come in --------------------------------------------------------------

    def claim(self, run_uuid: str, block: int) -> None:
        """Note, for ever, that the public words of a block are about to be said.

        Raises
        ------
        KeySinkError
            If that was noted before: said twice, they would tell more than the
            key of the block was shortened by.
        """
        storing.claim(self.db, run_uuid, block)

    def store(self, keys: Sequence[PoolKey], *, confirmed: bool) -> None:
        """Store the pools of a block, all or none; on the disk when this returns.

        Parameters
        ----------
        keys : sequence of PoolKey
        confirmed : bool
            Whether the peer is known to hold the block; else it is *verified* and
            waits for `confirm`.

        Raises
        ------
        KeySinkError
            If that run and block filled one of the pools before, was discarded, or
            a provenance is incomplete.
        """
        storing.store(self.db, keys, confirmed=confirmed)

    def put(
        self, key: KeyBlock, purpose: str = KEY_PURPOSE, direction: str = ""
    ) -> None:
        """Store one pool of a block that both ends hold; see `store`."""
        self.store([PoolKey(key, purpose, direction)], confirmed=True)

    def confirm(self, run_uuid: str, block: int) -> int:
        """Make a verified block available: the peer holds it, too.

        Returns
        -------
        int
            How many pools this made available; none if they were before [1].

        Raises
        ------
        KeySinkError
            If there is no such block.
        """
        return storing.confirm(self.db, run_uuid, block)

    def discard(self, run_uuid: str, block: int) -> int:
        """Erase a verified block, or promise never to store one that is not here.

        Returns
        -------
        int
            Bits that were erased [bit].

        Raises
        ------
        KeySinkError
            If the block is available already.
        """
        return storing.discard(self.db, run_uuid, block)

    def verified_blocks(self) -> list[tuple[str, int]]:
        """Return run and number of the blocks that wait for the peer's word."""
        waiting = entries.find(self.db, "p.state = 1")
        return list(dict.fromkeys((e.run_uuid, e.block) for e in waiting))

    # What there is -------------------------------------------------------------------

    def list(self) -> Entries:
        """Return all entries, erased ones included, without their bits."""
        return entries.find(self.db)

    def pools_of(self, run_uuid: str, block: int) -> Entries:
        """Return the pools that one distilled block filled."""
        return entries.of_block(self.db, run_uuid, block)

    def available_bits(
        self,
        purpose: str = KEY_PURPOSE,
        direction: str | None = None,
        simulated: bool = False,
    ) -> int:
        """Return how many bits a pool can still release [bit].

        Parameters
        ----------
        purpose : str
        direction : str, optional
            Both together if None.
        simulated : bool
            Whether keys of a simulated bench count.
        """
        return entries.available_bits(self.db, purpose, direction, simulated=simulated)

    def read_kept(
        self, purpose: str, direction: str, *, allow_simulated: bool = False
    ) -> bytes:
        """Return the newest block of a pool that is kept, such as a hash key.

        Raises
        ------
        KeySinkError
            If there is none, or it is damaged or simulated.
        """
        return spending.kept(self.db, purpose, direction, allow_simulated)

    # How bits leave ------------------------------------------------------------------

    def spend(
        self,
        purpose: str,
        direction: str,
        n_bits: int,
        *,
        allow_simulated: bool = False,
    ) -> Spent:
        """Spend the oldest bits of a pool that both ends spend in step.

        Parameters
        ----------
        purpose, direction : str
        n_bits : int
        allow_simulated : bool
            Keys of a simulated bench are released only when asked for so.

        Returns
        -------
        Spent
            Its ranges are what the peer has to `follow`.

        Raises
        ------
        KeySinkError
            If the pool cannot pay; nothing is spent then.
        """
        with self.db.transaction():
            pool = (self.db, purpose, direction)
            parts = spending.oldest(*pool, n_bits, allow_simulated)
            spent = spending.release(self.db, parts, f"spent {purpose}")
        self.sweep()
        return spent

    def follow(
        self,
        purpose: str,
        direction: str,
        ranges: Sequence[Range],
        *,
        allow_simulated: bool = False,
        most_skipped: int | None = None,
    ) -> Spent:
        """Spend exactly the bits the peer named, and burn all that lie before them.

        What lies before was spent at the other end, or lost in a crash there:
        nothing may be done with it any more.

        Parameters
        ----------
        purpose, direction : str
        ranges : sequence of (identifier, first bit, number of bits)
            In the order of the pool.
        allow_simulated : bool
        most_skipped : int, optional
            Of what lies before; the peer has not proven himself yet [bit].

        Raises
        ------
        KeySinkError
            If a bit is unknown, out of order, or was spent before, or too much would
            be burnt; nothing is spent then.
        """
        with self.db.transaction():
            pool = (self.db, purpose, direction)
            parts, burnt = spending.followed(*pool, ranges, allow_simulated)
            spending.check_skipped(self.db, burnt, most_skipped)
            spending.burn(self.db, burnt, "the peer went past it")
            spent = spending.release(self.db, parts, f"followed {purpose}")
        self.sweep()
        return spent

    def take(
        self,
        identifier: str | None = None,
        n_bits: int | None = None,
        direction: str | None = None,
        *,
        allow_simulated: bool = False,
    ) -> KeyBlock:
        """Release key for export, once.

        Parameters
        ----------
        identifier : str, optional
            Take what is left of this block; otherwise from the oldest on.
        n_bits : int, optional
            How many bits; with `identifier` alone, all that is left.
        direction : str, optional
            Whichever if None; beside a delivery of keys only what this end sends.
        allow_simulated : bool
            Keys of a simulated bench are released only when asked for so.

        Returns
        -------
        KeyBlock

        Raises
        ------
        KeySinkError
            If it is unknown, spent, too short, damaged, simulated or of another
            direction.
        """
        if identifier is None and n_bits is None:
            raise KeySinkError("key sink: take needs an identifier or a number of bits")
        if n_bits is not None and n_bits <= 0:
            raise KeySinkError(f"key sink: {n_bits} bits asked for, at least 1")
        with self.db.transaction():
            found = spending.exportable(self.db, identifier, direction, allow_simulated)
            taken = spending.take(self.db, found, n_bits)
        self.sweep()
        return taken

    def lease(
        self,
        purpose: str,
        direction: str,
        n_bits: int,
        *,
        min_run_bits: int = 8,
        allow_simulated: bool = False,
    ) -> Lease:
        """Spend the oldest whole bytes of a pool in advance, to hand out from memory.

        Parameters
        ----------
        purpose, direction : str
        n_bits : int
            A multiple of 8 [bit].
        min_run_bits : int
            Leave alone what lies in shorter runs [bit].
        allow_simulated : bool

        Raises
        ------
        KeySinkError
            If the pool cannot pay; nothing is spent then.
        """
        with self.db.transaction():
            found = [
                e
                for e in entries.pool(self.db, purpose, direction)
                if e.available_bits and (allow_simulated or not e.simulated)
            ]
            parts = spending.whole_runs(self.db, found, n_bits, min_run_bits)
            return self.lease_parts(parts)

    def lease_parts(self, parts: Parts) -> Lease:
        """Spend chosen whole bytes in advance; see `lease`."""
        with self.db.transaction():
            spent = spending.release(self.db, parts, f"leased {parts[0][0].purpose}")
        self.sweep()
        packed, at, runs = spent.packed, 0, []
        for identifier, start, count in spent.ranges:
            bits = packed[at : at + count // 8]
            runs.append(LeasedRun(identifier, start // 8, bits))
            at += count // 8
        return Lease(runs)

    def burn_upto(self, identifier: str, used_bits: int) -> int:
        """Burn the first `used_bits` of a block in step; return how many were left.

        Raises
        ------
        KeySinkError
            If there is no such block, it is shorter, or is not spent in step.
        """
        with self.db.transaction():
            entry = entries.named(self.db, identifier)
            if entry.purpose not in IN_STEP or used_bits > entry.n_bits:
                raise KeySinkError(
                    f"key sink {self.path}: no block {identifier!r} of {used_bits} "
                    "bits that is spent in step"
                )
            count = max(0, used_bits - entry.used_bits)
            parts: Parts = [(entry, entry.used_bits, count)] if count else []
            spending.burn(self.db, parts, "spent at the other end")
        self.sweep()
        return count

    def burn(self, identifier: str, why: str = "told to") -> int:
        """Burn all that is left of a block, a kept one too; return how many bits.

        Raises
        ------
        KeySinkError
            If there is no such block.
        """
        with self.db.transaction():
            entry = entries.named(self.db, identifier)
            burnt = spending.burn_rest(self.db, entry, why)
        self.sweep()
        return burnt

    def verify_journal(self) -> int:
        """Check the chain of all entries of the journal; return how many [1].

        Raises
        ------
        KeySinkError
            If one was changed or removed.
        """
        return health.verify(self.db)

    def sweep(self) -> None:
        """Erase what is consumed; what fails here is done at the next opening."""
        with suppress(KeySinkError):
            spending.sweep(self.db)
