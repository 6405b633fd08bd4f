"""Commands on the link between the two programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scqc.cli.arguments import Debug, Json
from scqc.cli.output import reporting, show


def keys_init_link(
    directory: Annotated[Path, typer.Argument(help="Gets alice.link and bob.link.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the key files of a link between two programs, one for each end."""
    with reporting(as_json, debug):
        from scqc.core.rng import SystemEntropy
        from scqc.runs.parties.curve import write_link_files

        alice, bob = write_link_files(directory, SystemEntropy())
    show({"alice": str(alice), "bob": str(bob)}, as_json)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("init-link")(keys_init_link)
