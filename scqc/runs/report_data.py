"""Small arrays and texts behind the figures of a report.

They ride in `Result.plots`, never in ``result.json``.
"""

from __future__ import annotations

import json
import math
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp.pipeline import ReceivedBurst
from dsp.settings import FrameLayout
from dsp.spectrum import frequencies_hz, power_density
from protocols.estimation.regression import Sums
from protocols.schemes.cv_reception import ClassicalReport
from scqc.store.sealed_reader import Capture, StoredRecord

N_FFT = 4096
SPECTRUM_SAMPLES = 1 << 20


def record_plots(
    opened: Capture, burst: ReceivedBurst, layout: FrameLayout
) -> dict[str, Any]:
    """Return what the capture itself has to show: spectrum and provenance.

    Parameters
    ----------
    opened : Capture
    burst : ReceivedBurst
        The first one.
    layout : FrameLayout
    """
    return {
        "spectrum": _spectrum(opened, burst, layout),
        "provenance": _provenance(opened),
    }


def _spectrum(
    opened: Capture, burst: ReceivedBurst, layout: FrameLayout
) -> dict[str, Any]:
    """Return the densities of the first burst's records [dB, shot noise = 0]."""
    stored, lock = opened.burst(0), burst.report.lock
    scale = stored.signal.scale
    records = {
        "signal": _span(stored.signal, int(lock.first_symbol_sample)),
        "shot": _span(stored.shot, 0),
        "electronic": _span(stored.electronic, 0),
    }
    if scale is None or min(r.size for r in records.values()) < N_FFT:
        return {}
    density = {
        name: power_density(samples, scale.rate_hz, N_FFT)
        for name, samples in records.items()
    }
    carrier_hz = lock.pilots_hz[0] - layout.pilots_hz[0]
    centre_hz = carrier_hz + layout.centre_hz
    half_hz = 0.5 * layout.symbol_rate_hz * (1.0 + layout.roll_off)
    axis_hz = frequencies_hz(N_FFT, scale.rate_hz)
    band = np.abs(axis_hz - centre_hz) <= half_hz
    vacuum = float(np.mean(density["shot"][band] - density["electronic"][band]))
    if not vacuum > 0.0:
        return {}
    # A record without any noise has a density of zero, which has no decibels.
    floor = 1e-6 * vacuum
    decibels = {
        # The first bins hold what is left of the mean.
        name: 10.0 * np.log10(np.maximum(values[2:], floor) / vacuum)
        for name, values in density.items()
    }
    return {
        "frequency_mhz": 1e-6 * axis_hz[2:],
        "density_db": decibels,
        "resolution_mhz": 1e-6 * scale.rate_hz / N_FFT,
        "pilots_mhz": [1e-6 * f for f in lock.pilots_hz],
        "carrier_mhz": 1e-6 * carrier_hz,
        "band_mhz": (1e-6 * (centre_hz - half_hz), 1e-6 * (centre_hz + half_hz)),
    }


def _span(record: StoredRecord, first: int) -> NDArray[np.int16]:
    """Return at most a million samples from `first` on, or the last there are."""
    count = min(record.n_samples, SPECTRUM_SAMPLES)
    start = min(max(first, 0), record.n_samples - count)
    return record.read(start, start + count)


def _provenance(opened: Capture) -> dict[str, str]:
    """Return where the numbers come from, as texts that nobody has checked."""
    header = opened.header
    try:
        instruments = json.dumps(json.loads(header.instruments_json), indent=2)
    except ValueError:
        instruments = header.instruments_json
    return {
        "capture": opened.path.name,
        "run_uuid": header.run_uuid,
        "created_utc": header.created_utc,
        "software_version": header.software_version,
        "salvaged": "yes" if header.salvaged else "no",
        "config": header.config_toml,
        "layout": header.layout_json,
        "instruments": instruments,
    }


def pilot_plots(bursts: list[ReceivedBurst]) -> dict[str, Any]:
    """Return the pilot's phase and residual, one array per burst [rad]."""
    reports = [burst.report for burst in bursts]
    return {
        "pilot_phase_rad": [np.asarray(r.pilot_phase_rad) for r in reports],
        "pilot_residual_rad": [np.asarray(r.pilot_residual_rad) for r in reports],
        # Variance that the smoother leaves, by its own theory.
        "pilot_smoothed_rad2": [r.lock.phase_noise.smoothed_rad2 for r in reports],
    }


def error_plots(
    report: ClassicalReport, target_ber: float, fec_iterations: int
) -> dict[str, Any]:
    """Return raw errors per burst and the work of the decoder; empty without bits."""
    if not report.raw_bits:
        return {}
    return {
        "errors": list(report.burst_raw_errors),
        "bits": list(report.burst_raw_bits),
        "target_ber": target_ber,
        "iterations": np.asarray(report.iterations),
        "limit": fec_iterations,
    }


def equality(classes: dict[str, Sums]) -> dict[str, dict[str, float]]:
    """Test each class against all others together.

    Parameters
    ----------
    classes : dict
        Disjoint sums by name.

    Returns
    -------
    dict
        By class, ``gain`` (square root of the transmittance) and ``noise`` (excess
        noise): difference over its standard deviation [1]. All classes share one
        calibration, so its error is common and left out: with it, differences
        would look smaller than they are.
    """
    scores: dict[str, dict[str, float]] = {}
    for name, own in classes.items():
        others = [sums for other, sums in classes.items() if other != name]
        rest = reduce(add, others, Sums(0, 0.0, 0.0, 0.0))
        if not (own.n and rest.n):
            continue
        gain_sigma = math.hypot(own.gain_sigma, rest.gain_sigma)
        noise_sigma = math.hypot(own.residual_sigma_snu, rest.residual_sigma_snu)
        scores[name] = {
            "gain": (own.gain - rest.gain) / gain_sigma,
            "noise": (own.residual_snu - rest.residual_snu) / noise_sigma,
        }
    return scores
