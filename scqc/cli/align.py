"""The command that measures the delays of a bench."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scqc.cli.arguments import Config, Debug, Json
from scqc.cli.output import progress_bars, reporting, show

if TYPE_CHECKING:
    from scqc.runs.align import Alignment


def align(
    config: Config,
    records: Annotated[
        int, typer.Option(help="Bursts to measure with.", min=1, max=10_000)
    ] = 8,
    margin: Annotated[
        float | None,
        typer.Option(help="Record beyond a burst [s], not margin_s.", min=1e-9, max=1),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="New file for the lines of the config.")
    ] = None,
    allow_light: Annotated[
        bool, typer.Option("--allow-light", help="A real bench may send light.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure delays of trigger and channels; say how to bring them in step.

    It sends bursts of its own, which are kept nowhere.
    """
    with (
        reporting(as_json, debug),
        tempfile.TemporaryDirectory() as folder,
        progress_bars(as_json) as progress,
    ):
        from scqc.runs import align as aligning
        from scqc.runs.config_text import refuse_existing, write_new_file
        from scqc.runs.lab_config import load_config

        loaded = load_config(config)
        if loaded.config.sim is None and not allow_light:
            raise typer.BadParameter("a real bench: add --allow-light to send light")
        if write is not None:
            # Before any light.
            refuse_existing(write)
        if margin is not None:
            loaded = aligning.with_margin(loaded, margin)
        found = aligning.align(loaded, Path(folder), progress, records)
        if write is not None:
            write_new_file(write, found.toml)
    if as_json:
        show({"file": str(config), **found.as_json()}, as_json)
        return
    _show_text(found)
    if write is None:
        typer.echo(found.toml, nl=False)
    else:
        show({"written": str(write)}, as_json)


def _show_text(found: Alignment) -> None:
    """Print the delays as a table, and what to do about them."""
    start = found.start
    rows = [
        {"path": one.name, "delay [ps]": f"{one.delay_ps:.1f}"}
        | {"sigma [ps]": f"{one.sigma_ps:.1f}"}
        for one in found.delays
    ]
    show({"delays": rows}, as_json=False)
    times = (start.earliest_s, start.median_s, start.latest_s)
    earliest, middle, latest = (f"{1e6 * one:.3f}" for one in times)
    show(
        {
            "start of the light [us]": f"{earliest} to {latest}, median {middle}",
            "margin [us]": f"{1e6 * start.margin_s:.3f}",
        },
        as_json=False,
    )
    for hint in found.hints:
        show({"hint": hint}, as_json=False)
