"""From bounds and disclosures to a key length, for the photon-counting scheme."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from protocols.security.decoy import FAILURES, Bounds, binary_entropy
from scqc.core.errors import ProtocolAbort


@dataclass(frozen=True, slots=True)
class DecoyLedger:
    """Every bit that leaves the sifted key, from top to bottom.

    Parameters
    ----------
    sifted_bits : int
        Key-basis detections of all intensities.
    vacuum_bits, single_bits : float
        Those proven to come from no photon and from one.
    phase_bits : float
        What phase errors may have told about the single photons.
    mismatch_bits : float
        Allowance for detectors of different efficiency.
    published_bits : int
        Dimension that the published words fix: rows of the code, all frames. With
        Cascade: Alice's parities.
    revealed_bits : int
        Rows revealed later, after a first decoding failed. With Cascade: Bob's
        parities.
    verification_bits, flag_bits : int
        Tags; the flags Bob sent for every frame, and his count of errors.
    failed_bits : int
        What is still unknown of frames that did not reconcile: all of it goes.
    hashing_bits : float
        Finite-size term of the smoothing and of the hash, ``6 log2(21/eps)``.
    """

    sifted_bits: int
    vacuum_bits: float
    single_bits: float
    phase_bits: float
    mismatch_bits: float
    published_bits: int
    revealed_bits: int
    verification_bits: int
    flag_bits: int
    failed_bits: int
    hashing_bits: float

    @property
    def leak_bits(self) -> int:
        """Bits about the sifted key that were said in public."""
        return (
            self.published_bits
            + self.revealed_bits
            + self.verification_bits
            + self.flag_bits
            + self.failed_bits
        )

    @property
    def balance_bits(self) -> float:
        """What is left; negative when the block is too small or too noisy."""
        return (
            self.vacuum_bits
            + self.single_bits
            - self.phase_bits
            - self.mismatch_bits
            - self.leak_bits
            - self.hashing_bits
        )

    @property
    def secret_bits(self) -> int:
        """Length of the key, never negative and never above what was sifted."""
        return max(0, min(self.sifted_bits, math.floor(self.balance_bits)))

    def as_dict(self) -> dict[str, float]:
        """Return all entries and the sums, for reports."""
        entries: dict[str, float] = asdict(self)
        return entries | {
            "leak_bits": self.leak_bits,
            "balance_bits": self.balance_bits,
            "secret_bits": self.secret_bits,
        }


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What was said in public about the sifted key of a block [bit]."""

    published: int
    revealed: int
    verification: int
    flags: int
    failed: int


def key_length(
    sifted: int,
    bounds: Bounds,
    disclosed: Disclosed,
    secrecy: float,
    efficiency_mismatch: float = 0.0,
) -> DecoyLedger:
    """Return the ledger of a block, Lim et al. (2014) eq. (1).

    The tags are counted as leaked, so no ``log2(2/eps_cor)`` is subtracted. A
    frame that failed is counted as disclosed in full: then nothing depends on
    which frames failed.

    Parameters
    ----------
    sifted : int
        Key-basis detections of all intensities [bit].
    bounds : Bounds
        Computed with the same `secrecy`.
    disclosed : Disclosed
    secrecy : float
        Secrecy parameter [1].
    efficiency_mismatch : float
        Most by which the efficiencies of Bob's detectors may differ, relative
        to the larger; raises the phase error and costs that share of the key [1].

    Raises
    ------
    ProtocolAbort
        If a parameter is no probability.
    """
    for name, value in (("secrecy", secrecy), ("mismatch", 1.0 - efficiency_mismatch)):
        if not 0.0 < value <= 1.0:
            raise ProtocolAbort(f"security: {name} {value} is not in (0, 1]")
    phase = min(0.5, bounds.phase_error / (1.0 - efficiency_mismatch))
    return DecoyLedger(
        sifted_bits=sifted,
        vacuum_bits=bounds.vacuum,
        single_bits=bounds.single,
        phase_bits=bounds.single * binary_entropy(phase),
        mismatch_bits=sifted * efficiency_mismatch,
        published_bits=disclosed.published,
        revealed_bits=disclosed.revealed,
        verification_bits=disclosed.verification,
        flag_bits=disclosed.flags,
        failed_bits=disclosed.failed,
        hashing_bits=6.0 * math.log2(FAILURES / secrecy),
    )
