"""The command line: a thin layer on `scqc.runs`.

Nothing heavy is imported before a command needs it. Results go to standard
output, progress and errors to standard error; ``--json`` prints exactly one
object, whatever happens.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from scqc.core.errors import PayloadError, ScqcError

if TYPE_CHECKING:
    from scqc.runs.lab_config import LoadedConfig
    from scqc.runs.progress import Progress
    from scqc.runs.result import Result

SCHEMA_VERSION = 1
_CODES = (
    "Exit codes: 0 done with key, 3 done but no key, 2 configuration, 4 instrument, "
    "5 signal, 6 protocol abort, 7 peer, 8 key sink, 9 capture, 130 interrupted."
)
_KEY_COLUMNS = ("identifier", "purpose", "n_bits", "available_bits", "simulated")
# BadParameter's parent is the error of wrong usage, in every version of typer.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

app = typer.Typer(
    help="Send data and distil a secret key on the same light.",
    epilog=_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
import_app = typer.Typer(help="Turn other programs' records into captures.")
export_app = typer.Typer(help="Turn captures into other programs' records.")
keys_app = typer.Typer(help="Look into a key sink, take key out, put start key in.")
config_app = typer.Typer(help="Check and show lab configs.")
app.add_typer(import_app, name="import", no_args_is_help=True)
app.add_typer(export_app, name="export", no_args_is_help=True)
app.add_typer(keys_app, name="keys", no_args_is_help=True)
app.add_typer(config_app, name="config", no_args_is_help=True)

_FILE = {"exists": True, "dir_okay": False}
Config = Annotated[Path, typer.Argument(help="Lab config, a TOML file.")]
Payload = Annotated[
    Path | None, typer.Option(help="File to send; not with psk = none.", **_FILE)
]
Out = Annotated[
    Path | None, typer.Option(help="Run folder; by default runs/TIME-NAME.")
]
Seed = Annotated[int | None, typer.Option(help="Seed instead of [sim] seed.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]
Sink = Annotated[Path, typer.Argument(help="Key sink, an SQLite file.")]


@app.command()
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
    with _reporting(as_json, debug, folder), _progress(as_json) as progress:
        from scqc.runs.live import run_live

        loaded, content = _prepare(config, seed, payload, folder)
        result = run_live(loaded, content, folder, progress)
    _finish(result, folder, as_json)


@app.command()
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
    with _reporting(as_json, debug, folder), _progress(as_json) as progress:
        from scqc.runs.live import capture_live

        loaded, content = _prepare(config, seed, payload, folder)
        path = capture_live(loaded, content, folder, progress)
    _print({"capture": str(path), "run_folder": str(folder)}, as_json)


@app.command()
def process(
    capture: Annotated[Path, typer.Argument(help="Capture, an HDF5 file.")],
    alice: Annotated[
        Path | None, typer.Option(help="Alice's record; by default beside it.", **_FILE)
    ] = None,
    symbols: Annotated[
        Path | None,
        typer.Option(help="Alice's symbols (.npy): only estimate.", **_FILE),
    ] = None,
    out: Out = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Process a capture offline: same functions, same numbers as `run`."""
    name = capture.resolve().parent.name if capture.stem == "capture" else capture.stem
    folder = _run_folder(out, f"{name}-process")
    with _reporting(as_json, debug, folder), _progress(as_json) as progress:
        from scqc.runs.offline import process_capture

        folder.mkdir(parents=True, exist_ok=True)
        result = process_capture(capture, folder, progress, alice, symbols)
    _finish(result, folder, as_json)


@import_app.command("foreign-npy")
def import_foreign(
    directory: Annotated[
        Path,
        typer.Argument(help="Folder of .npy records.", exists=True, file_okay=False),
    ],
    out: Annotated[Path, typer.Argument(help="Capture to write; must not exist.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn a folder of .npy records and their description into a capture."""
    with _reporting(as_json, debug):
        from scqc.runs.foreign import import_foreign_npy

        import_foreign_npy(directory, out)
    _print({"capture": str(out)}, as_json)


@import_app.command("ptu")
def import_ptu(
    file: Annotated[Path, typer.Argument(help="PTU file, T2.", **_FILE)],
    out: Annotated[Path, typer.Argument(help="Capture to write; must not exist.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn a PTU file (T2) into a capture of time tags, one burst."""
    with _reporting(as_json, debug):
        from scqc.store import ptu_convert

        found = ptu_convert.import_ptu(file, out)
    _print({"capture": str(out), **found}, as_json)


@export_app.command("ptu")
def export_ptu(
    capture: Annotated[Path, typer.Argument(help="Capture of time tags.", **_FILE)],
    out: Annotated[Path, typer.Argument(help="PTU file to write; must not exist.")],
    burst: Annotated[int, typer.Option(help="Which burst, from 0.", min=0)],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one burst of a capture of time tags as a PTU file (T2)."""
    with _reporting(as_json, debug):
        from scqc.store import ptu_convert

        found = ptu_convert.export_ptu(capture, out, burst)
    _print({"file": str(out), "burst": burst, **found}, as_json)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Capture, finished or not.", **_FILE)],
    salvage: Annotated[
        Path | None, typer.Option(help="Rescue what is undamaged into a new file.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in a file, without trusting it."""
    with _reporting(as_json, debug):
        from scqc.store import inspect as inspector

        found = (
            inspector.describe(file)
            if salvage is None
            else inspector.salvage(file, salvage)
        )
    _print(found, as_json)
    if found["problem"] is not None:
        raise typer.Exit(9)


@app.command()
def devices(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Ask each instrument who it is; every one is left in its safe state."""
    with _reporting(as_json, debug):
        from scqc.runs.devices import identify
        from scqc.runs.lab_config import load_config

        rows = identify(load_config(config))
    _print({"instruments": rows}, as_json)
    if any("error" in row for row in rows):
        raise typer.Exit(4)


@app.command("serve-sim")
def serve_sim(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Serve the emulated instruments of a bench until Ctrl-C."""
    with _reporting(as_json, debug):
        from scqc.runs.devices import serve
        from scqc.runs.lab_config import load_config

        serve(load_config(config), lambda found: _print({"endpoints": found}, as_json))


@keys_app.command("list")
def keys_list(sink: Sink, as_json: Json = False, debug: Debug = False) -> None:
    """List the blocks of a key sink, never their bits."""
    with _reporting(as_json, debug):
        from scqc.runs.keys import list_keys

        entries = list_keys(sink)
    if not as_json:
        entries = [{key: entry[key] for key in _KEY_COLUMNS} for entry in entries]
    _print({"blocks": entries}, as_json)


@keys_app.command("take")
def keys_take(
    sink: Sink,
    out: Annotated[Path, typer.Option(help="New file for the bits, mode 0600.")],
    identifier: Annotated[
        str | None, typer.Option("--id", help="Take from this block.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="How many bits.", min=1)] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Also keys of a simulated bench.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Release key bits, once, into a file."""
    with _reporting(as_json, debug):
        from scqc.runs.keys import take_key

        taken = take_key(
            sink, out, identifier=identifier, n_bits=bits, allow_simulated=simulated
        )
    _print(taken, as_json)


@keys_app.command("provision")
def keys_provision(
    directory: Annotated[Path, typer.Argument(help="Gets both parties' sinks.")],
    bits: Annotated[int, typer.Option(help="Pad per direction.", min=8)] = 65536,
    message_bits: Annotated[
        int, typer.Option(help="Pad for messages from Alice to Bob.", min=0)
    ] = 0,
    name: Annotated[str, typer.Option(help="Name of this delivery.")] = "start",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the same start key into both parties' sinks."""
    with _reporting(as_json, debug):
        from scqc.runs.keys import provision_keys

        stored = provision_keys(directory, bits, name, message_bits)
    _print({"directory": str(directory), "blocks": stored}, as_json)


@config_app.command("check")
def config_check(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Check a lab config; list everything that is wrong."""
    with _reporting(as_json, debug):
        from scqc.runs.lab_config import amount_of_light, load_config

        loaded = load_config(config)
        amount = amount_of_light(loaded.config)
    simulated = loaded.config.sim is not None
    found = {"file": str(config), **amount, "simulated": simulated}
    _print({**found, "valid": True}, as_json)


@config_app.command("show")
def config_show(config: Config, as_json: Json = False, debug: Debug = False) -> None:
    """Show a lab config with all its defaults filled in."""
    with _reporting(as_json, debug):
        from scqc.runs.config_text import as_toml
        from scqc.runs.lab_config import load_config

        loaded = load_config(config)
    if as_json:
        _print(loaded.config.model_dump(mode="json", by_alias=True), as_json)
    else:
        typer.echo(as_toml(loaded.config), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a lab config, for editors."""
    from scqc.runs.lab_config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


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


@contextmanager
def _progress(as_json: bool) -> Iterator[Progress]:
    from scqc.runs.progress import OnTerminal, Silent

    if as_json:
        yield Silent()
        return
    from rich.console import Console

    with OnTerminal(Console(stderr=True)) as progress:
        yield progress


@contextmanager
def _reporting(
    as_json: bool, debug: bool, folder: Path | None = None
) -> Iterator[None]:
    """Report whatever ends the block, and turn it into an exit code."""
    from scqc.runs.outcome import INTERRUPTED, exit_code, hint

    cause: BaseException
    try:
        yield
        return
    except ScqcError as error:
        cause, code, next_step = error, exit_code(error), hint(error)
    except OSError as error:
        cause, code, next_step = error, 9, "check the path, permissions and disk space"
    except KeyboardInterrupt as error:
        cause, code, next_step = error, INTERRUPTED, "the instruments were made safe"
    except Exception as error:
        # A mistake of ours: the one object still comes, then the traceback.
        if as_json:
            _print(_failure(error, 1), as_json)
        raise
    if folder is not None:
        from scqc.runs.journal import journal_error

        journal_error(folder, cause)
    if debug:
        traceback.print_exception(cause)
    if as_json:
        _print(_failure(cause, code), as_json)
    else:
        typer.echo(f"error: {str(cause) or 'interrupted'}", err=True)
        typer.echo(f"hint: {next_step}", err=True)
    raise typer.Exit(code)


def _failure(error: BaseException, code: int) -> dict[str, Any]:
    message = str(error) or type(error).__name__
    name = type(error).__name__
    return {"error": {"class": name, "message": message, "exit_code": code}}


def _finish(result: Result, folder: Path, as_json: bool) -> None:
    """Print a result and leave with its exit code."""
    if as_json:
        _print({**result.as_json(), "run_folder": str(folder)}, as_json)
    else:
        _print(dict(result.table()), as_json)
        typer.echo(f"\n{result.verdict}\nReport: {folder / 'report.html'}")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _print(values: dict[str, Any], as_json: bool) -> None:
    """Print one JSON object, or the same as a table."""
    if as_json:
        typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, **values}))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for name, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            console.print(_listing(name, value))
        elif isinstance(value, dict):
            for key, one in value.items():
                console.print(f"{name}.{key}: {one}", soft_wrap=True)
        else:
            console.print(f"{name}: {value}", soft_wrap=True)


def _listing(title: str, rows: Sequence[dict[str, Any]]) -> Any:
    """Return a table with one line per row and the columns of all rows."""
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(row.get(column, ""))) for column in columns))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of the process's own.

    Returns
    -------
    int
        Exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given, prog_name="scqc", standalone_mode=False)
    except _UsageError as error:
        if "--json" in given:
            message = error.format_message()
            failure = {"class": "UsageError", "message": message, "exit_code": 2}
            _print({"error": failure}, as_json=True)
        else:
            error.show()
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
