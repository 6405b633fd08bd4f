"""Write a capture so that a crash costs no acknowledged sample.

Only whole chunks are written and none is written twice (the last one of a
record is cut to length), so a chunk that was acknowledged cannot be torn.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.core.records import Trace
from scqc.store.capture_format import (
    CHUNK_SAMPLES,
    CODE_UNITS,
    CRC_GROUP,
    FORMAT,
    KIND_PATHS,
    CaptureHeader,
    Kind,
    RecordScale,
    burst_name,
)
from scqc.store.files import capture_errors
from scqc.store.growing_file import (
    GrowingFile,
    append_chunks,
    create_checks,
    create_column,
)


class CaptureWriter(GrowingFile):
    """A capture in the making; use it as a context manager.

    Parameters
    ----------
    path : Path
        Final name; must not exist yet.
    header : CaptureHeader
    n_bursts : int
        Bursts the file has room for, 1 to 4096 [1].
    chunk_samples : int
        Samples per chunk, the unit of acknowledgement [1].

    Raises
    ------
    CaptureError
        If the file exists or cannot be written. On an error inside the ``with``
        block what was acknowledged stays in ``NAME.part``.
    """

    def __init__(
        self,
        path: Path,
        header: CaptureHeader,
        n_bursts: int,
        chunk_samples: int = CHUNK_SAMPLES,
    ) -> None:
        self._chunk = chunk_samples
        self._used: set[tuple[int, Kind]] = set()
        self._open: RecordWriter | None = None
        super().__init__(path, header, n_bursts, FORMAT)

    def _lay_out_burst(self, group: h5py.Group) -> None:
        for kind, path in KIND_PATHS.items():
            name = "/".join(path)
            dataset = create_column(group, name, "<i2", CODE_UNITS, self._chunk)
            for attribute in ("rate_hz", "scale_v", "offset_v", "t0_s"):
                dataset.attrs.create(attribute, 0.0, dtype="<f8")
            for attribute in ("clipped", "n_valid", "complete"):
                dataset.attrs.create(attribute, 0, dtype="<i8")
            create_checks(group, kind)

    def record(self, burst: int, kind: Kind, scale: RecordScale) -> RecordWriter:
        """Begin the record `kind` of a burst; each is written once, one at a time.

        Raises
        ------
        CaptureError
            If the burst does not exist, or the record was begun before.
        """
        if self._open is not None and not self._open.closed:
            raise CaptureError(f"{self.path}: a record is still open")
        if (burst, kind) in self._used:
            raise CaptureError(f"{self.path}: burst {burst} {kind} is written already")
        with capture_errors(self.path, f"burst {burst} {kind}"):
            group = self._file["bursts"][burst_name(burst)]
            dataset = group["/".join(KIND_PATHS[kind])]
            checks = group[CRC_GROUP][kind]
            for attribute in ("rate_hz", "scale_v", "offset_v", "t0_s"):
                dataset.attrs.modify(attribute, np.float64(getattr(scale, attribute)))
        self._used.add((burst, kind))
        self._open = RecordWriter(self.path, dataset, checks, self._chunk)
        return self._open

    def add_trace(self, burst: int, kind: Kind, trace: Trace) -> None:
        """Write the first channel of a digitiser's trace as one whole record."""
        scale = RecordScale(
            trace.rate_hz, trace.scale_v[0], trace.offset_v[0], trace.t0_s
        )
        clipped = trace.clipped[0] if trace.clipped else 0
        with self.record(burst, kind, scale) as record:
            record.append(trace.codes[0], clipped)

    def close(self, complete: bool) -> None:
        """Close the file; a complete one gets its final name."""
        if self._open is not None and not self._open.closed:
            raise CaptureError(f"{self.path}: a record is still open")
        super().close(complete)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._open = None
        super().__exit__(kind, error, trace)


class RecordWriter:
    """One record being appended to; use it as a context manager."""

    def __init__(
        self, path: Path, dataset: h5py.Dataset, checks: h5py.Dataset, chunk: int
    ) -> None:
        self._path, self._dataset, self._checks = path, dataset, checks
        self._pending = np.empty(chunk, dtype=np.int16)
        self._n_pending = 0
        self._clipped = 0
        self.acknowledged = 0
        self.closed = False

    def append(self, codes: NDArray[np.int16], clipped: int = 0) -> int:
        """Append samples and return how many of the record are now safe.

        Parameters
        ----------
        codes : ndarray, shape (n,), int16 [code]
        clipped : int
            How many of them lie on the rails [1].

        Returns
        -------
        int
            Samples of this record that survive a crash from now on [1].

        Raises
        ------
        CaptureError
            If the record is closed, the type is wrong, or the disk is full.
        """
        if self.closed:
            raise CaptureError(f"{self._path}: append to a closed record")
        if codes.ndim != 1 or codes.dtype != np.int16:
            raise CaptureError(
                f"{self._path}: codes must be 1-D int16, got shape {codes.shape}, "
                f"{codes.dtype}"
            )
        self._clipped += clipped
        done = 0
        while done < codes.size:
            n = min(codes.size - done, self._pending.size - self._n_pending)
            self._pending[self._n_pending : self._n_pending + n] = codes[done:][:n]
            self._n_pending += n
            done += n
            if self._n_pending == self._pending.size:
                self._write()
        return self.acknowledged

    def _write(self) -> None:
        """Write the pending samples; they are acknowledged when this returns."""
        with capture_errors(self._path, "append"):
            total = self.acknowledged + self._n_pending
            codes = self._pending[: self._n_pending].astype("<i2", copy=False)
            append_chunks(self._dataset, self._checks, self.acknowledged, codes)
            # Only now may a reader, or the salvage, count them.
            self._dataset.attrs.modify("clipped", np.int64(self._clipped))
            self._dataset.attrs.modify("n_valid", np.int64(total))
            self._dataset.file.flush()
        self.acknowledged, self._n_pending = total, 0

    def close(self) -> None:
        """Write what is pending and mark the record complete."""
        if self._n_pending:
            self._write()
        with capture_errors(self._path, "close record"):
            self._dataset.attrs.modify("clipped", np.int64(self._clipped))
            self._dataset.attrs.modify("complete", np.int64(1))
            self._dataset.file.flush()
        self.closed = True

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.closed = True
