"""Apertures under a wandering beam: speed and errors of the exact and the fast form."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from scqc.core.rng import stream
from sim_backends.propagation.beam import Transmitter, diffraction_transmittance
from sim_backends.propagation.coupling import (
    mean_transmittance,
    offset_transmittance,
    weibull_form,
)
from sim_backends.propagation.elliptic import elliptic_transmittance
from sim_backends.propagation.fading import WanderingSpot

POINTS = 100_000
# w / a, and the error of the Weibull form at each.
SPOTS = (0.4, 1.0, 2.0, 7.0)


def _per_point_us(work: Callable[[], object], points: int) -> float:
    work()
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return 1e6 * min(spent) / points


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the tables."""
    return {"aperture coupling": [_form(w) for w in SPOTS], "speed": _speed()}


def _form(w_m: float) -> dict[str, Any]:
    offset_m = np.linspace(0.0, 5.0 + w_m, 4000)
    exact = offset_transmittance(offset_m, 1.0, w_m)
    fast = weibull_form(1.0, w_m).transmittance(offset_m)
    spot = WanderingSpot(1.0, w_m, 0.5 * w_m)
    photons = 0.5 * w_m * stream(1, "photons").standard_normal((2, POINTS))
    wander = 0.5 * w_m * stream(1, "wander").standard_normal((2, POINTS))
    caught = float(np.mean(np.hypot(*(photons + wander)) < 1.0))
    mean = float(mean_transmittance(1.0, w_m, 0.5 * w_m))
    return {
        "w_over_a": w_m,
        "weibull_error": float(np.abs(fast - exact).max()),
        "mean_over_wander": mean,
        "quadrature_error": abs(float(spot.quadrature().mean()) - mean),
        "monte_carlo_sigmas": (caught - mean) / np.sqrt(mean * (1 - mean) / POINTS),
    }


def _speed() -> list[dict[str, Any]]:
    offset_m = np.linspace(0.0, 5.0, POINTS)
    form = weibull_form(0.5, 1.0)
    spots = WanderingSpot(0.5, np.linspace(0.5, 5.0, 1000), 0.3)
    half = POINTS // 10
    axes, centre = (np.full(half, 0.6), 1.0), (np.linspace(0.0, 2.0, half), 0.1)
    sender = Transmitter(0.15, 810e-9, 0.15, truncation="launched")
    range_m = np.linspace(5e5, 2e6, 1000)
    work: list[tuple[str, Callable[[], object], int]] = [
        ("exact", lambda: offset_transmittance(offset_m, 0.5, 1.0), POINTS),
        ("weibull", lambda: form.transmittance(offset_m), POINTS),
        ("elliptic", lambda: elliptic_transmittance(0.5, axes, centre), half),
        ("wander quadrature", spots.quadrature, 1000),
        ("cut beam", lambda: diffraction_transmittance(sender, range_m, 0.6), 1000),
    ]
    return [
        {"what": name, "us_per_point": _per_point_us(call, points)}
        for name, call, points in work
    ]
