r"""Short filters fitted to analogue responses, and the loop that applies them.

An analogue stage of response H(f) acts on a sampled, band-limited signal
through taps h_k with sum h_k exp(-2 pi j f k) = H(f). The taps are the
least-squares fit inside the band |f| <= 0.42 cycles per sample; what happens
next to the Nyquist edge, where a periodic response cannot follow an analogue
one, is left loose. Below 0.8 of Nyquist a low-pass is met to 1e-4, and the
fibre's dispersion to a thousandth of its own effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.units import LIGHT_SPEED_M_PER_S

_BAND = 0.42
_LOOSE = 1e-3
_BLOCK = 2048
_PRE = 12


@dataclass(frozen=True)
class Taps:
    """A filter y[n] = sum over k of h[k] x[n - k].

    Parameters
    ----------
    reversed_ : ndarray, shape (n_taps,), float32 or complex64 [1]
        Taps from the latest (k = `post`) to the earliest (k = -`pre`), padded
        with zeros in front to a multiple of four.
    pre, post : int
        Samples needed after and before the one computed [1].
    """

    reversed_: NDArray[np.generic]
    pre: int
    post: int


def fit_taps(
    response: Callable[[NDArray[np.float64]], NDArray[np.complex128]],
    pre: int,
    post: int,
    real: bool,
) -> Taps:
    """Fit taps k = -`pre` .. `post` to a response.

    Parameters
    ----------
    response : callable
        Maps frequencies, shape (n,), float64 [cycles/sample], to the response,
        shape (n,), complex128 [1].
    pre, post : int
        Extent of the taps [samples].
    real : bool
        Whether the taps are real (the response is then fitted for f >= 0).
    """
    post += -(pre + post + 1) % 4
    k = np.arange(-pre, post + 1)
    inner = np.linspace(0.0 if real else -_BAND, _BAND, 12 * k.size)
    outer = np.linspace(_BAND, 0.5, 2 * k.size)
    if not real:
        outer = np.concatenate([-outer[::-1], outer])
    f = np.concatenate([inner, outer])
    # Beyond the band: the edge's magnitude and phase, held, at low weight.
    target = np.asarray(response(np.clip(f, -_BAND, _BAND)), dtype=np.complex128)
    weight = np.where(np.abs(f) <= _BAND, 1.0, _LOOSE)
    basis = np.exp(-2j * np.pi * np.outer(f, k)) * weight[:, None]
    aim = target * weight
    taps: NDArray[np.generic]
    if real:
        rows = np.vstack([basis.real, basis.imag])
        taps = np.linalg.lstsq(rows, np.concatenate([aim.real, aim.imag]))[0]
        taps = taps.astype(np.float32)
    else:
        taps = np.linalg.lstsq(basis, aim)[0].astype(np.complex64)
    return Taps(np.ascontiguousarray(taps[::-1]), pre, post)


def low_pass(bandwidth_hz: float, rate_hz: float) -> Taps:
    """Return the taps of a first-order low-pass, 1 / (1 + j f / f_c)."""
    decay = rate_hz / (2.0 * math.pi * bandwidth_hz)

    def response(f: NDArray[np.float64]) -> NDArray[np.complex128]:
        gain = 1.0 / (1.0 + 1j * f * (rate_hz / bandwidth_hz))
        return np.asarray(gain, dtype=np.complex128)

    return fit_taps(response, _PRE, _PRE + math.ceil(12.0 * decay), real=True)


def dispersion_phase_s2(
    dispersion_ps_per_nm_km: float, length_km: float, wavelength_nm: float
) -> float:
    """Return the coefficient b [s^2] of the fibre's phase b f^2 [rad].

    b = pi D L lambda^2 / c (G. P. Agrawal, Nonlinear Fiber Optics, 1.2.3, with
    beta_2 = -D lambda^2 / (2 pi c) and the phase (beta_2 / 2) (2 pi f)^2 L).
    """
    spread_s_per_m = dispersion_ps_per_nm_km * 1e-12 * length_km / 1e-9
    wavelength_m = wavelength_nm * 1e-9
    return math.pi * spread_s_per_m * wavelength_m**2 / LIGHT_SPEED_M_PER_S


def dispersion(phase_s2: float, rate_hz: float) -> Taps:
    """Return the complex taps of the response exp(j b f^2), b = `phase_s2` [s^2]."""
    curvature = phase_s2 * rate_hz**2
    half = 6 + math.ceil(abs(curvature) / (2.0 * math.pi))

    def response(f: NDArray[np.float64]) -> NDArray[np.complex128]:
        gain: NDArray[np.complex128] = np.exp(1j * curvature * f * f)
        return gain

    return fit_taps(response, half, half, real=False)


@numba.njit(cache=True, nogil=True)
def correlate_add(
    x: NDArray[np.float32], taps: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Add sum over k of taps[k] x[i + k] to out[i].

    Parameters
    ----------
    x : ndarray, shape (n + n_taps - 1,), float32 [any]
    taps : ndarray, shape (n_taps,), float32 [1]
        A multiple of four in number.
    out : ndarray, shape (n,), float32 [any]
    """
    for low in range(0, out.size, _BLOCK):
        y = out[low : min(low + _BLOCK, out.size)]
        n = y.size
        for k in range(0, taps.size, 4):
            t0, t1, t2, t3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            x0 = x[low + k : low + k + n]
            x1 = x[low + k + 1 : low + k + 1 + n]
            x2 = x[low + k + 2 : low + k + 2 + n]
            x3 = x[low + k + 3 : low + k + 3 + n]
            for i in range(n):
                y[i] += (t0 * x0[i] + t1 * x1[i]) + (t2 * x2[i] + t3 * x3[i])


def filter_real(x: NDArray[np.float32], taps: Taps) -> NDArray[np.float32]:
    """Filter a stretch; the result is shorter by the filter's extent.

    Parameters
    ----------
    x : ndarray, shape (n + pre + post,), float32 [any]
        Starts `post` samples before the first sample wanted.
    taps : Taps
        Real taps.

    Returns
    -------
    ndarray, shape (n,), float32 [any]
    """
    out = np.zeros(x.size - taps.pre - taps.post, dtype=np.float32)
    correlate_add(x, taps.reversed_.astype(np.float32), out)
    return out


def filter_complex(
    re: NDArray[np.float32], im: NDArray[np.float32], taps: Taps
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Filter a complex stretch given by its parts.

    Parameters
    ----------
    re, im : ndarray, shape (n + pre + post,), float32 [any]
    taps : Taps
        Complex taps.

    Returns
    -------
    re, im : ndarray, shape (n,), float32 [any]
    """
    n = re.size - taps.pre - taps.post
    complex_taps = taps.reversed_.astype(np.complex64)
    h_re = np.ascontiguousarray(complex_taps.real)
    h_im = np.ascontiguousarray(complex_taps.imag)
    out_re, out_im = np.zeros((2, n), dtype=np.float32)
    correlate_add(re, h_re, out_re)
    correlate_add(im, -h_im, out_re)
    correlate_add(im, h_re, out_im)
    correlate_add(re, h_im, out_im)
    return out_re, out_im
