"""The emulator process: one virtual laboratory, its instruments on loopback.

``python -m sim_backends.serve`` reads one line of JSON from standard input
(`ServeRequest`), starts the emulators, answers with one line of JSON that
names their endpoints, and serves until its input says so or it is told to stop.
A parent that dies closes that input: the emulators stay a little longer, because
the watchdog of its bench makes them safe, and then end too.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pydantic import Field, ValidationError

from scqc.core.errors import ConfigError, ConfigProblem, ScqcError
from scqc.core.settings import Settings
from sim_backends.devices.idq_id900 import IdqId900
from sim_backends.devices.itla_msa import ItlaModule
from sim_backends.devices.keysight_infiniium import KeysightInfiniium
from sim_backends.devices.keysight_m8190a import KeysightM8190A
from sim_backends.devices.keysight_m8195a import KeysightM8195A
from sim_backends.devices.keysight_n7776c import KeysightN7776C
from sim_backends.devices.lab import Cables, Light
from sim_backends.devices.line_switch import LineSwitch, SwitchWords
from sim_backends.devices.ozoptics_dd100 import OzOpticsDd100
from sim_backends.devices.ozoptics_epc import OzOpticsEpc
from sim_backends.devices.redpitaya_stemlab import RedPitayaStemlab
from sim_backends.devices.singlequantum_websq import SingleQuantumWebSq
from sim_backends.devices.tektronix_awg70000 import TektronixAwg70000
from sim_backends.devices.tektronix_mso import TektronixMso
from sim_backends.devices.thorlabs_mbx import ThorlabsMbx
from sim_backends.devices.thorlabs_mdt693b import ThorlabsMdt693b
from sim_backends.devices.thorlabs_pm100 import ThorlabsPm100
from sim_backends.emulators import EmulatorTable, Server
from sim_backends.faults import Fault, FaultPlan
from sim_backends.photon_settings import PhotonSimSettings
from sim_backends.photon_world import PhotonWorld
from sim_backends.settings import (
    AwgSettings,
    DigitizerSettings,
    ModulatorSettings,
    SimSettings,
)
from sim_backends.wire.hislip import HislipServer
from sim_backends.wire.json_tcp import WebsqServer
from sim_backends.wire.listen import LOOPBACK, listen_at
from sim_backends.wire.pty_frame import frame_server
from sim_backends.wire.pty_line import line_server
from sim_backends.wire.tcp_scpi import ScpiServer
from sim_backends.wire.truth_tap import TruthTap
from sim_backends.wire.zmq_tagger import ZmqTaggerServer
from sim_backends.world import World

SIGNAL_INPUT = "rx.rf"
# Instruments in a laboratory stay when the program dies; these stay as long.
LINGER_S = 2.0


class EmulatedInstrument(Settings):
    """Which instrument to emulate, on which port (0: any), with which words."""

    driver: str
    port: int = Field(default=0, ge=0, le=65535)
    commands: SwitchWords = SwitchWords()


class ServeRequest(Settings):
    """What to emulate, and where it listens.

    `tap` opens the truth tap, which only tests use and which is on loopback always.
    """

    sim: SimSettings | PhotonSimSettings
    instruments: dict[str, EmulatedInstrument]
    wiring: dict[str, str] = Field(default_factory=dict)
    tap: bool = False
    host: str = LOOPBACK


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
        If a driver has no emulator, a fault is unknown, or an instrument does not
        speak the transport chosen for it.
    """

    def __init__(self, request: ServeRequest, light: Light | None = None) -> None:
        self._request = request
        self.cables = Cables(
            light or _world(request.sim, keep_truth=request.tap),
            request.wiring,
            keep_played=request.tap,
        )
        # All devices exist before the first port opens.
        self.devices = {name: self._device(name) for name in request.instruments}
        serve = {name: self._wire(name) for name in request.instruments}
        self.servers: dict[str, Server] = {
            name: serve[name](self.devices[name], wanted.port)
            for name, wanted in request.instruments.items()
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

    def _device(self, name: str) -> Any:
        planned = self._request.sim.faults.get(name, [])
        faults = FaultPlan(
            name, [Fault(f.at, f.kind, f.count, f.after) for f in planned]
        )
        driver = self._request.instruments[name].driver
        if driver not in _EMULATORS:
            limit = (
                f"no emulator for this driver; there are {', '.join(_EMULATORS.names)}"
            )
            raise ConfigError(
                [
                    ConfigProblem(
                        "config", f"instruments.{name}", "driver", driver, limit
                    )
                ]
            )
        return _EMULATORS[driver][0](name, self.cables, faults, self._request)

    def _wire(self, name: str) -> Callable[[Any, int], Server]:
        """Return the server for the transport that is chosen for an instrument."""
        usual = _EMULATORS[self._request.instruments[name].driver][1]
        chosen = self._request.sim.transports.get(name)
        if chosen is None:
            return usual
        if usual is not ScpiServer:
            limit = "only instruments that speak SCPI have a choice of transport"
            problem = ConfigProblem("config", "sim.transports", name, chosen, limit)
            raise ConfigError([problem])
        return HislipServer if chosen == "hislip" else ScpiServer


def _world(sim: SimSettings | PhotonSimSettings, *, keep_truth: bool) -> Light:
    """Return the physics that these settings describe.

    Truth is kept for a tap that reads it only: a laboratory runs for days.
    """
    if isinstance(sim, SimSettings):
        return World(sim)
    return PhotonWorld(sim, keep_truth)


def _awg(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> KeysightM8190A:
    settings = getattr(request.sim, "awg", AwgSettings())
    return KeysightM8190A(name, cables, faults, settings.bits)


def _fast_awg(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> KeysightM8195A:
    settings = getattr(request.sim, "awg", AwgSettings())
    return KeysightM8195A(name, cables, faults, settings.bits)


def _tektronix_awg(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> TektronixAwg70000:
    settings = getattr(request.sim, "awg", AwgSettings())
    return TektronixAwg70000(name, cables, faults, settings.bits)


def _scope(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> KeysightInfiniium:
    settings = getattr(request.sim, "digitizer", DigitizerSettings())
    channel = _input_channel(name, request)
    return KeysightInfiniium(name, cables, faults, settings.bits, channel)


def _red_pitaya(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> RedPitayaStemlab:
    return RedPitayaStemlab(name, cables, faults, _input_channel(name, request))


def _tektronix_scope(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> TektronixMso:
    settings = getattr(request.sim, "digitizer", DigitizerSettings())
    channel = _input_channel(name, request)
    return TektronixMso(name, cables, faults, settings.bits, channel)


def _websq(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> SingleQuantumWebSq:
    return SingleQuantumWebSq(name, cables, faults, request.sim.settle_scale)


def _keysight_laser(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> KeysightN7776C:
    return KeysightN7776C(name, cables, faults, request.sim.settle_scale)


def _power_meter(
    name: str, cables: Cables, faults: FaultPlan, _request: ServeRequest
) -> ThorlabsPm100:
    return ThorlabsPm100(name, cables, faults)


def _input_channel(name: str, request: ServeRequest) -> int:
    """Return the input that the detector is plugged into: 2 of ``rp:in2``."""
    instrument, _, port = request.wiring.get(SIGNAL_INPUT, "").partition(":")
    return int(port.removeprefix("in")) if instrument == name else 1


def _tagger(
    name: str, cables: Cables, faults: FaultPlan, _request: ServeRequest
) -> IdqId900:
    return IdqId900(name, cables, faults)


def _phase(
    name: str, cables: Cables, faults: FaultPlan, _request: ServeRequest
) -> ThorlabsMdt693b:
    return ThorlabsMdt693b(name, cables, faults)


def _itla(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> ItlaModule:
    return ItlaModule(name, cables, faults, request.sim.settle_scale)


def _dd100(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> OzOpticsDd100:
    return OzOpticsDd100(name, cables, faults, request.sim.settle_scale)


def _epc(
    name: str, cables: Cables, faults: FaultPlan, _request: ServeRequest
) -> OzOpticsEpc:
    return OzOpticsEpc(name, cables, faults)


def _line_switch(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> LineSwitch:
    words, scale = request.instruments[name].commands, request.sim.settle_scale
    return LineSwitch(name, cables, faults, words, scale)


def _mbx(
    name: str, cables: Cables, faults: FaultPlan, request: ServeRequest
) -> ThorlabsMbx:
    modulator = getattr(request.sim, "modulator", ModulatorSettings())
    scale, v_pi_v = request.sim.settle_scale, modulator.v_pi_v
    return ThorlabsMbx(name, cables, faults, scale, v_pi_v)


#: For each driver: how its instrument is emulated, and on which wire it is served.
_EMULATORS = EmulatorTable(
    {
        "keysight.m8190a": (_awg, ScpiServer),
        "keysight.m8195a": (_fast_awg, ScpiServer),
        "tektronix.awg70000": (_tektronix_awg, ScpiServer),
        "keysight.infiniium": (_scope, ScpiServer),
        "redpitaya.stemlab": (_red_pitaya, ScpiServer),
        "tektronix.mso": (_tektronix_scope, ScpiServer),
        "keysight.n7776c": (_keysight_laser, ScpiServer),
        "singlequantum.websq": (_websq, WebsqServer),
        "thorlabs.pm100": (_power_meter, ScpiServer),
        "idq.id900": (_tagger, ZmqTaggerServer),
        "thorlabs.mdt693b": (_phase, line_server),
        "itla.msa": (_itla, frame_server),
        "ozoptics.dd100": (_dd100, line_server),
        "ozoptics.epc": (_epc, line_server),
        "thorlabs.mbx": (_mbx, line_server),
        "generic.line_switch": (_line_switch, line_server),
    }
)


def _stop_on_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Serve one request from standard input; return the exit code."""
    signal.signal(signal.SIGTERM, _stop_on_signal)
    try:
        request = ServeRequest.model_validate_json(sys.stdin.readline())
        listen_at(request.host)
        lab = EmulatedLab(request)
    except (ValidationError, ScqcError, OSError) as error:
        sys.stderr.write(f"emulators not started: {error}\n")
        return 2
    try:
        sys.stdout.write(json.dumps({"endpoints": lab.endpoints}) + "\n")
        sys.stdout.flush()
        if not sys.stdin.readline():
            time.sleep(LINGER_S)
    except KeyboardInterrupt:
        return 130
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
