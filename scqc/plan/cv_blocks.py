"""Reconciliation and finite blocks of the Gaussian scheme, at the points of a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from protocols.reconciliation.pairs import (
    Pair,
    fixed,
    least_snr,
    measured,
    reconcilable,
)
from protocols.security.composable import split_epsilon
from protocols.security.cv_finite import (
    Block,
    LiteratureSettings,
    ledger_key,
    literature_rate,
)
from protocols.security.cv_rates import Link, Receiver
from scqc.plan.records import Floats
from scqc.plan.scheme_settings import CvScheme

#: Smaller parts of a block say nothing; the ledger begins there [symbols].
_LEAST_SYMBOLS = 100.0
#: Where nothing can be said, a number that plots and sorts [bit per use].
_NO_KEY_BITS = -100.0


def reconciliation_pair(scheme: CvScheme, snr: Floats) -> Pair:
    """Return efficiency and frame error rate, fixed or as measured.

    Parameters
    ----------
    scheme : CvScheme
    snr : ndarray, shape (...), float64 [1]
        Per real quadrature.

    Returns
    -------
    Pair
        With an efficiency of zero where our codes have no rate low enough.
    """
    if scheme.beta is not None and scheme.frame_error_rate is not None:
        one = fixed(scheme.beta, scheme.frame_error_rate)
        return Pair(*(np.full(snr.shape, v) for v in _fields(one)))
    there = reconcilable(snr)
    pair = measured(np.where(there, snr, least_snr() * (1.0 + 1e-9)))
    return Pair(np.where(there, pair.beta, 0.0), *_fields(pair)[1:])


def block_key_bits(
    scheme: CvScheme,
    parts: tuple[Link, Receiver, Pair],
    symbols: Floats,
) -> Floats:
    """Return the key per symbol of finite blocks, negative without key.

    Parameters
    ----------
    scheme : CvScheme
    parts : tuple of Link, Receiver, Pair
        Of shape (k, ...).
    symbols : ndarray, shape broadcastable, float64 [1]
        In every block.

    Returns
    -------
    ndarray, shape (k, ...), float64 [bit per symbol]
    """
    link, receiver, pair = parts
    cold = as_excess_noise(link)
    size = np.maximum(symbols, _LEAST_SYMBOLS)
    bins = np.shape(link.transmittance)[0]
    if scheme.finite == "literature":
        # Smoothing, hashing, correctness, and an estimate of two quantities.
        fifth = 0.2 * scheme.epsilon / bins
        settings = LiteratureSettings(
            scheme.disclosed_share,
            1.0 - float(np.max(pair.fer)),
            scheme.literature_digits,
            *(4 * (fifth,)),
        )
        found = literature_rate(
            cold, receiver, pair.beta, size, settings, scheme.direction
        )
    else:
        shots = scheme.calibration_samples
        kept = size * (1.0 - scheme.disclosed_share)
        block = Block(
            symbols=np.maximum(kept, _LEAST_SYMBOLS),
            calibration_samples=np.maximum(kept, 1e3) if shots is None else shots,
            # Every bin of the fading has an estimate of its own that may fail.
            epsilon=split_epsilon(scheme.epsilon / bins),
        )
        found = ledger_key(cold, receiver, block, pair).key_bits_per_symbol
        found = found * (1.0 - scheme.disclosed_share)
    return np.where(np.isfinite(found), found, _NO_KEY_BITS)


def as_excess_noise(link: Link) -> Link:
    """Count heat of environment and source as excess noise, as a bench must.

    The bench cannot tell them apart; nothing of them is trusted then.
    """
    t = np.asarray(link.transmittance, dtype=np.float64)
    heat = (1.0 - t) / t * (np.asarray(link.environment_snu) - 1.0)
    heat = heat + np.asarray(link.source_snu) - 1.0
    return replace(link, xi_snu=link.xi_snu + heat, environment_snu=1.0, source_snu=1.0)


def _fields(pair: Pair) -> tuple[Floats, Floats, Floats, Floats]:
    return pair.beta, pair.fer, pair.frame_bits, pair.extra_bits
