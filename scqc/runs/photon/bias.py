"""The loop that holds Bob's interferometers on Alice's phase."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from driver.bench import Bench
from dsp.control.bias import PhaseIntegrator
from dsp.time_tags.pipeline import receive_tags
from dsp.time_tags.slot_clock import SlotClock
from scqc.core.errors import LockError, SyncError
from scqc.core.records import TimeTags
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.receive import receiver_settings

BIAS_SIGNAL = "rx.phase"
#: Bursts spent on finding the phase, and how near it must come.
PROBES, NEAR_RAD = 4, 0.2


class BiasLoop:
    """Measures the phase on the public slots of a burst, corrects the next.

    Parameters
    ----------
    config : PhotonConfig
    bench : Bench
    """

    def __init__(self, config: PhotonConfig, bench: Bench) -> None:
        self._config, self._bench = config, bench
        bias = config.bob.bias
        self._law = PhaseIntegrator(bias.gain, bias.rad_per_v, bias.limits_v)
        self._prior: SlotClock | None = None

    @property
    def active(self) -> bool:
        """Whether there is something to turn, and a wish to."""
        return self._config.bob.bias.gain > 0.0

    def acquire(
        self, send: Callable[[], tuple[TimeTags, NDArray[np.uint8] | None]]
    ) -> None:
        """Bring the phase near its place, with bursts that carry nothing.

        Parameters
        ----------
        send : callable
            Sends such a burst; returns Bob's tags, and his bases if he chooses them.

        Raises
        ------
        SignalError
            If there is no light, or the phase does not come near after a few
            bursts.
        """
        if not self.active:
            return
        self._set(self._law.start(self._config.bob.bias.start_v))
        error_rad: float | None = None
        for _ in range(PROBES):
            error_rad = self._measure(*send())
            if error_rad is None:
                break
            self._set(self._law.update(error_rad, gain=1.0))
            if abs(error_rad) < NEAR_RAD:
                return
        found = "no fringe" if error_rad is None else f"{error_rad:.2f} rad off"
        raise LockError(
            f"interferometer: {found} after {PROBES} bursts, limit {NEAR_RAD} rad; "
            f"check bob.bias.rad_per_v and what is wired to {BIAS_SIGNAL}"
        )

    def update(self, tags: TimeTags, bases: NDArray[np.uint8] | None) -> None:
        """Learn from a burst; a burst without a lock changes nothing.

        Parameters
        ----------
        tags : TimeTags
        bases : ndarray, shape (n,), uint8 [0 for Z, 1 for X], or None
            Bob's, if he chooses them.

        Raises
        ------
        SignalError
            If the record is bad: tags lost, a rate above the limit.
        """
        if not self.active:
            return
        try:
            error_rad = self._measure(tags, bases)
        except (LockError, SyncError):
            return
        if error_rad is not None:
            self._set(self._law.update(error_rad))

    def _measure(self, tags: TimeTags, bases: NDArray[np.uint8] | None) -> float | None:
        """Return the phase error on the public slots, None without a fringe [rad]."""
        config = self._config
        # Which way a double click falls does not matter for a mean phase.
        bits = np.zeros(tags.times_ps.size // 2 + 1, dtype=np.uint8)
        received = receive_tags(
            tags,
            config.link,
            # Half a turn off looks like swapped detectors; here it is no error.
            receiver_settings(config).model_copy(update={"check_wiring": False}),
            bits,
            config.link.burst_slots,
            self._prior,
            bases,
        )
        self._prior = received.clock
        fringes = [f for f in received.report.fringes if math.isfinite(f.sigma_rad)]
        if not fringes:
            return None
        # Mean of directions: near half a turn the angles themselves would cancel.
        turns = [cmath.rect(f.sigma_rad**-2, f.phase_error_rad) for f in fringes]
        return cmath.phase(sum(turns))

    def _set(self, volts: float) -> None:
        _, port = self._bench.resolve(BIAS_SIGNAL)
        self._bench.phase(BIAS_SIGNAL).set_voltage(int(port), volts)
