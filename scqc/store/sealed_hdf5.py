"""Look into an HDF5 file without following anything out of it.

HDF5 follows external links, soft links, virtual datasets and external raw
storage silently; a crafted file can make a reader return any local file, or
ask for terabytes. Here every path component must be a plain hard link, and
every dataset and attribute is measured before any of it is read.
"""

from __future__ import annotations

import math
import stat
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5t
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store.capture_format import (
    MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTES,
    MAX_CHUNK_BYTES,
    MAX_LINKS,
)
from scqc.store.files import capture_errors
from scqc.store.mended_file import MendedFile

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = 3
# Filters of the HDF5 library itself: deflate, shuffle, Fletcher-32.
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
_FLETCHER32 = 3


def superblock(path: Path) -> tuple[bool, int]:
    """Read the first bytes of a file with our own eyes.

    Returns
    -------
    in_use : bool
        Whether a writer never finished with it.
    end : int
        File size the superblock promises [bytes].

    Raises
    ------
    CaptureError
        If this is no regular file, or no HDF5 file with checksummed metadata.
    """
    with capture_errors(path, "open"):
        if not stat.S_ISREG(path.stat().st_mode):
            raise CaptureError(f"{path}: not a regular file")
        with path.open("rb") as file:
            head = file.read(48)
    if len(head) < 48 or head[:8] != _SIGNATURE:
        raise CaptureError(f"{path}: not an HDF5 file")
    if head[8] != _SUPERBLOCK:
        raise CaptureError(
            f"{path}: HDF5 superblock {head[8]}, not {_SUPERBLOCK}: its metadata has "
            "no checksums"
        )
    return bool(head[11]), int.from_bytes(head[28:36], "little")


def open_file(path: Path) -> h5py.File:
    """Open a finished file for reading."""
    with capture_errors(path, "open"):
        return h5py.File(path, "r", locking=False)


def open_mended(path: Path, stream: MendedFile) -> h5py.File:
    """Open an unfinished or cut-off file through `stream`."""
    with capture_errors(path, "open"):
        return h5py.File(stream, "r")


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group `name` directly below `parent`.

    Raises
    ------
    CaptureError
        If it is missing, not a group, not a plain link, or has too many links.
    """
    found = _member(parent, name)
    if not isinstance(found, h5py.Group):
        raise CaptureError(f"{_where(parent, name)}: not a group")
    return check_links(found)


def check_links(found: h5py.Group) -> h5py.Group:
    """Refuse a group that holds anything but plain links."""
    if len(found) > MAX_LINKS:
        raise CaptureError(f"{found.name}: {len(found)} links, limit {MAX_LINKS}")
    for name in found:
        _check_plain(found, name)
    return found


def dataset(parent: h5py.Group, name: str, dtype: str, limit: int) -> h5py.Dataset:
    """Return a one-dimensional, chunked, checksummed dataset, unread.

    Parameters
    ----------
    parent : h5py.Group
    name : str
    dtype : str
        Exact type the dataset must have.
    limit : int
        Largest number of elements [1].

    Raises
    ------
    CaptureError
        If anything about it is not as stated.
    """
    where = _where(parent, name)
    found = _member(parent, name)
    if not isinstance(found, h5py.Dataset):
        raise CaptureError(f"{where}: not a dataset")
    _check_storage(found, where)
    if found.dtype != np.dtype(dtype):
        raise CaptureError(f"{where}: type {found.dtype}, not {np.dtype(dtype)}")
    if len(found.shape) != 1 or found.shape[0] > limit:
        raise CaptureError(f"{where}: shape {found.shape}, limit ({limit},)")
    chunk_bytes = int(np.prod(found.chunks)) * found.dtype.itemsize
    if chunk_bytes > MAX_CHUNK_BYTES:
        raise CaptureError(
            f"{where}: chunks of {chunk_bytes} bytes, limit {MAX_CHUNK_BYTES}"
        )
    return found


def compact_number(parent: h5py.Group, name: str) -> float:
    """Return a scalar dataset that lies in its own, checksummed, header.

    Raises
    ------
    CaptureError
        If it is anything else, or not a finite float64.
    """
    where = _where(parent, name)
    found = _member(parent, name)
    if not isinstance(found, h5py.Dataset):
        raise CaptureError(f"{where}: not a dataset")
    if found.id.get_create_plist().get_layout() != h5d.COMPACT:
        raise CaptureError(f"{where}: not compact")
    if found.dtype != np.dtype("<f8") or found.shape != ():
        raise CaptureError(f"{where}: {found.dtype} {found.shape}, not one float64")
    value = float(found[()])
    if not math.isfinite(value):
        raise CaptureError(f"{where}: {value} is not a finite number")
    return value


def _member(parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    _check_plain(parent, name)
    return parent[name]


def _check_plain(parent: h5py.Group, name: str) -> None:
    link = parent.get(name, getlink=True)
    if link is None:
        raise CaptureError(f"{_where(parent, name)}: missing")
    if not isinstance(link, h5py.HardLink):
        raise CaptureError(f"{_where(parent, name)}: a {type(link).__name__}, refused")


def _check_storage(found: h5py.Dataset, where: str) -> None:
    """Refuse virtual, external, unchecksummed or unknown storage."""
    plan = found.id.get_create_plist()
    if plan.get_external_count():
        raise CaptureError(f"{where}: data in another file (external storage), refused")
    if plan.get_layout() != h5d.CHUNKED:
        raise CaptureError(f"{where}: not chunked (virtual, contiguous or compact)")
    filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    unknown = [code for code in filters if code not in _FILTERS]
    if unknown:
        raise CaptureError(f"{where}: unknown filter {unknown[0]}, refused")
    if _FLETCHER32 not in filters:
        raise CaptureError(f"{where}: no checksum (fletcher32)")


def stored_samples(found: h5py.Dataset, file_bytes: int) -> int:
    """Return how many leading elements really are in the file.

    A missing chunk reads as zeros, silently; elements from the first hole on
    do not count.

    Raises
    ------
    CaptureError
        If the chunks claim more bytes than the file has, or skip a checksum.
    """
    size, chunk = int(found.shape[0]), int(found.chunks[0])
    present: set[int] = set()
    stored = [0]

    def visit(info: h5d.StoreInfo) -> bool | None:
        stored[0] += info.size
        if info.filter_mask or info.size > 2 * MAX_CHUNK_BYTES:
            raise CaptureError(f"{found.name}: a chunk without its checksum, refused")
        if stored[0] > file_bytes:
            raise CaptureError(
                f"{found.name}: chunks of {stored[0]} bytes in a file of {file_bytes}"
            )
        present.add(info.chunk_offset[0] // chunk)
        return None

    found.id.chunk_iter(visit)
    first_hole = 0
    while first_hole in present:
        first_hole += 1
    return min(size, first_hole * chunk)


def _attribute(owner: h5py.Group | h5py.Dataset, name: str) -> np.generic:
    where = f"{owner.name}: attribute {name!r}"
    if h5a.get_num_attrs(owner.id) > MAX_ATTRIBUTES:
        raise CaptureError(f"{owner.name}: more than {MAX_ATTRIBUTES} attributes")
    raw = name.encode()
    if not h5a.exists(owner.id, raw):
        raise CaptureError(f"{where}: missing")
    found = h5a.open(owner.id, raw)
    kind = found.get_type()
    if isinstance(kind, h5t.TypeStringID):
        plain = not kind.is_variable_str()
    else:
        plain = isinstance(kind, h5t.TypeIntegerID | h5t.TypeFloatID)
    if not plain or found.shape != ():
        raise CaptureError(f"{where}: not a plain scalar")
    if found.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        raise CaptureError(
            f"{where}: {found.get_storage_size()} bytes, limit {MAX_ATTRIBUTE_BYTES}"
        )
    value = np.empty(1, dtype=found.dtype)
    found.read(value.reshape(()))
    result: np.generic = value[0]
    return result


def text_attribute(owner: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return a one-line text attribute after measuring it."""
    value = _attribute(owner, name)
    if not isinstance(value, bytes):
        raise CaptureError(f"{owner.name}: attribute {name!r}: not text")
    text = value.decode()
    if not text.isprintable():
        raise CaptureError(f"{owner.name}: attribute {name!r}: control characters")
    return text


def number_attribute(owner: h5py.Group | h5py.Dataset, name: str) -> float:
    """Return a finite number."""
    value = _attribute(owner, name)
    if isinstance(value, bytes) or not math.isfinite(float(value)):
        raise CaptureError(
            f"{owner.name}: attribute {name!r} = {value!r}: not a finite number"
        )
    return float(value)


def count_attribute(owner: h5py.Group | h5py.Dataset, name: str, high: int) -> int:
    """Return an integer within [0, high]."""
    value = _attribute(owner, name)
    if not isinstance(value, np.integer) or not 0 <= int(value) <= high:
        raise CaptureError(
            f"{owner.name}: attribute {name!r} = {value!r}, limit 0 to {high}"
        )
    return int(value)


def read_bytes(found: h5py.Dataset) -> NDArray[np.uint8]:
    """Read a small byte dataset that was checked before.

    Returns
    -------
    ndarray, shape (n,), uint8 [byte]
    """
    data: NDArray[np.uint8] = found[:]
    return data


def _where(parent: h5py.Group, name: str) -> str:
    return f"{str(parent.name).rstrip('/')}/{name}"
