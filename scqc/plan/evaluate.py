"""From a scenario to what it gives at points: channel, scheme, block sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import ModelRangeError
from scqc.plan.channels import channel_points
from scqc.plan.cv import cv_key_bits, cv_points
from scqc.plan.dv import dv_key_bits, dv_points
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.values import Values

#: Numbers that the models take one at a time: points are grouped by them. All others
#: are read through `Values`; a test sweeps every number there is.
ONE_AT_A_TIME = frozenset(
    {
        "scheme.beta",
        "scheme.frame_error_rate",
        "scheme.epsilon",
        "scheme.calibration_samples",
        "scheme.disclosed_share",
        "scheme.published_penalty_bits",
        "channel.wind_m_per_s",
        "channel.ground_cn2",
        "channel.extinction_per_m",
        "channel.scale_height_m",
    }
)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A scenario at some points.

    Parameters
    ----------
    channel : ChannelPoints
    balance_bits : dict of float to ndarray, shape (...), float64 [bit per use]
        Key by block size; negative where there is none.
    columns : dict of str to ndarray, shape (...), float64
        Everything that does not depend on the block.
    """

    channel: ChannelPoints
    balance_bits: dict[float, Floats]
    columns: dict[str, Floats]


def evaluate_points(
    scenario: Scenario,
    arrays: dict[str, Floats],
    block_sizes: tuple[float, ...],
) -> Evaluated:
    """Evaluate a scenario at points.

    Parameters
    ----------
    scenario : Scenario
    arrays : dict of str to ndarray, shape (...), float64 [unit of the field]
        By dotted name; all of one shape.
    block_sizes : tuple of float
        0 is endless.

    Raises
    ------
    ModelRangeError
        Where a model does not hold.
    """
    shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
    full = {k: np.broadcast_to(a, shape) for k, a in arrays.items()}
    single = [key for key in full if key in ONE_AT_A_TIME]
    if not single:
        return _evaluated(scenario, full, shape, block_sizes)
    rows = np.stack([full[key].ravel() for key in single], axis=1)
    found, group = np.unique(rows, axis=0, return_inverse=True)
    flat = {key: values.ravel() for key, values in full.items()}
    places, parts = [], []
    for number, row in enumerate(found):
        where = np.nonzero(group.ravel() == number)[0]
        some = {key: values[where] for key, values in flat.items()}
        one = with_numbers(scenario, dict(zip(single, row.tolist(), strict=True)))
        places.append(where)
        parts.append(_evaluated(one, some, where.shape, block_sizes))
    return _joined(parts, np.argsort(np.concatenate(places)), shape)


def with_numbers(scenario: Scenario, numbers: Mapping[str, float]) -> Scenario:
    """Return a scenario with other numbers; no relation between them is checked.

    Parameters
    ----------
    scenario : Scenario
    numbers : mapping of str to float
        By dotted name [unit of the field].
    """
    parts = {}
    for part in ("channel", "scheme"):
        own = {
            key.partition(".")[2]: value
            for key, value in numbers.items()
            if key.partition(".")[0] == part
        }
        if own:
            parts[part] = getattr(scenario, part).model_copy(update=own)
    return scenario.model_copy(update=parts)


def _evaluated(
    scenario: Scenario,
    arrays: dict[str, Floats],
    shape: tuple[int, ...],
    block_sizes: tuple[float, ...],
) -> Evaluated:
    channel_values = Values(scenario.channel, part_of("channel", arrays), shape)
    scheme_values = Values(scenario.scheme, part_of("scheme", arrays), shape)
    channel = channel_points(scenario.channel, channel_values)
    return rates_on(scenario, channel, scheme_values, block_sizes)


def _joined(
    parts: Sequence[Evaluated],
    order: NDArray[np.intp],
    shape: tuple[int, ...],
) -> Evaluated:
    """Put groups of points together; `order` says where each of them stands."""

    def whole(arrays: Sequence[Floats], like: Sequence[Floats]) -> Floats:
        full = [np.broadcast_to(a, b.shape) for a, b in zip(arrays, like, strict=True)]
        return np.array(np.concatenate(full)[order].reshape(shape))

    channels = [part.channel for part in parts]
    mean = [one.transmittance for one in channels]

    def each(name: str) -> Floats:
        return whole([getattr(one, name) for one in channels], mean)

    def named(tables: Sequence[dict[Any, Floats]]) -> dict[Any, Floats]:
        # A part of the loss that a group does not have is none there.
        names = dict.fromkeys(name for one in tables for name in one)
        none = np.zeros(())
        return {n: whole([t.get(n, none) for t in tables], mean) for n in names}

    transmittance = each("transmittance")
    channel = ChannelPoints(
        transmittance=transmittance,
        # Groups differ in their nodes; what follows from them is evaluated already.
        nodes=transmittance[np.newaxis],
        weights=np.ones(1),
        loss_db=named([one.loss_db for one in channels]),
        environment_snu=each("environment_snu"),
        source_snu=each("source_snu"),
        receiver_snu=each("receiver_snu"),
        stray_mode_photons=each("stray_mode_photons"),
        stray_hz_per_nm=each("stray_hz_per_nm"),
        stray_hz=each("stray_hz"),
        extra=named([one.extra for one in channels]),
        warnings=tuple(dict.fromkeys(w for one in channels for w in one.warnings)),
    )
    balances = named([part.balance_bits for part in parts])
    return Evaluated(channel, balances, named([part.columns for part in parts]))


def rates_on(
    scenario: Scenario,
    channel: ChannelPoints,
    values: Values,
    block_sizes: tuple[float, ...],
) -> Evaluated:
    """Put the scheme of a scenario on a channel that is known already.

    Parameters
    ----------
    scenario : Scenario
    channel : ChannelPoints
    values : Values
        Of the scheme, of the channel's shape.
    block_sizes : tuple of float
        0 is endless.

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical.
    """
    scheme = scenario.scheme
    if isinstance(scheme, CvScheme):
        cv = cv_points(scheme, values, channel)
        keys = {n: cv_key_bits(scheme, cv, n) for n in block_sizes}
        columns = {"classical_bits_per_use": cv.classical_bits, **cv.columns}
    else:
        check_order(values)
        dv = dv_points(scheme, values, channel, scenario.symbol_rate_hz)
        keys = {n: dv_key_bits(scheme, values, dv, n) for n in block_sizes}
        columns = {"payload_bits_per_use": dv.payload_bits, **dv.columns}
    return Evaluated(channel, keys, columns | channel.extra)


def check_order(values: Values) -> None:
    """Refuse intensities and shares that the decoy bounds do not hold for.

    Parameters
    ----------
    values : Values
        Of weak pulses.

    Raises
    ------
    ModelRangeError
        As `scqc.plan.scheme_settings.DvScheme` has it, at whichever point.
    """
    signal, decoy = values.full("signal_photons"), values.full("decoy_photons")
    vacuum = values.full("vacuum_photons")
    bright, weak = values.full("signal_share"), values.full("decoy_share")
    left = 1.0 - bright - weak
    rules = (
        ("signal photons", signal, decoy + vacuum, 5.0, "must exceed decoy and vacuum"),
        ("decoy photons", decoy, vacuum, 5.0, "must exceed the vacuum's"),
        ("share of the vacuum", left, 1e-9 + 0.0 * weak, 1.0, "nothing is left"),
    )
    for name, value, low, high, why in rules:
        bad = np.ravel(value <= low)
        if np.any(bad):
            i = int(np.argmax(bad))
            # Open at its lower end: the nearest value lies above it.
            limits = (float(np.ravel(low)[i]) + 1e-3, high)
            raise ModelRangeError(name, float(np.ravel(value)[i]), limits, why)


def part_of(part: str, arrays: dict[str, Floats]) -> dict[str, Floats]:
    """Return the arrays of one part, by field name.

    Parameters
    ----------
    part : str
        ``channel`` or ``scheme``.
    arrays : dict of str to ndarray, shape (...), float64 [unit of the field]
        By dotted name.
    """
    return {
        key.partition(".")[2]: values
        for key, values in arrays.items()
        if key.partition(".")[0] == part
    }
