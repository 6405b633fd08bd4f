"""What both parties of the photon-counting scheme compute alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.slots import VACUUM, X, Z
from protocols.schemes.direct import SoftWord
from protocols.security.decoy import Bounds, Counts, check_consistency, estimate
from protocols.security.decoy_length import DecoyLedger, Disclosed, key_length
from protocols.settings import DecoySettings, PhotonSecuritySettings
from protocols.verification.tags import TAG_BITS, collision_probability
from scqc.core.errors import ErrorRateAbort, PeerError, ProtocolAbort
from scqc.core.rng import permutation

#: Standard deviations from which on a difference is none of chance's.
CLEAR_SIGMAS = 4.0
#: A key shorter than this is not worth a block.
MINIMUM_KEY_BITS = 256


@dataclass(frozen=True, slots=True)
class Received:
    """What Bob detected in a block, public slots left out.

    Parameters
    ----------
    n_slots : int
        Slots of the block [1].
    places : ndarray, shape (n,), int64 [1]
        Rising slot numbers.
    bases : ndarray, shape (n,), uint8 [0 for Z, 1 for X]
    bits : ndarray, shape (n,), uint8 [bit]
        Never printed.
    word : SoftWord or None
        With direct encoding: what Bob decoded, before he announced anything.
    public_key_sample : tuple of int
        Errors and detections of the key basis in public slots [1].
    """

    n_slots: int
    places: NDArray[np.int64] = field(repr=False)
    bases: NDArray[np.uint8] = field(repr=False)
    bits: NDArray[np.uint8] = field(repr=False)
    word: SoftWord | None = None
    public_key_sample: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Sifted:
    """Detections in matching bases, as both parties index them.

    Parameters
    ----------
    key : ndarray, shape (n_key,), int64 [1]
        Positions among the announced detections, in the public random order.
    check : ndarray, shape (n_check,), int64 [1]
        Positions where both used the check basis, in order of time.
    intensities : ndarray, shape (n_detections,), uint8 [0 signal, 1 decoy, 2 vacuum]
        Of all announced detections.
    """

    key: NDArray[np.int64]
    check: NDArray[np.int64]
    intensities: NDArray[np.uint8]

    def key_counts(self, n_used: int) -> tuple[int, int, int]:
        """Return how many of the first `n_used` key detections each intensity has."""
        return by_intensity(self.intensities[self.key[:n_used]])

    def check_counts(self) -> tuple[int, int, int]:
        """Return the check detections by intensity."""
        return by_intensity(self.intensities[self.check])


@dataclass(frozen=True, slots=True)
class Disclosure:
    """The public history of reconciliation, in counts.

    Parameters
    ----------
    n_bits : int
        Length of a frame [bit].
    rows : ndarray, shape (n_frames,), int64 [bit]
        Checks disclosed about every frame, in the end; with Cascade the parities
        announced by either party, both counted.
    published : int
        How many of them were Alice's from the start: the first checks of all
        frames, or with Cascade all her parities [bit].
    rounds : int
        How often a flag was sent for every frame [1].
    accepted : ndarray, shape (n_frames,), bool
    verifications : int
        How often tags of all frames were sent [1].
    """

    n_bits: int
    rows: NDArray[np.int64]
    published: int
    rounds: int
    accepted: NDArray[np.bool_]
    verifications: int = 1

    @property
    def used(self) -> int:
        """Key detections that went into frames [1]."""
        return self.n_bits * self.accepted.size

    def counts(self) -> Disclosed:
        """Return what was said about the sifted key [bit]."""
        frames = self.accepted.size
        tag_bits = TAG_BITS * frames * self.verifications
        # Both parties' parities may be more than the bits of a frame.
        unknown = np.maximum(self.n_bits - self.rows, 0)
        return Disclosed(
            published=self.published,
            revealed=int(np.sum(self.rows)) - self.published,
            verification=tag_bits,
            # Bob tells how many errors he corrected: a number up to `used`.
            flags=frames * self.rounds + self.used.bit_length(),
            failed=int(np.sum(unknown[~self.accepted])),
        )


@dataclass(frozen=True, slots=True)
class PhotonDistillation:
    """Everything that fixes the length of the key.

    Parameters
    ----------
    key, check : Counts
        By intensity; the key basis without its errors, which nobody discloses.
    bounds : Bounds
    ledger : DecoyLedger
    epsilon : float
        Total security parameter reached [1].
    """

    key: Counts
    check: Counts
    bounds: Bounds
    ledger: DecoyLedger
    epsilon: float

    @property
    def secret_bits(self) -> int:
        """Length of the key; zero below the smallest useful key."""
        bits = self.ledger.secret_bits
        return bits if bits >= MINIMUM_KEY_BITS else 0


def by_intensity(intensities: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Count signal, decoy and vacuum.

    Parameters
    ----------
    intensities : ndarray, shape (n,), uint8 [0 signal, 1 decoy, 2 vacuum]
    """
    signal, decoy, vacuum = np.bincount(intensities, minlength=3)[:3]
    return int(signal), int(decoy), int(vacuum)


def sift(
    alice: NDArray[np.uint8],
    bob: NDArray[np.uint8],
    intensities: NDArray[np.uint8],
    seed: bytes,
) -> Sifted:
    """Sort the announced detections into key, check and mismatched bases.

    The key detections are put into a public random order: a burst of errors is
    spread over all frames, and what is left over beyond the last whole frame is
    a fair sample.

    Parameters
    ----------
    alice, bob : ndarray, shape (n,), uint8 [0 for Z, 1 for X]
        Bases.
    intensities : ndarray, shape (n,), uint8 [0 signal, 1 decoy, 2 vacuum]
    seed : bytes, 32 bytes
        Public, drawn after Bob announced.

    Raises
    ------
    PeerError
        If an intensity is none of the three.
    """
    if intensities.max(initial=0) > VACUUM:
        raise PeerError("preparation: an intensity that does not exist")
    key = np.flatnonzero((alice == Z) & (bob == Z))
    check = np.flatnonzero((alice == X) & (bob == X))
    return Sifted(key[permutation(seed, key.size)], check, intensities)


def check_basis(
    sifted: Sifted,
    errors: tuple[int, int, int],
    pulses: DecoySettings,
    security: PhotonSecuritySettings,
) -> Counts:
    """Return the counts of the check basis, or end the run.

    Raises
    ------
    ProtocolAbort
        If the error rate is above the limit, nothing was detected, or the
        counts contradict each other.
    """
    check = Counts(sifted.check_counts(), errors)
    if check.total == 0 or sifted.key.size == 0:
        raise ProtocolAbort(
            f"sifting: {sifted.key.size} detections in the key basis and "
            f"{check.total} in the check basis; both are needed"
        )
    refuse_errors("X", check.error_rate, security)
    everything = Counts(sifted.key_counts(sifted.key.size), (0, 0, 0))
    check_consistency(everything, check, pulses.intensities)
    return check


def expected_errors(
    check: Counts, sample: tuple[int, int], security: PhotonSecuritySettings
) -> tuple[float, int]:
    """Return the error rate to expect in the key basis, and the bits it is told by.

    It is that of the check basis, unless the public slots clearly say worse: then
    the two interferometers differ.

    Parameters
    ----------
    check : Counts
    sample : tuple of int
        Errors and detections of the key basis in public slots.
    security : PhotonSecuritySettings

    Raises
    ------
    PeerError
        If there are more errors than detections.
    ProtocolAbort
        If the public slots alone say that the rate is above the limit.
    """
    errors, counts = sample
    if errors > counts:
        raise PeerError(f"public slots: {errors} errors in {counts} detections")
    if counts == 0:
        return check.error_rate, check.total
    rate = errors / counts
    sigma = math.sqrt(rate * (1.0 - rate) / counts)
    refuse_errors("Z", rate - CLEAR_SIGMAS * sigma, security)
    if rate - CLEAR_SIGMAS * sigma > check.error_rate:
        return rate, counts
    return check.error_rate, check.total


def refuse_errors(basis: str, rate: float, security: PhotonSecuritySettings) -> None:
    """End the run when the error rate of a basis is above the limit.

    Raises
    ------
    ErrorRateAbort
    """
    if rate > security.max_error_rate:
        raise ErrorRateAbort(
            f"error rate {rate:.2%} in basis {basis}, limit "
            f"{security.max_error_rate:.2%}: no key and no message; check the "
            "interferometers, or somebody listens"
        )


def distil(
    sifted: Sifted,
    check: Counts,
    disclosure: Disclosure,
    pulses: DecoySettings,
    security: PhotonSecuritySettings,
) -> PhotonDistillation:
    """Bound the single photons and count the key, on either side.

    Raises
    ------
    ProtocolAbort
        If the tags are too short for the number of frames.
    """
    frames = disclosure.accepted.size
    collision = frames * collision_probability(disclosure.n_bits)
    collision *= disclosure.verifications
    secrecy = 0.5 * security.epsilon
    if collision > secrecy:
        raise ProtocolAbort(
            f"verification: collision probability {collision:.2g} of {frames} tags, "
            f"limit {secrecy:.2g}"
        )
    key = Counts(sifted.key_counts(disclosure.used), (0, 0, 0))
    bounds = estimate(key, check, pulses.intensities, secrecy, security.bounds)
    ledger = key_length(
        key.total, bounds, disclosure.counts(), secrecy, security.efficiency_mismatch
    )
    return PhotonDistillation(key, check, bounds, ledger, secrecy + collision)
