r"""What turbulence does to the spot: spreading and wander, and pointing.

Models that go by these names in the literature differ by factors; every one here is
named. Second moments tie them together: a spot of short-term radius :math:`w_{st}`
whose centre wanders with the variance :math:`\sigma^2` per axis has the long-term
radius :math:`w_{lt}^2 = w_{st}^2 + 4 \sigma^2`.

Spreading (`spot_m`):

vacuum
    diffraction alone;
fante-yura-short
    :math:`w_d^2 + 2 (\lambda z / \pi \rho_0)^2 (1 - \phi)^2`, :math:`\phi = 0.33
    (\rho_0/w_0)^{1/3}` (Fante, Proc. IEEE 63, 1669 (1975); Yura, JOSA 63, 567 (1973)).
    Yura's form is for small phi; from phi = 1 on the beam tilts as a whole, and this
    term is zero;
fante-yura-long
    :math:`w_d^2 + 2 (\lambda z / \pi \rho_0)^2`;
andrews-phillips
    :math:`w_d^2 (1 + 1.63 \sigma_R^{12/5} \Lambda)`, long-term,
    :math:`\Lambda = 2 z / (k w_d^2)` (Andrews and Phillips, Laser Beam Propagation
    through Random Media, 2005; for level paths, though papers on satellites use it).

Wander, variance per axis (`wander_variance_m2`):

geometric
    mean tilt of a Gaussian spot, light as rays: :math:`2.284 \int C_n^2 (z -
    \xi)^2 w(\xi)^{-1/3} d\xi`, the number being :math:`0.033 \pi^2 \Gamma(1/6)
    4^{1/6}`; on a level path 0.96 C_n^2 z^3 (2 w_0)^{-1/3}, as Churnside and
    Lataitis, Appl. Opt. 29, 926 (1990), have it (0.97);
fante-yura
    :math:`(w_{lt}^2 - w_{st}^2) / 4` to first order in phi;
as-published
    :math:`0.1337 \lambda^2 z^2 w_0^{-1/3} \rho_0^{-5/3}` per axis (Pirandola, PRR 3,
    023130 (2021)): the whole of :math:`w_{lt}^2 - w_{st}^2`, four times fante-yura.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sim_backends.propagation.beam import Transmitter
from sim_backends.propagation.ranges import Floats, positive, within
from sim_backends.propagation.turbulence import (
    Direction,
    TurbulentPath,
    is_down,
    spherical_coherence_m,
)

Spreading = Literal["vacuum", "fante-yura-short", "fante-yura-long", "andrews-phillips"]
Wander = Literal["none", "geometric", "fante-yura", "as-published"]

# Half (one axis of two) of 2 pi times the integral of kappa^2 Phi_n exp(-kappa^2 w^2/4)
# over the plane of wave vectors, Phi_n = 0.033 kappa^(-11/3), at w = 1.
GEOMETRIC = 0.033 * math.pi**2 * math.gamma(1.0 / 6.0) * 4.0 ** (1.0 / 6.0)
_YURA = 0.33
_PUBLISHED = 0.1337


def spot_m(
    sender: Transmitter,
    path: TurbulentPath,
    direction: Direction,
    model: Spreading,
    rytov: ArrayLike = 0.0,
) -> Floats:
    """Return the 1/e^2 intensity radius of the spot behind turbulence.

    Parameters
    ----------
    sender : Transmitter
    path : TurbulentPath
    direction : {"downlink", "uplink"}
    model : Spreading
        See the module.
    rytov : array_like
        Rytov variance for ``andrews-phillips``; broadcasts with the path [1].

    Returns
    -------
    ndarray, broadcast shape, float64 [m]

    Raises
    ------
    ModelRangeError
        If the Rytov variance is negative.
    """
    z_m = path.length_m
    w_m = sender.spot_m(z_m)
    if model == "vacuum":
        return w_m
    if model == "andrews-phillips":
        variance = within("Rytov variance [1]", rytov, (0.0, 1e4))
        fresnel = 2.0 * z_m / (sender.wave_number * w_m**2)
        return np.asarray(w_m * np.sqrt(1.0 + 1.63 * variance**1.2 * fresnel))
    if model not in ("fante-yura-short", "fante-yura-long"):
        raise ValueError(f"spreading = {model!r}: not a model of this module")
    rho_m = spherical_coherence_m(path, sender.wavelength_m, direction)
    spread_m2 = 2.0 * (sender.wavelength_m * z_m / (math.pi * rho_m)) ** 2
    if model == "fante-yura-short":
        phi = _YURA * np.cbrt(rho_m / sender.waist_m)
        spread_m2 = spread_m2 * np.maximum(0.0, 1.0 - phi) ** 2
    return np.asarray(np.sqrt(w_m**2 + spread_m2))


def wander_variance_m2(
    sender: Transmitter, path: TurbulentPath, direction: Direction, model: Wander
) -> Floats:
    """Return the variance of the spot's centre by turbulence, per axis.

    Parameters
    ----------
    sender : Transmitter
    path : TurbulentPath
    direction : {"downlink", "uplink"}
    model : Wander
        See the module.

    Returns
    -------
    ndarray, shape of the path, float64 [m^2]
    """
    if model == "none":
        return np.zeros_like(path.length_m)
    if model == "geometric":
        return _geometric_m2(sender, path, direction)
    if model not in ("fante-yura", "as-published"):
        raise ValueError(f"wander = {model!r}: not a model of this module")
    rho_m = spherical_coherence_m(path, sender.wavelength_m, direction)
    swing_m = sender.wavelength_m * path.length_m
    published = _PUBLISHED * swing_m**2 / np.cbrt(sender.waist_m) * rho_m ** (-5 / 3)
    return np.asarray(published if model == "as-published" else 0.25 * published)


def _geometric_m2(
    sender: Transmitter, path: TurbulentPath, direction: Direction
) -> Floats:
    from_low_m = path.distance_m
    from_high_m = path.length_m[..., None] - from_low_m
    down = is_down(direction)
    behind_m, ahead_m = (from_high_m, from_low_m) if down else (from_low_m, from_high_m)
    beam_m = sender.spot_m(behind_m)
    levers = path.strength * ahead_m**2 / np.cbrt(beam_m)
    return np.asarray(GEOMETRIC * np.sum(levers, axis=-1))


def pointing_variance_m2(jitter_rad: ArrayLike, range_m: ArrayLike) -> Floats:
    """Return the variance of the spot's centre by pointing, per axis.

    Parameters
    ----------
    jitter_rad : array_like
        Standard deviation of the pointing angle per axis [rad].
    range_m : array_like
        Distance [m]; both broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [m^2]

    Raises
    ------
    ModelRangeError
        If the jitter is not within 0 to 0.1 rad, or the distance not positive.
    """
    jitter = within("pointing jitter [rad]", jitter_rad, (0.0, 0.1))
    return np.asarray((jitter * positive("distance [m]", range_m)) ** 2)
