"""Messages that wait: what is taken, in which order, and what a full disk leaves."""

import errno
import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scqc.cli import main
from scqc.core.errors import (
    CaptureError,
    DiskSpaceError,
    InstrumentError,
    KeySinkError,
    PayloadError,
    PeerError,
    PeerLost,
    ScqcError,
)
from scqc.runs.parties.control import ControlServer, tell
from scqc.runs.parties.outbox import Outbox, read_message

pytestmark = pytest.mark.skipif(os.name != "posix", reason="control sockets")


@pytest.fixture
def home(tmp_path, monkeypatch):
    # The name of a local socket is short.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    return tmp_path / "a"


@pytest.mark.parametrize("name", ["x.part", ".part", ".being-written", "000009-y", "ü"])
def test_a_message_of_any_name_is_sent(home, name):
    outbox = Outbox(home)
    first, second = outbox.add(b"one", name), outbox.add(b"two", name)
    assert outbox.waiting() == [first, second]
    assert outbox.next() == (first, b"one")
    outbox.in_flight = first
    outbox.delivered()
    assert outbox.next() == (second, b"two")
    # Its number is not given again.
    assert Outbox(home).add(b"three", name).startswith("000003-")


def test_files_of_others_are_left_alone(home):
    outbox = Outbox(home)
    for folder in ("outbox", "sent"):
        for name in ("README", "12-x", ".being-written", "notes.part", "x-000007-y"):
            (home / folder / name).write_bytes(b"not ours")
    assert outbox.waiting() == []
    assert outbox.next() is None
    assert outbox.add(b"one", "m") == "000001-m"
    assert outbox.waiting() == ["000001-m"]
    assert (home / "outbox/README").read_bytes() == b"not ours"


def test_numbers_beyond_six_digits_stay_in_order(home):
    outbox = Outbox(home)
    (home / "outbox/999999-a").write_bytes(b"a")
    assert outbox.add(b"b", "b") == "1000000-b"
    assert outbox.waiting() == ["999999-a", "1000000-b"]


def test_messages_given_at_once_get_numbers_of_their_own(home):
    outbox = Outbox(home)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda k: outbox.add(bytes([k]), "m"), range(1, 25)))
    assert len(set(names)) == 24
    assert sorted(names) == outbox.waiting()
    found = {(home / "outbox" / name).read_bytes() for name in names}
    assert found == {bytes([k]) for k in range(1, 25)}


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskSpaceError), (errno.EIO, CaptureError)]
)
def test_a_disk_that_fails_leaves_nothing(home, monkeypatch, number, kind):
    outbox = Outbox(home)

    def full(_handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CaptureError, match=os.strerror(number)) as caught:
        outbox.add(b"one", "m")
    assert type(caught.value) is kind
    assert list((home / "outbox").iterdir()) == []


def test_a_message_that_is_empty_says_so(tmp_path):
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(PayloadError, match="empty") as caught:
        read_message(tmp_path / "m")
    assert "dv-decoy" not in str(caught.value)


REFUSALS = [
    (PayloadError("900 bytes, 800 fit"), PayloadError, 2),
    (KeySinkError("no pad"), KeySinkError, 8),
    (DiskSpaceError("full"), DiskSpaceError, 9),
    (OSError(errno.ENOSPC, "full"), CaptureError, 9),
    (PeerError("alice does not know it"), PeerError, 7),
    (PeerLost("gone"), PeerLost, 7),
    (ValueError("embedded null byte"), PeerError, 7),
    # Made of more than a sentence.
    (InstrumentError("awg", "open", "refused"), PeerError, 7),
]


@pytest.mark.parametrize(("raised", "kind", "code"), REFUSALS)
def test_a_refusal_keeps_its_class_and_exit_code(home, capsys, raised, kind, code):
    (home / "m").write_bytes(b"one")

    def refuse(_request):
        raise raised

    with ControlServer(home, refuse):
        with pytest.raises(kind) as caught:
            tell(home, "message", path="m")
        assert type(caught.value) is kind
        assert main(["tell", str(home), "message", str(home / "m"), "--json"]) == code
        told = json.loads(capsys.readouterr().out)["error"]
        assert (told["class"], told["exit_code"]) == (kind.__name__, code)


@pytest.mark.parametrize("name", ["", "SystemExit", "Sequence", "ScqcError", "tell", 1])
def test_a_class_that_is_none_of_ours_is_not_made(home, name):
    """Whoever answers there, nothing but our own errors comes of it."""
    answer = json.dumps({"ok": False, "error": "no", "class": name}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a/control.sock")
        server.listen()

        def reply():
            link, _ = server.accept()
            with link:
                link.recv(100)
                link.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ScqcError, match="no"):
            tell(home, "status")
        thread.join()
