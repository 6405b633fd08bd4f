"""A live run of the photon-counting scheme: blocks of bursts, each distilled."""

from __future__ import annotations

from dataclasses import dataclass
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
from scqc.runs.photon.session import PhotonSession, Work, open_session
from scqc.runs.photon.summary import finish_run
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import Result
from scqc.runs.sinks import Sinks, open_sinks
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
            running = RunningBlocks(session, sinks, progress, journal)
            for block in range(config.link.blocks):
                done = running.send(block, config.link.blocks - block, waiting, timing)
                results.append(done)
                if done.delivered is not None:
                    waiting = b""
        return finish_run(results, config, folder, timing, progress, journal)


@dataclass(slots=True)
class RunningBlocks:
    """An open bench that sends and distils one block after another.

    Parameters
    ----------
    session : PhotonSession
    sinks : both parties' key sinks
    progress : Progress
    journal : Journal
    """

    session: PhotonSession
    sinks: Sinks
    progress: Progress
    journal: Journal
    _refilled_bits: int | None = None

    def send(
        self, block: int, blocks_left: int, waiting: bytes, timing: Timing
    ) -> BlockResult:
        """Plan a block, capture and distil it.

        Parameters
        ----------
        block : int
            Number within the run.
        blocks_left : int
            This one included [1].
        waiting : bytes
            Still to be delivered; sent if the sink can pad it.
        timing : Timing
        """
        config = self.session.config
        plan = plan_block(
            sink_level(config, self.sinks[0]),
            8 * len(waiting),
            blocks_left,
            self._refilled_bits,
        )
        self.journal.write("plan", f"block {block}: {plan.kind}, {plan.reason}")
        chosen = BlockMessage(waiting if plan.kind == "message" else b"")
        with timing.stage("capture"):
            home = self.session.capture(block, chosen, self.sinks, self.progress)
        with open_tag_capture(home / CAPTURE_NAME) as opened:
            done = process_block(
                opened,
                Places(home, home, home),
                (block, self.sinks),
                self.progress,
                self.journal,
                timing,
            )
        self._refilled_bits = done.refilled_bits
        return done


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
