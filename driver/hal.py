"""Roles of instruments: structural types in SI units.

A role is what the rest of the program may ask of an instrument, whoever made
it. Settings are frozen records; `configure` returns what the device really
took. Anything outside the limits is a `RangeError` before a byte is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from scqc.core.records import TimeTags, Trace, Waveform

Snapshot = dict[str, object]
"""Settings of one instrument, made of JSON values only."""

TriggerSource = Literal["immediate", "external"]
Edge = Literal["rising", "falling"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an instrument says it is."""

    vendor: str
    model: str
    serial: str
    firmware: str


@dataclass(frozen=True, slots=True)
class AwgConfig:
    """Settings of a waveform generator.

    Parameters
    ----------
    rate_hz : float
        Sample rate of all channels [Sa/s].
    amplitude_vpp : mapping of int to float
        Full scale of each channel, peak to peak [V].
    trigger : {"immediate", "external"}
        Whether `start` plays at once, or arms for a pulse on the trigger input.
    """

    rate_hz: float
    amplitude_vpp: Mapping[int, float]
    trigger: TriggerSource = "immediate"


@dataclass(frozen=True, slots=True)
class DigitizerConfig:
    """Settings of a digitiser.

    Parameters
    ----------
    rate_hz : float
        Sample rate [Sa/s].
    n_samples : int
        Record length per channel [1].
    range_v : mapping of int to float
        Full scale of each recorded channel, peak to peak [V].
    trigger : {"immediate", "external"}
        Start at once, or with the pulse on the auxiliary input.
    trigger_level_v : float
        Threshold of the external trigger [V].
    """

    rate_hz: float
    n_samples: int
    range_v: Mapping[int, float]
    trigger: TriggerSource = "immediate"
    trigger_level_v: float = 0.2


@dataclass(frozen=True, slots=True)
class TaggerChannel:
    """Settings of one input of a time tagger.

    Parameters
    ----------
    threshold_v : float
        Level that counts as a pulse [V].
    edge : {"rising", "falling"}
    delay_ps : int
        Added to every tag of this input [ps].
    """

    threshold_v: float = 0.1
    edge: Edge = "rising"
    delay_ps: int = 0


@dataclass(frozen=True, slots=True)
class TaggerConfig:
    """Settings of a time tagger.

    Parameters
    ----------
    channels : mapping of int to TaggerChannel
        The inputs that are recorded, numbered from 1; the others are off.
    """

    channels: Mapping[int, TaggerChannel]


@runtime_checkable
class Instrument(Protocol):
    """What every instrument can do."""

    @property
    def name(self) -> str:
        """Name on this bench."""
        ...

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        ...

    def open(self) -> Identity:
        """Connect, ask for the identity, and put the instrument in safe state."""
        ...

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        ...

    def ping(self) -> None:
        """Check that the instrument still answers."""
        ...

    def safe_state(self, timeout_s: float) -> None:
        """Stop emitting anything, within `timeout_s` [s]."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values; asks nothing of the instrument."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """An instrument with set-points that must be right before it is used again."""

    def restore(self) -> None:
        """Set what was configured last, read it back and compare; arm nothing.

        Without an earlier configuration it does nothing.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        ...


@runtime_checkable
class ArbitraryWaveformGenerator(Instrument, Protocol):
    """Plays a waveform once per `start`; markers hold a level."""

    @property
    def granularity(self) -> int:
        """Samples that a waveform's length must be a multiple of [1]."""
        ...

    @property
    def minimum_samples(self) -> int:
        """Shortest waveform [1]."""
        ...

    @property
    def amplitude_range_vpp(self) -> tuple[float, float]:
        """Smallest and largest full scale of a channel, peak to peak [V]."""
        ...

    def configure(self, config: AwgConfig) -> AwgConfig:
        """Set rate and amplitudes; return what the device took."""
        ...

    def upload(self, waveform: Waveform) -> None:
        """Load a waveform, shape (2, n), float32 [V]; nothing is played yet.

        Raises
        ------
        RangeError
            If length, rate or a voltage is outside the limits; nothing is sent.
        StateError
            If the generator is not configured.
        """
        ...

    def upload_segments(self, segments: Sequence[Waveform]) -> None:
        """Load waveforms, each shape (2, n_i), float32 [V], to be played in a row.

        They follow one another without a gap, in this order, once per `start`.

        Raises
        ------
        RangeError
            If there are none, or one is outside the limits; nothing is sent.
        StateError
            If the generator is not configured.
        """
        ...

    def start(self) -> None:
        """Play what was uploaded once, from its first sample.

        With an external trigger it waits for the pulse.
        """
        ...

    def stop(self) -> None:
        """Stop playing."""
        ...

    def set_marker_level(self, marker: int, level_v: float) -> None:
        """Hold `marker` at `level_v` [V]."""
        ...


@runtime_checkable
class LevelHolder(Protocol):
    """A generator that can hold constants on its channels instead of playing."""

    def hold(self, levels_v: Mapping[int, float]) -> None:
        """Hold each channel at a level [V], from now until it is told otherwise.

        Nothing is loaded any more: what was uploaded is gone.

        Raises
        ------
        RangeError
            If a level is outside the amplitude; nothing is sent.
        StateError
            If the generator is not configured.
        """
        ...


@runtime_checkable
class Digitizer(Instrument, Protocol):
    """Arm, wait, fetch."""

    def configure(self, config: DigitizerConfig) -> DigitizerConfig:
        """Set rate, length, ranges and trigger; return what the device took."""
        ...

    def arm(self) -> None:
        """Get ready to record; an earlier record is forgotten."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when the record is complete.

        Raises
        ------
        InstrumentTimeout
            If it is not complete after `timeout_s` [s].
        """
        ...

    def fetch(self, timeout_s: float) -> Trace:
        """Read the completed record.

        Raises
        ------
        StateError
            If no record is complete.
        """
        ...

    def abort(self) -> None:
        """Stop recording."""
        ...


@runtime_checkable
class TimeTagger(Instrument, Protocol):
    """Records when its inputs fire, for a given time after `start`."""

    def configure(self, config: TaggerConfig) -> TaggerConfig:
        """Set the inputs; return what the device took."""
        ...

    def start(self, duration_s: float) -> None:
        """Record from now on for `duration_s` [s]; an earlier record is forgotten.

        Raises
        ------
        RangeError
            If the duration is outside the limits; nothing is sent.
        StateError
            If the tagger is not configured.
        """
        ...

    def read(self, timeout_s: float) -> TimeTags:
        """Wait for the end of the recording and return all tags, in order of time.

        Raises
        ------
        InstrumentTimeout
            If they are not all here after `timeout_s` [s].
        WireProtocolError
            If tags are missing, or out of order by more than the device's window.
        StateError
            If nothing was started.
        """
        ...

    def stop(self) -> None:
        """Stop recording; what was recorded is forgotten."""
        ...

    def counts(self, integration_s: float) -> dict[int, int]:
        """Return how often each configured input fires in `integration_s` [s]."""
        ...


@runtime_checkable
class PhaseModulator(Instrument, Protocol):
    """Direct voltages for phase shifters; all outputs share their limits."""

    @property
    def limits_v(self) -> tuple[float, float]:
        """Lowest and highest voltage of every output [V]."""
        ...

    def set_voltage(self, channel: int, volts: float) -> None:
        """Set an output [V].

        Raises
        ------
        RangeError
            If the channel or the voltage is outside the limits; nothing is sent.
        """
        ...

    def voltage(self, channel: int) -> float:
        """Return what an output reads [V]."""
        ...


@runtime_checkable
class OpticalSwitch(Protocol):
    """Lets light through, or blocks it."""

    def set_open(self, is_open: bool) -> None:
        """Open or close."""
        ...

    @property
    def is_open(self) -> bool:
        """What was last asked for; closed before that."""
        ...
