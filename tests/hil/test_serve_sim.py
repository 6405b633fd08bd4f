"""`scqc serve-sim`: emulated instruments for any SCPI client."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.hil

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "scqc.cli", "serve-sim", "lab_configs/cv_quick.toml"]


def ask(endpoint, question):
    host, port = endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=60.0) as link:
        link.sendall(question + b"\n")
        return link.makefile("rb").readline()


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_served_instruments_answer_until_interrupted():
    served = subprocess.Popen(
        [*COMMAND, "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Python ignores Ctrl-C in a background process of some shells.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with served.stdout:
        endpoints = json.loads(served.stdout.readline())["endpoints"]
        assert b"M8190A" in ask(endpoints["awg"], b"*IDN?")
        assert b"KEYSIGHT" in ask(endpoints["scope"], b"*IDN?")
        served.send_signal(signal.SIGINT)
        assert served.wait(60.0) == 130
    with pytest.raises(OSError, match="refused"):
        ask(endpoints["awg"], b"*IDN?")
