"""Cut, flipped and killed: every acknowledged sample, and never a wrong one."""

import os
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from scqc.core.errors import CaptureError
from scqc.store.capture_format import KIND_PATHS, CaptureHeader, RecordScale
from scqc.store.capture_writer import CaptureWriter
from scqc.store.inspect import describe, salvage
from scqc.store.mended_file import lookup3
from scqc.store.sealed_reader import open_capture

SCALE = RecordScale(4e8, 1e-3, 0.0, 0.0)
CHUNK = 2048
LENGTHS = {"signal": 20_000, "shot": 10_000, "electronic": 7000}


def expected(burst, kind, n):
    seed = [burst, list(KIND_PATHS).index(kind)]
    return np.random.default_rng(seed).integers(-2048, 2048, n).astype(np.int16)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "a.h5"
    with CaptureWriter(path, CaptureHeader("x = 1", "run"), 2, CHUNK) as writer:
        for burst in range(2):
            for kind, n in LENGTHS.items():
                with writer.record(burst, kind, SCALE) as record:
                    record.append(expected(burst, kind, n))
    return path.read_bytes()


def check_prefixes(path):
    """Whatever a salvaged file holds must be the start of what was written."""
    total = 0
    with open_capture(path) as capture:
        assert capture.header.config_toml == "x = 1"
        for number in range(capture.n_bursts):
            burst = capture.burst(number)
            for kind in KIND_PATHS:
                record = getattr(burst, kind)
                codes = record.read(0, record.n_samples)
                assert np.array_equal(codes, expected(number, kind, codes.size))
                assert record.scale in (None, SCALE)
                total += codes.size
    return total


def read_everything(path):
    with open_capture(path) as capture:
        for number in range(capture.n_bursts):
            burst = capture.burst(number)
            for kind, n in LENGTHS.items():
                record = getattr(burst, kind)
                assert record.n_samples == n
                assert record.scale == SCALE
                assert record.clipped == 0
                assert np.array_equal(record.read(0, n), expected(number, kind, n))
        assert capture.header.run_uuid == "run"
        assert capture.header.config_toml == "x = 1"


def test_the_undamaged_file_reads(good, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    read_everything(path)


def test_truncation_is_refused_and_salvaged_to_a_true_prefix(good, tmp_path):
    kept = []
    for k, size in enumerate(np.linspace(0, len(good) - 1, 30).astype(int)):
        path = tmp_path / "a.h5"
        path.write_bytes(good[:size])
        with pytest.raises(CaptureError):
            open_capture(path)
        out = tmp_path / f"out{k}.h5"
        try:
            salvage(path, out)
        except CaptureError:
            kept.append(0)
            continue
        kept.append(check_prefixes(out))
    everything = 2 * sum(LENGTHS.values())
    assert kept[0] == 0
    assert kept[-1] > 0.5 * everything
    # The descriptions come first in the file: half a file is half the samples.
    assert kept[len(kept) * 3 // 4] > 0


def flip(raw, picker, low, high):
    flipped = bytearray(raw)
    flipped[picker.randrange(low, high)] ^= 1 << picker.randrange(8)
    return flipped


def test_bit_flips_are_noticed_or_harmless(good, tmp_path):
    """Sampled over the whole file; a silent difference fails read_everything."""
    picker = random.Random(1)
    path = tmp_path / "a.h5"
    # Metadata lies at the front: every other trial aims there.
    for k in range(80):
        path.write_bytes(flip(good, picker, 0, 32_768 if k % 2 else len(good)))
        try:
            read_everything(path)
        except CaptureError:
            assert describe(path)["problem"]


def test_every_bit_flip_in_the_samples_is_noticed(good, tmp_path):
    picker = random.Random(3)
    path = tmp_path / "a.h5"
    chunk = expected(1, "shot", LENGTHS["shot"])[CHUNK : 2 * CHUNK].tobytes()
    at = good.index(chunk)
    for _ in range(40):
        path.write_bytes(flip(good, picker, at, at + len(chunk)))
        with pytest.raises(CaptureError):
            read_everything(path)


def test_a_hole_left_by_a_power_cut_is_noticed(good, tmp_path):
    """HDF5's Fletcher-32 of zeros is zero; the CRC of each chunk is not."""
    codes = expected(1, "signal", LENGTHS["signal"])[CHUNK : 2 * CHUNK].tobytes()
    at = good.index(codes)
    path = tmp_path / "a.h5"
    path.write_bytes(good[:at] + bytes(len(codes) + 4) + good[at + len(codes) + 4 :])
    with h5py.File(path, "r") as file:
        assert not file["bursts/001/signal"][CHUNK : 2 * CHUNK].any()
    with (
        open_capture(path) as capture,
        pytest.raises(CaptureError, match="chunk 1 is damaged"),
    ):
        capture.burst(1).signal.read(0, 20_000)
    found = describe(path)["bursts"][1]["signal"]
    assert (found["n_samples"], found["n_promised"]) == (CHUNK, 20_000)


def test_metadata_never_straddles_a_page(good, tmp_path):
    """A kill can tear a write at a page boundary; paged metadata cannot be torn."""
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    with h5py.File(path, "r") as file:
        plan = file.id.get_create_plist()
        assert plan.get_file_space_strategy()[0] == h5py.h5f.FSPACE_STRATEGY_PAGE
        assert plan.get_file_space_page_size() == 4096


@pytest.mark.parametrize("at", [11, 28, 44])
def test_a_torn_superblock_is_mended(good, tmp_path, at):
    """The mark, the size or the checksum of an unfinished file may be half written."""
    raw = bytearray(good)
    raw[11] = 5
    raw[at : at + 4] = b"\x05\x00\x00\x00"
    path = tmp_path / "a.h5.part"
    path.write_bytes(raw)
    with pytest.raises(CaptureError):
        open_capture(path)
    salvage(path, tmp_path / "out.h5")
    assert check_prefixes(tmp_path / "out.h5") == 2 * sum(LENGTHS.values())


def test_the_mended_checksum_is_that_of_the_format(good):
    assert lookup3(good[:44]) == int.from_bytes(good[44:48], "little")
    # Published values of the reference implementation, lookup3.c driver5().
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


def test_random_bytes_are_refused(tmp_path):
    picker = random.Random(2)
    path = tmp_path / "a.h5"
    for k in range(200):
        head = b"\x89HDF\r\n\x1a\n\x03\x08\x08\x00" if k % 2 else b""
        path.write_bytes(head + picker.randbytes(picker.randrange(3000)))
        with pytest.raises(CaptureError):
            open_capture(path)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from scqc.store.capture_format import CaptureHeader, RecordScale
from scqc.store.capture_writer import CaptureWriter

path, chunk = Path(sys.argv[1]), 4096
with CaptureWriter(path, CaptureHeader("x = 1", "run"), 1, chunk) as writer:
    with writer.record(0, "signal", RecordScale(4e8, 1e-3)) as record:
        codes = np.random.default_rng([0, 0]).integers(-2048, 2048, 1 << 24)
        codes = codes.astype(np.int16)
        print("ready", flush=True)
        for k in range(0, codes.size, 3000):
            print(record.append(codes[k : k + 3000]), flush=True)
        # Never over before it is killed.
        sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("trial", range(4))
def test_a_killed_writer_loses_no_acknowledged_sample(tmp_path, trial):
    path = tmp_path / "a.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while (first := process.stdout.readline()) == "0\n":
            pass
        time.sleep(0.05 + 0.07 * trial)
        process.send_signal(signal.SIGKILL)
        # A last line without its end was not acknowledged to anyone.
        lines = [first.strip(), *process.stdout.read().split("\n")[:-1]]
    acknowledged = int(lines[-1])
    part = path.with_name("a.h5.part")
    found = salvage(part, tmp_path / "out.h5")
    n = found["bursts"][0]["signal"]["n_samples"]
    assert acknowledged > 0
    assert acknowledged <= n <= acknowledged + 4096
    with open_capture(tmp_path / "out.h5") as capture:
        codes = capture.burst(0).signal.read(0, n)
    truth = np.random.default_rng([0, 0]).integers(-2048, 2048, 1 << 24)
    assert np.array_equal(codes, truth[:n].astype(np.int16))
