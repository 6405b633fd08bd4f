r"""What a dead time costs a receiver of pulse pairs.

Bob's unbalanced interferometer finds a slot's photons at three times, half a slot
apart: in the middle, where early and late pulse overlap, with the share `s` that is
in the gate; before and after it with (1 - s) / 2 each. A slot's late photons meet the
next one's early ones, so the means of one detector of two are, in turns,

.. math:: \lambda_c = \tfrac12 s \bar\mu \eta, \qquad
          \lambda_e = \tfrac12 (1 - s) \bar\mu \eta,

with :math:`\eta` the transmittance to all three times together. A click blinds: then
a detector is ready in a share 1 / (1 + P) of the times, with P the clicks that it
would have, always ready, in one dead time (mean distance of clicks, non-paralysable).
A detection counts only if no detector clicked in the dead time before it: both must
be ready. The half slot next to the middle also holds photons of the very slot, so
bright slots are missed more often,

.. math:: \text{ready}\; e^{-\mu b}, \qquad b = \tfrac12 (1 - s) \eta, \qquad
          \text{ready} = e^{\bar\mu b} (1 + P)^{-2} .

Left out: that both detectors see the same slots bright, second orders of
:math:`\mu b`, and the clicks of background; the first two are below 0.1 % for less
than a tenth of a photon found per slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scqc.plan.records import Floats

#: Nearer than this share of it, a number of half slots is whole.
_WHOLE = 1e-9


@dataclass(frozen=True, slots=True)
class DeadTime:
    """Times at which a click hides a slot's middle, in the slots before it.

    Parameters
    ----------
    edges, middles : ndarray, shape (...), float64 [1]
        How many times between slots, and in the middle of one; whole, except where
        the last is hidden as often as not, a dead time away.
    """

    edges: Floats
    middles: Floats

    @staticmethod
    def of(dead_time_s: Floats, slot_rate_hz: float) -> DeadTime:
        """Return what a dead time hides.

        Parameters
        ----------
        dead_time_s : ndarray, shape (...), float64 [s]
        slot_rate_hz : float
            [Hz]
        """
        half_slots = 2.0 * np.asarray(dead_time_s, dtype=np.float64) * slot_rate_hz
        nearest = np.round(half_slots)
        tie = (nearest > 0.0) & (np.abs(half_slots - nearest) < _WHOLE * nearest)
        # Jitter decides which of two clicks a dead time apart comes too early.
        whole = np.where(tie, nearest - 1.0, np.floor(half_slots))
        rest, odd = np.where(tie, 0.5, 0.0), whole % 2.0
        pairs = 0.5 * (whole - odd)
        return DeadTime(pairs + odd + (1.0 - odd) * rest, pairs + odd * rest)

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

    def ready(self, found: Floats, in_gate: Floats, mean_photons: Floats) -> Floats:
        """Return the share of slots that no click of earlier slots hides.

        Parameters
        ----------
        found, in_gate : ndarray, shape (...), float64 [1]
            As for `blinding`.
        mean_photons : ndarray, shape (...), float64 [1]
            Of all slots, public ones included.

        Returns
        -------
        ndarray, shape (...), float64 [1]
        """
        light = 0.5 * mean_photons * found
        clicks = -self.edges * np.expm1(-light * (1.0 - in_gate))
        clicks -= self.middles * np.expm1(-light * in_gate)
        own = np.exp(mean_photons * self.blinding(found, in_gate))
        return np.asarray(np.minimum(own * (1.0 + clicks) ** -2.0, 1.0))
