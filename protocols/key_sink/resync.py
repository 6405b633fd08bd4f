"""Bring two sinks back in step when their programs meet. Sans-I/O.

At every greeting each end commits a new *epoch* with a random name and tells its state:
epoch, the peer's epoch it saw last, and how much is spent of every block that is left.
An end whose epoch is not younger than what the peer saw, or that does not know the
epoch the peer saw of it, is an old copy or a clone: nothing is released, by either.

Pools that are spent in step are burnt up to the farther of both marks. A block that
waits for the peer's word becomes available if the peer lists it. About blocks that the
peer does not list, the second round asks: it may have used them up, or never had them.
Bits are lost in all this, none is ever used for two purposes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocols.key_sink import entries, spending, start_key, storing
from protocols.key_sink.health import note, now_utc
from protocols.key_sink.marks import (
    MAX_BLOCKS,
    BlockMark,
    Fate,
    Fates,
    Questions,
    SinkState,
    decode,
    mark_of,
)
from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    HASH_PURPOSE,
    IN_STEP,
    KEPT,
    KeyEntry,
    Range,
    State,
)
from protocols.key_sink.schedule import TAG_PAD_BITS
from protocols.key_sink.sink import KeySink
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE, LinkKeys
from scqc.core.errors import KeySinkError
from scqc.core.rng import EntropySource, SystemEntropy

#: Authentication pad that a greeting may skip because the peer says so [bit].
MAX_JUMP_BITS = 1 << 15
_DIRECTIONS = (ALICE_TO_BOB, BOB_TO_ALICE)
_ADVICE = (
    "an old copy or a clone of a sink: nothing is released; end the copy, `scqc keys "
    "burn` this sink and the peer's, then `scqc keys load` a new start key at both ends"
)


class Resync:
    """One end's part in a greeting; a new one for each.

    Parameters
    ----------
    sink : KeySink
    sends : str
        Direction in which this end allocates key for export.
    allow_simulated : bool
        Whether the pads of the greeting may come from a simulated bench.
    entropy : EntropySource, optional
        Names the epoch.
    """

    def __init__(
        self,
        sink: KeySink,
        sends: str,
        *,
        allow_simulated: bool = False,
        entropy: EntropySource | None = None,
    ) -> None:
        self._sink, self._sends = sink, sends
        self._simulated = allow_simulated
        self._entropy = SystemEntropy() if entropy is None else entropy
        self._mine: SinkState | None = None
        self._theirs: SinkState | None = None
        self._promised: list[BlockMark] = []

    def fingerprint(self) -> bytes:
        """Return the fingerprint of the newest start key, 16 bytes.

        Raises
        ------
        KeySinkError
            If there is none.
        """
        return start_key.fingerprint(self._sink)

    def describe(self) -> bytes:
        """Begin a new epoch; return the state of the sink, for the peer.

        Again if nobody heard it: then it is the same epoch, with the state of now.
        Else an end that waits for days would fill its file with epochs.

        Raises
        ------
        KeySinkError
            If the sink cannot be written, or has more blocks than can be told of.
        """
        db = self._sink.db
        with db.transaction():
            mine = self._mine
            epoch, nonce = (mine.epoch, mine.nonce) if mine else self._new_epoch()
            self._mine = SinkState(epoch, nonce, *_seen(self._sink), self._marks())
        return msgspec.msgpack.encode(self._mine)

    def _new_epoch(self) -> tuple[int, bytes]:
        epoch, nonce = last_epoch(self._sink) + 1, self._entropy.read(16)
        self._sink.db.execute(
            "INSERT INTO epochs (epoch, nonce, begun_utc) VALUES (?,?,?)",
            (epoch, nonce, now_utc()),
        )
        note(self._sink.db, "epoch", str(epoch))
        return epoch, nonce

    def _marks(self) -> list[BlockMark]:
        """Tell of the blocks that matter, and of as many others as there is room for.

        Those are the ones that wait for the peer's word, and of each pool in step the
        oldest, where it is spent from. Of one that is left out the peer asks, and
        hears that it is held.
        """
        found = [e for e in entries.unspent(self._sink.db) if e.purpose not in KEPT]
        must = [e for e in found if e.state == State.VERIFIED]
        pools: dict[tuple[str, str], list[KeyEntry]] = {}
        for entry in found:
            if entry.purpose in IN_STEP and entry.state != State.VERIFIED:
                pools.setdefault((entry.purpose, entry.direction), []).append(entry)
        for pool in pools.values():
            must += pool[: MAX_BLOCKS // 8]
        room = MAX_BLOCKS - len(must)
        if room < 0:
            raise KeySinkError(
                f"key sink {self._sink.path}: {len(must)} blocks wait for the peer, at "
                f"most {MAX_BLOCKS} can be told of; `scqc keys burn` some with --id"
            )
        serials = {e.serial for e in must}
        rest = [e for e in found if e.serial not in serials]
        return [mark_of(e) for e in [*must, *(rest[-room:] if room else [])]]

    def tag_keys(self, theirs: bytes) -> dict[str, LinkKeys]:
        """Draw the authentication keys of a greeting, the same at both ends.

        Raises
        ------
        PeerError
            If what the peer says does not parse.
        KeySinkError
            If either end is an old copy, the marks lie too far apart, or the pools
            cannot pay.
        """
        mine = self._described()
        peer: SinkState = decode(theirs, SinkState)
        check_epochs(self._sink, peer)
        keys = {}
        for direction in _DIRECTIONS:
            ranges = greeting_ranges(mine, peer, direction)
            spent = self._sink.follow(
                AUTHENTICATION_PURPOSE,
                direction,
                ranges,
                allow_simulated=self._simulated,
            )
            hash_key = self._sink.read_kept(
                HASH_PURPOSE, direction, allow_simulated=self._simulated
            )
            keys[direction] = LinkKeys(hash_key, spent.packed)
        return keys

    def settle(self, theirs: bytes) -> None:
        """Act on the peer's state, which is proven now: the first round.

        Raises
        ------
        PeerError
            If it does not parse.
        KeySinkError
            If either end is an old copy, or a block is another one at the peer.
        """
        self._described()
        peer: SinkState = decode(theirs, SinkState)
        self._theirs = peer
        listed = {mark.identifier: mark for mark in peer.marks}
        db = self._sink.db
        with db.transaction():
            check_epochs(self._sink, peer)
            db.execute(
                "INSERT INTO peer_epochs (epoch, nonce, seen_utc) VALUES (?,?,?)",
                (peer.epoch, peer.nonce, now_utc()),
            )
            note(db, "peer epoch", str(peer.epoch))
            for entry in entries.unspent(db):
                if mark := listed.get(entry.identifier):
                    self._meet(entry, mark)
        self._sink.sweep()

    def questions(self, theirs: bytes) -> bytes:
        """Return what to ask of blocks that the peer did not list: the second round.

        May be asked before the peer's state is proven: nothing is changed.

        Raises
        ------
        PeerError
            If what the peer says does not parse.
        """
        self._theirs = decode(theirs, SinkState)
        asked = [mark_of(entry) for entry in self._unlisted()]
        return msgspec.msgpack.encode(asked[:MAX_BLOCKS])

    def answer(self, questions: bytes) -> bytes:
        """Tell the peer what became of blocks that this end did not list.

        Nothing is changed: what was never here is refused once `promise` is called,
        when the peer has proven itself, so that the answer stays true.

        Raises
        ------
        PeerError
            If the question does not parse.
        """
        asked: list[BlockMark] = decode(questions, Questions)
        fates = [Fate(mark.identifier, self._fate(mark)) for mark in asked]
        told = zip(asked, fates, strict=True)
        self._promised = [mark for mark, one in told if one.fate == "unknown"]
        return msgspec.msgpack.encode(fates)

    def promise(self) -> None:
        """Never store, from now on, what was answered to be unknown here."""
        promised, self._promised = self._promised, []
        with self._sink.db.transaction():
            for mark in promised:
                storing.refuse(self._sink.db, mark.run_uuid, mark.block)

    def resolve(self, answers: bytes) -> int:
        """Act on the answers; return how many bits were given up [bit].

        Raises
        ------
        PeerError
            If they do not parse.
        """
        told: list[Fate] = decode(answers, Fates)
        fates = {fate.identifier: fate.fate for fate in told}
        burnt = 0
        with self._sink.db.transaction():
            for entry in self._unlisted():
                # Of what was not asked for want of room nothing is known.
                if fate := fates.get(entry.identifier):
                    burnt += self._resolve(entry, fate)
        self._sink.sweep()
        return burnt

    def _described(self) -> SinkState:
        if self._mine is None:
            raise KeySinkError("key sink: a greeting begins with its description")
        return self._mine

    def _unlisted(self) -> list[KeyEntry]:
        """Return the blocks that this end told of and the peer did not."""
        if self._theirs is None:
            raise KeySinkError("key sink: the peer's state is not settled")
        told = {mark.identifier for mark in self._described().marks}
        listed = {mark.identifier for mark in self._theirs.marks}
        found = entries.unspent(self._sink.db)
        return [e for e in found if e.identifier in told - listed]

    def _meet(self, entry: KeyEntry, mark: BlockMark) -> None:
        """Both ends have this block."""
        same = (entry.purpose, entry.direction, entry.n_bits)
        if same != (mark.purpose, mark.direction, mark.n_bits):
            raise KeySinkError(
                f"key block {entry.identifier}: {same} here, at the peer "
                f"{(mark.purpose, mark.direction, mark.n_bits)}; {_ADVICE}"
            )
        if entry.state == State.VERIFIED:
            storing.make_available(self._sink.db, entry)
        if entry.purpose in IN_STEP:
            self._burn_upto(entry, mark.used_bits)

    def _burn_upto(self, entry: KeyEntry, used_bits: int) -> None:
        count = min(used_bits, entry.n_bits) - entry.used_bits
        if count > 0:
            part = (entry, entry.used_bits, count)
            spending.burn(self._sink.db, [part], "spent at the other end")

    def _fate(self, mark: BlockMark) -> Literal["unknown", "held", "spent"]:
        found = entries.find(self._sink.db, "b.identifier=?", (mark.identifier,))
        if not found:
            return "unknown"
        return "spent" if found[0].state >= State.CONSUMED else "held"

    def _resolve(self, entry: KeyEntry, fate: str) -> int:
        if fate == "held":
            if entry.state == State.VERIFIED:
                storing.make_available(self._sink.db, entry)
            return 0
        ours = entry.purpose not in IN_STEP and entry.direction != self._sends
        if fate == "spent" and ours:
            # The peer gave it all out; our applications still come for theirs.
            if entry.state == State.VERIFIED:
                storing.make_available(self._sink.db, entry)
            return 0
        if fate == "unknown":
            storing.refuse(self._sink.db, entry.run_uuid, entry.block)
        why = "used up at the other end" if fate == "spent" else "not at the other end"
        return spending.burn_rest(self._sink.db, entry, why)


def last_epoch(sink: KeySink) -> int:
    """Return the number of the last epoch that this end began; 0 before the first."""
    ((last,),) = sink.db.rows("SELECT coalesce(max(epoch), 0) FROM epochs")
    return int(last)


def check_epochs(sink: KeySink, peer: SinkState) -> None:
    """Refuse to go on with an old copy or a clone, whichever end it is.

    Raises
    ------
    KeySinkError
        With what to do.
    """
    seen, _ = _seen(sink)
    if peer.epoch <= seen:
        raise KeySinkError(
            f"key sink: the peer's is at epoch {peer.epoch}, {seen} was seen before: "
            f"it is {_ADVICE}"
        )
    if not peer.seen_epoch:
        return
    known = sink.db.rows("SELECT nonce FROM epochs WHERE epoch=?", (peer.seen_epoch,))
    if not known or known[0][0] != peer.seen_nonce:
        raise KeySinkError(
            f"key sink {sink.path}: the peer saw epoch {peer.seen_epoch}, which this "
            f"file does not know: it is {_ADVICE}"
        )


def greeting_ranges(mine: SinkState, theirs: SinkState, direction: str) -> list[Range]:
    """Return where the pad of a greeting's tag lies: beyond both ends' marks.

    Raises
    ------
    KeySinkError
        If too much would be skipped, or there is not enough.
    """
    pool = [m for m in mine.marks if _pays(m, direction)]
    listed = {m.identifier: m for m in theirs.marks if _pays(m, direction)}
    ranges: list[Range] = []
    missing, skipped = TAG_PAD_BITS, 0
    for mark in pool:
        other = listed.get(mark.identifier)
        same = other is not None and other.n_bits == mark.n_bits
        end = mark.n_bits if other is None or not same else other.used_bits
        start = min(max(mark.used_bits, end), mark.n_bits)
        skipped += start - mark.used_bits
        count = min(missing, mark.n_bits - start)
        if count:
            ranges.append((mark.identifier, start, count))
            missing -= count
        if not missing:
            break
    if missing:
        raise KeySinkError(
            f"key sink: {TAG_PAD_BITS - missing} bits of authentication pad "
            f"{direction} at both ends, a greeting needs {TAG_PAD_BITS}; `scqc keys "
            "load` a new start key at both ends"
        )
    if skipped > MAX_JUMP_BITS:
        raise KeySinkError(
            f"key sink: the peer is {skipped} bits of authentication pad {direction} "
            f"ahead, at most {MAX_JUMP_BITS} are skipped; one of the two is {_ADVICE}"
        )
    return ranges


def _pays(mark: BlockMark, direction: str) -> bool:
    ready = mark.state >= State.AVAILABLE
    return ready and (mark.purpose, mark.direction) == (
        AUTHENTICATION_PURPOSE,
        direction,
    )


def _seen(sink: KeySink) -> tuple[int, bytes]:
    """Return number and name of the peer's epoch that was seen last."""
    rows = sink.db.rows(
        "SELECT epoch, nonce FROM peer_epochs ORDER BY serial DESC LIMIT 1"
    )
    return (int(rows[0][0]), bytes(rows[0][1])) if rows else (0, b"")
