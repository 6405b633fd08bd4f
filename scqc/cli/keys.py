"""Commands on key sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scqc.cli import delivery
from scqc.cli.arguments import Debug, Json
from scqc.cli.output import reporting, show

Sink = Annotated[Path, typer.Argument(help="Key sink, an SQLite file.")]
_COLUMNS = ("identifier", "purpose", "n_bits", "available_bits", "simulated")

keys_app = typer.Typer(help="Look into a key sink, take key out, put start key in.")
delivery.add_to(keys_app)


@keys_app.command("list")
def keys_list(sink: Sink, as_json: Json = False, debug: Debug = False) -> None:
    """List the blocks of a key sink, never their bits."""
    with reporting(as_json, debug):
        from scqc.runs.keys import list_keys

        entries = list_keys(sink)
    if not as_json:
        entries = [{key: entry[key] for key in _COLUMNS} for entry in entries]
    show({"blocks": entries}, as_json)


@keys_app.command("take")
def keys_take(
    sink: Sink,
    out: Annotated[Path, typer.Option(help="New file for the bits, mode 0600.")],
    identifier: Annotated[
        str | None, typer.Option("--id", help="Take from this block.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="How many bits.", min=1)] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Also keys of a simulated bench.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Release key bits, once, into a file."""
    with reporting(as_json, debug):
        from scqc.runs.keys import take_key

        taken = take_key(
            sink, out, identifier=identifier, n_bits=bits, allow_simulated=simulated
        )
    show(taken, as_json)


@keys_app.command("provision")
def keys_provision(
    directory: Annotated[Path, typer.Argument(help="Gets both parties' sinks.")],
    bits: Annotated[int, typer.Option(help="Pad per direction.", min=8)] = 65536,
    message_bits: Annotated[
        int, typer.Option(help="Pad for messages from Alice to Bob.", min=0)
    ] = 0,
    name: Annotated[str, typer.Option(help="Name of this delivery.")] = "start",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the same start key into both parties' sinks."""
    with reporting(as_json, debug):
        from scqc.runs.keys import provision_keys

        stored = provision_keys(directory, bits, name, message_bits)
    show({"directory": str(directory), "blocks": stored}, as_json)
