"""Distil one block: receiver, parties, key and message.

A live run and the processing of a stored capture call the same function.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.key_sink.records import PAD_PURPOSE
from protocols.key_sink.schedule import SinkLevel
from protocols.key_sink.sink import KeySink
from protocols.schemes.photon_alice import PhotonAlice
from protocols.schemes.photon_bob import PhotonBob
from protocols.schemes.transcript import NOTHING_SAID
from scqc.core.errors import CaptureError
from scqc.runs.journal import Journal
from scqc.runs.lab_config import parse_config
from scqc.runs.offline import Told
from scqc.runs.parties.alice import NextBlock
from scqc.runs.parties.block import ALICE_NAME, RECEIVED_NAME, BlockName
from scqc.runs.parties.bob import Captured
from scqc.runs.parties.pair import Pair, both_ends
from scqc.runs.parties.photon_alice import read_block
from scqc.runs.parties.photon_bob import PhotonReceived
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import sink_level
from scqc.runs.photon.prepare import BlockMessage
from scqc.runs.photon.receive import ReceivedBlock
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import Result
from scqc.runs.sinks import Sinks, open_sinks
from scqc.store.tag_capture import TagCapture, open_tag_capture


@dataclass(frozen=True, slots=True)
class Sent:
    """What only Alice knows of a block.

    Parameters
    ----------
    alice : PhotonAlice
        After the conversation.
    prepared : ndarray, shape (n_slots,), uint8 [code]
        Her slots.
    wanted : bytes
        What was to be delivered.
    """

    alice: PhotonAlice
    prepared: NDArray[np.uint8] = field(repr=False)
    wanted: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Everything about a distilled block.

    Parameters
    ----------
    block : int
    bob : PhotonBob
        After the conversation.
    received : ReceivedBlock
    sent : Sent or None
        None in a program that plays Bob alone.
    delivered : bytes or None
        What Bob got; None if there was nothing to send, or it was lost.
    levels : tuple of SinkLevel
        A party's sink before and after: Alice's if she is here, else Bob's.
    refilled_bits : int
        Fresh pad [bit].
    """

    block: int
    bob: PhotonBob
    received: ReceivedBlock = field(repr=False)
    sent: Sent | None = field(repr=False)
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
        number = int(json.loads(opened.header.layout_json)["block"])
        name = BlockName(opened.header.run_uuid, number)
        with (
            Journal(folder, name.run_uuid) as journal,
            open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
        ):
            pair = Pair(config, both_ends(config, sinks, journal), sinks)
            record = capture.parent / ALICE_NAME if alice is None else alice
            pair.alice.expect(NextBlock(name, record), len(opened.complete_bursts()))
            captured = Captured(name, folder, capture, NOTHING_SAID)
            told = journal, progress, timing
            result = distil_photon(pair, opened, captured, (record, sinks), told)
            return finish_run([result], config, folder, timing, progress, journal)


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


def distil_photon(
    pair: Pair,
    opened: TagCapture,
    captured: Captured,
    alices: tuple[Path, Sinks],
    told: Told,
) -> BlockResult:
    """Receive a block, let the parties talk, store the key, deliver the message.

    Parameters
    ----------
    pair : Pair
        Its Alice knows the block.
    opened : TagCapture
    captured : Captured
        The same.
    alices : tuple of Path and Sinks
        Alice's record, or the folder it is in; both sinks.
    told : tuple of Journal, Progress and Timing

    Raises
    ------
    ScqcError
        Typed by cause. No key is stored then, and a pad that was spent stays
        spent.
    """
    journal, progress, timing = told
    record, sinks = alices
    config = config_of(opened)
    received: PhotonReceived = pair.bob_scheme.receive(opened, progress, timing)
    path = record / ALICE_NAME if record.is_dir() else record
    with timing.stage("read alice"):
        run_uuid = captured.name.run_uuid
        prepared, message = read_block(path, run_uuid, received.n_bursts)
    before = _level_before(config, sinks, message)
    progress.stage("key distillation")
    with timing.stage("key distillation"):
        alice, bob = pair.distil(received, captured, captured.folder)
    sent = Sent(_checked(alice), prepared, message.payload)
    level = (before, sink_level(config, sinks[0]))
    return finish_block(
        config, received, bob, (sent, level), (captured, journal, sinks[0])
    )


def finish_block(
    config: PhotonConfig,
    received: PhotonReceived,
    bob: Any,
    known: tuple[Sent | None, tuple[SinkLevel, SinkLevel]],
    places: tuple[Captured, Journal, KeySink],
) -> BlockResult:
    """Deliver the message of a block, and gather what is known of it.

    Parameters
    ----------
    config : PhotonConfig
    received : PhotonReceived
    bob : PhotonBob
    known : tuple of Sent, or None in Bob's program, and of levels before and after
    places : tuple of Captured, Journal and the party's KeySink
    """
    captured, journal, sink = places
    number = captured.name.number
    delivered = delivered_message(bob)
    if delivered is not None:
        _write_secret(captured.folder / RECEIVED_NAME, delivered)
        journal.write("payload", f"block {number}: {len(delivered)} bytes delivered")
    refilled = 0
    for part in sink.pools_of(captured.name.run_uuid, number):
        n, what = part.n_bits, f"{part.purpose} {part.direction}".strip()
        journal.write("key", f"block {number}: {n} bits stored as {what} at each end")
        refilled += n if part.purpose == PAD_PURPOSE else 0
    sent, levels = known
    return BlockResult(number, bob, received.block, sent, delivered, levels, refilled)


def _checked(alice: object) -> PhotonAlice:
    if not isinstance(alice, PhotonAlice):
        raise CaptureError(f"alice is of another scheme: {type(alice).__name__}")
    return alice


def _level_before(
    config: PhotonConfig, sinks: Sinks, message: BlockMessage
) -> SinkLevel:
    """Return Alice's level before the block; a direct word spent its pad earlier.

    A sink that does not know of that, because the capture came from elsewhere,
    learns it here.
    """
    spent = sum(part.n_bits for part in message.pads)
    for part in message.pads:
        sinks[0].burn_upto(part.identifier, part.start_bit + part.n_bits)
    level = sink_level(config, sinks[0])
    return replace(level, pad_bits=level.pad_bits + spent)


def _write_secret(path: Path, content: bytes) -> None:
    """Write what was sent under a pad for nobody else to read."""
    with open(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(content)


def delivered_message(bob: PhotonBob) -> bytes | None:
    """Return the message as Bob has it; None if none was sent or it was lost."""
    bits = bob.message()
    if not bob.message_bits or bits.size != bob.message_bits:
        return None
    return np.packbits(bits).tobytes()
