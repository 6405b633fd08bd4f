"""A record that a run has seen before is of an old trigger, and never used.

An instrument whose trigger is stuck delivers its memory again. In form nothing is
wrong with such a record, but its light is that of another burst, or of another
shutter: a calibration that is secretly a signal makes the vacuum look larger and
the noise of an eavesdropper smaller. No two records of a real input are alike.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import SignalError

# That many values of noise are never the same twice, and a record of another
# length still begins with them.
COMPARED = 1 << 14
#: Records that are remembered [1]: far more than any instrument's memory holds, and
#: a service that runs for months does not grow.
REMEMBERED = 4096


@dataclass(slots=True)
class FreshRecords:
    """What has been recorded lately, as digests.

    Parameters
    ----------
    seen : dict of bytes to str
        What each record was, oldest first.
    """

    seen: dict[bytes, str] = field(default_factory=dict)

    def check(self, what: str, values: NDArray[np.generic]) -> None:
        """Remember a record, and refuse it if it was there before.

        Parameters
        ----------
        what : str
            For the message.
        values : ndarray, shape (n,), int16 [code] or int64 [ps]
            One that is constant tells nothing, and is not compared.

        Raises
        ------
        SignalError
            If it begins like an earlier one.
        """
        begin = np.ascontiguousarray(values[:COMPARED])
        if not begin.size or np.all(begin == begin[0]):
            return
        digest = hashlib.blake2b(begin.tobytes(), digest_size=16).digest()
        if digest in self.seen:
            before = self.seen[digest]
            raise SignalError(
                f"{what}: the record is the one of {before}: the trigger is stale"
            )
        self.seen[digest] = what
        if len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]
