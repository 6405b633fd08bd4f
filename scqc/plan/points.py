"""Transmittance at the points of a plan, its fading and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import ArrayLike

from scqc.core.errors import ModelRangeError
from scqc.plan.fades import Uses, sorted_into_bins
from scqc.plan.records import Floats

#: Nothing whatever comes through [dB]; beyond it numbers lose their meaning.
MOST_LOSS_DB = 300.0


@dataclass(frozen=True, slots=True)
class ChannelPoints:
    """A channel, evaluated.

    Parameters
    ----------
    transmittance : ndarray, shape (...), float64 [1]
        Mean.
    nodes : ndarray, shape (k, ...), float64 [1]
        Transmittances that the fading takes; k = 1 without fading.
    weights : ndarray, shape (k,), float64 [1]
        Their probabilities.
    loss_db : dict of str to ndarray, shape (...), float64 [dB]
        Parts of the loss, in the order of the light's way.
    environment_snu, source_snu : ndarray, shape (...), float64 [SNU]
        Variances of what the loss lets in, and of Alice's light unmodulated.
    receiver_snu : ndarray, shape (...), float64 [SNU]
        Noise of the receiver's amplifier.
    stray_mode_photons : ndarray, shape (...) or (), float64 [1]
        Stray light in the one mode, of one polarisation, of a coherent receiver,
        where the channel ends.
    stray_hz_per_nm, stray_hz : ndarray, shape (...) or (), float64 [1/(s nm)], [1/s]
        Stray photons before counting detectors: spread over the spectrum, and of a
        line inside the filter.
    uses : Uses or None
        Of the Gaussian scheme where they are known already, displaced and sorted.
    extra : dict of str to ndarray, shape (...), float64
        Whatever else is worth a column, the unit in its name.
    warnings : tuple of str
    """

    transmittance: Floats
    nodes: Floats
    weights: Floats
    loss_db: dict[str, Floats]
    environment_snu: Floats
    source_snu: Floats
    receiver_snu: Floats
    stray_mode_photons: Floats = field(default_factory=lambda: np.zeros(()))
    stray_hz_per_nm: Floats = field(default_factory=lambda: np.zeros(()))
    stray_hz: Floats = field(default_factory=lambda: np.zeros(()))
    uses: Uses | None = None
    extra: dict[str, Floats] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def stray_photons(self, filter_nm: Floats, gate_s: Floats) -> Floats:
        """Return stray photons in one gate of counting detectors [1].

        Shape (...).

        Parameters
        ----------
        filter_nm : ndarray, shape (...), float64 [nm]
            Width of the spectral filter.
        gate_s : ndarray, shape (...), float64 [s]
        """
        return np.asarray((self.stray_hz_per_nm * filter_nm + self.stray_hz) * gate_s)

    @property
    def thermal_photons(self) -> Floats:
        """Photons of heat in the one mode at the channel's end, shape (...) [1].

        The loss lets in what the environment holds, and the warmth of Alice's light
        comes through: n = (V - 1) / 2 of a variance V in SNU.
        """
        t = self.transmittance
        warm = (1.0 - t) * (self.environment_snu - 1.0) + t * (self.source_snu - 1.0)
        return np.asarray(0.5 * warm)

    @property
    def total_loss_db(self) -> Floats:
        """Of the mean transmittance, shape (...) [dB]."""
        return np.asarray(-10.0 * np.log10(self.transmittance))

    def amplified(self, gain_db: Floats | float) -> ChannelPoints:
        """Return the channel with less loss, nowhere above a transmittance of 1.

        Parameters
        ----------
        gain_db : float or ndarray, shape (...), float64 [dB]
        """
        gain = 10.0 ** (0.1 * np.asarray(gain_db, dtype=np.float64))
        return replace(
            self,
            transmittance=np.minimum(self.transmittance * gain, 1.0),
            nodes=np.minimum(self.nodes * gain, 1.0),
        )


class Loss:
    """Collects the parts of a loss.

    Parameters
    ----------
    shape : tuple of int
        Of the points.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self.parts_db: dict[str, Floats] = {}

    def add(self, name: str, loss_db: ArrayLike) -> None:
        """Add a part in dB, broadcast to all points."""
        self.parts_db[name] = np.array(
            np.broadcast_to(np.asarray(loss_db, dtype=np.float64), self._shape)
        )

    def share(self, name: str, transmittance: ArrayLike) -> None:
        """Add a part as a transmittance."""
        share = np.asarray(transmittance, dtype=np.float64)
        # No light at all is an endless loss, which is refused with the others.
        with np.errstate(divide="ignore"):
            self.add(name, -10.0 * np.log10(share))

    @property
    def transmittance(self) -> Floats:
        """Of all parts together, shape (...) [1].

        Raises
        ------
        ModelRangeError
            If the loss exceeds `MOST_LOSS_DB`.
        """
        total = sum(self.parts_db.values(), start=np.zeros(self._shape))
        if np.any(total > MOST_LOSS_DB):
            largest = max(self.parts_db, key=lambda part: np.max(self.parts_db[part]))
            raise ModelRangeError(
                "loss [dB]",
                float(np.max(total)),
                (0.0, MOST_LOSS_DB),
                f"most of it is {largest}",
            )
        return np.asarray(10.0 ** (-0.1 * total))


def steady(
    loss: Loss,
    extra: dict[str, Floats] | None = None,
    warnings: tuple[str, ...] = (),
) -> ChannelPoints:
    """Return a channel without fading, in a cold environment."""
    t = loss.transmittance
    return ChannelPoints(
        transmittance=t,
        nodes=t[np.newaxis],
        weights=np.ones(1),
        loss_db=loss.parts_db,
        environment_snu=np.ones(t.shape),
        source_snu=np.ones(t.shape),
        receiver_snu=np.zeros(t.shape),
        extra=extra or {},
        warnings=warnings,
    )


def one_block(channel: ChannelPoints, uses: Uses, bins: int) -> ChannelPoints:
    """Merge all points of a channel, and their fading, into one of few nodes.

    Parameters
    ----------
    channel : ChannelPoints
        Of shape (n,), every point as long as the others.
    uses : Uses
        Of its points, shape (k, n).
    bins : int
        Nodes that are left, of equal probability.

    Returns
    -------
    ChannelPoints
        Of one point; `uses` holds what a node hides.
    """
    n = channel.transmittance.size
    flat = Uses(*(np.reshape(getattr(uses, one.name), (-1, 1)) for one in fields(Uses)))
    whole = sorted_into_bins(replace(flat, weights=flat.weights / n), bins)
    one = np.ones(1)
    return replace(
        channel,
        transmittance=np.mean(channel.transmittance) * one,
        nodes=whole.transmittance,
        weights=whole.weights[:, 0],
        loss_db={},
        environment_snu=one,
        source_snu=one,
        receiver_snu=0.0 * one,
        stray_mode_photons=np.mean(channel.stray_mode_photons) * one,
        stray_hz_per_nm=np.mean(channel.stray_hz_per_nm) * one,
        stray_hz=np.mean(channel.stray_hz) * one,
        uses=whole,
        extra={},
    )
