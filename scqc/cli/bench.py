"""Commands at the bench: its instruments, and their emulators."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scqc.cli.arguments import IS_FILE, Config, Debug, Hosts, Json, Seed
from scqc.cli.monitor_view import monitor_view, watch
from scqc.cli.output import reporting, show


def devices(
    config: Annotated[
        Path | None, typer.Argument(help="Lab config, a TOML file.", **IS_FILE)
    ] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Look for instruments instead.")
    ] = False,
    host: Hosts = None,
    quick: Annotated[bool, typer.Option("--quick", help="Without self-tests.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="New file for all that goes over the wire.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Ask such a file, not instruments.", **IS_FILE)
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask each instrument who and how it is, and leave it in its safe state."""
    if scan:
        with reporting(as_json, debug):
            from scqc.runs.scan import scan as look

            found = look(host or [])
        show({"found": [one.as_row() for one in found]}, as_json)
        return
    if config is None:
        raise typer.BadParameter("give a lab config, or --scan to look for instruments")
    with reporting(as_json, debug):
        from scqc.runs.devices import survey
        from scqc.runs.lab_config import load_config

        rows = survey(
            load_config(config), self_test=not quick, record=record, replay=replay
        )
    if as_json:
        show({"instruments": rows}, as_json)
    else:
        show({"instruments": [_brief(row) for row in rows]}, as_json)
        settings = [line for row in rows for line in _details(row)]
        show({"settings": settings}, as_json)
    if any("error" in row for row in rows):
        raise typer.Exit(4)


def monitor(
    config: Config,
    once: Annotated[bool, typer.Option("--once", help="Look once, then end.")] = False,
    interval: Annotated[
        float, typer.Option(help="Pause between looks [s].", min=0.0)
    ] = 0.5,
    allow_light: Annotated[
        bool, typer.Option("--allow-light", help="A real bench may send light.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show noise, beat, powers and count rates while fibres are aligned.

    It sends light of its own; Ctrl-C ends it and makes the bench safe.
    """
    with reporting(as_json, debug), tempfile.TemporaryDirectory() as folder:
        from scqc.runs.lab_config import load_config
        from scqc.runs.monitor import open_monitor

        loaded = load_config(config)
        if loaded.config.sim is None and not allow_light:
            raise typer.BadParameter("a real bench: add --allow-light to send light")
        with open_monitor(loaded, Path(folder)) as look:
            if once or as_json:
                found = look()
            else:
                watch(look, interval)
    if as_json:
        show(found.as_json(), as_json)
    elif once:
        Console(highlight=False).print(monitor_view(found))


def serve_sim(
    config: Config,
    seed: Seed = None,
    endpoints: Annotated[
        Path | None, typer.Option(help="File that says where each one listens.")
    ] = None,
    bind: Annotated[
        str, typer.Option(help="Address to listen at, for other computers.")
    ] = "127.0.0.1",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve the emulated instruments of a bench until Ctrl-C.

    With --endpoints FILE the two programs of a link find them: give both --lab FILE.
    """
    with reporting(as_json, debug):
        from scqc.runs.devices import serve, write_endpoints
        from scqc.runs.lab_config import load_config

        def ready(found: dict[str, str]) -> None:
            if endpoints is not None:
                write_endpoints(endpoints, found)
            show({"endpoints": found}, as_json)

        loaded = load_config(config)
        lab = loaded if seed is None else loaded.with_seed(seed)
        serve(lab, ready, host=bind)


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """Return what fits into one line of a table; the rest has lines of its own."""
    shown = {"name": row["name"], "driver": row["driver"]}
    shown["answer"] = row.get("identity", row.get("error", ""))
    shown["self-test"] = row.get("self_test", "")
    return shown


def _details(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of an instrument in the table below."""
    found = {"role": row["role"], "resource": row["resource"]}
    found |= {k: v for k, v in row.get("settings", {}).items() if v not in (None, {})}
    return [{"name": row["name"], "setting": k, "value": v} for k, v in found.items()]
