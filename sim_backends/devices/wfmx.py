"""Reads waveform files (WFMX) as a Tektronix generator does, and trusts nothing.

The header is searched for the few elements that matter; it is not parsed as XML,
so that no entity can be expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_backends.wire.status import ScpiError

SHORTEST, LONGEST = 2400, 2_000_000_000
_BAD_FILE = -230
_HEAD_BYTES = 4096
_LONGEST_HEADER = 1 << 16
_OFFSET = re.compile(rb'<DataFile\s[^>]*\boffset="(\d{9})"')
_WANTED = {b"NumberFormat": b"Single", b"Endian": b"Little"}


@dataclass(frozen=True, slots=True)
class WaveformFile:
    """One waveform of the list.

    Attributes
    ----------
    samples : ndarray, shape (n,), float32 [1]
        In units of half the channel's range.
    markers : ndarray, shape (n,), uint8 [bits]
        Bit k is marker k + 1.
    """

    samples: NDArray[np.float32]
    markers: NDArray[np.uint8]


def read_wfmx(data: memoryview) -> WaveformFile:
    """Return the waveform in a file.

    Raises
    ------
    ScpiError
        -230 if the file is malformed, has another size than it says, or holds
        values that are no numbers; -222 if its length is outside the limits.
    """
    match = _OFFSET.match(bytes(data[:_HEAD_BYTES]))
    if match is None:
        raise ScpiError(_BAD_FILE, "no DataFile with an offset")
    offset = int(match[1])
    if not len(match[0]) < offset <= min(_LONGEST_HEADER, len(data)):
        raise ScpiError(_BAD_FILE, f"header of {offset} bytes")
    header = bytes(data[:offset])
    if not header.rstrip().endswith(b"</DataFile>"):
        raise ScpiError(_BAD_FILE, "the offset is not the end of the header")
    for name, wanted in _WANTED.items():
        if _element(header, name) != wanted:
            raise ScpiError(_BAD_FILE, f"{name.decode()} is not {wanted.decode()}")
    n_samples = _count(header)
    marked = _element(header, b"MarkersIncluded") == b"true"
    if len(data) - offset != n_samples * (5 if marked else 4):
        raise ScpiError(_BAD_FILE, f"{len(data)} bytes for {n_samples} samples")
    samples = np.frombuffer(data, "<f4", n_samples, offset)
    if not np.all(np.isfinite(samples)):
        raise ScpiError(_BAD_FILE, "a sample is no number")
    if marked:
        markers = np.frombuffer(data, np.uint8, n_samples, offset + 4 * n_samples)
    else:
        markers = np.zeros(n_samples, dtype=np.uint8)
    return WaveformFile(samples, markers)


def _count(header: bytes) -> int:
    text = _element(header, b"NumberSamples")
    if not text.isdigit() or len(text) > 10:
        raise ScpiError(_BAD_FILE, "NumberSamples is no number")
    n_samples = int(text)
    if not SHORTEST <= n_samples <= LONGEST:
        raise ScpiError(-222, f"{n_samples} not in {SHORTEST}..{LONGEST}")
    return n_samples


def _element(header: bytes, name: bytes) -> bytes:
    """Return the text of the only element called `name`."""
    found = re.findall(rb"<%b>([^<]*)</%b>" % (name, name), header)
    if len(found) != 1:
        raise ScpiError(_BAD_FILE, f"{len(found)} elements {name.decode()}")
    return bytes(found[0]).strip()
