"""Two ends that deliver the same keys: in memory, and over mutual TLS."""

import asyncio
import contextlib
import http.client
import json
import os
import ssl
import threading
from dataclasses import dataclass, field

from protocols.delivery.service import Call, KeyDelivery
from protocols.delivery.settings import DeliverySettings
from protocols.key_sink import KEY_PURPOSE, KeySink, PoolKey, provision
from protocols.key_sink.export import (
    ExportKey,
    KeyPosition,
    NotEnoughKey,
    UnknownKey,
)
from scqc.core.records import KeyBlock
from scqc.core.rng import SystemEntropy

SECRET = bytes(range(32))
A1, A2, B1, B2 = "sae-a1", "sae-a2", "sae-b1", "sae-b2"


def settings(**more):
    ends = {
        "alice": {"kme_id": "kme-a", "saes": [A1, A2], "listen_port": 0},
        "bob": {"kme_id": "kme-b", "saes": [B1, B2], "listen_port": 0},
    }
    for party in ends:
        ends[party] |= more.pop(party, {})
    return DeliverySettings.model_validate(ends | more)


class FakeStore:
    """Keys of one end in memory, by the rules of the real store."""

    def __init__(self, sends, receives):
        self.sends, self.receives = sends, receives
        self.at = 0
        self.fetched = set()
        self.broken = None

    def available_bytes(self):
        return len(self.sends) - self.at

    def allocate(self, n_keys, n_bytes):
        if self.broken:
            raise self.broken
        if n_keys * n_bytes > self.available_bytes():
            raise NotEnoughKey("fake: empty")
        keys = []
        for _ in range(n_keys):
            bits = self.sends[self.at : self.at + n_bytes]
            keys.append(ExportKey(KeyPosition(7, self.at, n_bytes), bits))
            self.at += n_bytes
        return keys

    def fetch(self, positions):
        if self.broken:
            raise self.broken
        places = [range(p.first_byte, p.first_byte + p.n_bytes) for p in positions]
        wanted = [k for place in places for k in place]
        bad = any(p.block_tag != 7 for p in positions)
        bad |= any(place.stop > len(self.receives) for place in places)
        if bad or len(set(wanted)) < len(wanted) or self.fetched & set(wanted):
            raise UnknownKey("fake: no such key")
        self.fetched |= set(wanted)
        return [
            ExportKey(p, self.receives[place.start : place.stop])
            for p, place in zip(positions, places, strict=True)
        ]

    def key_id_secret(self):
        return SECRET


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self):
        return self.now


@dataclass
class Ends:
    """Both KMEs, and short ways to ask them."""

    alice: KeyDelivery
    bob: KeyDelivery
    clock: Clock = field(default_factory=Clock)

    def of(self, sae):
        return self.alice if sae in self.alice.here.saes else self.bob

    def ask(self, sae, method, target, body=None, content_type="application/json"):
        raw = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            raw = json.dumps(body).encode()
        kind = content_type if method == "POST" else ""
        answer = self.of(sae).answer(Call(sae, method, target, kind, raw))
        return answer.status, json.loads(answer.body)

    def enc(self, master, slave, **body):
        return self.ask(master, "POST", f"/api/v1/keys/{slave}/enc_keys", body)

    def dec(self, slave, master, *names):
        body = {"key_IDs": [{"key_ID": name} for name in names]}
        return self.ask(slave, "POST", f"/api/v1/keys/{master}/dec_keys", body)

    def stream(self, sae, name, **body):
        status, found = self.ask(sae, "POST", f"/api/004/v1/{name}", body)
        assert status == 200, found
        return found


def fake_ends(n_bytes=1 << 16, **more):
    forth, back = os.urandom(n_bytes), os.urandom(n_bytes)
    clock, found = Clock(), settings(**more)
    return Ends(
        KeyDelivery(found, "alice", FakeStore(forth, back), clock),
        KeyDelivery(found, "bob", FakeStore(back, forth), clock),
        clock,
    )


DIRECTIONS = ("alice-to-bob", "bob-to-alice")


def fill(folder, n_bytes, simulated=False, confirmed_at_bob=True):
    """Put start key and a block for export into the sinks of both ends."""
    with (
        KeySink(folder / "alice.sqlite") as alice,
        KeySink(folder / "bob.sqlite") as bob,
    ):
        provision([alice, bob], 4096, SystemEntropy())
        pools = [
            PoolKey(
                KeyBlock(
                    identifier=f"run/0/{direction}",
                    bits=os.urandom(n_bytes),
                    n_bits=8 * n_bytes,
                    epsilon=1e-10,
                    simulated=simulated,
                    provenance={"run_uuid": "run", "block": "0"},
                ),
                KEY_PURPOSE,
                direction,
            )
            for direction in DIRECTIONS
        ]
        alice.store(pools, confirmed=True)
        bob.store(pools, confirmed=confirmed_at_bob)


def certified(folder, **more):
    """Return settings with the certificates of a folder."""

    def files(name):
        return {
            "certificate_file": str(folder / f"{name}.pem"),
            "private_key_file": str(folder / f"{name}.key"),
            "authority_file": str(folder / "authority.pem"),
        }

    alice = files("kme-a") | more.pop("alice", {})
    return settings(alice=alice, bob=files("kme-b"), **more)


def client_context(folder, name, authority=None):
    context = ssl.create_default_context(cafile=authority or folder / "authority.pem")
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


@contextlib.contextmanager
def serving(*deliveries):
    """Serve KMEs on loopback in a thread; yield them with their addresses."""
    from scqc.runs.delivery.server import KmeServer
    from scqc.runs.delivery.tls import server_context

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def on_loop(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    async def start(delivery):
        server = KmeServer(delivery, server_context(delivery.here))
        await server.start()
        return server

    servers = []
    try:
        for one in deliveries:
            servers.append(on_loop(start(one)))
        yield servers
    finally:
        for server in servers:
            on_loop(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Client:
    """A SAE with one connection that is kept."""

    def __init__(self, address, context):
        self.link = http.client.HTTPSConnection(*address, context=context, timeout=60)

    def ask(self, method, target, body=None, headers=()):
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        named = {"Content-Type": "application/json"} if raw is not None else {}
        self.link.request(method, target, raw, {**named, **dict(headers)})
        answer = self.link.getresponse()
        return answer.status, json.loads(answer.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()
