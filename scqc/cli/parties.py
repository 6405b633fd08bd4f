"""Commands of a link: the two services, and what is told to them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from scqc.cli.arguments import IS_FILE, Config, Debug, Json, Seed
from scqc.cli.output import reporting, show

if TYPE_CHECKING:
    from scqc.runs.parties.service import Service
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

Metrics = Annotated[
    str | None,
    typer.Option(help="Serve metrics at HOST:PORT instead of [peer] metrics."),
]


class _Given(NamedTuple):
    """What the command line says about a service."""

    lab: Path | None
    paused: bool
    seed: int | None
    run: str | None
    blocks: int | None
    metrics: str | None


def alice(
    config: Config,
    home: HomeOption = None,
    lab: Lab = None,
    paused: Paused = False,
    seed: Seed = None,
    run: RunName = None,
    metrics: Metrics = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve Alice's end of a link until told to end."""
    given = _Given(lab, paused, seed, run, None, metrics)
    _serve(config, "alice", home, given, as_json, debug)


def bob(
    config: Config,
    home: HomeOption = None,
    lab: Lab = None,
    paused: Paused = False,
    seed: Seed = None,
    blocks: Blocks = None,
    metrics: Metrics = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve Bob's end of a link: take blocks and distil them."""
    given = _Given(lab, paused, seed, None, blocks, metrics)
    _serve(config, "bob", home, given, as_json, debug)


def status(
    homes: Annotated[list[Path], typer.Argument(help="Homes of running services.")],
    keep_on: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option(help="Pause between looks [s].", min=0.1)
    ] = 1.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask running services how they are; several stand side by side."""
    if keep_on and as_json:
        raise typer.BadParameter("--json prints one object, --watch many tables")
    with reporting(as_json, debug):
        from scqc.runs.parties.asking import ask_all, ask_one

        if as_json:
            told = ask_one(homes[0]) if len(homes) == 1 else {"homes": ask_all(homes)}
            show(told, as_json)
            return
        from rich.console import Console

        from scqc.cli.status_view import status_view, watch

        if keep_on:
            with suppress(KeyboardInterrupt):
                watch(lambda: ask_all(homes), interval)
            return
        found = ask_all(homes)
        Console(highlight=False).print(status_view(found))
        for home, one in zip(homes, found, strict=True):
            if "party" not in one:
                ask_one(home)


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
    given: _Given,
    as_json: bool,
    debug: bool,
) -> None:
    where = home if home is not None else Path("parties") / party
    with reporting(as_json, debug):
        from scqc.core.provenance import new_run_uuid
        from scqc.runs.lab_config import load_config
        from scqc.runs.parties.programs import serve_party
        from scqc.runs.parties.service import Place

        loaded = load_config(config)
        if given.seed is not None:
            loaded = loaded.with_seed(given.seed)
        run, options = given.run or new_run_uuid(), (given.paused, given.blocks)
        place = Place(loaded, where, given.lab, run, *options, given.metrics)

        def ready(_service: Service) -> None:
            if not as_json:
                typer.echo(f"{party} in {where}; `scqc status {where}` says how it is")

        service = serve_party(place, party, ready)
    show({"home": str(where), **service.status.counts()}, as_json)
