"""Processing of a capture: receiver, parties, key, result.

A live run ends here too, so live and offline give the same numbers for the same
samples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsp.pipeline import ReceivedBurst
from dsp.settings import FrameLayout
from protocols.key_sink.sink import KeySink
from protocols.messages.wire import SampleRequest, decode
from protocols.schemes.cv_alice import AliceRecord, CvAlice
from protocols.schemes.cv_bob import CvBob
from protocols.schemes.cv_common import frame_codec
from protocols.schemes.cv_reception import Cancellation, Reception
from protocols.schemes.transcript import LinkKeys
from scqc.core.errors import CaptureError
from scqc.core.records import KeyBlock
from scqc.runs import exchange
from scqc.runs.cv_config import CvConfig
from scqc.runs.foreign import estimate_foreign
from scqc.runs.journal import Journal
from scqc.runs.lab_config import parse_config
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing, receive_all
from scqc.runs.report_data import record_plots
from scqc.runs.result import Result
from scqc.runs.sinks import link_keys, open_sinks, party_entropy
from scqc.runs.summary import summarise
from scqc.runs.transmit import run_id
from scqc.store.alice_record import read_alice_record
from scqc.store.results import (
    SentMessage,
    read_transcript,
    write_result,
    write_transcript,
)
from scqc.store.sealed_reader import Capture, open_capture
from scqc.store.tag_capture import is_tag_capture

RESULT_NAME = "result.json"
TRANSCRIPT_NAME = "transcript.scqc"
ALICE_NAME = "alice.scqc"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Both parties after their conversation.

    Only this program, which plays both, ever holds the two together.
    """

    alice: CvAlice
    bob: CvBob
    messages: list[SentMessage]


def process_capture(
    capture: Path,
    folder: Path,
    progress: Progress,
    alice: Path | None = None,
    symbols: Path | None = None,
    timing: Timing | None = None,
    sinks_home: Path | None = None,
) -> Result:
    """Process a capture: steps five to nine of a run.

    Parameters
    ----------
    capture : Path
    folder : Path
        Run folder for the results; created.
    progress : Progress
    alice : Path, optional
        Alice's record; by default beside the capture.
    symbols : Path, optional
        Alice's symbols as ``.npy``: only estimate the channel from them.
    timing : Timing, optional
        Of the stages before, in a live run.
    sinks_home : Path, optional
        Where a simulated bench has its key sinks, by default in `folder`.

    Raises
    ------
    ScqcError
        Typed by cause; no key is stored then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_tag_capture(capture):
        from scqc.runs.photon.process import process_tag_capture

        return process_tag_capture(capture, folder, progress, alice)
    with open_capture(capture) as opened:
        if symbols is not None:
            return estimate_foreign(opened, symbols, folder, progress)
        record = alice if alice is not None else capture.parent / ALICE_NAME
        if not record.exists():
            raise CaptureError(
                f"{record}: Alice's record is missing; without it Bob has nobody to "
                "talk to. Give it, or --symbols for a capture of known symbols"
            )
        with Journal(folder, opened.header.run_uuid) as journal:
            spent = timing if timing is not None else Timing()
            home = folder if sinks_home is None else sinks_home
            return _process(opened, (record, folder, home), progress, journal, spent)


def _process(
    opened: Capture,
    places: tuple[Path, Path, Path],
    progress: Progress,
    journal: Journal,
    timing: Timing,
) -> Result:
    header, (record, folder, sinks_home) = opened.header, places
    config = parse_config(header.config_toml, opened.path)
    if not isinstance(config, CvConfig):
        raise CaptureError(
            f"{opened.path}: samples of a digitiser, but its config is of scheme "
            f"{config.link.scheme!r}"
        )
    layout = FrameLayout.model_validate_json(header.layout_json)
    with timing.stage("receiver"):
        bursts = receive_all(opened, config, layout, progress, timing)
    with timing.stage("read alice"):
        alice_record = _alice_record(record, header.run_uuid, config, len(bursts))
    with open_sinks(config, sinks_home) as sinks:
        keys = link_keys(sinks, simulated=config.sim is not None)
        with timing.stage("key distillation"):
            exchange = converse(
                bursts,
                layout,
                alice_record,
                config,
                header.run_uuid,
                keys,
                progress,
                public_seed(opened.path.parent / TRANSCRIPT_NAME, header.run_uuid),
            )
        _store_key(exchange, sinks, config, header.run_uuid, journal)
    result = summarise(exchange.alice, exchange.bob, bursts, config, timing)
    write_transcript(folder / TRANSCRIPT_NAME, header.run_uuid, exchange.messages)
    _deliver(exchange.bob, folder, journal)
    write_result(folder / RESULT_NAME, result.as_json())
    progress.stage("report")
    with timing.stage("report"):
        from scqc.runs.report import write_report

        result.plots.update(record_plots(opened, bursts[0], layout))
        write_report(folder / "report.html", result)
    journal.write("result", result.verdict)
    return result


def converse(
    bursts: list[ReceivedBurst],
    layout: FrameLayout,
    record: AliceRecord,
    config: CvConfig,
    run_uuid: str,
    keys: tuple[dict[str, LinkKeys], dict[str, LinkKeys]],
    progress: Progress,
    permutation_seed: bytes | None = None,
) -> Exchange:
    """Let the parties talk over an in-process link until both are done.

    Raises
    ------
    PeerError, ProtocolAbort
        If either party stops the exchange.
    """
    link = f"{run_uuid}/0"
    alice = CvAlice(record, config.classical, config.security, link, keys[0])
    bob = CvBob(
        bursts,
        reception_of(bursts, layout, config, run_uuid),
        config.security,
        party_entropy(config, "bob"),
        link,
        keys[1],
        permutation_seed,
    )
    progress.stage("key distillation")
    messages = exchange.converse(alice, bob, progress.note)
    return Exchange(alice, bob, messages)


def reception_of(
    bursts: list[ReceivedBurst], layout: FrameLayout, config: CvConfig, run_uuid: str
) -> Reception | None:
    """Return the decoder of the classical frames, None without displacement."""
    if config.classical.psk == "none":
        return None
    receiver = config.bob.receiver
    return Reception(
        bursts,
        layout,
        config.classical,
        frame_codec(config.classical, run_id(run_uuid)),
        Cancellation(receiver.cancellation_taps, receiver.decision_directed),
        config.security.threads,
    )


def public_seed(transcript: Path, run_uuid: str) -> bytes | None:
    """Return the permutation seed of an earlier processing, if there was one."""
    if not transcript.exists():
        return None
    owner, messages = read_transcript(transcript)
    if owner != run_uuid:
        return None
    for message in messages:
        said = decode(message.frame)
        if isinstance(said, SampleRequest):
            return said.permutation_seed
    return None


def _alice_record(
    path: Path, run_uuid: str, config: CvConfig, n_bursts: int
) -> AliceRecord:
    """Return what Alice prepared for the first `n_bursts` bursts."""
    owner, bursts = read_alice_record(path)
    if owner != run_uuid:
        raise CaptureError(f"{path}: of run {owner}, the capture is of run {run_uuid}")
    if len(bursts) < n_bursts:
        raise CaptureError(f"{path}: {len(bursts)} bursts, the capture has {n_bursts}")
    bursts = bursts[:n_bursts]
    symbols = np.concatenate([b.symbols for b in bursts])
    frames = len(bursts) * config.classical.frames_per_burst
    bits = np.concatenate([b.bits for b in bursts])
    coded = (
        bits.reshape(frames if bits.size else 0, -1)
        if bits.size
        else np.zeros((0, 0), dtype=np.uint8)
    )
    side = path.parent / "payload.json"
    digest = bytes(32)
    if side.exists():
        digest = bytes.fromhex(json.loads(side.read_text())["sha256"])
    return AliceRecord(symbols, coded, digest, len(bursts))


def _store_key(
    exchange: Exchange,
    sinks: tuple[KeySink, KeySink],
    config: CvConfig,
    run_uuid: str,
    journal: Journal,
) -> None:
    """Put each party's key into its own sink, once per run and block."""
    for name, party, sink in (
        ("alice", exchange.alice, sinks[0]),
        ("bob", exchange.bob, sinks[1]),
    ):
        bits, n_bits = party.key()
        if not n_bits:
            continue
        block = KeyBlock(
            identifier=f"{run_uuid}/0",
            bits=bits,
            n_bits=n_bits,
            epsilon=party.epsilon,
            simulated=config.sim is not None,
            provenance={"run_uuid": run_uuid, "block": "0"},
        )
        if any(entry.identifier == block.identifier for entry in sink.list()):
            journal.write("key", f"{name}: block {block.identifier} was stored before")
            continue
        sink.put(block)
        journal.write("key", f"{name}: {n_bits} bits stored as {block.identifier}")


def _deliver(bob: CvBob, folder: Path, journal: Journal) -> None:
    """Write the received payload."""
    if bob.report.payload is not None:
        (folder / "payload.received").write_bytes(bob.report.payload)
        journal.write("payload", f"{len(bob.report.payload)} bytes delivered")
    elif bob.report.payload_problem:
        journal.write("payload", bob.report.payload_problem)
