"""Open a file of bursts, trusting nothing in it."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store import sealed_hdf5 as sealed
from scqc.store.capture_format import (
    FORMAT_VERSION,
    MAX_BURSTS,
    MAX_TEXT_BYTES,
    TEXTS,
    CaptureHeader,
)
from scqc.store.files import capture_errors
from scqc.store.mended_file import MendedFile

_MAX_PADDING_BYTES = 1 << 38


class SealedFile:
    """An open file of bursts; use it as a context manager.

    Parameters
    ----------
    path : Path
    salvage : bool
        Accept an unfinished or cut-off file.

    Raises
    ------
    CaptureError
        If the file is damaged, hostile, unfinished or of another format.
    """

    FORMAT: ClassVar[str]

    def __init__(self, path: Path, salvage: bool) -> None:
        self.path, self._salvage = path, salvage
        with ExitStack() as opened:
            root = open_root(path, salvage, opened)
            with capture_errors(path, "read"):
                self._read_root(root)
            self._opened = opened.pop_all()

    def _read_root(self, root: h5py.Group) -> None:
        path = self.path
        kind = sealed.text_attribute(root, "format")
        version = sealed.text_attribute(root, "format_version")
        if kind != self.FORMAT:
            raise CaptureError(f"{path}: format {kind!r}, not {self.FORMAT!r}")
        if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            raise CaptureError(
                f"{path}: format version {version!r}, this program reads "
                f"{FORMAT_VERSION}"
            )
        self.complete = bool(sealed.count_attribute(root, "complete", 1))
        if not self.complete and not self._salvage:
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

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_root(path: Path, salvage: bool, opened: ExitStack) -> h5py.Group:
    """Open an HDF5 file and return its root, which holds only plain links.

    Parameters
    ----------
    path : Path
    salvage : bool
        Accept an unfinished or cut-off file.
    opened : ExitStack
        Gets what must be closed in the end.

    Raises
    ------
    CaptureError
        If it is no such file.
    """
    in_use, end = sealed.superblock(path)
    if in_use and not salvage:
        raise CaptureError(f"{path}: unfinished; salvage it first (scqc inspect)")
    size = path.stat().st_size
    if size < end and not (salvage and end <= size + _MAX_PADDING_BYTES):
        raise CaptureError(f"{path}: truncated, {size} of {end} bytes")
    if in_use or size < end:
        stream = opened.enter_context(MendedFile(path, max(size, end)))
        file = opened.enter_context(sealed.open_mended(path, stream))
    else:
        file = opened.enter_context(sealed.open_file(path))
    with capture_errors(path, "read"):
        return sealed.check_links(file["/"])


class SealedColumn:
    """A dataset that is read in whole chunks, each against its CRC-32.

    Parameters
    ----------
    path : Path
    found, checks : h5py.Dataset
        The column and its checksums, looked at but not read.
    n_promised : int
        Values the writer acknowledged [1].

    Attributes
    ----------
    n_present : int
        How many of them the file holds, right or wrong [1].

    Raises
    ------
    CaptureError
        If the chunks claim more than there is in the file.
    """

    def __init__(
        self, path: Path, found: h5py.Dataset, checks: h5py.Dataset, n_promised: int
    ) -> None:
        self._path, self._dataset, self._promised = path, found, n_promised
        self.chunk = int(found.chunks[0])
        self._cached: tuple[int, NDArray[Any]] | None = None
        size = path.stat().st_size
        stored = sealed.stored_samples(found, size)
        n_checks = sealed.stored_samples(checks, size)
        self._crcs = checks[:n_checks].astype(np.int64)
        self.n_present = min(n_promised, stored, n_checks * self.chunk)

    def read_chunk(self, number: int) -> NDArray[Any]:
        """Return chunk `number`, checked; the last one used is remembered."""
        if self._cached is not None and self._cached[0] == number:
            return self._cached[1]
        start = number * self.chunk
        size = min(self.chunk, self._promised - start)
        values = np.empty(size, dtype=self._dataset.dtype)
        with capture_errors(self._path, f"read {self._dataset.name}"):
            self._dataset.read_direct(values, np.s_[start : start + size])
        if zlib.crc32(values.data) != self._crcs[number]:
            raise CaptureError(
                f"{self._path}: {self._dataset.name}: chunk {number} is damaged "
                "(CRC-32)"
            )
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        self._cached = (number, values)
        return values

    def valid_prefix(self) -> int:
        """Return how many values come before the first damaged chunk."""
        good = 0
        while good < self.n_present:
            try:
                good += self.read_chunk(good // self.chunk).size
            except CaptureError:
                break
        return min(good, self.n_present)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return values [start, stop), all of which are present.

        Returns
        -------
        ndarray, shape (stop - start,) [1]

        Raises
        ------
        CaptureError
            If a checksum is wrong.
        """
        out = np.empty(stop - start, dtype=self._dataset.dtype.newbyteorder("="))
        at = start
        while at < stop:
            number, skip = divmod(at, self.chunk)
            piece = self.read_chunk(number)[skip : skip + stop - at]
            out[at - start : at - start + piece.size] = piece
            at += piece.size
        return out
