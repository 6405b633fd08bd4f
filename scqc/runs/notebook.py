"""The three calls for notebooks: open a bench, process a capture, read one.

with scqc.open_bench("lab.toml") as bench: ...
result = scqc.process("runs/x/capture.h5")
capture = scqc.load_capture("runs/x/capture.h5")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driver.bench import Bench
from scqc.runs.cv_config import CvConfig
from scqc.runs.lab_config import load_config
from scqc.runs.offline import process_capture
from scqc.runs.progress import Silent
from scqc.runs.result import Result
from scqc.runs.station import station
from scqc.runs.transmit import driven_launch
from scqc.store.sealed_reader import Capture, open_capture


@contextmanager
def open_bench(path: str | Path) -> Iterator[Bench]:
    """Open the bench of a lab config; it is left in its safe state.

    The limit of `safety` holds for lasers and, with continuous variables, for the
    waveforms of the generator.

    Parameters
    ----------
    path : str or Path
        Lab config; with ``[sim]`` the emulators are started and stopped too.

    Yields
    ------
    Bench

    Raises
    ------
    ConfigError, InstrumentError
    """
    config = load_config(path).config
    driven = driven_launch(config) if isinstance(config, CvConfig) else None
    with (
        station(config.instruments, config.wiring, config.sim) as place,
        Bench(place.instruments, place.wiring, config.safety, driven=driven) as bench,
    ):
        yield bench


def process(
    capture: str | Path,
    folder: str | Path | None = None,
    alice: Path | None = None,
    symbols: Path | None = None,
) -> Result:
    """Process a capture; see `scqc.runs.offline.process_capture`.

    Parameters
    ----------
    capture : str or Path
    folder : str or Path, optional
        For the results; by default ``processed`` beside the capture.
    alice : Path, optional
        Alice's record; by default beside the capture.
    symbols : Path, optional
        Alice's symbols of a foreign capture.
    """
    capture = Path(capture)
    target = Path(folder) if folder is not None else capture.parent / "processed"
    return process_capture(capture, target, Silent(), alice, symbols)


def load_capture(path: str | Path) -> Capture:
    """Open a capture for reading; use it as a context manager."""
    return open_capture(Path(path))
