"""A served two-instrument bench with trivial light, for tests of the wire."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from driver.bench import Bench
from driver.settings import InstrumentSettings, SafetySettings
from sim_backends.serve import EmulatedInstrument, EmulatedLab, ServeRequest
from sim_backends.settings import FaultSettings, SimSettings

WIRING = {
    "tx.i": "awg:1",
    "tx.q": "awg:2",
    "rx.rf": "scope:1",
    "switch.signal": "awg:marker1",
    "switch.lo": "awg:marker2",
}
RATE_HZ = 400e6
AMPLITUDE_VPP = {1: 0.5, 2: 0.5}


@dataclass
class PlainLight:
    """Channel 1 straight into the digitiser, a known number of samples late."""

    offset: int = 37
    waveform: np.ndarray | None = None
    played_v: list = field(default_factory=list)
    levels: dict = field(default_factory=dict)
    records: list = field(default_factory=list)

    def play(self, samples_v, rate_hz):
        self.waveform = samples_v
        self.played_v.append((samples_v, rate_hz))

    def stop(self):
        self.waveform = None

    def set_level(self, switch, volts):
        self.levels[switch] = volts

    def record(self, n_samples, rate_hz):
        volts = np.zeros(n_samples, dtype=np.float32)
        self.records.append((n_samples, rate_hz, dict(self.levels)))
        if self.waveform is not None:
            seen = self.waveform[0][: n_samples - self.offset]
            volts[self.offset : self.offset + seen.size] = seen
        return volts


@contextmanager
def served(faults=None, light=None, **sim) -> Iterator[EmulatedLab]:
    """Serve an AWG and a digitiser; `faults` maps instrument to (at, kind) pairs."""
    planned = {
        name: [FaultSettings(at=at, kind=kind) for at, kind in pairs]
        for name, pairs in (faults or {}).items()
    }
    request = ServeRequest(
        sim=SimSettings(faults=planned, **sim),
        instruments={
            "awg": EmulatedInstrument(driver="keysight.m8190a"),
            "scope": EmulatedInstrument(driver="keysight.infiniium"),
        },
        wiring=WIRING,
        tap=True,
    )
    lab = EmulatedLab(request, light or PlainLight())
    try:
        yield lab
    finally:
        lab.close()


def settings_for(
    endpoints, io_timeout_s=2.0, **expect
) -> dict[str, InstrumentSettings]:
    """Return the settings of both instruments at `endpoints`."""
    kinds = {
        "awg": ("awg", "keysight.m8190a"),
        "scope": ("digitizer", "keysight.infiniium"),
    }
    return {
        name: InstrumentSettings(
            role=role,
            driver=driver,
            resource=endpoints[name],
            expect=expect.get(name, {}),
            open_timeout_s=io_timeout_s,
            io_timeout_s=io_timeout_s,
        )
        for name, (role, driver) in kinds.items()
    }


def bench_on(lab: EmulatedLab, io_timeout_s=2.0, **expect) -> Bench:
    """Return a bench, not yet entered, on the instruments of `lab`."""
    return Bench(
        settings_for(lab.endpoints, io_timeout_s, **expect), WIRING, SafetySettings()
    )
