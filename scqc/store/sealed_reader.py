"""Read captures, trusting nothing in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store import sealed_hdf5 as sealed
from scqc.store.capture_format import (
    CODE_UNITS,
    CRC_GROUP,
    FORMAT,
    KIND_PATHS,
    MAX_CHUNKS,
    MAX_SAMPLES,
    Kind,
    RecordScale,
    burst_name,
)
from scqc.store.files import capture_errors
from scqc.store.sealed_file import SealedColumn, SealedFile


class StoredRecord:
    """One record of a capture: its scale, and its samples on demand.

    Attributes
    ----------
    n_samples : int
        Samples that can be read; 0 if the record was never taken [1].
    n_promised : int
        Samples the writer acknowledged; more than `n_samples` only when a
        damaged file is being salvaged [1].
    scale : RecordScale or None
        None when there are no samples.
    clipped : int
        Samples on the rails [1].
    complete : bool
        Whether the record was finished.
    """

    def __init__(
        self, path: Path, found: h5py.Dataset, checks: h5py.Dataset, salvage: bool
    ) -> None:
        self._path, self._dataset = path, found
        self.complete = bool(sealed.count_attribute(found, "complete", 1))
        self.n_promised = sealed.count_attribute(found, "n_valid", MAX_SAMPLES)
        self._column = SealedColumn(path, found, checks, self.n_promised)
        self.n_samples = self._column.n_present
        if self.n_samples < self.n_promised and not salvage:
            raise CaptureError(
                f"{path}: {found.name}: {self.n_promised} samples promised, "
                f"{self.n_samples} present"
            )
        if salvage:
            self.n_samples = self._column.valid_prefix()
        self.clipped = sealed.count_attribute(found, "clipped", MAX_SAMPLES)
        self.scale = self._read_scale() if self.n_samples else None

    def _read_scale(self) -> RecordScale:
        found = self._dataset
        units = sealed.text_attribute(found, "units")
        if units != CODE_UNITS:
            raise CaptureError(f"{found.name}: units {units!r}, not {CODE_UNITS!r}")
        rate_hz, scale_v, offset_v, t0_s = (
            sealed.number_attribute(found, name)
            for name in ("rate_hz", "scale_v", "offset_v", "t0_s")
        )
        try:
            return RecordScale(rate_hz, scale_v, offset_v, t0_s)
        except CaptureError as error:
            raise CaptureError(f"{self._path}: {found.name}: {error}") from error

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """Return samples [start, stop).

        Returns
        -------
        ndarray, shape (stop - start,), int16 [code]

        Raises
        ------
        CaptureError
            If the span is not in the record, or a checksum is wrong.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise CaptureError(
                f"{self._path}: {self._dataset.name}: samples {start} to {stop} of "
                f"{self.n_samples}"
            )
        return self._column.read(start, stop)

    def chunks(self, n: int) -> Iterator[NDArray[np.int16]]:
        """Yield the record in pieces of `n` samples; the last may be shorter.

        Yields
        ------
        ndarray, shape (n,), int16 [code]
        """
        if n < 1:
            raise CaptureError(f"{self._path}: pieces of {n} samples, limit 1")
        for start in range(0, self.n_samples, n):
            yield self.read(start, min(start + n, self.n_samples))


@dataclass(frozen=True, slots=True)
class StoredBurst:
    """One burst: the signal and its two calibrations."""

    signal: StoredRecord
    shot: StoredRecord
    electronic: StoredRecord


class Capture(SealedFile):
    """An open capture; use it as a context manager. Made by `open_capture`."""

    FORMAT = FORMAT

    def burst(self, number: int) -> StoredBurst:
        """Return burst `number`.

        Raises
        ------
        CaptureError
            If it does not exist or is not what a burst must be.
        """
        return StoredBurst(
            self.record(number, "signal"),
            self.record(number, "shot"),
            self.record(number, "electronic"),
        )

    def record(self, number: int, kind: Kind) -> StoredRecord:
        """Return one record of burst `number`.

        Raises
        ------
        CaptureError
            If it does not exist or is not what a record must be.
        """
        with capture_errors(self.path, f"burst {number} {kind}"):
            burst = sealed.group(self._bursts, burst_name(number))
            crcs = sealed.group(burst, CRC_GROUP)
            checks = sealed.dataset(crcs, kind, "<u4", MAX_CHUNKS)
            parent = burst
            *groups, name = KIND_PATHS[kind]
            for step in groups:
                parent = sealed.group(parent, step)
            found = sealed.dataset(parent, name, "<i2", MAX_SAMPLES)
            return StoredRecord(self.path, found, checks, self._salvage)


def open_capture(path: Path, salvage: bool = False) -> Capture:
    """Open a capture without trusting it.

    Parameters
    ----------
    path : Path
    salvage : bool
        Accept an unfinished or cut-off file; its records then end before the
        first sample that was not acknowledged or whose checksum is wrong.

    Raises
    ------
    CaptureError
        If the file is damaged, hostile, unfinished or of another format.
    """
    return Capture(path, salvage)
