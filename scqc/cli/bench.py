"""Commands at the bench: its instruments, and their emulators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scqc.cli.arguments import IS_FILE, Config, Debug, Hosts, Json
from scqc.cli.output import reporting, show


def devices(
    config: Annotated[
        Path | None, typer.Argument(help="Lab config, a TOML file.", **IS_FILE)
    ] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Look for instruments instead.")
    ] = False,
    host: Hosts = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask each instrument who it is; every one is left in its safe state."""
    if scan:
        with reporting(as_json, debug):
            from scqc.runs.scan import scan as look

            found = look(host or [])
        show({"found": [one.as_row() for one in found]}, as_json)
        return
    if config is None:
        raise typer.BadParameter("give a lab config, or --scan to look for instruments")
    with reporting(as_json, debug):
        from scqc.runs.devices import identify
        from scqc.runs.lab_config import load_config

        rows = identify(load_config(config))
    show({"instruments": rows}, as_json)
    if any("error" in row for row in rows):
        raise typer.Exit(4)


def serve_sim(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Serve the emulated instruments of a bench until Ctrl-C."""
    with reporting(as_json, debug):
        from scqc.runs.devices import serve
        from scqc.runs.lab_config import load_config

        serve(load_config(config), lambda found: show({"endpoints": found}, as_json))
