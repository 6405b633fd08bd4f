"""A peer that answers from a table and keeps what it was sent."""

import socket
import threading
from contextlib import contextmanager, suppress

from driver.links import make_link
from driver.registry import make_driver

IO_TIMEOUT_S = 60.0


class Peer:
    """Listens for one client; `answers` maps a command to its reply, both text.

    A reply may be bytes, for blocks; a list is used up one by one, its last one
    staying.
    """

    def __init__(self, answers, line_end="\n"):
        self.answers = {
            k: list(v) if isinstance(v, list) else v for k, v in answers.items()
        }
        self.line_end = line_end.encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received = b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @property
    def resource(self):
        return f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        connection, _ = self.listener.accept()
        # A client that leaves bytes unread resets the connection.
        with connection, suppress(ConnectionError):
            pending = b""
            while data := connection.recv(1 << 16):
                self.received += data
                pending += data
                *lines, pending = pending.split(self.line_end)
                for line in lines:
                    reply = self.reply(line.decode("latin-1"))
                    if reply is not None:
                        connection.sendall(reply + self.line_end)

    def reply(self, line):
        answer = self.answers.get(line)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer.encode() if isinstance(answer, str) else answer

    def take(self):
        """Return the commands sent since the last call."""
        received, self.received = self.received, b""
        text = received.decode("latin-1")
        end = self.line_end.decode()
        assert text == "" or text.endswith(end)
        return text.split(end)[:-1]

    def close(self):
        self.thread.join(60.0)
        self.listener.close()


@contextmanager
def on_paper(driver, kind, answers, line_end="\n"):
    """Yield a peer and the driver on it, not yet open."""
    peer = Peer(answers, line_end)
    instrument = make_driver(
        driver, make_link(kind, "dut", peer.resource, io_timeout_s=IO_TIMEOUT_S)
    )
    try:
        yield peer, instrument
    finally:
        instrument.close()
        peer.close()


def without_checks(commands, *checks):
    """Drop what every batch of settings ends with."""
    return [c for c in commands if c not in checks]
