r"""What an eavesdropper can know: the Holevo bound for Gaussian collective attacks.

Alice's coherent states with modulation variance :math:`V_A` are half of an
entangled state of variance :math:`V = V_A + 1`. The channel has transmittance
`T` and excess noise `xi` referred to its input; the detector has efficiency
`eta` and electronic noise `nu` (at its output). In the trusted model the
detector's loss and noise are inside Bob's station and Eve holds no purification
of them; in the untrusted model they are counted as channel.

References
----------
S. Fossier et al., J. Phys. B 42, 114014 (2009): trusted homodyne and heterodyne
detectors. All quantities in SNU, vacuum variance 1. Computed in the form of
`protocols.security.gaussian_kernels`; arrays: `protocols.security.cv_rates`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from protocols.security.gaussian_kernels import bound, shannon_bits, thermal_entropy
from scqc.core.errors import ProtocolAbort

Detection = Literal["homodyne", "heterodyne"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Parameters of the link as the bound needs them.

    Parameters
    ----------
    v_a_snu : float
        Modulation variance per quadrature [SNU].
    transmittance : float
        Channel power transmittance [1].
    xi_snu : float
        Excess noise referred to the channel input [SNU]; negative values are
        clamped to zero inside the bound.
    efficiency : float
        Detector efficiency [1].
    electronic_snu : float
        Electronic noise per measured quadrature [SNU].
    detection : {"homodyne", "heterodyne"}
    """

    v_a_snu: float
    transmittance: float
    xi_snu: float
    efficiency: float
    electronic_snu: float
    detection: Detection = "heterodyne"


def entropy_g(x: float) -> float:
    r"""Return the entropy [bit] of a thermal mode of symplectic eigenvalue `x`.

    :math:`g(x) = \frac{x+1}{2}\log_2\frac{x+1}{2} - \frac{x-1}{2}\log_2\frac{x-1}{2}`
    """
    return float(thermal_entropy(x - 1.0))


def untrusted(channel: Channel) -> Channel:
    """Count the detector's loss and noise as channel.

    The electronic noise becomes excess noise ``mu nu / (eta T)`` with ``mu = 1``
    for homodyne and ``mu = 2`` for heterodyne detection, where each quadrature
    sees half of the light.
    """
    total = channel.efficiency * channel.transmittance
    mu = 1.0 if channel.detection == "homodyne" else 2.0
    xi = channel.xi_snu + mu * channel.electronic_snu / total
    return Channel(channel.v_a_snu, total, xi, 1.0, 0.0, channel.detection)


def holevo_information(channel: Channel) -> float:
    """Return the Holevo bound [bit per symbol], reverse reconciliation.

    Raises
    ------
    ProtocolAbort
        If a parameter is outside its physical range.
    """
    check_channel(channel)
    return float(
        bound(
            channel.v_a_snu,
            channel.transmittance,
            channel.xi_snu,
            channel.efficiency,
            channel.electronic_snu,
            channel.detection == "heterodyne",
        )
    )


def mutual_information(channel: Channel) -> float:
    """Return the Shannon information of Alice and Bob [bit per symbol]."""
    heterodyne = channel.detection == "heterodyne"
    return float(shannon_bits(signal_to_noise(channel), heterodyne))


def signal_to_noise(channel: Channel) -> float:
    """Return the signal-to-noise ratio of one measured quadrature [1]."""
    mu = 1.0 if channel.detection == "homodyne" else 2.0
    gain = channel.efficiency * channel.transmittance / mu
    noise = 1.0 + channel.electronic_snu + gain * channel.xi_snu
    return gain * channel.v_a_snu / noise


def asymptotic_rate(channel: Channel, beta: float) -> float:
    """Return the key rate [bit per symbol] of an endless block; may be negative."""
    return beta * mutual_information(channel) - holevo_information(channel)


def check_channel(channel: Channel) -> None:
    """Refuse parameters outside their physical range.

    Raises
    ------
    ProtocolAbort
        Naming the parameter, its value and the limits.
    """
    limits = (
        ("modulation variance [SNU]", channel.v_a_snu, 0.0, math.inf),
        ("transmittance", channel.transmittance, 0.0, math.inf),
        ("detector efficiency", channel.efficiency, 0.0, 1.0),
        ("electronic noise [SNU]", channel.electronic_snu, -1e-9, math.inf),
    )
    # Clamping would turn a noise that is no number into no noise.
    if not math.isfinite(channel.xi_snu):
        raise ProtocolAbort(
            f"security: excess noise [SNU] = {channel.xi_snu}, must be finite"
        )
    for name, value, low, high in limits:
        if not (low < value <= high) or math.isinf(value):
            raise ProtocolAbort(
                f"security: {name} = {value}, must be above {low:g}, at most {high:g}"
            )
