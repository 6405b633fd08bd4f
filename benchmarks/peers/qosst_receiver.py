"""QOSST's receiver on a foreign capture: figures to set beside this project's.

    PYTHON benchmarks/peers/qosst_receiver.py CAPTURE_FOLDER [--quick]

QOSST is GPL and wants an older numpy, so it lives in an environment of its own,
this script runs under that environment's Python, and nothing of it is imported
anywhere else. To make the environment (Python 3.11)::

    python3.11 -m venv qosst-venv
    qosst-venv/bin/pip install "numpy<2" qosst-alice qosst-bob

and then ``python -m benchmarks.receiver --capture DIR --qosst
qosst-venv/bin/python``.

The last line of standard output is one JSON object: the figures of the best
setting tried, and under ``defaults`` those of QOSST's own defaults. "Best" is
the highest SNR over a grid of subframe length and pilot averaging, with a clock
correction that is kept from correcting (``abort_clock_recovery``): that is how
it does not lose a frame of this length. Every setting runs in a process of its
own, so that memory and CPU time are those of one receiver.

The SNR is computed as in this project: after QOSST's own search of the global
phase with all disclosed symbols, a rotation from the *other* blocks, and one
regression of Bob on Alice over both quadratures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Iterator
from itertools import pairwise, product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from qosst_bob.dsp import dsp_bob_params, special_dsp
from qosst_bob.dsp.dsp import find_global_angle

N_BLOCKS = 16
# qosst_core.configuration.bob.BobDSPConfiguration: no averaging, every clock
# estimate accepted. The default length of a subframe, 0 symbols, ends in an
# IndexError, so the whole frame is made one.
DEFAULTS: dict[str, Any] = {
    "process_subframes": False,
    "subframe_length": 10**9,
    "fir_size": 500,
    "tone_filtering_cutoff": 10e6,
    "abort_clock_recovery": 0.0,
    "pilot_phase_filtering_size": 0,
    "num_samples_fbeat_estimation": 100_000,
}
# An estimate further from the nominal clock than this is not used [1].
NEVER_CORRECT = 1e-9
SUBFRAMES = (2500, 5000, 10_000, 50_000)
AVERAGES = (0, 500, 1000, 2000)


def settings(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the settings to try, QOSST's defaults first."""
    yield DEFAULTS
    grid = product(SUBFRAMES[1:3] if quick else SUBFRAMES, AVERAGES)
    for subframe, average in grid:
        yield DEFAULTS | {
            "process_subframes": True,
            "subframe_length": subframe,
            "abort_clock_recovery": NEVER_CORRECT,
            "pilot_phase_filtering_size": average,
        }


def receive(folder: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Run the receiver, the calibration and the phase search once.

    Parameters
    ----------
    folder : Path
        Folder of the capture.
    setting : dict
        Keyword arguments of ``dsp_bob_params``.
    """
    told = json.loads((folder / "receiver_knows.json").read_text())
    scale = told["scale_v_per_code"]
    signal, shot, electronic = (
        scale * np.load(folder / f"{kind}.npy", allow_pickle=False).astype(float)
        for kind in ("signal", "shot", "electronic")
    )
    alice = np.load(folder / "alice_symbols.npy", allow_pickle=False)
    start = time.process_time()
    frames, special, debug = dsp_bob_params(
        signal,
        symbol_rate=told["symbol_rate"],
        dac_rate=told["dac_rate"],
        adc_rate=told["adc_rate"],
        num_symbols=told["symbols"],
        roll_off=told["roll_off"],
        frequency_shift=told["frequency_shift"],
        num_pilots=2,
        pilots_frequencies=np.array(told["pilot_frequencies"]),
        zc_length=told["zc_length"],
        zc_root=told["zc_root"],
        zc_rate=told["zc_rate"],
        excl=[(0.0, 100e3)],
        debug=True,
        **setting,
    )
    received_s = time.process_time()
    dark, lit = special_dsp([electronic], [shot], special)
    calibrated_s = time.process_time()
    bob = turned(frames, alice)
    done_s = time.process_time()
    n0 = 0.5 * float(np.var(lit) - np.var(dark))
    figures = compare(bob / math.sqrt(n0), alice[: bob.size], told["eta"])
    excess = figures.pop("variance_snu") - 0.5 * float(np.var(lit)) / n0
    return {
        **figures,
        "noise_bob_snu": figures["residual_snu"] - 0.5 * float(np.var(lit)) / n0,
        # Less than half of the light above the noise belongs to Alice's symbols.
        "frame_lost": bool(figures["signal_snu"] < 0.5 * excess),
        "clock_ppm": 1e6 * (debug.delta_frequency_pilots - 1.0),
        "clock_corrected": bool(debug.equi_adc_rate != told["adc_rate"]),
        "symbols": bob.size,
        "cpu_s": done_s - start,
        "cpu_receiver_s": received_s - start,
        "cpu_calibration_s": calibrated_s - received_s,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def turned(frames: list[np.ndarray], alice: np.ndarray) -> np.ndarray:
    """Turn every subframe by the angle that QOSST finds with disclosed symbols."""
    parts, at = [], 0
    for frame in frames:
        known = alice[at : at + frame.size]
        frame = frame[: known.size]
        if known.size < 2:
            break
        angle, _ = find_global_angle(frame, known)
        parts.append(frame * np.exp(1j * angle))
        at += known.size
    return np.concatenate(parts)


def compare(bob: np.ndarray, alice: np.ndarray, eta: float) -> dict[str, float]:
    """Regress Bob on Alice over both quadratures, as this project does.

    Parameters
    ----------
    bob, alice : ndarray, shape (n,), complex128 and complex64 [sqrt(SNU)]
    eta : float
        Efficiency of the detector [1].
    """
    edges = np.linspace(0, alice.size, N_BLOCKS + 1).astype(int)
    spans = list(pairwise(edges))
    partial = np.array([np.vdot(bob[a:b], alice[a:b]) for a, b in spans])
    bob = bob.copy()
    for own, (a, b) in zip(partial, spans, strict=True):
        other = partial.sum() - own
        bob[a:b] *= other / abs(other)
    x = np.concatenate([alice.real, alice.imag]).astype(float)
    y = np.concatenate([bob.real, bob.imag])
    gain = float(x @ y) / float(x @ x)
    residual = float(np.mean((y - gain * x) ** 2))
    signal = gain**2 * float(np.mean(x**2))
    return {
        "snr": signal / residual,
        "transmittance": 2.0 * gain**2 / eta,
        "signal_snu": signal,
        "residual_snu": residual,
        "variance_snu": float(np.mean(y**2)),
    }


def _child(link: Connection, folder: Path, setting: dict[str, Any]) -> None:
    """Send back the figures, or why there are none."""
    try:
        link.send(receive(folder, setting))
    except Exception as error:  # noqa: BLE001 - any failure of the peer is a figure
        link.send({"frame_lost": True, "failed": f"{type(error).__name__}: {error}"})


def run_alone(folder: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Run one setting in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, folder, setting))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    except EOFError:
        found = {"frame_lost": True, "failed": "the receiver's process died"}
    process.join()
    return found | {
        "subframes": setting["process_subframes"],
        "subframe_symbols": min(setting["subframe_length"], found.get("symbols", 0)),
        "pilot_average_samples": setting["pilot_phase_filtering_size"],
        "version": importlib.metadata.version("qosst-bob"),
    }


def main() -> None:
    """Print the figures as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows = [run_alone(arguments.folder, s) for s in settings(arguments.quick)]
    best = max(rows, key=lambda row: row.get("snr", 0.0))
    print(json.dumps(best | {"tried": len(rows), "defaults": rows[0]}))


if __name__ == "__main__":
    main()
