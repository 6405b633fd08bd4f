"""The journal of a run: append-only, one line an event."""

import json
from datetime import datetime

import pytest

from scqc.core.errors import CaptureError, SyncError
from scqc.runs.journal import NAME, Journal, journal_error, read_journal


def test_entries_are_lines_of_json_with_utc_and_run(tmp_path):
    with Journal(tmp_path, "run-1") as journal:
        journal.write("bench", "light on")
        journal.write("bench", "two\nlines, µ")
    lines = (tmp_path / NAME).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [e["text"] for e in entries] == ["light on", "two\nlines, µ"]
    assert {e["run_uuid"] for e in entries} == {"run-1"}
    assert datetime.fromisoformat(entries[0]["utc"]).utcoffset().total_seconds() == 0
    assert read_journal(tmp_path) == entries


def test_nothing_is_ever_rewritten(tmp_path):
    Journal(tmp_path, "first").write("run", "a")
    before = (tmp_path / NAME).read_bytes()
    Journal(tmp_path, "second").write("run", "b")
    assert (tmp_path / NAME).read_bytes().startswith(before)


@pytest.mark.parametrize("error", [SyncError("no frame"), KeyboardInterrupt()])
def test_what_ends_the_block_is_journalled_once(tmp_path, error):
    with pytest.raises(type(error)), Journal(tmp_path, "run-1"):
        raise error
    journal_error(tmp_path, error)
    (entry,) = read_journal(tmp_path)
    assert entry["kind"] == "error"
    assert entry["run_uuid"] == "run-1"
    assert entry["text"].startswith(type(error).__name__)


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    Journal(tmp_path, "r").write("run", "whole")
    with (tmp_path / NAME).open("a") as file:
        file.write('{"utc": "20')
    assert [e["text"] for e in read_journal(tmp_path)] == ["whole"]


def test_no_folder_no_journal(tmp_path):
    journal_error(tmp_path / "absent", SyncError("x"))
    assert read_journal(tmp_path / "absent") == []
    with pytest.raises(CaptureError, match="append"):
        Journal(tmp_path / "absent", "r").write("run", "x")
