"""Commands that send light, and the processing of what they stored."""

from __future__ import annotations

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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send a file and distil a key: capture, receive, estimate, distil, report."""
    folder = _run_folder(out, config.stem)
    with reporting(as_json, debug, folder), progress_bars(as_json) as progress:
        from scqc.runs.live import run_live

        loaded, content = _prepare(config, seed, payload, folder)
        result = run_live(loaded, content, folder, progress)
    _finish(result, folder, as_json)


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
    capture: Annotated[Path, typer.Argument(help="Capture, an HDF5 file.")],
    alice: Annotated[
        Path | None,
        typer.Option(help="Alice's record; by default beside it.", **IS_FILE),
    ] = None,
    symbols: Annotated[
        Path | None,
        typer.Option(help="Alice's symbols (.npy): only estimate.", **IS_FILE),
    ] = None,
    out: Out = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Process a capture offline: same functions, same numbers as `run`."""
    name = capture.resolve().parent.name if capture.stem == "capture" else capture.stem
    folder = _run_folder(out, f"{name}-process")
    with reporting(as_json, debug, folder), progress_bars(as_json) as progress:
        from scqc.runs.offline import process_capture

        folder.mkdir(parents=True, exist_ok=True)
        result = process_capture(capture, folder, progress, alice, symbols)
    _finish(result, folder, as_json)


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
