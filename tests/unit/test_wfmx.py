"""Waveform files: what the driver writes, and what the emulated generator refuses."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from driver.awg.wfmx import wfmx_file, wfmx_header
from scqc.core.rng import stream
from sim_backends.devices.wfmx import read_wfmx
from sim_backends.wire.status import ScpiError


def good(n_samples=2400):
    volts = stream(1, "wfmx").uniform(-0.2, 0.2, n_samples).astype(np.float32)
    markers = (np.arange(n_samples) % 4).astype(np.uint8)
    return volts, markers, wfmx_file([volts[:100], volts[100:]], 0.4, markers)


def test_layout_read_by_an_xml_parser():
    volts, markers, data = good()
    length = int(bytes(data).split(b'offset="')[1][:9])
    root = ET.fromstring(bytes(data[:length]).decode())
    assert root.tag == "DataFile"
    found = {e.tag.rpartition("}")[2]: e.text for e in root.iter()}
    wanted = {
        "NumberSamples": "2400",
        "MarkersIncluded": "true",
        "NumberFormat": "Single",
        "Endian": "Little",
    }
    assert wanted.items() <= found.items()
    body = bytes(data[length:])
    np.testing.assert_allclose(
        np.frombuffer(body[:9600], "<f4"), volts / 0.2, rtol=3e-7
    )
    assert body[9600:] == markers.tobytes()


def test_emulator_reads_what_the_driver_writes():
    volts, markers, data = good()
    found = read_wfmx(memoryview(data))
    np.testing.assert_allclose(found.samples, volts / 0.2, rtol=3e-7)
    np.testing.assert_array_equal(found.markers, markers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<DataFile", b"<DataFil3"),
        (b'offset="000000', b'offset="999999'),
        (b'offset="000000', b'offset="000001'),
        (b'offset="0000', b'offset="-000'),
        (b"<NumberSamples>2400", b"<NumberSamples>2401"),
        (b"<NumberSamples>2400", b"<NumberSamples>9999"),
        (b"<NumberSamples>2400", b"<NumberSamples>-240"),
        (b"<NumberSamples>2400", b"<NumberSamples>0000"),
        (b"Single", b"Double"),
        (b"Little", b"BigBig"),
        (b"<Endian>Little</Endian>", b"<Endian>Little</Endiax>"),
        (b"<MarkersIncluded>true", b"<MarkersIncluded>nope"),
    ],
)
def test_damaged_headers(old, new):
    data = bytes(good()[2])
    assert old in data
    assert len(old) == len(new)
    with pytest.raises(ScpiError):
        read_wfmx(memoryview(data.replace(old, new, 1)))


def test_damaged_sizes_and_values():
    data = bytes(good()[2])
    for cut in (0, 1, 20, 500, len(data) - 1):
        with pytest.raises(ScpiError):
            read_wfmx(memoryview(data[:cut]))
    with pytest.raises(ScpiError):
        read_wfmx(memoryview(data + b"\0"))
    start = len(wfmx_header(2400))
    broken = data[:start] + np.float32(np.nan).tobytes() + data[start + 4 :]
    with pytest.raises(ScpiError, match="no number"):
        read_wfmx(memoryview(broken))


def test_huge_count_allocates_nothing():
    header = wfmx_header(1_999_999_999)
    with pytest.raises(ScpiError):
        read_wfmx(memoryview(header + bytes(100)))
