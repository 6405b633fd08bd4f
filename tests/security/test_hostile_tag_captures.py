"""Time-tag files made to deceive a reader: refused before anything is followed."""

import os

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from scqc.core.errors import CaptureError
from scqc.core.records import TimeTags
from scqc.store.capture_format import CaptureHeader
from scqc.store.inspect import describe
from scqc.store.tag_capture import TagCaptureWriter, is_tag_capture, open_tag_capture

N = 1000
TIMES = np.arange(N, dtype=np.int64) * 4000
INPUTS = np.tile(np.array([1, 2, 3, 4], np.uint8), N // 4)
SECRET = b"root:secret:0:0\n" * 2000
PHOTONS = "bursts/000/photon_data"
STAMPS, DETECTORS = f"{PHOTONS}/timestamps", f"{PHOTONS}/detectors"
UNIT = f"{PHOTONS}/timestamps_specs/timestamps_unit"


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.h5"
    with TagCaptureWriter(path, CaptureHeader("x", "run"), 2) as writer:
        for number in range(2):
            writer.add(number, TimeTags(TIMES, INPUTS, 4000 * N))
    (tmp_path / "secret.txt").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w", libver="latest") as other:
        other["timestamps"] = TIMES
        other["detectors"] = INPUTS
        other.create_group("bursts/000/photon_data")
        other["unit"] = 1e-12
    return path


def read_all(path):
    with open_tag_capture(path) as capture:
        for number in capture.complete_bursts():
            capture.burst(number)


def remake(file, name, **how):
    """Replace a column by one made differently, attributes kept."""
    kept, data = dict(file[name].attrs), file[name][:]
    del file[name]
    how = {"dtype": data.dtype, "chunks": (128,), "fletcher32": True} | how
    if "data" not in how and "shape" not in how:
        how["data"] = data
    made = file.create_dataset(name, **how)
    for key, value in kept.items():
        made.attrs.create(key, value, dtype="<i8" if key != "units" else None)
    return made


def external_link(file):
    del file[STAMPS]
    file[STAMPS] = h5py.ExternalLink("other.h5", "/timestamps")


def external_link_for_detectors(file):
    del file[DETECTORS]
    file[DETECTORS] = h5py.ExternalLink("other.h5", "/detectors")


def external_link_on_the_way(file):
    del file[PHOTONS]
    file[PHOTONS] = h5py.ExternalLink("other.h5", "/bursts/000/photon_data")


def external_link_for_unit(file):
    del file[UNIT]
    file[UNIT] = h5py.ExternalLink("other.h5", "/unit")


def external_link_for_checksums(file):
    del file["bursts/000/crc32"]
    file["bursts/000/crc32"] = h5py.ExternalLink("other.h5", "/")


def soft_link(file):
    file.move(STAMPS, "kept")
    file[STAMPS] = h5py.SoftLink("/kept")


def soft_link_between_bursts(file):
    del file["bursts/001"]
    file["bursts/001"] = h5py.SoftLink("/bursts/000")


def external_storage(file):
    kept = dict(file[STAMPS].attrs)
    del file[STAMPS]
    made = file.create_dataset(STAMPS, (N,), "<i8", external=[("secret.txt", 0, 8 * N)])
    for key, value in kept.items():
        made.attrs[key] = value


def external_storage_for_unit(file):
    del file[UNIT]
    file.create_dataset(UNIT, (1,), "<f8", external=[("secret.txt", 0, 8)])


def virtual_dataset(file):
    kept = dict(file[STAMPS].attrs)
    del file[STAMPS]
    layout = h5py.VirtualLayout((N,), "<i8")
    layout[:] = h5py.VirtualSource("other.h5", "timestamps", (N,))
    made = file.create_virtual_dataset(STAMPS, layout)
    for key, value in kept.items():
        made.attrs[key] = value


def promise(file, n):
    file[STAMPS].attrs.modify("n_valid", np.int64(n))


def huge_shape(file):
    remake(file, STAMPS, shape=(1 << 37,), chunks=(1 << 20,))


def sparse_terabytes(file):
    for name in (STAMPS, DETECTORS):
        remake(file, name, shape=(1 << 35,), chunks=(1 << 20,))
    promise(file, 1 << 35)


def compressed_bomb(file):
    """Zeros deflate a thousandfold: a small file that fills the memory."""
    n = 1 << 20
    for name in (STAMPS, DETECTORS):
        remake(
            file,
            name,
            data=np.zeros(n, file[name].dtype),
            chunks=(1 << 15,),
            compression=9,
        )
    promise(file, n)


def more_promised_than_there(file):
    promise(file, N + 1)


def more_times_than_inputs(file):
    file[DETECTORS].resize((N - 1,))


def negative_count(file):
    promise(file, -1)


def checksums_cut(file):
    file["bursts/000/crc32/detectors"].resize((0,))


def checksum_of_other_data(file):
    file["bursts/000/crc32/timestamps"][0] ^= 1


def changed_tag(file):
    file[STAMPS][7] += 1


def changed_input(file):
    file[DETECTORS][7] = 3


def other_unit(file):
    file[UNIT][()] = 1e-9


def unit_not_a_number(file):
    file[UNIT][()] = np.nan


def unit_of_other_type(file):
    del file[UNIT]
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_layout(h5d.COMPACT)
    h5d.create(
        file[PHOTONS]["timestamps_specs"].id,
        b"timestamps_unit",
        h5t.STD_I64LE,
        h5s.create(h5s.SCALAR),
        plan,
    )


def unit_as_group(file):
    del file[UNIT]
    file.create_group(UNIT)


def wrong_units(file):
    file[STAMPS].attrs["units"] = np.bytes_(b"ns")


def wrong_units_of_inputs(file):
    file[DETECTORS].attrs["units"] = np.bytes_(b"from 0")


def negative_duration(file):
    file[STAMPS].attrs.modify("duration_ps", np.int64(-1))


def negative_lost(file):
    file[STAMPS].attrs.modify("lost", np.int64(-1))


def overflow_of_two(file):
    file[STAMPS].attrs.modify("overflow", np.int64(2))


def complete_of_two(file):
    file[STAMPS].attrs.modify("complete", np.int64(2))


def floats_for_times(file):
    remake(file, STAMPS, dtype="<f8")


def big_endian_times(file):
    remake(file, STAMPS, dtype=">i8")


def wide_inputs(file):
    remake(file, DETECTORS, dtype="<u2")


def two_dimensional(file):
    remake(file, STAMPS, data=TIMES.reshape(2, -1), chunks=(2, 128))


def no_checksum(file):
    remake(file, STAMPS, fletcher32=False)


def unknown_filter(file):
    remake(file, DETECTORS, compression="lzf")


def huge_chunk(file):
    remake(file, STAMPS, shape=(N,), chunks=(1 << 22,), maxshape=(None,))


def other_format(file):
    file.attrs["format"] = np.bytes_(b"something")


def future_version(file):
    file.attrs["format_version"] = np.bytes_(b"2.0")


def many_attributes(file):
    for k in range(40):
        file[STAMPS].attrs[f"a{k}"] = k


def many_bursts(file):
    for k in range(5000):
        file["bursts"].create_group(f"g{k}")


ATTACKS = [
    external_link,
    external_link_for_detectors,
    external_link_on_the_way,
    external_link_for_unit,
    external_link_for_checksums,
    soft_link,
    soft_link_between_bursts,
    external_storage,
    external_storage_for_unit,
    virtual_dataset,
    huge_shape,
    sparse_terabytes,
    compressed_bomb,
    more_promised_than_there,
    more_times_than_inputs,
    negative_count,
    checksums_cut,
    checksum_of_other_data,
    changed_tag,
    changed_input,
    other_unit,
    unit_not_a_number,
    unit_of_other_type,
    unit_as_group,
    wrong_units,
    wrong_units_of_inputs,
    negative_duration,
    negative_lost,
    overflow_of_two,
    complete_of_two,
    floats_for_times,
    big_endian_times,
    wide_inputs,
    two_dimensional,
    no_checksum,
    unknown_filter,
    huge_chunk,
    other_format,
    future_version,
    many_attributes,
    many_bursts,
]

# Where another check would refuse the file too, this one must be the first.
REASONS = {
    external_link: "ExternalLink",
    external_link_for_unit: "ExternalLink",
    soft_link_between_bursts: "SoftLink",
    external_storage: "external",
    external_storage_for_unit: "compact",
    virtual_dataset: "virtual",
    huge_shape: "limit",
    sparse_terabytes: "in a file of",
    compressed_bomb: "in a file of",
    more_promised_than_there: "promised",
    more_times_than_inputs: "promised",
    changed_tag: "CRC-32",
    changed_input: "CRC-32",
    other_unit: "unit of time",
    no_checksum: "no checksum",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
def test_refused_with_a_typed_error(path, attack):
    read_all(path)
    with h5py.File(path, "r+", libver="latest") as file:
        attack(file)
    with pytest.raises(CaptureError, match=REASONS.get(attack, ".")) as caught:
        read_all(path)
    assert len(str(caught.value)) < 400
    found = describe(path)
    assert found["problem"]
    assert "secret" not in str(found)
    assert is_tag_capture(path) == (attack is not other_format)


def test_remade_columns_alone_are_no_attack(path):
    """What the attacks above change besides is what gets them refused."""
    with h5py.File(path, "r+", libver="latest") as file:
        for name, data in ((STAMPS, TIMES), (DETECTORS, INPUTS)):
            remake(file, name, chunks=(1 << 15,), maxshape=(None,))
            assert np.array_equal(file[name][:], data)
    read_all(path)


def test_the_other_file_is_not_even_touched(path):
    with h5py.File(path, "r+", libver="latest") as file:
        external_storage(file)
    secret = path.parent / "secret.txt"
    os.utime(secret, (1, secret.stat().st_mtime))
    with pytest.raises(CaptureError, match="external"):
        read_all(path)
    assert secret.stat().st_atime == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
def test_a_fifo_does_not_hang_the_reader(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    assert not is_tag_capture(tmp_path / "a.h5")
    with pytest.raises(CaptureError, match="regular"):
        open_tag_capture(tmp_path / "a.h5")
