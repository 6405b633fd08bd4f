"""Continuous use: block after block on a bench that stays open.

Every block is a run of its own, with a folder, a result and a report; the key
sinks are shared. A block without a signal, or one that a security check stops,
is written down and the next one begins; a bench, a sink or a disk that fails
ends the run. Nothing of a block stays in memory once its result is on disk.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from scqc.core.errors import PeerError, ProtocolAbort, ScqcError, SignalError
from scqc.core.provenance import new_run_uuid
from scqc.runs.cv_config import CvConfig
from scqc.runs.disk import block_bytes, require_space
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.outcome import exit_code
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import EXIT_KEY, EXIT_NO_KEY, Result

BLOCKS_NAME = "blocks.jsonl"
CAPTURE_NAME = "capture.h5"
#: So many blocks in a row may fail before the run gives up.
MAX_FAILURES = 3

# Blocks of a run that only time ends: as many as a message may wait for.
_NO_END = 1 << 30
#: Sends one block into a folder and distils it; says how many blocks follow.
SendBlock = Callable[[int, Path, int], Result]


@dataclass(frozen=True, slots=True)
class Until:
    """When a continuous run ends: by number, by time, or by whichever is first.

    Parameters
    ----------
    blocks : int or None
    seconds : float or None
        No block begins later than this after the first [s].
    """

    blocks: int | None = None
    seconds: float | None = None

    def reached(self, done: int, spent_s: float) -> bool:
        """Return whether no further block is to begin."""
        if self.blocks is not None and done >= self.blocks:
            return True
        return self.seconds is not None and spent_s >= self.seconds

    def left(self, done: int) -> int:
        """Return how many blocks may still come, this one included [1]."""
        return _NO_END if self.blocks is None else self.blocks - done


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What became of one block, as JSON values.

    Parameters
    ----------
    block : int
    folder : str
    seconds : float
        From its preparation to its result [s].
    secret_bits : int
    exit_code : int
        As if it had been a run of its own.
    verdict : str
        Or the error that ended it.
    """

    block: int
    folder: str
    seconds: float
    secret_bits: int
    exit_code: int
    verdict: str


@dataclass(slots=True)
class Blocks:
    """What became of all blocks of a run."""

    rows: list[BlockRow] = field(default_factory=list)
    delivered: bool = False
    stopped: str = ""

    @property
    def secret_bits(self) -> int:
        """Key of all blocks together [bit]."""
        return sum(row.secret_bits for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 with a key, 3 without."""
        return EXIT_KEY if self.secret_bits else EXIT_NO_KEY

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        seconds = sum(row.seconds for row in self.rows)
        return {
            "blocks": [asdict(row) for row in self.rows],
            "payload_delivered": self.delivered,
            "secret_bits": self.secret_bits,
            "secret_bits_per_s": self.secret_bits / seconds if seconds else 0.0,
            "failed": sum(row.exit_code > EXIT_NO_KEY for row in self.rows),
            "stopped": self.stopped,
        }


def run_blocks(
    loaded: LoadedConfig,
    payload: bytes,
    folder: Path,
    progress: Progress,
    until: Until,
    *,
    keep_captures: bool = True,
) -> Blocks:
    """Send and distil blocks until told to stop.

    The first Ctrl-C ends the run after the block in progress, the second at
    once. Each block's line is in ``blocks.jsonl`` as soon as it is done.

    Parameters
    ----------
    loaded : LoadedConfig
    payload : bytes
        Goes with the first block that delivers it; the others send filler.
    folder : Path
        Run folder, exists.
    progress : Progress
    until : Until
    keep_captures : bool
        Whether raw captures stay once their results are stored.

    Returns
    -------
    Blocks

    Raises
    ------
    DiskSpaceError
        Before the first block, if the disk has no room for what is planned;
        later, if it fills up.
    ScqcError
        Of the bench or a key sink at once; of the signal or the protocol when
        `MAX_FAILURES` blocks in a row have failed.
    """
    done, needed = Blocks(), block_bytes(loaded.config)
    ahead = until.blocks if keep_captures and until.blocks is not None else 2
    require_space(folder, ahead * needed, f"{ahead} blocks")
    began = time.monotonic()
    box = Waiting(payload)
    with (
        _polite_stop(progress) as stop,
        _sender(loaded, box, folder, progress, until.left(0)) as send,
    ):
        while not until.reached(len(done.rows), time.monotonic() - began):
            if stop.is_set():
                done.stopped = "interrupted after a block"
                break
            require_space(folder, needed, "a block")
            number = len(done.rows)
            _one_block(done, number, block_home(folder, number), send, until)
            if not keep_captures:
                (folder / done.rows[-1].folder / CAPTURE_NAME).unlink(missing_ok=True)
            done.delivered = bool(payload) and not box.waiting
            progress.note(_line(done.rows[-1]))
    return done


@dataclass(slots=True)
class Waiting:
    """The payload until it is delivered."""

    waiting: bytes

    def note(self, result: Result) -> None:
        """Take the payload away once a block has delivered it."""
        if result.data.get("payload", {}).get("delivered"):
            self.waiting = b""


def _one_block(
    done: Blocks, number: int, home: Path, send: SendBlock, until: Until
) -> None:
    """Send one block; write down what became of it, also if it failed."""
    start = time.monotonic()
    failure: ScqcError | None = None
    try:
        result = send(number, home, until.left(number))
        bits = int(result.data.get("key", {}).get("secret_bits", 0))
        code, verdict = result.exit_code, result.verdict
    except (SignalError, ProtocolAbort, PeerError) as error:
        failure, bits, code = error, 0, exit_code(error)
        verdict = f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - start, 3)
    row = BlockRow(number, home.name, seconds, bits, code, verdict)
    done.rows.append(row)
    with (home.parent / BLOCKS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")
    latest = done.rows[-MAX_FAILURES:]
    hopeless = all(row.exit_code > EXIT_NO_KEY for row in latest)
    if failure is not None and len(latest) == MAX_FAILURES and hopeless:
        raise failure


def block_home(folder: Path, number: int) -> Path:
    """Return the folder of a block."""
    return folder / f"block-{number:03d}"


def _line(row: BlockRow) -> str:
    return f"block {row.block}: {row.secret_bits} bits in {row.seconds:.1f} s"


def _sender(
    loaded: LoadedConfig, box: Waiting, folder: Path, progress: Progress, blocks: int
) -> AbstractContextManager[SendBlock]:
    config = loaded.config
    if isinstance(config, PhotonConfig):
        return _photon_blocks(loaded, config, box, folder, progress, blocks)
    return _cv_blocks(loaded, config, box, folder, progress)


@contextmanager
def _cv_blocks(
    loaded: LoadedConfig,
    config: CvConfig,
    box: Waiting,
    folder: Path,
    progress: Progress,
) -> Iterator[SendBlock]:
    from scqc.runs.offline import distil_cv
    from scqc.runs.parties.alice import NextBlock
    from scqc.runs.parties.block import BlockName, later_run
    from scqc.runs.parties.opened import open_station
    from scqc.runs.parties.pair import Pair, both_ends
    from scqc.runs.sinks import open_sinks
    from scqc.runs.transmit import check_payload
    from scqc.store.sealed_reader import open_capture

    # What cannot be sent is refused before an instrument is touched.
    check_payload(config, box.waiting)
    with (
        Journal(folder, new_run_uuid()) as journal,
        open_sinks(config, folder) as sinks,
        open_station(config, journal, progress, computing=True) as opened,
    ):
        pair = Pair(config, both_ends(config, sinks, journal), sinks, progress.note)
        light = pair.open_light(loaded, opened)

        def send(number: int, home: Path, left: int) -> Result:
            timing = Timing()
            home.mkdir(parents=True, exist_ok=True)
            run_uuid = later_run(journal.run_uuid, number)
            told = Journal(home, run_uuid), progress, timing
            told[0].write("run", f"{loaded.path.name}, block {number}")
            with timing.stage("capture"):
                block = NextBlock(BlockName(run_uuid), home, box.waiting)
                captured = pair.take(light, block, progress)
            with open_capture(captured.path) as stored:
                result = distil_cv(pair, stored, captured, told)
            box.note(result)
            return result

        yield send


@contextmanager
def _photon_blocks(
    loaded: LoadedConfig,
    config: PhotonConfig,
    box: Waiting,
    folder: Path,
    progress: Progress,
    blocks: int,
) -> Iterator[SendBlock]:
    from protocols.key_sink.schedule import plan_block
    from scqc.runs.parties.opened import open_station
    from scqc.runs.photon.live import RunningBlocks
    from scqc.runs.photon.pads import sink_level
    from scqc.runs.photon.prepare import check_payload
    from scqc.runs.photon.summary import finish_run
    from scqc.runs.sinks import open_sinks

    check_payload(config, box.waiting)
    with (
        Journal(folder, new_run_uuid()) as journal,
        open_sinks(config, folder, config.keys.start_pad_bits) as sinks,
    ):
        # What the sink cannot pay for is refused before any light.
        plan_block(sink_level(config, sinks[0]), 8 * len(box.waiting), blocks)
        with open_station(config, journal, progress, computing=True) as opened:
            running = RunningBlocks(loaded, opened, sinks, progress, journal)

            def send(number: int, home: Path, left: int) -> Result:
                timing = Timing()
                block = running.send((number, home), left, box.waiting, timing)
                result = finish_run([block], config, home, timing, progress, journal)
                box.note(result)
                return result

            yield send


@contextmanager
def _polite_stop(progress: Progress) -> Iterator[threading.Event]:
    """Let the first Ctrl-C only set a flag; the second ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        progress.note("stopping after this block; press Ctrl-C again to stop now")

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
