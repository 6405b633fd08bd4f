r"""Keys of finite blocks: the ledger of the bench, filled with expectations.

The default, `ledger_key`, is what the program itself will do with such a block:
every symbol counts for the estimate, which is made after reconciliation; the
Holevo bound is taken at the worst corner of the confidence box; frames fail and
are disclosed; every disclosed bit is subtracted. It evaluates the kernels that
`protocols.security.composable` and `protocols.estimation.channel` evaluate.

Two other forms exist for comparison and are never a default: the composable rate
of the literature (`literature_rate`), and the plain penalty that published curves
follow (`penalised_rate`).

References
----------
.. [1] S. Pirandola, Phys. Rev. Research 3, 043014 (2021): composable rates.
.. [2] A. G. Mountogiannakis et al., Phys. Rev. Research 4, 013099 (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.reconciliation.pairs import Pair
from protocols.security.composable import (
    EpsilonBudget,
    aep_correction,
    box_sigmas,
    estimation_bits,
    hashing_cost,
    log2_acceptance,
    split_epsilon,
)
from protocols.security.cv_rates import (
    Direction,
    Floats,
    Link,
    Rates,
    Receiver,
    check_range,
    rates,
)
from protocols.security.gaussian_kernels import fill_worst
from scqc.core.errors import ModelRangeError

#: Bit classes that statistics are told for: two per quadrature [1].
_CLASSES = 4


@dataclass(frozen=True, slots=True)
class Block:
    """Size of a block and how it is used.

    Parameters
    ----------
    symbols : float or ndarray, shape (...)
        That carry key, all of one block [1].
    calibration_samples : float or ndarray, shape (...)
        Real samples behind each of shot and electronic noise; with as many as
        there are symbols, calibration takes as long as transmission [1].
    epsilon : EpsilonBudget
    """

    symbols: Floats
    calibration_samples: Floats = 1e12
    epsilon: EpsilonBudget = field(default_factory=lambda: split_epsilon(1e-10))


@dataclass(frozen=True, slots=True)
class FiniteKey:
    """The ledger of every point, per block.

    Parameters
    ----------
    symbols : ndarray, shape (...), float64 [1]
    kept_bits : ndarray, shape (...), float64 [bit]
        Raw bits of frames that reconciled.
    leak_bits : ndarray, shape (...), float64 [bit]
        Disclosed about them.
    holevo_bits : ndarray, shape (...), float64 [bit]
        At the worst corner; infinite where the block is too small to tell the
        transmittance from nothing.
    aep_bits : ndarray, shape (...), float64 [bit]
    hashing_bits : ndarray, shape (...), float64 [bit]
    epsilon : float
        Total security parameter [1].
    """

    symbols: NDArray[np.float64]
    kept_bits: NDArray[np.float64]
    leak_bits: NDArray[np.float64]
    holevo_bits: NDArray[np.float64]
    aep_bits: NDArray[np.float64]
    hashing_bits: NDArray[np.float64]
    epsilon: float

    @property
    def balance_bits(self) -> NDArray[np.float64]:
        """What is left, shape (...); negative where there is no key [bit]."""
        return np.asarray(
            self.kept_bits
            - self.leak_bits
            - self.holevo_bits
            - self.aep_bits
            - self.hashing_bits
        )

    @property
    def secret_bits(self) -> NDArray[np.float64]:
        """Whole bits of key per block, shape (...); zero without key [bit]."""
        return np.maximum(0.0, np.floor(self.balance_bits))

    @property
    def key_bits_per_symbol(self) -> NDArray[np.float64]:
        """Balance over symbols, shape (...) [bit]; may be negative."""
        return np.asarray(self.balance_bits / self.symbols)


def ledger_key(link: Link, receiver: Receiver, block: Block, pair: Pair) -> FiniteKey:
    """Return the ledger that a block of this size is expected to end with.

    Parameters
    ----------
    link : Link
        With a vacuum source. Heat and phase noise count as excess noise here, as
        they do for the program that measures them.
    receiver : Receiver
        Efficiency and electronic noise trusted both or neither, as on the bench.
    block : Block
    pair : Pair
        From `protocols.reconciliation.pairs`.

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical, or the bench has no such receiver.
    """
    trusted = _bench_receiver(link, receiver)
    check_range("symbols of a block", block.symbols, 100.0, 1e18)
    check_range("calibration samples", block.calibration_samples, 1000.0, 1e18)
    raw = receiver.mu * np.asarray(block.symbols, dtype=np.float64)
    frames = raw / pair.frame_bits
    kept = raw * (1.0 - pair.fer)
    capacity = 0.5 * np.log1p(rates(link, receiver).snr) / math.log(2.0)
    # Flags: one per frame and, at most, one more for its retry.
    leak = kept * (1.0 - pair.beta * capacity)
    leak = leak + kept / pair.frame_bits * pair.extra_bits + 2.0 * frames
    leak = leak + estimation_bits(_CLASSES, bursts=1)
    accepted = log2_acceptance(frames, pair.fer)
    parts = block.epsilon
    columns = _writable(
        block.symbols,
        kept,
        leak,
        kept / receiver.mu * _worst_holevo(link, receiver, block, trusted),
        aep_correction(kept, accepted, math.log2(parts.smoothing)),
        hashing_cost(accepted, parts.smoothing, parts.hashing),
    )
    symbols, kept, leak, holevo, aep, hashing = columns
    return FiniteKey(symbols, kept, leak, holevo, aep, hashing, parts.total)


@dataclass(frozen=True, slots=True)
class LiteratureSettings:
    """Constants of the composable rate as the literature writes it.

    Parameters
    ----------
    estimation_share : float
        Symbols that are disclosed for the estimate [1].
    accepted : float
        Probability that a block is accepted, ``1 - FER`` there [1].
    digits : float
        Bits per quadrature that the key's alphabet is counted with [bit].
    smoothing, hashing, correctness, estimation : float
        Security parameters [1].
    """

    estimation_share: float = 0.1
    accepted: float = 0.9
    digits: float = 6.0
    smoothing: float = 2.0**-33
    hashing: float = 2.0**-33
    correctness: float = 2.0**-33
    estimation: float = 2.0**-33


def literature_rate(
    link: Link,
    receiver: Receiver,
    beta: Floats,
    symbols: Floats,
    settings: LiteratureSettings,
    direction: Direction = "reverse",
) -> NDArray[np.float64]:
    r"""Return :math:`p \frac{n}{N}(\beta I - \chi - \Delta/\sqrt n + \Theta/n)`.

    Shape (...) [bit per symbol]; negative without key, minus infinity where the
    estimate says nothing. [1], [2], with two corrections: the variance of a noise
    estimate goes with the square of the noise, and with one over ``M D``.

    Parameters
    ----------
    link : Link
        With a vacuum source.
    receiver : Receiver
    beta : float or ndarray, shape (...)
        [1]
    symbols : float or ndarray, shape (...)
        Of a block, disclosed ones included [1].
    settings : LiteratureSettings
    direction : {"reverse", "direct"}

    Raises
    ------
    ModelRangeError
        If nothing is disclosed, or a parameter is unphysical.
    """
    check_range("disclosed share", settings.estimation_share, 1e-9, 1.0 - 1e-9)
    d = receiver.mu
    disclosed = settings.estimation_share * np.asarray(symbols, dtype=np.float64)
    n = symbols - disclosed
    w = math.sqrt(2.0 * math.log(1.0 / settings.estimation))
    t, eta = np.asarray(link.transmittance), np.asarray(receiver.efficiency)
    noise = eta * t * _all_noise(link)
    total = noise + d * np.asarray(receiver.electronic_snu) + d
    ratio = total / (eta * t * link.modulation_snu)
    t_low = t - w * np.sqrt(4.0 * t**2 / (disclosed * d) * ratio)
    noise_high = noise + w * np.sqrt(2.0 / (disclosed * d)) * total
    sure = t_low > 0.0
    t_low = np.where(sure, t_low, t)
    xi_high = noise_high / (eta * t_low)
    check_range("variance of the source [SNU]", link.source_snu, 1.0, 1.0)
    expected = rates(link, receiver, direction)
    worst = rates(Link(t_low, link.modulation_snu, xi_high), receiver, direction)
    alphabet = 2.0 ** (settings.digits * d / 2.0)
    delta = 4.0 * math.log2(alphabet + 2.0)
    delta *= math.sqrt(math.log2(2.0 / settings.smoothing**2))
    theta = math.log2(2.0 * settings.correctness * settings.hashing**2)
    each = beta * expected.information_bits - worst.holevo_bits
    each = each - delta / np.sqrt(n) + theta / n
    rate = settings.accepted * n / symbols * each
    return np.where(sure, rate, -np.inf)


def penalised_rate(
    asymptotic: Rates,
    beta: Floats,
    symbols: Floats,
    penalty: float = 49.0,
    accepted: float = 0.9,
) -> NDArray[np.float64]:
    r"""Return :math:`p\,(\beta I - \chi - P/\sqrt N)`, shape (...) [bit per symbol].

    The form that published satellite curves follow; it proves nothing, because
    neither noise nor transmittance is estimated.

    Parameters
    ----------
    asymptotic : Rates
    beta, symbols : float or ndarray, shape (...)
        [1]
    penalty : float
        [bit per square root of a symbol]
    accepted : float
        [1]
    """
    check_range("symbols of a block", symbols, 1.0, 1e18)
    lost = penalty / np.sqrt(np.asarray(symbols, dtype=np.float64))
    return np.asarray(accepted * (asymptotic.key_bits(beta) - lost))


def _writable(*values: Floats) -> list[NDArray[np.float64]]:
    return [np.array(a, dtype=np.float64) for a in np.broadcast_arrays(*values)]


def _all_noise(link: Link) -> NDArray[np.float64]:
    """Return phase, heat and what else there is as noise at the channel's input."""
    t = np.asarray(link.transmittance, dtype=np.float64)
    heat = (1.0 - t) / t * np.subtract(link.environment_snu, 1.0)
    return np.asarray(heat + link.xi_snu + link.phase_xi_snu)


def _bench_receiver(link: Link, receiver: Receiver) -> bool:
    """Return whether the receiver is trusted; refuse what the bench has not."""
    rates(link, receiver)  # refuses what is unphysical
    check_range("variance of the source [SNU]", link.source_snu, 1.0, 1.0)
    trust = receiver.trust
    if trust.efficiency != trust.electronic or trust.phase:
        raise ModelRangeError(
            "trusted parts of the receiver",
            float(trust.efficiency + trust.electronic + trust.phase),
            (0.0, 2.0),
            "efficiency and electronic noise both or neither, phase noise not",
        )
    return trust.efficiency


def _worst_holevo(
    link: Link, receiver: Receiver, block: Block, trusted: bool
) -> NDArray[np.float64]:
    """Return Eve's information at the worst corner, shape (...) [bit per symbol].

    Standard deviations as `protocols.estimation.channel` has them.
    """
    mu, t = receiver.mu, np.asarray(link.transmittance, dtype=np.float64)
    nu = np.asarray(receiver.electronic_snu, dtype=np.float64)
    raw, shot = mu * np.asarray(block.symbols), np.asarray(block.calibration_samples)
    gain = receiver.efficiency * t / mu
    noise = gain * _all_noise(link)
    rest = 1.0 + nu + noise
    shot_part, dark_part = 2.0 / shot * (1.0 + nu) ** 2, 2.0 / shot * nu**2
    slope_part = 4.0 * rest / (raw * link.modulation_snu * gain)
    sigmas = box_sigmas(block.epsilon.estimation)
    columns = np.broadcast_arrays(
        link.modulation_snu,
        t,
        sigmas * t * np.sqrt(slope_part + shot_part + dark_part),
        noise + sigmas * np.sqrt(2.0 / raw * rest**2 + shot_part),
        nu,
        sigmas * np.sqrt(dark_part * (1.0 + nu) ** 2 + shot_part * nu**2),
        receiver.efficiency,
    )
    flat = tuple(np.array(c, dtype=np.float64).ravel() for c in columns)
    out = np.empty(flat[0].size)
    fill_worst(flat, mu == 2.0, trusted, out)
    return out.reshape(columns[0].shape)
