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
detectors. All quantities in SNU, vacuum variance 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
    excess = x - 1.0
    if excess <= 0.0:
        return 0.0
    # log1p keeps the small first term when the eigenvalue is close to one.
    return float(
        (0.5 * x + 0.5) * math.log1p(0.5 * excess)
        - 0.5 * excess * math.log(0.5 * excess)
    ) / math.log(2.0)


def _pair(total: float, product: float) -> tuple[float, float]:
    """Return the roots of ``x^4 - total x^2 + product = 0``, both at least 1."""
    root = math.sqrt(max(0.0, total * total - 4.0 * product))
    larger = 0.5 * (total + root)
    smaller = product / larger
    return math.sqrt(max(1.0, larger)), math.sqrt(max(1.0, smaller))


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
    _check(channel)
    eta, nu = channel.efficiency, channel.electronic_snu
    # T = 1 is a limit of the formulas; a transmittance estimate may exceed it.
    t = min(channel.transmittance, 1.0 - 1e-12)
    v = channel.v_a_snu + 1.0
    line = 1.0 / t - 1.0 + max(0.0, channel.xi_snu)
    a = v * v * (1 - 2 * t) + 2 * t + t * t * (v + line) ** 2
    root_b = t * (v * line + 1.0)
    l1, l2 = _pair(a, root_b * root_b)
    if channel.detection == "homodyne":
        detector = (1.0 - eta + nu) / eta
        total = line + detector / t
        scale = t * (v + total)
        c = (a * detector + v * root_b + t * (v + line)) / scale
        d = root_b * (v + root_b * detector) / scale
    else:
        detector = (1.0 + (1.0 - eta) + 2.0 * nu) / eta
        total = line + detector / t
        scale = t * (v + total)
        c = (
            a * detector**2
            + root_b**2
            + 1.0
            + 2 * detector * (v * root_b + t * (v + line))
            + 2 * t * (v * v - 1)
        ) / scale**2
        d = ((v + root_b * detector) / scale) ** 2
    l3, l4 = _pair(c, d)
    return entropy_g(l1) + entropy_g(l2) - entropy_g(l3) - entropy_g(l4)


def mutual_information(channel: Channel) -> float:
    """Return the Shannon information of Alice and Bob [bit per symbol]."""
    snr = signal_to_noise(channel)
    if channel.detection == "homodyne":
        return 0.5 * math.log2(1.0 + snr)
    return math.log2(1.0 + snr)


def signal_to_noise(channel: Channel) -> float:
    """Return the signal-to-noise ratio of one measured quadrature [1]."""
    mu = 1.0 if channel.detection == "homodyne" else 2.0
    gain = channel.efficiency * channel.transmittance / mu
    noise = 1.0 + channel.electronic_snu + gain * channel.xi_snu
    return gain * channel.v_a_snu / noise


def asymptotic_rate(channel: Channel, beta: float) -> float:
    """Return the key rate [bit per symbol] of an endless block; may be negative."""
    return beta * mutual_information(channel) - holevo_information(channel)


def _check(channel: Channel) -> None:
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
