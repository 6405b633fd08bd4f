"""Figures of the wire: how fast commands, waveforms, records and tags travel.

    python -m benchmarks.wire [--json] [--quick]

Drivers in this process, emulators in another, over loopback:

- query (``*IDN?``): median and 99th percentile, raw TCP, HiSLIP, our VISA link, and
  pyvisa's own sessions for comparison;
- fetch of a record of 16 MSa (int16, 32 MB) and upload of a waveform through the
  drivers; pyvisa-py reads the same record from the same emulator;
- time tags of the ID900 into a capture: driver, check of the order, HDF5 and
  checksums.

What bounds a two-process figure on this machine is measured beside it: a bare
echo over a socket pair between two processes, and a plain copy of a record.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.table import print_table
from driver.hal import (
    ArbitraryWaveformGenerator,
    AwgConfig,
    Digitizer,
    DigitizerConfig,
    TaggerChannel,
    TaggerConfig,
    TimeTagger,
)
from driver.links import make_link
from driver.registry import DRIVERS, make_driver
from driver.scpi.link import ScpiLink
from driver.time_tagger import merging
from scqc.core.records import Waveform
from scqc.store.capture_format import CaptureHeader
from scqc.store.tag_capture import TagCaptureWriter

RECORD = 1 << 24
DURATION_S = 1.0


@contextmanager
def laboratory(n_tags: int) -> Iterator[dict[str, str]]:
    """Serve the trivial laboratory; yield the endpoints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.trivial_lab", str(n_tags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no output")
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate()


def latencies_us(ask: Callable[[], object], n: int) -> dict[str, float]:
    """Return the median and the 99th percentile of `n` calls [us]."""
    for _ in range(20):
        ask()
    spent = []
    for _ in range(n):
        start = time.perf_counter()
        ask()
        spent.append(1e6 * (time.perf_counter() - start))
    spent.sort()
    return {"median_us": statistics.median(spent), "p99_us": spent[int(0.99 * n)]}


def echo(n: int) -> dict[str, float]:
    """Return the latency of a bare echo between two processes [us]."""
    server = socket.create_server(("127.0.0.1", 0))
    code = (
        "import socket,sys;"
        "s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));"
        "s.setsockopt(6,1,1)\n"
        "while True:\n"
        "    d=s.recv(4096)\n"
        "    if not d: break\n"
        "    s.sendall(d)\n"
    )
    port = str(server.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-c", code, port])
    link, _ = server.accept()
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def once() -> None:
        link.sendall(b"*IDN?\n")
        link.recv(4096)

    found = latencies_us(once, n)
    link.close()
    server.close()
    process.wait()
    return found


def queries(places: dict[str, str], n: int) -> dict[str, Any]:
    """Return the latency of ``*IDN?`` over our links and over pyvisa-py's."""
    import pyvisa

    rows: dict[str, Any] = {"echo between processes": echo(n)}
    ways = {
        "tcp": places["scope"],
        "hislip": places["hislip"],
        "visa hislip": f"visa://{visa_names(places)['hislip']}",
    }
    for name, place in ways.items():
        link = cast(ScpiLink, make_link("scpi", name, place))
        link.open()
        rows[name] = latencies_us(lambda link=link: link.query("*IDN?"), n)  # type: ignore[misc]
        link.close()
    manager = pyvisa.ResourceManager("@py")
    for name, resource in visa_names(places).items():
        session = manager.open_resource(resource)
        session.read_termination = session.write_termination = "\n"  # type: ignore[attr-defined]
        rows[f"pyvisa-py {name}"] = latencies_us(
            lambda session=session: session.query("*IDN?"),  # type: ignore[misc]
            n,
        )
        session.close()
    manager.close()
    return rows


def visa_names(places: dict[str, str]) -> dict[str, str]:
    """Return the two digitisers as VISA calls them."""
    tcp, hislip = (
        places[name].split("/")[2].rpartition(":")[2] for name in ("scope", "hislip")
    )
    return {
        "socket": f"TCPIP::127.0.0.1::{tcp}::SOCKET",
        "hislip": f"TCPIP::127.0.0.1::hislip0,{hislip}::INSTR",
    }


def opened(name: str, driver: str, place: str) -> Any:
    """Return the driver of an instrument, open."""
    made = make_driver(driver, make_link(DRIVERS[driver].link, name, place))
    made.open()
    return made


def fetches(places: dict[str, str], n_samples: int, repeats: int) -> dict[str, Any]:
    """Return how fast a record is read, an upload sent, and a record copied."""
    n_bytes = 2 * n_samples
    rows: dict[str, Any] = {}
    ways = {
        "tcp": places["scope"],
        "hislip": places["hislip"],
        "visa hislip": f"visa://{visa_names(places)['hislip']}",
    }
    for label, place in ways.items():
        digitizer: Digitizer = opened(label, "keysight.infiniium", place)
        digitizer.configure(DigitizerConfig(1e9, n_samples, {1: 0.5}))
        digitizer.arm()
        digitizer.wait(60.0)
        spent = []
        for _ in range(repeats):
            start = time.perf_counter()
            digitizer.fetch(60.0)
            spent.append(time.perf_counter() - start)
        rows[f"fetch {label}"] = {
            "mb_per_s": 1e-6 * n_bytes / statistics.median(spent),
            "first_mb_per_s": 1e-6 * n_bytes / spent[0],
        }
        digitizer.close()  # type: ignore[attr-defined]
    awg: ArbitraryWaveformGenerator = opened("awg", "keysight.m8190a", places["awg"])
    awg.configure(AwgConfig(1e9, {1: 0.5, 2: 0.5}))
    samples = np.zeros((2, n_samples // 4), dtype=np.float32)
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        awg.upload(Waveform(samples, 1e9))
        spent.append(time.perf_counter() - start)
    rows["upload tcp"] = {"mb_per_s": 1e-6 * n_bytes / 2 / statistics.median(spent)}
    awg.close()
    block = np.zeros(n_samples, dtype=np.int16)
    start = time.perf_counter()
    block.copy()
    rows["copy in memory"] = {
        "mb_per_s": 1e-6 * n_bytes / (time.perf_counter() - start)
    }
    rows["pyvisa-py hislip"] = {"mb_per_s": visa_fetch(places, n_samples)}
    return rows


def visa_fetch(places: dict[str, str], n_samples: int) -> float:
    """Return how fast pyvisa-py reads the record over HiSLIP [MB/s]."""
    import pyvisa

    manager = pyvisa.ResourceManager("@py")
    session: Any = manager.open_resource(visa_names(places)["hislip"])
    session.timeout, session.chunk_size = 60_000, 1 << 20
    for command in (
        ":WAV:FORM WORD",
        ":WAV:BYT LSBF",
        ":WAV:STR OFF",
        f":ACQ:POIN {n_samples}",
        ":DIG",
    ):
        session.write(command)
    session.query("*OPC?")
    session.write(":WAV:SOUR CHAN1")
    start = time.perf_counter()
    values = session.query_binary_values(":WAV:DATA?", "h", container=np.ndarray)
    spent = time.perf_counter() - start
    session.close()
    manager.close()
    return 2e-6 * values.size / spent


def tags(places: dict[str, str], n_tags: int, repeats: int) -> dict[str, Any]:
    """Return how fast tags get from the tagger into a capture [Mtags/s]."""
    # Compiled code is loaded once per process, not once per record.
    run = np.arange(4, dtype=np.int64)
    merging.settle(run)
    merging.merge_tags({1: [run]})
    merging.largest_step_back(run, 0)
    tagger: TimeTagger = opened("tagger", "idq.id900", places["tagger"])
    tagger.configure(TaggerConfig({n: TaggerChannel() for n in (1, 2, 3, 4)}))
    rates, wires, files = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            header = CaptureHeader("", f"{number}", "{}", "{}")
            path = Path(folder) / f"{number}.h5"
            with TagCaptureWriter(path, header, 1) as writer:
                tagger.start(DURATION_S)
                start = time.perf_counter()
                found = tagger.read(120.0)
                read = time.perf_counter()
                writer.add(0, found)
                done = time.perf_counter()
            path.unlink()
            n = 1e-6 * found.times_ps.size
            rates.append(n / (done - start))
            wires.append(n / (read - start))
            files.append(n / (done - read))
    tagger.close()
    return {
        "into HDF5": {
            "mtags_per_s": statistics.median(rates),
            "first_mtags_per_s": rates[0],
        },
        "of that, driver": {"mtags_per_s": statistics.median(wires)},
        "of that, HDF5": {"mtags_per_s": statistics.median(files)},
        "tags": {"count": n_tags},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    n_tags = 2_000_000 if arguments.quick else 40_000_000
    n_samples = RECORD >> 4 if arguments.quick else RECORD
    with laboratory(n_tags) as places:
        found = {
            "query": queries(places, 300 if arguments.quick else 3000),
            "transfer": fetches(places, n_samples, 5),
            "tags": tags(places, n_tags, 3),
        }
    if arguments.json:
        print(json.dumps(found))
        return
    for title, rows in found.items():
        print_table(title, [{"what": name, **row} for name, row in rows.items()])


if __name__ == "__main__":
    main()
