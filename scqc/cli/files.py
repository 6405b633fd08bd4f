"""Commands on captures and on other programs' records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scqc.cli.arguments import IS_FILE, Debug, Json
from scqc.cli.output import reporting, show

import_app = typer.Typer(help="Turn other programs' records into captures.")
export_app = typer.Typer(help="Turn captures into other programs' records.")


@import_app.command("foreign-npy")
def import_foreign(
    directory: Annotated[
        Path,
        typer.Argument(help="Folder of .npy records.", exists=True, file_okay=False),
    ],
    out: Annotated[Path, typer.Argument(help="Capture to write; must not exist.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn a folder of .npy records and their description into a capture."""
    with reporting(as_json, debug):
        from scqc.runs.foreign import import_foreign_npy

        import_foreign_npy(directory, out)
    show({"capture": str(out)}, as_json)


@import_app.command("ptu")
def import_ptu(
    file: Annotated[Path, typer.Argument(help="PTU file, T2.", **IS_FILE)],
    out: Annotated[Path, typer.Argument(help="Capture to write; must not exist.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn a PTU file (T2) into a capture of time tags, one burst."""
    with reporting(as_json, debug):
        from scqc.store import ptu_convert

        found = ptu_convert.import_ptu(file, out)
    show({"capture": str(out), **found}, as_json)


@export_app.command("ptu")
def export_ptu(
    capture: Annotated[Path, typer.Argument(help="Capture of time tags.", **IS_FILE)],
    out: Annotated[Path, typer.Argument(help="PTU file to write; must not exist.")],
    burst: Annotated[int, typer.Option(help="Which burst, from 0.", min=0)],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one burst of a capture of time tags as a PTU file (T2)."""
    with reporting(as_json, debug):
        from scqc.store import ptu_convert

        found = ptu_convert.export_ptu(capture, out, burst)
    show({"file": str(out), "burst": burst, **found}, as_json)


def inspect(
    file: Annotated[Path, typer.Argument(help="Capture, finished or not.", **IS_FILE)],
    salvage: Annotated[
        Path | None, typer.Option(help="Rescue what is undamaged into a new file.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in a file, without trusting it."""
    with reporting(as_json, debug):
        from scqc.store import inspect as inspector

        found = (
            inspector.describe(file)
            if salvage is None
            else inspector.salvage(file, salvage)
        )
    show(found, as_json)
    if found["problem"] is not None:
        raise typer.Exit(9)
