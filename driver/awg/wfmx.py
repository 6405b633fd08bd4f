"""Waveform files of Tektronix generators (WFMX): an XML header, then binary data.

The header names its own length in the attribute ``offset`` of the root element,
in nine digits. One float32 per sample follows, where -1 and 1 are the ends of the
channel's range, then one byte per sample whose bit k is marker k + 1.

Source: files that public programs write for the AWG70000 series.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MARKER_1, MARKER_2 = 0x1, 0x2
BYTES_PER_SAMPLE = 5
_OFFSET = "000000000"
# The time stamp is fixed: equal waveforms are equal files.
_HEADER = (
    f'<DataFile offset="{_OFFSET}" version="0.1">',
    '<DataSetsCollection xmlns="http://www.tektronix.com">',
    '<DataSets version="1" xmlns="http://www.tektronix.com">',
    "<DataDescription>",
    "<NumberSamples>{n_samples}</NumberSamples>",
    "<SamplesType>AWGWaveformSample</SamplesType>",
    "<MarkersIncluded>true</MarkersIncluded>",
    "<NumberFormat>Single</NumberFormat>",
    "<Endian>Little</Endian>",
    "<Timestamp>2000-01-01T00:00:00.000+00:00</Timestamp>",
    "</DataDescription>",
    '<ProductSpecific name="">',
    '<ReccSamplingRate units="Hz">NaN</ReccSamplingRate>',
    '<ReccAmplitude units="Volts">NaN</ReccAmplitude>',
    '<ReccOffset units="Volts">NaN</ReccOffset>',
    "<SerialNumber />",
    "<SoftwareVersion />",
    "<UserNotes />",
    "<OriginalBitDepth>Floating</OriginalBitDepth>",
    "<Thumbnail />",
    '<CreatorProperties name="" />',
    "</ProductSpecific>",
    "</DataSets>",
    "</DataSetsCollection>",
    "<Setup />",
    "</DataFile>",
)


def wfmx_header(n_samples: int) -> bytes:
    """Return the header of a file with markers."""
    text = "\r\n".join(_HEADER).replace("{n_samples}", str(n_samples))
    return text.replace(_OFFSET, f"{len(text):09d}").encode("ascii")


def wfmx_file(
    parts: list[NDArray[np.float32]], amplitude_vpp: float, markers: NDArray[np.uint8]
) -> bytearray:
    """Return a file that plays `parts` in a row.

    Parameters
    ----------
    parts : list of ndarray, shape (n_i,), float32 [V]
    amplitude_vpp : float
        Range of the channel, peak to peak [V].
    markers : ndarray, shape (sum of n_i,), uint8 [bits]
        Bit 0 is marker 1, bit 1 marker 2.
    """
    header = wfmx_header(markers.size)
    data = bytearray(len(header) + BYTES_PER_SAMPLE * markers.size)
    data[: len(header)] = header
    at = len(header)
    scale = np.float32(2.0 / amplitude_vpp)
    for part in parts:
        view = np.frombuffer(data, dtype="<f4", count=part.size, offset=at)
        np.multiply(part, scale, out=view)
        at += part.nbytes
    np.frombuffer(data, dtype=np.uint8, offset=at)[:] = markers
    return data
