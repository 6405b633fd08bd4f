"""Look at a bench while fibres are being aligned, again and again.

Every look sends light of its own, which is kept nowhere and never part of a key:
a probe burst of the scheme. What can be said without a lock (noise, strongest
line, count rates) is said even when there is none, because a bench that is being
aligned has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driver.bench import Bench
from driver.capture import LO_SWITCH, SIGNAL_SWITCH, RecordKind
from driver.hal_light import (
    Attenuator,
    BiasController,
    DetectorBias,
    Laser,
    PolarisationController,
    PowerMeter,
)
from dsp import spectrum
from scqc.core.errors import InstrumentError, SignalError
from scqc.core.provenance import new_run_uuid
from scqc.core.records import Trace
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.progress import Silent

N_FFT = 1024
#: Columns of the spectrum on a terminal.
COLUMNS = 64
_FLOOR_DB, _TOP_DB = -20.0, 40.0
_COUNTING_S = 0.1
# A burst is over long before a meter has averaged it.
_AT_REST = "shutters open, generator at rest"
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Value:
    """One quantity on the bench.

    Parameters
    ----------
    name : str
    value : float, str or bool
    unit : str
    note : str
        What is wrong with it, or what to do about it, if there is something.
    remark : str
        What to know about it.
    """

    name: str
    value: float | str | bool
    unit: str = ""
    note: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What the bench shows now.

    Parameters
    ----------
    values : list of Value
    spectrum_db : list of float
        Density over that of the shot noise, per bin [dB]; empty if there is none.
    bin_hz : float
        Width of a bin [Hz].
    """

    values: list[Value] = field(default_factory=list)
    spectrum_db: list[float] = field(default_factory=list)
    bin_hz: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "values": [asdict(value) for value in self.values],
            "spectrum_db": [round(level, 2) for level in self.spectrum_db],
            "bin_hz": self.bin_hz,
        }


@contextmanager
def open_monitor(loaded: LoadedConfig, folder: Path) -> Iterator[Callable[[], Look]]:
    """Open the bench with its light set up; yield what looks at it.

    Parameters
    ----------
    loaded : LoadedConfig
    folder : Path
        Gets the journal of the bench.

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    """
    config = loaded.config
    with Journal(folder, new_run_uuid()) as journal:
        if isinstance(config, PhotonConfig):
            with _photon_look(config, journal) as look:
                yield look
            return
        with _cv_look(config, journal) as look:
            yield look


@contextmanager
def _cv_look(config: CvConfig, journal: Journal) -> Iterator[Callable[[], Look]]:
    from dsp.pipeline import receive_burst
    from scqc.runs.parties.cv_bob import records_of
    from scqc.runs.parties.opened import open_station
    from scqc.runs.parties.probes import cv_probes
    from scqc.runs.transmit import frame_layout

    layout = frame_layout(config, config.alice.transmitter.probe_symbols)
    with open_station(config, journal, Silent()) as opened:
        _, bob = cv_probes(config, opened, "alice/monitor")
        bench = opened.bench

        def look() -> Look:
            traces = dict(bob.send_probe())
            values = noise_values(traces)
            try:
                received = receive_burst(
                    records_of(traces), layout, config.bob.receiver
                )
            except SignalError as error:
                values.append(Value("lock", False, note=str(error)))
            else:
                lock, report = received.report.lock, received.report
                beat_hz = lock.pilots_hz[0] - config.link.pilots_hz[0]
                values += [
                    Value("lock", True),
                    Value("beat", 1e-6 * beat_hz, "MHz"),
                    Value("pilot over noise", lock.pilot_snr_db, "dB"),
                    Value("clock error", report.clock_ppm, "ppm"),
                ]
            with _opened(bench, (SIGNAL_SWITCH, LO_SWITCH)):
                values += instrument_values(bench, (SIGNAL_SWITCH, LO_SWITCH), _AT_REST)
            levels, bin_hz = _levels(traces)
            return Look(values, levels, bin_hz)

        yield look


def noise_values(traces: dict[RecordKind, Trace]) -> list[Value]:
    """Return what the three records say without any lock."""
    power = {
        kind: float(np.var(trace.codes[0], dtype=np.float64)) * _volts(trace) ** 2
        for kind, trace in traces.items()
    }
    clipped = sum(sum(trace.clipped) for trace in traces.values())
    hint = ""
    if power["shot"] <= power["electronic"]:
        hint = "no more noise with the local oscillator than without"
    return [
        Value("shot noise", 1e3 * math.sqrt(power["shot"]), "mV rms"),
        Value("electronic noise", 1e3 * math.sqrt(power["electronic"]), "mV rms"),
        Value("clearance", _ratio_db(power["shot"], power["electronic"]), "dB", hint),
        Value("signal over shot", _ratio_db(power["signal"], power["shot"]), "dB"),
        Value(
            "clipped samples",
            float(clipped),
            "",
            "raise bob.digitizer.range_v" if clipped else "",
        ),
    ]


def _volts(trace: Trace) -> float:
    return float(trace.scale_v[0])


def _ratio_db(a: float, b: float) -> float:
    """Return a over b [dB]; a thousand where one of them is nothing."""
    if a <= 0.0 or b <= 0.0:
        return -1000.0 if a <= 0.0 else 1000.0
    return 10.0 * math.log10(a / b)


def _levels(traces: dict[RecordKind, Trace]) -> tuple[list[float], float]:
    """Return the density of the signal record over the mean of the shot noise."""
    signal, shot = traces["signal"], traces["shot"]
    if min(signal.codes.shape[1], shot.codes.shape[1]) < N_FFT:
        return [], 0.0
    density = spectrum.power_density(signal.codes[0], signal.rate_hz, N_FFT)
    noise = spectrum.power_density(shot.codes[0], shot.rate_hz, N_FFT)
    floor = float(np.mean(noise[1:-1])) * (_volts(shot) / _volts(signal)) ** 2
    if floor <= 0.0:
        return [], 0.0
    levels = 10.0 * np.log10(np.maximum(density, 1e-12 * floor) / floor)
    return [float(level) for level in levels], signal.rate_hz / N_FFT


@contextmanager
def _photon_look(
    config: PhotonConfig, journal: Journal
) -> Iterator[Callable[[], Look]]:
    from dsp.time_tags.pipeline import receive_tags
    from scqc.runs.parties.opened import open_station
    from scqc.runs.parties.probes import photon_probes
    from scqc.runs.photon.receive import receiver_settings

    settings = receiver_settings(config).model_copy(update={"check_wiring": False})
    with open_station(config, journal, Silent()) as opened:
        bob, bench = photon_probes(config, opened), opened.bench

        def look() -> Look:
            tags, bases = bob.send_probe()
            values = rate_values(bench, config)
            bits = np.zeros(tags.times_ps.size // 2 + 1, dtype=np.uint8)
            try:
                received = receive_tags(
                    tags,
                    config.link,
                    settings,
                    bits,
                    config.link.burst_slots,
                    None,
                    bases,
                )
            except SignalError as error:
                values.append(Value("lock", False, note=str(error)))
            else:
                values += [
                    Value("lock", True),
                    Value("clock difference", 1e6 * received.clock.df, "ppm"),
                ]
                for name, fringe in zip("zx", received.report.fringes, strict=True):
                    values.append(Value(f"visibility {name}", fringe.visibility))
                    if math.isfinite(fringe.sigma_rad):
                        values.append(
                            Value(f"phase error {name}", fringe.phase_error_rad, "rad")
                        )
            values += instrument_values(bench, (SIGNAL_SWITCH,))
            return Look(values)

        yield look


def rate_values(bench: Bench, config: PhotonConfig) -> list[Value]:
    """Return what each detector counts with the shutter open and closed."""
    rates = {}
    for is_open in (False, True):
        bench.switch(SIGNAL_SWITCH).set_open(is_open)
        rates[is_open] = bench.tagger.counts(_COUNTING_S)
    found = []
    for name, number in zip(config.detectors, config.tag_inputs(), strict=True):
        lit, dark = (rates[o].get(number, 0) / _COUNTING_S for o in (True, False))
        found.append(Value(f"{name} open", lit, "counts/s"))
        hint = "no more with light than without" if lit <= dark else ""
        found.append(Value(f"{name} closed", dark, "counts/s", hint))
    return found


@contextmanager
def _opened(bench: Bench, switches: tuple[str, ...]) -> Iterator[None]:
    """Let light through for the time of the block: meters see nothing else."""
    for name in switches:
        bench.switch(name).set_open(True)
    try:
        yield
    finally:
        for name in switches:
            bench.switch(name).set_open(False)


def instrument_values(
    bench: Bench, switches: tuple[str, ...], meters: str = ""
) -> list[Value]:
    """Ask the optical instruments of the bench; a silent one says so itself.

    Parameters
    ----------
    bench : Bench
    switches : tuple of str
    meters : str
        What to know about the readings of power meters.
    """
    values = [Value(f"{n} open", bench.switch(n).is_open) for n in switches]
    for name in bench.names:
        try:
            values += _readings(name, bench.instrument(name), meters)
        except InstrumentError as error:
            values.append(Value(name, "no answer", note=str(error)))
    return values


def _readings(name: str, instrument: object, meters: str) -> list[Value]:
    found: list[Value] = []
    if isinstance(instrument, Laser):
        laser = instrument.reading()
        found += [
            Value(f"{name} on", laser.is_on),
            Value(f"{name} frequency", 1e-12 * laser.frequency_hz, "THz"),
            Value(f"{name} power", laser.power_dbm, "dBm"),
        ]
    if isinstance(instrument, Attenuator):
        found.append(Value(f"{name} attenuation", instrument.attenuation_db(), "dB"))
    if isinstance(instrument, BiasController):
        bias = instrument.bias()
        hint = "" if bias.is_locked else "not locked"
        found.append(Value(f"{name} bias", bias.volts, "V", hint))
    if isinstance(instrument, PolarisationController):
        volts = instrument.polarisation().volts
        found += [Value(f"{name} {n}", v, "V") for n, v in sorted(volts.items())]
    if isinstance(instrument, PowerMeter):
        power_w = instrument.power_w()
        found.append(Value(name, 1e6 * power_w, "uW", remark=meters))
    if isinstance(instrument, DetectorBias):
        rates = instrument.count_rates_hz(_COUNTING_S)
        found += [Value(f"{name} {n}", r, "counts/s") for n, r in sorted(rates.items())]
    return found


def drawn(levels_db: list[float], columns: int = COLUMNS) -> str:
    """Return a spectrum as one line of blocks, the highest bin of each column."""
    if not levels_db:
        return ""
    parts: list[NDArray[np.float64]] = np.array_split(np.array(levels_db[1:]), columns)
    span = _TOP_DB - _FLOOR_DB
    heights = [
        min(max((float(part.max()) - _FLOOR_DB) / span, 0.0), 1.0)
        for part in parts
        if part.size
    ]
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(height * top)] for height in heights)
