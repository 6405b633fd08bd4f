"""Measure the delays of a bench: when the light starts, and what is not in step.

Bursts of their own are sent, which are kept nowhere and never part of a key. What
is found is said as lines for the lab config; nothing is changed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.special import chdtrc

from driver.capture import LO_SWITCH, SIGNAL_SWITCH
from dsp.alignment import Skew, measure_skew
from dsp.pipeline import demodulate
from dsp.settings import FrameLayout
from dsp.time_tags.alignment import path_delays
from dsp.transmitter import first_symbol_sample, samples_per_symbol
from scqc.core.errors import ClippedError, SignalError
from scqc.core.provenance import new_run_uuid
from scqc.core.records import Trace
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.parties.opened import open_station
from scqc.runs.parties.probes import cv_probes, photon_probes
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.receive import receiver_settings
from scqc.runs.progress import Progress
from scqc.runs.transmit import burst_symbols, expected_budget, frame_layout

#: Records that are taken if nobody says otherwise.
RECORDS = 8
#: Symbols of a test burst at most; longer ones only take longer.
MOST_SYMBOLS = 1 << 18
# Records that scatter more than their noise by chance alone, one in a million.
_IMPLAUSIBLE = 1e-6
_CLEAR_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class Delay:
    """By how much one path is longer than another.

    Parameters
    ----------
    name : str
    delay_ps : float
        With the corrections that the config has already [ps].
    sigma_ps : float
        Standard deviation, from the noise that was seen [ps].
    """

    name: str
    delay_ps: float
    sigma_ps: float

    @property
    def is_clear(self) -> bool:
        """Whether it stands out of its uncertainty."""
        return abs(self.delay_ps) > _CLEAR_SIGMA * self.sigma_ps


@dataclass(frozen=True, slots=True)
class Start:
    """When the light came after the record began, over all records.

    Parameters
    ----------
    earliest_s, median_s, latest_s : float
        [s]
    margin_s : float
        What the config records beyond a burst [s].
    needed_s : float
        What leaves room for a start later than any that was seen [s].
    """

    earliest_s: float
    median_s: float
    latest_s: float
    margin_s: float
    needed_s: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """The delays of a bench, and what to do about them.

    Parameters
    ----------
    records : int
    start : Start
    delays : tuple of Delay
    hints : tuple of str
    toml : str
        Lines for the lab config.
    """

    records: int
    start: Start
    delays: tuple[Delay, ...]
    hints: tuple[str, ...]
    toml: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "records": self.records,
            "start": asdict(self.start),
            "delays": [asdict(one) for one in self.delays],
            "hints": list(self.hints),
            "toml": self.toml,
        }


def align(
    loaded: LoadedConfig, folder: Path, progress: Progress, records: int = RECORDS
) -> Alignment:
    """Measure the delays of a bench.

    Parameters
    ----------
    loaded : LoadedConfig
    folder : Path
        Gets the journal of the bench.
    progress : Progress
    records : int
        Bursts that are sent [1].

    Returns
    -------
    Alignment

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    SignalError
        If there is too little light, or a delay beyond what is searched.
    """
    config = loaded.config
    with Journal(folder, new_run_uuid()) as journal:
        if isinstance(config, PhotonConfig):
            return _align_paths(config, journal, progress, records)
        return _align_arms(config, journal, progress, records)


def _align_arms(
    config: CvConfig, journal: Journal, progress: Progress, records: int
) -> Alignment:
    """Measure the start of the light and the skew of the modulator's arms."""
    layout = frame_layout(config, min(burst_symbols(config), MOST_SYMBOLS))
    starts, skews = [], []
    with open_station(config, journal, progress) as opened:
        alice, bob = cv_probes(config, opened, "alice/align")
        try:
            budget = bob.probe()
        except SignalError as error:
            # Arms that are far apart can spoil a probe at full level.
            journal.write("probe", f"failed, the config's link is assumed: {error}")
            budget = expected_budget(config)
        waveform = alice.transmitter.skew_waveform(
            layout, budget, opened.bench.awg.granularity
        )
        progress.stage("align", records)
        for _ in range(records):
            record = bob.record_config(alice.load(waveform))
            alice.half.set_shutters({SIGNAL_SWITCH: True, LO_SWITCH: True})
            trace = bob.record("signal", record, alice.start)
            start_s, skew = _arms_of(trace, layout, config)
            starts.append(start_s)
            skews.append(skew)
            progress.advance()
    found = [(1e12 * skew.delay_s, 1e12 * skew.sigma_s) for skew in skews]
    delay, hints = _combined("tx.q behind tx.i", found)
    start = _start(starts, config.bob.digitizer.margin_s)
    hints += _start_hints(start, "bob.digitizer.margin_s")
    skew_s = config.alice.transmitter.iq_skew_s + 1e-12 * delay.delay_ps
    toml = f"[alice.transmitter]\niq_skew_s = {round(skew_s, 13)!r}\n"
    return _aligned(start, (delay,), hints, toml, records)


def _arms_of(trace: Trace, layout: FrameLayout, config: CvConfig) -> tuple[float, Skew]:
    """Return when the waveform of a record began [s], and the skew."""
    clipped = sum(trace.clipped)
    if clipped:
        raise ClippedError(
            f"digitiser: {clipped} samples of the test burst on the rails, limit 0"
        )
    demodulator, symbols = demodulate(
        [trace.codes[0]], trace.rate_hz, layout, config.bob.receiver
    )
    rate_hz = config.alice.transmitter.rate_hz
    lead = first_symbol_sample(layout, samples_per_symbol(layout, rate_hz))
    at_s = demodulator.report.lock.first_symbol_sample / trace.rate_hz
    skew = measure_skew(symbols[-demodulator.first_symbol :], layout)
    return at_s - lead / rate_hz, skew


def _align_paths(
    config: PhotonConfig, journal: Journal, progress: Progress, records: int
) -> Alignment:
    """Measure the start of the light and the delays of the detectors' paths."""
    settings = receiver_settings(config)
    starts = []
    found: list[list[tuple[float, float]]] = []
    with open_station(config, journal, progress) as opened:
        bob = photon_probes(config, opened)
        progress.stage("align", records)
        for _ in range(records):
            tags, _bases = bob.send_probe()
            paths = path_delays(tags, config.link, settings, config.detectors)
            starts.append(paths.clock.delay_s - 0.5 * config.link.slot_s)
            found.append(paths.after_first())
            progress.advance()
    first, *others = config.detectors
    delays, hints = [Delay(first, 0.0, 0.0)], []
    for name, seen in zip(others, list(zip(*found, strict=True))[1:], strict=True):
        delay, more = _combined(f"{name} behind {first}", seen)
        delays.append(delay)
        hints += more
    start = _start(starts, config.bob.tagger.margin_s)
    hints += _start_hints(start, "bob.tagger.margin_s")
    use = config.bob.tagger.delays_ps
    late = np.array([use[k] - one.delay_ps for k, one in enumerate(delays)])
    wanted = np.zeros(len(use), dtype=np.int64)
    wanted[: late.size] = np.rint(late - late.min())
    toml = f"[bob.tagger]\ndelays_ps = {wanted.tolist()}\n"
    return _aligned(start, tuple(delays), hints, toml, records)


def _aligned(
    start: Start,
    delays: tuple[Delay, ...],
    hints: Sequence[str],
    toml: str,
    records: int,
) -> Alignment:
    """Say whether there is anything to do."""
    if any(delay.is_clear for delay in delays):
        hints = [*hints, "put the lines into the lab config, then align again"]
    else:
        hints = [*hints, "in step within the uncertainty: nothing to change"]
    return Alignment(records, start, delays, tuple(hints), toml)


def _combined(
    name: str, found: Sequence[tuple[float, float]]
) -> tuple[Delay, list[str]]:
    """Combine records by their variances; say if they contradict each other."""
    values, sigmas = np.array(found, dtype=np.float64).T
    weights = 1.0 / sigmas**2
    mean = float(np.average(values, weights=weights))
    delay = Delay(name, mean, 1.0 / math.sqrt(float(weights.sum())))
    chi2 = float(np.sum(weights * (values - mean) ** 2))
    if len(found) > 1 and chdtrc(len(found) - 1, chi2) < _IMPLAUSIBLE:
        spread = float(np.std(values))
        return delay, [
            f"{name}: records differ by {spread:.1f} ps rms, more than their noise; "
            "look for what moves"
        ]
    return delay, []


def _start(starts_s: list[float], margin_s: float) -> Start:
    """Say when the light comes, and what margin that asks for.

    Of n starts drawn evenly from an unknown range, the next one is later than the
    latest by more than 4/n of the range with a probability below e^-4.
    """
    first_s, last_s = min(starts_s), max(starts_s)
    room_s = (last_s - first_s) * min(1.0, 4.0 / len(starts_s))
    return Start(first_s, median(starts_s), last_s, margin_s, last_s + room_s)


def _start_hints(start: Start, key: str) -> list[str]:
    if start.needed_s <= start.margin_s:
        return []
    return [
        f"the light starts up to {1e6 * start.latest_s:.3f} us into the record: raise "
        f"{key} = {start.margin_s:g} to {start.needed_s:.2g} or more"
    ]


def with_margin(loaded: LoadedConfig, margin_s: float) -> LoadedConfig:
    """Return the config with another margin, for a bench that is not known yet.

    Parameters
    ----------
    loaded : LoadedConfig
    margin_s : float
        Recorded beyond the length of a burst [s].
    """
    config = loaded.config
    if isinstance(config, PhotonConfig):
        tagger = config.bob.tagger.model_copy(update={"margin_s": margin_s})
        photon = config.bob.model_copy(update={"tagger": tagger})
        return replace(loaded, config=config.model_copy(update={"bob": photon}))
    digitizer = config.bob.digitizer.model_copy(update={"margin_s": margin_s})
    bob = config.bob.model_copy(update={"digitizer": digitizer})
    return replace(loaded, config=config.model_copy(update={"bob": bob}))
