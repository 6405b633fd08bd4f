"""Arm, play, wait, read: one record, or one run of time tags, from the bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from driver.bench import Bench
from driver.hal import ArbitraryWaveformGenerator, DigitizerConfig, TaggerConfig
from scqc.core.clock import Deadline
from scqc.core.errors import StateError
from scqc.core.records import TimeTags, Trace

RecordKind = Literal["signal", "shot", "electronic"]

SIGNAL_SWITCH = "switch.signal"
LO_SWITCH = "switch.lo"
#: Whether the shutters of signal and local oscillator are open.
LIGHT: dict[RecordKind, tuple[bool, bool]] = {
    "signal": (True, True),
    "shot": (False, True),
    "electronic": (False, False),
}


def acquire(
    bench: Bench,
    config: DigitizerConfig,
    timeout_s: float,
    play: Callable[[], object] | None = None,
) -> Trace:
    """Take one record with the shutters as they are.

    Parameters
    ----------
    bench : Bench
    config : DigitizerConfig
    timeout_s : float
        Deadline for recording and reading together [s].
    play : callable, optional
        Called once the digitiser is armed, to start the waveform.

    Raises
    ------
    InstrumentTimeout
        If the record is not complete and read in time.
    InstrumentError
        Whatever else an instrument reports.
    """
    deadline = Deadline(timeout_s)
    digitizer = bench.digitizer
    digitizer.configure(config)
    digitizer.arm()
    if play is not None:
        play()
    digitizer.wait(max(deadline.remaining_s(), 1e-3))
    return digitizer.fetch(max(deadline.remaining_s(), 1e-3))


def record(
    bench: Bench, kind: RecordKind, config: DigitizerConfig, timeout_s: float
) -> Trace:
    """Set the shutters for `kind` and take one record.

    A signal record is triggered by the generator; the two calibrations start
    at once. ``shot`` blocks the signal light, ``electronic`` the local
    oscillator too.

    Raises
    ------
    StateError
        If `kind` is unknown.
    InstrumentError
        Whatever an instrument reports.
    """
    if kind not in LIGHT:
        raise StateError("capture", kind, f"kinds are {', '.join(LIGHT)}")
    signal_open, lo_open = LIGHT[kind]
    bench.switch(SIGNAL_SWITCH).set_open(signal_open)
    bench.switch(LO_SWITCH).set_open(lo_open)
    play = bench.awg.start if kind == "signal" else None
    return acquire(bench, triggered(config, kind), timeout_s, play)


def triggered(config: DigitizerConfig, kind: RecordKind) -> DigitizerConfig:
    """Return the settings with the trigger of a record of this kind."""
    return replace(config, trigger="external" if kind == "signal" else "immediate")


def acquire_tags(
    bench: Bench,
    config: TaggerConfig,
    duration_s: float,
    timeout_s: float,
    generator: ArbitraryWaveformGenerator | None = None,
) -> TimeTags:
    """Record time tags while the uploaded waveform is played once.

    The tagger starts first, so the waveform begins an unknown time after it.

    Parameters
    ----------
    bench : Bench
    config : TaggerConfig
    duration_s : float
        Length of the acquisition [s]; more than the waveform, for a late start.
    timeout_s : float
        Deadline for recording and reading together [s].
    generator : ArbitraryWaveformGenerator, optional
        Whose waveform is played; by default the bench's only one.

    Raises
    ------
    InstrumentTimeout
        If the tags are not recorded and read in time.
    InstrumentError
        Whatever else an instrument reports.
    """
    arm_tags(bench, config, duration_s)
    player = generator or bench.awg
    tags = play_and_read_tags(bench, timeout_s, player.start)
    player.stop()
    return tags


def arm_tags(bench: Bench, config: TaggerConfig, duration_s: float) -> None:
    """Start the tagger of the bench; nothing is played yet.

    Parameters
    ----------
    bench : Bench
    config : TaggerConfig
    duration_s : float
        Length of the acquisition [s].

    Raises
    ------
    InstrumentError
        Whatever the tagger reports.
    """
    bench.tagger.configure(config)
    bench.tagger.start(duration_s)


def play_and_read_tags(
    bench: Bench, timeout_s: float, play: Callable[[], object]
) -> TimeTags:
    """Start the uploaded waveform and return the tags of the armed tagger.

    Parameters
    ----------
    bench : Bench
    timeout_s : float
        Deadline for recording and reading together [s].
    play : callable
        Starts the waveform.

    Raises
    ------
    InstrumentTimeout
        If the tags are not recorded and read in time.
    InstrumentError
        Whatever else an instrument reports.
    """
    deadline = Deadline(timeout_s)
    tagger = bench.tagger
    play()
    return tagger.read(max(deadline.remaining_s(), 1e-3))
