"""The control socket: a few threads answer everybody, and outlive what goes wrong."""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scqc.core.errors import PeerError
from scqc.runs.parties import control
from scqc.runs.parties.control import SOCKET_NAME, ControlServer, tell

pytestmark = pytest.mark.skipif(os.name != "posix", reason="control sockets")
QUESTIONS, ASKERS = 200, 8


@pytest.fixture
def home(tmp_path, monkeypatch):
    # The name of a local socket is short.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    return tmp_path / "a"


class Handler:
    """Remembers who answered."""

    def __init__(self):
        self.threads = set()

    def __call__(self, request):
        self.threads.add(threading.current_thread())
        if "mistake" in request:
            raise KeyError("ours")
        return {"heard": request["command"]}


def test_as_many_askers_as_may_be_the_same_threads_answer(home):
    """A thread per question would make the memory depend on how often one asks."""
    handler = Handler()
    with ControlServer(home, handler), ThreadPoolExecutor(ASKERS) as pool:
        asked = [str(number) for number in range(QUESTIONS)]
        heard = pool.map(lambda name: tell(home, name)["heard"], asked)
        assert list(heard) == asked
    assert len(handler.threads) <= control._ANSWERERS
    for thread in handler.threads:
        thread.join(60.0)
        assert not thread.is_alive()


def test_who_says_nothing_holds_up_nobody(home):
    with ControlServer(home, Handler()):
        silent = [socket.socket(socket.AF_UNIX) for _ in range(control._ANSWERERS - 1)]
        for line in silent:
            line.connect(f"a/{SOCKET_NAME}")
        assert tell(home, "status") == {"heard": "status"}
        for line in silent:
            line.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_leaves_the_service_answering(home):
    with ControlServer(home, Handler()):
        for _ in range(2 * control._ANSWERERS):
            with pytest.raises(PeerError, match="no service answers"):
                tell(home, "status", mistake=True)
        assert tell(home, "status") == {"heard": "status"}
