"""What commands say: progress, one JSON object or tables, errors and exit codes."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scqc.core.errors import ScqcError

if TYPE_CHECKING:
    from scqc.runs.progress import Progress

SCHEMA_VERSION = 1


@contextmanager
def progress_bars(as_json: bool) -> Iterator[Progress]:
    """Provide what draws progress on a terminal; nothing with ``--json``."""
    from scqc.runs.progress import OnTerminal, Silent

    if as_json:
        yield Silent()
        return
    from rich.console import Console

    with OnTerminal(Console(stderr=True)) as progress:
        yield progress


@contextmanager
def reporting(as_json: bool, debug: bool, folder: Path | None = None) -> Iterator[None]:
    """Report whatever ends the block, and turn it into an exit code."""
    from scqc.runs.outcome import INTERRUPTED, exit_code, hint

    cause: BaseException
    try:
        yield
        return
    except ScqcError as error:
        cause, code, next_step = error, exit_code(error), hint(error)
    except OSError as error:
        cause, code, next_step = error, 9, "check the path, permissions and disk space"
    except KeyboardInterrupt as error:
        cause, code, next_step = error, INTERRUPTED, "the instruments were made safe"
    except Exception as error:
        # A mistake of ours: the one object still comes, then the traceback.
        if as_json:
            show(failure(error, 1), as_json)
        raise
    if folder is not None:
        from scqc.runs.journal import journal_error

        journal_error(folder, cause)
    if debug:
        traceback.print_exception(cause)
    if as_json:
        show(failure(cause, code), as_json)
    else:
        typer.echo(f"error: {str(cause) or 'interrupted'}", err=True)
        typer.echo(f"hint: {next_step}", err=True)
    raise typer.Exit(code)


def failure(error: BaseException, code: int) -> dict[str, Any]:
    """Return the object that says what went wrong."""
    message = str(error) or type(error).__name__
    name = type(error).__name__
    return {"error": {"class": name, "message": message, "exit_code": code}}


def show(values: dict[str, Any], as_json: bool) -> None:
    """Print one JSON object, or the same as a table."""
    if as_json:
        typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, **values}))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for name, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            console.print(listing(name, value))
        elif isinstance(value, dict):
            for key, one in value.items():
                console.print(f"{name}.{key}: {one}", soft_wrap=True)
        else:
            console.print(f"{name}: {value}", soft_wrap=True)


def listing(title: str, rows: Sequence[dict[str, Any]]) -> Any:
    """Return a table with one line per row and the columns of all rows."""
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row.get(column, ""))) for column in columns))
    return table
