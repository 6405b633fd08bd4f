"""Processing of a capture: receiver, parties, key, result.

A live run ends here too, so live and offline give the same numbers for the same
samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocols.schemes.cv_bob import CvBob
from protocols.schemes.transcript import NOTHING_SAID
from scqc.core.errors import CaptureError
from scqc.runs.cv_config import CvConfig
from scqc.runs.foreign import estimate_foreign
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LabConfig
from scqc.runs.parties.alice import NextBlock
from scqc.runs.parties.block import (
    ALICE_NAME,
    RECEIVED_NAME,
    RESULT_NAME,
    BlockName,
)
from scqc.runs.parties.bob import Captured
from scqc.runs.parties.cv_alice import CvAliceEnd
from scqc.runs.parties.cv_bob import CvBobEnd, CvReceived, open_cv_capture
from scqc.runs.parties.pair import Pair
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing, complete_bursts
from scqc.runs.report_data import record_plots
from scqc.runs.result import Result
from scqc.runs.sinks import open_sinks
from scqc.runs.summary import summarise
from scqc.store.results import write_result
from scqc.store.sealed_reader import Capture, open_capture
from scqc.store.tag_capture import is_tag_capture


def process_capture(
    capture: Path,
    folder: Path,
    progress: Progress,
    alice: Path | None = None,
    symbols: Path | None = None,
    timing: Timing | None = None,
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
        Of the stages before.

    Raises
    ------
    ScqcError
        Typed by cause; no key is stored then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_tag_capture(capture):
        from scqc.runs.photon.process import process_tag_capture

        return process_tag_capture(capture, folder, progress, alice)
    if symbols is not None:
        with open_capture(capture) as opened:
            return estimate_foreign(opened, symbols, folder, progress)
    record = alice if alice is not None else capture.parent / ALICE_NAME
    if not record.exists():
        raise CaptureError(
            f"{record}: Alice's record is missing; without it Bob has nobody to "
            "talk to. Give it, or --symbols for a capture of known symbols"
        )
    opened, config = open_cv_capture(capture)
    name = BlockName(opened.header.run_uuid)
    spent = timing if timing is not None else Timing()
    with (
        opened,
        Journal(folder, name.run_uuid) as journal,
        open_sinks(config, folder) as sinks,
    ):
        pair = Pair(
            config, (CvAliceEnd(config), CvBobEnd(config)), sinks, progress.note
        )
        pair.alice.expect(NextBlock(name, record), complete_bursts(opened))
        captured = Captured(name, folder, capture, NOTHING_SAID)
        return distil_cv(pair, opened, captured, (journal, progress, spent))


#: Who is told about a block on its way: journal, progress and timing.
Told = tuple[Journal, Progress, Timing]


def distil_cv(pair: Pair, opened: Capture, captured: Captured, told: Told) -> Result:
    """Receive a capture, and let both parties of this program distil it.

    Parameters
    ----------
    pair : Pair
        Its Alice knows the block.
    opened : Capture
    captured : Captured
        The same.
    told : tuple of Journal, Progress and Timing

    Raises
    ------
    ScqcError
        Typed by cause; no key is stored then.
    """
    _, progress, timing = told
    received: CvReceived = pair.bob_scheme.receive(opened, progress, timing)
    progress.stage("key distillation")
    with timing.stage("key distillation"):
        alice, bob = pair.distil(received, captured, captured.folder)
    return finish_cv(pair.config, received, (alice, bob), opened, captured, told)


def finish_cv(
    config: LabConfig,
    received: CvReceived,
    parties: tuple[Any, Any],
    opened: Capture,
    captured: Captured,
    told: Told,
) -> Result:
    """Write what a block gave: payload, ``result.json`` and the report.

    Parameters
    ----------
    config : LabConfig
    received : CvReceived
    parties : tuple of CvAlice, or None in Bob's program, and CvBob
    opened : Capture
    captured : Captured
        Its folder gets the results.
    told : tuple of Journal, Progress and Timing
    """
    journal, progress, timing = told
    folder, (alice, bob) = captured.folder, parties
    if not isinstance(config, CvConfig):
        raise CaptureError(f"{opened.path}: the config is of another scheme")
    result = summarise(alice, bob, received.bursts, config, timing)
    _deliver(bob, folder, journal)
    write_result(folder / RESULT_NAME, result.as_json())
    progress.stage("report")
    with timing.stage("report"):
        from scqc.runs.report import write_report

        result.plots.update(record_plots(opened, received.bursts[0], received.layout))
        write_report(folder / "report.html", result)
    journal.write("result", result.verdict)
    return result


def _deliver(bob: CvBob, folder: Path, journal: Journal) -> None:
    """Write the received payload."""
    if bob.report.payload is not None:
        (folder / RECEIVED_NAME).write_bytes(bob.report.payload)
        journal.write("payload", f"{len(bob.report.payload)} bytes delivered")
    elif bob.report.payload_problem:
        journal.write("payload", bob.report.payload_problem)
