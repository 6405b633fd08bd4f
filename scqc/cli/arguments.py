"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

IS_FILE = {"exists": True, "dir_okay": False}
Config = Annotated[Path, typer.Argument(help="Lab config, a TOML file.")]
Payload = Annotated[
    Path | None, typer.Option(help="File to send; not with psk = none.", **IS_FILE)
]
Out = Annotated[
    Path | None, typer.Option(help="Run folder; by default runs/TIME-NAME.")
]
Seed = Annotated[int | None, typer.Option(help="Seed instead of [sim] seed.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]
Hosts = Annotated[
    list[str] | None, typer.Option("--host", help="Look at this address; repeat it.")
]
