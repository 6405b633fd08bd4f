"""Displaced Gaussian modulation at the points of a plan: payload and key.

The displacement that a raw bit error rate needs is solved for, its noise is added
to the channel's, and the key is what the security code says of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import erfc

from protocols.reconciliation.pairs import Pair
from protocols.security.cv_finite import penalised_rate
from protocols.security.cv_rates import Link, Rates, Receiver, Trust, rates
from protocols.security.displacement import (
    ClassicalLayer,
    Displacement,
    Imperfections,
    bit_error_rate,
    decision_margin,
    displace,
)
from scqc.plan.cv_blocks import block_key_bits, reconciliation_pair
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.values import Values


@dataclass(frozen=True, slots=True)
class CvPoints:
    """The scheme on a channel, before a block size is chosen.

    Parameters
    ----------
    link : Link
        With all its noise; shape (k, ...) over the bins of the fading.
    receiver : Receiver
    rates : Rates
    weights : ndarray, shape (k,), float64 [1]
        Of the bins.
    pair : Pair
        Of the reconciliation, shape (k, ...).
    classical_bits : ndarray, shape (...), float64 [bit]
        Per use.
    columns : dict of str to ndarray, shape (...), float64
        What else a table shows.
    """

    link: Link
    receiver: Receiver
    rates: Rates
    weights: Floats
    pair: Pair
    classical_bits: Floats
    columns: dict[str, Floats]


def cv_points(scheme: CvScheme, values: Values, channel: ChannelPoints) -> CvPoints:
    """Put the scheme on a channel.

    Parameters
    ----------
    scheme : CvScheme
    values : Values
        Its numbers, swept ones as arrays of the channel's shape.
    channel : ChannelPoints

    Raises
    ------
    ModelRangeError
        If no displacement reaches the bit error rate, or a parameter is unphysical.
    """
    modulation = modulation_snu(scheme, values)
    t, weights, fading_xi = _bins(scheme, channel, modulation)
    receiver = _receiver(scheme, values, channel)
    floor = np.asarray(values.noise_bob_snu) / (np.asarray(values.efficiency) * t)
    # A photon of stray light at the end of the channel is 2 SNU there.
    stray = 2.0 * channel.stray_mode_photons / t
    link = Link(
        transmittance=t,
        modulation_snu=modulation,
        xi_snu=np.asarray(values.excess_noise_snu) + floor + fading_xi + stray,
        environment_snu=channel.environment_snu,
        source_snu=channel.source_snu,
    )
    link, moved = _displaced(scheme, values, link, receiver)
    found = rates(link, receiver, scheme.direction)
    pair = reconciliation_pair(scheme, found.snr)
    mean = np.tensordot(weights, found.information_bits, axes=1)
    classical = _classical(scheme, values, mean)
    columns = {
        "excess_noise_snu": _averaged(
            np.asarray(link.xi_snu) + link.phase_xi_snu, weights, t
        ),
        "stray_light_snu": _averaged(stray, weights, t),
        "information_bits_per_use": mean,
        "holevo_bits_per_use": np.tensordot(weights, found.holevo_bits, axes=1),
        "snr": np.tensordot(weights, found.snr, axes=1),
        "beta": np.tensordot(weights, pair.beta, axes=1),
        "frame_error_rate": np.tensordot(weights, pair.fer, axes=1),
    }
    if moved is not None:
        photons = 0.5 * moved.squared_snu + 0.5 * np.asarray(modulation)
        columns["photons_per_use"] = _averaged(photons, weights, t)
        columns["raw_ber"] = _averaged(
            bit_error_rate(moved.squared_snu, link, receiver), weights, t
        )
    return CvPoints(link, receiver, found, weights, pair, classical, columns)


def cv_key_bits(scheme: CvScheme, points: CvPoints, block_size: float) -> Floats:
    """Return the key per use, negative where there is none.

    Parameters
    ----------
    scheme : CvScheme
    points : CvPoints
    block_size : float
        Symbols per block; 0 is endless.

    Returns
    -------
    ndarray, shape (...), float64 [bit per use]
    """
    endless = (1.0 - points.pair.fer) * points.rates.key_bits(points.pair.beta)
    single = points.weights.size == 1
    share = points.weights.reshape(-1, *([1] * (endless.ndim - 1)))
    if not block_size:
        each = endless
    elif scheme.finite == "published":
        each = penalised_rate(
            points.rates,
            points.pair.beta,
            block_size,
            scheme.published_penalty_bits,
            1.0 - float(np.max(points.pair.fer)),
        )
    else:
        parts = (points.link, points.receiver, points.pair)
        each = block_key_bits(scheme, parts, share * block_size)
    if single:
        return np.asarray(each[0])
    # A bin whose transmittance gives no key is left out: the pilot says which.
    kept = np.tensordot(points.weights, np.maximum(each, 0.0), axes=1)
    best = np.max(each, axis=0)
    return np.asarray(np.where(kept > 0.0, kept, best))


def modulation_snu(scheme: CvScheme, values: Values) -> Floats:
    """Return the modulation variance with vacuum variance 1 [SNU]."""
    scale = 4.0 if scheme.variance_unit == "N0=1/4" else 1.0
    return np.asarray(scale * np.asarray(values.modulation_variance, dtype=np.float64))


def _bins(
    scheme: CvScheme, channel: ChannelPoints, modulation: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return transmittances (k, ...), weights, and excess noise of the fading."""
    none = np.zeros(())
    if scheme.fading == "binned":
        return channel.nodes, channel.weights, modulation * channel.spread
    if scheme.fading == "mean" or channel.weights.size == 1:
        return channel.transmittance[np.newaxis], np.ones(1), none
    root = np.tensordot(channel.weights, np.sqrt(channel.nodes), axes=1)
    mean = np.tensordot(channel.weights, channel.nodes, axes=1)
    spread = np.maximum(mean / root**2 - 1.0, 0.0)
    return (root**2)[np.newaxis], np.ones(1), modulation * spread


def _receiver(scheme: CvScheme, values: Values, channel: ChannelPoints) -> Receiver:
    trust = Trust(scheme.trust_efficiency, scheme.trust_electronic, scheme.trust_phase)
    plain = Receiver(values.efficiency, 0.0, scheme.detection, trust)
    # An amplifier's noise is counted before the light is split.
    electronic = np.asarray(values.electronic_snu) + channel.receiver_snu / plain.mu
    return replace(plain, electronic_snu=electronic)


def _displaced(
    scheme: CvScheme, values: Values, link: Link, receiver: Receiver
) -> tuple[Link, Displacement | None]:
    sigma2 = np.asarray(values.phase_variance_rad2)
    if scheme.psk == "none":
        turned = sigma2 * np.asarray(link.modulation_snu)
        return replace(link, phase_xi_snu=turned), None
    imperfections = Imperfections(
        phase_variance_rad2=sigma2, axes=scheme.displaced_axes
    )
    per_axis = np.asarray(values.target_raw_ber, dtype=np.float64)
    if scheme.psk == "bpsk" and scheme.detection == "heterodyne":
        # The bit is in both quadratures: each may be wrong more often.
        per_axis = 0.5 * erfc(decision_margin(per_axis) / 2.0)
    moved = displace(link, receiver, per_axis, imperfections)
    return moved.on(link), moved


def _classical(scheme: CvScheme, values: Values, information: Floats) -> Floats:
    if scheme.classical_rate == "information":
        return information
    if scheme.psk == "none":
        return np.zeros_like(information)
    layer = ClassicalLayer(
        raw_bit_error_rate=values.target_raw_ber,
        bits_per_symbol=2 if scheme.psk == "qpsk" else 1,
        fec_rate=values.fec_rate,
    )
    if np.all(np.asarray(values.fec_rate) == 1.0):
        # Uncoded: what the bit error rate leaves is the payload.
        return np.full_like(information, float(layer.bits_per_symbol))
    return np.broadcast_to(layer.bits_per_use, information.shape).copy()


def _averaged(per_bin: Floats, weights: Floats, like: Floats) -> Floats:
    full = np.broadcast_to(per_bin, np.broadcast_shapes(np.shape(per_bin), like.shape))
    return np.asarray(np.tensordot(weights, full, axes=1))
