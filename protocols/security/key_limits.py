"""What stands between a link and a key, and by how much it must change.

Every cause is moved alone, all others unchanged, from where it is towards the best
it could ever be. The first value that gives a key is what is needed; if even the
best gives none, this cause alone cannot help.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from protocols.reconciliation.pairs import Pair
from protocols.security.cv_finite import Block, ledger_key
from protocols.security.cv_rates import Link, Receiver, rates
from protocols.security.decoy import Intensities
from protocols.security.displacement import Imperfections, displace
from protocols.security.dv_finite import PhotonBlock, expected_ledger
from protocols.security.dv_rates import Decoys, PhotonLink, gains, key_per_slot
from scqc.core.errors import ModelRangeError

Balance = Callable[[float], float]
_STEPS = 48


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that may be changed.

    Parameters
    ----------
    name : str
        With its unit as suffix.
    value : float
        Where it is.
    best : float
        The best it could be; values are tried evenly in the logarithm if both
        ends are positive, else evenly with a refinement towards `best`.
    balance : callable
        Key as a function of this cause alone; positive means a key.
    """

    name: str
    value: float
    best: float
    balance: Balance


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a cause alone would turn the key positive.

    Parameters
    ----------
    name : str
        With its unit as suffix.
    value : float
        Where it is.
    needed : float
        Where it must be; NaN if no value helps.
    gain : float
        Key at the best value, in the unit of the balance: the larger, the more
        this cause limits.
    """

    name: str
    value: float
    needed: float
    gain: float

    @property
    def possible(self) -> bool:
        """Whether this cause alone can give a key."""
        return not math.isnan(self.needed)

    def __str__(self) -> str:
        if not self.possible:
            return f"{self.name} = {self.value:.4g}: no value alone gives a key"
        return f"{self.name} = {self.value:.4g}: must be {self.needed:.4g}"


def turning_points(causes: Sequence[Cause]) -> list[Turn]:
    """Return what every cause alone must become, what limits most first.

    Those that can give a key alone come first, by the key that the best value
    would give.

    Parameters
    ----------
    causes : sequence of Cause
    """
    turns = [_turn(cause) for cause in causes]
    return sorted(turns, key=lambda turn: (not turn.possible, -turn.gain))


@dataclass(frozen=True, slots=True)
class CvPlan:
    """A displaced Gaussian link in numbers, one point.

    Parameters
    ----------
    link : Link
        Without the displacement's noise.
    receiver : Receiver
    raw_bit_error_rate : float
        That the displacement is set for; 0 for a link without classical bits [1].
    imperfections : Imperfections
    pair : Pair
        Of the reconciliation.
    block : Block or None
        None: endless.
    """

    link: Link
    receiver: Receiver
    raw_bit_error_rate: float
    imperfections: Imperfections
    pair: Pair
    block: Block | None = None


def cv_balance(plan: CvPlan) -> float:
    """Return the key of a plan [bit per symbol]; minus infinity if it cannot be set.

    Parameters
    ----------
    plan : CvPlan
    """
    link = plan.link
    if plan.raw_bit_error_rate:
        try:
            link = displace(
                link, plan.receiver, plan.raw_bit_error_rate, plan.imperfections
            ).on(link)
        except ModelRangeError:
            return -math.inf
    if plan.block is None:
        kept = 1.0 - plan.pair.fer
        key = kept * rates(link, plan.receiver).key_bits(plan.pair.beta)
    else:
        key = ledger_key(link, plan.receiver, plan.block, plan.pair).key_bits_per_symbol
    return float(key)


def cv_limits(plan: CvPlan) -> list[Turn]:
    """Return what limits the key of a displaced Gaussian link, most first.

    Parameters
    ----------
    plan : CvPlan
        Of one point: every number a scalar.
    """
    link, rough = plan.link, plan.imperfections
    loss_db = -10.0 * math.log10(float(link.transmittance))

    def linked(**changes: float) -> float:
        return cv_balance(replace(plan, link=replace(link, **changes)))

    def lost(db: float) -> float:
        return linked(transmittance=10 ** (-0.1 * db))

    def phase(sigma2: float) -> float:
        changed = replace(rough, phase_variance_rad2=sigma2)
        return cv_balance(replace(plan, imperfections=changed))

    def coded(beta: float) -> float:
        pair = replace(plan.pair, beta=np.asarray(beta))
        return cv_balance(replace(plan, pair=pair))

    causes = [
        Cause(
            "loss_db", loss_db, 0.0, lambda db: linked(transmittance=10 ** (-0.1 * db))
        ),
        Cause("xi_snu", float(link.xi_snu), 0.0, lambda xi: linked(xi_snu=xi)),
        Cause("phase_variance_rad2", float(rough.phase_variance_rad2), 0.0, phase),
        Cause("beta", float(plan.pair.beta), 1.0, coded),
        Cause(
            "environment_snu",
            float(link.environment_snu),
            1.0,
            lambda w: linked(environment_snu=w),
        ),
    ]
    if plan.block is not None:
        block = plan.block

        def sized(symbols: float) -> float:
            # Calibration stays the share of the block that it is.
            more = symbols / float(block.symbols) * float(block.calibration_samples)
            grown = replace(block, symbols=symbols, calibration_samples=min(more, 1e18))
            return cv_balance(replace(plan, block=grown))

        causes.append(Cause("block_symbols", float(block.symbols), 1e17, sized))
    return turning_points(causes)


def dv_limits(link: PhotonLink, decoys: Decoys) -> list[Turn]:
    """Return what limits the endless decoy key of one point, most first.

    Parameters
    ----------
    link : PhotonLink
        Of one point; a fading channel loses less in all its states alike.
    decoys : Decoys
    """

    def key(changed: PhotonLink, efficiency: float) -> float:
        better = replace(decoys, efficiency=efficiency)
        return float(key_per_slot(gains(changed, better), better))

    return turning_points(_photon_causes(link, float(decoys.efficiency), key))


def dv_block_limits(
    link: PhotonLink, intensities: Intensities, block: PhotonBlock
) -> list[Turn]:
    """Return what limits the decoy key of one finite block, most first.

    Parameters
    ----------
    link : PhotonLink
        Of one point; a fading channel loses less in all its states alike.
    intensities : Intensities
    block : PhotonBlock
    """

    def per_slot(changed: PhotonLink, used: PhotonBlock) -> float:
        ledger = expected_ledger(changed, intensities, used)
        return ledger.balance_bits / used.slots

    def key(changed: PhotonLink, efficiency: float) -> float:
        return per_slot(changed, replace(block, efficiency=efficiency))

    def sized(slots: float) -> float:
        return per_slot(link, replace(block, slots=slots))

    causes = _photon_causes(link, block.efficiency, key)
    return turning_points([*causes, Cause("block_slots", block.slots, 1e17, sized)])


def _photon_causes(
    link: PhotonLink, efficiency: float, key: Callable[[PhotonLink, float], float]
) -> list[Cause]:
    t = np.asarray(link.transmittance, dtype=np.float64)
    mean = float(t) if link.weights is None else float(np.dot(link.weights, t))

    def lost(db: float) -> float:
        scaled = np.minimum(1.0, t * 10 ** (-0.1 * db) / mean)
        return key(replace(link, transmittance=scaled), efficiency)

    def dark(y0: float) -> float:
        return key(replace(link, background_yield=y0), efficiency)

    def turned(wrong: float) -> float:
        return key(replace(link, misalignment=wrong), efficiency)

    return [
        Cause("loss_db", -10.0 * math.log10(mean), 0.0, lost),
        Cause("background_yield", float(link.background_yield), 0.0, dark),
        Cause("misalignment", float(link.misalignment), 0.0, turned),
        Cause("efficiency", efficiency, 1.0, lambda f: key(link, f)),
    ]


def _turn(cause: Cause) -> Turn:
    """Walk towards the best value, then halve the step in which the sign changes."""
    best = cause.balance(cause.best)
    before = cause.value
    if cause.balance(before) > 0.0:
        return Turn(cause.name, cause.value, cause.value, best)
    for value in _path(cause.value, cause.best):
        if cause.balance(value) > 0.0:
            return Turn(cause.name, cause.value, _bisect(cause, before, value), best)
        before = value
    return Turn(cause.name, cause.value, math.nan, best)


def _path(value: float, best: float) -> list[float]:
    """Return values from next to `value` to `best`."""
    steps = np.linspace(0.0, 1.0, _STEPS + 1)[1:]
    if min(value, best) > 0.0:
        return [float(v) for v in value * (best / value) ** steps[:-1]] + [best]
    # Towards zero by the decade, as what is needed may be next to nothing.
    return [best + (value - best) * 10 ** (-12.0 * float(s)) for s in steps] + [best]


def _bisect(cause: Cause, without: float, with_key: float) -> float:
    for _ in range(60):
        middle = 0.5 * (without + with_key)
        if cause.balance(middle) > 0.0:
            with_key = middle
        else:
            without = middle
    return with_key
