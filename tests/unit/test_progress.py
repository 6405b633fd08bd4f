"""Progress: bars on a terminal, nothing elsewhere."""

import io

import pytest
from rich.console import Console

from scqc.runs.progress import OnTerminal, Progress, Silent


def told(progress: Progress):
    progress.stage("station")
    progress.stage("capture", 3)
    progress.advance()
    progress.advance(2)
    progress.note("half [bold]way")


def shown(*, terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100)
    with OnTerminal(console) as progress:
        told(progress)
    return file.getvalue()


def test_a_terminal_shows_every_stage_and_note():
    text = shown(terminal=True)
    assert "station" in text
    assert "capture" in text
    assert "3/3" in text
    # What is said is not markup.
    assert "half [bold]way" in text


def test_nothing_is_written_where_nobody_looks(capsys):
    assert shown(terminal=False) == ""
    told(Silent())
    assert capsys.readouterr() == ("", "")


def test_a_stage_that_failed_is_not_shown_as_done():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)

    def fail(progress):
        progress.stage("capture", 3)
        progress.advance()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), OnTerminal(console) as progress:
        fail(progress)
    assert "3/3" not in file.getvalue()
