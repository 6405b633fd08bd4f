"""Figures of the receiver, measured on this machine.

    python -m benchmarks.receiver [--json] [--quick] [--capture DIR] [--qosst PYTHON]

- throughput of the whole receiver without error correction, from int16 codes,
  per CPU second of one core, and its memory from 1e6 to 1e8 samples;
- the phase budget: theory for several lasers and pilot levels, and what the
  receiver really adds, paired on the same noise;
- with ``--capture``, a foreign capture folder: T, xi, clock, SNR; and with
  ``--qosst``, the Python of a separate environment that has qosst-bob, the same
  capture through that receiver (a separate process, never a dependency).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import print_table
from dsp.acquisition import acquire
from dsp.calibration import noise_variance
from dsp.decision import decision_scale, map_bits
from dsp.decision_phase import refine_phase
from dsp.demodulator import Demodulator
from dsp.displacement import remove_displacement
from dsp.pipeline import BurstRecords, receive_burst
from dsp.settings import FrameLayout, ReceiverSettings
from dsp.transmitter import baseband
from protocols.estimation.channel import Detector, estimate_channel
from protocols.estimation.regression import regress
from scqc.core.rng import ReplayEntropy, random_bits
from scqc.runs.expected import expected, true_budget
from scqc.runs.lab_config import LabConfig, load_config
from scqc.runs.transmit import Transmitter, frame_layout
from sim_backends.world import World

RATE_HZ = 400e6
BEAT_HZ = 150e6
CHUNK = 1 << 20
# Shutter levels [V]: signal, local oscillator.
LIGHT = {"signal": (2.0, 2.0), "shot": (0.0, 2.0), "electronic": (0.0, 0.0)}
PEER = Path(__file__).parent / "peers" / "qosst_receiver.py"


def synthetic_record(layout: FrameLayout, n: int) -> Iterator[NDArray[np.int16]]:
    """Yield codes of a burst with empty symbols: preamble, pilots, noise.

    What the data symbols carry changes nothing in the receiver's work.
    """
    short = layout.model_copy(update={"symbols": 4096})
    sps = round(RATE_HZ / layout.symbol_rate_hz)
    pilots = (31.3, 9.9)
    field = baseband(np.zeros(4096, np.complex64), short, RATE_HZ, pilots)
    head = field[0] + 1j * field[1]
    # Where symbol 0 sits in the head, which is the pilots' phase reference.
    origin = head.size - (4096 + 32 + 16) * sps
    block = np.random.default_rng(1).standard_normal(CHUNK).astype(np.float32)
    for start in range(0, n, CHUNK):
        index = np.arange(start, min(start + CHUNK, n))
        lead = 4000
        time_index = (index - lead - origin) / RATE_HZ
        light = sum(
            a * np.exp(2j * np.pi * ((f * time_index) % 1.0))
            for a, f in zip(pilots, layout.pilots_hz, strict=True)
        )
        inside = (index >= lead) & (index < lead + head.size)
        light[inside] = head[index[inside] - lead]
        light[index < lead] = 0.0
        carrier = np.exp(2j * np.pi * ((BEAT_HZ / RATE_HZ * index) % 1.0))
        real = 0.73 * (light * carrier).real + block[: index.size]
        yield np.clip(np.rint(real * 400.0), -32000, 32000).astype(np.int16)


def throughput(n_samples: int) -> dict[str, float]:
    """Demodulate `n_samples` and the two calibrations; count CPU seconds."""
    sps = round(RATE_HZ / 50e6)
    layout = FrameLayout(symbols=(n_samples - 60_000) // sps)
    settings = ReceiverSettings(beat_hz=BEAT_HZ)
    chunks = list(synthetic_record(layout, n_samples))
    noise = chunks[-1:] * len(chunks)
    first = np.concatenate(chunks[:1])[: settings.acquisition_samples]
    acquire(first.astype(np.float32), RATE_HZ, layout, settings)
    start = time.thread_time()
    lock = acquire(first.astype(np.float32), RATE_HZ, layout, settings)
    demodulator = Demodulator(layout, settings, RATE_HZ, lock)
    for _ in demodulator.run(iter(chunks)):
        pass
    signal_s = time.thread_time() - start
    noise_variance(demodulator, iter(noise))
    total_s = time.thread_time() - start
    return {
        "samples": float(n_samples),
        "signal_msa_per_cpu_s": 1e-6 * n_samples / signal_s,
        "with_one_calibration_msa_per_cpu_s": 2e-6 * n_samples / total_s,
    }


def peak_memory_mb(n_samples: int) -> float:
    """Run the receiver over a stream in a process of its own; peak RSS [MB]."""
    code = (
        "import benchmarks.receiver as b, sys;"
        f"b.stream_once({n_samples});"
        "import resource;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout) / 1024.0


def stream_once(n_samples: int) -> int:
    """Demodulate a generated stream without keeping it; return the symbols seen."""
    sps = round(RATE_HZ / 50e6)
    layout = FrameLayout(symbols=(n_samples - 60_000) // sps)
    settings = ReceiverSettings(beat_hz=BEAT_HZ)
    first = next(synthetic_record(layout, n_samples))[: settings.acquisition_samples]
    lock = acquire(first.astype(np.float32), RATE_HZ, layout, settings)
    demodulator = Demodulator(layout, settings, RATE_HZ, lock)
    return sum(s.size for s in demodulator.run(synthetic_record(layout, n_samples)))


def phase_budget(quick: bool) -> list[dict[str, float]]:
    """Compute the expected penalty for several lasers and pilots."""
    home = Path(__file__).resolve().parent.parent
    config = load_config(home / "lab_configs" / "cv_fiber_10km.toml").config
    if config.sim is None:
        raise SystemExit("the shipped bench has no [sim]")
    rows = []
    for linewidth_hz in (100.0, 1e3, 1e4):
        for snr_db in (20.0, 25.0, 30.0, 35.0, 40.0):
            laser = {"linewidth_hz": linewidth_hz}
            sim = config.sim.model_copy(
                update={
                    "laser": config.sim.laser.model_copy(update=laser),
                    "lo": config.sim.lo.model_copy(update=laser),
                }
            )
            sender = config.alice.transmitter.model_copy(
                update={"pilot_snr_db": snr_db}
            )
            alice = config.alice.model_copy(update={"transmitter": sender})
            bench = config.model_copy(update={"alice": alice, "sim": sim})
            truth = expected(bench, sim)
            row = {
                "linewidth_hz": linewidth_hz,
                "pilot_snr_db": snr_db,
                "xi_phase_snu": truth.xi_phase_snu,
                "xi_tails_snu": truth.xi_tails_snu,
                "xi_converter_snu": truth.xi_converter_snu,
            }
            measured = (linewidth_hz, snr_db) in ((100.0, 30.0), (1e4, 40.0))
            if measured and not quick:
                row |= measured_penalty(bench)
            rows.append(row)
    return rows


def measured_penalty(bench: LabConfig, symbols: int = 2_000_000) -> dict[str, float]:
    """Send one long burst through the simulated light, twice on the same noise.

    The second time both lasers have no phase noise: the difference in excess noise
    is what phase and tails add, and the shot noise drops out.
    """
    if bench.sim is None:
        raise SystemExit("the bench has no [sim]")
    ideal = {"linewidth_hz": 0.0}
    still = bench.sim.model_copy(
        update={
            "laser": bench.sim.laser.model_copy(update=ideal),
            "lo": bench.sim.lo.model_copy(update=ideal),
        }
    )
    noisy, quiet = (
        _excess_noise(bench.model_copy(update={"sim": sim}), symbols)
        for sim in (bench.sim, still)
    )
    return {"xi_measured_snu": noisy - quiet}


def decision_directed(symbols: int = 500_000) -> list[dict[str, float]]:
    """Measure what decoded symbols add to a weak pilot, paired on the same noise."""
    home = Path(__file__).resolve().parent.parent
    config = load_config(home / "lab_configs" / "cv_fiber_10km.toml").config
    rows = []
    for snr_db in (10.0, 20.0, 30.0):
        sender = config.alice.transmitter.model_copy(update={"pilot_snr_db": snr_db})
        alice = config.alice.model_copy(update={"transmitter": sender})
        row = {"pilot_snr_db": snr_db}
        for name, refine in (("pilot_only", False), ("decision_directed", True)):
            receiver = config.bob.receiver.model_copy(
                update={"decision_directed": refine}
            )
            bob = config.bob.model_copy(update={"receiver": receiver})
            bench = config.model_copy(update={"alice": alice, "bob": bob})
            row[f"xi_{name}_snu"] = measured_penalty(bench, symbols)["xi_measured_snu"]
        rows.append(row)
    return rows


def _excess_noise(bench: LabConfig, symbols: int) -> float:
    """Return xi of one burst against Alice's own record [SNU]."""
    sim = bench.sim
    if sim is None:
        raise SystemExit("the bench has no [sim]")
    entropy = ReplayEntropy(sim.seed, "benchmark")
    sender, world = Transmitter(bench, entropy), World(sim)
    light = sender.gaussian(symbols)
    bits = random_bits(entropy, 2 * symbols)
    waveform = sender.waveform(light, bits, true_budget(sim), 64)
    rate_hz = bench.bob.digitizer.rate_hz
    n = waveform.samples.shape[1] + round(1e-5 * rate_hz)
    records = {}
    for kind, (signal_v, lo_v) in LIGHT.items():
        world.set_level("signal", signal_v)
        world.set_level("lo", lo_v)
        if kind == "signal":
            world.play(waveform.samples.copy(), waveform.rate_hz)
        volts = world.record(n, rate_hz)
        world.stop()
        if kind == "signal":
            range_v = 2.1 * float(np.max(np.abs(volts)))
        codes = np.clip(np.rint(volts / range_v * 1024.0), -512, 511) * 64
        records[kind] = codes.astype(np.int16)
    burst = receive_burst(
        BurstRecords(
            rate_hz,
            lambda: [records["signal"]],
            lambda: [records["shot"]],
            lambda: [records["electronic"]],
        ),
        frame_layout(bench, symbols),
        bench.bob.receiver,
    )
    directions, received = map_bits(bits, "qpsk"), burst.symbols
    if bench.bob.receiver.decision_directed:
        report = burst.report
        received = refine_phase(
            received,
            directions,
            decision_scale(received),
            report.lock.phase_noise,
            report.hops_per_symbol,
        )
    nothing = np.zeros(0, dtype=np.complex64)
    removal = remove_displacement(received, directions, nothing, 13)
    cleaned = removal.symbols / np.float32(burst.unit.scale)
    sums = regress(light.real.copy(), cleaned.real.copy()) + regress(
        light.imag.copy(), cleaned.imag.copy()
    )
    unit = burst.unit
    detector = Detector(
        sim.receiver.efficiency, unit.electronic_snu, unit.n_shot, unit.n_electronic
    )
    return estimate_channel(sums, detector, "error-corrected").xi_snu


def foreign(folder: Path, qosst: str | None, quick: bool = False) -> dict[str, Any]:
    """Process a foreign capture here, and through the peer if there is one."""
    from scqc.runs.foreign import import_foreign_npy
    from scqc.runs.offline import process_capture
    from scqc.runs.progress import Silent

    with tempfile.TemporaryDirectory() as name:
        capture = Path(name) / "foreign.h5"
        import_foreign_npy(folder, capture)
        start = time.process_time()
        result = process_capture(
            capture, Path(name), Silent(), symbols=folder / "alice_symbols.npy"
        )
        spent = time.process_time() - start
    told = json.loads((folder / "receiver_knows.json").read_text())
    entry: dict[str, Any] = {"here": _foreign_row(result.data, told, spent)}
    if qosst is not None:
        command = [qosst, str(PEER), str(folder), *(["--quick"] if quick else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            best = json.loads(done.stdout.splitlines()[-1])
            entry["qosst, defaults"] = best.pop("defaults")
            entry["qosst, best setting"] = best
        else:
            entry["qosst"] = {"failed": done.stderr.strip().splitlines()[-1:]}
    return entry


def _foreign_row(
    data: dict[str, Any], told: dict[str, Any], cpu_s: float
) -> dict[str, float]:
    quantum, receiver = data["quantum"], data["receiver"]
    return {
        "snr": quantum["snr_pooled"],
        "snr_sigma": quantum["snr_sigma"],
        "transmittance": quantum["transmittance"]["value"],
        "xi_snu": quantum["xi_snu"]["value"],
        "xi_low_snu": quantum["xi_snu"]["low"],
        "xi_high_snu": quantum["xi_snu"]["high"],
        "clock_ppm": receiver["clock_ppm"],
        "beat_hz": receiver["beat_hz"],
        "penalty_theory_bob_snu": 0.5
        * told["eta"]
        * quantum["transmittance"]["value"]
        * told["va"]
        * receiver["phase_residual_rad2"],
        "cpu_s": cpu_s,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything asked for."""
    sizes = (1_000_000, 10_000_000) if arguments.quick else (1_000_000, 100_000_000)
    found: dict[str, Any] = {
        "throughput": throughput(4_000_000 if arguments.quick else 16_000_000),
        "peak_memory_mb": {f"{n:.0e}": peak_memory_mb(n) for n in sizes},
        "phase_budget": phase_budget(arguments.quick),
    }
    if not arguments.quick:
        found["decision_directed"] = decision_directed()
    if arguments.capture is not None:
        found["foreign"] = foreign(arguments.capture, arguments.qosst, arguments.quick)
    return found


def main() -> None:
    """Print the figures as tables or as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--capture", type=Path)
    parser.add_argument("--qosst", metavar="PYTHON")
    arguments = parser.parse_args()
    found = measure(arguments)
    if arguments.json:
        print(json.dumps(found))
        return
    print_table("receiver, without error correction", [found["throughput"]])
    print_table("peak memory of the stream [MB]", [found["peak_memory_mb"]])
    print_table("phase budget of the default bench", found["phase_budget"])
    if "decision_directed" in found:
        print_table("decision-directed phase", found["decision_directed"])
    for name, row in found.get("foreign", {}).items():
        print_table(f"foreign capture: {name}", [row])


if __name__ == "__main__":
    main()
