"""Which passes a telescope follows: no two at a time, and the best of them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def without_overlap(
    spans_s: Sequence[tuple[float, float]], worth: Sequence[float]
) -> list[int]:
    """Choose spans that do not overlap and are worth most together.

    Weighted interval scheduling (Kleinberg and Tardos, Algorithm Design, section
    6.1): in the order of their ends, the best choice among the first k spans either
    leaves the k-th out, or takes it with the best of those that end before it begins.

    Parameters
    ----------
    spans_s : sequence of (begin, end)
        Times [s]; one may begin where another ends.
    worth : sequence of float
        Of each span, not negative.

    Returns
    -------
    list of int
        Indices of the chosen spans, rising.
    """
    order = sorted(range(len(spans_s)), key=lambda i: spans_s[i][1])
    ends = [spans_s[i][1] for i in order]
    best = [0.0]
    before = []
    for k, i in enumerate(order):
        before.append(bisect.bisect_right(ends, spans_s[i][0], 0, k))
        best.append(max(best[k], best[before[k]] + worth[i]))
    chosen, k = [], len(order)
    while k > 0:
        taken = best[before[k - 1]] + worth[order[k - 1]]
        if taken >= best[k - 1]:
            chosen.append(order[k - 1])
            k = before[k - 1]
        else:
            k -= 1
    return sorted(chosen)
