"""Decoy-state keys of finite blocks: the program's own bounds on expected counts.

Counts that a channel is expected to give are rounded to whole numbers and go
through `protocols.security.decoy` and `protocols.security.decoy_length`, as the
counts of a run do. One point takes some tenths of a millisecond, most of it for
the exact sampling bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.security.cv_rates import check_range
from protocols.security.decoy import Counts, Intensities, Method, estimate
from protocols.security.decoy_length import DecoyLedger, Disclosed, key_length
from protocols.security.dv_rates import (
    PhotonLink,
    binary_entropy,
    click_rate,
    wrong_click_rate,
)
from protocols.verification.tags import TAG_BITS


@dataclass(frozen=True, slots=True)
class PhotonBlock:
    """A block and what is done with it.

    Parameters
    ----------
    slots : float
        Of the whole block [1].
    key_basis : float
        Probability of the key basis, at either end [1].
    efficiency, fer : float
        Bits disclosed over the Shannon limit, and frames that fail and are
        disclosed: a pair, measured together [1].
    frame_bits : float
        Sifted bits per frame of the reconciliation [bit].
    secrecy : float
        Secrecy parameter [1].
    method : {"hoeffding", "chernoff", "gaussian"}
        Tail bound of the counts.
    """

    slots: float
    key_basis: float = 0.9
    efficiency: float = 1.16
    fer: float = 0.0
    frame_bits: float = 1e5
    secrecy: float = 1e-10
    method: Method = "hoeffding"


def expected_counts(link: PhotonLink, intensities: Intensities, slots: float) -> Counts:
    """Return the counts of one basis that the channel is expected to give.

    Parameters
    ----------
    link : PhotonLink
        One point; fading by its weights.
    intensities : Intensities
    slots : float
        In which both ends chose this basis [1].
    """
    detections, errors = [], []
    for mean, share in zip(
        intensities.mean_photons, intensities.probabilities, strict=True
    ):
        clicks = round(slots * share * float(click_rate(link, mean)))
        wrong = round(slots * share * float(wrong_click_rate(link, mean)))
        detections.append(clicks)
        errors.append(min(wrong, clicks))
    first, second, third = detections
    return Counts((first, second, third), (errors[0], errors[1], errors[2]))


def expected_ledger(
    link: PhotonLink, intensities: Intensities, block: PhotonBlock
) -> DecoyLedger:
    """Return the ledger that one block is expected to end with.

    Parameters
    ----------
    link : PhotonLink
        One point; fading by its weights.
    intensities : Intensities
    block : PhotonBlock

    Raises
    ------
    ModelRangeError
        If a parameter is outside its range.
    """
    _check(link, block)
    key = expected_counts(link, intensities, block.slots * block.key_basis**2)
    rest = block.slots * (1.0 - block.key_basis) ** 2
    check = expected_counts(link, intensities, rest)
    bounds = estimate(key, check, intensities, block.secrecy, block.method)
    kept, frames = (
        (1.0 - block.fer) * key.total,
        math.ceil(key.total / block.frame_bits),
    )
    leak = block.efficiency * float(binary_entropy(key.error_rate))
    disclosed = Disclosed(
        published=math.ceil(min(1.0, leak) * kept),
        revealed=0,
        verification=TAG_BITS * frames,
        flags=frames,
        failed=math.ceil(block.fer * key.total),
    )
    return key_length(key.total, bounds, disclosed, block.secrecy)


def expected_balance(
    link: PhotonLink, intensities: Intensities, block: PhotonBlock
) -> NDArray[np.float64]:
    """Return what is left of the ledger at every transmittance, shape (...) [bit].

    Parameters
    ----------
    link : PhotonLink
        Transmittance of shape (...), or (k, ...) with weights.
    intensities : Intensities
    block : PhotonBlock

    Raises
    ------
    ModelRangeError
        If a parameter is outside its range.
    """
    t = np.asarray(link.transmittance, dtype=np.float64)
    # The states of a fading channel stay together; all else is one point after another.
    states = np.moveaxis(t, 0, -1) if link.weights is not None else t
    shape = t.shape if link.weights is None else t.shape[1:]
    out = np.empty(shape)
    for index in np.ndindex(*shape):
        one = replace(link, transmittance=np.asarray(states[index]))
        out[index] = expected_ledger(one, intensities, block).balance_bits
    return out


def _check(link: PhotonLink, block: PhotonBlock) -> None:
    for quantity, value, low, high in (
        ("transmittance", link.transmittance, 0.0, 1.0),
        ("background yield", link.background_yield, 0.0, 1.0 - 1e-9),
        ("misalignment", link.misalignment, 0.0, 1.0),
        ("share of slots with the receiver ready", link.ready, 0.0, 1.0),
        ("blinding transmittance", link.blinding, 0.0, 1.0),
        ("slots of a block", block.slots, 1.0, 1e18),
        ("probability of the key basis", block.key_basis, 1e-6, 1.0 - 1e-6),
        ("efficiency of the error correction", block.efficiency, 1.0, 10.0),
        ("frame error rate", block.fer, 0.0, 1.0),
        ("bits of a frame", block.frame_bits, 1.0, 1e12),
        ("secrecy parameter", block.secrecy, 1e-300, 0.5),
    ):
        check_range(quantity, value, low, high)
