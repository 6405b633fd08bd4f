"""Emulators and watchdogs forked from a process that has imported all they need.

Starting Python and importing numpy and numba takes most of the time of a bench that
lives for a second. Where the start itself is not what is tried, one process per test
run imports it once, and each bench gets a fork of it: the same `main`, the same pipes,
a session of its own. Without pidfds (Linux has them) benches are started as always.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import types

import pytest

MODULES = ("sim_backends.serve", "driver.watchdog")


class Forked:
    """What `subprocess.Popen` is to a process of its own, as far as benches use it."""

    def __init__(self, template, module, pid, stdin, stdout):
        self._template, self.args, self.pid = template, module, pid
        self.stdin, self.stdout, self.returncode = stdin, stdout, None
        # Nobody reaps the process before this asks for it: the number is its own.
        self._ended = os.pidfd_open(pid)

    def wait(self, timeout=None):
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._ended, select.POLLIN)
            if not poll.poll(None if timeout is None else 1000.0 * timeout):
                raise subprocess.TimeoutExpired(self.args, timeout)
            with self._template.lock:
                if self.returncode is None:
                    status = self._template.ask({"reap": self.pid}, ())
                    self.returncode = os.waitstatus_to_exitcode(status)
                    os.close(self._ended)
        return self.returncode

    def poll(self):
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Template:
    """The process that has imported everything, and is forked."""

    def __init__(self):
        self.lock = threading.RLock()
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def ask(self, request, handles):
        socket.send_fds(self._line, [json.dumps(request).encode()], handles)
        return json.loads(self._line.recv(1000))

    def start(self, module, stderr, bufsize, pass_fds):
        """Fork a process that runs the module's `main`."""
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        log = 2 if stderr is None else stderr.fileno()
        handles = (theirs_in, theirs_out, log, *(pass_fds or ()))
        try:
            with self.lock:
                pid = self.ask({"module": module}, handles)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        size = -1 if bufsize is None else bufsize
        stdin, stdout = os.fdopen(ours_in, "wb", size), os.fdopen(ours_out, "rb", size)
        return Forked(self, module, pid, stdin, stdout)

    def close(self):
        self._line.close()
        self._process.wait(60.0)


@pytest.fixture(scope="session")
def template():
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    made = Template()
    yield made
    made.close()


@pytest.fixture
def warm_processes(template, monkeypatch):
    """Fork the emulators and the watchdog of every bench of this test."""
    if template is None:
        return

    def popen(command, **options):
        if tuple(command[:2]) == (sys.executable, "-m") and command[2] in MODULES:
            names = ("stderr", "bufsize", "pass_fds")
            return template.start(command[2], **{k: options.get(k) for k in names})
        return subprocess.Popen(command, **options)

    names = {**vars(subprocess), "Popen": popen}
    fake = types.SimpleNamespace(**names)
    monkeypatch.setattr("scqc.runs.station.subprocess", fake)
    monkeypatch.setattr("driver.guard.subprocess", fake)


@pytest.fixture
def undrawn(monkeypatch):
    """Lay out and render no figure: each is built in full, and then left empty."""

    def save(_figure, out, **_options):
        out.write(b"<svg xmlns='http://www.w3.org/2000/svg'/>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)


def _serve(line):
    """Fork, and reap, as asked; a forked process returns which module it is."""
    while True:
        data, handles, _, _ = socket.recv_fds(line, 1 << 16, 64)
        if not data:
            return None
        request = json.loads(data)
        if "reap" in request:
            line.send(json.dumps(os.waitpid(request["reap"], 0)[1]).encode())
            continue
        pid = os.fork()
        if pid == 0:
            os.setsid()
            for at, handle in enumerate(handles[:3]):
                os.dup2(handle, at)
                os.close(handle)
            return request["module"]
        for handle in handles:
            os.close(handle)
        line.send(json.dumps(pid).encode())


def _import_all():
    """Import what benches need; the first kernel loads the compiler's tables."""
    import numpy as np

    import driver.watchdog
    import sim_backends.serve
    from sim_backends.optics.noise import ramp

    ramp(np.zeros(2), 0, np.zeros(4, dtype=np.float32))
    return {m.__name__: m.main for m in (driver.watchdog, sim_backends.serve)}


def main():
    line = socket.socket(fileno=int(sys.argv[1]))
    mains = _import_all()
    module = _serve(line)
    line.close()
    return 0 if module is None else mains[module]()


if __name__ == "__main__":
    sys.exit(main())
