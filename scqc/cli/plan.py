"""`scqc plan`: what a link can give before it is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scqc.cli.arguments import Debug, Json
from scqc.cli.output import listing, reporting, show

if TYPE_CHECKING:
    from scqc.plan.grids import Grid
    from scqc.plan.records import Plan
    from scqc.plan.workers import Workers

_NO_KEY = 3
_SAMPLES = 7


def plan(
    preset: Annotated[
        str, typer.Argument(help="Name of a preset; `list` names them all.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value; repeat it. Keys: see the assumptions."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report, figure and tables.")
    ] = None,
    write_config: Annotated[
        Path | None, typer.Option(help="Write a lab config that `scqc run` runs.")
    ] = None,
    front: Annotated[
        float | None,
        typer.Option(
            help="Data rate against key rate at this value of the swept variable, "
            "beside divided transmission."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="How far the key reaches over NAME=START:STOP:POINTS[:log], in place "
            "of one sweep."
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Axis NAME=START:STOP:POINTS[:log] of a sweep; repeat it."),
    ] = None,
    optimise: Annotated[
        list[str] | None,
        typer.Option(help="With --grid: best value of this at every point; repeat it."),
    ] = None,
    results: Annotated[
        Path, typer.Option(help="With --grid: folder of the chunks, kept and reused.")
    ] = Path("sweeps"),
    processes: Annotated[
        int, typer.Option(help="With --grid: processes; 0 is one per core.", min=0)
    ] = 0,
    dask: Annotated[
        str, typer.Option(help="With --grid: address of a Dask scheduler.")
    ] = "",
    chunk_points: Annotated[
        int,
        typer.Option(
            help="With --grid: points per chunk; 0 is some seconds of work.", min=0
        ),
    ] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Plan a link: loss, payload and key, with every assumption.

    Exit code 3: there is no key anywhere; what limits it is said.
    """
    with reporting(as_json, debug):
        if preset == "list":
            _show_presets(as_json)
            return
        if grid:
            from scqc.plan.grids import grid_of
            from scqc.plan.workers import Workers

            whole = grid_of(preset, changes or (), grid, optimise or (), chunk_points)
            workers = Workers(processes, dask)
            show(_sweep(whole, results.resolve(), workers, as_json), as_json)
            return
        _no_grid(optimise=optimise, processes=processes, dask=dask, chunk=chunk_points)
        made = _made(preset, changes or (), front, against)
        written = _write(made, out)
        if write_config is not None:
            from scqc.runs.plan_bench import write_lab_config

            written += write_lab_config(write_config, preset, changes or ())
    files = [str(path) for path in written]
    if as_json:
        show({**made.as_json(), "files": files}, as_json)
    else:
        _print(made)
        for file in files:
            typer.echo(f"written: {file}")
    if not made.has_key:
        raise typer.Exit(_NO_KEY)


def _made(
    preset: str, changes: Sequence[str], front: float | None, against: str | None
) -> Plan:
    from scqc.plan.make import make_front, make_plan, make_reach

    if front is not None:
        return make_front(preset, changes, front)
    if against is not None:
        return make_reach(preset, changes, against)
    return make_plan(preset, changes)


def _no_grid(**given: object) -> None:
    """Refuse options that would have no effect."""
    from scqc.core.errors import ConfigProblem, PlanSettingsError

    names = {"chunk": "chunk-points"}
    problems = [
        ConfigProblem("plan", "", f"--{names.get(n, n)}", str(v), "needs --grid")
        for n, v in given.items()
        if v
    ]
    if problems:
        raise PlanSettingsError(problems)


def _sweep(
    grid: Grid, results: Path, workers: Workers, as_json: bool
) -> dict[str, Any]:
    """Run a sweep; say how far it is on standard error."""
    from scqc.plan.sweeps import read_sweep, run_sweep, store_sweep, without_answer

    for state in run_sweep(grid, results, workers):
        if not as_json:
            typer.echo(f"\r{state.done} of {state.total} chunks", nl=False, err=True)
    if not as_json:
        typer.echo(err=True)
    return {
        "points": grid.n_points,
        "without_answer": without_answer(read_sweep(grid, results)),
        "chunks": state.total,
        "reused": state.reused,
        "table": str(store_sweep(grid, results)),
    }


def _write(made: Plan, out: Path | None) -> list[Path]:
    if out is None:
        return []
    from scqc.plan.output import write_all

    return write_all(out, made)


def _show_presets(as_json: bool) -> None:
    from scqc.plan.presets import PRESETS

    rows = [{"preset": name, "what": p.title} for name, p in PRESETS.items()]
    show({"presets": rows}, as_json)


def _print(made: Plan) -> None:
    """Print assumptions, samples of every curve, derived values and advice."""
    from rich.console import Console

    from scqc.plan.report import number, verdict

    console = Console(highlight=False, markup=False)
    rows = [
        {"assumption": a.key, "value": number(a.value), "chosen by": a.origin}
        for a in made.assumptions
    ]
    console.print(listing("Assumptions", rows))
    for curve in made.curves:
        names = (curve.x, *(n for n in (*made.y, "loss_db") if n in curve.arrays))
        names = tuple(n for n in names if curve.arrays[n].ndim == 1)
        size = curve.arrays[curve.x].size
        step = max(1, (size - 1) // (_SAMPLES - 1))
        samples: list[dict[str, Any]] = [
            {n: number(float(curve.arrays[n][i])) for n in names}
            for i in range(0, size, step)
        ]
        console.print(listing(f"Curve {curve.label}", samples))
        for name, value in curve.derived.items():
            console.print(f"{name}: {number(value)}", soft_wrap=True)
    for row in made.limits:
        console.print(f"to get a key: {row['change']}", soft_wrap=True)
    for note in dict.fromkeys(made.warnings):
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"\n{verdict(made)}", soft_wrap=True)
