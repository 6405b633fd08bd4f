"""The link over loopback sockets: turns, strangers, lost connections, slow ends."""

import contextlib
import socket
import threading
import time
from dataclasses import replace

import pytest
import zmq
from link_kit import LINK, frames_of, hello
from patience_kit import Late, not_late_each_time, until

from protocols.key_sink import KeySink, provision
from protocols.key_sink.resync import Resync
from protocols.messages import wire
from protocols.messages.envelope import LARGEST_BYTES
from protocols.messages.greeting import AliceGreeting, BobGreeting, Terms
from protocols.messages.session import Hello
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.core.errors import (
    ConfigError,
    PeerError,
    PeerLost,
    PeerRefused,
    ProtocolAbort,
)
from scqc.core.rng import ReplayEntropy, SystemEntropy
from scqc.runs.parties.curve import read_link_file, write_link_files
from scqc.runs.parties.link import LocalLink
from scqc.runs.parties.patience import LinkTimes
from scqc.runs.parties.zmq_link import ZmqAsker
from scqc.runs.parties.zmq_server import ZmqServer

pytestmark = pytest.mark.hil
# Any thread of a busy machine may rest for seconds: nobody is given up before.
TIMES = LinkTimes(handshake_s=20.0, notice_s=0.1, silence_s=20.0, lost_s=60.0)
#: For what nobody answers, and for nothing else.
HASTY = replace(TIMES, silence_s=0.3, lost_s=0.6, slowest_bytes_per_s=1e6)
PATIENCE_S = 60.0


class Echo:
    """An Alice who says what she was told, unless told otherwise."""

    def __init__(self):
        self.calls = []
        self.hold = threading.Event()
        self.holding = threading.Event()
        self.raises = None

    def answer(self, stream, block, frames):
        self.calls.append((stream, block, len(frames)))
        if stream == "key" and block == 99:
            self.holding.set()
            assert self.hold.wait(PATIENCE_S)
        if self.raises is not None:
            raise self.raises
        return frames


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("link")
    paths = write_link_files(folder, SystemEntropy())
    return [
        replace(read_link_file(path, party), link=LINK)
        for path, party in zip(paths, ("alice", "bob"), strict=True)
    ]


@pytest.fixture
def alice():
    return Echo()


@pytest.fixture
def server(keys, alice):
    with ZmqServer("tcp://127.0.0.1:*", keys[0], alice, TIMES) as made:
        yield made
        alice.hold.set()


@pytest.fixture
def bob(keys, server):
    with ZmqAsker(server.address, keys[1], TIMES) as made:
        greet(made)
        yield made


def greet(asker, session=b"s" * 16):
    asker.ask("session", 0, [hello(session)])
    asker.ask("session", 0, frames_of("session"))


def hurried(asker, times):
    """Have an end that was patient so far be so no more."""
    for line in asker._lines.values():
        line._times = times


def test_turns_come_back(bob, server, alice):
    for number in range(20):
        for stream in ("light", "key", "session"):
            frames = frames_of(stream, number)
            assert bob.ask(stream, number, frames) == frames
    assert len(alice.calls) == 62
    assert (server.rejected, bob.rejected) == (0, 0)


def test_a_slow_turn_holds_up_no_other_stream(bob, alice):
    found = []
    asking = threading.Thread(
        target=lambda: found.append(bob.ask("key", 99, frames_of("key")))
    )
    asking.start()
    assert alice.holding.wait(PATIENCE_S)
    for number in range(10):
        bob.ask("light", number, frames_of("light", number))
    assert found == []
    alice.hold.set()
    asking.join(PATIENCE_S)
    assert found == [frames_of("key")]
    assert alice.calls.count(("key", 99, 2)) == 1


@not_late_each_time
def test_a_long_turn_is_no_death(keys, alice):
    """It takes longer than Bob waits for a sign of life; there are signs."""
    with (
        ZmqServer("tcp://127.0.0.1:*", keys[0], alice, TIMES) as server,
        ZmqAsker(server.address, keys[1], TIMES) as hasty,
    ):
        greet(hasty)
        hurried(hasty, replace(TIMES, lost_s=1.0))
        alice.calls.clear()
        alice.hold.clear()
        timer = threading.Timer(2.0, alice.hold.set)
        timer.start()
        try:
            assert hasty.ask("key", 99, frames_of("key")) == frames_of("key")
        except PeerLost as error:
            raise Late("no sign came for a second") from error
        finally:
            timer.join()
    assert alice.calls.count(("key", 99, 2)) == 1


def test_a_turn_has_an_end(keys, server):
    with ZmqAsker(server.address, keys[1], TIMES) as hasty:
        greet(hasty)
        hurried(hasty, replace(TIMES, turn_s=0.5))
        with pytest.raises(PeerLost, match=r"no answer within 0\.5 s"):
            hasty.ask("key", 99, frames_of("key"))


def test_errors_are_told(bob, alice, server):
    alice.raises = ProtocolAbort("the estimate does not allow a key")
    with pytest.raises(PeerRefused, match="ProtocolAbort: the estimate") as caught:
        bob.ask("key", 0, frames_of("key"))
    assert caught.value.error == "ProtocolAbort"
    alice.raises = None
    assert bob.ask("key", 1, frames_of("key"))
    server.check()


def test_a_mistake_of_the_program_ends_the_service_and_is_not_told(bob, alice, server):
    alice.raises = ZeroDivisionError("with a secret in its text")
    with pytest.raises(PeerRefused, match="ZeroDivisionError") as caught:
        bob.ask("key", 0, frames_of("key"))
    assert "secret" not in str(caught.value)
    until(server._service.done)
    with pytest.raises(ZeroDivisionError):
        server.check()


def test_before_a_greeting_nothing_is_served(keys, server, alice):
    with ZmqAsker(server.address, keys[1], TIMES) as early:
        with pytest.raises(PeerError, match="no session was begun"):
            early.ask("light", 0, frames_of("light"))
        early.ask("session", 0, [hello()])
        with pytest.raises(PeerRefused, match="StrangeSession"):
            early.ask("light", 0, frames_of("light"))
    assert [call[0] for call in alice.calls] == ["session"]


def test_large_messages_pass(bob, server):
    frames = [wire.encode(wire.SampleDisclosure(bytes(8 << 20)))] * 2
    assert bob.ask("key", 0, frames) == frames
    assert server.rejected == 0


def test_local_and_distant_links_look_alike(bob, alice):
    local = LocalLink(alice)
    assert local.ask("light", 3, frames_of("light")) == bob.ask(
        "light", 3, frames_of("light")
    )
    alice.raises = ProtocolAbort("no")
    # In one program her own error comes through, with its own exit code.
    with pytest.raises(ProtocolAbort):
        local.ask("light", 3, frames_of("light"))


class Greeter:
    """An Alice who greets, and nothing else."""

    def __init__(self, terms, sink):
        self.begin = lambda: AliceGreeting(terms, sink())
        self.greeting = None

    def answer(self, stream, block, frames):
        if isinstance(wire.decode(frames[0]), Hello):
            self.greeting = self.begin()
        return self.greeting.answer(frames)


def test_a_greeting_over_the_wire(keys, tmp_path):
    with KeySink(tmp_path / "a") as alice, KeySink(tmp_path / "b") as bob:
        provision([alice, bob], 4096, ReplayEntropy(1, "start"))
        told = Terms(LINK, "alice", "{}")

        def sink():
            return Resync(alice, ALICE_TO_BOB, allow_simulated=True)

        with (
            ZmqServer(
                "tcp://127.0.0.1:*", keys[0], Greeter(told, sink), TIMES
            ) as server,
            ZmqAsker(server.address, keys[1], TIMES) as asker,
        ):
            for session in (b"1" * 16, b"2" * 16):
                greeting = BobGreeting(
                    Terms(LINK, "bob", "{}"),
                    Resync(bob, BOB_TO_ALICE, allow_simulated=True),
                    session,
                )
                frames = greeting.start()
                while frames:
                    frames = greeting.receive(asker.ask("session", 0, frames))
                assert greeting.finished
            misfit = Terms(LINK, "bob", '{"other":1}')
            sinks = Resync(bob, BOB_TO_ALICE, allow_simulated=True)
            wrong = BobGreeting(misfit, sinks, b"3" * 16)
            with pytest.raises(PeerRefused, match="other = absent here, 1 at the peer"):
                asker.ask("session", 0, wrong.start())
            # The session before goes on.
            assert server._end.sessions[0] == b"2" * 16


def test_a_link_that_was_closed_says_so(keys, server):
    asker = ZmqAsker(server.address, keys[1], TIMES)
    asker.close()
    asker.close()
    with pytest.raises(PeerLost, match="was closed"):
        asker.ask("session", 0, [hello()])


# Lost connections ----------------------------------------------------------------


class Proxy:
    """Stands between the two, and can cut or throttle what passes."""

    def __init__(self, address, rate_bytes_per_s=None):
        self.target = address.rpartition(":")[2]
        self.rate = rate_bytes_per_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets, self.threads, self.deaf = [], [], False
        self.run(self.accept)

    def run(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self.threads.append(thread)
        thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if self.deaf:
                    self.sockets.append(near)
                    continue
                far = socket.create_connection(("127.0.0.1", int(self.target)))
                self.sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    self.run(self.pump, *pair)

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if self.rate:
                    time.sleep(len(data) / self.rate)
                if not self.deaf:
                    sink.sendall(data)
        self.shut(sink)

    @staticmethod
    def shut(one):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for one in self.sockets:
            self.shut(one)

    def close(self):
        self.deaf = True
        # Closing alone does not wake who accepts.
        self.shut(self.listener)
        self.threads[0].join(PATIENCE_S)
        self.cut()
        for thread in self.threads:
            thread.join(PATIENCE_S)
        for one in (self.listener, *self.sockets):
            one.close()


@pytest.fixture
def proxy(server):
    made = Proxy(server.address)
    yield made
    made.close()


def test_a_connection_that_breaks_costs_nothing(keys, proxy, alice):
    with ZmqAsker(proxy.address, keys[1], TIMES) as asker:
        greet(asker)
        found = []
        asking = threading.Thread(
            target=lambda: found.append(asker.ask("key", 99, frames_of("key")))
        )
        asking.start()
        assert alice.holding.wait(PATIENCE_S)
        for _ in range(3):
            proxy.cut()
            time.sleep(0.2)
        alice.hold.set()
        asking.join(PATIENCE_S)
        assert found == [frames_of("key")]
        for number in range(5):
            proxy.cut()
            frames = frames_of("light", number)
            assert asker.ask("light", number, frames) == frames
    # However often he asked, she acted once.
    assert alice.calls.count(("key", 99, 2)) == 1
    assert [c for c in alice.calls if c[0] == "light"] == [
        ("light", number, 1) for number in range(5)
    ]


def test_a_half_open_connection_is_made_anew(keys, proxy, alice):
    """Nothing is closed, nothing passes: only silence tells."""
    times = replace(TIMES, handshake_s=2.0, silence_s=0.3)
    with ZmqAsker(proxy.address, keys[1], times) as asker:
        greet(asker)
        proxy.deaf = True
        threading.Timer(1.0, setattr, (proxy, "deaf", False)).start()
        assert asker.ask("light", 0, frames_of("light")) == frames_of("light")
    assert alice.calls.count(("light", 0, 1)) == 1


def test_a_large_message_over_a_slow_line_is_no_death(keys, server, alice):
    """Longer on its way, both ways, than Bob waits for a sign of life."""
    slow = Proxy(server.address, rate_bytes_per_s=1e6)
    times = replace(HASTY, slowest_bytes_per_s=2e5)
    try:
        with ZmqAsker(slow.address, keys[1], TIMES) as asker:
            greet(asker)
            hurried(asker, times)
            frames = [wire.encode(wire.SampleDisclosure(bytes(1_500_000)))]
            assert asker.ask("key", 5, frames) == frames
    finally:
        slow.close()
    assert alice.calls.count(("key", 5, 1)) == 1


def test_a_peer_that_is_gone_is_given_up(keys, alice):
    with ZmqServer("tcp://127.0.0.1:*", keys[0], alice, TIMES) as gone:
        address = gone.address
        asker = ZmqAsker(address, keys[1], TIMES)
        greet(asker)
        hurried(asker, HASTY)
    with asker, pytest.raises(PeerLost, match=r"no sign of life for 0\.6 s"):
        asker.ask("light", 0, frames_of("light"))


def test_a_dead_peer_is_not_waited_for_as_long_as_the_message_is_large(keys, alice):
    """At the slowest rate this one could be on its way for ten minutes."""
    times = replace(HASTY, slowest_bytes_per_s=1e3)
    with ZmqServer("tcp://127.0.0.1:*", keys[0], alice, TIMES) as gone:
        asker = ZmqAsker(gone.address, keys[1], TIMES)
        greet(asker)
        hurried(asker, times)
    frames = [wire.encode(wire.SampleDisclosure(bytes(600_000)))]
    with asker, pytest.raises(PeerLost, match="no sign of life"):
        asker.ask("key", 0, frames)


def test_a_peer_that_starts_anew_wants_a_greeting(keys, alice):
    with ZmqServer("tcp://127.0.0.1:*", keys[0], alice, TIMES) as first:
        address = first.address
        asker = ZmqAsker(address, keys[1], TIMES)
        greet(asker)
    with asker, ZmqServer(address, keys[0], alice, TIMES):
        with pytest.raises(PeerRefused, match="greet again"):
            asker.ask("light", 0, frames_of("light"))
        greet(asker, b"t" * 16)
        assert asker.ask("light", 0, frames_of("light"))


def test_closing_ends_what_waits(keys, server, alice):
    asker = ZmqAsker(server.address, keys[1], TIMES)
    greet(asker)
    errors = []

    def wait():
        try:
            asker.ask("key", 99, frames_of("key"))
        except PeerLost as error:
            errors.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert alice.holding.wait(PATIENCE_S)
    asker.close()
    waiting.join(PATIENCE_S)
    assert len(errors) == 1
    assert "was closed" in errors[0]


def test_an_address_that_is_taken(keys, alice, server):
    with pytest.raises(PeerError, match="cannot listen on"):
        ZmqServer(server.address, keys[0], alice, TIMES)


# Strangers -----------------------------------------------------------------------


def stranger(keys):
    public, secret = zmq.curve_keypair()
    return replace(keys, public=public, secret=secret)


@not_late_each_time
def test_a_stranger_never_reaches_the_decoder(keys, server, alice):
    with (
        ZmqAsker(server.address, stranger(keys[1]), HASTY) as eve,
        pytest.raises(PeerLost) as caught,
    ):
        eve.ask("session", 0, [hello()])
    if "nobody answers" in str(caught.value):
        raise Late("not even the handshake was over")
    assert "does not know this key" in str(caught.value)
    assert server.strangers > 0
    assert (server.received, alice.calls) == (0, [])


def test_bob_trusts_no_stranger_either(keys, alice):
    with (
        ZmqServer("tcp://127.0.0.1:*", stranger(keys[0]), alice, TIMES) as mallory,
        ZmqAsker(mallory.address, keys[1], HASTY) as asker,
        pytest.raises(PeerLost, match="no sign of life"),
    ):
        asker.ask("session", 0, [hello()])
    assert alice.calls == []


def test_no_plain_connection_is_served(server, alice):
    context = zmq.Context()
    try:
        plain = context.socket(zmq.DEALER)
        plain.connect(server.address)
        plain.send(hello())
        assert not plain.poll(500)
    finally:
        context.destroy(linger=0)
    assert (server.received, alice.calls) == (0, [])


def test_slow_strangers_do_not_keep_the_peer_out(keys, alice):
    """Connections that say nothing, half a greeting, or junk, and stay."""
    times = replace(TIMES, handshake_s=0.5)
    with (
        contextlib.ExitStack() as stack,
        ZmqServer("tcp://127.0.0.1:*", keys[0], alice, times) as server,
    ):
        port = int(server.address.rpartition(":")[2])
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(60)
        ]
        for number, one in enumerate(idle):
            one.sendall((b"", b"\xff\0\0\0", b"GET / HTTP/1.1\r\n\r\n")[number % 3])
        with ZmqAsker(server.address, keys[1], times) as asker:
            greet(asker)
            assert asker.ask("light", 0, frames_of("light"))
        # They are shown the door.
        for one in idle:
            one.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                while one.recv(4096):
                    pass
        assert server.received == 3


def test_junk_from_the_peer_itself_is_dropped(keys, server, bob, alice):
    """He has the right keys, and bad manners."""
    context = zmq.Context()
    try:
        rude = context.socket(zmq.DEALER)
        rude.setsockopt(zmq.CURVE_PUBLICKEY, keys[1].public)
        rude.setsockopt(zmq.CURVE_SECRETKEY, keys[1].secret)
        rude.setsockopt(zmq.CURVE_SERVERKEY, keys[1].peer_public)
        rude.connect(server.address)
        before = len(alice.calls)
        for junk in ([b""], [b"junk"], [b"a", b"b"], [bytes(1 << 20)]):
            rude.send_multipart(junk)
        until(lambda: server.rejected == 4)
        assert bob.ask("light", 0, frames_of("light"))
        assert len(alice.calls) == before + 1
    finally:
        context.destroy(linger=0)


def test_too_large_a_message_ends_its_connection(keys, alice, monkeypatch):
    monkeypatch.setattr("scqc.runs.parties.sockets.LARGEST_BYTES", 1 << 16)
    assert LARGEST_BYTES > 1 << 30
    with ZmqServer("tcp://127.0.0.1:*", keys[0], alice, TIMES) as server:
        with ZmqAsker(server.address, keys[1], TIMES) as asker:
            greet(asker)
            hurried(asker, HASTY)
            frames = [wire.encode(wire.SampleDisclosure(bytes(1 << 17)))]
            with pytest.raises(PeerLost):
                asker.ask("key", 0, frames)
        assert server.received == 2


# Key files -----------------------------------------------------------------------


def test_key_files_are_for_one_party_and_nobody_else(tmp_path):
    alice, bob = write_link_files(tmp_path / "new", SystemEntropy())
    found = read_link_file(alice, "alice"), read_link_file(bob, "bob")
    assert found[0].link == found[1].link
    assert (found[0].public, found[1].public) == (
        found[1].peer_public,
        found[0].peer_public,
    )
    assert alice.stat().st_mode & 0o777 == 0o600
    for one in found:
        assert one.secret.decode() not in repr(one)
    with pytest.raises(ConfigError, match="this end is 'bob'"):
        read_link_file(alice, "bob")
    with pytest.raises(ConfigError, match="is there already"):
        write_link_files(tmp_path / "new", SystemEntropy())
    alice.chmod(0o640)
    with pytest.raises(ConfigError, match="0640: lets others in, wanted 0600"):
        read_link_file(alice, "alice")
    with pytest.raises(ConfigError, match="scqc keys init-link"):
        read_link_file(tmp_path / "none", "alice")


def test_spoiled_key_files_are_refused_without_their_secret(tmp_path):
    alice, _ = write_link_files(tmp_path, SystemEntropy())
    text = alice.read_text()
    secret = read_link_file(alice, "alice").secret.decode()
    lines = text.splitlines(keepends=True)
    spoiled = [text.replace(line, "") for line in lines]
    spoiled += [text + "more = 1\n", text[:-20], "\0", text.replace(secret, "A" * 40)]
    for one in spoiled:
        alice.write_text(one)
        with pytest.raises(ConfigError, match="is no key file") as caught:
            read_link_file(alice, "alice")
        assert secret not in str(caught.value)
