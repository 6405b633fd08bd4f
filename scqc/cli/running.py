"""Commands that send light, and the processing of what they stored."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scqc.cli.arguments import IS_FILE, Config, Debug, Json, Out, Payload, Seed
from scqc.cli.output import progress_bars, reporting, show
from scqc.core.errors import PayloadError

if TYPE_CHECKING:
    from scqc.runs.lab_config import LoadedConfig
    from scqc.runs.result import Result


def run(
    config: Config,
    payload: Payload = None,
    out: Out = None,
    seed: Seed = None,
    blocks: Annotated[
        int | None, typer.Option(help="Send this many blocks in a row.", min=1)
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", help="Send blocks for so long: 90s, 30m, 2h.")
    ] = None,
    discard: Annotated[
        bool,
        typer.Option("--discard-captures", help="Keep results only, block by block."),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send a file and distil a key: capture, receive, estimate, distil, report.

    With --blocks or --for it goes on, block after block, until Ctrl-C.
    """
    seconds = None if duration is None else _seconds(duration)
    folder = _run_folder(out, config.stem)
    continuous = blocks is not None or seconds is not None
    with reporting(as_json, debug, folder), progress_bars(as_json) as progress:
        loaded, content = _prepare(config, seed, payload, folder)
        if continuous:
            from scqc.runs.continuous import Until, run_blocks

            done = run_blocks(
                loaded,
                content,
                folder,
                progress,
                Until(blocks, seconds),
                keep_captures=not discard,
            )
        else:
            from scqc.runs.live import run_live

            result = run_live(loaded, content, folder, progress)
    if not continuous:
        _finish(result, folder, as_json)
        return
    show({**done.as_json(), "run_folder": str(folder)}, as_json)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def capture(
    config: Config,
    payload: Payload = None,
    out: Out = None,
    seed: Seed = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send a file and store what arrives; `process` does the rest later."""
    folder = _run_folder(out, config.stem)
    with reporting(as_json, debug, folder), progress_bars(as_json) as progress:
        from scqc.runs.live import capture_live

        loaded, content = _prepare(config, seed, payload, folder)
        path = capture_live(loaded, content, folder, progress)
    show({"capture": str(path), "run_folder": str(folder)}, as_json)


def process(
    capture: Annotated[
        Path, typer.Argument(help="Capture, an HDF5 file; or a folder of them.")
    ],
    alice: Annotated[
        Path | None,
        typer.Option(help="Alice's record; by default beside it.", **IS_FILE),
    ] = None,
    symbols: Annotated[
        Path | None,
        typer.Option(help="Alice's symbols (.npy): only estimate.", **IS_FILE),
    ] = None,
    out: Out = None,
    processes: Annotated[
        int, typer.Option(help="Of a folder: processes; 0 is one per core.", min=0)
    ] = 0,
    dask: Annotated[
        str, typer.Option(help="Of a folder: address of a Dask scheduler.")
    ] = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Process a capture offline: same functions, same numbers as `run`.

    Of a folder, all captures in it; what was processed already is not done again.
    """
    if capture.is_dir():
        _process_folder(capture, out, (processes, dask), (as_json, debug))
        return
    name = capture.resolve().parent.name if capture.stem == "capture" else capture.stem
    folder = _run_folder(out, f"{name}-process")
    with reporting(as_json, debug, folder), progress_bars(as_json) as progress:
        from scqc.runs.offline import process_capture

        folder.mkdir(parents=True, exist_ok=True)
        result = process_capture(capture, folder, progress, alice, symbols)
    _finish(result, folder, as_json)


def _process_folder(
    folder: Path, out: Path | None, where: tuple[int, str], said: tuple[bool, bool]
) -> None:
    """Process all captures of a folder; a failed one does not stop the others."""
    as_json, debug = said
    place = out if out is not None else Path("runs") / f"{folder.name}-process"
    with reporting(as_json, debug):
        from scqc.plan.workers import Workers
        from scqc.runs.many import process_folder

        rows = list(process_folder(folder, place, Workers(*where)))
    show({"captures": rows}, as_json)
    codes = [row["error"]["exit_code"] for row in rows if "error" in row]
    if codes:
        raise typer.Exit(codes[0])


def _prepare(
    config: Path, seed: int | None, payload: Path | None, folder: Path
) -> tuple[LoadedConfig, bytes]:
    """Read config and payload, and make the run folder."""
    from scqc.runs.lab_config import load_config

    loaded = load_config(config)
    if seed is not None:
        loaded = loaded.with_seed(seed)
    if payload is None and loaded.config.carries_payload:
        raise PayloadError(f"{config}: this bench sends data; give --payload FILE")
    folder.mkdir(parents=True, exist_ok=True)
    return loaded, b"" if payload is None else payload.read_bytes()


def _seconds(text: str) -> float:
    """Return how long ``90s``, ``30m``, ``2h`` or ``1d`` is [s]."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None or float(found[1]) <= 0.0:
        raise typer.BadParameter(f"--for {text}: write 90s, 30m, 2h or 1d")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _run_folder(out: Path | None, name: str) -> Path:
    """Return a folder that is not there yet, or is empty."""
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise typer.BadParameter(f"--out {out}: exists and is not an empty folder")
        return out
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    folder, n = Path("runs") / stem, 2
    while folder.exists():
        folder, n = Path("runs") / f"{stem}-{n}", n + 1
    return folder


def _finish(result: Result, folder: Path, as_json: bool) -> None:
    """Print a result and leave with its exit code."""
    if as_json:
        show({**result.as_json(), "run_folder": str(folder)}, as_json)
    else:
        show(dict(result.table()), as_json)
        typer.echo(f"\n{result.verdict}\nReport: {folder / 'report.html'}")
    if result.exit_code:
        raise typer.Exit(result.exit_code)
