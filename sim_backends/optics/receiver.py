r"""Balanced RF-heterodyne detection, in units of shot noise.

Let e_n be the field at the receiver's input [sqrt(SNU) per sample] and w the
beat frequency. Each real sample of the photocurrent, in units of its own
shot-noise standard deviation, is

.. math:: x_n = a \, \mathrm{Re}[e_n e^{j(w n + \phi_n)}] + s_n + \epsilon_n,
          \quad \mathrm{Var}\, s = 1, \quad \mathrm{Var}\, \epsilon = v_{el}.

A receiver forms z = sqrt(2) sum x_n g_n exp(-j w n) with sum g_n^2 = 1. Since
Re u = (u + u*) / 2 and the image term averages out, the signal part is
sqrt(2) (a / 2) sum e_n g_n = (a / sqrt 2)(X + jP). The shot noise gives each
part of z the variance 2 sum g_n^2 cos^2 = 1: the vacuum of the signal band and
that of the image band, one half each. A heterodyne receiver of efficiency eta
has the amplitude sqrt(eta / 2) X (scqc_physics: Bob's model with T inside e),
hence

.. math:: a = \sqrt{\eta}.

Noise of variance xi per quadrature that fills the signal band only then adds
eta T xi / 2 to each of Bob's quadratures; white noise would enter twice.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.units import db_to_power_ratio, dbm_to_w
from sim_backends.optics.modulator import field_amplitude, relative_intensity_rms
from sim_backends.settings import SimSettings


def detection_gain(efficiency: float) -> float:
    """Return a = sqrt(eta): field to photocurrent [shot-noise rms per sqrt(SNU)]."""
    return math.sqrt(efficiency)


def lo_noise_rms(settings: SimSettings, rate_hz: float) -> float:
    """Return the local oscillator's own noise that survives balancing.

    With N photons of local oscillator detected per sample the shot noise is
    sqrt(N) and the intensity noise N r, reduced by the common-mode rejection:
    sqrt(N) 10^(-CMRR/20) r in units of shot noise [1].
    """
    rms = relative_intensity_rms(settings.lo.rin_db_per_hz, rate_hz)
    if settings.receiver.cmrr_db == 0.0:
        return 0.0
    amplitude = field_amplitude(
        dbm_to_w(settings.lo.power_dbm), settings.laser.wavelength_nm, rate_hz
    )
    root_photons = 0.5 * amplitude * math.sqrt(settings.receiver.efficiency)
    return root_photons * rms / math.sqrt(db_to_power_ratio(settings.receiver.cmrr_db))


@numba.njit(cache=True, nogil=True)
def mix(
    field: tuple[NDArray[np.float32], NDArray[np.float32]],
    carrier: tuple[NDArray[np.float32], NDArray[np.float32]],
    gain: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add gain Re[field carrier] to the photocurrent.

    Parameters
    ----------
    field : tuple of two ndarrays, shape (n,), float32 [sqrt(SNU)]
        Real and imaginary part.
    carrier : tuple of two ndarrays, shape (n,), float32 [1]
        Cosine and sine of the beat.
    gain : ndarray, shape (n,), float32 [1]
    out : ndarray, shape (n,), float32 [shot-noise rms]
    """
    re, im = field
    cosine, sine = carrier
    for k in range(out.size):
        out[k] += gain[k] * (re[k] * cosine[k] - im[k] * sine[k])


@numba.njit(cache=True, nogil=True)
def add_scaled(
    noise: NDArray[np.float32], scale: float, out: NDArray[np.float32]
) -> None:
    """Add `scale` times `noise` to `out`.

    Parameters
    ----------
    noise : ndarray, shape (n,), float32 [1]
    scale : float
    out : ndarray, shape (n,), float32 [shot-noise rms]
    """
    factor = np.float32(scale)
    for k in range(out.size):
        out[k] += factor * noise[k]
