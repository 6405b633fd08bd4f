"""Which samples of a converter are clipped, when its width is not known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Codes are left-aligned in 16 bits. One step of an 8-bit converter below the
# rails counts as clipped, so that every width is covered.
RAIL_CODE = 32767 - 255


def count_rails(codes: NDArray[np.int16]) -> int:
    """Count samples on the converter's rails [1].

    Parameters
    ----------
    codes : ndarray, shape (n,), int16 [code]
    """
    if codes.size == 0 or (codes.max() < RAIL_CODE and codes.min() > -RAIL_CODE):
        return 0
    on_rail = (codes >= RAIL_CODE) | (codes <= -RAIL_CODE)
    return int(np.count_nonzero(on_rail))
