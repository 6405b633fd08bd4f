"""From the parties' final state to the numbers of a result."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from dsp.decision import DecisionScale
from dsp.pipeline import ReceivedBurst
from protocols.estimation.channel import ChannelEstimate, estimate_channel
from protocols.estimation.regression import Sums
from protocols.schemes.cv_alice import CvAlice
from protocols.schemes.cv_bob import CvBob
from protocols.schemes.cv_common import Distillation, symbols_for_a_key
from protocols.security.holevo import mutual_information
from scqc.runs.cv_config import CvConfig
from scqc.runs.expected import expected
from scqc.runs.receive import Timing
from scqc.runs.report_data import equality, error_plots, pilot_plots
from scqc.runs.result import Result

# Two-sided 99.9 % of a Gaussian.
SIGMAS_999 = 3.2905


def summarise(
    alice: CvAlice | None,
    bob: CvBob,
    bursts: list[ReceivedBurst],
    config: CvConfig,
    timing: Timing,
) -> Result:
    """Collect everything a run reports, from Bob's view.

    A program that plays both parties also tells what Alice's decoder did, and
    compares the keys bit by bit; Bob alone has verified that they agree.
    """
    data: dict[str, Any] = {
        "payload": _payload(bob),
        "classical": _classical(bob),
        "quantum": _quantum(bob, config),
        "receiver": _receiver(bursts, config),
        "reconciliation": _reconciliation(alice, bob),
        "key": _key(alice, bob, simulated=config.sim is not None),
        "timing": {name: round(s, 3) for name, s in timing.stages.items()},
        "throughput": {
            "dsp_msa_per_s": 1e-6 * timing.dsp_samples / max(timing.dsp_cpu_s, 1e-9)
        },
    }
    return Result(data, _verdict(bob), _plots(alice, bob, bursts, config))


def _payload(bob: CvBob) -> dict[str, Any]:
    payload = bob.report.payload
    return {
        "delivered": payload is not None,
        "bytes": len(payload) if payload is not None else 0,
        "problem": bob.report.payload_problem,
    }


def _classical(bob: CvBob) -> dict[str, Any]:
    report = bob.report
    return {
        "ber_raw": report.raw_errors / max(report.raw_bits, 1),
        "ber_fec": report.fec_errors / max(report.raw_bits, 1),
        # Root mean square of everything but the displacement, over the displacement.
        "evm": float(np.mean([_evm(s) for s in report.scales if s.amplitude] or [0.0])),
        "frames": report.frames,
        "frames_lost": report.frames_lost,
    }


def _evm(scale: DecisionScale) -> float:
    return math.sqrt(scale.variance) / scale.amplitude


def interval_entries(estimate: ChannelEstimate) -> dict[str, Any]:
    """Return T and xi with their 99.9 % intervals."""
    return {
        "transmittance": estimate.transmittance_interval(SIGMAS_999).as_dict(),
        "xi_snu": estimate.xi_interval(SIGMAS_999).as_dict(),
        "noise_bob_snu": estimate.noise_bob_snu,
    }


def sum_up(parts: Iterable[Sums]) -> Sums:
    """Add up sums of several classes."""
    return reduce(add, parts, Sums(0, 0.0, 0.0, 0.0))


def _quantum(bob: CvBob, config: CvConfig) -> dict[str, Any]:
    classes = {s.name: Sums(s.n, s.xx, s.xy, s.yy) for s in bob.class_sums}
    whole = sum_up(classes.values())
    entry: dict[str, Any] = {
        "snr": {name: sums.snr for name, sums in bob.sample_sums.items()},
        "disclosed_symbols": bob.sample_sums["x"].n,
        "displacement": bob.displacement,
        "electronic_snu": bob.detector().electronic_snu,
    }
    detector = bob.detector()
    entry |= interval_entries(estimate_channel(whole, detector, bob.displacement))
    quadratures = _by_quadrature(classes)
    for key, parts in (("quadratures", quadratures), ("classes", classes)):
        entry[key] = {
            name: interval_entries(estimate_channel(sums, detector, bob.displacement))
            for name, sums in parts.items()
        }
    if config.sim is not None:
        entry["truth"] = expected(config, config.sim).as_dict()
    return entry


def _by_quadrature(classes: dict[str, Sums]) -> dict[str, Sums]:
    """Pool the bit classes of each quadrature."""
    return {
        q: sum_up(part for name, part in classes.items() if name.startswith(q))
        for q in ("x", "p")
    }


def _receiver(bursts: list[ReceivedBurst], config: CvConfig) -> dict[str, Any]:
    reports = [b.report for b in bursts]
    return {
        "lock": all(r.lock.sync_ratio > 0 for r in reports),
        "pilot_snr_db": float(np.mean([r.lock.pilot_snr_db for r in reports])),
        "clock_ppm": float(np.mean([r.clock_ppm for r in reports])),
        "beat_hz": reports[0].lock.pilots_hz[0] - config.link.pilots_hz[0],
        "phase_residual_rad2": float(
            np.mean([r.lock.phase_noise.smoothed_rad2 for r in reports])
        ),
        "cycle_slips": sum(r.cycle_slips for r in reports),
        "sync_ratio": float(min(r.lock.sync_ratio for r in reports)),
    }


def _reconciliation(alice: CvAlice | None, bob: CvBob) -> dict[str, Any]:
    if bob.code is None or bob.outcome is None or not bob.sample_sums:
        return {"beta": 0.0, "fer": 1.0, "code_rate": 0.0, "frames": 0}
    outcome = bob.outcome
    kept = outcome.accepted
    whole = sum_up(Sums(s.n, s.xx, s.xy, s.yy) for s in bob.class_sums)
    capacity = 0.5 * np.log2(1.0 + whole.snr)
    retried = float(np.mean(outcome.retried[kept])) if kept.any() else 0.0
    leak = bob.code.leak_bits + retried * bob.code.retry_leak_bits
    decoder = {}
    if alice is not None:
        decoder = {"iterations_mean": float(np.mean(alice.iterations))}
    return decoder | {
        # Measured: what the disclosed bits left, against the Gaussian capacity.
        "beta": float((1.0 - leak / bob.code.n) / capacity),
        "fer": float(1.0 - np.mean(kept)),
        "retried": float(np.mean(outcome.retried)),
        "code_rate": bob.code.rate,
        "frames": int(kept.size),
        "frame_bits": bob.code.n,
    }


def _key(alice: CvAlice | None, bob: CvBob, *, simulated: bool) -> dict[str, Any]:
    bits, n_bits = bob.key()
    theirs = bob.key() if alice is None else alice.key()
    distillation = bob.distillation
    entry: dict[str, Any] = {
        "secret_bits": n_bits,
        "secret_bits_per_symbol": n_bits / max(bob.n_symbols, 1),
        "agree": (bits, n_bits) == theirs,
        "epsilon": distillation.epsilon if distillation is not None else 0.0,
        # Comes on top of `epsilon`; many orders of magnitude below it.
        "epsilon_authentication": bob.forgery_probability,
        "symbols": bob.n_symbols,
        "simulated": simulated,
    }
    if distillation is not None:
        worst = distillation.worst
        entry["ledger"] = distillation.ledger.as_dict()
        entry["holevo_bits"] = worst.holevo_bits
        entry["mutual_information_bits"] = mutual_information(
            distillation.estimate.channel()
        )
        entry["worst_case"] = {
            "transmittance": worst.channel.transmittance,
            "xi_snu": worst.channel.xi_snu,
            "electronic_snu": worst.channel.electronic_snu,
        }
    return entry


def _verdict(bob: CvBob) -> str:
    _, n_bits = bob.key()
    if n_bits:
        return f"{n_bits} secret bits, equal on both sides by verification."
    distillation: Distillation | None = bob.distillation
    if distillation is None:
        return "No key: no frame was reconciled; the signal-to-noise ratio is too low."
    needed = symbols_for_a_key(distillation)
    have = bob.n_symbols
    if needed is None:
        return (
            f"No key: at excess noise {distillation.estimate.xi_snu:.4f} SNU and "
            f"transmittance {distillation.estimate.transmittance:.3f} no block is "
            "large enough."
        )
    return (
        f"No key: the block of {have} symbols is too small; about {needed} symbols "
        "at the same estimates would give one."
    )


def _plots(
    alice: CvAlice | None,
    bob: CvBob,
    bursts: list[ReceivedBurst],
    config: CvConfig,
) -> dict[str, Any]:
    """Return small arrays for the report's figures."""
    displaced, residual = bob.disclosed_sample(4000)
    classes = {s.name: Sums(s.n, s.xx, s.xy, s.yy) for s in bob.class_sums}
    entry: dict[str, Any] = {
        "residual": residual,
        "decoder_iterations": (
            np.zeros(0) if alice is None else np.asarray(alice.iterations)
        ),
        "decoder_limit": config.security.decoder_iterations,
        "equality": equality(classes) | equality(_by_quadrature(classes)),
        "bursts": [
            interval_entries(
                estimate_channel(
                    Sums(s.n, s.xx, s.xy, s.yy), bob.detector(), bob.displacement
                )
            )
            for s in bob.burst_sums
            if s.n >= 1000
        ],
    }
    report, classical = bob.report, config.classical
    if report.scales:
        entry |= {
            "constellation": displaced,
            "scale": report.scales[0],
            "psk": classical.psk,
        }
    entry["errors"] = error_plots(
        report, classical.target_raw_ber, classical.fec_iterations
    )
    return entry | pilot_plots(bursts)
