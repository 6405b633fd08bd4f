"""Distil one block: receiver, parties, key and message.

A live run and the processing of a stored capture call the same function.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags import slots
from protocols.key_sink.schedule import TAG_PAD_BITS, SinkLevel, plan_block
from protocols.key_sink import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    KeySink,
)
from protocols.messages.photon import CheckBits
from protocols.messages.wire import decode
from protocols.schemes.pads import Pad
from protocols.schemes.photon_alice import Outgoing, PhotonAlice
from protocols.schemes.photon_bob import PhotonBob
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.core.errors import CaptureError
from scqc.core.records import KeyBlock
from scqc.runs import exchange
from scqc.runs.journal import Journal
from scqc.runs.lab_config import parse_config
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import JournaledPads, sink_level
from scqc.runs.photon.prepare import BlockMessage
from scqc.runs.photon.receive import ReceivedBlock, receive_block
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import Result
from scqc.runs.sinks import Keys, Sinks, link_keys, open_sinks, party_entropy
from scqc.store.results import SentMessage, read_transcript, write_transcript
from scqc.store.slot_record import read_slot_record
from scqc.store.tag_capture import TagCapture, open_tag_capture

ALICE_NAME, BOB_NAME = "alice.scqc", "bob.scqc"
CAPTURE_NAME = "capture.h5"
TRANSCRIPT_NAME = "transcript.scqc"


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Everything about a distilled block; only this program holds both parties.

    Parameters
    ----------
    block : int
    alice, bob : the parties after their conversation
    prepared : ndarray, shape (n_slots,), uint8 [code]
        Alice's slots.
    received : ReceivedBlock
    wanted : bytes
        What was to be delivered.
    delivered : bytes or None
        What Bob got; None if there was nothing to send, or it was lost.
    levels : tuple of SinkLevel
        Alice's sink before and after.
    refilled_bits : int
        Fresh pad [bit].
    """

    block: int
    alice: PhotonAlice
    bob: PhotonBob
    prepared: NDArray[np.uint8] = field(repr=False)
    received: ReceivedBlock = field(repr=False)
    wanted: bytes = field(repr=False)
    delivered: bytes | None = field(repr=False)
    levels: tuple[SinkLevel, SinkLevel]
    refilled_bits: int


def process_tag_capture(
    capture: Path, folder: Path, progress: Progress, alice: Path | None
) -> Result:
    """Process a stored block.

    Parameters
    ----------
    capture : Path
    folder : Path
        Run folder for the results.
    progress : Progress
    alice : Path or None
        Alice's record; by default beside the capture.

    Raises
    ------
    ScqcError
        Typed by cause; a block whose words were published before is refused by
        the key sink that knows of it.
    """
    from scqc.runs.photon.summary import finish_run

    timing = Timing()
    with open_tag_capture(capture) as opened:
        config = config_of(opened)
        block = int(json.loads(opened.header.layout_json)["block"])
        home = capture.parent if alice is None else alice.parent
        with (
            Journal(folder, opened.header.run_uuid) as journal,
            open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
        ):
            places = Places(home if alice is None else alice, capture.parent, folder)
            result = process_block(
                opened, places, (block, sinks), progress, journal, timing
            )
            return finish_run([result], config, folder, timing, progress, journal)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of a block are.

    Parameters
    ----------
    alice : Path
        Alice's record, or the folder it is in.
    earlier : Path
        Folder of the capture: with what Bob's modulator was set to, and the
        transcript of an earlier processing, if there was one.
    folder : Path
        Where results go.
    """

    alice: Path
    earlier: Path
    folder: Path

    @property
    def alice_record(self) -> Path:
        """The file with what Alice prepared."""
        return self.alice / ALICE_NAME if self.alice.is_dir() else self.alice


def config_of(opened: TagCapture) -> PhotonConfig:
    """Return the config a capture was taken with.

    Raises
    ------
    CaptureError
        If it belongs to another scheme.
    """
    if not opened.header.config_toml.strip():
        raise CaptureError(
            f"{opened.path}: imported, without a lab config; there is no Alice to "
            "process it with"
        )
    config = parse_config(opened.header.config_toml, opened.path)
    if not isinstance(config, PhotonConfig):
        raise CaptureError(
            f"{opened.path}: time tags, but the config is of scheme "
            f"{config.link.scheme!r}"
        )
    return config


def process_block(
    opened: TagCapture,
    places: Places,
    what: tuple[int, Sinks],
    progress: Progress,
    journal: Journal,
    timing: Timing,
) -> BlockResult:
    """Receive a block, let the parties talk, store the key, deliver the message.

    Parameters
    ----------
    opened : TagCapture
    places : Places
    what : tuple of int and both sinks
        Number of the block within its run.
    progress, journal, timing

    Raises
    ------
    ScqcError
        Typed by cause. No key is stored then, and a pad that was spent stays
        spent.
    """
    block, sinks = what
    config, run_uuid = config_of(opened), opened.header.run_uuid
    bases = _bob_bases(places, run_uuid) if config.active_basis else None
    received = receive_block(opened, config, (block, bases), progress, timing)
    with timing.stage("read alice"):
        n_bursts = len(received.bursts)
        prepared, message = _alice_record(places.alice_record, run_uuid, n_bursts)
    before = _level_before(config, sinks[0], message)
    if message.payload and config.security.encoding == "masked":
        # Refused before anything is said: a claimed block has no second try.
        plan_block(before, 8 * len(message.payload), 1)
    earlier = _public_seed(places.earlier / TRANSCRIPT_NAME, run_uuid)
    progress.stage("key distillation")
    with timing.stage("key distillation"):
        # Words of a block are published once: a second codeword on the same
        # detections would tell the difference of two padded messages.
        for sink in sinks:
            sink.claim(run_uuid, block)
        alice, bob, said = _converse(
            (prepared, received, message),
            (config, f"{run_uuid}/{block}"),
            _pads(config, sinks, journal),
            link_keys(sinks, simulated=config.sim is not None),
            earlier,
        )
    write_transcript(places.folder / TRANSCRIPT_NAME, run_uuid, said)
    refilled = _store_keys((alice, bob), sinks, config, (run_uuid, block), journal)
    delivered = _delivered(alice, bob)
    if delivered is not None:
        _write_secret(places.folder / "payload.received", delivered)
        journal.write("payload", f"block {block}: {len(delivered)} bytes delivered")
    return BlockResult(
        block,
        alice,
        bob,
        prepared,
        received,
        message.payload,
        delivered,
        (before, sink_level(config, sinks[0])),
        refilled,
    )


def _alice_record(
    path: Path, run_uuid: str, n_bursts: int
) -> tuple[NDArray[np.uint8], BlockMessage]:
    """Return what Alice prepared for the first `n_bursts` bursts, and the message."""
    if not path.exists():
        raise CaptureError(
            f"{path}: Alice's record is missing; without it Bob has nobody to talk to"
        )
    record = read_slot_record(path)
    if record.run_uuid != run_uuid:
        raise CaptureError(
            f"{path}: of run {record.run_uuid}, the capture is of run {run_uuid}"
        )
    if len(record.bursts) < n_bursts:
        raise CaptureError(
            f"{path}: {len(record.bursts)} bursts, the capture has {n_bursts}"
        )
    prepared = np.concatenate(record.bursts[:n_bursts])
    return prepared, BlockMessage.unpacked(record.message)


def _bob_bases(places: Places, run_uuid: str) -> list[NDArray[np.uint8]]:
    """Return what Bob's modulator was set to, burst by burst."""
    path = places.earlier / BOB_NAME
    if not path.exists():
        raise CaptureError(f"{path}: what Bob's modulator was set to is missing")
    record = read_slot_record(path)
    if record.run_uuid != run_uuid:
        raise CaptureError(
            f"{path}: of run {record.run_uuid}, the capture is of run {run_uuid}"
        )
    return [slots.basis(burst) for burst in record.bursts]


def _public_seed(transcript: Path, run_uuid: str) -> bytes | None:
    """Return the order of the key bits of an earlier processing, if any."""
    if not transcript.exists():
        return None
    owner, messages = read_transcript(transcript)
    if owner != run_uuid:
        return None
    for message in messages:
        said = decode(message.frame)
        if isinstance(said, CheckBits):
            return said.permutation_seed
    return None


def _level_before(
    config: PhotonConfig, sink: KeySink, message: BlockMessage
) -> SinkLevel:
    """Return Alice's level before the block; a direct word spent its pad earlier.

    A sink that does not know of that, because the capture came from elsewhere,
    learns it here.
    """
    spent = sum(part.n_bits for part in message.pads)
    for part in message.pads:
        sink.burn_upto(part.identifier, part.start_bit + part.n_bits)
    level = sink_level(config, sink)
    return replace(level, pad_bits=level.pad_bits + spent)


def _write_secret(path: Path, content: bytes) -> None:
    """Write what was sent under a pad for nobody else to read."""
    with open(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(content)


Pads = tuple[JournaledPads, JournaledPads]


def _pads(config: PhotonConfig, sinks: Sinks, journal: Journal) -> Pads:
    """Return both parties' message pads."""
    alice, bob = sinks
    return (
        JournaledPads(config, alice, journal, "alice"),
        JournaledPads(config, bob, journal, "bob"),
    )


def _converse(
    have: tuple[NDArray[np.uint8], ReceivedBlock, BlockMessage],
    what: tuple[PhotonConfig, str],
    pads: Pads,
    keys: tuple[Keys, Keys],
    seed: bytes | None,
) -> tuple[PhotonAlice, PhotonBob, list[SentMessage]]:
    """Let the parties talk over an in-process link until both are done.

    Raises
    ------
    PeerError, ProtocolAbort
        If either party stops the exchange.
    """
    prepared, received, message = have
    config, link = what
    settings = (config.decoy, config.security)
    block = link.rpartition("/")[2]
    alice = PhotonAlice(
        prepared,
        _outgoing(message, config, pads[0]),
        settings,
        party_entropy(config, f"alice/words/{block}"),
        link,
        keys[0],
    )
    bob = PhotonBob(
        received.received,
        settings,
        party_entropy(config, f"bob/{block}"),
        link,
        keys[1],
        pads[1],
        seed,
    )
    said = exchange.converse(alice, bob)
    return alice, bob, said


def _outgoing(
    message: BlockMessage, config: PhotonConfig, pads: JournaledPads
) -> Outgoing:
    """Return the message and where its pad comes from, or came from."""
    if config.security.encoding == "direct" and message.pads:
        # Spent before the light was sent; the bits themselves are in the light.
        nothing = np.zeros(0, dtype=np.uint8)
        spent = Pad(nothing, message.pads, message.pad_epsilon)
        return Outgoing(message.bits, pads, spent)
    return Outgoing(message.bits, pads)


def _delivered(alice: PhotonAlice, bob: PhotonBob) -> bytes | None:
    """Return the message as Bob has it; None if none was sent or it was lost."""
    bits = bob.message()
    if not alice.sent_bits or bits.size != alice.sent_bits:
        return None
    return np.packbits(bits).tobytes()


def _store_keys(
    parties: tuple[PhotonAlice, PhotonBob],
    sinks: Sinks,
    config: PhotonConfig,
    name: tuple[str, int],
    journal: Journal,
) -> int:
    """Put each party's key into its own sink; return the fresh message pad [bit].

    The first bits pay for the tags of the next block. The rest is pad for messages,
    or key for others where the scheme has no messages.
    """
    run_uuid, block = name
    rest = PAD_PURPOSE if config.carries_payload else KEY_PURPOSE
    direction = ALICE_TO_BOB if config.carries_payload else ""
    shares = [
        (AUTHENTICATION_PURPOSE, ALICE_TO_BOB, TAG_PAD_BITS),
        (AUTHENTICATION_PURPOSE, BOB_TO_ALICE, TAG_PAD_BITS),
        (rest, direction, None),
    ]
    left = 0
    for party, sink in zip(parties, sinks, strict=True):
        packed, n_bits = party.key()
        if n_bits <= 2 * TAG_PAD_BITS:
            continue
        at = 0
        for purpose, towards, size in shares:
            n = n_bits - at if size is None else size
            piece = np.unpackbits(np.frombuffer(packed, np.uint8), count=n_bits)
            key = KeyBlock(
                identifier=f"{run_uuid}/{block}/{purpose}/{towards}".rstrip("/"),
                bits=np.packbits(piece[at : at + n]).tobytes(),
                n_bits=n,
                epsilon=party.epsilon,
                simulated=config.sim is not None,
                provenance={"run_uuid": run_uuid, "block": str(block)},
            )
            sink.put(key, purpose, towards)
            at += n
        left = n_bits - 2 * TAG_PAD_BITS
    if left:
        journal.write("key", f"block {block}: {left} bits stored as {rest} at each end")
    return left if config.carries_payload else 0
