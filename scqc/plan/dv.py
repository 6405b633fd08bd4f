"""Decoy-state keys and padded messages at the points of a plan.

Clicks and errors are averaged over the fading first, entropies are taken after. The
default fills the ledger of the program itself with expected counts; ``published`` is
the form of published satellite curves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocols.security.decoy import Intensities, Method
from protocols.security.dv_finite import (
    PhotonBlock,
    SlotRates,
    check_link,
    ledger_of_rates,
)
from protocols.security.dv_rates import (
    Decoys,
    Gains,
    PhotonLink,
    PublishedBlock,
    binary_entropy,
    click_rate,
    gains,
    key_per_slot,
    message_per_slot,
    published_key_per_slot,
    wrong_click_rate,
)
from scqc.core.errors import ModelRangeError
from scqc.plan.dead_time import Brightness, DeadTime
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.scheme_settings import DvScheme
from scqc.plan.values import Values

#: Slots of a block as good as endless, the most that the bounds take: statistics cost
#: less than 1e-4 of the key where the decoys' gain is above 1e-5. What verification
#: takes of every frame stays in.
_ENDLESS = 1e18
#: Stray clicks per gate, on average: without dark counts one gate in 1e6 stays empty.
_MOST_CLICKS = 13.8


@dataclass(frozen=True, slots=True)
class DvPoints:
    """The scheme on a channel, before a block size is chosen.

    Parameters
    ----------
    link : PhotonLink
    gains : Gains
        Of vacuum, decoy and signal.
    decoys : Decoys
    clicks, wrong : tuple of ndarray, shape (...), float64 [1]
        Per slot of signal, decoy and vacuum pulses.
    payload_bits : ndarray, shape (...), float64 [bit per slot]
    ready_off : ndarray, shape (k, ...), float64 [1]
        By how much `link.ready` may be off, relative.
    columns : dict of str to ndarray, shape (...), float64
    """

    link: PhotonLink
    gains: Gains
    decoys: Decoys
    clicks: tuple[Floats, ...]
    wrong: tuple[Floats, ...]
    payload_bits: Floats
    ready_off: Floats
    columns: dict[str, Floats]


def dv_points(
    scheme: DvScheme, values: Values, channel: ChannelPoints, slot_rate_hz: float
) -> DvPoints:
    """Put the scheme on a channel.

    Parameters
    ----------
    scheme : DvScheme
    values : Values
        Its numbers, swept ones as arrays of the channel's shape.
    channel : ChannelPoints
    slot_rate_hz : float
        Turns the dead time into slots [Hz].

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical.
    """
    background = _background_yield(values, channel)
    # As many at any time as in the gate; half of them in each of two detectors.
    rate_hz = -0.5 * np.log1p(-background) / values.full("gate_s")
    dead = DeadTime.of(values.full("dead_time_s"), slot_rate_hz, rate_hz)
    link = _link(values, channel, dead, background)
    secret = 1.0 - values.full("public_share")
    share, z = secret * values.full("signal_share"), values.full("z_share")
    half = scheme.finite == "published"
    decoys = Decoys(
        signal=values.full("signal_photons"),
        decoy=values.full("decoy_photons"),
        sifting=0.5 * share if half else share * z**2,
        efficiency=values.full("correction_efficiency"),
    )
    photons = (decoys.signal, decoys.decoy, values.full("vacuum_photons"))
    clicks = tuple(click_rate(link, n) for n in photons)
    wrong = tuple(wrong_click_rate(link, n) for n in photons)
    found = gains(link, decoys)
    if half:
        payload = message_per_slot(found, decoys)
    else:
        payload = _message(values, clicks, wrong)
    columns = {
        "gain_signal": clicks[0],
        "gain_decoy": clicks[1],
        "gain_vacuum": clicks[2],
        "qber": found.error_rate,
        "stray_light_yield": stray_light_yield(values, channel),
    }
    reached = values.full("efficiency") * channel.nodes
    off = dead.left_out(reached, values.in_gate_share, brightness(values))
    return DvPoints(link, found, decoys, clicks, wrong, payload, off, columns)


def _background_yield(values: Values, channel: ChannelPoints) -> Floats:
    """Return clicks per slot, in the gate, without signal light, shape (...) [1]."""
    dark, stray = values.full("dark_yield"), values.full("stray_yield")
    other, light = dark + stray - dark * stray, stray_light_yield(values, channel)
    return np.asarray(other + light - other * light)


def _link(
    values: Values, channel: ChannelPoints, dead: DeadTime, background: Floats
) -> PhotonLink:
    """Return the way from Alice's exit to a click in the gate, dead times counted."""
    found, in_gate = values.full("efficiency") * channel.nodes, values.in_gate_share
    return PhotonLink(
        transmittance=in_gate * found,
        background_yield=background,
        misalignment=values.full("misalignment"),
        weights=channel.weights,
        ready=dead.ready(found, in_gate, brightness(values)),
        blinding=dead.blinding(found, in_gate),
    )


def stray_light_yield(values: Values, channel: ChannelPoints) -> Floats:
    """Return clicks per slot by light of the sky, of other channels, of heat [1].

    Shape (...). Of heat, one mode and one gate: what a detector of one mode sees at
    least. A warm mode of n photons on average gives a click with probability
    eta n / (1 + eta n).

    Parameters
    ----------
    values : Values
        Of the scheme.
    channel : ChannelPoints

    Raises
    ------
    ModelRangeError
        If stray light makes every gate click.
    """
    filter_nm, gate_s = values.full("filter_nm"), values.full("gate_s")
    efficiency = values.full("efficiency")
    stray = channel.stray_photons(filter_nm, gate_s)
    _check_dark_enough(stray, _MOST_CLICKS / efficiency)
    light = -np.expm1(-efficiency * stray)
    heat = efficiency * channel.thermal_photons
    return np.asarray(light + (1.0 - light) * heat / (1.0 + heat))


def _check_dark_enough(stray: Floats, most: Floats) -> None:
    """Refuse stray photons in a gate that leave no gate without a click."""
    excess = np.ravel(stray - most)
    if np.any(excess > 0.0):
        i = int(np.argmax(excess))
        raise ModelRangeError(
            "stray photons in a gate",
            float(np.ravel(stray)[i]),
            (0.0, float(np.ravel(most)[i])),
            "every gate clicks; less light, or a narrower field of view, filter or "
            "gate, lets some stay empty",
        )


def brightness(values: Values) -> Brightness:
    """Return all slots' brightness; half of the public ones are signals, half dark."""
    signal, decoy = values.full("signal_share"), values.full("decoy_share")
    bright, weak = values.full("signal_photons"), values.full("decoy_photons")
    closed, public = values.full("vacuum_photons"), values.full("public_share")
    secret = 1.0 - public
    return Brightness(
        (bright, weak, closed),
        (
            secret * signal + 0.5 * public,
            secret * decoy,
            secret * (1.0 - signal - decoy) + 0.5 * public,
        ),
    )


def dv_key_bits(
    scheme: DvScheme, values: Values, points: DvPoints, block_size: float
) -> Floats:
    """Return the key per slot, negative where there is none.

    Parameters
    ----------
    scheme : DvScheme
    values : Values
    points : DvPoints
    block_size : float
        Slots per block; 0 is endless.

    Returns
    -------
    ndarray, shape (...), float64 [bit per slot]
    """
    if scheme.finite == "published":
        if not block_size:
            return key_per_slot(points.gains, points.decoys)
        signal, decoy = values.full("signal_share"), values.full("decoy_share")
        block = PublishedBlock(
            slots=block_size * (1.0 - values.full("public_share")),
            shares=(signal, decoy, 1.0 - signal - decoy),
            check_basis=1.0 - values.full("z_share"),
            epsilon=scheme.epsilon,
        )
        return published_key_per_slot(points.gains, points.decoys, block)
    check_link(points.link)
    blocks = point_blocks(scheme, values, points, block_size)
    each = [ledger_of_rates(*block).balance_bits for block in blocks]
    return np.array(each).reshape(values.shape) / (block_size or _ENDLESS)


def point_blocks(
    scheme: DvScheme, values: Values, points: DvPoints, block_size: float
) -> Iterator[tuple[SlotRates, Intensities, PhotonBlock]]:
    """Yield what the ledger of each point's block is made of.

    Parameters
    ----------
    scheme : DvScheme
    values : Values
    points : DvPoints
    block_size : float
        Slots per block, public ones included; 0 is endless.
    """

    def numbers(*fields: Floats) -> Iterator[tuple[float, ...]]:
        full = (np.broadcast_to(field, values.shape).ravel() for field in fields)
        return zip(*(one.tolist() for one in full), strict=True)

    method: Method = "hoeffding"
    if block_size and scheme.finite != "published":
        method = scheme.finite
    rows = zip(
        numbers(*points.clicks),
        numbers(*points.wrong),
        numbers(*(values.full(f"{name}_photons") for name in _INTENSITIES)),
        numbers(*(values.full(name) for name in _OF_THE_BLOCK)),
        strict=True,
    )
    for clicks, wrong, photons, (signal, decoy, public, basis, efficiency) in rows:
        sent = Intensities(_three(photons), (signal, decoy, 1.0 - (signal + decoy)))
        block = PhotonBlock(
            slots=(block_size or _ENDLESS) * (1.0 - public),
            key_basis=basis,
            efficiency=efficiency,
            # The other half is for keys that differ, as on the bench.
            secrecy=0.5 * scheme.epsilon,
            method=method,
        )
        yield SlotRates(_three(clicks), _three(wrong)), sent, block


_INTENSITIES = ("signal", "decoy", "vacuum")
_OF_THE_BLOCK = (
    "signal_share",
    "decoy_share",
    "public_share",
    "z_share",
    "correction_efficiency",
)


def _three(row: tuple[float, ...]) -> tuple[float, float, float]:
    signal, decoy, vacuum = row
    return signal, decoy, vacuum


def _message(
    values: Values, clicks: tuple[Floats, ...], wrong: tuple[Floats, ...]
) -> Floats:
    """Return the padded payload per slot: all key-basis detections carry it."""
    signal, decoy = values.full("signal_share"), values.full("decoy_share")
    shares = (signal, decoy, 1.0 - signal - decoy)
    every = sum(
        (p * c for p, c in zip(shares, clicks, strict=True)), start=0.0 * signal
    )
    bad = sum((p * w for p, w in zip(shares, wrong, strict=True)), start=0.0 * signal)
    secret = 1.0 - values.full("public_share")
    kept = secret * values.full("z_share") ** 2 * every
    entropy = binary_entropy(bad / every)
    useful = 1.0 - values.full("correction_efficiency") * entropy
    return np.asarray(kept * np.maximum(useful, 0.0))
