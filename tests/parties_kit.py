"""Start the programs of a link as processes: the laboratory, Alice and Bob."""

import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from scqc.core.rng import SystemEntropy
from scqc.runs.parties.control import tell
from scqc.runs.parties.curve import write_link_files

START_S = 150.0


class Programs:
    """The processes of a test, ended by it."""

    def __init__(self, folder, config, seed=None):
        self.folder, self.config = Path(folder), Path(config)
        self.seed = [] if seed is None else ["--seed", str(seed)]
        self.running = {}
        self.endpoints = self.folder / "lab.json"
        links = self.folder / "links"
        write_link_files(links, SystemEntropy())
        for party in ("alice", "bob"):
            keys = self.home(party) / "keys"
            keys.mkdir(mode=0o700, parents=True)
            (links / f"{party}.link").rename(keys / f"{party}.link")

    def home(self, party):
        return self.folder / party

    def start(self, name, *arguments, inside=()):
        """Start a program; `inside` goes before it, such as a network namespace."""
        log = (self.folder / f"{name}.log").open("ab")
        command = [*inside, sys.executable, "-m", "scqc.cli", *map(str, arguments)]
        self.running[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        return self.running[name]

    def lab(self, *options, inside=()):
        self.start(
            "lab",
            *("serve-sim", self.config, "--endpoints", self.endpoints),
            *self.seed,
            *options,
            inside=inside,
        )
        wait_for(self.endpoints.exists, lambda: self.log("lab"))

    def party(self, party, *options, inside=()):
        return self.start(
            party,
            *(party, self.config, "--home", self.home(party), "--lab", self.endpoints),
            *self.seed,
            *options,
            inside=inside,
        )

    def kill(self, name):
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def wait(self, name, timeout_s):
        code = self.running[name].wait(timeout_s)
        del self.running[name]
        return code

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def state(self, party):
        return tell(self.home(party), "status")

    def results(self, party):
        """Return the results of all blocks, in order."""
        folders = sorted((self.home(party) / "blocks").glob("block-*"))
        found = [folder / "result.json" for folder in folders]
        return [json.loads(path.read_text()) for path in found if path.exists()]

    def end(self):
        for name, process in list(self.running.items()):
            process.terminate()
            try:
                process.wait(60.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            del self.running[name]


@contextmanager
def programs(folder, config, seed=None):
    made = Programs(folder, config, seed)
    try:
        yield made
    finally:
        made.end()


def wait_for(condition, explain, timeout_s=START_S):
    """Wait until something holds."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, explain()
        time.sleep(0.05)


class SlowLine:
    """Carries packets between two tunnel devices, late, and loses some.

    A line in user space: it needs no traffic control of the kernel's.
    """

    def __init__(self, names, delay_s, loss, seed=1):
        self._delay_s, self._loss, self._rng = delay_s, loss, random.Random(seed)
        self._ends = [self._device(name) for name in names]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self.packets = self.lost = 0
        self._thread.start()

    @staticmethod
    def _device(name):
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        # TUNSETIFF: a point-to-point device without packet information.
        fcntl.ioctl(end, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
        return end

    def _carry(self):
        on_the_way = []
        while not self._over.is_set():
            now_s = time.monotonic()
            wait_s = 0.1
            if on_the_way:
                wait_s = max(0.0, on_the_way[0][0] - now_s)
            ready, _, _ = select.select(self._ends, [], [], min(wait_s, 0.1))
            for end in ready:
                try:
                    packet = os.read(end, 1 << 16)
                except OSError:
                    # The device is not up yet.
                    time.sleep(0.01)
                    continue
                self.packets += 1
                if self._rng.random() < self._loss:
                    self.lost += 1
                    continue
                due_s = time.monotonic() + self._delay_s
                other = self._ends[1 - self._ends.index(end)]
                heapq.heappush(on_the_way, (due_s, self.packets, other, packet))
            while on_the_way and on_the_way[0][0] <= time.monotonic():
                *_, end, packet = heapq.heappop(on_the_way)
                with contextlib.suppress(OSError):
                    os.write(end, packet)

    def close(self):
        self._over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)


@contextmanager
def namespaces(delay_ms=20.0, loss_percent=1.0):
    """Yield the commands that enter two namespaces, an address for the laboratory,
    and the line.

    A slow, lossy line joins the two; a clean one goes from each to this namespace,
    where the laboratory's instruments are.
    """
    tag = f"q{os.getpid() % 100000}"
    names = [f"{tag}a", f"{tag}b"]
    line = None

    def ip(*words):
        subprocess.run(["ip", *map(str, words)], check=True, capture_output=True)

    try:
        line = SlowLine([f"{tag}x", f"{tag}y"], 1e-3 * delay_ms, 0.01 * loss_percent)
        for number, (name, end) in enumerate(zip(names, "xy", strict=True), start=1):
            slow, clean = f"{tag}{end}", f"{tag}{number}"
            ip("netns", "add", name)
            ip("link", "set", slow, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", slow)
            ip("-n", name, "link", "set", slow, "up")
            ip("-n", name, "link", "set", "lo", "up")
            # The instruments' own line.
            inner = f"{tag}i{number}"
            ip("link", "add", clean, "type", "veth", "peer", "name", inner)
            ip("link", "set", inner, "netns", name)
            ip("addr", "add", f"10.77.{number}.1/24", "dev", clean)
            ip("link", "set", clean, "up")
            ip("-n", name, "addr", "add", f"10.77.{number}.2/24", "dev", inner)
            ip("-n", name, "link", "set", inner, "up")
            if number == 2:
                ip("-n", name, "route", "add", "10.77.1.0/24", "via", "10.77.2.1")
        yield [("ip", "netns", "exec", name) for name in names], "10.77.1.1", line
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        for number in (1, 2):
            subprocess.run(["ip", "link", "del", f"{tag}{number}"], capture_output=True)
        if line is not None:
            line.close()
