"""How far the light of a plan is displaced, and which uses of it decode.

One displacement serves all fades: Alice knows how the transmittance is distributed,
not what it is. It reaches the raw bit error rate where all but a chosen share of the
uses are; those above it decode. On a channel that does not fade that is all of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import erfc

from protocols.security.cv_rates import Link, Receiver, Trust
from protocols.security.displacement import (
    Imperfections,
    bit_error_rate,
    decision_margin,
    displace,
)
from scqc.plan.fades import (
    Uses,
    adjacent_bins,
    quantile_root,
    steady_uses,
    uses_of,
    without_deep_fades,
)
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.values import Values

#: Of transmittance within a bin, for what varies there.
_CELLS = 8


def decoded_uses(scheme: CvScheme, values: Values, channel: ChannelPoints) -> Uses:
    """Return the uses that carry data and key, sorted by what is known of them.

    Parameters
    ----------
    scheme : CvScheme
    values : Values
        Its numbers, swept ones as arrays of the channel's shape.
    channel : ChannelPoints

    Returns
    -------
    Uses
        One bin, or as many as the scheme has; together less than all uses of a
        fading channel.

    Raises
    ------
    ModelRangeError
        If no displacement reaches the bit error rate, or a parameter is unphysical.
    """
    receiver = receiver_of(scheme, values, channel)
    fades = channel.weights.size > 1 and scheme.fading != "mean"
    uses, level = steady_uses(channel.transmittance), channel.transmittance
    bins = scheme.fading_bins if scheme.fading == "binned" else 1
    if fades:
        given_up = 0.0 if scheme.psk == "none" else values.outage_share
        outage = np.broadcast_to(given_up, level.shape)
        nodes = uses_of(channel.nodes, channel.weights)
        uses = without_deep_fades(nodes, _CELLS * bins, outage)
        level = quantile_root(nodes, outage[np.newaxis])[0] ** 2
    if scheme.psk != "none":
        uses = _displaced(scheme, (values, channel, receiver), uses, level)
    return adjacent_bins(uses, bins) if fades else uses


def link_of(
    scheme: CvScheme, values: Values, channel: ChannelPoints, uses: Uses
) -> Link:
    """Return light and channel as the key's estimate finds them, bin by bin.

    Parameters
    ----------
    scheme : CvScheme
    values : Values
    channel : ChannelPoints
    uses : Uses
        From `decoded_uses`.
    """
    plain = _undisturbed(scheme, values, channel, uses.transmittance)
    left = np.asarray(values.gain_variance, dtype=np.float64)
    if scheme.removal_gain == "bin":
        left = left + uses.spread
    # The light of a bin is what arrives of it: its mean is less by the spread.
    left = left * uses.light_snu / (1.0 + uses.spread)
    fading = uses.spread * plain.modulation_snu + left
    return replace(
        plain,
        xi_snu=plain.xi_snu + fading,
        phase_xi_snu=_phase_noise(scheme, values, uses.light_snu),
    )


def receiver_of(scheme: CvScheme, values: Values, channel: ChannelPoints) -> Receiver:
    """Return the receiver, the noise of an amplifier before it included.

    Parameters
    ----------
    scheme : CvScheme
    values : Values
    channel : ChannelPoints
    """
    trust = Trust(scheme.trust_efficiency, scheme.trust_electronic, scheme.trust_phase)
    plain = Receiver(values.efficiency, 0.0, scheme.detection, trust)
    # An amplifier's noise is counted before the light is split.
    electronic = np.asarray(values.electronic_snu) + channel.receiver_snu / plain.mu
    return replace(plain, electronic_snu=electronic)


def modulation_snu(scheme: CvScheme, values: Values) -> Floats:
    """Return the modulation variance with vacuum variance 1 [SNU].

    Shape (...) or ().

    Parameters
    ----------
    scheme : CvScheme
    values : Values
    """
    scale = 4.0 if scheme.variance_unit == "N0=1/4" else 1.0
    return np.asarray(scale * np.asarray(values.modulation_variance, dtype=np.float64))


def photons_per_use(scheme: CvScheme, values: Values, uses: Uses) -> Floats:
    """Return what Alice sends: displacement and modulation, shape (k, ...) [1].

    Parameters
    ----------
    scheme : CvScheme
    values : Values
    uses : Uses
    """
    axes = 2.0 if scheme.displaced_axes == "both" else 1.0
    sent = uses.light_snu / (1.0 + uses.spread)
    return np.asarray(0.25 * axes * sent + 0.5 * modulation_snu(scheme, values))


def _undisturbed(
    scheme: CvScheme, values: Values, channel: ChannelPoints, t: Floats
) -> Link:
    """Return the link at transmittances, without fading, phase and displacement."""
    floor = np.asarray(values.noise_bob_snu) / (np.asarray(values.efficiency) * t)
    # A photon of stray light at the end of the channel is 2 SNU there.
    stray = 2.0 * channel.stray_mode_photons / t
    return Link(
        transmittance=t,
        modulation_snu=modulation_snu(scheme, values),
        xi_snu=np.asarray(values.excess_noise_snu) + floor + stray,
        environment_snu=channel.environment_snu,
        source_snu=channel.source_snu,
    )


def _phase_noise(scheme: CvScheme, values: Values, light_snu: Floats) -> Floats:
    """Return what the residual phase makes of modulation and displacement [SNU]."""
    sigma2 = np.asarray(values.phase_variance_rad2, dtype=np.float64)
    turned = sigma2 if scheme.displaced_axes == "both" else 0.5 * sigma2**2
    return np.asarray(sigma2 * modulation_snu(scheme, values) + turned * light_snu)


def _displaced(
    scheme: CvScheme,
    parts: tuple[Values, ChannelPoints, Receiver],
    uses: Uses,
    level: Floats,
) -> Uses:
    """Displace all uses alike, for the error rate at one transmittance."""
    values, channel, receiver = parts
    per_axis = np.asarray(values.target_raw_ber, dtype=np.float64)
    axes = 1.0
    if scheme.psk == "bpsk" and scheme.detection == "heterodyne":
        # The bit is in both quadratures: each may be wrong more often.
        axes = 2.0
        per_axis = 0.5 * erfc(decision_margin(per_axis) / 2.0)
    imperfections = Imperfections(
        phase_variance_rad2=np.asarray(values.phase_variance_rad2),
        axes=scheme.displaced_axes,
    )
    there = _undisturbed(scheme, values, channel, level)
    squared = displace(there, receiver, per_axis, imperfections).squared_snu
    light = np.array(np.broadcast_to(squared, uses.root.shape))
    met = _undisturbed(scheme, values, channel, uses.transmittance)
    met = replace(met, phase_xi_snu=_phase_noise(scheme, values, light))
    wrong = bit_error_rate(light, met, receiver, axes)
    return replace(uses, light_snu=light, raw_ber=wrong)
