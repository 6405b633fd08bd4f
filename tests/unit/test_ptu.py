"""PTU files: checked against an independent reader, and hostile ones refused."""

import struct

import numpy as np
import ptufile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scqc.core.errors import CaptureError
from scqc.core.records import TimeTags
from scqc.store.ptu import RECORD_TYPES, read_ptu, read_ptu_blocks, write_ptu

TYPES = sorted(RECORD_TYPES)


def some_tags(n=5000, span=10**13, inputs=4, seed=1):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, span, n))
    channels = rng.integers(1, inputs + 1, n, dtype=np.uint8)
    return TimeTags(times, channels, span)


def raw_records(path):
    with ptufile.PtuFile(path) as file:
        return file.read_records().copy()


def replace_records(path, records):
    """Put other records into a file, and say in its header how many."""
    data = path.read_bytes()
    end = data.index(b"Header_End") + 48
    head = bytearray(data[:end])
    at = head.index(b"TTResult_NumberOfRecords") + 40
    head[at : at + 8] = struct.pack("<q", records.size)
    path.write_bytes(bytes(head) + records.astype("<u4").tobytes())


@pytest.mark.parametrize("kind", TYPES)
def test_ptufile_reads_what_we_write(tmp_path, kind):
    tags, path = some_tags(), tmp_path / "a.ptu"
    write_ptu(path, tags, record_type=kind)
    with ptufile.PtuFile(path) as file:
        assert int(file.record_type) == kind
        assert not file.is_t3
        assert file.global_resolution == pytest.approx(1e-12)
        found = file.decode_records()
    photons = found[found["channel"] >= 0]
    np.testing.assert_array_equal(photons["time"], tags.times_ps)
    channel = photons["channel"].astype(int)
    # ptufile counts the sync input of newer devices as channel 0.
    offset = tags.channels.astype(int) - channel
    assert len(set(offset.tolist())) == 1
    assert found.size > photons.size or kind != 0x00010204


@pytest.mark.parametrize("kind", TYPES)
def test_we_read_records_as_ptufile_does(tmp_path, kind):
    """Any 32-bit words: photons, syncs, markers, overflows of every count."""
    rng = np.random.default_rng(kind)
    words = rng.integers(0, 1 << 32, 4000, dtype=np.uint32)
    # An overflow every twentieth record; the count, 0 to 127, where there is one.
    if kind == 0x00010203:
        words = words[((words >> 28) < 5) | ((words >> 28) == 15)]
        words[::20] = np.uint32(0xF0000000)
    else:
        # Special channels above 15 exist only for overflows.
        words = words[(words >> 31 == 0) | (((words >> 25) & 63) <= 15)]
        count = rng.integers(0, 128, words[::20].size, dtype=np.uint32)
        words[::20] = np.uint32(0xFE000000) | count
    path = tmp_path / "a.ptu"
    write_ptu(path, some_tags(3), record_type=kind)
    replace_records(path, words)
    found = read_ptu(path)
    with ptufile.PtuFile(path) as file:
        theirs = file.decode_records()
    if kind != 0x00010203:
        # A sync tick is special channel 0, whatever number ptufile gives it.
        special = words >> 31 == 1
        sync = special & (((words >> 25) & 63) == 0)
        np.testing.assert_array_equal(found.sync_ps, theirs["time"][sync])
        assert found.markers == np.sum(special & ~sync & (((words >> 25) & 63) != 63))
        photon = ~special
    else:
        photon = (words >> 28) != 15
    np.testing.assert_array_equal(found.tags.times_ps, theirs["time"][photon])
    channel = theirs["channel"][photon].astype(int)
    shift = found.tags.channels.astype(int) - channel
    assert len(set(shift.tolist())) == 1


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.integers(0, 1 << 46), max_size=40).map(sorted),
    block=st.integers(1, 50),
)
def test_round_trip_in_any_blocks(tmp_path_factory, times, block):
    path = tmp_path_factory.mktemp("ptu") / "a.ptu"
    rng = np.random.default_rng(len(times))
    tags = TimeTags(
        np.array(times, dtype=np.int64),
        rng.integers(1, 64, len(times), dtype=np.uint8),
        1 << 46,
    )
    write_ptu(path, tags)
    back = read_ptu(path).tags
    np.testing.assert_array_equal(back.times_ps, tags.times_ps)
    np.testing.assert_array_equal(back.channels, tags.channels)
    assert back.duration_ps == tags.duration_ps
    parts = [times for _, times, _, _ in read_ptu_blocks(path, block)]
    np.testing.assert_array_equal(np.concatenate(parts), tags.times_ps)


def test_coarse_and_odd_resolutions(tmp_path):
    tags, path = some_tags(), tmp_path / "a.ptu"
    coarse = TimeTags(tags.times_ps // 80 * 80, tags.channels, tags.duration_ps)
    write_ptu(path, coarse, resolution_ps=80)
    np.testing.assert_array_equal(read_ptu(path).tags.times_ps, coarse.times_ps)
    with pytest.raises(CaptureError, match="multiples"):
        write_ptu(path, tags, resolution_ps=80)
    # A device whose unit is 12.5 ps.
    data = path.read_bytes()
    at = data.index(b"MeasDesc_GlobalResolution") + 40
    path.write_bytes(data[:at] + struct.pack("<d", 12.5e-12) + data[at + 8 :])
    np.testing.assert_allclose(
        read_ptu(path).tags.times_ps, coarse.times_ps / 80 * 12.5, atol=0.5, rtol=1e-12
    )


def test_what_the_format_cannot_hold_is_refused(tmp_path):
    path = tmp_path / "a.ptu"
    tags = some_tags(100)
    for bad in (
        TimeTags(tags.times_ps[::-1].copy(), tags.channels, tags.duration_ps),
        TimeTags(tags.times_ps, np.zeros(100, np.uint8), tags.duration_ps),
        TimeTags(tags.times_ps, np.full(100, 64, np.uint8), tags.duration_ps),
        TimeTags(tags.times_ps, tags.channels, tags.duration_ps, lost=1),
    ):
        with pytest.raises(CaptureError):
            write_ptu(path, bad)
    with pytest.raises(CaptureError, match="no T2"):
        write_ptu(path, tags, record_type=0x00010303)
    assert not path.exists()


def edit(data, name, value):
    at = data.index(name) + 40
    return data[:at] + value + data[at + 8 :]


def test_hostile_files_are_refused(tmp_path):
    path = tmp_path / "a.ptu"
    write_ptu(path, some_tags(100))
    good = path.read_bytes()
    end = good.index(b"Header_End")
    for bad, message in (
        (b"", "no PTU"),
        (b"PQHISTO\0" + good[8:], "no PTU"),
        (good[: end + 20], "no end"),
        (good[:-1], "announced"),
        (edit(good, b"TTResult_NumberOfRecords", struct.pack("<q", -1)), "announced"),
        (
            edit(good, b"TTResult_NumberOfRecords", struct.pack("<q", 1 << 60)),
            "announced",
        ),
        (
            edit(good, b"TTResultFormat_TTTRRecType", struct.pack("<q", 0x10307)),
            "only T2",
        ),
        (edit(good, b"Measurement_Mode", struct.pack("<q", 3)), "only T2"),
        (edit(good, b"TTResultFormat_BitsPerRecord", struct.pack("<q", 64)), "32 bits"),
        (
            edit(good, b"MeasDesc_GlobalResolution", struct.pack("<d", np.nan)),
            "resolution",
        ),
        (
            edit(good, b"MeasDesc_GlobalResolution", struct.pack("<d", 0.0)),
            "resolution",
        ),
        (edit(good, b"ScqcDurationPs", struct.pack("<q", -5)), "duration"),
        (edit(good, b"CreatorSW_Name", struct.pack("<q", 1 << 40)), "bytes long"),
        (edit(good, b"CreatorSW_Name", struct.pack("<q", -8)), "bytes long"),
        (edit(good, b"File_GUID", struct.pack("<q", 1 << 19)), "ends early"),
        (
            good.replace(b"TTResult_NumberOfRecords", b"TTResult_NumberOfRecordz"),
            "lacks",
        ),
        (good[:16] + good[16:64] * 10_001, "ends early|unknown type|more than|no end"),
    ):
        path.write_bytes(bad)
        with pytest.raises(CaptureError, match=message):
            read_ptu(path)
    with pytest.raises(CaptureError):
        read_ptu(tmp_path / "nothing.ptu")


def test_a_time_bomb_is_refused(tmp_path):
    """Overflow records that would run the time out of 64 bits."""
    path = tmp_path / "a.ptu"
    write_ptu(path, some_tags(3))
    replace_records(path, np.full(10_000, 0xFFFFFFFF, dtype=np.uint32))
    with pytest.raises(CaptureError, match="units of time"):
        read_ptu(path)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_an_error_or_harmless(tmp_path, seed):
    """Nothing but a `CaptureError`, whatever byte is hit."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "a.ptu"
    write_ptu(path, some_tags(20))
    good = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for _ in range(150):
        bad = good.copy()
        bad[rng.integers(0, bad.size, 3)] = rng.integers(0, 256, 3, dtype=np.uint8)
        path.write_bytes(bad[: rng.integers(1, bad.size + 1)].tobytes())
        try:
            read_ptu(path)
        except CaptureError:
            continue


def test_a_count_uses_all_its_bits(tmp_path):
    """The format gives an overflow record 25 bits of count [1], not a few."""
    path = tmp_path / "a.ptu"
    write_ptu(path, some_tags(3))
    replace_records(path, np.array([0xFE000000 | 100_000, 7], dtype=np.uint32))
    assert read_ptu(path).tags.times_ps.tolist() == [100_000 * (1 << 25) + 7]
