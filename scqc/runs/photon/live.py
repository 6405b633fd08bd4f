"""A live run of the photon-counting scheme: blocks of bursts, each distilled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protocols.key_sink.schedule import plan_block
from scqc.core.provenance import new_run_uuid
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.parties.alice import NextBlock
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.bob import BobLight
from scqc.runs.parties.opened import OpenStation, open_station
from scqc.runs.parties.pair import Pair, both_ends
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import sink_level
from scqc.runs.photon.prepare import check_payload
from scqc.runs.photon.process import BlockResult, distil_photon
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
    run_uuid: str | None = None,
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
    run_uuid : str, optional
        Names the run; a fresh name by default.

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
    timing, waiting, blocks = Timing(), payload, config.link.blocks
    results: list[BlockResult] = []
    with (
        Journal(folder, run_uuid or new_run_uuid()) as journal,
        open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
    ):
        journal.write("run", f"{loaded.path.name}, payload {len(payload)} bytes")
        # What the sink cannot pay for is refused before any light.
        plan_block(sink_level(config, sinks[0]), 8 * len(payload), blocks)
        with open_station(config, journal, progress, computing=True) as opened:
            running = RunningBlocks(loaded, opened, sinks, progress, journal)
            for block in range(blocks):
                home = folder if blocks == 1 else folder / f"block-{block:03d}"
                done = running.send((block, home), blocks - block, waiting, timing)
                results.append(done)
                if done.delivered is not None:
                    waiting = b""
        return finish_run(results, config, folder, timing, progress, journal)


@dataclass(slots=True)
class RunningBlocks:
    """An open bench that sends and distils one block after another.

    Parameters
    ----------
    loaded : LoadedConfig
    opened : OpenStation
    sinks : both parties' key sinks
    progress : Progress
    journal : Journal
        Of the run.
    """

    loaded: LoadedConfig
    opened: OpenStation
    sinks: Sinks
    progress: Progress
    journal: Journal
    _refilled_bits: int | None = None
    _pair: Pair | None = None
    _light: BobLight | None = None

    def send(
        self,
        what: tuple[int, Path],
        blocks_left: int,
        waiting: bytes,
        timing: Timing,
    ) -> BlockResult:
        """Plan a block, capture and distil it.

        Parameters
        ----------
        what : tuple of int and Path
            Number within the run, and the folder of the block.
        blocks_left : int
            This one included [1].
        waiting : bytes
            Still to be delivered; sent if the sink can pad it.
        timing : Timing
        """
        config, (block, home) = _photon(self.loaded), what
        plan = plan_block(
            sink_level(config, self.sinks[0]),
            8 * len(waiting),
            blocks_left,
            self._refilled_bits,
        )
        self.journal.write("plan", f"block {block}: {plan.kind}, {plan.reason}")
        chosen = waiting if plan.kind == "message" else b""
        with timing.stage("capture"):
            pair, light = self._ready()
            name = BlockName(self.journal.run_uuid, block)
            captured = pair.take(light, NextBlock(name, home, chosen), self.progress)
        told = self.journal, self.progress, timing
        with open_tag_capture(captured.path) as opened:
            done = distil_photon(pair, opened, captured, (home, self.sinks), told)
        self._refilled_bits = done.refilled_bits
        return done

    def _ready(self) -> tuple[Pair, BobLight]:
        """Return both ends with their instruments; at first, bring them together."""
        if self._pair is None or self._light is None:
            config = self.loaded.config
            ends = both_ends(config, self.sinks, self.journal)
            self._pair = Pair(config, ends, self.sinks)
            self._light = self._pair.open_light(self.loaded, self.opened)
        return self._pair, self._light


def capture_photon(
    loaded: LoadedConfig,
    config: PhotonConfig,
    payload: bytes,
    folder: Path,
    progress: Progress,
    run_uuid: str | None = None,
) -> Path:
    """Take the capture of one block and stop there.

    Returns
    -------
    Path
        The finished capture.
    """
    check_payload(config, payload)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Journal(folder, run_uuid or new_run_uuid()) as journal,
        open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
    ):
        plan_block(sink_level(config, sinks[0]), 8 * len(payload), 1)
        pair = Pair(config, both_ends(config, sinks, journal), sinks)
        with open_station(config, journal, progress) as opened:
            light = pair.open_light(loaded, opened)
            block = NextBlock(BlockName(journal.run_uuid), folder, payload)
            return pair.take(light, block, progress).path


def _photon(loaded: LoadedConfig) -> PhotonConfig:
    config = loaded.config
    if not isinstance(config, PhotonConfig):
        raise TypeError(f"{loaded.path}: no photon-counting bench")
    return config
