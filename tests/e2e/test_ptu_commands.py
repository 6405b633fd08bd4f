"""PTU files in and out, and inspecting time tags, from the command line."""

import json
import stat
import uuid

import numpy as np
import ptufile
import pytest

from scqc.cli import main
from scqc.core.records import TimeTags
from scqc.store.capture_format import CaptureHeader
from scqc.store.ptu import MULTIHARP, RECORD_TYPES, read_ptu, write_ptu
from scqc.store.tag_capture import TagCaptureWriter, open_tag_capture

CAPTURE_ERROR = 9


def tags_of(seed, step_ps=1, n=3000, lost=0):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 10**10, n)) * step_ps
    channels = rng.integers(1, 5, n).astype(np.uint8)
    return TimeTags(times, channels, 10**10 * step_ps, lost)


@pytest.fixture
def scqc(capsys):
    def call(*arguments):
        code = main([*map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "capture.h5"
    with TagCaptureWriter(path, CaptureHeader("", "run"), 3) as writer:
        writer.add(0, tags_of(0))
        writer.add(1, tags_of(1, lost=2))
    return path


@pytest.mark.parametrize("kind", sorted(RECORD_TYPES))
@pytest.mark.parametrize("step_ps", [1, 4, 250])
def test_there_and_back_keeps_channels_and_resolution(tmp_path, scqc, kind, step_ps):
    tags = tags_of(7, step_ps)
    write_ptu(tmp_path / "in.ptu", tags, step_ps, kind)
    code, found = scqc("import", "ptu", tmp_path / "in.ptu", tmp_path / "a.h5")
    assert code == 0
    assert found["resolution_ps"] == pytest.approx(step_ps, abs=1e-9)
    assert (found["record_type"], found["n_tags"]) == (kind, 3000)
    assert (found["sync_ticks"], found["markers"]) == (0, 0)
    with open_tag_capture(tmp_path / "a.h5") as opened:
        assert json.loads(opened.header.instruments_json)["ptu"]["device"]
        uuid.UUID(opened.header.run_uuid)
        burst = opened.burst(0)
    assert np.array_equal(burst.times_ps, tags.times_ps)
    assert np.array_equal(burst.channels, tags.channels)
    assert burst.duration_ps == tags.duration_ps
    out = tmp_path / "out.ptu"
    code, found = scqc("export", "ptu", tmp_path / "a.h5", out, "--burst", 0)
    assert (code, found["resolution_ps"]) == (0, step_ps)
    first, second = read_ptu(tmp_path / "in.ptu"), read_ptu(out)
    assert second.header.record_type == kind
    assert second.header.resolution_ps == first.header.resolution_ps
    assert np.array_equal(second.tags.times_ps, tags.times_ps)
    assert np.array_equal(second.tags.channels, tags.channels)


def test_an_independent_reader_sees_the_exported_burst(tmp_path, scqc, capture):
    out = tmp_path / "out.ptu"
    code, found = scqc("export", "ptu", capture, out, "--burst", 0)
    assert (code, found["n_tags"], found["record_type"]) == (0, 3000, MULTIHARP)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with ptufile.PtuFile(out) as file:
        assert file.global_resolution == pytest.approx(1e-12)
        records = file.decode_records()
    photons = records[records["channel"] >= 0]
    assert np.array_equal(photons["time"], tags_of(0).times_ps)


def test_records_made_by_hand_are_imported(tmp_path, scqc):
    """Sync ticks and markers are counted, and left out of the tags."""
    write_ptu(tmp_path / "in.ptu", tags_of(1, n=4))
    raw = bytearray((tmp_path / "in.ptu").read_bytes())
    # Photon on input 2 at 5; sync at 6; marker 1 at 7; photon on input 1 at 8.
    words = [1 << 25 | 5, 1 << 31 | 6, 1 << 31 | 1 << 25 | 7, 8]
    raw[-16:] = np.array(words, "<u4").tobytes()
    at = raw.index(b"TTResult_NumberOfRecords") + 40
    end = raw.index(b"Header_End") + 48
    raw[at : at + 8] = (4).to_bytes(8, "little")
    (tmp_path / "in.ptu").write_bytes(bytes(raw[:end] + raw[-16:]))
    code, found = scqc("import", "ptu", tmp_path / "in.ptu", tmp_path / "a.h5")
    assert code == 0
    assert (found["n_tags"], found["sync_ticks"], found["markers"]) == (2, 1, 1)
    with open_tag_capture(tmp_path / "a.h5") as opened:
        assert opened.burst(0).times_ps.tolist() == [5, 8]
        assert opened.burst(0).channels.tolist() == [2, 1]


def test_what_cannot_be_exported_is_refused(tmp_path, scqc, capture):
    out = tmp_path / "out.ptu"
    for burst, reason in ((1, "lost"), (2, "never finished"), (3, "missing")):
        code, found = scqc("export", "ptu", capture, out, "--burst", burst)
        assert code == CAPTURE_ERROR
        assert reason in found["error"]["message"]
        assert not out.exists()
    out.write_bytes(b"kept")
    code, found = scqc("export", "ptu", capture, out, "--burst", 0)
    assert code == CAPTURE_ERROR
    assert out.read_bytes() == b"kept"


@pytest.mark.parametrize(
    "facts",
    [
        {"record_type": 5, "resolution_ps": 1.0},
        {"record_type": MULTIHARP, "resolution_ps": 0.0},
        {"record_type": MULTIHARP, "resolution_ps": "x"},
        {"record_type": MULTIHARP},
        [],
    ],
)
def test_an_invented_origin_is_refused(tmp_path, scqc, facts):
    header = CaptureHeader("", "run", instruments_json=json.dumps({"ptu": facts}))
    with TagCaptureWriter(tmp_path / "a.h5", header, 1) as writer:
        writer.add(0, tags_of(0))
    out = tmp_path / "out.ptu"
    code, _ = scqc("export", "ptu", tmp_path / "a.h5", out, "--burst", 0)
    assert code == CAPTURE_ERROR
    assert not out.exists()


def test_what_cannot_be_imported_is_refused(tmp_path, scqc, capture):
    bad = tmp_path / "bad.ptu"
    bad.write_bytes(b"PQTTTR\0\0" + bytes(500))
    code, _ = scqc("import", "ptu", bad, tmp_path / "b.h5")
    assert code == CAPTURE_ERROR
    assert not (tmp_path / "b.h5").exists()
    write_ptu(tmp_path / "good.ptu", tags_of(1))
    code, found = scqc("import", "ptu", tmp_path / "good.ptu", capture)
    assert code == CAPTURE_ERROR
    assert "exists already" in found["error"]["message"]


def test_inspect_and_salvage_know_time_tags(tmp_path, scqc, capture):
    code, found = scqc("inspect", capture)
    assert code == 0
    assert found["format"] == "scqc-tags"
    counts = [burst["photon_data"]["n_tags"] for burst in found["bursts"]]
    assert counts == [3000, 3000, 0]
    cut = tmp_path / "cut.h5"
    cut.write_bytes(capture.read_bytes()[:-4096])
    code, found = scqc("inspect", cut, "--salvage", tmp_path / "new.h5")
    assert found["salvaged"]
    assert code == 0
