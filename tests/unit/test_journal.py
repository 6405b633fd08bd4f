"""The journal of a run: append-only, one line an event."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from scqc.core.errors import CaptureError, SyncError
from scqc.runs import journal
from scqc.runs.journal import NAME, Journal, journal_error, read_journal


def test_entries_are_lines_of_json_with_utc_and_run(tmp_path):
    with Journal(tmp_path, "run-1") as opened:
        opened.write("bench", "light on")
        opened.write("bench", "two\nlines, µ")
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


def test_a_large_journal_is_put_aside_and_nothing_is_lost(tmp_path, monkeypatch):
    """Eight threads write while it is renamed under them, again and again."""
    monkeypatch.setattr(journal, "LARGEST_BYTES", 2000)
    n_threads, n_lines = 8, 25

    def work(number):
        one = Journal(tmp_path, "r")
        for line in range(n_lines):
            one.write("key", f"{number}/{line} " + "x" * 60)

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, range(n_threads)))
    parts = journal.put_aside(tmp_path)
    assert len(parts) > 3
    # A line of each thread may be on its way when it is renamed.
    assert all(2000 <= p.stat().st_size < 2000 + (n_threads + 1) * 200 for p in parts)
    texts = [entry["text"].split()[0] for entry in read_journal(tmp_path)]
    assert sorted(texts) == sorted(
        f"{n}/{line}" for n in range(n_threads) for line in range(n_lines)
    )


def test_the_last_entry_is_that_of_the_file_before_when_the_new_one_is_empty(tmp_path):
    assert journal.last_entry(tmp_path) is None
    Journal(tmp_path, "r").write("run", "a")
    Journal(tmp_path, "r").write("run", "b")
    (tmp_path / NAME).rename(tmp_path / "journal-000009.jsonl")
    assert journal.last_entry(tmp_path)["text"] == "b"
    (tmp_path / NAME).write_text('{"utc": "cut o')
    assert journal.last_entry(tmp_path)["text"] == "b"


def test_only_the_end_of_a_long_journal_is_read_for_its_last_entry(tmp_path):
    one = Journal(tmp_path, "r")
    (tmp_path / NAME).write_text("not a line of ours\n" * 100_000)
    one.write("run", "last")
    assert journal.last_entry(tmp_path)["text"] == "last"
