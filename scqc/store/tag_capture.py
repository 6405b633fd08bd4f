"""Captures of time tags: written burst by burst, read without being trusted.

The burst's groups carry the names of Photon-HDF5 [1]_::

    /                       as in a capture of samples; format "scqc-tags"
    /config /layout /instruments        UTF-8 text as bytes (with checksums)
    /bursts/000/photon_data/timestamps  int64 [ps]
    /bursts/000/photon_data/detectors   uint8, input of the tagger, from 1
    /bursts/000/photon_data/timestamps_specs/timestamps_unit    float64 [s]
    /bursts/000/crc32/timestamps ...    uint32, one CRC-32 per chunk

The timestamps have the attributes units, duration_ps, lost, overflow, n_valid
and complete. A burst is written in one go and counts only as a whole: tags that
stop early would look like slots without a detection.

References
----------
.. [1] A. Ingargiola et al., "Photon-HDF5: an open file format for
       timestamp-based single-molecule fluorescence experiments", Biophys. J.
       110, 26 (2016).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.core.records import TimeTags
from scqc.store import sealed_hdf5 as sealed
from scqc.store.capture_format import (
    CRC_GROUP,
    MAX_CHUNKS,
    CaptureHeader,
    burst_name,
)
from scqc.store.files import capture_errors
from scqc.store.growing_file import (
    GrowingFile,
    append_chunks,
    create_checks,
    create_column,
)
from scqc.store.sealed_file import SealedColumn, SealedFile, open_root

TAG_FORMAT = "scqc-tags"
CHUNK_TAGS = 1 << 15
MAX_TAGS = 1 << 36
MAX_COUNT = (1 << 63) - 1
_UNIT_S = 1e-12
# Name, type and units of the columns.
_TIMES, _INPUTS = ("timestamps", "<i8", "ps"), ("detectors", "|u1", "input")
_BYTES_PER_TAG = 9


class TagCaptureWriter(GrowingFile):
    """A capture of time tags in the making; use it as a context manager.

    Parameters
    ----------
    path : Path
        Final name; must not exist yet.
    header : CaptureHeader
    n_bursts : int
        Bursts the file has room for, 1 to 4096 [1].

    Raises
    ------
    CaptureError
        If the file exists or cannot be written. On an error inside the ``with``
        block the bursts that were added stay in ``NAME.part``.
    """

    def __init__(self, path: Path, header: CaptureHeader, n_bursts: int) -> None:
        self._used: set[int] = set()
        super().__init__(path, header, n_bursts, TAG_FORMAT)

    def _lay_out_burst(self, group: h5py.Group) -> None:
        photons = group.create_group("photon_data")
        for name, dtype, units in (_TIMES, _INPUTS):
            create_column(photons, name, dtype, units, CHUNK_TAGS)
            create_checks(group, name)
        for name in ("duration_ps", "lost", "overflow", "n_valid", "complete"):
            photons["timestamps"].attrs.create(name, 0, dtype="<i8")
        # Compact: the value lies in the header of the dataset, under its checksum.
        plan = h5p.create(h5p.DATASET_CREATE)
        plan.set_layout(h5d.COMPACT)
        h5d.create(
            photons.create_group("timestamps_specs").id,
            b"timestamps_unit",
            h5t.IEEE_F64LE,
            h5s.create(h5s.SCALAR),
            plan,
        ).write(h5s.create(h5s.SCALAR), h5s.create(h5s.SCALAR), np.array(_UNIT_S))

    def add(self, number: int, tags: TimeTags) -> None:
        """Write burst `number`; it survives a crash when this returns.

        Raises
        ------
        CaptureError
            If the burst does not exist, was added before, or the disk is full.
        """
        if number in self._used:
            raise CaptureError(f"{self.path}: burst {number} is written already")
        if max(tags.duration_ps, tags.lost) > MAX_COUNT:
            raise CaptureError(
                f"{self.path}: burst {number}: duration {tags.duration_ps} ps, "
                f"{tags.lost} lost, limit {MAX_COUNT}"
            )
        with capture_errors(self.path, f"burst {number}"):
            group = self._file["bursts"][burst_name(number)]
            photons, checks = group["photon_data"], group[CRC_GROUP]
            self._used.add(number)
            for (name, dtype, _), values in (
                (_TIMES, tags.times_ps),
                (_INPUTS, tags.channels),
            ):
                column = np.ascontiguousarray(values, dtype=dtype)
                append_chunks(photons[name], checks[name], 0, column)
            attributes = photons["timestamps"].attrs
            for name in ("duration_ps", "lost", "overflow"):
                attributes.modify(name, np.int64(getattr(tags, name)))
            # Only now may a reader, or the salvage, count them.
            attributes.modify("n_valid", np.int64(tags.times_ps.size))
            attributes.modify("complete", np.int64(1))
            self._file.flush()


class TagCapture(SealedFile):
    """An open capture of time tags; made by `open_tag_capture`.

    Attributes
    ----------
    path : Path
    header : CaptureHeader
    n_bursts : int
        Bursts the file has room for [1].
    complete : bool
        Whether the file was finished.
    """

    FORMAT = TAG_FORMAT

    def complete_bursts(self) -> list[int]:
        """Return the numbers of the bursts that were written whole.

        Raises
        ------
        CaptureError
            If a burst is not what a burst must be.
        """
        return [n for n in range(self.n_bursts) if self.is_complete(n)]

    def is_complete(self, number: int) -> bool:
        """Return whether burst `number` was written whole.

        Raises
        ------
        CaptureError
            If it does not exist or is not what a burst must be.
        """
        return self._timestamps(number)[1]

    def burst(self, number: int) -> TimeTags:
        """Return burst `number`.

        Raises
        ------
        CaptureError
            If it does not exist, was not written whole, or is damaged.
        """
        with capture_errors(self.path, f"burst {number}"):
            times, complete = self._timestamps(number)
            if not complete:
                raise CaptureError(f"{self.path}: burst {number} was never finished")
            n_tags = self._n_tags(times)
            counts = {
                name: sealed.count_attribute(times, name, limit)
                for name, limit in (("duration_ps", MAX_COUNT), ("lost", MAX_COUNT))
            }
            overflow = bool(sealed.count_attribute(times, "overflow", 1))
            self._check_unit(number)
            return TimeTags(
                self._column(number, _TIMES, n_tags),
                self._column(number, _INPUTS, n_tags),
                overflow=overflow,
                **counts,
            )

    def _n_tags(self, times: h5py.Dataset) -> int:
        n_tags = sealed.count_attribute(times, "n_valid", MAX_TAGS)
        size = self.path.stat().st_size
        # Ours are not compressed: no file may make more of itself in memory.
        if _BYTES_PER_TAG * n_tags > size:
            raise CaptureError(f"{times.name}: {n_tags} tags in a file of {size} bytes")
        return n_tags

    def _photons(self, number: int) -> tuple[h5py.Group, h5py.Group]:
        burst = sealed.group(self._bursts, burst_name(number))
        return burst, sealed.group(burst, "photon_data")

    def _timestamps(self, number: int) -> tuple[h5py.Dataset, bool]:
        """Return the timestamps, unread, and whether the burst is whole."""
        with capture_errors(self.path, f"burst {number}"):
            name, dtype, _ = _TIMES
            _, photons = self._photons(number)
            found = sealed.dataset(photons, name, dtype, MAX_TAGS)
            return found, bool(sealed.count_attribute(found, "complete", 1))

    def _check_unit(self, number: int) -> None:
        _, photons = self._photons(number)
        specs = sealed.group(photons, "timestamps_specs")
        unit_s = sealed.compact_number(specs, "timestamps_unit")
        if unit_s != _UNIT_S:
            raise CaptureError(
                f"{self.path}: burst {number}: unit of time {unit_s} s, not {_UNIT_S} s"
            )

    def _column(
        self, number: int, column: tuple[str, str, str], n_tags: int
    ) -> NDArray[Any]:
        """Return a column whole, every chunk against its checksum."""
        name, dtype, units = column
        burst, photons = self._photons(number)
        found = sealed.dataset(photons, name, dtype, MAX_TAGS)
        stated = sealed.text_attribute(found, "units")
        if stated != units:
            raise CaptureError(f"{found.name}: units {stated!r}, not {units!r}")
        crcs = sealed.group(burst, CRC_GROUP)
        checks = sealed.dataset(crcs, name, "<u4", MAX_CHUNKS)
        stored = SealedColumn(self.path, found, checks, n_tags)
        if stored.n_present < n_tags:
            raise CaptureError(
                f"{self.path}: {found.name}: {n_tags} tags promised, "
                f"{stored.n_present} present"
            )
        return stored.read(0, n_tags)


def open_tag_capture(path: Path, salvage: bool = False) -> TagCapture:
    """Open a capture of time tags without trusting it.

    Parameters
    ----------
    path : Path
    salvage : bool
        Accept an unfinished or cut-off file; `TagCapture.complete_bursts` says
        what is in it.

    Raises
    ------
    CaptureError
        If the file is damaged, hostile, unfinished or of another format.
    """
    return TagCapture(path, salvage)


def is_tag_capture(path: Path) -> bool:
    """Return whether a file, finished or not, says that it holds time tags.

    Anything that is no readable HDF5 file is not one; what is wrong with it is
    for the reader of the other kind to say.
    """
    with ExitStack() as opened:
        try:
            root = open_root(path, True, opened)
            with capture_errors(path, "read"):
                return sealed.text_attribute(root, "format") == TAG_FORMAT
        except CaptureError:
            return False
