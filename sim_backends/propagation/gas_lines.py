"""The spectral lines of oxygen and water vapour, from ITU-R P.676-13.

The table beside this module holds the numbers of Annex 1, Tables 1 and 2: the
centre of each line and six coefficients (a1 to a6 for oxygen, b1 to b6 for
water vapour). They equal those of P.676-12.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

MODEL = "ITU-R P.676-13 (08/2022), Annex 1, line by line"

_TABLE = "p676_13_lines.csv"


@dataclass(frozen=True, slots=True)
class LineTable:
    """Lines of one gas.

    Parameters
    ----------
    centre_ghz : ndarray, shape (n,), float64 [GHz]
    coefficients : ndarray, shape (n, 6), float64 [as in P.676]
    """

    centre_ghz: NDArray[np.float64]
    coefficients: NDArray[np.float64]


@lru_cache(maxsize=1)
def line_tables() -> tuple[LineTable, LineTable]:
    """Return the lines of oxygen (44) and of water vapour (35)."""
    text = files("sim_backends.propagation").joinpath(_TABLE).read_text("ascii")
    rows = list(csv.reader(x for x in text.splitlines() if not x.startswith("#")))
    return _of_gas(rows, "O2"), _of_gas(rows, "H2O")


def _of_gas(rows: list[list[str]], gas: str) -> LineTable:
    numbers = np.array([row[1:] for row in rows if row[0] == gas], dtype=np.float64)
    numbers.flags.writeable = False
    return LineTable(numbers[:, 0], numbers[:, 1:])
