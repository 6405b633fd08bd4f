"""Ask every instrument of a bench who and how it is; serve a simulated bench."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from driver.bench import Bench
from driver.guard import Supervision
from scqc.core.errors import ConfigError, ConfigProblem, InstrumentError
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.station import Station, station

#: Opened in its safe state and closed again: there is nothing to watch.
NOT_ARMED = Supervision(watchdog=False)


#: Self-tests of some instruments take their time [s].
SELF_TEST_S = 120.0


def survey(loaded: LoadedConfig, *, self_test: bool = True) -> list[dict[str, Any]]:
    """Ask each instrument who it is and how it is; leave it in its safe state.

    Parameters
    ----------
    loaded : LoadedConfig
    self_test : bool
        Whether each is told to test itself, if it can.

    Returns
    -------
    list of dict
        Per instrument ``name``, ``role``, ``driver``, ``resource`` and either
        ``error``, or ``identity``, ``self_test`` and ``settings``.
    """
    config = loaded.config
    with station(config.instruments, config.wiring, config.sim) as place:
        names = list(place.instruments)
        # Each is asked alone: one that fails hides nothing of the others.
        with ThreadPoolExecutor(max(1, len(names)), "survey") as pool:
            return list(pool.map(lambda name: _ask(place, name, self_test), names))


def _ask(place: Station, name: str, self_test: bool) -> dict[str, Any]:
    settings = place.instruments[name]
    row: dict[str, Any] = {
        "name": name,
        "role": ", ".join(settings.roles),
        "driver": settings.driver,
        "resource": settings.resource,
    }
    try:
        with Bench({name: settings}, {}, supervision=NOT_ARMED) as bench:
            instrument = bench.instrument(name)
            tested = "not asked"
            if self_test:
                passed = bench.self_test(name, max(SELF_TEST_S, settings.io_timeout_s))
                tested = "passed" if passed else "has none; it answers"
            who, found = instrument.identity, instrument.snapshot()
    except InstrumentError as error:
        return row | {"error": str(error)}
    text = f"{who.vendor} {who.model}, serial {who.serial}, firmware {who.firmware}"
    return row | {"identity": text, "self_test": tested, "settings": found}


def serve(
    loaded: LoadedConfig,
    ready: Callable[[dict[str, str]], None],
    stop: threading.Event | None = None,
) -> None:
    """Run the emulators of a simulated bench until stopped.

    Parameters
    ----------
    loaded : LoadedConfig
    ready : callable
        Gets the endpoint of every instrument once all listen.
    stop : Event, optional
        Ends the service; Ctrl-C does too.

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
    with station(config.instruments, config.wiring, config.sim) as place:
        ready({name: s.resource for name, s in place.instruments.items()})
        (stop or threading.Event()).wait()
