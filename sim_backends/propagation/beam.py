r"""Gaussian beams between two telescopes.

A beam of 1/e^2 intensity radius :math:`w_0` and radius of curvature :math:`R_0`
(infinite: collimated; z: focused on the receiver) has at the distance z the radius

.. math:: w^2 = w_0^2 [(1 - z/R_0)^2 + (z/z_R)^2], \quad z_R = \pi w_0^2 / \lambda .

A transmitting telescope cuts the beam. What then arrives is an integral, and what
it is a share of is a convention that changes it by e^-2 at :math:`a_T = w_0`:

none
    the Gaussian is not cut;
launched
    share of the power that left the telescope (SatQuMA);
source
    share of the power in front of the telescope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sim_backends.propagation.ranges import Floats, legendre_nodes, positive, within

Truncation = Literal["none", "launched", "source"]
Diffraction = Literal["fresnel", "fraunhofer"]

# Quadratic phase at the rim beyond which the far field is not reached [rad].
FAR_FIELD_RAD = 0.5
#: Share of an aperture's radius that its obscuration may take.
_WIDEST = 0.999
_MAX_NODES = 1200
_FEWEST_NODES = 24.0
_PER_RADIAN = 0.6
_CHUNK = 1 << 21


def rayleigh_range_m(waist_m: ArrayLike, wavelength_m: ArrayLike) -> Floats:
    """Return the distance at which a collimated beam is sqrt(2) wide.

    Parameters
    ----------
    waist_m, wavelength_m : array_like
        1/e^2 intensity radius [m] and wavelength [m]; they broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [m]
    """
    w0_m = positive("beam radius [m]", waist_m)
    return math.pi * w0_m**2 / positive("wavelength [m]", wavelength_m)


def spot_radius_m(
    waist_m: ArrayLike,
    wavelength_m: ArrayLike,
    range_m: ArrayLike,
    curvature_m: ArrayLike = math.inf,
) -> Floats:
    """Return the 1/e^2 intensity radius of an uncut beam in vacuum.

    Parameters
    ----------
    waist_m : array_like
        1/e^2 intensity radius at the transmitter [m].
    wavelength_m, range_m : array_like
        Wavelength [m] and distance [m]; all broadcast.
    curvature_m : array_like
        Radius of curvature at the transmitter: infinite for a collimated beam,
        the distance for one focused on the receiver, negative for a diverging
        one [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [m]

    Raises
    ------
    ModelRangeError
        If a length is not positive, or the distance negative.
    """
    w0_m = positive("beam radius [m]", waist_m)
    z_m = within("distance [m]", range_m, (0.0, 1e14))
    curved_m = np.asarray(curvature_m, dtype=np.float64)
    within("radius of curvature [m]", np.abs(curved_m), (1e-9, math.inf))
    stretch = np.hypot(1.0 - z_m / curved_m, z_m / rayleigh_range_m(w0_m, wavelength_m))
    return w0_m * stretch


def centred_transmittance(
    aperture_radius_m: ArrayLike,
    spot_m: ArrayLike,
    obscuration_radius_m: ArrayLike = 0.0,
) -> Floats:
    """Return the share of a centred Gaussian beam that an aperture passes.

    exp(-2 b^2/w^2) - exp(-2 a^2/w^2) with a central obscuration of radius b.

    Parameters
    ----------
    aperture_radius_m, spot_m : array_like
        Radius of the aperture and 1/e^2 intensity radius of the beam [m].
    obscuration_radius_m : array_like
        Of a disc in the middle, smaller than the aperture [m]; all broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [1]

    Raises
    ------
    ModelRangeError
        If a length is not positive, or the obscuration is not within the aperture.
    """
    a_m, b_m = clear_aperture(aperture_radius_m, obscuration_radius_m)
    w_m = positive("radius of the spot [m]", spot_m)
    # expm1 keeps the digits of apertures much smaller than the beam.
    cut = np.expm1(-2.0 * (b_m / w_m) ** 2) - np.expm1(-2.0 * (a_m / w_m) ** 2)
    return np.asarray(cut, dtype=np.float64)


def clear_aperture(
    aperture_radius_m: ArrayLike, obscuration_radius_m: ArrayLike
) -> tuple[Floats, Floats]:
    """Return outer and inner radius of an aperture, the inner one smaller.

    Parameters
    ----------
    aperture_radius_m, obscuration_radius_m : array_like
        Outer and inner radius [m]; they broadcast.

    Returns
    -------
    tuple of ndarray, shapes of the arguments, float64 [m]

    Raises
    ------
    ModelRangeError
        If the outer radius is not positive, or the inner one negative or not
        smaller.
    """
    a_m = positive("radius of the aperture [m]", aperture_radius_m)
    b_m = np.asarray(obscuration_radius_m, dtype=np.float64)
    share = b_m / a_m
    why = "nothing of the aperture would be left"
    within("obscuration radius / aperture radius [1]", share, (0.0, _WIDEST), why)
    return a_m, b_m


@dataclass(frozen=True)
class Transmitter:
    """A telescope that launches a Gaussian beam.

    Parameters
    ----------
    waist_m : float
        1/e^2 intensity radius in the aperture [m].
    wavelength_m : float
    aperture_radius_m : float
        Where the telescope cuts the beam; unused without truncation [m].
    obscuration_radius_m : float
        Of its secondary mirror [m].
    curvature_m : float
        Radius of curvature: infinite for a collimated beam [m].
    truncation : {"none", "launched", "source"}
        See the module.

    Raises
    ------
    ModelRangeError
        If a length is not positive, or the obscuration not within the aperture.
    """

    waist_m: float
    wavelength_m: float
    aperture_radius_m: float = math.inf
    obscuration_radius_m: float = 0.0
    curvature_m: float = math.inf
    truncation: Truncation = "none"

    def __post_init__(self) -> None:
        positive("beam radius [m]", self.waist_m)
        positive("wavelength [m]", self.wavelength_m)
        if self.truncation not in get_args(Truncation):
            raise ValueError(
                f"truncation = {self.truncation!r}: one of "
                f"{', '.join(get_args(Truncation))}"
            )
        if self.truncation != "none":
            clear_aperture(self.aperture_radius_m, self.obscuration_radius_m)

    @property
    def wave_number(self) -> float:
        """Return 2 pi / wavelength [rad/m]."""
        return 2.0 * math.pi / self.wavelength_m

    @property
    def launched(self) -> float:
        """Share of the source's power that leaves the telescope [1]."""
        if self.truncation == "none":
            return 1.0
        return float(
            centred_transmittance(
                self.aperture_radius_m, self.waist_m, self.obscuration_radius_m
            )
        )

    def spot_m(self, range_m: ArrayLike) -> Floats:
        """Return the radius of the uncut beam.

        Parameters
        ----------
        range_m : array_like
            Distance [m].

        Returns
        -------
        ndarray, shape of `range_m`, float64 [m]
        """
        return spot_radius_m(self.waist_m, self.wavelength_m, range_m, self.curvature_m)


def diffraction_transmittance(
    sender: Transmitter,
    range_m: ArrayLike,
    aperture_radius_m: float,
    obscuration_radius_m: float = 0.0,
    diffraction: Diffraction = "fresnel",
) -> Floats:
    r"""Return what a centred receiver collects of a beam in vacuum.

    A cut beam is integrated (Goodman, Introduction to Fourier Optics, section 4.2):

    .. math:: \eta = 2\pi \int_b^{a} \Big| \frac{k}{z} \int_{b_T}^{a_T} G(r)
        e^{i \varphi r^2} J_0(k \rho r / z) \, r \, dr \Big|^2 \rho \, d\rho,

    :math:`\varphi = (k/2)(1/z - 1/R_0)`, dropped in the far field (``fraunhofer``).

    Parameters
    ----------
    sender : Transmitter
    range_m : array_like
        Distances [m].
    aperture_radius_m, obscuration_radius_m : float
        Of the receiver [m].
    diffraction : {"fresnel", "fraunhofer"}
        Of a cut beam; an uncut one is known in closed form.

    Returns
    -------
    ndarray, shape of `range_m`, float64 [1]

    Raises
    ------
    ModelRangeError
        If ``fraunhofer`` is asked where the phase that it drops exceeds
        `FAR_FIELD_RAD` at the rim, or the receiver is too near for the nodes of the
        integral; names the nearest distance that works.
    """
    clear_aperture(aperture_radius_m, obscuration_radius_m)
    z_m = positive("distance [m]", range_m)
    if sender.truncation == "none":
        spot_m = sender.spot_m(z_m)
        return centred_transmittance(aperture_radius_m, spot_m, obscuration_radius_m)
    bend = _quadratic(sender, z_m, diffraction)
    n_nodes = _nodes(sender, z_m, aperture_radius_m)
    ring = (obscuration_radius_m, aperture_radius_m)
    step = max(1, _CHUNK // n_nodes**2)
    flat_z_m, flat_bend = z_m.reshape(-1), bend.reshape(-1)
    parts = [
        _ring_power(sender, flat_z_m[part], flat_bend[part], ring, n_nodes)
        for part in (slice(i, i + step) for i in range(0, max(1, z_m.size), step))
    ]
    share = np.concatenate(parts).reshape(z_m.shape)
    reference = sender.launched if sender.truncation == "launched" else 1.0
    return np.asarray(share / reference)


def _quadratic(sender: Transmitter, z_m: Floats, diffraction: Diffraction) -> Floats:
    """Return phi of the integral [rad/m^2]; refuse the far field where it is near."""
    bend = 0.5 * sender.wave_number * (1.0 / z_m - 1.0 / sender.curvature_m)
    if diffraction == "fresnel":
        return np.asarray(bend)
    if diffraction != "fraunhofer":
        raise ValueError(
            f"diffraction = {diffraction!r}: one of {', '.join(get_args(Diffraction))}"
        )
    rim_m = sender.aperture_radius_m
    if not math.isfinite(sender.curvature_m):
        near_m = 0.5 * sender.wave_number * rim_m**2 / FAR_FIELD_RAD
        within("far field: distance [m]", z_m, (near_m, math.inf), "use fresnel")
    else:
        rim = np.abs(bend) * rim_m**2
        why = "focused elsewhere: use fresnel"
        within("far field: phase at the rim [rad]", rim, (0.0, FAR_FIELD_RAD), why)
    return np.zeros_like(z_m)


def _nodes(sender: Transmitter, z_m: Floats, a_m: float) -> int:
    """Return how many nodes resolve the oscillations, with room to spare."""
    rim_m, k = sender.aperture_radius_m, sender.wave_number
    bent = 0.5 * k * rim_m**2 / abs(sender.curvature_m)
    fixed = _FEWEST_NODES + _PER_RADIAN * ((rim_m / sender.waist_m) ** 2 + bent)
    why = "a cut beam of such curvature needs another method"
    within("cut beam: nodes across the aperture", fixed, (0.0, 0.5 * _MAX_NODES), why)
    swing_m = _PER_RADIAN * k * rim_m * (a_m + 0.5 * rim_m)
    why = "nearer, a cut beam needs another method; truncation none has no limit"
    near_m = swing_m / (_MAX_NODES - fixed)
    within("cut beam: distance [m]", z_m, (near_m, math.inf), why)
    nearest_m = float(np.min(z_m, initial=math.inf))
    return math.ceil(fixed + swing_m / nearest_m)


def _ring_power(
    sender: Transmitter,
    z_m: Floats,
    bend: Floats,
    ring_m: tuple[float, float],
    n_nodes: int,
) -> Floats:
    """Integrate the received power, as a share of the source's, shape of `z_m` [1]."""
    x, weight = legendre_nodes(n_nodes)
    r_m, dr_m = _on(sender.obscuration_radius_m, sender.aperture_radius_m, x, weight)
    rho_m, drho_m = _on(*ring_m, x, weight)
    w0_m, k = sender.waist_m, sender.wave_number
    field = math.sqrt(2.0 / math.pi) / w0_m * np.exp(-((r_m / w0_m) ** 2)) * r_m * dr_m
    phased = field * np.exp(1j * bend[:, None] * r_m**2)
    bessel = special.j0((k / z_m)[:, None, None] * (rho_m[:, None] * r_m))
    arriving = (k / z_m)[:, None] * np.einsum("zpr,zr->zp", bessel, phased)
    power = np.abs(arriving) ** 2 @ (2.0 * math.pi * rho_m * drho_m)
    return np.asarray(power, dtype=np.float64)


def _on(low: float, high: float, x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    half = 0.5 * (high - low)
    return low + half * (x + 1.0), half * weight
