"""Commands of a link: the two services, and what is told to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scqc.cli.arguments import IS_FILE, Config, Debug, Json, Seed
from scqc.cli.output import reporting, show

if TYPE_CHECKING:
    from scqc.store.results import Sender

Home = Annotated[Path, typer.Argument(help="Home of a running service.")]
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Where the service lives.")
]
Lab = Annotated[
    Path | None,
    typer.Option("--lab", help="What serve-sim --endpoints wrote.", **IS_FILE),
]
Paused = Annotated[bool, typer.Option("--paused", help="Wait to be told to start.")]
Blocks = Annotated[int | None, typer.Option(help="End after so many.", min=1)]
RunName = Annotated[
    str | None,
    typer.Option("--run", help="Name of the run, a UUID; to repeat a simulated one."),
]


def alice(
    config: Config,
    home: HomeOption = None,
    lab: Lab = None,
    paused: Paused = False,
    seed: Seed = None,
    run: RunName = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve Alice's end of a link until told to end."""
    _serve(config, "alice", home, (lab, paused, seed, run, None), as_json, debug)


def bob(
    config: Config,
    home: HomeOption = None,
    lab: Lab = None,
    paused: Paused = False,
    seed: Seed = None,
    blocks: Blocks = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve Bob's end of a link: take blocks and distil them."""
    _serve(config, "bob", home, (lab, paused, seed, None, blocks), as_json, debug)


def status(home: Home, as_json: Json = False, debug: Debug = False) -> None:
    """Ask a running service how it is."""
    with reporting(as_json, debug):
        from scqc.runs.parties.control import tell

        found = tell(home, "status")
    show(found, as_json)


def tell(
    home: Home,
    command: Annotated[str, typer.Argument(help="start, stop, end or message.")],
    file: Annotated[Path | None, typer.Argument(help="Message to send.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell a running service to start, stop or end, or give it a message to send."""
    if command not in ("start", "stop", "end", "message"):
        raise typer.BadParameter(f"{command!r}: say start, stop, end or message FILE")
    if (command == "message") != (file is not None):
        raise typer.BadParameter("message takes a file, the others none")
    with reporting(as_json, debug):
        from scqc.runs.parties.control import tell as ask

        values: dict[str, Any] = {}
        if file is not None:
            values["path"] = str(file.resolve())
        found = ask(home, command, **values)
    show(found, as_json)


def _serve(
    config: Path,
    party: Sender,
    home: Path | None,
    options: tuple[Path | None, bool, int | None, str | None, int | None],
    as_json: bool,
    debug: bool,
) -> None:
    lab, paused, seed, run, blocks = options
    where = home if home is not None else Path("parties") / party
    with reporting(as_json, debug):
        from scqc.core.provenance import new_run_uuid
        from scqc.runs.lab_config import load_config
        from scqc.runs.parties.programs import serve_party
        from scqc.runs.parties.service import Place

        loaded = load_config(config)
        if seed is not None:
            loaded = loaded.with_seed(seed)
        place = Place(loaded, where, lab, run or new_run_uuid(), paused, blocks)
        if not as_json:
            typer.echo(f"{party} in {where}; `scqc status {where}` says how it is")
        service = serve_party(place, party)
    show({"home": str(where), **service.status.counts()}, as_json)
