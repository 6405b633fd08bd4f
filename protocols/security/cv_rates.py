r"""Key rates of Gaussian-modulated light over thermal-loss channels, by the array.

The channel is an entangling cloner: a beam splitter of transmittance `T` whose
other port carries Eve's mode of variance `W`; excess noise `xi` at the input is
the same as :math:`W' = W + T\xi/(1-T)`. Alice's light has the variance `V0`
without modulation: 1 for coherent states, more for a warm transmitter. What of
the receiver is trusted stays out of Eve's reach.

References
----------
.. [1] S. Pirandola, S. Mancini, S. Lloyd and S. L. Braunstein, Nat. Phys. 4, 726
   (2008); C. Weedbrook, C. Ottaviani and S. Pirandola, Phys. Rev. A 89, 012309
   (2014): thermal sources, both directions of reconciliation.
.. [2] S. Fossier et al., J. Phys. B 42, 114014 (2009): the same by purification.
.. [3] B. Qi and C. C. W. Lim, Phys. Rev. Applied 9, 054008 (2018): trusted phase
   noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.security.gaussian_kernels import fill_rates
from protocols.security.holevo import Detection
from scqc.core.errors import ModelRangeError

Floats = float | NDArray[np.float64]
Direction = Literal["reverse", "direct"]
#: Smallest transmittance the kernels are tested for, far below any link [1].
LEAST_TRANSMITTANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Trust:
    """What of the receiver Eve cannot have made.

    Parameters
    ----------
    efficiency, electronic : bool
        Loss of the detector; its electronic noise.
    phase : bool
        Noise from the residual phase between the lasers, measured by Bob.
    """

    efficiency: bool = True
    electronic: bool = True
    phase: bool = False


UNTRUSTED = Trust(efficiency=False, electronic=False, phase=False)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Bob's detector.

    Parameters
    ----------
    efficiency : float or ndarray, shape (...)
        [1]
    electronic_snu : float or ndarray, shape (...)
        Electronic noise per measured quadrature [SNU].
    detection : {"homodyne", "heterodyne"}
    trust : Trust
    """

    efficiency: Floats = 1.0
    electronic_snu: Floats = 0.0
    detection: Detection = "homodyne"
    trust: Trust = field(default_factory=Trust)

    @property
    def mu(self) -> float:
        """Parts the light is split into before the measurement [1]."""
        return 1.0 if self.detection == "homodyne" else 2.0


@dataclass(frozen=True, slots=True)
class Link:
    """The light and its way; every field broadcasts.

    Parameters
    ----------
    transmittance : float or ndarray, shape (...)
        Of the channel, 1e-12 to 1 [1].
    modulation_snu : float or ndarray, shape (...)
        Gaussian modulation variance per quadrature [SNU].
    xi_snu : float or ndarray, shape (...)
        Excess noise at the channel input [SNU].
    phase_xi_snu : float or ndarray, shape (...)
        The part that phase noise makes, not contained in `xi_snu` [SNU].
    environment_snu : float or ndarray, shape (...)
        Variance ``2 n + 1`` of what the loss lets in [SNU].
    source_snu : float or ndarray, shape (...)
        Variance ``2 n + 1`` of Alice's light without modulation [SNU].
    """

    transmittance: Floats
    modulation_snu: Floats
    xi_snu: Floats = 0.0
    phase_xi_snu: Floats = 0.0
    environment_snu: Floats = 1.0
    source_snu: Floats = 1.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What an endless block gives, per symbol.

    Parameters
    ----------
    snr : ndarray, shape (...), float64 [1]
        Signal to noise of one measured quadrature.
    information_bits : ndarray, shape (...), float64 [bit]
        Shannon information of Alice and Bob.
    holevo_bits : ndarray, shape (...), float64 [bit]
        Bound of Eve's information.
    """

    snr: NDArray[np.float64]
    information_bits: NDArray[np.float64]
    holevo_bits: NDArray[np.float64]

    def key_bits(self, beta: Floats) -> NDArray[np.float64]:
        """Return ``beta I - chi`` [bit per symbol]; negative where there is no key.

        Parameters
        ----------
        beta : float or ndarray, shape (...)
            Efficiency of the reconciliation [1]. Failed frames are not in it: take
            pairs from `protocols.reconciliation.pairs`.
        """
        check_range("reconciliation efficiency", beta, 0.0, 1.0)
        return np.asarray(beta * self.information_bits - self.holevo_bits)


def rates(link: Link, receiver: Receiver, direction: Direction = "reverse") -> Rates:
    """Return information, Holevo bound and SNR at every point.

    Parameters
    ----------
    link : Link
    receiver : Receiver
    direction : {"reverse", "direct"}
        Whose data the key is made of: Bob's or Alice's.

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical.
    """
    seen = _as_eve_sees(link, receiver)
    shape = np.broadcast_shapes(*(a.shape for a in seen))
    # Copies: views that only read would each be compiled for anew.
    columns = tuple(np.array(np.broadcast_to(a, shape)).ravel() for a in seen)
    heterodyne = receiver.detection == "heterodyne"
    out = np.empty((3, math.prod(shape)))
    fill_rates(columns, heterodyne, direction == "direct", out)
    snr, information, holevo = out.reshape((3, *shape))
    return Rates(snr, information, holevo)


def environment_with_excess(
    transmittance: Floats, environment_snu: Floats, xi_snu: Floats
) -> NDArray[np.float64]:
    """Return the variance [SNU] of an environment that also makes `xi_snu`.

    Parameters
    ----------
    transmittance : float or ndarray, shape (...)
        Below 1 [1].
    environment_snu, xi_snu : float or ndarray, shape (...)
        [SNU]
    """
    check_range("transmittance", transmittance, LEAST_TRANSMITTANCE, 1.0 - 1e-15)
    loss = np.subtract(1.0, transmittance)
    return np.asarray(environment_snu + transmittance * np.asarray(xi_snu) / loss)


def check_range(quantity: str, values: Floats, low: float, high: float) -> None:
    """Refuse values outside a closed range.

    Parameters
    ----------
    quantity : str
        Name and unit for the message.
    values : float or ndarray, shape (...)
        In the unit that `quantity` names.
    low, high : float

    Raises
    ------
    ModelRangeError
        Naming the first value outside, or that is no number.
    """
    if isinstance(values, float) and low <= values <= high and math.isfinite(values):
        # Blocks ask for each of their numbers: an array would cost more than they do.
        return
    flat = np.asarray(values, dtype=np.float64).ravel()
    wrong = ~((flat >= low) & (flat <= high) & np.isfinite(flat))
    if np.any(wrong):
        raise ModelRangeError(quantity, float(flat[np.argmax(wrong)]), (low, high))


def _as_eve_sees(link: Link, receiver: Receiver) -> tuple[NDArray[np.float64], ...]:
    """Move what is not trusted from the receiver into the channel.

    Transmittance, noise at the channel's output, source, modulation, efficiency
    and the trusted noise referred to the whole light.
    """
    _check(link, receiver)
    t, eta, phase = (
        np.asarray(a, dtype=np.float64)
        for a in (link.transmittance, receiver.efficiency, link.phase_xi_snu)
    )
    trust = receiver.trust
    noise = (1.0 - t) * np.subtract(link.environment_snu, 1.0)
    noise = noise + t * np.asarray(link.xi_snu, dtype=np.float64)
    own = np.zeros(())
    electronic = receiver.mu * np.asarray(receiver.electronic_snu, dtype=np.float64)
    if trust.electronic:
        own = own + electronic
    else:
        noise = noise + electronic / eta
    if trust.phase:
        own = own + eta * t * phase
    else:
        noise = noise + t * phase
    if not trust.efficiency:
        t, noise, eta = eta * t, eta * noise, np.ones(())
    source = np.asarray(link.source_snu, dtype=np.float64)
    return t, noise, source, np.asarray(link.modulation_snu, np.float64), eta, own


def _check(link: Link, receiver: Receiver) -> None:
    top = 1e12
    for quantity, values, low, high in (
        ("transmittance", link.transmittance, LEAST_TRANSMITTANCE, 1.0),
        ("modulation variance [SNU]", link.modulation_snu, 0.0, top),
        ("excess noise [SNU]", link.xi_snu, 0.0, top),
        ("excess noise of the phase [SNU]", link.phase_xi_snu, 0.0, top),
        ("variance of the environment [SNU]", link.environment_snu, 1.0, top),
        ("variance of the source [SNU]", link.source_snu, 1.0, top),
        ("detector efficiency", receiver.efficiency, 1e-6, 1.0),
        ("electronic noise [SNU]", receiver.electronic_snu, 0.0, top),
    ):
        check_range(quantity, values, low, high)
