"""Helpers of the end-to-end tests."""

import io
import os
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protocols.key_sink import KeySink, State, material
from scqc import cli

HOME = Path(__file__).resolve().parents[1]
CONFIGS = HOME / "lab_configs"
PAYLOAD = bytes(range(256)) * 40


def scqc(*arguments, timeout=500, **options):
    """Run the command line; return the finished process."""
    command = [sys.executable, "-m", "scqc.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=HOME, **options
    )


def scqc_here(*arguments):
    """Run the command line in this process, as `scqc` does in one of its own."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def _read_all(endpoint):
    host, port = endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=60.0) as link:
        return b"".join(iter(lambda: link.recv(1 << 20), b""))


def read_tap_archive(endpoint):
    """Return waveforms and truth of a photon-counting laboratory, by name."""
    with np.load(io.BytesIO(_read_all(endpoint))) as archive:
        return dict(archive)


def read_tap(endpoint):
    """Return what the emulated generator was given to play, one array per upload."""
    data = _read_all(endpoint)
    file, arrays = io.BytesIO(data), []
    while file.tell() < len(data):
        arrays.append(np.load(file))
    return arrays


@dataclass
class Finished:
    """A run and what the emulators saw of it."""

    folder: Path
    result: object
    played: list


def mode_of(path):
    return os.stat(path).st_mode & 0o777


def made_pools(keys, party):
    """Return what a run's blocks put into a party's sink: (entry, bits) each.

    Nothing of the start key, and nothing of a block that has no key.
    """
    with KeySink(keys / f"{party}.sqlite") as sink:
        made = [entry for entry in sink.list() if entry.run_uuid != "start"]
        return [
            (e, material.read(sink.db, e.serial, 0, e.n_bits).tobytes())
            for e in made
            if e.state < State.ERASED
        ]


def assert_no_key(folder):
    """Assert that both sinks of a run, opened before its bench, hold no key of it."""
    for party in ("alice", "bob"):
        assert made_pools(folder / "keys", party) == []
