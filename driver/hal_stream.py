"""The role of digitisers that record without end, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from driver.hal import Digitizer
from scqc.core.records import Trace


@dataclass(frozen=True, slots=True)
class StreamBlock:
    """A part of a stream.

    Parameters
    ----------
    trace : Trace
        Samples of all recorded channels.
    first_sample : int
        How many samples of each channel came before, lost ones not counted [1].
    after_gap : bool
        Whether samples were lost between the block before and this one; nobody
        knows how many.
    """

    trace: Trace
    first_sample: int
    after_gap: bool


@runtime_checkable
class StreamingDigitizer(Digitizer, Protocol):
    """A digitiser whose record need not end."""

    def stream(self, block_samples: int, timeout_s: float) -> Iterator[StreamBlock]:
        """Record from the first request for a block on, and yield blocks.

        It ends when the iterator is closed, or after `abort`. At no time are more
        than a fixed number of blocks in memory: who takes them too slowly loses
        samples, and is told by the next block. The settings are those of
        `configure`, without its record length.

        Parameters
        ----------
        block_samples : int
            Samples of each channel per block [1].
        timeout_s : float
            For each block [s].

        Raises
        ------
        RangeError
            If the device cannot deliver blocks of this length; nothing is sent.
        StateError
            If the digitiser is not configured.
        InstrumentTimeout
            If a block is not there in time.
        """
        ...
