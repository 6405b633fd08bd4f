r"""Thermal-loss channels in closed form: unlimited modulation, ideal receiver.

With :math:`L(x,y) = Tx + (1-T)y` and :math:`\lambda = L(V_0, W)` the asymptotic
rates of an endless block, ``beta = eta = 1``, no electronic noise, are

- reverse, homodyne: :math:`\frac12\log_2\frac{W}{(1-T)\lambda} - h(W)`
- direct, homodyne: :math:`\frac12\log_2\frac{T L(W,V_0)}{(1-T)\lambda} + h(\nu) -
  h(W)` with :math:`\nu^2 - 1 = (1-T)V_0(W^2-1)/L(W,V_0)`
- reverse, heterodyne: :math:`\log_2\frac{2T}{e(1-T)(1+\lambda)} +
  h\big(\frac{1+(1-T)W}{T}\big) - h(W)`
- direct, heterodyne: the same with the entropy of Eve's modes at `V0` in place of
  the one mode.

From them follow the laws of hot channels, :math:`W = 2\bar n + 1 \gg 1`: there
is a key only if next to nothing is lost.

References
----------
.. [1] C. Weedbrook, S. Pirandola, S. Lloyd and T. C. Ralph, Phys. Rev. Lett. 105,
   110501 (2010); C. Weedbrook, C. Ottaviani and S. Pirandola, Phys. Rev. A 89,
   012309 (2014).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.security.cv_rates import (
    LEAST_TRANSMITTANCE,
    Direction,
    Floats,
    check_range,
)
from protocols.security.gaussian_kernels import fill_unlimited
from protocols.security.holevo import Detection

#: ``(1 - T) W^2`` of a warm source, reverse reconciliation: ``4 / e^2``.
REVERSE_WARM = 4.0 * math.exp(-2.0)
#: ``(1 - T) W`` of a vacuum source, reverse: the root of ``y (1 + y) = 4 / e^2``.
REVERSE_VACUUM = 0.5 * (math.sqrt(1.0 + 16.0 * math.exp(-2.0)) - 1.0)
#: ``(1 - T) W`` of either source, direct, homodyne.
DIRECT_HOMODYNE = math.sqrt(2.0 / 3.0)
#: The laws are within 5 % from here on [SNU]; below, ask `greatest_loss`.
HOT_SNU = 40.0


def unlimited_rate(
    transmittance: Floats,
    environment_snu: Floats,
    source_snu: Floats = 1.0,
    detection: Detection = "homodyne",
    direction: Direction = "reverse",
) -> NDArray[np.float64]:
    """Return the rate of unlimited modulation [bit per symbol]; may be negative.

    Parameters
    ----------
    transmittance : float or ndarray, shape (...)
        Below 1 [1].
    environment_snu, source_snu : float or ndarray, shape (...)
        Variances ``2 n + 1`` [SNU].
    detection : {"homodyne", "heterodyne"}
    direction : {"reverse", "direct"}

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical, or nothing is lost: the rate is infinite.
    """
    check_range("transmittance", transmittance, LEAST_TRANSMITTANCE, 1.0 - 1e-15)
    loss = np.subtract(1.0, transmittance)
    return _rates(loss, environment_snu, source_snu, detection, direction)


def greatest_loss(
    environment_snu: Floats,
    source_snu: Floats,
    detection: Detection = "homodyne",
    direction: Direction = "reverse",
) -> NDArray[np.float64]:
    """Return the loss ``1 - T`` at which the rate vanishes [1].

    Parameters
    ----------
    environment_snu, source_snu : float or ndarray, shape (...)
        Variances ``2 n + 1``; the environment above 1 [SNU].
    detection : {"homodyne", "heterodyne"}
    direction : {"reverse", "direct"}

    Notes
    -----
    Bisection of the logarithm of the loss to 1e-12 relative. The rate falls with
    the loss from plus infinity. In a cold environment a reverse key never ends:
    the greatest loss that the range knows comes back then.

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical.
    """
    w, v0 = np.broadcast_arrays(
        np.asarray(environment_snu, np.float64), np.asarray(source_snu, np.float64)
    )
    low = np.full(w.shape, math.log(1e-15))
    high = np.full(w.shape, math.log1p(-LEAST_TRANSMITTANCE))
    for _ in range(60):
        middle = 0.5 * (low + high)
        more = _rates(np.exp(middle), w, v0, detection, direction) > 0.0
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.asarray(np.exp(low))


def hot_loss_law(
    environment_snu: Floats, *, warm_source: bool, direction: Direction = "reverse"
) -> NDArray[np.float64]:
    """Return the loss limit of a hot channel with homodyne detection [1].

    Parameters
    ----------
    environment_snu : float or ndarray, shape (...)
        At least `HOT_SNU`: below, use `greatest_loss` [SNU].
    warm_source : bool
        Whether Alice's light is as warm as the environment, or vacuum.
    direction : {"reverse", "direct"}

    Raises
    ------
    ModelRangeError
        If the environment is not hot.
    """
    check_range("variance of the environment [SNU]", environment_snu, HOT_SNU, 1e12)
    w = np.asarray(environment_snu, dtype=np.float64)
    if direction == "direct":
        return np.asarray(DIRECT_HOMODYNE / w)
    return np.asarray(REVERSE_WARM / w**2 if warm_source else REVERSE_VACUUM / w)


def _rates(
    loss: Floats,
    environment_snu: Floats,
    source_snu: Floats,
    detection: Detection,
    direction: Direction,
) -> NDArray[np.float64]:
    check_range("variance of the environment [SNU]", environment_snu, 1.0, 1e12)
    check_range("variance of the source [SNU]", source_snu, 1.0, 1e12)
    arrays = np.broadcast_arrays(
        *(np.asarray(a, np.float64) for a in (loss, environment_snu, source_snu))
    )
    columns = tuple(np.array(a, dtype=np.float64).ravel() for a in arrays)
    out = np.empty(arrays[0].size)
    fill_unlimited(columns, detection == "heterodyne", direction == "direct", out)
    return out.reshape(arrays[0].shape)
