"""Displaced Gaussian modulation at the points of a plan: payload and key.

Noise that the displacement makes is added to the channel's, and the key is what the
security code says of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.reconciliation.pairs import Pair
from protocols.security.cv_finite import penalised_rate
from protocols.security.cv_rates import Link, Rates, Receiver, rates
from protocols.security.displacement import ClassicalLayer
from scqc.core.errors import ModelRangeError
from scqc.plan.cv_blocks import block_key_bits, reconciliation_pair
from scqc.plan.cv_light import decoded_uses, link_of, photons_per_use, receiver_of
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
    weights : ndarray, shape (k, ...), float64 [1]
        Of the bins; together the share of uses that decode.
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
    uses = channel.uses
    if uses is None:
        uses = decoded_uses(scheme, values, channel)
    receiver = receiver_of(scheme, values, channel)
    link = link_of(scheme, values, channel, uses)
    weights = uses.weights
    found = rates(link, receiver, scheme.direction)
    pair = reconciliation_pair(scheme, found.snr)
    mean = _sum(weights * found.information_bits)
    decoded = _sum(weights)
    columns = {
        "excess_noise_snu": _mean(np.asarray(link.xi_snu) + link.phase_xi_snu, weights),
        "stray_light_snu": _mean(
            2.0 * channel.stray_mode_photons / uses.transmittance, weights
        ),
        "information_bits_per_use": mean,
        "holevo_bits_per_use": _sum(weights * found.holevo_bits),
        "snr": _mean(found.snr, weights),
        "beta": _mean(pair.beta, weights),
        "frame_error_rate": _mean(pair.fer, weights),
    }
    if scheme.psk != "none":
        columns["photons_per_use"] = _mean(
            photons_per_use(scheme, values, uses), weights
        )
        columns["raw_ber"] = _mean(uses.raw_ber, weights)
        columns["decoded_share"] = decoded
    classical = _classical(scheme, values, mean, decoded)
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
        each = block_key_bits(scheme, parts, points.weights * block_size)
    # A bin whose transmittance gives no key is left out: the pilot says which.
    kept = _sum(points.weights * np.maximum(each, 0.0))
    best = np.max(each, axis=0)
    return np.asarray(np.where(kept > 0.0, kept, best))


def _classical(
    scheme: CvScheme, values: Values, information: Floats, decoded: Floats
) -> Floats:
    """Return what is sent besides the key, shape (...) [bit per use].

    `decoded` is the share of uses that carry data, shape (...) [1].
    """
    if scheme.classical_rate == "information":
        return information
    if scheme.psk == "none":
        return np.zeros_like(information)
    bits = 2 if scheme.psk == "qpsk" else 1
    return np.asarray(_payload(bits, values) * decoded)


def _payload(bits: int, values: Values) -> Floats:
    """Return the payload of uses that decode, shape (...) or () [bit]."""
    rate, errors, most = (
        np.array(a, dtype=np.float64)
        for a in np.broadcast_arrays(
            values.fec_rate, values.target_raw_ber, values.residual_ber
        )
    )
    bare = rate == 1.0
    wrong = bare & (errors > most)
    if np.any(wrong):
        raise ModelRangeError(
            "raw bit error rate without a code",
            float(errors[wrong].flat[0]),
            (0.0, float(most[wrong].flat[0])),
            "such data are none: set fec_rate below 1, or residual_ber",
        )
    found = np.full(rate.shape, float(bits))
    coded = ~bare
    found[coded] = ClassicalLayer(errors[coded], bits, rate[coded]).bits_per_use
    return found


def _sum(per_bin: Floats) -> Floats:
    return np.asarray(np.sum(per_bin, axis=0))


def _mean(per_bin: Floats, weights: Floats) -> Floats:
    """Return the mean over the uses that decode, shape (...)."""
    return np.asarray(_sum(weights * per_bin) / _sum(weights))
