"""From distilled blocks to the numbers, the files and the sentence of a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags import slots
from protocols.key_sink.schedule import blocks_to_depletion
from protocols.security.decoy import binary_entropy
from scqc.runs.journal import Journal
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.process import BlockResult
from scqc.runs.photon.summary_text import rows, verdict
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.result import Result
from scqc.store.results import write_result

RESULT_NAME = "result.json"
PIECE = 1 << 22


def finish_run(
    results: Sequence[BlockResult],
    config: PhotonConfig,
    folder: Path,
    timing: Timing,
    progress: Progress,
    journal: Journal,
) -> Result:
    """Sum the blocks up, write ``result.json`` and the report.

    Parameters
    ----------
    results : sequence of BlockResult
        At least one.
    config : PhotonConfig
    folder : Path
    timing, progress, journal

    Returns
    -------
    Result
    """
    result = summarise(results, config, timing)
    write_result(folder / RESULT_NAME, result.as_json())
    progress.stage("report")
    with timing.stage("report"):
        from scqc.runs.report import write_report

        write_report(folder / "report.html", result)
    journal.write("result", result.verdict)
    return result


def summarise(
    results: Sequence[BlockResult], config: PhotonConfig, timing: Timing
) -> Result:
    """Collect everything a run reports."""
    data: dict[str, Any] = {
        "scheme": config.link.scheme,
        "payload": _payload(results, config),
        "quantum": _quantum(results, config),
        "sync": _sync(results),
        "counting": _counting(results, config),
        "reconciliation": _reconciliation(results),
        "sink": _sink(results),
        "key": _key(results, config),
        "bursts": _bursts(results, config),
        "timing": {name: round(s, 3) for name, s in timing.stages.items()},
    }
    plots = _plots(results, config)
    return Result(data, verdict(data, config), plots, rows(data, config))


def _payload(results: Sequence[BlockResult], config: PhotonConfig) -> dict[str, Any]:
    wanted = max((len(r.sent.wanted) for r in results if r.sent), default=0)
    got = [r for r in results if r.delivered is not None]
    entry: dict[str, Any] = {
        "delivered": bool(got),
        "bytes": len(got[0].delivered or b"") if got else 0,
        "encoding": config.security.encoding if config.carries_payload else "none",
        "problem": "",
    }
    if got:
        pad = got[0].bob.pad
        entry["epsilon"] = pad.epsilon + got[0].bob.forgery_probability if pad else 0.0
    elif wanted or any(r.bob.message_bits for r in results):
        sent = [r for r in results if r.bob.message_bits]
        entry["problem"] = (
            "a frame of the message did not reconcile; its pad stays spent"
            if sent
            else "no block had room for it; nothing was spent on it"
        )
    return entry


def _counts_by_intensity(
    result: BlockResult, config: PhotonConfig
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return detections and slots sent, by intensity; public slots left out.

    Bob alone knows the slots sent only as the shares that were agreed.
    """
    detected = np.bincount(result.bob.intensities, minlength=3)[:3]
    if result.sent is None:
        n_slots = result.received.received.n_slots
        public = n_slots / config.link.sync_every
        shares = np.array(config.decoy.intensities.probabilities)
        return detected, np.rint((n_slots - public) * shares).astype(np.int64)
    # Tallied over the 32 slot bytes, not slot by slot: there are many slots.
    prepared = result.sent.prepared
    pieces = np.array_split(prepared, prepared.size // PIECE + 1)
    codes = np.sum([np.bincount(part, minlength=32) for part in pieces], axis=0)
    codes = codes[: slots.SYNC_FLAG]
    kinds = slots.intensity(np.arange(slots.SYNC_FLAG, dtype=np.uint8))
    sent = np.bincount(kinds, weights=codes, minlength=3)[:3].astype(np.int64)
    return detected, sent


def _quantum(results: Sequence[BlockResult], config: PhotonConfig) -> dict[str, Any]:
    detected = np.sum([_counts_by_intensity(r, config)[0] for r in results], axis=0)
    sent = np.sum([_counts_by_intensity(r, config)[1] for r in results], axis=0)
    check = [r.bob.check for r in results]
    n_check = sum(c.total for c in check)
    gains = (detected / np.maximum(sent, 1)).tolist()
    reports = [burst.report for burst in _locked(results)]
    entry: dict[str, Any] = {
        "gain": dict(zip(slots.INTENSITIES, gains, strict=True)),
        "qber": {
            "z": _key_error_rate(results),
            "x": sum(sum(c.errors) for c in check) / max(n_check, 1),
        },
        "check_detections": n_check,
        "visibility": {
            name: float(np.mean([r.fringes[i].visibility for r in reports]))
            for i, name in enumerate(("z", "x"))
        },
    }
    bounded = [r for r in results if r.bob.distillation is not None]
    if bounded:
        entry |= _bounds(bounded, config)
    return entry


def _bounds(results: Sequence[BlockResult], config: PhotonConfig) -> dict[str, Any]:
    """Return the bounds of all blocks, added up, and what they are bounds of."""
    found = [r.bob.distillation for r in results]
    bounds = [d.bounds for d in found if d is not None]
    keys = [d.key for d in found if d is not None]
    single, sifted = sum(b.single for b in bounds), sum(k.total for k in keys)
    weights = [max(b.single, 1.0) for b in bounds]
    sent = sum(int(_counts_by_intensity(r, config)[1].sum()) for r in results)
    single_slots = sent * config.decoy.z_share * config.decoy.intensities.sends(1)
    return {
        # Yield of single photons in the key basis: detections per such slot.
        "y1": single / single_slots,
        "e1": float(np.average([b.phase_error for b in bounds], weights=weights)),
        "bounds": {
            "method": config.security.bounds,
            "sifted_key": sifted,
            "vacuum": sum(b.vacuum for b in bounds),
            "single": single,
            "check_single": sum(b.check_single for b in bounds),
            "check_single_errors": sum(b.check_single_errors for b in bounds),
        },
        "counts": {
            "key": np.sum([k.detections for k in keys], axis=0).tolist(),
            "check": np.sum([r.bob.check.detections for r in results], axis=0).tolist(),
            "check_errors": np.sum(
                [r.bob.check.errors for r in results], axis=0
            ).tolist(),
        },
    }


def _key_error_rate(results: Sequence[BlockResult]) -> float:
    """Return the error rate of the key basis, from what was corrected [1]."""
    direct = [r.bob for r in results if r.received.received.word is not None]
    if direct:
        words = [r.received.received.word for r in results]
        return float(np.mean([w.error_rate for w in words if w is not None]))
    bits = sum(
        int(np.count_nonzero(d.accepted)) * d.n_bits
        for d in (r.bob.disclosure for r in results)
        if d is not None
    )
    if bits:
        return sum(r.bob.key_errors for r in results) / bits
    # Nothing was corrected: the public slots are all there is to tell by.
    samples = [r.received.received.public_key_sample for r in results]
    errors, counts = sum(e for e, _ in samples), sum(n for _, n in samples)
    return errors / counts if counts else 0.5


def _locked(results: Sequence[BlockResult]) -> list[Any]:
    return [burst for r in results for burst in r.received.locked]


def _sync(results: Sequence[BlockResult]) -> dict[str, Any]:
    locked = _locked(results)
    return {
        "lock": all(burst is not None for r in results for burst in r.received.bursts),
        "delay_s": locked[0].clock.delay_s,
        "df": locked[0].clock.df,
        "residual_s": float(np.median([b.clock.residual_s for b in locked])),
        "bursts_locked": len(locked),
        "bursts_dark": sum(len(r.received.problems) for r in results),
    }


def _counting(results: Sequence[BlockResult], config: PhotonConfig) -> dict[str, Any]:
    n = len(config.detectors)
    reports = [burst.report for burst in _locked(results)]
    names = ("tags", "in_gate", "dead", "double", "cross", "outside", "late")
    return {
        name: int(sum(getattr(r.counts, name) for r in reports)) for name in names
    } | {
        "detections": sum(r.received.received.places.size for r in results),
        "rates_hz": np.mean([r.rates_hz[:n] for r in reports], axis=0).tolist(),
        "afterpulse": [
            {"probability": a.probability, "sigma": a.sigma}
            for a in results[0].received.afterpulsing
        ],
        "efficiencies": np.mean([r.efficiencies[:n] for r in reports], axis=0).tolist(),
    }


def _reconciliation(results: Sequence[BlockResult]) -> dict[str, Any]:
    found = [r.bob.disclosure for r in results if r.bob.disclosure is not None]
    if not found:
        return {"f": 0.0, "fer": 0.0, "frames": 0}
    frames = sum(d.accepted.size for d in found)
    told, used = sum(int(d.rows.sum()) for d in found), sum(d.used for d in found)
    entropy = binary_entropy(_key_error_rate(results))
    return {
        # Measured: everything disclosed, over the Shannon limit of what was found.
        "f": told / used / entropy if entropy else 0.0,
        "fer": 1.0 - sum(int(d.accepted.sum()) for d in found) / frames,
        "frames": frames,
        "frame_bits": found[0].n_bits,
        "rounds": max(d.rounds for d in found) - 2,
        "iterations_mean": float(
            np.mean(np.concatenate([r.bob.iterations for r in results]))
        ),
    }


def _sink(results: Sequence[BlockResult]) -> dict[str, Any]:
    """Return the level of a party's message pad through the run [bit]."""
    first, last = results[0].levels[0], results[-1].levels[1]
    consumed = sum(r.bob.message_bits for r in results)
    refilled = sum(r.refilled_bits for r in results)
    left = blocks_to_depletion(last, consumed / len(results), refilled / len(results))
    return {
        "before": first.pad_bits,
        "consumed": consumed,
        "refilled": refilled,
        "after": last.pad_bits,
        "reserve": last.reserve_bits,
        "authentication": last.authentication_bits,
        "blocks_to_depletion": left if math.isfinite(left) else None,
    }


def _key(results: Sequence[BlockResult], config: PhotonConfig) -> dict[str, Any]:
    agree, bits = True, 0
    for result in results:
        if result.sent is not None:
            agree &= result.sent.alice.key() == result.bob.key()
        bits += result.bob.key()[1]
    found = [r.bob.distillation for r in results if r.bob.distillation is not None]
    n_slots = sum(r.received.received.n_slots for r in results)
    entry: dict[str, Any] = {
        "secret_bits": bits,
        "secret_bits_per_slot": bits / n_slots,
        "agree": agree,
        "epsilon": sum(d.epsilon for d in found if d.secret_bits),
        "epsilon_authentication": sum(r.bob.forgery_probability for r in results),
        "slots": n_slots,
        "simulated": config.sim is not None,
    }
    if found:
        ledgers = [d.ledger.as_dict() for d in found]
        entry["ledger"] = {
            name: sum(ledger[name] for ledger in ledgers) for name in ledgers[0]
        }
    return entry


def _bursts(
    results: Sequence[BlockResult], config: PhotonConfig
) -> list[dict[str, Any]]:
    """Return counts per burst: detections, their rate, gains, check errors."""
    link, bursts = config.link, []
    for result in results:
        received, bob = result.received.received, result.bob
        of_burst = received.places // link.burst_slots
        in_check = (received.bases == slots.X) & (bob.alice_bases == slots.X)
        table = np.bincount(
            3 * of_burst + bob.intensities, minlength=3 * link.bursts
        ).reshape(-1, 3)
        checks = np.bincount(of_burst[in_check], minlength=link.bursts)
        errors = None
        if result.sent is not None:
            found = result.sent.prepared[received.places]
            wrong = in_check & (received.bits != slots.bit(found))
            errors = np.bincount(of_burst[wrong], minlength=link.bursts)
        for number, burst in enumerate(result.received.bursts):
            row: dict[str, Any] = {"block": result.block, "burst": number}
            row["detections"] = dict(
                zip(slots.INTENSITIES, table[number].tolist(), strict=True)
            )
            row["rate_hz"] = float(
                table[number].sum() * link.slot_rate_hz / link.burst_slots
            )
            if errors is not None:
                # Bob is told how many of all bursts, not of which.
                row["check"] = [int(checks[number]), int(errors[number])]
            if burst is not None:
                row["delay_s"], row["df"] = burst.clock.delay_s, burst.clock.df
                row["public"] = [
                    [fringe.counts, fringe.errors] for fringe in burst.report.fringes
                ]
                row["phase_rad"] = [f.phase_error_rad for f in burst.report.fringes]
            bursts.append(row)
    return bursts


def _plots(results: Sequence[BlockResult], config: PhotonConfig) -> dict[str, Any]:
    """Return small arrays for the report; nothing that was not said in public."""
    phases = np.sum([b.report.counts.phases for b in _locked(results)], axis=0)
    levels = [results[0].levels[0].pad_bits]
    for result in results:
        levels += [levels[-1] - result.bob.message_bits, result.levels[1].pad_bits]
    return {
        "phases": phases,
        "gate": config.bob.receiver.gate,
        "slot_ns": 1e9 / config.link.slot_rate_hz,
        "sent_per_burst": _sent_per_burst(config),
        "pad_levels": levels,
        "pad_reserve": config.keys.reserve_bits,
        "refill_reason": (
            "copies of one bit in many slots break the decoy argument"
            if config.security.encoding == "direct"
            else ""
        ),
    }


def _sent_per_burst(config: PhotonConfig) -> list[float]:
    """Return the slots of each intensity in a burst, public ones left out."""
    slots_left = config.link.burst_slots * (1.0 - 1.0 / config.link.sync_every)
    return [slots_left * p for p in config.decoy.intensities.probabilities]
