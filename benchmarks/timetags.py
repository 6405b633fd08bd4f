"""Figures of the time-tag receiver, measured on this machine.

    python -m benchmarks.timetags [--json] [--quick] [--eta PYTHON]

- counting (1 GHz slots, 4 inputs, 20 Mtag/s): one pass beside vectorised numpy;
- PTU records to times and inputs, beside ptufile;
- coincidence histogram within 50 ns, beside numpy and, with ``--eta``, ETA: the
  Python of a separate environment that has etabackend (a separate process, never
  a dependency);
- clock and frame: CPU time at 2e4 detections per second, how often they lock at
  1000 per second, and how far the clock is off.

Rates are per CPU second of one core, the best of three.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import print_table
from dsp.time_tags.clock import slot_clock
from dsp.time_tags.correlation import coincidences
from dsp.time_tags.counting import Counter
from dsp.time_tags.frame import find_frame
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.sync import place
from scqc.core.errors import SignalError
from scqc.core.records import TimeTags
from scqc.store.ptu import MULTIHARP, write_ptu
from scqc.store.ptu_records import Layout, decode

Tags = tuple[NDArray[np.int64], NDArray[np.uint8]]
BLOCK = 1 << 20
SLOT_PS = 1000.0
WINDOW_PS, BIN_PS = 50_000, 100
HYDRAHARP_2 = 0x01010204
PEER = Path(__file__).parent / "peers" / "eta_correlation.py"


def rate(n: int, work: Callable[[], object]) -> float:
    """Return millions per CPU second, the best of three after one to warm up."""
    work()
    spent = []
    for _ in range(3):
        start = time.thread_time()
        work()
        spent.append(time.thread_time() - start)
    return 1e-6 * n / min(spent)


def counting(n: int) -> dict[str, Any]:
    """Count tags of 1 GHz slots: half at the centre of a slot, half beside it."""
    rng = np.random.default_rng(1)
    layout = SlotLayout(slot_rate_hz=1e9)
    # No whole number of ps lies on the edge of this gate: rounding cannot matter.
    settings = TagSettings(dead_time_s=20e-9, sort_window_s=0.0, gate=0.2005)
    slots = np.sort(rng.integers(0, 50 * n, n))
    where = rng.choice(np.array([-500, 0, 0, 500]), n)
    jitter = 60.0 * rng.standard_normal(n)
    times = np.sort(np.rint(slots * SLOT_PS + where + jitter).astype(np.int64))
    inputs = rng.integers(1, 5, n, dtype=np.uint8)
    table = rng.integers(0, 12, layout.frame_slots, dtype=np.uint8)
    knots = np.linspace(0.0, 50.0 * n * SLOT_PS, 100)
    clock = SlotClock(knots, knots / SLOT_PS, 1e9, 0.0)
    bits = rng.integers(0, 2, n // 2, dtype=np.uint8)

    def ours() -> NDArray[np.int64]:
        counter = Counter(clock, layout, settings, bits, table)
        for start in range(0, n, BLOCK):
            block = slice(start, start + BLOCK)
            counter.feed(times[block], inputs[block])
        counter.finish()
        return counter.counts.tally

    def vectorised() -> NDArray[np.int64]:
        return _numpy_tally(times, inputs, table, settings, bits)

    if not np.array_equal(ours(), vectorised()):
        raise SystemExit("counting: the pass and numpy disagree")
    return {
        "tags": n,
        "here_mtag_per_s": rate(n, ours),
        "numpy_mtag_per_s": rate(n, vectorised),
    }


def _numpy_tally(
    times: NDArray[np.int64],
    inputs: NDArray[np.uint8],
    table: NDArray[np.uint8],
    settings: TagSettings,
    bits: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Do the same with whole-array operations, for the unit clock of `counting`."""
    position = times * (1.0 / SLOT_PS)
    slot = np.floor(position + 0.5).astype(np.int64)
    phase = position - slot
    np.bincount(((phase + 0.5) * 128).astype(np.int64) & 127, minlength=128)
    alive = np.diff(times, prepend=-(1 << 62)) >= 1e12 * settings.dead_time_s
    kept = np.abs(phase) <= settings.gate
    slot, which, alive = slot[kept], inputs[kept] - 1, alive[kept]
    first = np.flatnonzero(np.diff(slot, prepend=-1))
    mask = np.bitwise_or.reduceat(np.uint8(1) << which, first)
    slot, alive = slot[first], alive[first]
    z, x = mask & 3, mask >> 2
    good = alive & ((z == 0) | (x == 0))
    slot, mask = slot[good], mask[good]
    basis = (mask > 3).astype(np.int64)
    pair = mask >> (2 * basis)
    bit = (pair >> 1).astype(np.int64)
    double = np.flatnonzero(pair == 3)
    bit[double] = bits[: double.size]
    code = table[slot & (table.size - 1)].astype(np.int64)
    flat = 4 * (code & 15) + 2 * basis + bit
    return np.bincount(flat, minlength=64).reshape(4, 2, 2, 4)


def ptu(tags: TimeTags) -> dict[str, Any]:
    """Decode the records of a MultiHarp file."""
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.ptu"
        write_ptu(path, tags, 5, MULTIHARP)
        data = path.read_bytes()
        records = np.frombuffer(data[data.index(b"Header_End") + 48 :], dtype="<u4")
        row["records"] = records.size

        def ours() -> None:
            state = np.zeros(2, dtype=np.int64)
            for start in range(0, records.size, BLOCK):
                part = records[start : start + BLOCK]
                decode(part, Layout.GENERIC, 5, state, path)

        row["here_mrecord_per_s"] = rate(records.size, ours)
        try:
            import ptufile
        except ImportError:
            row["ptufile"] = "not installed"
            return row
        with ptufile.PtuFile(path) as file:
            held = file.read_records()
            room = file.decode_records(held)
            row["ptufile_mrecord_per_s"] = rate(
                records.size, lambda: file.decode_records(held, out=room)
            )
    return row


def pair_tags(seconds: float) -> TimeTags:
    """Return two inputs of 1 Mcps each, a tenth of them true pairs."""
    rng = np.random.default_rng(2)
    span = int(seconds * 1e12)
    n, n_pairs = int(0.9e6 * seconds), int(1e5 * seconds)
    born = rng.integers(0, span, n_pairs)
    sides = [
        np.concatenate(
            [rng.integers(0, span, n), born + 150 * rng.standard_normal(n_pairs)]
        )
        for _ in range(2)
    ]
    times = np.concatenate(sides)
    inputs = np.repeat(np.array([1, 2], dtype=np.uint8), sides[0].size)
    # Multiples of 5 ps: the unit of the file that the peers read.
    units = np.clip(np.rint(times / 5).astype(np.int64) * 5, 0, span // 5 * 5)
    order = np.argsort(units, kind="stable")
    return TimeTags(units[order], inputs[order], span)


def pairs(tags: TimeTags, eta: str | None) -> dict[str, Any]:
    """Histogram the differences of two inputs."""
    n = tags.times_ps.size
    a, b = (tags.times_ps[tags.channels == k] for k in (1, 2))

    def ours() -> NDArray[np.int64]:
        return coincidences(a, b, WINDOW_PS, BIN_PS)

    def vectorised() -> NDArray[np.int64]:
        low = np.searchsorted(b, a - WINDOW_PS)
        count = np.searchsorted(b, a + WINDOW_PS) - low
        start = np.repeat(low - np.cumsum(count) + count, count)
        other = b[start + np.arange(start.size)]
        since = other - np.repeat(a, count) + WINDOW_PS
        return np.bincount(since // BIN_PS, minlength=2 * WINDOW_PS // BIN_PS)

    if not np.array_equal(ours(), vectorised()):
        raise SystemExit("coincidences: the pass and numpy disagree")
    row: dict[str, Any] = {
        "tags": n,
        "pairs": int(ours().sum()),
        "here_mtag_per_s": rate(n, ours),
        "numpy_mtag_per_s": rate(n, vectorised),
    }
    return row | _eta(tags, eta)


def _eta(tags: TimeTags, eta: str | None) -> dict[str, Any]:
    """Run ETA on the same tags in its own environment."""
    if eta is None:
        return {"eta": "skipped, no --eta PYTHON"}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pairs.ptu"
        # What ETA reads is the HydraHarp's; the records are the same.
        write_ptu(path, tags, 5, HYDRAHARP_2)
        command = [eta, str(PEER), str(path), str(WINDOW_PS), str(BIN_PS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"eta": (done.stderr.strip().splitlines() or ["failed"])[-1]}
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "eta_mtag_per_s": 1e-6 * tags.times_ps.size / found["cpu_s"],
        "eta_pairs": found["pairs"],
    }


def synthetic_burst(
    table: NDArray[np.uint8], rate_hz: float, seconds: float, seed: int
) -> tuple[TimeTags, float, float]:
    """Return tags of sparse light with its clock error [ppm] and delay [s].

    A quarter, a half and a quarter of the light before, at and after the centre
    of its slot; 150 ps of jitter; a tenth of the detections are dark.
    """
    rng = np.random.default_rng(seed)
    ppm, delay_s = rng.uniform(-50.0, 50.0), rng.uniform(-9.9e-3, 9.9e-3)
    n = rng.poisson(rate_hz * seconds)
    n_dark = rng.binomial(n, 0.1)
    bright = np.array([1.0, 0.2, 0.0, 0.0])[(table >> 2) & 3]
    slots = rng.integers(0, int(seconds * 250e6), 4 * n)
    lit = bright[slots & (table.size - 1)] > rng.random(slots.size)
    slots = slots[lit][: n - n_dark]
    where = rng.choice(np.array([-0.5, 0.0, 0.0, 0.5]), slots.size)
    true_s = (slots + where) / 250e6 + 150e-12 * rng.standard_normal(slots.size)
    end_s = seconds + 12e-3
    times_s = np.concatenate(
        [delay_s + true_s * (1.0 + 1e-6 * ppm), rng.random(n_dark) * end_s]
    )
    times = np.sort(np.rint(times_s * 1e12).astype(np.int64))
    times = times[(times >= 0) & (times < end_s * 1e12)]
    inputs = rng.integers(1, 5, times.size, dtype=np.uint8)
    return TimeTags(times, inputs, round(end_s * 1e12)), ppm, delay_s


def locking(rate_hz: float, seconds: float, seeds: int) -> dict[str, Any]:
    """Find clock and frame in many records; a wrong lock ends the benchmark."""
    layout, settings = SlotLayout(), TagSettings()
    table = np.random.default_rng(3).integers(0, 4, layout.frame_slots, dtype=np.uint8)
    strength = np.random.default_rng(4).choice(3, table.size, p=(0.7, 0.2, 0.1))
    table = place(table | (strength << 2).astype(np.uint8), layout)
    locked, spent, residuals = 0, [], []
    at = np.linspace(0.0, seconds * 250e6, 1000).round()
    for seed in range(seeds + 1):
        tags, ppm, delay_s = synthetic_burst(table, rate_hz, seconds, seed)
        start = time.process_time()
        try:
            clock = slot_clock(tags.times_ps, layout, settings)
            clock = find_frame(tags.times_ps, clock, layout, settings).clock
        except SignalError:
            continue
        finally:
            spent.append(time.process_time() - start)
        true_s = delay_s + at / 250e6 * (1.0 + 1e-6 * ppm)
        error = (clock.at(np.rint(1e12 * true_s).astype(np.int64)) - at) / 250e6
        residuals.append(math.sqrt(float(np.mean(error**2))))
        if residuals[-1] > 1e-9:
            raise SystemExit(f"false lock: seed {seed}, {residuals[-1]:.3g} s off")
        # The first one compiles.
        locked += seed > 0
    return {
        "detections_per_s": rate_hz,
        "seconds": seconds,
        "seeds": seeds,
        "locked": locked,
        "cpu_s": float(np.median(spent[1:])),
        "residual_ps_median": 1e12 * float(np.median(residuals)) if residuals else None,
        "residual_ps_worst": 1e12 * max(residuals) if residuals else None,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    quick = arguments.quick
    tags = pair_tags(1.0 if quick else 5.0)
    scenes = [(2e4, 1.0, 5 if quick else 20), (1e3, 30.0, 5 if quick else 100)]
    if not quick:
        scenes += [(1e3, seconds, 20) for seconds in (3.0, 5.0, 10.0)]
    return {
        "counting": counting(2_000_000 if quick else 20_000_000),
        "ptu": ptu(tags),
        "coincidences": pairs(tags, arguments.eta),
        "locking": [locking(*scene) for scene in scenes],
    }


def main() -> None:
    """Print the figures as tables or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--eta", metavar="PYTHON")
    arguments = parser.parse_args()
    found = measure(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    print_table("counting, 1 GHz slots, 4 inputs", [found["counting"]])
    print_table("PTU records to times", [found["ptu"]])
    print_table("coincidences within 50 ns", [found["coincidences"]])
    print_table("clock and frame", found["locking"])


if __name__ == "__main__":
    main()
