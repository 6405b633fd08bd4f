"""How transmittance is distributed when the spot wanders, breathes or scintillates.

Each distribution gives its mean, a quadrature (nodes and weights, for rates over
fading: average counts, not rates), and samples. Probabilities are of power.

CircularBeam is the model of Pechonkin, Klen and Semenov, arXiv:2507.12947 (2025): a
round spot whose area is log-normal and whose centre wanders independently, fitted
through the first two moments of the transmittance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from scqc.core.rng import stream
from sim_backends.propagation.coupling import (
    mean_square_transmittance,
    mean_transmittance,
    offset_transmittance,
)
from sim_backends.propagation.ranges import Floats, legendre_nodes, positive, within

# Of a Gaussian: what is farther out weighs less than 1e-16.
_REACH = 8.6
# Of a spot: at this many radii outside the aperture less than 1e-18 of it gets in.
_RIM = 4.6
_NODES = 20
_BREATHS = 24
# A spot that stands still wanders by this share of its radius.
_STILL = 1e-9
# Log-normal transmittance holds for aperture-averaged links up to this variance.
LOGNORMAL_LIMIT = 0.3
_WIDEST_LOG_AREA = 2.0


class Quadrature(NamedTuple):
    """Nodes and weights of a distribution; the weights sum to 1.

    Parameters
    ----------
    transmittance : ndarray, shape (..., n), float64 [1]
    weight : ndarray, shape (..., n), float64 [1]
    """

    transmittance: Floats
    weight: Floats

    def mean(self, power: float = 1.0) -> Floats:
        """Return the mean of a power of the transmittance, shape (...), float64 [1]."""
        return np.asarray(np.sum(self.weight * self.transmittance**power, axis=-1))


@dataclass(frozen=True, eq=False)
class WanderingSpot:
    """A round spot of fixed size whose centre wanders over an aperture.

    Parameters
    ----------
    aperture_radius_m, spot_m : array_like
        Radius of the aperture, 1/e^2 intensity radius of the spot [m].
    wander_m : array_like
        Standard deviation of the centre, per axis [m].
    boresight_m : array_like
        Distance of the mean centre from that of the aperture [m].
    obscuration_radius_m : array_like
        Of a disc in the middle of the aperture [m]; all broadcast.

    Raises
    ------
    ModelRangeError
        If a length is negative or no number.
    """

    aperture_radius_m: ArrayLike
    spot_m: ArrayLike
    wander_m: ArrayLike
    boresight_m: ArrayLike = 0.0
    obscuration_radius_m: ArrayLike = 0.0

    def __post_init__(self) -> None:
        self.mean()

    def mean(self) -> Floats:
        """Return the mean in closed form, broadcast shape, float64 [1]."""
        return mean_transmittance(
            self.aperture_radius_m,
            self.spot_m,
            self.wander_m,
            self.boresight_m,
            self.obscuration_radius_m,
        )

    def mean_square(self) -> Floats:
        """Return the mean of the square, broadcast shape, float64 [1].

        In closed form without a boresight error, else by quadrature.
        """
        if np.any(np.asarray(self.boresight_m) != 0.0):
            return self.quadrature().mean(2.0)
        return mean_square_transmittance(
            self.aperture_radius_m,
            self.spot_m,
            self.wander_m,
            self.obscuration_radius_m,
        )

    def quadrature(self, n_nodes: int = _NODES) -> Quadrature:
        """Return nodes and weights: Gauss-Legendre between the edges of all parts.

        Parameters
        ----------
        n_nodes : int
            Per part; 20 give means to 1e-10 [1].

        Returns
        -------
        Quadrature
            The last node stands for misses.
        """
        a_m, w_m, s_m, b_m, hole_m = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64)[..., None] for value in self._lengths)
        )
        s_m = np.maximum(s_m, _STILL * w_m)
        # In units of the wander from the mean centre: nothing cancels for small s.
        low = np.maximum(-b_m / s_m, -_REACH)
        inner = [a_m - _RIM * w_m, a_m]
        if np.any(hole_m > 0.0):
            inner += [hole_m - _RIM * w_m, hole_m, hole_m + _RIM * w_m]
        high = np.clip((a_m + _RIM * w_m - b_m) / s_m, low, _REACH)
        cuts = [(edge_m - b_m) / s_m for edge_m in inner]
        cuts += [np.full_like(low, cut) for cut in (-3.0, 0.0, 3.0)]
        edges = np.concatenate([low, *cuts, high], axis=-1)
        edges = np.sort(np.clip(edges, low, high), axis=-1)
        x, weight = legendre_nodes(n_nodes)
        half = 0.5 * np.diff(edges)[..., None]
        t = (edges[..., :-1, None] + half * (x + 1.0)).reshape(*edges.shape[:-1], -1)
        r_m = np.maximum(0.0, b_m + s_m * t)
        rice = r_m / s_m * np.exp(-0.5 * t**2) * special.i0e(r_m / s_m * (b_m / s_m))
        chance = (half * weight).reshape(t.shape) * rice
        missed = np.maximum(0.0, 1.0 - chance.sum(axis=-1, keepdims=True))
        share = offset_transmittance(r_m, a_m, w_m, hole_m)
        return Quadrature(
            np.concatenate([share, np.zeros_like(missed)], axis=-1),
            np.concatenate([chance, missed], axis=-1),
        )

    def sample(self, n: int, seed: int, name: str) -> Floats:
        """Draw transmittances.

        Parameters
        ----------
        n : int
            Draws per point [1].
        seed : int
        name : str
            Of the random stream.

        Returns
        -------
        ndarray, shape (..., n), float64 [1]
        """
        a_m, w_m, s_m, b_m, hole_m = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64)[..., None] for value in self._lengths)
        )
        random = stream(seed, name)
        x, y = random.standard_normal((2, *s_m.shape[:-1], n))
        return offset_transmittance(np.hypot(b_m + s_m * x, s_m * y), a_m, w_m, hole_m)

    @property
    def _lengths(self) -> tuple[ArrayLike, ...]:
        return (
            self.aperture_radius_m,
            self.spot_m,
            self.wander_m,
            self.boresight_m,
            self.obscuration_radius_m,
        )


@dataclass(frozen=True)
class CircularBeam:
    """A round spot of log-normal area whose centre wanders.

    Parameters
    ----------
    aperture_radius_m : float
    wander_m : float
        Standard deviation of the centre, per axis [m].
    log_area : float
        Mean of ln(w^2 / m^2) [1].
    log_area_sigma : float
        Its standard deviation, at most 2 [1].

    Raises
    ------
    ModelRangeError
        If a parameter is outside its range.
    """

    aperture_radius_m: float
    wander_m: float
    log_area: float
    log_area_sigma: float

    def __post_init__(self) -> None:
        positive("radius of the aperture [m]", self.aperture_radius_m)
        within("wander of the spot [m]", self.wander_m, (0.0, 1e12))
        within("mean of ln(w^2 / m^2) [1]", self.log_area, (-60.0, 60.0))
        limits = (0.0, _WIDEST_LOG_AREA)
        within("sigma of ln(w^2) [1]", self.log_area_sigma, limits)

    def mean(self) -> float:
        """Return the mean transmittance [1]."""
        spots_m, chance = self._breaths()
        shares = mean_transmittance(self.aperture_radius_m, spots_m, self.wander_m)
        return float(chance @ shares)

    def mean_square(self) -> float:
        """Return the mean of the squared transmittance [1].

        In closed form over the centre, by quadrature over the area.
        """
        spots_m, chance = self._breaths()
        squares = mean_square_transmittance(
            self.aperture_radius_m, spots_m, self.wander_m
        )
        return float(chance @ squares)

    def quadrature(self) -> Quadrature:
        """Return nodes and weights over area and centre, shape (n,) each."""
        spots_m, chance = self._breaths()
        spot = WanderingSpot(self.aperture_radius_m, spots_m, self.wander_m)
        nodes = spot.quadrature()
        weight = chance[:, None] * nodes.weight
        return Quadrature(nodes.transmittance.ravel(), weight.ravel())

    def sample(self, n: int, seed: int, name: str) -> Floats:
        """Draw from the random stream `name`, shape (n,), float64 [1]."""
        random = stream(seed, name)
        breath, x, y = random.standard_normal((3, n))
        spots_m = np.exp(0.5 * (self.log_area + self.log_area_sigma * breath))
        offset_m = self.wander_m * np.hypot(x, y)
        return offset_transmittance(offset_m, self.aperture_radius_m, spots_m)

    def _breaths(self) -> tuple[Floats, Floats]:
        x, weight = special.roots_hermitenorm(_BREATHS)
        spots_m = np.exp(0.5 * (self.log_area + self.log_area_sigma * x))
        return spots_m, weight / weight.sum()


def circular_beam(
    aperture_radius_m: float, wander_m: float, mean: float, mean_square: float
) -> CircularBeam:
    """Fit a circular beam to the first two moments of the transmittance.

    Parameters
    ----------
    aperture_radius_m : float
    wander_m : float
        Standard deviation of the centre, per axis [m].
    mean, mean_square : float
        Of the transmittance, measured or modelled [1].

    Returns
    -------
    CircularBeam

    Raises
    ------
    ModelRangeError
        If no spot size gives this mean, or no spread of it this mean square; names
        the range that can be reached.
    """
    # A vanishing spot still misses the aperture when its centre wanders past it.
    point = float(
        mean_transmittance(aperture_radius_m, 1e-6 * aperture_radius_m, wander_m)
    )
    limits = (1e-12, point * (1.0 - 1e-9))
    within("circular beam: mean transmittance [1]", mean, limits, "too much wander")

    def beam(sigma: float) -> CircularBeam:
        def excess(log_area: float) -> float:
            trial = CircularBeam(aperture_radius_m, wander_m, log_area, sigma)
            return math.log(trial.mean() / mean)

        middle = 2.0 * math.log(aperture_radius_m)
        found = optimize.brentq(excess, middle - 28.0, middle + 40.0, xtol=1e-13)
        return CircularBeam(aperture_radius_m, wander_m, float(found), sigma)

    def square(sigma: float) -> float:
        return beam(sigma).mean_square()

    reach = (square(0.0), square(_WIDEST_LOG_AREA))
    within("circular beam: mean squared transmittance [1]", mean_square, reach)
    if mean_square in reach:
        return beam(0.0 if mean_square == reach[0] else _WIDEST_LOG_AREA)
    sigma = optimize.brentq(
        lambda trial: square(trial) - mean_square, 0.0, _WIDEST_LOG_AREA, xtol=1e-12
    )
    return beam(float(sigma))


def lognormal_quadrature(
    mean: float, log_variance: float, n_nodes: int = 24
) -> Quadrature:
    """Return nodes and weights of weak, aperture-averaged scintillation.

    Parameters
    ----------
    mean : float
        Mean transmittance [1].
    log_variance : float
        Variance of the logarithm, at most `LOGNORMAL_LIMIT` [1].
    n_nodes : int
        Gauss-Hermite nodes [1].

    Returns
    -------
    Quadrature
        Of shape (n,); nodes beyond six sigma are left out.

    Raises
    ------
    ModelRangeError
        If the variance is not weak, or crests of six sigma exceed transmittance 1, or
        there are more than 24 nodes.
    """
    why = "log-normal statistics hold in weak turbulence, far from transmittance 1"
    within("log-normal fading: variance [1]", log_variance, (0.0, LOGNORMAL_LIMIT), why)
    sigma = math.sqrt(log_variance)
    crest = math.exp(6.0 * sigma - 0.5 * log_variance)
    within("log-normal fading: mean transmittance [1]", mean, (0.0, 1.0 / crest), why)
    # Up to 24 nodes those that weigh more than 1e-9 lie within six sigma.
    within("log-normal fading: nodes", n_nodes, (1, 24))
    x, weight = special.roots_hermitenorm(n_nodes)
    inside = np.abs(x) < 6.0
    x, weight = x[inside], weight[inside]
    share = mean * np.exp(sigma * x - 0.5 * log_variance)
    return Quadrature(share, weight / weight.sum())


def thinned(nodes: Quadrature, n_bins: int) -> Quadrature:
    """Merge a distribution into few nodes that keep its mean.

    Parameters
    ----------
    nodes : Quadrature
        Of shape (n,).
    n_bins : int
        Bins of equal probability at most [1].

    Returns
    -------
    Quadrature
        Of shape (n_bins,) at most, by rising transmittance; each node is the mean of
        its bin.

    Raises
    ------
    ModelRangeError
        If there is no bin.
    """
    within("bins of a distribution", n_bins, (1, 1e6))
    order = np.argsort(nodes.transmittance, kind="stable")
    weight = nodes.weight[order]
    reached = np.cumsum(weight) - 0.5 * weight
    bins: NDArray[np.intp] = np.minimum((reached * n_bins).astype(np.intp), n_bins - 1)
    total: Floats = np.zeros(n_bins)
    power: Floats = np.zeros(n_bins)
    np.add.at(total, bins, weight)
    np.add.at(power, bins, weight * nodes.transmittance[order])
    filled = total > 0.0
    return Quadrature(power[filled] / total[filled], total[filled])
