"""Captures: what was written comes back; the rest is a typed error."""

import json
import os
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest

from scqc.core.errors import CaptureError
from scqc.core.records import Trace
from scqc.store.alice_record import AliceBurst, read_alice_record, write_alice_record
from scqc.store.capture_format import CaptureHeader, RecordScale
from scqc.store.capture_writer import CaptureWriter
from scqc.store.files import part_path
from scqc.store.inspect import describe, salvage
from scqc.store.results import (
    SentMessage,
    read_result,
    read_transcript,
    write_result,
    write_transcript,
)
from scqc.store.sealed_reader import open_capture

SCALE = RecordScale(4e8, 1e-3, 0.002, 1.5)
HEADER = CaptureHeader(
    "schema = 1\n# Zürich\n", "0000-1111", '{"frame": 1}', '{"scope": "x"}'
)


def codes_of(n, seed=0):
    return np.random.default_rng(seed).integers(-512, 512, n).astype(np.int16)


def write(path, n_bursts=2, n=5000, chunk=1024):
    with CaptureWriter(path, HEADER, n_bursts, chunk) as writer:
        for burst in range(n_bursts):
            for k, kind in enumerate(("shot", "electronic", "signal")):
                with writer.record(burst, kind, SCALE) as record:
                    codes = codes_of(n, 10 * burst + k)
                    record.append(codes[:777], clipped=2)
                    record.append(codes[777:], clipped=1)
    return path


def test_round_trip_with_header_scale_and_clipping(tmp_path):
    path = write(tmp_path / "a.h5")
    with open_capture(path) as capture:
        assert capture.header == HEADER
        assert capture.complete
        assert capture.n_bursts == 2
        record = capture.burst(1).signal
        assert record.scale == SCALE
        assert (record.n_samples, record.clipped, record.complete) == (5000, 3, True)
        assert np.array_equal(record.read(0, 5000), codes_of(5000, 12))
        pieces = list(record.chunks(1500))
        assert [p.size for p in pieces] == [1500, 1500, 1500, 500]
        assert pieces[0].dtype == np.int16
        assert np.array_equal(np.concatenate(pieces), codes_of(5000, 12))
        shot = capture.burst(0).shot
        assert np.array_equal(shot.read(10, 20), codes_of(5000, 0)[10:20])


def test_a_complete_capture_has_lost_its_part_suffix(tmp_path):
    path = tmp_path / "a.h5"
    with CaptureWriter(path, HEADER, 1) as writer:
        assert part_path(path).exists()
        assert not path.exists()
        writer.add_trace(
            0, "signal", Trace(codes_of(9)[None], (1e-3,), (0.0,), 4e8, 0.0, (4,))
        )
    assert path.exists()
    assert not part_path(path).exists()
    with open_capture(path) as capture:
        assert capture.burst(0).signal.clipped == 4
        assert capture.burst(0).shot.n_samples == 0
        assert capture.burst(0).shot.scale is None


def test_layout_is_plain_hdf5_for_other_programs(tmp_path):
    with h5py.File(write(tmp_path / "a.h5"), "r") as file:
        assert file.attrs["format"] == b"scqc-capture"
        signal = file["bursts/001/signal"]
        assert file["bursts/000/calibration/shot"].dtype == np.dtype("<i2")
        assert signal.fletcher32
        assert signal.attrs["units"] == b"code"
        assert signal.attrs["rate_hz"] == 4e8
        assert bytes(file["config"][:]).decode() == HEADER.config_toml


WATCH = """
import sys
from pathlib import Path
from scqc.store.sealed_reader import open_capture
with open_capture(Path(sys.argv[1]), salvage=True) as capture:
    record = capture.burst(0).signal
    sys.stdout.buffer.write(record.read(0, record.n_samples).tobytes())
"""


def test_a_second_process_can_watch(tmp_path):
    path = tmp_path / "a.h5"
    with (
        CaptureWriter(path, HEADER, 1, 100) as writer,
        writer.record(0, "signal", SCALE) as record,
    ):
        assert record.append(codes_of(250)) == 200
        seen = subprocess.run(
            [sys.executable, "-c", WATCH, str(part_path(path))],
            check=True,
            capture_output=True,
            timeout=300,
        ).stdout
    assert np.array_equal(np.frombuffer(seen, np.int16), codes_of(250)[:200])


def test_an_error_leaves_the_acknowledged_samples(tmp_path):
    path = tmp_path / "a.h5"

    def fail():
        with (
            CaptureWriter(path, HEADER, 1, 100) as writer,
            writer.record(0, "signal", SCALE) as record,
        ):
            record.append(codes_of(250))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not path.exists()
    part = part_path(path)
    with pytest.raises(CaptureError, match="unfinished"):
        open_capture(part)
    found = salvage(part, tmp_path / "b.h5")
    assert found["salvaged"]
    assert found["bursts"][0]["signal"]["n_samples"] == 200
    with open_capture(tmp_path / "b.h5") as capture:
        assert capture.header.salvaged
        record = capture.burst(0).signal
        assert np.array_equal(record.read(0, 200), codes_of(250)[:200])


def test_describe_is_json_and_never_raises(tmp_path):
    found = describe(write(tmp_path / "a.h5"))
    assert json.loads(json.dumps(found)) == found
    assert found["readable"]
    assert found["finished"]
    assert found["problem"] is None
    assert found["bursts"][1]["electronic"]["n_samples"] == 5000
    (tmp_path / "b.h5").write_bytes(b"hello")
    for name in ("b.h5", "missing.h5", "."):
        found = describe(tmp_path / name)
        assert not found["readable"]
        assert found["problem"]


def test_writer_refuses_misuse(tmp_path):
    path = write(tmp_path / "a.h5")
    with pytest.raises(CaptureError, match="exists already"):
        CaptureWriter(path, HEADER, 1)
    with pytest.raises(CaptureError, match="limit 1 to 4096"):
        CaptureWriter(tmp_path / "b.h5", HEADER, 0)
    with CaptureWriter(tmp_path / "c.h5", HEADER, 1, 64) as writer:
        record = writer.record(0, "signal", SCALE)
        with pytest.raises(CaptureError, match="still open"):
            writer.record(0, "shot", SCALE)
        with pytest.raises(CaptureError, match="int16"):
            record.append(np.zeros(3, np.int32))
        record.close()
        with pytest.raises(CaptureError, match="closed"):
            record.append(codes_of(3))
        with pytest.raises(CaptureError, match="written already"):
            writer.record(0, "signal", SCALE)
        with pytest.raises(CaptureError):
            writer.record(7, "signal", SCALE)


@pytest.mark.parametrize(
    "bad",
    [
        {"rate_hz": 0.0},
        {"rate_hz": float("nan")},
        {"scale_v": -1.0},
        {"offset_v": float("inf")},
        {"t0_s": float("nan")},
    ],
)
def test_scales_are_checked(bad):
    with pytest.raises(CaptureError, match=next(iter(bad))):
        RecordScale(**({"rate_hz": 4e8, "scale_v": 1e-3} | bad))


def test_reading_outside_a_record_is_refused(tmp_path):
    with open_capture(write(tmp_path / "a.h5")) as capture:
        with pytest.raises(CaptureError, match="0 to 5001 of 5000"):
            capture.burst(0).signal.read(0, 5001)
        with pytest.raises(CaptureError, match="missing"):
            capture.burst(2)
        with pytest.raises(CaptureError, match="limit 1"):
            list(capture.burst(0).signal.chunks(0))


def test_alice_record_round_trip_is_private(tmp_path):
    rng = np.random.default_rng(1)
    symbols = (rng.normal(size=11) + 1j * rng.normal(size=11)).astype(np.complex64)
    burst = AliceBurst(symbols, rng.integers(0, 2, 37).astype(np.uint8))
    path = tmp_path / "alice.bin"
    previous = os.umask(0)
    try:
        write_alice_record(path, "run", [burst, burst])
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    run, bursts = read_alice_record(path)
    assert run == "run"
    assert np.array_equal(bursts[1].symbols, symbols)
    assert np.array_equal(bursts[1].bits, burst.bits)
    assert "0." not in repr(burst)
    path.chmod(0o640)
    with pytest.raises(CaptureError, match="640"):
        read_alice_record(path)
    with pytest.raises(CaptureError, match="exists already"):
        write_alice_record(path, "run", [burst])


def test_damaged_alice_record_is_refused_everywhere(tmp_path):
    path = tmp_path / "alice.bin"
    symbols = np.ones(5, np.complex64)
    write_alice_record(path, "r", [AliceBurst(symbols, np.ones(9, np.uint8))])
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
        with pytest.raises(CaptureError):
            read_alice_record(path)
        path.write_bytes(raw[:at])
        with pytest.raises(CaptureError):
            read_alice_record(path)


@pytest.mark.parametrize(
    ("symbols", "bits"),
    [
        (np.ones(3), np.ones(3, np.uint8)),
        (np.ones(3, np.complex64), np.ones(3)),
        (np.ones(3, np.complex64), np.full(3, 2, np.uint8)),
        (np.full(3, np.nan, np.complex64), np.ones(3, np.uint8)),
        (np.ones((3, 1), np.complex64), np.ones(3, np.uint8)),
    ],
)
def test_alice_burst_is_checked(symbols, bits):
    with pytest.raises(CaptureError, match="Alice"):
        AliceBurst(symbols, bits)


def test_transcript_round_trip(tmp_path):
    messages = [
        SentMessage("alice", b"abc"),
        SentMessage("bob", b""),
        SentMessage("bob", b"\x00" * 99),
    ]
    path = tmp_path / "t.bin"
    write_transcript(path, "run", messages)
    assert read_transcript(path) == ("run", messages)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CaptureError, match="SHA-256"):
        read_transcript(path)


def test_result_has_a_schema_version_and_no_nan(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, {"key": {"secret_bits": 5}})
    assert read_result(path)["key"]["secret_bits"] == 5
    assert next(iter(json.loads(path.read_text()))) == "schema_version"
    with pytest.raises(CaptureError):
        write_result(tmp_path / "bad.json", {"x": float("nan")})
    assert not (tmp_path / "bad.json").exists()
    path.write_text('{"schema_version": 2}')
    with pytest.raises(CaptureError, match="schema version 1"):
        read_result(path)
    path.write_text("[" * 100_000)
    with pytest.raises(CaptureError):
        read_result(path)


FULL_DISK = """
import os, sys
from pathlib import Path
import numpy as np
from scqc.core.errors import DiskSpaceError
from scqc.store import growing_file
from scqc.store.capture_format import CaptureHeader, RecordScale
from scqc.store.capture_writer import CaptureWriter

path, when, mended = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "mended"
if not mended:
    growing_file.let_go = lambda file: None
try:
    with CaptureWriter(path, CaptureHeader("", "0", "{}", "{}"), 1, 1024) as writer:
        with writer.record(0, "signal", RecordScale(1.0, 1.0, 0.0, 0.0)) as record:
            record.append(np.ones(4096, np.int16))
            full = os.open("/dev/full", os.O_RDWR)
            os.dup2(full, writer._file.id.get_vfd_handle())
            if when == "append":
                record.append(np.ones(4096, np.int16))
except DiskSpaceError as error:
    print(error)
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
@pytest.mark.parametrize(
    ("when", "how"), [("append", "mended"), ("close", "mended"), ("close", "left")]
)
def test_a_full_disk_is_an_error_and_not_the_end_of_the_program(tmp_path, when, how):
    """HDF5 alone writes once more at the end, and brings the program down."""
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", FULL_DISK, str(path), when, how]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "the disk is full" in found.stdout
    assert ((found.returncode, found.stderr) == (0, "")) == (how == "mended")
    assert not path.exists()
    if how == "mended":
        assert describe(part_path(path))["readable"]
