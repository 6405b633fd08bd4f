"""A recorded PTU file (T2) played as a time tagger.

Every start takes the next stretch of the file: nothing is read twice, and behind
the last one is an error. Thresholds and edges were chosen when the file was
recorded; here they are only checked, while delays and the choice of inputs count.
"""

from __future__ import annotations

import numpy as np

from driver.hal import Identity, Snapshot, TaggerConfig
from driver.restoring import require_same
from driver.time_tagger.ptu_link import PtuLink
from driver.time_tagger.tagger_limits import TaggerLimits
from scqc.core.errors import StateError
from scqc.core.records import TimeTags

CHANNELS = tuple(range(1, 17))
LIMITS = TaggerLimits(
    channels=CHANNELS,
    threshold_v=(-2.0, 2.0),
    delay_ps=(0, 1_000_000),
    duration_s=(1e-6, 10_000.0),
    integration_s=(1e-6, 10.0),
)
PS_PER_S = 10**12


class PtuReplay:
    """Driver for role `TimeTagger`.

    Parameters
    ----------
    link : PtuLink
    """

    def __init__(self, link: PtuLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: TaggerConfig | None = None
        self._record: TimeTags | None = None

    @property
    def identity(self) -> Identity:
        """What recorded the file."""
        return self._link.identity

    def open(self) -> Identity:
        """Open the file, or go on with it where it was left."""
        self._record = None
        return self._link.open()

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._record = None
        self._link.close()

    def ping(self) -> None:
        """Check that the file is open."""
        self._link.check("ping")

    def safe_state(self, timeout_s: float) -> None:
        """Forget what was started; a file emits nothing."""
        self._record = None

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        channels = self._config.channels if self._config else {}
        return {
            "channels": {str(n): {"delay_ps": c.delay_ps} for n, c in channels.items()},
            "replay": True,
        }

    def configure(self, config: TaggerConfig) -> TaggerConfig:
        """Choose inputs and delays; return them.

        Raises
        ------
        RangeError
            If a value is outside the limits.
        """
        LIMITS.check(self.name, config)
        self.safe_state(self._link.io_timeout_s)
        self._config = config
        return config

    def restore(self) -> None:
        """Choose again what was configured last; the file goes on where it was."""
        if self._config is not None:
            require_same(self.name, self._config, self.configure(self._config))

    def start(self, duration_s: float) -> None:
        """Take the next `duration_s` [s] of the file.

        Raises
        ------
        RangeError
            If the duration is outside the limits.
        StateError
            If the tagger is not configured, or the file ends before.
        InstrumentTimeout, WireProtocolError
            If the file cannot be read in time, or is damaged there.
        """
        config = self._require_config("start")
        LIMITS.check_duration(self.name, duration_s)
        self._record = None
        self._record = self._take(config, duration_s)

    def read(self, timeout_s: float) -> TimeTags:
        """Return all tags of what was started, in order of time.

        Raises
        ------
        StateError
            If nothing was started.
        """
        record, self._record = self._record, None
        if record is None:
            raise StateError(self.name, "read", "nothing was started")
        return record

    def stop(self) -> None:
        """Forget what was started; the file stays behind it."""
        self.safe_state(self._link.io_timeout_s)

    def counts(self, integration_s: float) -> dict[int, int]:
        """Return how often each input fires in the next `integration_s` [s].

        Raises
        ------
        RangeError
            If the time is outside the limits.
        StateError
            If the tagger is not configured, or the file ends before.
        InstrumentTimeout, WireProtocolError
        """
        config = self._require_config("counts")
        LIMITS.check_integration(self.name, integration_s)
        inputs = self._take(config, integration_s).channels
        found = np.bincount(inputs, minlength=max(CHANNELS) + 1)
        return {n: int(found[n]) for n in config.channels}

    def _take(self, config: TaggerConfig, duration_s: float) -> TimeTags:
        duration_ps = round(duration_s * PS_PER_S)
        delays_ps = {n: c.delay_ps for n, c in config.channels.items()}
        most_ps = int(LIMITS.delay_ps[1])
        times, inputs = self._link.take(duration_ps, delays_ps, most_ps)
        return TimeTags(times, inputs, duration_ps)

    def _require_config(self, action: str) -> TaggerConfig:
        if self._config is None:
            raise StateError(self.name, action, "the tagger is not configured")
        return self._config
