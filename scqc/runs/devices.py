"""Ask every instrument of a bench who and how it is; serve a simulated bench."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from driver.bench import Bench
from driver.guard import Supervision
from driver.set_point_ranges import misfits
from driver.transports.recording import Recorder, recorded
from scqc.core.errors import ConfigError, ConfigProblem, InstrumentError
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.replay import replayed
from scqc.runs.station import Station, station
from scqc.store.files import capture_errors, write_atomically
from sim_backends.wire.replay import read_transcript

Tap = Callable[[Any], Any]

#: Opened in its safe state and closed again: there is nothing to watch.
NOT_ARMED = Supervision(watchdog=False)


#: Self-tests of some instruments take their time [s].
SELF_TEST_S = 120.0


def survey(
    loaded: LoadedConfig,
    *,
    self_test: bool = True,
    record: Path | None = None,
    replay: Path | None = None,
) -> list[dict[str, Any]]:
    """Ask each instrument who it is and how it is; leave it in its safe state.

    Set-points are compared with what each can take; none is sent.

    Parameters
    ----------
    loaded : LoadedConfig
    self_test : bool
        Whether each is told to test itself, if it can.
    record : Path, optional
        New file for everything that goes over the wire.
    replay : Path, optional
        Such a file, to be asked in the place of the instruments.

    Returns
    -------
    list of dict
        Per instrument ``name``, ``role``, ``driver``, ``resource`` and either
        ``error``, or ``identity``, ``self_test`` and ``settings``.

    Raises
    ------
    CaptureError
        If the file to be written exists, or the one to be read is no transcript.
    """
    config = loaded.config
    with ExitStack() as opened:
        tap: Tap | None = None
        if record is not None:
            drivers = {name: s.driver for name, s in config.instruments.items()}
            recorder = opened.enter_context(Recorder(record, drivers))
            tap = partial(recorded, recorder=recorder)
        if replay is None:
            place = opened.enter_context(
                station(config.instruments, config.wiring, config.sim)
            )
        else:
            place = opened.enter_context(replayed(config, read_transcript(replay)))
        names = list(place.instruments)
        ask = partial(_ask, place, self_test, tap)
        # Each is asked alone: one that fails hides nothing of the others.
        with ThreadPoolExecutor(max(1, len(names)), "survey") as pool:
            return list(pool.map(ask, names))


def _ask(place: Station, self_test: bool, tap: Tap | None, name: str) -> dict[str, Any]:
    settings = place.instruments[name]
    row: dict[str, Any] = {
        "name": name,
        "role": ", ".join(settings.roles),
        "driver": settings.driver,
        "resource": settings.resource,
    }
    try:
        with Bench({name: settings}, {}, supervision=NOT_ARMED, tap=tap) as bench:
            instrument = bench.instrument(name)
            tested = "not asked"
            if self_test:
                passed = bench.self_test(name, max(SELF_TEST_S, settings.io_timeout_s))
                tested = "passed" if passed else "has none; it answers"
            who, found = instrument.identity, instrument.snapshot()
            unfit = misfits(instrument, settings)
    except InstrumentError as error:
        return row | {"error": str(error)}
    if unfit:
        return row | {"error": f"{name}: {who.model} cannot take {'; '.join(unfit)}"}
    text = f"{who.vendor} {who.model}, serial {who.serial}, firmware {who.firmware}"
    return row | {"identity": text, "self_test": tested, "settings": found}


def serve(
    loaded: LoadedConfig,
    ready: Callable[[dict[str, str]], None],
    stop: threading.Event | None = None,
    host: str = "127.0.0.1",
) -> None:
    """Run the emulators of a simulated bench until stopped.

    Parameters
    ----------
    loaded : LoadedConfig
    ready : callable
        Gets the endpoint of every instrument once all listen.
    stop : Event, optional
        Ends the service; Ctrl-C does too.
    host : str
        Address to listen at; other computers reach nothing but it.

    Raises
    ------
    ConfigError
        If the config has no ``[sim]``.
    """
    config = loaded.config
    if config.sim is None:
        limit = "only a bench with a [sim] table can be served"
        problem = ConfigProblem(str(loaded.path), "", "sim", "absent", limit)
        raise ConfigError([problem])
    with station(config.instruments, config.wiring, config.sim, host=host) as place:
        ready({name: s.resource for name, s in place.instruments.items()})
        (stop or threading.Event()).wait()


def write_endpoints(path: Path, endpoints: dict[str, str]) -> None:
    """Write where each emulator listens, whole or not at all, for other programs.

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    with capture_errors(path, "write endpoints"):
        text = json.dumps({"endpoints": endpoints}, indent=2) + "\n"
        write_atomically(path, iter([text.encode()]))
