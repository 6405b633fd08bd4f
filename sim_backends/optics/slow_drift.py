"""What changes slowly: phases, bias, fading, background, on one time grid.

An acquisition is divided into cells of bench time within which every slow
quantity is constant. Walks and fading run on from one acquisition to the next;
the random steps of each acquisition come from a stream of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import StateError
from scqc.core.rng import stream
from sim_backends.photon_settings import FadingSettings, PhotonChannelSettings

Floats = NDArray[np.float64]
MAX_CELL_S = 1e-3
# Cells per correlation time of the fading.
_CELLS_PER_CORRELATION = 20


@dataclass(frozen=True)
class Cells:
    """The time grid of one acquisition.

    Parameters
    ----------
    number : int
        Of the acquisition, from 0 [1].
    t0_s : float
        Bench time at which the acquisition began [s].
    cell_s : float
        Length of a cell [s].
    count : int
        Cells [1].
    """

    number: int
    t0_s: float
    cell_s: float
    count: int

    @property
    def centres_s(self) -> Floats:
        """Bench time of the cells' centres, shape (count,), float64 [s]."""
        middles = np.arange(self.count, dtype=np.float64) + 0.5
        return np.asarray(self.t0_s + self.cell_s * middles, dtype=np.float64)


def cell_length_s(fading: FadingSettings) -> float:
    """Return the length of a cell [s]: short against the fading."""
    if fading.kind in ("lognormal", "weibull"):
        return min(MAX_CELL_S, fading.correlation_time_s / _CELLS_PER_CORRELATION)
    return MAX_CELL_S


class Walk:
    """A random walk in bench time.

    Parameters
    ----------
    seed : int
    name : str
        Purpose of the walk; walks of different names are independent.
    rate_per_sqrt_s : float
        Standard deviation after one second [unit of the quantity].
    start : float
        Value at bench time zero.
    """

    def __init__(
        self, seed: int, name: str, rate_per_sqrt_s: float, start: float = 0.0
    ) -> None:
        self._seed, self._name, self._rate = seed, name, rate_per_sqrt_s
        self._value, self._time_s = start, 0.0

    def values(self, cells: Cells) -> Floats:
        """Return the walk, shape (count,), float64 [unit of the quantity]."""
        random = stream(self._seed, f"{self._name}/{cells.number}")
        gaps_s = np.full(cells.count, cells.cell_s)
        gaps_s[0] = max(0.0, cells.t0_s - self._time_s)
        steps = random.standard_normal(cells.count) * self._rate * np.sqrt(gaps_s)
        walk: Floats = self._value + np.cumsum(steps)
        self._value = float(walk[-1])
        self._time_s = cells.t0_s + (cells.count - 1) * cells.cell_s
        return walk


class CorrelatedNormal:
    """A stationary Gaussian process with exponential correlation, unit variance.

    g(t + dt) = rho g(t) + sqrt(1 - rho^2) n, rho = exp(-dt / correlation time)
    (Ornstein-Uhlenbeck): every cell has the exact marginal distribution.
    """

    def __init__(self, seed: int, name: str, correlation_time_s: float) -> None:
        self._seed, self._name = seed, name
        self._correlation_time_s = correlation_time_s
        self._value: float | None = None
        self._time_s = 0.0

    def values(self, cells: Cells) -> Floats:
        """Return the process, shape (count,), float64 [1]."""
        random = stream(self._seed, f"{self._name}/{cells.number}")
        fresh = random.standard_normal(cells.count)
        out: Floats = np.empty(cells.count)
        value = 0.0 if self._value is None else self._value
        gap_s = cells.t0_s - self._time_s
        rho = 0.0 if self._value is None else self._rho(gap_s)
        for i in range(cells.count):
            value = rho * value + math.sqrt(1.0 - rho * rho) * float(fresh[i])
            out[i] = value
            rho = self._rho(cells.cell_s) if i == 0 else rho
        self._value = value
        self._time_s = cells.t0_s + (cells.count - 1) * cells.cell_s
        return out

    def _rho(self, gap_s: float) -> float:
        return math.exp(-max(0.0, gap_s) / self._correlation_time_s)


def weibull_shape(
    aperture_radius_m: float, beam_radius_m: float
) -> tuple[float, float, float]:
    r"""Return (eta0, r0, gamma) of a beam that wanders across an aperture.

    .. math:: \eta(r) = \eta_0 \exp[-(r / r_0)^\gamma]

    approximates the share of a Gaussian beam of radius w that an aperture of
    radius a passes at a distance r from the beam's centre (Vasylyev, Semenov
    and Vogel, PRL 108, 220501 (2012)); exact at r = 0, within 0.02 elsewhere.

    Returns
    -------
    tuple of float
        Transmittance at the centre [1], scale [m], exponent [1].
    """
    # Brings special functions that other laboratories do without.
    from sim_backends.propagation.coupling import weibull_form

    form = weibull_form(aperture_radius_m, beam_radius_m)
    return float(form.centre), float(form.scale_m), float(form.exponent)


class Channel:
    """Transmittance and background as they vary with bench time."""

    def __init__(self, seed: int, settings: PhotonChannelSettings) -> None:
        self._settings = settings
        tau_s = settings.fading.correlation_time_s
        self._normals = tuple(
            CorrelatedNormal(seed, f"channel/fading/{axis}", tau_s) for axis in "xy"
        )
        table = np.array(settings.fading.pass_table, dtype=np.float64)
        self._pass = table.reshape(-1, 3).T

    def transmittance(self, cells: Cells) -> Floats:
        """Return the channel's transmittance, shape (count,), float64 [1].

        Raises
        ------
        StateError
            If a crest of the fading exceeds transmittance 1.
        """
        total: Floats = self._settings.mean_transmittance * self._fading(cells)
        if total.max() > 1.0:
            raise StateError(
                "world", "tags", f"channel transmittance {total.max():g} exceeds 1"
            )
        return total

    def _fading(self, cells: Cells) -> Floats:
        fading = self._settings.fading
        factor: Floats = np.ones(cells.count)
        if fading.kind == "lognormal":
            sigma = fading.log_sigma
            # E exp(s g) = exp(s^2 / 2).
            g = self._normals[0].values(cells)
            factor = np.exp(sigma * g - 0.5 * sigma**2)
        elif fading.kind == "weibull":
            eta0, r0_m, gamma = weibull_shape(
                fading.aperture_radius_m, fading.beam_radius_m
            )
            x, y = (normal.values(cells) for normal in self._normals)
            r_m = fading.pointing_sigma_m * np.hypot(x, y)
            factor = eta0 * np.exp(-((r_m / r0_m) ** gamma))
        elif fading.kind == "pass":
            time_s, loss_db, _ = self._pass
            now_s = cells.centres_s
            visible = (now_s >= time_s[0]) & (now_s <= time_s[-1])
            factor = visible * 10.0 ** (-np.interp(now_s, time_s, loss_db) / 10.0)
        return factor

    def background_hz(self, cells: Cells) -> Floats:
        """Return stray photons at Bob's input, shape (count,), float64 [Hz]."""
        settings, now_s = self._settings, cells.centres_s
        rate: Floats = settings.background_hz + (
            settings.background_slope_hz_per_s * now_s
        )
        if settings.fading.kind == "pass":
            rate = rate + np.interp(now_s, self._pass[0], self._pass[2])
        return rate
