"""Read captures, trusting nothing in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store import sealed_hdf5 as sealed
from scqc.store.capture_format import (
    CODE_UNITS,
    CRC_GROUP,
    FORMAT,
    FORMAT_VERSION,
    KIND_PATHS,
    MAX_BURSTS,
    MAX_CHUNKS,
    MAX_SAMPLES,
    MAX_TEXT_BYTES,
    TEXTS,
    CaptureHeader,
    Kind,
    RecordScale,
    burst_name,
)
from scqc.store.files import capture_errors
from scqc.store.mended_file import MendedFile

_MAX_PADDING_BYTES = 1 << 38


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
        self._chunk = int(found.chunks[0])
        self._cached: tuple[int, NDArray[np.int16]] | None = None
        size = path.stat().st_size
        self.complete = bool(sealed.count_attribute(found, "complete", 1))
        self.n_promised = sealed.count_attribute(found, "n_valid", MAX_SAMPLES)
        stored = sealed.stored_samples(found, size)
        n_checks = sealed.stored_samples(checks, size)
        self._crcs = checks[:n_checks].astype(np.int64)
        present = min(self.n_promised, stored, n_checks * self._chunk)
        if present < self.n_promised and not salvage:
            raise CaptureError(
                f"{path}: {found.name}: {self.n_promised} samples promised, "
                f"{present} present"
            )
        self.n_samples = present
        if salvage:
            self.n_samples = self._valid_prefix()
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

    def _valid_prefix(self) -> int:
        """Return how many samples come before the first damaged chunk."""
        good = 0
        while good < self.n_samples:
            try:
                good += self._read_chunk(good // self._chunk).size
            except CaptureError:
                break
        return min(good, self.n_samples)

    def _read_chunk(self, number: int) -> NDArray[np.int16]:
        """Return chunk `number`, checked; the last one used is remembered."""
        if self._cached is not None and self._cached[0] == number:
            return self._cached[1]
        start = number * self._chunk
        codes = np.empty(min(self._chunk, self.n_promised - start), dtype="<i2")
        with capture_errors(self._path, f"read {self._dataset.name}"):
            self._dataset.read_direct(codes, np.s_[start : start + codes.size])
        if zlib.crc32(codes.tobytes()) != self._crcs[number]:
            raise CaptureError(
                f"{self._path}: {self._dataset.name}: chunk {number} is damaged "
                "(CRC-32)"
            )
        codes = codes.astype(np.int16, copy=False)
        self._cached = (number, codes)
        return codes

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
        out = np.empty(stop - start, dtype=np.int16)
        at = start
        while at < stop:
            number, skip = divmod(at, self._chunk)
            piece = self._read_chunk(number)[skip : skip + stop - at]
            out[at - start : at - start + piece.size] = piece
            at += piece.size
        return out

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


class Capture:
    """An open capture; use it as a context manager. Made by `open_capture`."""

    def __init__(self, path: Path, file: h5py.File, salvage: bool) -> None:
        self.path, self._salvage, self._opened = path, salvage, ExitStack()
        root = sealed.check_links(file["/"])
        kind = sealed.text_attribute(root, "format")
        version = sealed.text_attribute(root, "format_version")
        if kind != FORMAT:
            raise CaptureError(f"{path}: format {kind!r}, not {FORMAT!r}")
        if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            raise CaptureError(
                f"{path}: format version {version!r}, this program reads "
                f"{FORMAT_VERSION}"
            )
        self.complete = bool(sealed.count_attribute(root, "complete", 1))
        if not self.complete and not salvage:
            raise CaptureError(f"{path}: unfinished; salvage it first (scqc inspect)")
        self._bursts = sealed.group(root, "bursts")
        self.n_bursts = len(self._bursts)
        if not 1 <= self.n_bursts <= MAX_BURSTS:
            raise CaptureError(
                f"{path}: {self.n_bursts} bursts, limit 1 to {MAX_BURSTS}"
            )
        self.header = self._read_header(root)

    def _read_header(self, root: h5py.Group) -> CaptureHeader:
        texts = {name: self._text(root, name) for name in TEXTS}
        return CaptureHeader(
            config_toml=texts["config"],
            layout_json=texts["layout"],
            instruments_json=texts["instruments"],
            run_uuid=sealed.text_attribute(root, "run_uuid"),
            created_utc=sealed.text_attribute(root, "created_utc"),
            software_version=sealed.text_attribute(root, "software_version"),
            salvaged=bool(sealed.count_attribute(root, "salvaged", 1)),
        )

    def _text(self, root: h5py.Group, name: str) -> str:
        found = sealed.dataset(root, name, "|u1", MAX_TEXT_BYTES)
        if sealed.stored_samples(found, self.path.stat().st_size) < found.shape[0]:
            raise CaptureError(f"{self.path}: /{name}: text is not in the file")
        return sealed.read_bytes(found).tobytes().decode()

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

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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
    in_use, end = sealed.superblock(path)
    if in_use and not salvage:
        raise CaptureError(f"{path}: unfinished; salvage it first (scqc inspect)")
    size = path.stat().st_size
    if size < end and not (salvage and end <= size + _MAX_PADDING_BYTES):
        raise CaptureError(f"{path}: truncated, {size} of {end} bytes")
    with ExitStack() as opened:
        if in_use or size < end:
            stream = opened.enter_context(MendedFile(path, max(size, end)))
            file = opened.enter_context(sealed.open_mended(path, stream))
        else:
            file = opened.enter_context(sealed.open_file(path))
        with capture_errors(path, "read"):
            capture = Capture(path, file, salvage)
        capture._opened = opened.pop_all()
    return capture
