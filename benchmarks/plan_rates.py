"""Points per second of the rate engine, one core, and how far off its formulas are."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from protocols.reconciliation import pairs
from protocols.security import closed_forms
from protocols.security.cv_finite import Block, ledger_key
from protocols.security.cv_rates import Direction, Link, Receiver, rates
from protocols.security.decoy import Intensities
from protocols.security.displacement import Imperfections, displace
from protocols.security.dv_finite import PhotonBlock, expected_balance
from protocols.security.dv_rates import Decoys, PhotonLink, gains, key_per_slot
from protocols.security.holevo import Detection

POINTS = 1_000_000


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the tables."""
    t = np.logspace(-6, -1e-4, POINTS)
    rows = []
    for detection in ("homodyne", "heterodyne"):
        for direction in ("reverse", "direct"):
            rows.append(_endless(t, detection, direction))
    receiver = Receiver(0.6, 0.1)
    link = Link(t, 4.0, 0.01)
    rows.append(
        _timed(
            "displacement and key",
            POINTS,
            lambda: rates(
                displace(link, receiver, 1e-6, Imperfections(1e-5)).on(link), receiver
            ),
        )
    )
    block, pair = Block(1e10, 1e10), pairs.fixed(0.95, 0.05)
    rows.append(
        _timed("finite ledger", POINTS, lambda: ledger_key(link, receiver, block, pair))
    )
    decoys = Decoys()
    counter = PhotonLink(t, 1e-6, 0.01)
    rows.append(
        _timed(
            "decoy, endless",
            POINTS,
            lambda: key_per_slot(gains(counter, decoys), decoys),
        )
    )
    few = PhotonLink(t[:: POINTS // 500], 1e-6, 0.01)
    intensities = Intensities((0.6, 0.2, 0.0), (0.8, 0.1, 0.1))
    rows.append(
        _timed(
            "decoy, finite ledger",
            500,
            lambda: expected_balance(few, intensities, PhotonBlock(1e11)),
        )
    )
    return {"rate engine": rows, "against closed forms": [_against_closed_forms()]}


def _endless(
    t: np.ndarray[Any, np.dtype[np.float64]], detection: Detection, direction: Direction
) -> dict[str, Any]:
    receiver = Receiver(0.6, 0.1, detection)
    link = Link(t, 4.0, 0.01)
    return _timed(
        f"{detection}, {direction}",
        t.size,
        lambda: rates(link, receiver, direction).key_bits(0.95),
    )


def _timed(what: str, points: int, work: Callable[[], object]) -> dict[str, Any]:
    work()
    begin_s = time.perf_counter()
    work()
    return {"what": what, "points/s": points / (time.perf_counter() - begin_s)}


def _against_closed_forms() -> dict[str, Any]:
    w = np.array([1.2, 3.0, 41.0])
    worst = 0.0
    for detection in ("homodyne", "heterodyne"):
        closed = closed_forms.unlimited_rate(0.9, w, 1.0, detection)
        link = Link(0.9, 1e9, environment_snu=w)
        found = rates(link, Receiver(detection=detection)).key_bits(1.0)
        worst = max(worst, float(np.max(np.abs(found / closed - 1.0))))
    return {"modulation": 1e9, "largest relative difference": worst}
