"""The bench of a run, open: of both parties, or of one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from driver.bench import Bench
from driver.guard import Supervision
from driver.set_points import set_up_light
from driver.settings import InstrumentSettings, SafetySettings
from driver.watch_plan import HANG_S
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LabConfig
from scqc.runs.parties.half import Half, own_instruments, own_wiring
from scqc.runs.progress import Progress
from scqc.runs.recovery import Recovery
from scqc.runs.station import Station, served_elsewhere, station
from scqc.runs.transmit import driven_launch
from scqc.store.results import Sender

#: A service distils one block while the light of the next is on: its heart may miss
#: beats while numpy holds the interpreter's lock, on a busy computer for long [s].
COMPUTING_HANG_S = 3.0


@dataclass(frozen=True, slots=True)
class OpenStation:
    """An open bench with its light set up.

    Parameters
    ----------
    bench : Bench
    recovery : Recovery
    config : LabConfig
    """

    bench: Bench
    recovery: Recovery
    config: LabConfig

    def half(self, party: Sender) -> Half:
        """Return what belongs to a party."""
        return Half(self.bench, self.config, party)


@contextmanager
def open_station(
    config: LabConfig, journal: Journal, progress: Progress, *, computing: bool = False
) -> Iterator[OpenStation]:
    """Open the instruments of both parties; with ``[sim]`` their emulators too.

    Parameters
    ----------
    config : LabConfig
    journal : Journal
    progress : Progress
    computing : bool
        Whether keys are distilled while the bench is open.

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    """
    progress.stage("station")
    # A simulated laboratory computes its light on the same computer.
    busy = computing or config.sim is not None
    hang_s = COMPUTING_HANG_S if busy else HANG_S
    with (
        station(config.instruments, config.wiring, config.sim) as place,
        _open(place, config, config.safety, journal, hang_s) as opened,
    ):
        yield opened


@contextmanager
def open_own_station(
    config: LabConfig, party: Sender, served: Path | None, journal: Journal
) -> Iterator[OpenStation]:
    """Open the instruments of one party; the emulators run elsewhere, if any.

    Parameters
    ----------
    config : LabConfig
    party : {"alice", "bob"}
    served : Path or None
        What ``scqc serve-sim`` wrote; None on a real bench.
    journal : Journal

    Raises
    ------
    ConfigError
        If a simulated bench is not said to be served, or a real one is.
    InstrumentError
        If an instrument does not answer or is not the expected one.
    """
    instruments = own_instruments(config, party)
    place = served_elsewhere(instruments, own_wiring(config, party), config.sim, served)
    exits = tuple(
        a for a in config.safety.on_exit if a.partition(".")[0] in instruments
    )
    safety = config.safety.model_copy(update={"on_exit": exits})
    with _open(place, config, safety, journal, COMPUTING_HANG_S) as opened:
        yield opened


@contextmanager
def _open(
    place: Station,
    config: LabConfig,
    safety: SafetySettings,
    journal: Journal,
    hang_s: float,
) -> Iterator[OpenStation]:
    watch = Supervision(journal=journal.path, run_uuid=journal.run_uuid, hang_s=hang_s)
    # Only what plays Alice's part launches anything.
    driven = None
    if isinstance(config, CvConfig) and "tx.i" in place.wiring:
        driven = driven_launch(config)
    with Bench(place.instruments, place.wiring, safety, watch, driven) as bench:
        journal.write("bench", json.dumps(bench.snapshot(), default=str))
        own: Mapping[str, InstrumentSettings] = {
            name: config.instruments[name] for name in place.instruments
        }
        timeout_s = light_timeout_s(config)
        set_up_light(bench, own, timeout_s)
        yield OpenStation(bench, Recovery(bench, own, journal, timeout_s), config)
    journal.write("bench", "safe state")


def light_timeout_s(config: LabConfig) -> float:
    """Return the deadline of lasers and controllers [s]."""
    if isinstance(config, CvConfig):
        return config.bob.digitizer.timeout_s
    return config.bob.tagger.timeout_s
