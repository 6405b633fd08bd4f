"""Alice's record of a block: private, on the disk, right to the last bit."""

import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scqc.core.errors import CaptureError
from scqc.store.slot_record import SlotRecordWriter, read_slot_record

DIGEST = 32
SLOTS = 257


def slots_of(number, n=SLOTS):
    return np.random.default_rng([7, number]).integers(0, 256, n).astype(np.uint8)


def write(path, n_bursts=3, message=b"the message"):
    with SlotRecordWriter(path, "run-1", message, SLOTS) as record:
        for number in range(n_bursts):
            record.add(slots_of(number))
    return path


def good_bursts(path):
    """Return how many bursts are read; all of them must be true."""
    record = read_slot_record(path)
    assert record.run_uuid == "run-1"
    assert record.message == b"the message"
    for number, slots in enumerate(record.bursts):
        assert slots.dtype == np.uint8
        assert np.array_equal(slots, slots_of(number))
    return len(record.bursts)


def test_round_trip_is_private_and_prints_nothing(tmp_path):
    previous = os.umask(0)
    try:
        path = write(tmp_path / "a.bin")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert good_bursts(path) == 3
    assert repr(read_slot_record(path)) == "SlotRecord(run_uuid='run-1')"
    path.chmod(0o640)
    with pytest.raises(CaptureError, match="640"):
        read_slot_record(path)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=20), st.integers(1, 50))
def test_any_message_run_and_length(tmp_path_factory, message, run, n):
    path = tmp_path_factory.mktemp("any") / "a.bin"
    with SlotRecordWriter(path, run, message, n) as record:
        record.add(slots_of(0, n))
    found = read_slot_record(path)
    assert (found.run_uuid, found.message) == (run, message)
    assert np.array_equal(found.bursts, [slots_of(0, n)])


def test_each_burst_is_there_as_soon_as_it_is_added(tmp_path):
    path = tmp_path / "a.bin"
    with SlotRecordWriter(path, "run-1", b"the message", SLOTS) as record:
        for number in range(3):
            assert good_bursts(path) == number
            record.add(slots_of(number))
            assert good_bursts(path) == number + 1


def test_slots_and_digest_are_forced_to_the_disk_in_this_order(tmp_path, monkeypatch):
    sizes, real = [], os.fsync

    def watched(handle):
        sizes.append(os.fstat(handle).st_size)
        real(handle)

    with SlotRecordWriter(tmp_path / "a.bin", "r", b"", SLOTS) as record:
        start = (tmp_path / "a.bin").stat().st_size
        monkeypatch.setattr(os, "fsync", watched)
        record.add(slots_of(0))
    assert sizes == [start + SLOTS, start + SLOTS + DIGEST]


def test_cut_anywhere_leaves_whole_bursts_or_an_error(tmp_path):
    path = write(tmp_path / "a.bin")
    raw = path.read_bytes()
    whole = SLOTS + DIGEST
    head = len(raw) - 3 * whole
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        if size < head:
            with pytest.raises(CaptureError):
                read_slot_record(path)
        else:
            assert good_bursts(path) == (size - head) // whole


def test_a_power_cut_leaves_holes_but_no_wrong_slots(tmp_path):
    """A file of full length whose last pieces never reached the disk."""
    path = write(tmp_path / "a.bin")
    raw = path.read_bytes()
    for hole in (DIGEST, DIGEST + 100, DIGEST + SLOTS):
        path.write_bytes(raw[:-hole] + bytes(hole))
        assert good_bursts(path) == 2


def test_a_digest_missing_in_the_middle_is_damage(tmp_path):
    path = write(tmp_path / "a.bin")
    raw = path.read_bytes()
    end = len(raw) - (SLOTS + DIGEST)
    path.write_bytes(raw[: end - DIGEST] + bytes(DIGEST) + raw[end:])
    with pytest.raises(CaptureError, match="burst 1 is damaged"):
        read_slot_record(path)


def test_every_flipped_bit_is_noticed(tmp_path):
    path = write(tmp_path / "a.bin")
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :])
        with pytest.raises(CaptureError):
            read_slot_record(path)


def test_bursts_cannot_be_dropped_or_exchanged(tmp_path):
    path = write(tmp_path / "a.bin")
    raw = path.read_bytes()
    whole = SLOTS + DIGEST
    head, bursts = (
        raw[: -3 * whole],
        [raw[-(3 - k) * whole :][:whole] for k in range(3)],
    )
    for order in ([1, 0, 2], [0, 2], [1, 2], [0, 0, 1], [2, 1, 0]):
        path.write_bytes(head + b"".join(bursts[k] for k in order))
        with pytest.raises(CaptureError, match="damaged"):
            read_slot_record(path)


def test_bursts_of_another_block_are_refused(tmp_path):
    one = write(tmp_path / "a.bin").read_bytes()
    other = write(tmp_path / "b.bin", message=b"the mEssage").read_bytes()
    whole = 3 * (SLOTS + DIGEST)
    (tmp_path / "a.bin").write_bytes(one[:-whole] + other[-whole:])
    with pytest.raises(CaptureError, match="burst 0 is damaged"):
        read_slot_record(tmp_path / "a.bin")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SCQC-ALICE-1\n" + bytes(99),
        b"SCQC-SLOTS-1\n",
        b"SCQC-SLOTS-1\n" + b"\xff" * 99,
        b"SCQC-SLOTS-1\n" + bytes(99),
        b"SCQC-SLOTS-1\n" + (9).to_bytes(8) + b"[" * 99,
        b"SCQC-SLOTS-1\n" + (2).to_bytes(8) + b"{}" + bytes(99),
        b"SCQC-SLOTS-1\n"
        + (56).to_bytes(8)
        + b'{"run_uuid":1,"burst_slots":-1,"message_bytes":99999999}'
        + bytes(99),
    ],
)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CaptureError):
        read_slot_record(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
def test_missing_folder_and_fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("fifo", "folder", "missing"):
        with pytest.raises(CaptureError):
            read_slot_record(tmp_path / name)


def test_writer_refuses_misuse(tmp_path):
    path = write(tmp_path / "a.bin")
    with pytest.raises(CaptureError, match="exists already"):
        SlotRecordWriter(path, "run", b"", SLOTS)
    for n in (0, 1 << 33):
        with pytest.raises(CaptureError, match="limit 1 to"):
            SlotRecordWriter(tmp_path / "b.bin", "run", b"", n)
    with SlotRecordWriter(tmp_path / "c.bin", "run", b"", SLOTS) as record:
        for wrong in (slots_of(0)[1:], slots_of(0).astype(np.int64), slots_of(0)[None]):
            with pytest.raises(CaptureError, match="not uint8"):
                record.add(wrong)
    with pytest.raises(CaptureError, match="closed"):
        record.add(slots_of(0))


def test_after_a_full_disk_nothing_more_is_taken(tmp_path, monkeypatch):
    path, real = tmp_path / "a.bin", os.fsync

    def full(handle):
        raise OSError(28, "No space left on device")

    with SlotRecordWriter(path, "run-1", b"the message", SLOTS) as record:
        record.add(slots_of(0))
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(CaptureError, match="No space"):
            record.add(slots_of(1))
        monkeypatch.setattr(os, "fsync", real)
        with pytest.raises(CaptureError, match="closed"):
            record.add(slots_of(1))
    assert good_bursts(path) == 1


WRITER = """
import sys
from pathlib import Path
import numpy as np
from scqc.store.slot_record import SlotRecordWriter

with SlotRecordWriter(Path(sys.argv[1]), "run-1", b"the message", 200_000) as record:
    print("ready", flush=True)
    for number in range(10_000):
        slots = np.random.default_rng([7, number]).integers(0, 256, 200_000)
        record.add(slots.astype(np.uint8))
        print(number + 1, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("trial", range(4))
def test_a_killed_writer_loses_no_burst(tmp_path, trial):
    path = tmp_path / "a.bin"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "1\n"
        time.sleep(0.01 + 0.017 * trial)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split("\n")[:-1]
    acknowledged = int(lines[-1]) if lines else 1
    bursts = read_slot_record(path).bursts
    assert acknowledged <= len(bursts) <= acknowledged + 1
    for number, slots in enumerate(bursts):
        assert np.array_equal(slots, slots_of(number, 200_000))
