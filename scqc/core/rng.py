"""Two kinds of randomness that must never be mixed up.

*Simulation* uses numpy generators keyed by (seed, name): adding a stream never
shifts another. *Key material*, permutations and hash seeds come from an
`EntropySource`: the operating system, or `ReplayEntropy` to replay a failure
on a simulated bench. The two are different types, so handing a simulation
generator to security code is a type error.
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the simulation generator of purpose `name` under the run's `seed`."""
    key = zlib.crc32(name.encode())
    sequence = np.random.SeedSequence(seed, spawn_key=(key,))
    return np.random.Generator(np.random.SFC64(sequence))


class EntropySource(Protocol):
    """Source of bits for everything an eavesdropper must not guess."""

    @property
    def simulated(self) -> bool:
        """Whether keys made from this source are fit for simulation only."""
        ...

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes` fresh bytes."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    simulated = False

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes` fresh bytes."""
        return os.urandom(n_bytes)


class ReplayEntropy:
    """A repeatable source for replaying a failure; only under ``[sim]``.

    Parameters
    ----------
    seed : int
        The seed of the simulation.
    name : str
        Who draws: Alice's and Bob's streams are independent.
    """

    simulated = True

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        words = np.frombuffer(digest, dtype=np.uint32)
        self._generator = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([int(w) for w in words]))
        )

    def read(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` bytes of the stream."""
        return self._generator.bytes(n_bytes)


def random_bits(source: EntropySource, n_bits: int) -> NDArray[np.uint8]:
    """Draw uniform bits.

    Returns
    -------
    ndarray, shape (n_bits,), uint8 [bit]
    """
    raw = np.frombuffer(source.read((n_bits + 7) // 8), dtype=np.uint8)
    return np.unpackbits(raw, count=n_bits)


@numba.njit(cache=True, nogil=True)
def _box_muller(words: NDArray[np.uint64], out: NDArray[np.float32]) -> None:
    scale = 1.0 / 9007199254740992.0  # 2**-53
    for k in range(words.size // 2):
        u = ((words[2 * k] >> np.uint64(11)) + 1.0) * scale
        phase = 2.0 * math.pi * ((words[2 * k + 1] >> np.uint64(11)) * scale)
        radius = math.sqrt(-2.0 * math.log(u))
        out[2 * k] = radius * math.cos(phase)
        if 2 * k + 1 < out.size:
            out[2 * k + 1] = radius * math.sin(phase)


def standard_normal(source: EntropySource, n: int) -> NDArray[np.float32]:
    """Draw Gaussian variables of unit variance for the key modulation.

    53 uniform bits per variable and the Box-Muller transform: the tails are
    those of a double, not of a table.

    Returns
    -------
    ndarray, shape (n,), float32 [1]
    """
    out = np.empty(n, dtype=np.float32)
    step = 1 << 20
    for start in range(0, n, step):
        part = out[start : start + step]
        words = np.frombuffer(source.read(8 * (part.size + part.size % 2)), np.uint64)
        _box_muller(words, part)
    return out


def permutation(seed: bytes, n: int) -> NDArray[np.int64]:
    """Expand a public seed into a permutation both parties can repeat.

    Returns
    -------
    ndarray, shape (n,), int64 [1]
        A permutation of ``range(n)``.
    """
    words = np.frombuffer(hashlib.sha256(seed).digest(), dtype=np.uint32)
    sequence = np.random.SeedSequence([int(w) for w in words])
    return np.random.Generator(np.random.Philox(sequence)).permutation(n)
