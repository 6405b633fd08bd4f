"""Uses of a fading channel: which of them decode, and in which bin each of them is.

Alice displaces her light without knowing the fade. The uses of the deepest fades, a
share that is chosen beforehand, carry no data that Bob can read; what displaced them
stays on them, so they carry no key either. All others are sorted by transmittance
into bins of equal size; what the transmittance varies by within a bin is kept, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scqc.plan.records import Floats


@dataclass(frozen=True, slots=True)
class Uses:
    """Shares of all uses, by the transmittance they meet.

    Parameters
    ----------
    root : ndarray, shape (k, ...), float64 [1]
        Mean of the transmittance's root.
    variance : ndarray, shape (k, ...), float64 [1]
        Of that root.
    weights : ndarray, shape (k, ...), float64 [1]
        Probabilities; together 1, less what is left out.
    light_snu : ndarray, shape (k, ...), float64 [SNU]
        Squared displacement per quadrature, as its noise at the channel's output
        has it.
    raw_ber : ndarray, shape (k, ...), float64 [1]
    """

    root: Floats
    variance: Floats
    weights: Floats
    light_snu: Floats
    raw_ber: Floats

    @property
    def transmittance(self) -> Floats:
        """That the estimate of a bin finds, shape (k, ...) [1]."""
        return np.asarray(self.root**2)

    @property
    def spread(self) -> Floats:
        """Variance of the root over its square, shape (k, ...) [1]."""
        return np.asarray(self.variance / self.root**2)


def uses_of(nodes: Floats, weights: Floats) -> Uses:
    """Return the uses that meet each node of a fading, not displaced.

    Parameters
    ----------
    nodes : ndarray, shape (k, ...), float64 [1]
        Transmittances.
    weights : ndarray, shape (k,), float64 [1]
        Their probabilities.

    Returns
    -------
    Uses
        From the deepest fade up.
    """
    order = np.argsort(nodes, axis=0, kind="stable")
    root = np.sqrt(np.take_along_axis(nodes, order, axis=0))
    column = weights.reshape(-1, *([1] * (nodes.ndim - 1)))
    share = np.take_along_axis(np.broadcast_to(column, nodes.shape), order, axis=0)
    none = np.zeros(root.shape)
    return Uses(root, none, share, none, none)


def without_deep_fades(uses: Uses, cells: int, outage: Floats) -> Uses:
    """Cut the deepest fades off, and the rest into cells of equal probability.

    Between the nodes the transmittance's root is taken to rise linearly with the
    probability; beyond the first and the last of them nothing is known, so they stand
    for what is there.

    Parameters
    ----------
    uses : Uses
        From `uses_of`.
    cells : int
    outage : ndarray, shape (...) or (), float64 [1]
        Share of uses that are left out, below 1.

    Returns
    -------
    Uses
        Of shape (cells, ...), not displaced.
    """
    shape = uses.root.shape[1:]
    kept = 1.0 - np.broadcast_to(outage, shape)
    edges = np.linspace(0.0, 1.0, cells + 1).reshape(-1, *([1] * len(shape)))
    ends = quantile_root(uses, 1.0 - kept * (1.0 - edges))
    none = np.zeros((cells, *shape))
    return Uses(
        root=0.5 * (ends[1:] + ends[:-1]),
        variance=np.diff(ends, axis=0) ** 2 / 12.0,
        weights=np.broadcast_to(kept / cells, none.shape),
        light_snu=none,
        raw_ber=none,
    )


def quantile_root(uses: Uses, share: Floats) -> Floats:
    """Return the transmittance's root that a share of all uses does not reach.

    Shape (m, ...) [1].

    Parameters
    ----------
    uses : Uses
        From `uses_of`, shape (k, ...).
    share : ndarray, shape (m, ...), float64 [1]
    """
    middle = np.cumsum(uses.weights, axis=0) - 0.5 * uses.weights
    k, m = middle.shape[0], share.shape[0]
    columns = (a.reshape(n, -1).T for a, n in ((share, m), (middle, k), (uses.root, k)))
    found = [np.interp(*column) for column in zip(*columns, strict=True)]
    return np.array(found, dtype=np.float64).T.reshape(share.shape)


def steady_uses(transmittance: Floats) -> Uses:
    """Return uses that all meet the same transmittance.

    Parameters
    ----------
    transmittance : ndarray, shape (...), float64 [1]
    """
    root = np.sqrt(transmittance)[np.newaxis]
    none = np.zeros(root.shape)
    return Uses(root, none, np.ones(root.shape), none, none)


def adjacent_bins(uses: Uses, bins: int) -> Uses:
    """Merge as many neighbouring cells as it takes into each bin.

    Parameters
    ----------
    uses : Uses
        From `without_deep_fades`, shape (m bins, ...).
    bins : int

    Returns
    -------
    Uses
        Of shape (bins, ...).
    """
    many = uses.root.shape[0] // bins
    part = np.full((many, *([1] * (uses.root.ndim - 1))), 1.0 / many)
    made = []
    for start in range(0, many * bins, many):
        columns = [one[start : start + many] for one in _columns(uses)]
        made.append(_merged(part, columns, many * uses.weights[start]))
    return Uses(*(np.stack(column) for column in zip(*made, strict=True)))


def sorted_into_bins(uses: Uses, bins: int) -> Uses:
    """Sort uses into bins of equal probability.

    Parameters
    ----------
    uses : Uses
        In any order.
    bins : int

    Returns
    -------
    Uses
        Of shape (bins, ...).
    """
    order = np.argsort(uses.root, axis=0, kind="stable")
    columns = [np.take_along_axis(one, order, axis=0) for one in _columns(uses)]
    weights = np.take_along_axis(uses.weights, order, axis=0)
    high = np.cumsum(weights, axis=0)
    low = high - weights
    step = high[-1] / bins
    made = []
    for number in range(bins):
        start, stop = number * step, (number + 1) * step
        part = np.clip(np.minimum(high, stop) - np.maximum(low, start), 0.0, None)
        made.append(_merged(part / np.sum(part, axis=0), columns, step))
    return Uses(*(np.stack(column) for column in zip(*made, strict=True)))


def _columns(uses: Uses) -> tuple[Floats, ...]:
    return uses.root, uses.variance, uses.light_snu, uses.raw_ber


def _merged(
    part: Floats, columns: Sequence[Floats], share: Floats
) -> tuple[Floats, ...]:
    """Return the fields of `Uses` for cells of which `part` is in one bin."""
    root, variance, light_snu, raw_ber = columns
    mean = np.sum(part * root, axis=0)
    # Of the roots about their mean: a difference of squares would lose it.
    about = np.sum(part * ((root - mean) ** 2 + variance), axis=0)
    arriving = np.sum(part * (root**2 + variance) * light_snu, axis=0)
    wrong = np.sum(part * raw_ber, axis=0)
    return mean, about, share, arriving / mean**2, wrong
