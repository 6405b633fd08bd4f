"""Captures of time tags: what was written comes back; the rest is a typed error."""

import json
import os
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest

from scqc.core.errors import CaptureError
from scqc.core.records import TimeTags
from scqc.store.capture_format import CaptureHeader
from scqc.store.capture_writer import CaptureWriter
from scqc.store.files import part_path
from scqc.store.inspect import describe, salvage
from scqc.store.sealed_reader import open_capture
from scqc.store.tag_capture import (
    CHUNK_TAGS,
    TagCaptureWriter,
    is_tag_capture,
    open_tag_capture,
)

HEADER = CaptureHeader("schema = 1\n# Zürich\n", "run-1", '{"block": 3}', '{"t": 1}')
SPAN_PS = 20 * 10**9


def tags_of(seed, n=None, lost=0, overflow=False):
    rng = np.random.default_rng(seed)
    n = CHUNK_TAGS + 100 if n is None else n
    times = np.sort(rng.integers(0, SPAN_PS, n))
    return TimeTags(
        times, rng.integers(1, 5, n).astype(np.uint8), SPAN_PS, lost, overflow
    )


def same(found, wanted):
    assert found.times_ps.dtype == np.int64
    assert found.channels.dtype == np.uint8
    assert np.array_equal(found.times_ps, wanted.times_ps)
    assert np.array_equal(found.channels, wanted.channels)
    assert (found.duration_ps, found.lost, found.overflow) == (
        wanted.duration_ps,
        wanted.lost,
        wanted.overflow,
    )


def write(path, n_bursts=3):
    with TagCaptureWriter(path, HEADER, n_bursts) as writer:
        for number in reversed(range(n_bursts)):
            writer.add(number, tags_of(number, lost=number, overflow=number == 1))
    return path


def test_round_trip_with_header_and_flags(tmp_path):
    path = write(tmp_path / "a.h5")
    with open_tag_capture(path) as capture:
        assert capture.header == HEADER
        assert capture.path == path
        assert capture.complete
        assert capture.n_bursts == 3
        assert capture.complete_bursts() == [0, 1, 2]
        for number in range(3):
            wanted = tags_of(number, lost=number, overflow=number == 1)
            same(capture.burst(number), wanted)


@pytest.mark.parametrize("n", [0, 1, CHUNK_TAGS - 1, CHUNK_TAGS, 2 * CHUNK_TAGS])
def test_lengths_around_a_chunk(tmp_path, n):
    with TagCaptureWriter(tmp_path / "a.h5", HEADER, 1) as writer:
        writer.add(0, tags_of(5, n))
    with open_tag_capture(tmp_path / "a.h5") as capture:
        same(capture.burst(0), tags_of(5, n))


def test_the_file_is_private_and_has_its_name_only_when_complete(tmp_path):
    path = tmp_path / "a.h5"
    previous = os.umask(0)
    try:
        with TagCaptureWriter(path, HEADER, 1) as writer:
            assert stat.S_IMODE(part_path(path).stat().st_mode) == 0o600
            assert not path.exists()
            writer.add(0, tags_of(0, 9))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not part_path(path).exists()


def test_layout_has_the_names_of_photon_hdf5(tmp_path):
    with h5py.File(write(tmp_path / "a.h5"), "r") as file:
        assert file.attrs["format"] == b"scqc-tags"
        photons = file["bursts/001/photon_data"]
        assert np.array_equal(photons["timestamps"], tags_of(1).times_ps)
        assert np.array_equal(photons["detectors"], tags_of(1).channels)
        assert photons["timestamps_specs/timestamps_unit"][()] == 1e-12
        assert photons["timestamps"].attrs["units"] == b"ps"
        assert photons["timestamps"].attrs["overflow"] == 1
        assert photons["detectors"].fletcher32


WATCH = """
import sys
from pathlib import Path
from scqc.store.tag_capture import open_tag_capture
with open_tag_capture(Path(sys.argv[1]), salvage=True) as capture:
    print(capture.complete_bursts(), int(capture.burst(1).times_ps.sum()))
"""


def test_a_second_process_can_watch(tmp_path):
    path = tmp_path / "a.h5"
    with TagCaptureWriter(path, HEADER, 4) as writer:
        writer.add(1, tags_of(1))
        seen = subprocess.run(
            [sys.executable, "-c", WATCH, str(part_path(path))],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout
    assert seen.split("\n")[0] == f"[1] {tags_of(1).times_ps.sum()}"


PLAIN_WATCH = """
import sys
import h5py
with h5py.File(sys.argv[1], "r", swmr=True, locking=False) as file:
    print(int(file["bursts/001/photon_data/timestamps"][:].sum()))
"""


def test_plain_hdf5_programs_can_watch(tmp_path):
    """HDF5 lets nobody follow a writer that is not in its single-writer mode."""
    path = tmp_path / "a.h5"
    with TagCaptureWriter(path, HEADER, 4) as writer:
        writer.add(1, tags_of(1))
        seen = subprocess.run(
            [sys.executable, "-c", PLAIN_WATCH, str(part_path(path))],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout
    assert int(seen) == tags_of(1).times_ps.sum()


def interrupted(path):
    with TagCaptureWriter(path, HEADER, 3) as writer:
        writer.add(0, tags_of(0))
        writer.add(2, tags_of(2))
        raise KeyboardInterrupt


def test_an_error_leaves_the_bursts_that_were_added(tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert not path.exists()
    part = part_path(path)
    assert is_tag_capture(part)
    with pytest.raises(CaptureError, match="unfinished"):
        open_tag_capture(part)
    found = describe(part)
    assert (found["readable"], found["finished"]) == (True, False)
    assert found["problem"] is None
    found = salvage(part, tmp_path / "b.h5")
    assert (found["salvaged"], found["finished"]) == (True, True)
    with open_tag_capture(tmp_path / "b.h5") as capture:
        assert capture.header.salvaged
        assert capture.header.run_uuid == "run-1"
        assert capture.complete_bursts() == [0, 2]
        same(capture.burst(2), tags_of(2))
        with pytest.raises(CaptureError, match="burst 1 was never finished"):
            capture.burst(1)
        with pytest.raises(CaptureError, match="missing"):
            capture.burst(3)


def test_describe_is_json(tmp_path):
    found = describe(write(tmp_path / "a.h5"))
    assert json.loads(json.dumps(found)) == found
    assert found["format"] == "scqc-tags"
    assert found["readable"]
    assert found["finished"]
    burst = found["bursts"][1]["photon_data"]
    channels = tags_of(1).channels
    assert burst == {
        "n_tags": channels.size,
        "complete": True,
        "per_input": {str(k): int((channels == k).sum()) for k in range(1, 5)},
        "duration_ps": SPAN_PS,
        "lost": 1,
        "overflow": True,
    }


def test_which_files_are_tag_captures(tmp_path):
    assert is_tag_capture(write(tmp_path / "tags.h5"))
    with CaptureWriter(tmp_path / "samples.h5", HEADER, 1):
        pass
    (tmp_path / "text").write_bytes(b"hello")
    (tmp_path / "hdf").write_bytes(b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00" + bytes(99))
    for name in ("samples.h5", "text", "hdf", "missing", "."):
        assert not is_tag_capture(tmp_path / name)
    with pytest.raises(CaptureError, match="'scqc-capture', not 'scqc-tags'"):
        open_tag_capture(tmp_path / "samples.h5")
    with pytest.raises(CaptureError, match="'scqc-tags', not 'scqc-capture'"):
        open_capture(tmp_path / "tags.h5")


def test_writer_refuses_misuse(tmp_path):
    path = write(tmp_path / "a.h5")
    with pytest.raises(CaptureError, match="exists already"):
        TagCaptureWriter(path, HEADER, 1)
    with pytest.raises(CaptureError, match="limit 1 to 4096"):
        TagCaptureWriter(tmp_path / "b.h5", HEADER, 4097)
    with TagCaptureWriter(tmp_path / "c.h5", HEADER, 1) as writer:
        with pytest.raises(CaptureError):
            writer.add(1, tags_of(0))
        long = TimeTags(np.zeros(0, np.int64), np.zeros(0, np.uint8), 1 << 63)
        with pytest.raises(CaptureError, match="limit"):
            writer.add(0, long)
        writer.add(0, tags_of(0))
        with pytest.raises(CaptureError, match="written already"):
            writer.add(0, tags_of(0))
    with pytest.raises(CaptureError):
        writer.add(0, tags_of(0))
