"""All captures of a folder: each once, and one bad file costs no other."""

import json

import pytest
from run_kit import scqc_here

from scqc.core.errors import CaptureError
from scqc.runs import offline
from scqc.store.results import write_result

NAMES = ("good", "bad")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "capture.h5").write_bytes(name.encode())
        (tmp_path / name / "alice.scqc").write_bytes(b"record")

    def processed(capture, place, progress):
        if capture.read_bytes() == b"bad":
            raise CaptureError(f"{capture}: truncated")
        place.mkdir(parents=True)
        verdict = f"of {capture.read_bytes().decode()}"
        write_result(place / "result.json", {"verdict": verdict, "key": {}})

    monkeypatch.setattr(offline, "process_capture", processed)
    return tmp_path


def rows(folder):
    out = folder / "out"
    done = scqc_here("process", folder, "--out", out, "--json", "--processes", 1)
    found = {r["capture"]: r for r in json.loads(done.stdout)["captures"]}
    return done.returncode, [found[str(folder / n / "capture.h5")] for n in NAMES]


def test_each_capture_once_and_a_bad_one_by_itself(folder):
    code, (good, bad) = rows(folder)
    assert code == bad["error"]["exit_code"] == 9
    assert "truncated" in bad["error"]["message"]
    assert good["verdict"] == "of good"
    assert not good["reused"]
    code, (again, _) = rows(folder)
    assert again == good | {"reused": True}


@pytest.mark.parametrize("changed", ["capture.h5", "alice.scqc"])
def test_another_content_is_another_result(folder, changed):
    rows(folder)
    (folder / "good" / changed).write_bytes(b"other")
    assert not rows(folder)[1][0]["reused"]


def test_an_empty_folder_is_an_error(tmp_path):
    done = scqc_here("process", tmp_path, "--json")
    assert done.returncode == 9
    assert "no *.h5" in json.loads(done.stdout)["error"]["message"]
