"""What Alice prepared: raw key material, in a file of its own.

Mode 0600 from the first byte, never part of a report, never beside Bob's
samples in one file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store.checked_file import read_checked, write_checked
from scqc.store.files import capture_errors, refuse_shared

_MAGIC = b"SCQC-ALICE-1\n"
_MAX_BYTES = 1 << 34


@dataclass(frozen=True, slots=True)
class AliceBurst:
    """One burst as prepared; its repr prints no values.

    Parameters
    ----------
    symbols : ndarray, shape (n_symbols,), complex64 [sqrt(SNU)]
        Gaussian symbols.
    bits : ndarray, shape (n_bits,), uint8 [bit]
        Coded bits of the displacement, 0 or 1.
    """

    symbols: NDArray[np.complex64] = field(repr=False)
    bits: NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        if self.symbols.ndim != 1 or self.symbols.dtype != np.complex64:
            raise CaptureError(
                f"Alice's symbols: {self.symbols.dtype} of shape "
                f"{self.symbols.shape}, not complex64 (n,)"
            )
        if self.bits.ndim != 1 or self.bits.dtype != np.uint8:
            raise CaptureError(
                f"Alice's bits: {self.bits.dtype} of shape {self.bits.shape}, "
                "not uint8 (n,)"
            )
        if np.any(self.bits > 1):
            raise CaptureError("Alice's bits: values above 1")
        if not np.all(np.isfinite(self.symbols)):
            raise CaptureError("Alice's symbols: not finite")


def write_alice_record(path: Path, run_uuid: str, bursts: list[AliceBurst]) -> None:
    """Write Alice's record, mode 0600.

    Parameters
    ----------
    path : Path
        Must not exist yet.
    run_uuid : str
    bursts : list of AliceBurst

    Raises
    ------
    CaptureError
        If the file exists or cannot be written.
    """
    if path.exists():
        raise CaptureError(f"{path}: exists already; Alice's record is never redone")
    _write(path, run_uuid, bursts)


def _write(path: Path, run_uuid: str, bursts: list[AliceBurst]) -> None:
    header = {
        "run_uuid": run_uuid,
        "bursts": [
            {"n_symbols": burst.symbols.size, "n_bits": burst.bits.size}
            for burst in bursts
        ],
    }
    payload: list[bytes] = []
    for burst in bursts:
        payload.append(burst.symbols.astype("<c8", copy=False).tobytes())
        payload.append(np.packbits(burst.bits).tobytes())
    write_checked(path, _MAGIC, header, payload, 0o600)


def replace_alice_burst(path: Path, number: int, burst: AliceBurst) -> None:
    """Put a fresh burst in the place of one that was lost on its way.

    What was lost may have been seen by anybody; nothing is ever made of it.

    Parameters
    ----------
    path : Path
        Alice's record; replaced whole or not at all.
    number : int
    burst : AliceBurst
        Of the same size.

    Raises
    ------
    CaptureError
        If there is no such burst, or it has another size or the same symbols.
    """
    run_uuid, bursts = read_alice_record(path)
    if not 0 <= number < len(bursts):
        raise CaptureError(f"{path}: no burst {number}, there are {len(bursts)}")
    old = bursts[number]
    if (old.symbols.size, old.bits.size) != (burst.symbols.size, burst.bits.size):
        raise CaptureError(f"{path}: burst {number} has another size")
    if np.any(old.symbols == burst.symbols):
        raise CaptureError(f"{path}: burst {number} has symbols of the lost one")
    bursts[number] = burst
    _write(path, run_uuid, bursts)


def read_alice_record(path: Path) -> tuple[str, list[AliceBurst]]:
    """Read Alice's record.

    Returns
    -------
    run_uuid : str
    bursts : list of AliceBurst

    Raises
    ------
    CaptureError
        If the file is damaged, of another kind, or open to other users.
    """
    refuse_shared(path)
    header, payload = read_checked(path, _MAGIC, _MAX_BYTES)
    bursts, at = [], 0
    with capture_errors(path, "header"):
        run_uuid = str(header["run_uuid"])
        sizes = [(int(b["n_symbols"]), int(b["n_bits"])) for b in header["bursts"]]
    for n_symbols, n_bits in sizes:
        middle = at + 8 * n_symbols
        end = middle + (n_bits + 7) // 8
        if min(n_symbols, n_bits) < 0 or end > len(payload):
            raise CaptureError(f"{path}: a burst reaches beyond the end of the file")
        symbols = np.frombuffer(payload[at:middle], "<c8").astype(np.complex64)
        packed = np.frombuffer(payload[middle:end], np.uint8)
        bursts.append(AliceBurst(symbols, np.unpackbits(packed, count=n_bits)))
        at = end
    if at != len(payload):
        raise CaptureError(f"{path}: {len(payload) - at} bytes too many")
    return run_uuid, bursts
