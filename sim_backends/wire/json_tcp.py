"""A WebSQ on two loopback ports: JSON in both directions, and lines of counts."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from typing import Any

from sim_backends.devices.singlequantum_websq import SingleQuantumWebSq
from sim_backends.faults import LATE_S, drip
from sim_backends.wire import listen

END = b"\x17"
GARBAGE = b"\x00\xff\xfe~garbage~\x80"
_POLL_S = 0.02
_JOIN_S = 5.0
_MOST_PENDING = 1 << 20


class _Client:
    """One connection to the control port: what is unread, and which verb it is at."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pending = ""
        self.verb = "identify"

    def messages(self, data: bytes) -> list[dict[str, Any]]:
        """Take received bytes; return the objects that are complete.

        Raises
        ------
        ConnectionError
            If the client sends no JSON objects.
        """
        self.pending += data.decode("utf-8", errors="replace")
        found = []
        while self.pending:
            try:
                value, end = json.JSONDecoder().raw_decode(self.pending)
            except ValueError:
                break
            found.append(value)
            self.pending = self.pending[end:].lstrip()
        wrong = self.pending[:1] not in {"", "{"} or len(self.pending) > _MOST_PENDING
        if wrong or not all(isinstance(value, dict) for value in found):
            raise ConnectionError("no JSON objects")
        return found


class WebsqServer:
    """Serves one device to any number of clients, until closed.

    Parameters
    ----------
    device : SingleQuantumWebSq
    port : int
        Control port on the loopback interface; 0 lets the system choose. The
        counts are on another port that the system chooses.
    """

    def __init__(self, device: SingleQuantumWebSq, port: int = 0) -> None:
        self.device = device
        self._control = socket.create_server((listen.host(), port))
        self._counts = socket.create_server((listen.host(), 0))
        self._clients: dict[socket.socket, _Client] = {}
        self._readers: list[socket.socket] = []
        self._stuck: list[socket.socket] = []
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"{device.name}-{what}", daemon=True)
            for what, work in (("control", self._talk), ("counts", self._count))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def endpoint(self) -> str:
        """Where clients connect: ``tcp://127.0.0.1:port?counts=port``."""
        control, counts = (s.getsockname()[1] for s in (self._control, self._counts))
        return f"tcp://{listen.host()}:{control}?counts={counts}"

    def close(self) -> None:
        """Stop serving and end all threads; calling it again does nothing."""
        self._closing.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        connections = [*self._clients, *self._readers, *self._stuck]
        for each in (self._control, self._counts, *connections):
            each.close()

    def _talk(self) -> None:
        """Serve the control port."""
        while not self._closing.is_set():
            ready, _, _ = select.select(
                [self._control, *self._clients], [], [], _POLL_S
            )
            for each in ready:
                if each is self._control:
                    connection, _ = each.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._clients[connection] = _Client(connection)
                elif each in self._clients:
                    self._serve(self._clients[each])

    def _serve(self, client: _Client) -> None:
        """Answer what has arrived; a client that leaves or talks rubbish goes."""
        try:
            data = client.connection.recv(1 << 16)
            if not data:
                raise ConnectionError("the client left")
            for message in client.messages(data):
                self._answer(client, message)
        except OSError:
            self._clients.pop(client.connection, None)
            client.connection.close()

    def _answer(self, client: _Client, message: dict[str, Any]) -> None:
        faults, name = self.device.faults, message.get("command")
        if isinstance(name, str):
            client.verb = "switch" if name == "DetectorEnable" else "configure"
            kind = faults.take(client.verb, replying=False)
            if kind in {"drop-connection", "reboot"}:
                self._cut(reboot=kind == "reboot")
            if kind == "not-taken":
                return
            with self.device.lock:
                news = self.device.command(name, message.get("value"))
            # Everyone is told.
            for each in self._clients:
                # One that has left is noticed when it is served.
                with contextlib.suppress(OSError):
                    each.sendall(json.dumps(news).encode() + END)
            return
        with self.device.lock:
            told = self.device.properties()
        kind = faults.take(client.verb, replying=True)
        if kind in {"drop-connection", "reboot"}:
            self._cut(reboot=kind == "reboot")
        data = self._spoiled(client.verb, kind, told)
        if kind == "slow-drip":
            for piece in drip(data, self._closing):
                client.connection.sendall(piece)
            return
        client.connection.sendall(data)
        if kind == "cut-block":
            self._cut(reboot=False)

    def _cut(self, *, reboot: bool) -> None:
        if reboot:
            with self.device.lock:
                self.device.reboot()
        raise ConnectionError("cut")

    def _spoiled(
        self, verb: str, kind: str | None, told: list[dict[str, Any]]
    ) -> bytes:
        """Return the answer to ``labelProps`` as the fault leaves it."""
        if kind == "no-reply":
            return b""
        if kind == "late-reply":
            self._closing.wait(LATE_S)
        if self.device.faults.take_data(verb, "execution-error"):
            told = [{"label": "Error", "value": "not possible now"}]
        if kind == "wrong-identity":
            told = [{"label": "Somebody", "value": {"value": "else"}}]
        if kind == "wrong-length":
            told = [_one_less(each) for each in told]
        data = "".join(json.dumps(each) for each in told).encode() + END
        if kind == "not-a-number":
            return data.replace(b"0.0", b"NaN", 1)
        if kind == "garbage":
            return GARBAGE + END
        half = kind in {"half-block", "cut-block"}
        return data[: len(data) // 2] if half else data

    def _count(self) -> None:
        """Serve the counts: a line at the end of each period."""
        self._counts.settimeout(_POLL_S)
        ends_at = time.monotonic()
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                self._readers.append(self._counts.accept()[0])
            if time.monotonic() < ends_at:
                continue
            with self.device.lock:
                line, period_s = self.device.count_line(), self.device.period_s
            ends_at = time.monotonic() + period_s
            if self._readers:
                self._send_line(line)

    def _send_line(self, line: list[float]) -> None:
        kind = self.device.faults.take("fetch", replying=True)
        fields = [
            f"{value:.3f}" if k == 0 else f"{value:.0f}" for k, value in enumerate(line)
        ]
        data = ",".join(fields).encode() + b"\n"
        if kind == "no-reply":
            # Counting is stuck until somebody connects anew.
            self._stuck, self._readers = [*self._stuck, *self._readers], []
            return
        if kind == "late-reply":
            self._closing.wait(LATE_S)
        elif kind == "garbage":
            data = GARBAGE + b"\n"
        elif kind == "wrong-length":
            data = ",".join(fields[:-1]).encode() + b"\n"
        elif kind == "half-block":
            data = data[: len(data) // 2]
        elif kind == "not-a-number":
            data = ",".join([fields[0], *("nan" for _ in fields[1:])]).encode() + b"\n"
        for reader in list(self._readers):
            try:
                if kind == "drop-connection":
                    raise ConnectionError("cut")
                if kind == "cut-block":
                    reader.sendall(data[: len(data) // 2])
                    raise ConnectionError("cut")
                slow = kind == "slow-drip"
                for piece in drip(data, self._closing) if slow else [data]:
                    reader.sendall(piece)
            except OSError:
                self._readers.remove(reader)
                reader.close()


def _one_less(told: dict[str, Any]) -> dict[str, Any]:
    """Return a label whose list has lost its last value."""
    value = told["value"]["value"]
    shorter = value[:-1] if isinstance(value, list) else value
    return {"label": told["label"], "value": told["value"] | {"value": shorter}}
