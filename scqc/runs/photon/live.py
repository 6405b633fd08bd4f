"""A live run of the photon-counting scheme: blocks of bursts, each distilled."""

from __future__ import annotations

from pathlib import Path

from protocols.key_sink.schedule import plan_block
from scqc.core.provenance import new_run_uuid
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import sink_level
from scqc.runs.photon.prepare import BlockMessage, check_payload
from scqc.runs.photon.process import (
    CAPTURE_NAME,
    BlockResult,
    Places,
    process_block,
)
from scqc.runs.photon.session import Work, open_session
from scqc.runs.photon.summary import finish_run
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import Result
from scqc.runs.sinks import open_sinks
from scqc.store.tag_capture import open_tag_capture


def run_photon(
    loaded: LoadedConfig,
    config: PhotonConfig,
    payload: bytes,
    folder: Path,
    progress: Progress,
) -> Result:
    """Capture and distil all blocks of a run.

    Parameters
    ----------
    loaded : LoadedConfig
    config : PhotonConfig
        The same, checked to be of this scheme.
    payload : bytes
        Goes into one block, the first that the sink can pad it for.
    folder : Path
        Run folder, created.
    progress : Progress

    Returns
    -------
    Result

    Raises
    ------
    ScqcError
        Typed by cause; the bench is in its safe state in every case.
    """
    check_payload(config, payload)
    folder.mkdir(parents=True, exist_ok=True)
    timing, waiting = Timing(), payload
    results: list[BlockResult] = []
    work = Work(loaded.text, config, new_run_uuid(), folder)
    with (
        Journal(folder, work.run_uuid) as journal,
        open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
    ):
        journal.write("run", f"{loaded.path.name}, payload {len(payload)} bytes")
        # What the sink cannot pay for is refused before any light.
        plan_block(sink_level(config, sinks[0]), 8 * len(payload), config.link.blocks)
        with open_session(work, journal, progress) as session:
            for block in range(config.link.blocks):
                plan = plan_block(
                    sink_level(config, sinks[0]),
                    8 * len(waiting),
                    config.link.blocks - block,
                    results[-1].refilled_bits if results else None,
                )
                journal.write("plan", f"block {block}: {plan.kind}, {plan.reason}")
                chosen = BlockMessage(waiting if plan.kind == "message" else b"")
                with timing.stage("capture"):
                    home = session.capture(block, chosen, sinks, progress)
                with open_tag_capture(home / CAPTURE_NAME) as opened:
                    places = Places(home, home, home)
                    done = process_block(
                        opened, places, (block, sinks), progress, journal, timing
                    )
                results.append(done)
                if done.delivered is not None:
                    waiting = b""
        return finish_run(results, config, folder, timing, progress, journal)


def capture_photon(
    loaded: LoadedConfig,
    config: PhotonConfig,
    payload: bytes,
    folder: Path,
    progress: Progress,
) -> Path:
    """Take the capture of one block and stop there.

    Returns
    -------
    Path
        The finished capture.
    """
    check_payload(config, payload)
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(loaded.text, config, new_run_uuid(), folder)
    with (
        Journal(folder, work.run_uuid) as journal,
        open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
    ):
        plan_block(sink_level(config, sinks[0]), 8 * len(payload), 1)
        with open_session(work, journal, progress) as session:
            home = session.capture(0, BlockMessage(payload), sinks, progress)
    return home / CAPTURE_NAME
