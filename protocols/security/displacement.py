r"""How far the light must be displaced for a bit error rate, and what that costs.

A quadrature that carries a bit is displaced by :math:`\pm D`; everything else in
it, the key's modulation included, is noise of the decision:

.. math:: \mathrm{BER} = \tfrac12\,\mathrm{erfc}
          \frac{\sqrt{\eta T}\,D}{\sqrt{2 V_{tot}}}, \qquad
          D^2 = z^2 \frac{V_{tot}}{\eta T}, \quad z = \sqrt2\,\mathrm{erfc}^{-1}(2\,
          \mathrm{BER})

The displacement returns as excess noise where the light is not quite what it
should be: a residual phase, an amplitude, a converter's steps; and, if it is
removed by raw decisions, by the bits that were wrong. The first three are also
noise of the decision, so `D` is solved for, not iterated.

References
----------
.. [1] B. Qi, Phys. Rev. A 94, 042340 (2016): the scheme and its phase noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, erfcinv

from protocols.security.cv_rates import Floats, Link, Receiver, check_range
from scqc.core.errors import ModelRangeError

Axes = Literal["both", "measured"]
Removal = Literal["error-corrected", "raw-decisions"]
# Once: the nodes are eigenvalues, and take longer than all the rest of a point.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


@dataclass(frozen=True, slots=True)
class Imperfections:
    """What turns a displacement into noise.

    Parameters
    ----------
    phase_variance_rad2 : float or ndarray, shape (...)
        Of the residual phase after recovery [rad^2].
    amplitude_variance : float or ndarray, shape (...)
        Of the relative amplitude, half the relative intensity noise squared [1].
    converter_bits : float
        Effective bits of the digitizer, at most 52; 52 is as good as perfect [1].
    headroom : float
        Standard deviations of the noise between the displaced state and the
        converter's rail [1].
    axes : {"both", "measured"}
        Whether both quadratures are displaced, or only the measured one: then a
        phase turns the displacement away from it in second order only.
    removal : {"error-corrected", "raw-decisions"}
        By which bits the displacement is taken off. Raw decisions leave
        ``4 D^2 BER`` behind.
    """

    phase_variance_rad2: Floats = 0.0
    amplitude_variance: Floats = 0.0
    converter_bits: float = 52.0
    headroom: float = 6.0
    axes: Axes = "both"
    removal: Removal = "error-corrected"


@dataclass(frozen=True, slots=True)
class Displacement:
    """A displacement and the excess noise it makes, at the channel input.

    Parameters
    ----------
    squared_snu : ndarray, shape (...), float64 [SNU]
        ``D^2`` per displaced quadrature.
    phase_xi_snu : ndarray, shape (...), float64 [SNU]
        By the residual phase, of the displacement and of the modulation.
    amplitude_xi_snu : ndarray, shape (...), float64 [SNU]
    converter_xi_snu : ndarray, shape (...), float64 [SNU]
    decision_xi_snu : ndarray, shape (...), float64 [SNU]
        By wrong bits; zero if the displacement is removed with corrected ones.
    """

    squared_snu: NDArray[np.float64]
    phase_xi_snu: NDArray[np.float64]
    amplitude_xi_snu: NDArray[np.float64]
    converter_xi_snu: NDArray[np.float64]
    decision_xi_snu: NDArray[np.float64]

    @property
    def other_xi_snu(self) -> NDArray[np.float64]:
        """All but the phase's, shape (...) [SNU]: never trusted."""
        return self.amplitude_xi_snu + self.converter_xi_snu + self.decision_xi_snu

    @property
    def xi_snu(self) -> NDArray[np.float64]:
        """All together, shape (...) [SNU]."""
        return self.phase_xi_snu + self.other_xi_snu

    @property
    def photons(self) -> NDArray[np.float64]:
        """Mean photons per displaced quadrature, shape (...) [1]."""
        return np.asarray(0.25 * self.squared_snu)

    def on(self, link: Link) -> Link:
        """Return the link with the displacement's noise added to its own."""
        return Link(
            link.transmittance,
            link.modulation_snu,
            np.asarray(link.xi_snu + self.other_xi_snu),
            np.asarray(link.phase_xi_snu + self.phase_xi_snu),
            link.environment_snu,
            link.source_snu,
        )


@dataclass(frozen=True, slots=True)
class ClassicalLayer:
    """What the bits are.

    Parameters
    ----------
    raw_bit_error_rate : float or ndarray, shape (...)
        Before error correction, which the displacement is set for [1].
    bits_per_symbol : int
        1 for BPSK, 2 for QPSK.
    fec_rate : float or ndarray, shape (...)
        Information bits per coded bit [1].
    overhead : float
        Share of the symbols that carry no payload: pilots, headers, checks [1].
    """

    raw_bit_error_rate: Floats = 1e-2
    bits_per_symbol: int = 1
    fec_rate: Floats = 0.75
    overhead: float = 0.0

    @property
    def bits_per_use(self) -> NDArray[np.float64]:
        """Payload, shape (...) [bit per symbol].

        Raises
        ------
        ModelRangeError
            If the code's rate is above the capacity at that raw bit error rate.
        """
        check_range("code rate", self.fec_rate, 1e-6, 1.0)
        check_range("overhead", self.overhead, 0.0, 1.0)
        most = psk_capacity(self.raw_bit_error_rate)
        above = np.asarray(self.fec_rate) > most
        if np.any(above):
            rate, top = (
                float(np.broadcast_to(a, above.shape)[above].flat[0])
                for a in (np.asarray(self.fec_rate), most)
            )
            raise ModelRangeError(
                "code rate", rate, (0.0, top), "the capacity at this raw error rate"
            )
        kept = (1.0 - self.overhead) * self.bits_per_symbol
        return np.asarray(kept * np.asarray(self.fec_rate, dtype=np.float64))


def decision_margin(bit_error_rate: Floats) -> NDArray[np.float64]:
    """Return `z`: displacement over standard deviation for an error rate [1].

    Parameters
    ----------
    bit_error_rate : float or ndarray, shape (...)
        Above 0, below one half [1].

    Raises
    ------
    ModelRangeError
        Outside that range.
    """
    check_range("bit error rate", bit_error_rate, 1e-300, 0.5 - 1e-9)
    return np.asarray(math.sqrt(2.0) * erfcinv(2.0 * np.asarray(bit_error_rate)))


def bit_error_rate(
    squared_snu: Floats, link: Link, receiver: Receiver, axes: float = 1.0
) -> NDArray[np.float64]:
    """Return the raw bit error rate of a displacement, shape (...) [1].

    Parameters
    ----------
    squared_snu : float or ndarray, shape (...)
        ``D^2`` per displaced quadrature [SNU].
    link : Link
        With all excess noise that is there when the bit is decided, that of the
        displacement included.
    receiver : Receiver
    axes : float
        Measured quadratures that carry the same bit, added before the decision [1].
    """
    check_range(
        "squared displacement for data through this loss [SNU]", squared_snu, 0.0, 1e15
    )
    phase = np.asarray(link.phase_xi_snu)
    total = _variance(link, receiver) + _gain(link, receiver) * phase
    ratio = axes * _gain(link, receiver) * np.asarray(squared_snu) / (2.0 * total)
    return np.asarray(0.5 * erfc(np.sqrt(ratio)))


def psk_capacity(raw_bit_error_rate: Floats) -> NDArray[np.float64]:
    """Return the capacity of one displaced quadrature, shape (...) [bit].

    A binary alphabet in Gaussian noise with soft decisions, by Gauss-Hermite
    quadrature: the bound on any code's rate at that raw error rate.

    Parameters
    ----------
    raw_bit_error_rate : float or ndarray, shape (...)
        [1]
    """
    z = decision_margin(raw_bit_error_rate)[..., None]
    lost = np.logaddexp(0.0, -2.0 * z * (z + _NODES)) / math.log(2.0)
    return np.asarray(1.0 - (lost * _WEIGHTS).sum(axis=-1) / math.sqrt(2.0 * math.pi))


def displace(
    link: Link,
    receiver: Receiver,
    raw_bit_error_rate: Floats,
    imperfections: Imperfections,
) -> Displacement:
    """Return the displacement for a raw bit error rate, and what it costs.

    Parameters
    ----------
    link : Link
        Without the displacement's noise.
    receiver : Receiver
    raw_bit_error_rate : float or ndarray, shape (...)
        [1]
    imperfections : Imperfections

    Raises
    ------
    ModelRangeError
        If no displacement reaches that error rate: the noise that grows with it
        must stay below ``1/z^2`` of it. With the phase noise alone,
        ``sigma_phi^2 < 1/z^2``.

    Notes
    -----
    First order in the phase variance: the loss of gain ``exp(-sigma_phi^2)``
    is left out, so noise and signal are right to a relative ``sigma_phi^2``.
    """
    _check(imperfections)
    z = decision_margin(raw_bit_error_rate)
    sigma2 = np.asarray(imperfections.phase_variance_rad2, dtype=np.float64)
    turned = sigma2 if imperfections.axes == "both" else 0.5 * sigma2**2
    grain = (z + imperfections.headroom) ** 2 / (
        3.0 * 4.0**imperfections.converter_bits
    )
    growing = turned + np.asarray(imperfections.amplitude_variance)
    margin = 1.0 - z**2 * growing - grain
    _check_margin(margin, turned, z)
    gain = _gain(link, receiver)
    fixed = gain * (np.asarray(link.phase_xi_snu) + sigma2 * link.modulation_snu)
    total = (_variance(link, receiver) + fixed) / margin
    squared = z**2 * total / gain
    raw = imperfections.removal == "raw-decisions"
    wrong = 4.0 * np.asarray(raw_bit_error_rate) * squared * (1.0 if raw else 0.0)
    return Displacement(
        squared_snu=np.asarray(squared),
        phase_xi_snu=np.asarray(turned * squared + sigma2 * link.modulation_snu),
        amplitude_xi_snu=np.asarray(imperfections.amplitude_variance * squared),
        converter_xi_snu=np.asarray(grain * total / gain),
        decision_xi_snu=np.asarray(wrong),
    )


def greatest_phase_variance(raw_bit_error_rate: Floats) -> NDArray[np.float64]:
    """Return ``1/z^2``, which both quadratures displaced never reach [rad^2].

    Parameters
    ----------
    raw_bit_error_rate : float or ndarray, shape (...)
        [1]
    """
    return np.asarray(1.0 / decision_margin(raw_bit_error_rate) ** 2)


def _gain(link: Link, receiver: Receiver) -> NDArray[np.float64]:
    return np.asarray(np.multiply(receiver.efficiency, link.transmittance))


def _variance(link: Link, receiver: Receiver) -> NDArray[np.float64]:
    """Bob's variance without any phase noise, referred to the whole light."""
    t = np.asarray(link.transmittance, dtype=np.float64)
    light = t * (link.source_snu + np.asarray(link.modulation_snu) + link.xi_snu)
    light = light + (1.0 - t) * link.environment_snu
    own = 1.0 - np.asarray(receiver.efficiency)
    own = own + receiver.mu * np.asarray(receiver.electronic_snu) + receiver.mu - 1.0
    return np.asarray(receiver.efficiency * light + own)


def _check(imperfections: Imperfections) -> None:
    for quantity, values, low, high in (
        ("phase variance [rad^2]", imperfections.phase_variance_rad2, 0.0, 1.0),
        ("amplitude variance", imperfections.amplitude_variance, 0.0, 1.0),
        ("bits of the converter", imperfections.converter_bits, 1.0, 52.0),
        ("headroom of the converter", imperfections.headroom, 0.0, 100.0),
    ):
        check_range(quantity, values, low, high)


def _check_margin(
    margin: NDArray[np.float64], turned: Floats, z: NDArray[np.float64]
) -> None:
    if np.all(margin > 0.0):
        return
    at = np.unravel_index(np.argmin(margin), margin.shape)
    worst = np.broadcast_to(np.asarray(turned), margin.shape)[at]
    limit = float(1.0 / np.broadcast_to(z, margin.shape)[at] ** 2)
    raise ModelRangeError(
        "noise that grows with the displacement, of the phase",
        float(worst),
        (0.0, limit),
        "phase_variance_rad2: no displacement reaches this raw bit error rate; with "
        f"amplitude and converter, {1.0 - float(margin[at]):.3g} of the decision's "
        "margin is spent",
    )
