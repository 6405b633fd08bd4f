"""Commands on key sinks."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scqc.cli import delivery
from scqc.cli.arguments import Debug, Json
from scqc.cli.output import reporting, show

Sink = Annotated[Path, typer.Argument(help="Key sink, an SQLite file.")]
_COLUMNS = ("identifier", "purpose", "state", "n_bits", "available_bits", "simulated")


class Direction(StrEnum):
    """Which way the key of a pool was cut for."""

    TO_BOB = "alice-to-bob"
    TO_ALICE = "bob-to-alice"


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
    direction: Annotated[
        Direction | None,
        typer.Option(
            help="Only key of this direction; while keys are served, the one that "
            "this end sends in."
        ),
    ] = None,
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
            sink,
            out,
            identifier=identifier,
            n_bits=bits,
            direction=None if direction is None else direction.value,
            allow_simulated=simulated,
        )
    show(taken, as_json)


@keys_app.command("provision")
def keys_provision(
    where: Annotated[
        Path,
        typer.Argument(
            help="New FILE.key to carry to both ends, or a directory that gets both "
            "parties' sinks.",
        ),
    ],
    bits: Annotated[int, typer.Option(help="Pad per direction.", min=8)] = 65536,
    message_bits: Annotated[
        int, typer.Option(help="Pad for messages from Alice to Bob.", min=0)
    ] = 0,
    name: Annotated[str, typer.Option(help="Name of this delivery.")] = "start",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw a start key: into a file, or into both sinks of one computer."""
    with reporting(as_json, debug):
        from scqc.runs.keys import provision_keys, write_start_key

        if where.suffix == ".key" and not where.is_dir():
            shown = write_start_key(where, bits, name, message_bits)
        else:
            stored = provision_keys(where, bits, name, message_bits)
            shown = {"directory": str(where), "blocks": stored}
    show(shown, as_json)


@keys_app.command("load")
def keys_load(
    file: Annotated[Path, typer.Argument(help="Start key that was carried here.")],
    sink: Annotated[Path, typer.Argument(help="Key sink; made if there is none.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put a start key into a sink. Then destroy the file, and compare fingerprints."""
    with reporting(as_json, debug):
        from scqc.runs.keys import load_start_key

        loaded = load_start_key(file, sink)
    show(loaded, as_json)


@keys_app.command("fingerprint")
def keys_fingerprint(sink: Sink, as_json: Json = False, debug: Debug = False) -> None:
    """Show what both ends must have alike; it tells nothing about the key."""
    with reporting(as_json, debug):
        from scqc.runs.keys import sink_fingerprint

        found = sink_fingerprint(sink)
    show(found, as_json)


@keys_app.command("check")
def keys_check(sink: Sink, as_json: Json = False, debug: Debug = False) -> None:
    """Check the file, its journal and every bit that is left; show the levels."""
    with reporting(as_json, debug):
        from scqc.runs.keys import check_sink

        found = check_sink(sink)
    show(found, as_json)


@keys_app.command("burn")
def keys_burn(
    sink: Sink,
    identifier: Annotated[
        str | None, typer.Option("--id", help="Only this block.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Erase everything in a sink: after a restored backup, or a broken journal.

    End `scqc keys serve` first: what it has taken in advance is not burnt.
    """
    with reporting(as_json, debug):
        from scqc.runs.keys import burn_sink

        burnt = burn_sink(sink, identifier)
    show(burnt, as_json)
