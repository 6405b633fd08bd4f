"""The emulator process: one virtual laboratory, its instruments on loopback.

``python -m sim_backends.serve`` reads one line of JSON from standard input
(`ServeRequest`), starts the emulators, answers with one line of JSON that
names their endpoints, and serves until its input ends or it is told to stop.
A parent that dies closes that input, so no emulator outlives its program.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import socket
import sys
import threading
from types import FrameType

import numpy as np
from pydantic import Field, ValidationError

from scqc.core.errors import ConfigError, ConfigProblem, ScqcError
from scqc.core.settings import Settings
from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.keysight_infiniium import KeysightInfiniium
from sim_backends.devices.keysight_m8190a import KeysightM8190A
from sim_backends.devices.lab import Cables, Light
from sim_backends.faults import Fault, FaultPlan
from sim_backends.settings import SimSettings
from sim_backends.wire.tcp_scpi import ScpiServer
from sim_backends.world import World

SIGNAL_INPUT = "rx.rf"


class EmulatedInstrument(Settings):
    """Which instrument to emulate, and on which port (0: any)."""

    driver: str
    port: int = Field(default=0, ge=0, le=65535)


class ServeRequest(Settings):
    """What to emulate. `tap` opens the truth tap, which only tests use."""

    sim: SimSettings
    instruments: dict[str, EmulatedInstrument]
    wiring: dict[str, str] = Field(default_factory=dict)
    tap: bool = False


class EmulatedLab:
    """The servers of one virtual laboratory.

    Parameters
    ----------
    request : ServeRequest
    light : Light or None
        The physics behind the instruments; built from the request by default.

    Raises
    ------
    ConfigError
        If a driver has no emulator or a fault is unknown.
    """

    def __init__(self, request: ServeRequest, light: Light | None = None) -> None:
        self._request = request
        self.cables = Cables(
            light or World(request.sim), request.wiring, keep_played=request.tap
        )
        # All devices exist before the first port opens.
        self.devices = {name: self._device(name) for name in request.instruments}
        self.servers = {
            name: ScpiServer(device, request.instruments[name].port)
            for name, device in self.devices.items()
        }
        self._tap = TruthTap(self.cables) if request.tap else None

    @property
    def endpoints(self) -> dict[str, str]:
        """Where each instrument listens; ``tap`` is the truth tap."""
        found = {name: server.endpoint for name, server in self.servers.items()}
        if self._tap is not None:
            found["tap"] = self._tap.endpoint
        return found

    def close(self) -> None:
        """Stop all servers; calling it again does nothing."""
        for server in self.servers.values():
            server.close()
        if self._tap is not None:
            self._tap.close()

    def _device(self, name: str) -> ScpiDevice:
        settings = self._request.sim
        faults = FaultPlan(
            name, [Fault(f.at, f.kind, f.count) for f in settings.faults.get(name, [])]
        )
        driver = self._request.instruments[name].driver
        if driver == "keysight.m8190a":
            return KeysightM8190A(name, self.cables, faults, settings.awg.bits)
        if driver == "keysight.infiniium":
            _, _, channel = self._request.wiring.get(SIGNAL_INPUT, ":1").partition(":")
            return KeysightInfiniium(
                name, self.cables, faults, settings.digitizer.bits, int(channel)
            )
        known = "keysight.m8190a, keysight.infiniium"
        limit = f"no emulator for this driver; there are {known}"
        raise ConfigError(
            [ConfigProblem("config", f"instruments.{name}", "driver", driver, limit)]
        )


class TruthTap:
    """Sends what the generator was given to play, as a run of ``.npy`` arrays.

    Every connection gets all waveforms so far, shape (2, n), int16 [code], and
    is then closed. Only tests read it; no driver knows of it.
    """

    def __init__(self, cables: Cables) -> None:
        self._cables = cables
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="tap", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where tests connect."""
        return f"tcp://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Stop serving."""
        self._closing = True
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._port), timeout=1.0),
        ):
            pass
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._closing:
                    return
                with contextlib.suppress(OSError):
                    for codes in list(self._cables.played):
                        file = io.BytesIO()
                        np.save(file, codes)
                        connection.sendall(file.getbuffer())


def _stop_on_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Serve one request from standard input; return the exit code."""
    signal.signal(signal.SIGTERM, _stop_on_signal)
    try:
        request = ServeRequest.model_validate_json(sys.stdin.readline())
        lab = EmulatedLab(request)
    except (ValidationError, ScqcError, OSError) as error:
        sys.stderr.write(f"emulators not started: {error}\n")
        return 2
    try:
        sys.stdout.write(json.dumps({"endpoints": lab.endpoints}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    except KeyboardInterrupt:
        return 130
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
