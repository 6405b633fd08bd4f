"""Commands that deliver keys to applications."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scqc.cli.arguments import IS_FILE, Config, Debug, Json
from scqc.cli.output import reporting, show


class Party(StrEnum):
    """Which end of the link."""

    ALICE = "alice"
    BOB = "bob"


def keys_serve(
    config: Config,
    party: Annotated[Party, typer.Option(help="Which end this is.")],
    sink: Annotated[
        Path | None, typer.Option(help="Key sink instead of that of [keys].", **IS_FILE)
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Deliver keys to applications by ETSI GS QKD 014 and 004 until SIGTERM."""
    with reporting(as_json, debug):
        from scqc.runs.delivery import check_installed

        check_installed()
        from scqc.runs.delivery.process import serve
        from scqc.runs.lab_config import load_config

        loaded = load_config(config)
        serve(loaded.config, party.value, lambda found: show(found, as_json), sink=sink)


def keys_init_certs(
    directory: Annotated[Path, typer.Argument(help="Gets NAME.pem and NAME.key.")],
    kme: Annotated[list[str], typer.Option(help="A server; repeat it.")],
    sae: Annotated[list[str], typer.Option(help="An application; repeat it.")],
    host: Annotated[
        list[str] | None, typer.Option(help="Where servers are reached; repeat it.")
    ] = None,
    days: Annotated[
        float, typer.Option(help="How long they are good.", min=0.01)
    ] = 30.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a certificate authority for tests, with certificates for both ends."""
    with reporting(as_json, debug):
        from scqc.runs.delivery import check_installed

        check_installed()
        from scqc.runs.delivery.certificates import init_certificates

        hosts = host or ["localhost", "127.0.0.1", "::1"]
        written = init_certificates(directory, kme, sae, hosts, days)
    show({"files": [str(path) for path in written]}, as_json)


def add_to(app: typer.Typer) -> None:
    """Put the commands among those on key sinks."""
    app.command("serve")(keys_serve)
    app.command("init-certs")(keys_init_certs)
