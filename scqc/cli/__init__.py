"""The command line: a thin layer on `scqc.runs`.

Nothing heavy is imported before a command needs it. Results go to standard
output, progress and errors to standard error; ``--json`` prints exactly one
object, whatever happens.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

import typer

from scqc.cli import align, bench, configs, files, keys, link, parties, plan, running
from scqc.cli.output import show

_CODES = (
    "Exit codes: 0 done with key, 3 done but no key, 2 configuration, 4 instrument, "
    "5 signal, 6 protocol abort, 7 peer, 8 key sink, 9 capture, 130 interrupted."
)
# BadParameter's parent is the error of wrong usage, in every version of typer.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

app = typer.Typer(
    help="Send data and distil a secret key on the same light.",
    epilog=_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (running.run, running.capture, running.process, files.inspect):
    app.command()(command)
app.command()(bench.devices)
app.command()(bench.monitor)
app.command()(align.align)
app.command("serve-sim")(bench.serve_sim)
app.command()(plan.plan)
app.command()(parties.alice)
app.command()(parties.bob)
app.command()(parties.status)
app.command()(parties.tell)
app.add_typer(files.import_app, name="import", no_args_is_help=True)
app.add_typer(files.export_app, name="export", no_args_is_help=True)
link.add_to(keys.keys_app)
app.add_typer(keys.keys_app, name="keys", no_args_is_help=True)
app.add_typer(configs.config_app, name="config", no_args_is_help=True)


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
            show({"error": failure}, as_json=True)
        else:
            error.show()
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0
