"""A served bench with trivial light, for tests of the wire."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from driver.bench import Bench
from driver.guard import Supervision
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
PHOTON_WIRING = {
    "tx.im": "awg:1",
    "tx.pm": "awg:2",
    "rx.z0": "tagger:1",
    "rx.z1": "tagger:2",
    "rx.x0": "tagger:3",
    "rx.x1": "tagger:4",
    "rx.phase": "phase:2",
}
KINDS = {
    "awg": ("awg", "keysight.m8190a"),
    "scope": ("digitizer", "keysight.infiniium"),
    "tagger": ("time-tagger", "idq.id900"),
    "phase": ("phase-modulator", "thorlabs.mdt693b"),
}
# Tests of the wire need no process of its own to watch them.
UNWATCHED = Supervision(watchdog=False)
# Watched, but a program that a busy machine lets wait does not hang.
PATIENT = Supervision(hang_s=30.0)
PHOTON_BENCH = ("awg", "tagger")
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


@dataclass
class ClickingLight:
    """Detectors that fire at written-down times while something is played.

    `times_ps` holds the times of the detectors z0, z1, x0, x1.
    """

    times_ps: list = field(default_factory=lambda: [np.arange(0)] * 4)
    truth: list = field(default_factory=list)
    playing: bool = False
    durations_s: list = field(default_factory=list)
    phase_v: float = 0.0
    played_v: list = field(default_factory=list)
    dark: bool = True

    def play(self, samples_v, rate_hz):
        self.playing = True
        self.played_v.append((samples_v, rate_hz))

    def stop(self):
        self.playing = False

    def set_level(self, switch, volts):
        pass

    def play_basis(self, samples_v, rate_hz):
        self.basis_v = samples_v

    def set_phase_v(self, volts):
        self.phase_v = volts

    def tags(self, duration_s):
        self.durations_s.append(duration_s)
        shown = self.times_ps if self.playing or not self.dark else [np.arange(0)] * 4
        times = np.concatenate(shown).astype(np.int64)
        detector = np.repeat(np.arange(4, dtype=np.uint8), [t.size for t in shown])
        order = np.argsort(times, kind="stable")
        self.truth.append({"clicks": times[order]})
        return times[order], detector[order]


@contextmanager
def served(
    faults=None,
    light=None,
    names=("awg", "scope"),
    wiring=None,
    drivers=None,
    **sim,
) -> Iterator[EmulatedLab]:
    """Serve instruments; `faults` maps instrument to (at, kind) pairs.

    `drivers` maps instruments to other drivers than those of `KINDS`, or further
    ones to theirs.
    """
    chosen = {n: KINDS[n][1] for n in names} | (drivers or {})
    planned = {
        name: [FaultSettings(at=at, kind=kind) for at, kind in pairs]
        for name, pairs in (faults or {}).items()
    }
    if wiring is None:
        wiring = WIRING if "scope" in names else PHOTON_WIRING
    request = ServeRequest(
        sim=SimSettings(faults=planned, **sim),
        instruments={n: EmulatedInstrument(driver=d) for n, d in chosen.items()},
        wiring=wiring,
        tap=True,
    )
    lab = EmulatedLab(request, light or PlainLight())
    try:
        yield lab
    finally:
        lab.close()


def settings_for(
    endpoints, io_timeout_s=20.0, **expect
) -> dict[str, InstrumentSettings]:
    """Return the settings of the instruments at `endpoints`."""
    return {
        name: InstrumentSettings(
            role=role,
            driver=driver,
            resource=endpoints[name],
            expect=expect.get(name, {}),
            open_timeout_s=io_timeout_s,
            io_timeout_s=io_timeout_s,
        )
        for name, (role, driver) in KINDS.items()
        if name in endpoints
    }


def bench_on(lab: EmulatedLab, io_timeout_s=20.0, **expect) -> Bench:
    """Return a bench, not yet entered, on the instruments of `lab`."""
    wiring = WIRING if "scope" in lab.devices else PHOTON_WIRING
    wiring = {s: p for s, p in wiring.items() if p.partition(":")[0] in lab.devices}
    settings = settings_for(lab.endpoints, io_timeout_s, **expect)
    return Bench(settings, wiring, SafetySettings(), UNWATCHED)
