r"""What a dead time costs a receiver of pulse pairs.

Bob's unbalanced interferometer finds a slot's photons at three times, half a slot
apart: in the middle, where early and late pulse overlap, with the share `s` that is
in the gate; before and after it with (1 - s) / 2 each. A slot's late photons meet the
next one's early ones. Of two detectors that share the light evenly, one clicks with

.. math:: p_c = 1 - \langle e^{-\mu\eta s/2}\rangle, \qquad
          p_e = 1 - \langle e^{-\mu\eta (1-s)/4}\rangle^2

in a middle and between slots, with :math:`\eta` the transmittance to all three times
together and the mean over the brightness :math:`\mu` of slots. A click blinds: then
a detector is ready in a share 1 / (1 + P) of the times, with P the clicks that it
would have, always ready, in one dead time (mean distance of clicks, non-paralysable).
A detection counts only if no detector clicked in the dead time before it: both must
be ready. The half slot next to the middle also holds photons of the very slot, so
bright slots are missed more often,

.. math:: \text{ready}\; e^{-\mu b}, \qquad b = \tfrac12 (1 - s) \eta, \qquad
          \text{ready} = \langle e^{-\mu b/2} \rangle^{-2} (1 + P)^{-2} .

Brightness lasts for a whole slot. To second order, with v its relative variance and
:math:`\lambda` the mean per half slot and detector: a slot that did not click early is
likely a darker one, by :math:`v\lambda/2` of its mean in the middle and thrice that
late, so P is smaller by :math:`5 v\lambda P/8` on average; and both detectors click
together, with a covariance of :math:`2 v\lambda P`. Both make `ready` larger, by

.. math:: \delta = v\lambda \left[ \frac{5P/4}{1+P} + \frac{2P}{(1+P)^2} \right] .

Background clicks at any time, in the gate or not: it adds its rate times the dead time
to P. Left out are higher orders, for which half of :math:`\delta` is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scqc.plan.records import Floats

#: Nearer than this share of it, a number of half slots is whole.
_WHOLE = 1e-9


@dataclass(frozen=True, slots=True)
class Brightness:
    """Mean photon numbers of slots, and how often they are sent.

    Parameters
    ----------
    photons, shares : tuple of ndarray, shape (...), float64 [1]
        As many of one as of the other; the shares add up to 1.
    """

    photons: tuple[Floats, ...]
    shares: tuple[Floats, ...]

    @property
    def mean(self) -> Floats:
        """Mean photon number, shape (...) [1]."""
        return self._mean(lambda photons: photons)

    @property
    def relative_variance(self) -> Floats:
        """Variance of the brightness over its square, shape (...) [1]."""
        mean = np.maximum(self.mean, 1e-300)
        return np.asarray(self._mean(lambda n: (n / mean) ** 2) - 1.0)

    def none(self, transmittance: Floats) -> Floats:
        """Return the probability that no photon is found, shape (...) [1]."""
        return self._mean(lambda photons: np.exp(-photons * transmittance))

    def _mean(self, of: Callable[[Floats], Floats]) -> Floats:
        terms = [p * of(n) for n, p in zip(self.photons, self.shares, strict=True)]
        return np.asarray(sum(terms[1:], start=terms[0]))


@dataclass(frozen=True, slots=True)
class DeadTime:
    """Times at which a click hides a slot's middle, in the slots before it.

    Parameters
    ----------
    edges, middles : ndarray, shape (...), float64 [1]
        How many times between slots, and in the middle of one; whole, except where
        the last is hidden as often as not, a dead time away.
    background : ndarray, shape (...), float64 [1]
        Clicks of one detector without signal light in one dead time.
    """

    edges: Floats
    middles: Floats
    background: Floats

    @staticmethod
    def of(
        dead_time_s: Floats, slot_rate_hz: float, background_hz: Floats | float = 0.0
    ) -> DeadTime:
        """Return what a dead time hides.

        Parameters
        ----------
        dead_time_s : ndarray, shape (...), float64 [s]
        slot_rate_hz : float
            [Hz]
        background_hz : ndarray, shape (...), float64 [1/s]
            Clicks of one detector without signal light, at any time.
        """
        half_slots = 2.0 * np.asarray(dead_time_s, dtype=np.float64) * slot_rate_hz
        nearest = np.round(half_slots)
        tie = (nearest > 0.0) & (np.abs(half_slots - nearest) < _WHOLE * nearest)
        # Jitter decides which of two clicks a dead time apart comes too early.
        whole = np.where(tie, nearest - 1.0, np.floor(half_slots))
        rest, odd = np.where(tie, 0.5, 0.0), whole % 2.0
        pairs = 0.5 * (whole - odd)
        edges, middles = pairs + odd + (1.0 - odd) * rest, pairs + odd * rest
        return DeadTime(edges, middles, np.asarray(background_hz * dead_time_s))

    def blinding(self, found: Floats, in_gate: Floats) -> Floats:
        """Return the transmittance `b` to where a slot's photons hide the slot itself.

        Parameters
        ----------
        found : ndarray, shape (...), float64 [1]
            Transmittance to a click at any of the three times.
        in_gate : ndarray, shape (...), float64 [1]
            Share of them in the middle.

        Returns
        -------
        ndarray, shape (...), float64 [1]
        """
        return np.asarray(np.minimum(self.edges, 1.0) * 0.5 * (1.0 - in_gate) * found)

    def ready(self, found: Floats, in_gate: Floats, light: Brightness) -> Floats:
        """Return the share of slots that no click of earlier slots hides.

        Parameters
        ----------
        found, in_gate : ndarray, shape (...), float64 [1]
            As for `blinding`.
        light : Brightness
            Of all slots, public ones included.

        Returns
        -------
        ndarray, shape (...), float64 [1]
        """
        early = light.none(0.25 * (1.0 - in_gate) * found)
        clicks = self._clicks(found, in_gate, light)
        own = early ** (-2.0 * np.minimum(self.edges, 1.0))
        more = 1.0 + self._second_order(found, light, clicks)
        return np.asarray(np.minimum(own * more * (1.0 + clicks) ** -2.0, 1.0))

    def left_out(self, found: Floats, in_gate: Floats, light: Brightness) -> Floats:
        """Return by how much `ready` may be off, relative, shape (...), [1].

        Parameters
        ----------
        found, in_gate : ndarray, shape (...), float64 [1]
            As for `blinding`.
        light : Brightness
            Of all slots, public ones included.

        Returns
        -------
        ndarray, shape (...), float64 [1]
        """
        clicks = self._clicks(found, in_gate, light)
        return 0.5 * self._second_order(found, light, clicks)

    def _second_order(self, found: Floats, light: Brightness, clicks: Floats) -> Floats:
        """Return what lasting brightness adds to `ready`, relative [1]."""
        each = 0.25 * found * light.mean * light.relative_variance
        ratio = clicks / (1.0 + clicks)
        return np.asarray(each * ratio * (1.25 + 2.0 / (1.0 + clicks)))

    def _clicks(self, found: Floats, in_gate: Floats, light: Brightness) -> Floats:
        """Return P: clicks of one detector in a dead time, were it always ready."""
        early = light.none(0.25 * (1.0 - in_gate) * found)
        middle = light.none(0.5 * in_gate * found)
        light_clicks = self.edges * (1.0 - early**2) + self.middles * (1.0 - middle)
        return np.asarray(light_clicks + self.background)
