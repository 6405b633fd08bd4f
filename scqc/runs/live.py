"""A live run: station, probe, bursts, capture; then the same processing as offline.

The order is the one of a careful lab: everything that can be checked without
light is checked first, the light is on only while a record is taken, and every
acknowledged sample is on disk before the next burst is prepared.
"""

from __future__ import annotations

from pathlib import Path

from scqc.core.provenance import new_run_uuid
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.offline import distil_cv
from scqc.runs.parties.alice import NextBlock
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.bob import Captured
from scqc.runs.parties.cv_alice import CvAliceEnd
from scqc.runs.parties.cv_bob import CvBobEnd
from scqc.runs.parties.opened import open_station
from scqc.runs.parties.pair import Pair
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import Result
from scqc.runs.sinks import open_sinks
from scqc.runs.transmit import check_payload
from scqc.store.sealed_reader import open_capture


def run_live(
    loaded: LoadedConfig,
    payload: bytes,
    folder: Path,
    progress: Progress,
    run_uuid: str | None = None,
) -> Result:
    """Capture and process a run.

    Parameters
    ----------
    loaded : LoadedConfig
    payload : bytes
        May be empty.
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
    if not isinstance(loaded.config, CvConfig):
        from scqc.runs.photon.live import run_photon

        return run_photon(loaded, loaded.config, payload, folder, progress, run_uuid)
    config, timing = loaded.config, Timing()
    check_payload(config, payload)
    folder.mkdir(parents=True, exist_ok=True)
    name = BlockName(run_uuid or new_run_uuid())
    with (
        Journal(folder, name.run_uuid) as journal,
        open_sinks(config, folder) as sinks,
    ):
        ends = CvAliceEnd(config), CvBobEnd(config)
        pair = Pair(config, ends, sinks, progress.note)
        with timing.stage("capture"):
            block = NextBlock(name, folder, payload)
            captured = _capture(loaded, pair, block, journal, progress)
        with open_capture(captured.path) as opened:
            return distil_cv(pair, opened, captured, (journal, progress, timing))


def capture_live(
    loaded: LoadedConfig,
    payload: bytes,
    folder: Path,
    progress: Progress,
    run_uuid: str | None = None,
) -> Path:
    """Take the capture of a run and stop there.

    Returns
    -------
    Path
        The finished capture.
    """
    if not isinstance(loaded.config, CvConfig):
        from scqc.runs.photon.live import capture_photon

        return capture_photon(
            loaded, loaded.config, payload, folder, progress, run_uuid
        )
    # What cannot be sent is refused before an instrument is touched.
    check_payload(loaded.config, payload)
    folder.mkdir(parents=True, exist_ok=True)
    name = BlockName(run_uuid or new_run_uuid())
    with Journal(folder, name.run_uuid) as journal:
        ends = CvAliceEnd(loaded.config), CvBobEnd(loaded.config)
        pair = Pair(loaded.config, ends, None)
        block = NextBlock(name, folder, payload)
        return _capture(loaded, pair, block, journal, progress).path


def _capture(
    loaded: LoadedConfig,
    pair: Pair,
    block: NextBlock,
    journal: Journal,
    progress: Progress,
) -> Captured:
    """Take one block; the bench is open only for the time of its light."""
    text = f"{loaded.path.name}, payload {len(block.payload)} bytes"
    journal.write("run", text)
    with open_station(loaded.config, journal, progress) as opened:
        return pair.take(pair.open_light(loaded, opened), block, progress)
