"""Frozen, checked records that pass between the rooms; arrays are read-only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import SignalError


def _freeze(array: NDArray[np.generic]) -> None:
    array.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Waveform:
    """Voltages for a waveform generator.

    Parameters
    ----------
    samples : ndarray, shape (n_channels, n_samples), float32 [V]
    rate_hz : float
        Sample rate [Sa/s].
    """

    samples: NDArray[np.float32]
    rate_hz: float

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise SignalError(
                f"waveform: samples must be 2-D, got shape {self.samples.shape}"
            )
        if self.samples.dtype != np.float32:
            raise SignalError(
                f"waveform: samples must be float32, got {self.samples.dtype}"
            )
        _freeze(self.samples)


@dataclass(frozen=True, slots=True)
class Trace:
    """Digitiser codes with their scale to volts.

    Parameters
    ----------
    codes : ndarray, shape (n_channels, n_samples), int16 [code]
    scale_v : tuple of float, one per channel
        Volts per code [V].
    offset_v : tuple of float, one per channel
        Volts at code zero [V].
    rate_hz : float
        Nominal sample rate [Sa/s].
    t0_s : float
        Bench time of sample 0 [s].
    clipped : tuple of int, one per channel
        Number of samples on the rails [1].
    """

    codes: NDArray[np.int16]
    scale_v: tuple[float, ...]
    offset_v: tuple[float, ...]
    rate_hz: float
    t0_s: float = 0.0
    clipped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.dtype != np.int16:
            raise SignalError(
                "trace: codes must be 2-D int16, got shape "
                f"{self.codes.shape}, {self.codes.dtype}"
            )
        if len(self.scale_v) != self.codes.shape[0]:
            raise SignalError(
                f"trace: {len(self.scale_v)} scales for {self.codes.shape[0]} channels"
            )
        _freeze(self.codes)


@dataclass(frozen=True, slots=True)
class TimeTags:
    """Detections of one acquisition, as the time tagger delivered them.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
        Since the start of the acquisition, in the tagger's own clock.
    channels : ndarray, shape (n,), uint8 [1]
        Input that fired, from 1.
    duration_ps : int
        Length of the acquisition [ps].
    lost : int
        Tags the device reports as lost [1]; more than 0 refuses the block.
    overflow : bool
        Whether the device's buffer overran.
    """

    times_ps: NDArray[np.int64]
    channels: NDArray[np.uint8]
    duration_ps: int
    lost: int = 0
    overflow: bool = False

    def __post_init__(self) -> None:
        times, channels = self.times_ps, self.channels
        if times.ndim != 1 or times.dtype != np.int64:
            raise SignalError(
                f"time tags: times must be 1-D int64, got {times.shape}, {times.dtype}"
            )
        if channels.shape != times.shape or channels.dtype != np.uint8:
            raise SignalError(
                f"time tags: {channels.shape} {channels.dtype} channels for "
                f"{times.shape} times, wanted uint8 of the same length"
            )
        if self.duration_ps < 0 or self.lost < 0:
            raise SignalError(
                f"time tags: duration {self.duration_ps} ps and {self.lost} lost tags "
                "must not be negative"
            )
        _freeze(times)
        _freeze(channels)


@dataclass(frozen=True, slots=True)
class KeyBlock:
    """Secret bits with what is needed to trust them; never prints the bits.

    Parameters
    ----------
    identifier : str
        Unique name, equal on both sides.
    bits : bytes
        Packed bits, most significant first; unused trailing bits are zero.
    n_bits : int
    epsilon : float
        Total composable security parameter [1].
    simulated : bool
        Whether the key comes from a simulated bench or replayed entropy.
    provenance : dict
        Run identifier, block number, software version.
    """

    identifier: str
    bits: bytes = field(repr=False)
    n_bits: int
    epsilon: float
    simulated: bool
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.bits) != (self.n_bits + 7) // 8:
            raise SignalError(
                f"key block {self.identifier}: {len(self.bits)} bytes for "
                f"{self.n_bits} bits"
            )
