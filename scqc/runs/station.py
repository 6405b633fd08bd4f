"""The bench a run connects to: as configured, or emulated.

With ``[sim]`` the emulators are started in a process of their own and every
instrument's resource is pointed at its emulator. Nothing else changes: the
drivers are the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from driver.links import is_file
from driver.settings import InstrumentSettings
from scqc.core.errors import ConfigError, ConfigProblem, ConnectError
from sim_backends.photon_settings import PhotonSimSettings
from sim_backends.settings import SimSettings

START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 3.0
_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Station:
    """What a `Bench` is built from.

    Parameters
    ----------
    instruments : mapping of str to InstrumentSettings
        With the resources to connect to.
    wiring : mapping of str to str
    tap : str or None
        Endpoint of the truth tap; only with emulators, and only for tests.
    pid : int or None
        The emulator process.
    """

    instruments: Mapping[str, InstrumentSettings]
    wiring: Mapping[str, str]
    tap: str | None = None
    pid: int | None = None


@contextmanager
def station(
    instruments: Mapping[str, InstrumentSettings],
    wiring: Mapping[str, str],
    sim: SimSettings | PhotonSimSettings | None,
    *,
    tap: bool = False,
    host: str = "127.0.0.1",
    start_timeout_s: float = START_TIMEOUT_S,
) -> Iterator[Station]:
    """Provide the instruments for the time of the block.

    Parameters
    ----------
    instruments, wiring : mapping
        As configured.
    sim : SimSettings, PhotonSimSettings or None
        The virtual laboratory; None for a real bench, which is left alone.
    tap : bool
        Whether the emulators keep what was played for a test to read.
    host : str
        Address the emulators listen at.
    start_timeout_s : float
        Deadline for the emulators to be ready [s].

    Raises
    ------
    ConnectError
        If the emulators do not start in time; with the end of what they said.
    """
    if sim is None:
        yield Station(instruments, wiring)
        return
    # A recorded file needs no emulator: it is played as it is.
    served = {n: s for n, s in instruments.items() if not is_file(s.resource)}
    request = {
        "sim": sim.model_dump(mode="json"),
        "instruments": {n: _emulated(n, s, sim) for n, s in served.items()},
        "wiring": dict(wiring),
        "tap": tap,
        "host": host,
    }
    with tempfile.TemporaryFile() as log:
        process = _spawn(log)
        try:
            endpoints = _start(process, json.dumps(request), log, start_timeout_s)
            yield Station(
                {
                    **instruments,
                    **{
                        name: settings.model_copy(update={"resource": endpoints[name]})
                        for name, settings in served.items()
                    },
                },
                wiring,
                endpoints.get("tap"),
                process.pid,
            )
        finally:
            _stop(process)


def served_elsewhere(
    instruments: Mapping[str, InstrumentSettings],
    wiring: Mapping[str, str],
    sim: SimSettings | PhotonSimSettings | None,
    served: Path | None,
) -> Station:
    """Return the instruments as another program serves them, or as they are.

    Parameters
    ----------
    instruments, wiring : mapping
        As configured.
    sim : SimSettings, PhotonSimSettings or None
    served : Path or None
        What ``scqc serve-sim`` wrote: where each emulator listens.

    Raises
    ------
    ConfigError
        If a simulated bench is served nowhere, or a real one somewhere, or the
        file is none of ``scqc serve-sim``.
    """
    if sim is None and served is None:
        return Station(instruments, wiring)
    if sim is None or served is None:
        limit = (
            "a simulated bench of two programs is served by a third: run `scqc "
            "serve-sim CONFIG --endpoints FILE` and give --lab FILE here"
            if served is None
            else "a bench without [sim] is not served by anybody; leave --lab out"
        )
        raise ConfigError([ConfigProblem("--lab", "", "served", str(served), limit)])
    try:
        found = json.loads(served.read_text(encoding="utf-8"))["endpoints"]
        endpoints = {name: str(found[name]) for name in instruments}
    except (OSError, ValueError, KeyError, TypeError) as error:
        limit = f"is not what `scqc serve-sim` writes of this bench: {error}"
        raise ConfigError(
            [ConfigProblem("--lab", "", "served", str(served), limit)]
        ) from error
    return Station(
        {
            name: settings.model_copy(update={"resource": endpoints[name]})
            for name, settings in instruments.items()
        },
        wiring,
    )


def _emulated(
    name: str, settings: InstrumentSettings, sim: SimSettings | PhotonSimSettings
) -> dict[str, object]:
    wanted: dict[str, object] = {
        "driver": settings.driver,
        "port": (sim.ports or {}).get(name, 0),
    }
    if settings.commands is not None:
        wanted["commands"] = settings.commands.model_dump()
    return wanted


def _spawn(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the emulator process in a session of its own.

    Ctrl-C reaches everything in the terminal's session; the emulators must
    outlive it, because the drivers still have to make them safe.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "sim_backends.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=os.name == "posix",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _start(
    process: subprocess.Popen[bytes], request: str, log: IO[bytes], timeout_s: float
) -> dict[str, str]:
    """Hand over the request and return the endpoints."""
    replies: list[bytes] = []

    def exchange() -> None:
        if process.stdin is None or process.stdout is None:
            return
        try:
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            replies.append(process.stdout.readline())
        except OSError:
            replies.append(b"")

    # Reading a pipe has no deadline of its own on every system.
    worker = threading.Thread(target=exchange, name="station-start", daemon=True)
    worker.start()
    worker.join(timeout_s)
    if worker.is_alive():
        process.kill()
        worker.join()
        raise _not_started(f"not ready within {timeout_s:g} s", log)
    try:
        endpoints: dict[str, str] = json.loads(replies[0])["endpoints"]
    except (ValueError, KeyError, IndexError) as error:
        process.kill()
        process.wait()
        raise _not_started("ended before it was ready", log) from error
    return endpoints


def _not_started(reason: str, log: IO[bytes]) -> ConnectError:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL_BYTES))
    tail = log.read().decode(errors="replace").strip()
    return ConnectError("emulators", "start", f"{reason}: {tail or 'no output'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: politely, then firmly."""
    if process.stdin is not None:
        try:
            process.stdin.write(b"end\n")
            process.stdin.close()
        except OSError:
            # It is gone already; so is its input.
            process.poll()
    for end in (None, process.terminate, process.kill):
        if end is not None:
            end()
        try:
            process.wait(_STOP_TIMEOUT_S)
            break
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        process.stdout.close()
