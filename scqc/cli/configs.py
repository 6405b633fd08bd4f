"""Commands on lab configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from scqc.cli.arguments import Config, Debug, Hosts, Json
from scqc.cli.output import reporting, show

config_app = typer.Typer(help="Check and show lab configs.")


@config_app.command("check")
def config_check(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Check a lab config; list everything that is wrong."""
    with reporting(as_json, debug):
        from scqc.runs.lab_config import amount_of_light, load_config

        loaded = load_config(config)
        amount = amount_of_light(loaded.config)
    simulated = loaded.config.sim is not None
    found = {"file": str(config), **amount, "simulated": simulated}
    show({**found, "valid": True}, as_json)


@config_app.command("show")
def config_show(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Show a lab config with all its defaults filled in."""
    with reporting(as_json, debug):
        from scqc.runs.config_text import as_toml
        from scqc.runs.lab_config import load_config

        loaded = load_config(config)
    if as_json:
        show(loaded.config.model_dump(mode="json", by_alias=True), as_json)
    else:
        typer.echo(as_toml(loaded.config), nl=False)


@config_app.command("new")
def config_new(
    out: Annotated[Path, typer.Argument(help="TOML file to write; must not exist.")],
    scheme: Annotated[str, typer.Option(help="What to send: cv or dv.")] = "cv",
    scan: Annotated[
        bool, typer.Option("--scan", help="Put in the instruments that are found.")
    ] = False,
    host: Hosts = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="With emulators for all instruments.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a commented lab config, around the instruments found."""
    if scheme not in ("cv", "dv"):
        raise typer.BadParameter(f"--scheme {scheme}: must be cv or dv")
    with reporting(as_json, debug):
        from scqc.runs.new_config import draft, write_new
        from scqc.runs.scan import scan as look

        found = look(host or []) if scan or host else []
        made = draft(cast(Literal["cv", "dv"], scheme), found, simulated=simulated)
        write_new(out, made)
    steps = "fill in what is missing, then `scqc config check` and `scqc devices`"
    entry = {"file": str(out), "to_fill_in": list(made.missing), "next": steps}
    show(entry, as_json)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a lab config, for editors."""
    from scqc.runs.lab_config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
