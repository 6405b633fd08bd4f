"""An HDF5 file that grows burst by burst, and what a crash may do to it.

Every group and dataset exists before the first value; the file is then in
HDF5's single-writer mode, whose order of writes keeps it readable at any
instant. It is called ``NAME.part`` until it is complete.
"""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store.capture_format import (
    CRC_CHUNK,
    CRC_GROUP,
    FORMAT_VERSION,
    MAX_BURSTS,
    MAX_TEXT_BYTES,
    CaptureHeader,
    burst_name,
)
from scqc.store.files import (
    HDF5_FAILURES,
    capture_errors,
    fsync_path,
    part_path,
    publish,
)

_PAGE_BYTES = 4096


class GrowingFile(ABC):
    """A file of bursts in the making; use it as a context manager.

    Parameters
    ----------
    path : Path
        Final name; must not exist yet.
    header : CaptureHeader
    n_bursts : int
        Bursts the file has room for, 1 to 4096 [1].
    format_name : str
        What the file says it is.

    Raises
    ------
    CaptureError
        If the file exists or cannot be written. On an error inside the ``with``
        block what was acknowledged stays in ``NAME.part``.
    """

    def __init__(
        self, path: Path, header: CaptureHeader, n_bursts: int, format_name: str
    ) -> None:
        if not 1 <= n_bursts <= MAX_BURSTS:
            raise CaptureError(f"{path}: {n_bursts} bursts, limit 1 to {MAX_BURSTS}")
        self.path, self.part = path, part_path(path)
        with capture_errors(path, "create"):
            if path.exists():
                raise CaptureError(f"{path}: exists already; captures are never redone")
            # With the public transcript, Bob's samples give his raw key: nobody
            # else may read them.
            os.close(os.open(self.part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            # Metadata is rewritten in place; a kill can tear a write between two
            # pages of the system's cache, so no piece of it may straddle them.
            self._file = h5py.File(
                self.part,
                "w",
                libver="latest",
                locking=False,
                fs_strategy="page",
                fs_page_size=_PAGE_BYTES,
            )
            self._lay_out(header, n_bursts, format_name)
            self._file.swmr_mode = True
            self._file.flush()
            fsync_path(self.part)

    def _lay_out(self, header: CaptureHeader, n_bursts: int, format_name: str) -> None:
        texts = {
            "config": header.config_toml,
            "layout": header.layout_json,
            "instruments": header.instruments_json,
        }
        for name, text in texts.items():
            _store_text(self._file, name, text)
        labels = {
            "format": format_name,
            "format_version": FORMAT_VERSION,
            "run_uuid": header.run_uuid,
            "created_utc": header.created_utc,
            "software_version": header.software_version,
        }
        for name, label in labels.items():
            self._file.attrs.create(name, np.bytes_(label.encode()))
        self._file.attrs.create("complete", 0, dtype="<i8")
        self._file.attrs.create("salvaged", int(header.salvaged), dtype="<i8")
        bursts = self._file.create_group("bursts")
        for number in range(n_bursts):
            self._lay_out_burst(bursts.create_group(burst_name(number)))

    @abstractmethod
    def _lay_out_burst(self, group: h5py.Group) -> None:
        """Create everything a burst will hold."""

    def close(self, complete: bool) -> None:
        """Close the file; a complete one gets its final name."""
        with capture_errors(self.path, "finish"):
            try:
                if complete:
                    self._file.attrs.modify("complete", np.int64(1))
                self._file.flush()
                self._file.close()
            except HDF5_FAILURES:
                let_go(self._file)
                raise
            if complete:
                publish(self.part, self.path)
            else:
                fsync_path(self.part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close(complete=True)
            return
        # What went wrong first is what there is to tell.
        with suppress(CaptureError):
            self.close(complete=False)


def let_go(file: h5py.File) -> None:
    """Close a file whose disk takes no more, such as a full one.

    HDF5 keeps what it could not write, tries again when the program ends, and brings
    it down. What is left goes to memory instead; the file on the disk stays as it is.
    """
    if not (file.id.valid and hasattr(os, "memfd_create")):
        return
    aside = os.memfd_create("capture", os.MFD_CLOEXEC)
    try:
        os.dup2(aside, file.id.get_vfd_handle(), inheritable=False)
        with suppress(*HDF5_FAILURES):
            file.close()
    finally:
        os.close(aside)


def create_column(
    group: h5py.Group, name: str, dtype: str, units: str, chunk: int
) -> h5py.Dataset:
    """Create an empty dataset that grows in chunks of `chunk` values."""
    dataset = group.create_dataset(
        name,
        shape=(0,),
        maxshape=(None,),
        chunks=(chunk,),
        dtype=dtype,
        fletcher32=True,
    )
    dataset.attrs.create("units", np.bytes_(units.encode()))
    return dataset


def create_checks(group: h5py.Group, name: str) -> h5py.Dataset:
    """Create the dataset of the CRC-32 of each chunk of the column `name`."""
    path = f"{CRC_GROUP}/{name}"
    return create_column(group, path, "<u4", "CRC-32", CRC_CHUNK)


def append_chunks(
    dataset: h5py.Dataset, checks: h5py.Dataset, start: int, values: NDArray[Any]
) -> None:
    """Append values and their checksums.

    Parameters
    ----------
    dataset, checks : h5py.Dataset
    start : int
        Where the values go: the end of the dataset, and of a chunk [1].
    values : ndarray, shape (n,), type of the dataset [1]
    """
    chunk = int(dataset.chunks[0])
    dataset.resize((start + values.size,))
    dataset[start:] = values
    dataset.flush()
    crcs = [
        zlib.crc32(values[at : at + chunk].data) for at in range(0, values.size, chunk)
    ]
    number = start // chunk
    checks.resize((number + len(crcs),))
    checks[number:] = np.array(crcs, dtype="<u4")
    checks.flush()


def _store_text(file: h5py.File, name: str, text: str) -> None:
    """Store text as checksummed bytes: HDF5 strings carry no checksum."""
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    if raw.size > MAX_TEXT_BYTES:
        raise CaptureError(f"/{name}: {raw.size} bytes, limit {MAX_TEXT_BYTES}")
    file.create_dataset(
        name,
        data=raw,
        chunks=(max(1, min(raw.size, 1 << 20)),),
        maxshape=(None,),
        fletcher32=True,
    ).attrs.create("units", np.bytes_(b"UTF-8"))
