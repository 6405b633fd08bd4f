"""Key requests per second over mutual TLS, with kept connections.

Two `scqc keys serve` processes on sinks of their own, one client process with as many
connections as the table says, each with one request under way; one key of 256 bit a
request. `enc_keys` is measured at the master's end, `dec_keys` at the slave's, one
after the other, and so is the status call, which writes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.key_sink import KEY_PURPOSE, KeySink, PoolKey, provision
from scqc.core.records import KeyBlock
from scqc.core.rng import SystemEntropy
from scqc.runs.delivery.certificates import init_certificates

CONNECTIONS = 8
_BENCH = Path(__file__).parents[1] / "lab_configs/dv_quick.toml"
_END = """
[delivery.{party}]
kme_id = "kme-{party}"
saes = ["sae-{party}"]
listen_port = 0
certificate_file = "{folder}/kme-{party}.pem"
private_key_file = "{folder}/kme-{party}.key"
authority_file = "{folder}/authority.pem"
"""
Address = tuple[str, int]


def figures(n: int = 5000) -> list[dict[str, Any]]:
    """Return the rates of `n` requests of each kind [1/s], and their latency [ms]."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(folder, 32 * (n + 2048))
        with served(config, "alice") as alice, served(config, "bob") as bob:
            master = sae_context(folder, "sae-alice")
            slave = sae_context(folder, "sae-bob")
            status = Load(alice, master, ["/api/v1/keys/sae-bob/status"] * n)
            enc = Load(alice, master, ["/api/v1/keys/sae-bob/enc_keys"] * n)
            sent = {k["key_ID"]: k["key"] for a in enc.answers for k in a["keys"]}
            path = "/api/v1/keys/sae-alice/dec_keys?key_ID="
            dec = Load(bob, slave, [path + key_id for key_id in sent])
            got = {k["key_ID"]: k["key"] for a in dec.answers for k in a["keys"]}
    if got != sent or len(sent) != n:
        raise RuntimeError(f"{n} keys asked for, {len(sent)} sent, {len(got)} got")
    runs = {"status": status, "enc_keys": enc, "dec_keys": dec}
    return [{"call": call} | run.figures() for call, run in runs.items()]


class Load:
    """A SAE that asks for all `targets` over several kept connections at a time.

    Connecting does not count.
    """

    def __init__(
        self, address: Address, context: ssl.SSLContext, targets: list[str]
    ) -> None:
        self._address, self._context = address, context
        self.answers: list[Any] = []
        self.spent_s: list[float] = []
        gate = threading.Barrier(CONNECTIONS + 1)
        threads = [
            threading.Thread(target=self._ask, args=(targets[k::CONNECTIONS], gate))
            for k in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        gate.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        self.wall_s = time.perf_counter() - start

    def figures(self) -> dict[str, float]:
        """Return rate and latency."""
        spent_ms = sorted(1e3 * one for one in self.spent_s)
        return {
            "connections": float(CONNECTIONS),
            "requests": float(len(spent_ms)),
            "rate_per_s": len(spent_ms) / self.wall_s,
            "median_ms": statistics.median(spent_ms),
            "p99_ms": spent_ms[int(0.99 * len(spent_ms))],
        }

    def _ask(self, targets: list[str], gate: threading.Barrier) -> None:
        with (
            socket.create_connection(self._address) as plain,
            self._context.wrap_socket(plain, server_hostname="localhost") as link,
        ):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            gate.wait()
            for target in targets:
                start = time.perf_counter()
                link.sendall(f"GET {target} HTTP/1.1\r\nHost: kme\r\n\r\n".encode())
                body = _body(link)
                self.spent_s.append(time.perf_counter() - start)
                self.answers.append(json.loads(body))


def sae_context(folder: Path, sae: str) -> ssl.SSLContext:
    """Return the TLS settings of an application."""
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    context.load_cert_chain(folder / f"{sae}.pem", folder / f"{sae}.key")
    return context


def _body(link: ssl.SSLSocket) -> bytes:
    """Return the body of an answer 200 with a length."""
    found = link.recv(65536)
    while b"\r\n\r\n" not in found:
        found += link.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += link.recv(65536)
    return body


def prepare(folder: Path, n_bytes: int) -> Path:
    """Make certificates, a config and two filled sinks; return the config."""
    parties = ("alice", "bob")
    saes = [f"sae-{party}" for party in parties]
    init_certificates(folder, [f"kme-{party}" for party in parties], saes)
    text = _BENCH.read_text()
    text = text[: text.index("\n[sim]")]
    text = text.replace("[keys]", f'[keys]\ndirectory = "{folder}"')
    ends = "".join(_END.format(party=party, folder=folder) for party in parties)
    config = folder / "lab.toml"
    config.write_text(text + ends)
    with (
        KeySink(folder / "alice.sqlite") as alice,
        KeySink(folder / "bob.sqlite") as bob,
    ):
        provision([alice, bob], 4096, SystemEntropy())
        key = KeyBlock(
            identifier="benchmark",
            bits=os.urandom(n_bytes),
            n_bits=8 * n_bytes,
            epsilon=0.0,
            simulated=False,
            provenance={"run_uuid": "benchmark", "block": "0"},
        )
        for sink in (alice, bob):
            pool = PoolKey(key, KEY_PURPOSE, "alice-to-bob")
            sink.store([pool], confirmed=True)
    return config


@contextlib.contextmanager
def served(config: Path, party: str) -> Iterator[Address]:
    """Serve one end in a process of its own; yield its address."""
    command = [sys.executable, "-m", "scqc.cli", "keys", "serve", str(config)]
    process = subprocess.Popen(
        [*command, "--party", party, "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no output")
        url = json.loads(process.stdout.readline())["url"]
        host, _, port = url.removeprefix("https://").rpartition(":")
        yield host, int(port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
