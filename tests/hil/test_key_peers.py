"""The shipped peers talk under delivered keys, and under no others."""

import importlib.util
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import delivery_kit as kit
import pytest
from cryptography.exceptions import InvalidTag
from delivery_kit import A1, B1, B2
from patience_kit import PATIENT_S, until

from protocols.delivery.service import KeyDelivery
from scqc.runs.delivery.certificates import init_certificates
from sim_backends.wire.zmq_tagger import free_ports

pytestmark = pytest.mark.hil
EXAMPLE = Path(__file__).parents[2] / "examples/key_peers.py"
MESSAGE = b"the cat sits on the mat" * 100


@pytest.fixture(scope="module")
def peers():
    spec = importlib.util.spec_from_file_location("key_peers", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    init_certificates(folder, ["kme-a", "kme-b"], [A1, B1, B2])
    forth, back = os.urandom(4096), os.urandom(4096)
    found = kit.certified(folder)
    ends = [
        KeyDelivery(found, "alice", kit.FakeStore(forth, back), time.monotonic),
        KeyDelivery(found, "bob", kit.FakeStore(back, forth), time.monotonic),
    ]
    with kit.serving(*ends) as servers:
        urls = [f"https://localhost:{server.address[1]}" for server in servers]
        yield folder, *urls


def test_a_message_arrives(peers, urls, capsys):
    folder, at_alice, at_bob = urls
    port = str(free_ports(1))
    listening = [str(folder), "listen", B1, at_bob, A1, port]
    listener = threading.Thread(target=peers.main, args=(listening,))
    listener.start()
    sending = [str(folder), "send", A1, at_alice, B1, port, "Hello, Bob"]

    def is_sent():
        try:
            peers.main(sending)
        except ConnectionRefusedError:
            return False
        return True

    until(is_sent)
    listener.join(PATIENT_S)
    assert capsys.readouterr().out == "Hello, Bob\n"


@pytest.fixture
def exchange(peers, urls):
    folder, at_alice, at_bob = urls

    def exchanged(slave, spoil=None):
        """Send to B1, receive as `slave`."""
        sender = peers.Kme(at_alice, folder, A1)
        receiver = peers.Kme(at_bob, folder, slave)
        if spoil is not None:
            receiver.key = lambda *names: spoil(peers.Kme.key(receiver, *names))
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            ThreadPoolExecutor(1) as pool,
        ):
            port = listener.getsockname()[1]
            sent = pool.submit(peers.send, sender, B1, port, MESSAGE)
            try:
                return peers.receive(receiver, A1, listener)
            finally:
                sent.exception(PATIENT_S)

    return exchanged


def test_a_long_message_arrives(exchange):
    assert exchange(B1) == MESSAGE


@pytest.mark.skipif(hasattr(__import__("ssl"), "HAS_PSK"), reason="ssl tells otherwise")
def test_another_peer_or_another_key_reads_nothing(exchange):
    with pytest.raises(RuntimeError, match="401"):
        exchange(B2)
    with pytest.raises(InvalidTag):
        exchange(B1, spoil=lambda key: bytes([key[0] ^ 1]) + key[1:])
