"""Files made to deceive a reader: refused before anything outside is touched."""

import os

import h5py
import numpy as np
import pytest

from scqc.core.errors import CaptureError
from scqc.store.capture_format import CaptureHeader, RecordScale
from scqc.store.capture_writer import CaptureWriter
from scqc.store.inspect import describe
from scqc.store.sealed_reader import open_capture

CODES = np.arange(-500, 500, dtype=np.int16)
SECRET = b"root:secret:0:0\n" * 200


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with CaptureWriter(path, CaptureHeader("x", "run"), 2, 128) as writer:
        for kind in ("signal", "shot", "electronic"):
            with writer.record(0, kind, RecordScale(4e8, 1e-3)) as record:
                record.append(CODES)
    (tmp_path / "secret.txt").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w", libver="latest") as other:
        other["signal"] = CODES
        other.create_group("bursts/000/calibration")
    return path


def read_all(path):
    with open_capture(path) as capture:
        for number in range(capture.n_bursts):
            burst = capture.burst(number)
            for record in (burst.signal, burst.shot, burst.electronic):
                list(record.chunks(100))


def remake(file, name, **how):
    """Replace a record by one made differently, attributes kept."""
    kept = dict(file[name].attrs)
    del file[name]
    how = {"dtype": "<i2", "chunks": (128,), "fletcher32": True} | how
    if "data" not in how and "shape" not in how:
        how["data"] = CODES
    made = file.create_dataset(name, **how)
    for key, value in kept.items():
        made.attrs[key] = value
    return made


def external_link(file):
    del file["bursts/000/signal"]
    file["bursts/000/signal"] = h5py.ExternalLink("other.h5", "/signal")


def external_link_on_the_way(file):
    file.move("bursts/000", "bursts/kept")
    file["bursts/000"] = h5py.ExternalLink("other.h5", "/bursts/000")
    del file["bursts/kept"]


def external_root_group(file):
    del file["bursts"]
    file["bursts"] = h5py.ExternalLink("other.h5", "/bursts")


def external_link_beside(file):
    file["extra"] = h5py.ExternalLink("other.h5", "/signal")


def soft_link(file):
    file.move("bursts/000/signal", "kept")
    file["bursts/000/signal"] = h5py.SoftLink("/kept")


def soft_link_loop(file):
    del file["bursts/000/calibration/shot"]
    file["bursts/000/calibration/shot"] = h5py.SoftLink("/bursts/000/calibration/shot")


def dangling_link(file):
    del file["config"]
    file["config"] = h5py.SoftLink("/nowhere")


def external_storage(file):
    kept = dict(file["bursts/000/signal"].attrs)
    del file["bursts/000/signal"]
    made = file["bursts/000"].create_dataset(
        "signal", (1000,), "<i2", external=[("secret.txt", 0, 2000)]
    )
    for key, value in kept.items():
        made.attrs[key] = value


def external_text(file):
    del file["config"]
    file.create_dataset(
        "config", (len(SECRET),), "|u1", external=[("secret.txt", 0, len(SECRET))]
    )


def virtual_dataset(file):
    kept = dict(file["bursts/000/signal"].attrs)
    del file["bursts/000/signal"]
    layout = h5py.VirtualLayout((1000,), "<i2")
    layout[:] = h5py.VirtualSource("other.h5", "signal", (1000,))
    made = file["bursts/000"].create_virtual_dataset("signal", layout)
    for key, value in kept.items():
        made.attrs[key] = value


def sparse_terabytes(file):
    n = 1 << 35
    made = remake(file, "bursts/000/signal", shape=(n,), chunks=(1 << 20,))
    made.attrs["n_valid"] = n


def too_many_samples(file):
    remake(file, "bursts/000/signal", shape=(1 << 37,), chunks=(1 << 20,))


def promised_but_absent(file):
    file["bursts/000/signal"].resize((5000,))
    file["bursts/000/signal"].attrs.modify("n_valid", np.int64(5000))


def huge_chunk(file):
    remake(
        file, "bursts/000/signal", shape=(1000,), chunks=(1 << 24,), maxshape=(None,)
    )


def huge_text(file):
    del file["config"]
    file.create_dataset("config", (1 << 30,), "|u1", chunks=(1 << 20,), fletcher32=True)


def huge_attribute(file):
    file.attrs["run_uuid"] = np.bytes_(b"x" * 100_000)


def array_attribute(file):
    file["bursts/000/signal"].attrs["rate_hz"] = np.full(1000, 4e8)


def variable_string_attribute(file):
    file.attrs["run_uuid"] = "run"


def control_characters(file):
    file.attrs["run_uuid"] = np.bytes_(b"\x1b]0;owned\x07")


def many_attributes(file):
    for k in range(40):
        file["bursts/000/signal"].attrs[f"a{k}"] = k


def many_groups(file):
    for k in range(9000):
        file["bursts"].create_group(f"g{k}")


def unknown_filter(file):
    remake(file, "bursts/000/signal", compression="lzf")


def no_checksum(file):
    remake(file, "bursts/000/signal", fletcher32=False)


def skipped_checksum(file):
    made = remake(file, "bursts/000/signal", shape=(1000,))
    for k in range(8):
        made.id.write_direct_chunk((128 * k,), CODES[:128].tobytes(), filter_mask=1)


def contiguous(file):
    remake(file, "bursts/000/signal", chunks=None, fletcher32=False)


def wrong_type(file):
    remake(file, "bursts/000/signal", dtype="<f4")


def strings_for_samples(file):
    remake(file, "bursts/000/signal", dtype="S4", data=[b"abc"] * 1000)


def two_dimensional(file):
    remake(file, "bursts/000/signal", data=CODES.reshape(2, 500), chunks=(2, 128))


def group_for_dataset(file):
    del file["bursts/000/signal"]
    file.create_group("bursts/000/signal")


def dataset_for_group(file):
    del file["bursts/000/calibration"]
    file["bursts/000/calibration"] = 3


def nan_scale(file):
    file["bursts/000/signal"].attrs.modify("scale_v", np.nan)


def negative_rate(file):
    file["bursts/000/signal"].attrs.modify("rate_hz", -1.0)


def text_for_rate(file):
    file["bursts/000/signal"].attrs["rate_hz"] = np.bytes_(b"fast")


def wrong_units(file):
    file["bursts/000/signal"].attrs["units"] = np.bytes_(b"V")


def missing_units(file):
    del file["bursts/000/signal"].attrs["units"]


def other_format(file):
    file.attrs["format"] = np.bytes_(b"something")


def future_version(file):
    file.attrs["format_version"] = np.bytes_(b"2.0")


def missing_calibration_group(file):
    del file["bursts/000/calibration"]


def text_not_unicode(file):
    del file["config"]
    file.create_dataset(
        "config", data=np.full(9, 0xFF, np.uint8), chunks=(9,), fletcher32=True
    )


ATTACKS = [
    external_link,
    external_link_on_the_way,
    external_root_group,
    external_link_beside,
    soft_link,
    soft_link_loop,
    dangling_link,
    external_storage,
    external_text,
    virtual_dataset,
    sparse_terabytes,
    too_many_samples,
    promised_but_absent,
    huge_chunk,
    huge_text,
    huge_attribute,
    array_attribute,
    variable_string_attribute,
    control_characters,
    many_attributes,
    many_groups,
    unknown_filter,
    no_checksum,
    skipped_checksum,
    contiguous,
    wrong_type,
    strings_for_samples,
    two_dimensional,
    group_for_dataset,
    dataset_for_group,
    nan_scale,
    negative_rate,
    text_for_rate,
    wrong_units,
    missing_units,
    other_format,
    future_version,
    missing_calibration_group,
    text_not_unicode,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
def test_refused_with_a_typed_error(path, attack, monkeypatch):
    monkeypatch.chdir(path.parent)
    read_all(path)
    with h5py.File(path, "r+", libver="latest") as file:
        attack(file)
    with pytest.raises(CaptureError) as caught:
        read_all(path)
    assert len(str(caught.value)) < 400
    found = describe(path)
    assert found["problem"]
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "attack",
    [external_link, external_link_on_the_way, external_storage, virtual_dataset],
)
def test_plain_h5py_would_have_followed(path, attack, monkeypatch):
    """The attacks are real: without the seal each of them reads another file."""
    monkeypatch.chdir(path.parent)
    with h5py.File(path, "r+", libver="latest") as file:
        attack(file)
    with h5py.File(path, "r") as file:
        assert len(file["bursts/000"]) > 0
        if attack is external_storage:
            assert file["bursts/000/signal"][:2].tobytes() == SECRET[:4]


def test_the_other_file_is_not_even_touched(path, monkeypatch):
    monkeypatch.chdir(path.parent)
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
    with pytest.raises(CaptureError, match="regular"):
        open_capture(tmp_path / "a.h5")


def test_old_superblocks_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="earliest") as file:
        file["x"] = 1
    with pytest.raises(CaptureError, match="no checksums"):
        open_capture(tmp_path / "a.h5")
