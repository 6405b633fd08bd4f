"""Decoy-state keys of finite blocks: the program's own bounds on expected counts.

Counts that a channel is expected to give are rounded to whole numbers and go
through `protocols.security.decoy` and `protocols.security.decoy_length`, as the
counts of a run do. One point takes some tens of microseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.security.cv_rates import check_range
from protocols.security.decoy import (
    Counts,
    Intensities,
    Method,
    Triple,
    binary_entropy,
    estimate,
)
from protocols.security.decoy_length import DecoyLedger, Disclosed, key_length
from protocols.security.dv_rates import (
    PhotonLink,
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


@dataclass(frozen=True, slots=True)
class SlotRates:
    """What one point of a channel is expected to give per slot, by intensity.

    Parameters
    ----------
    clicks : tuple of three float
        Of signal, decoy and vacuum [1].
    wrong : tuple of three float
        Those with a wrong bit [1].
    """

    clicks: Triple
    wrong: Triple


def slot_rates(link: PhotonLink, intensities: Intensities) -> SlotRates:
    """Return what one point gives per slot.

    Parameters
    ----------
    link : PhotonLink
        One point; fading by its weights.
    intensities : Intensities
    """
    signal, decoy, vacuum = intensities.mean_photons
    return SlotRates(
        (
            float(click_rate(link, signal)),
            float(click_rate(link, decoy)),
            float(click_rate(link, vacuum)),
        ),
        (
            float(wrong_click_rate(link, signal)),
            float(wrong_click_rate(link, decoy)),
            float(wrong_click_rate(link, vacuum)),
        ),
    )


def expected_counts(rates: SlotRates, intensities: Intensities, slots: float) -> Counts:
    """Return the counts of one basis that the channel is expected to give.

    Parameters
    ----------
    rates : SlotRates
    intensities : Intensities
    slots : float
        In which both ends chose this basis [1].
    """
    sent = [slots * share for share in intensities.probabilities]
    first, second, third = (
        round(n * p) for n, p in zip(sent, rates.clicks, strict=True)
    )
    wrong = [round(n * p) for n, p in zip(sent, rates.wrong, strict=True)]
    # Rounding up the errors of a few clicks must not exceed them.
    errors = min(wrong[0], first), min(wrong[1], second), min(wrong[2], third)
    return Counts((first, second, third), errors)


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
    check_link(link)
    return ledger_of_rates(slot_rates(link, intensities), intensities, block)


def ledger_of_rates(
    rates: SlotRates, intensities: Intensities, block: PhotonBlock
) -> DecoyLedger:
    """Return the ledger of a block on a channel whose rates are known already.

    Parameters
    ----------
    rates : SlotRates
        Of a link that `check_link` accepts.
    intensities : Intensities
    block : PhotonBlock

    Raises
    ------
    ModelRangeError
        If a parameter of the block is outside its range.
    """
    _check_block(block)
    key = expected_counts(rates, intensities, block.slots * block.key_basis**2)
    rest = block.slots * (1.0 - block.key_basis) ** 2
    check = expected_counts(rates, intensities, rest)
    bounds = estimate(key, check, intensities, block.secrecy, block.method)
    kept, frames = (
        (1.0 - block.fer) * key.total,
        math.ceil(key.total / block.frame_bits),
    )
    leak = block.efficiency * binary_entropy(key.error_rate)
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


def check_link(link: PhotonLink) -> None:
    """Refuse a link that cannot be, at any of its points.

    Raises
    ------
    ModelRangeError
        Naming the first value outside its range.
    """
    for quantity, value, high in (
        ("transmittance", link.transmittance, 1.0),
        ("background yield", link.background_yield, 1.0 - 1e-9),
        ("misalignment", link.misalignment, 1.0),
        ("share of slots with the receiver ready", link.ready, 1.0),
        ("blinding transmittance", link.blinding, 1.0),
    ):
        check_range(quantity, value, 0.0, high)


def _check_block(block: PhotonBlock) -> None:
    for quantity, value, low, high in (
        ("slots of a block", block.slots, 1.0, 1e18),
        ("probability of the key basis", block.key_basis, 1e-6, 1.0 - 1e-6),
        ("efficiency of the error correction", block.efficiency, 1.0, 10.0),
        ("frame error rate", block.fer, 0.0, 1.0),
        ("bits of a frame", block.frame_bits, 1.0, 1e12),
        ("secrecy parameter", block.secrecy, 1e-300, 0.5),
    ):
        check_range(quantity, value, low, high)
