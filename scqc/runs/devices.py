"""Ask every instrument of a bench who it is; serve a simulated bench."""

from __future__ import annotations

import threading
from collections.abc import Callable

from driver.bench import Bench
from driver.guard import Supervision
from scqc.core.errors import ConfigError, ConfigProblem, InstrumentError
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.station import Station, station

#: Opened in its safe state and closed again: there is nothing to watch.
NOT_ARMED = Supervision(watchdog=False)


def identify(loaded: LoadedConfig) -> list[dict[str, str]]:
    """Open each instrument alone, ask for its identity, leave it safe.

    Parameters
    ----------
    loaded : LoadedConfig

    Returns
    -------
    list of dict
        Per instrument ``name``, ``role``, ``driver``, ``resource`` and either
        ``identity`` or ``error``.
    """
    config = loaded.config
    with station(config.instruments, config.wiring, config.sim) as place:
        return [_ask(place, name) for name in place.instruments]


def _ask(place: Station, name: str) -> dict[str, str]:
    settings = place.instruments[name]
    row = {
        "name": name,
        "role": ", ".join(settings.roles),
        "driver": settings.driver,
        "resource": settings.resource,
    }
    try:
        with Bench({name: settings}, {}, supervision=NOT_ARMED) as bench:
            who = bench.instrument(name).identity
    except InstrumentError as error:
        return row | {"error": str(error)}
    text = f"{who.vendor} {who.model}, serial {who.serial}, firmware {who.firmware}"
    return row | {"identity": text}


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
