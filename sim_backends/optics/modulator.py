r"""The transmitter's optics: laser, RF driver, IQ modulator, attenuator.

Field amplitudes are in sqrt(SNU) per sample: the quadrature of a mode g with
sum g_n^2 = 1 is X = sum e_n g_n, and vacuum has Var X = 1. With that unit
|X + jP|^2 / 4 is a photon number, so a power P corresponds to

.. math:: |e| = 2 \sqrt{P / (h \nu f_s)}.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.units import (
    LIGHT_SPEED_M_PER_S,
    PLANCK_J_S,
    db_to_power_ratio,
    dbm_to_w,
)
from sim_backends.optics.trigonometry import sin_turns
from sim_backends.settings import SimSettings


def field_amplitude(power_w: float, wavelength_nm: float, rate_hz: float) -> float:
    """Return the field [sqrt(SNU) per sample] of a continuous power [W]."""
    photon_j = PLANCK_J_S * LIGHT_SPEED_M_PER_S / (wavelength_nm * 1e-9)
    return 2.0 * math.sqrt(power_w / (photon_j * rate_hz))


def full_scale_field(settings: SimSettings, rate_hz: float) -> float:
    """Return the field behind the attenuator with one arm fully on [sqrt(SNU)]."""
    loss_db = settings.modulator.insertion_loss_db + settings.attenuator_db
    power_w = dbm_to_w(settings.laser.power_dbm - loss_db)
    return field_amplitude(power_w, settings.laser.wavelength_nm, rate_hz)


class IqModulator:
    r"""Volts at the generator to field at the fibre.

    .. math:: e = E [ \sin(\pi v_I / 2 V_\pi + b_I)
                      + j e^{j q} \sin(\pi v_Q / 2 V_\pi + b_Q) ]
                  + E 10^{-ER/20}

    Parameters
    ----------
    settings : SimSettings
    rate_hz : float
        Rate of the field samples [Hz].
    """

    def __init__(self, settings: SimSettings, rate_hz: float) -> None:
        modulator = settings.modulator
        scale = full_scale_field(settings, rate_hz)
        half_db = 0.5 * modulator.imbalance_db
        # An electrode at 4 V_pi has gone through one whole turn of the sine.
        gain = 10.0 ** (modulator.driver_gain_db / 20.0) / (4.0 * modulator.v_pi_v)
        leak = 0.0
        if modulator.extinction_ratio_db > 0.0:
            leak = scale / math.sqrt(db_to_power_ratio(modulator.extinction_ratio_db))
        self._coefficients = (
            gain * 10.0 ** (half_db / 20.0),
            gain * 10.0 ** (-half_db / 20.0),
            scale,
            scale * math.sin(modulator.quadrature_error_rad),
            scale * math.cos(modulator.quadrature_error_rad),
            leak,
        )

    def modulate(
        self,
        volts: tuple[NDArray[np.float32], NDArray[np.float32]],
        bias_rad: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> None:
        """Turn volts into field, in place.

        Parameters
        ----------
        volts : tuple of two ndarrays, shape (n,), float32 [V]
            I and Q; on return real and imaginary field [sqrt(SNU)].
        bias_rad : tuple of two ndarrays, shape (n,), float32 [rad]
            Bias phases of the arms.
        """
        coefficients = tuple(np.float32(c) for c in self._coefficients)
        _modulate(volts[0], volts[1], bias_rad, coefficients)


@numba.njit(cache=True, nogil=True)
def _modulate(
    re: NDArray[np.float32],
    im: NDArray[np.float32],
    bias_rad: tuple[NDArray[np.float32], NDArray[np.float32]],
    coefficients: tuple[np.float32, ...],
) -> None:
    gain_i, gain_q, scale, cross, quadrature, leak = coefficients
    bias_i, bias_q = bias_rad
    per_turn = np.float32(1.0 / (2.0 * np.pi))
    for k in range(re.size):
        s_i = sin_turns(re[k] * gain_i + bias_i[k] * per_turn)
        s_q = sin_turns(im[k] * gain_q + bias_q[k] * per_turn)
        re[k] = scale * s_i - cross * s_q + leak
        im[k] = quadrature * s_q


@numba.njit(cache=True, nogil=True)
def add_intensity_noise(
    re: NDArray[np.float32],
    im: NDArray[np.float32],
    noise: NDArray[np.float32],
    rms: float,
) -> None:
    """Multiply the field by 1 + r / 2, r of standard deviation `rms` [1].

    Parameters
    ----------
    re, im : ndarray, shape (n,), float32 [sqrt(SNU)]
    noise : ndarray, shape (n,), float32 [1]
        Unit variance.
    rms : float
        Of the relative intensity noise in one sample [1].
    """
    half = np.float32(0.5 * rms)
    for k in range(re.size):
        factor = np.float32(1.0) + half * noise[k]
        re[k] *= factor
        im[k] *= factor


def relative_intensity_rms(rin_db_per_hz: float, rate_hz: float) -> float:
    """Return the rms [1] of white RIN in one sample; 0 dB/Hz stands for none."""
    if rin_db_per_hz == 0.0:
        return 0.0
    return math.sqrt(db_to_power_ratio(rin_db_per_hz) * rate_hz / 2.0)
