"""A bench whose instruments answer from a transcript."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from driver.registry import DRIVERS
from driver.settings import InstrumentSettings
from scqc.core.errors import CaptureError
from scqc.runs.lab_config import LabConfig
from scqc.runs.station import Station
from sim_backends.wire.byte_server import TcpByteServer
from sim_backends.wire.replay import (
    ReplayRequests,
    Script,
    Transcript,
    replay_stream,
)


@contextmanager
def replayed(config: LabConfig, transcript: Transcript) -> Iterator[Station]:
    """Serve the instruments of a config from a transcript, for the time of the block.

    Parameters
    ----------
    config : LabConfig
    transcript : Transcript
        Of the same instruments.

    Raises
    ------
    CaptureError
        If an instrument is not in the transcript, or was another one; on leaving,
        if something was said that was not recorded.
    """
    servers: list[ReplayRequests | TcpByteServer] = []
    scripts: list[Script] = []
    places: dict[str, InstrumentSettings] = {}
    try:
        for name, settings in config.instruments.items():
            driver = transcript.instruments.get(name)
            if driver != settings.driver:
                raise CaptureError(
                    f"transcript: {name} was {driver or 'not recorded'}, the config "
                    f"has {settings.driver}"
                )
            messages = transcript.of(name)
            if DRIVERS[settings.driver].link == "idq":
                requests = ReplayRequests(name, messages)
                servers.append(requests)
                scripts += requests.scripts.values()
                resource = requests.endpoint
            else:
                script = Script(name, messages)
                scripts.append(script)
                stream = replay_stream(script)
                servers.append(stream)
                scpi = DRIVERS[settings.driver].link.startswith("scpi")
                scheme = "tcp" if scpi else "socket"
                resource = f"{scheme}://127.0.0.1:{stream.port}"
            places[name] = settings.model_copy(update={"resource": resource})
        yield Station(places, config.wiring)
    finally:
        for server in servers:
            server.close()
    complaints = [text for script in scripts for text in script.complaints]
    if complaints:
        raise CaptureError("transcript: " + "; ".join(complaints))
