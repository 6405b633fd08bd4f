"""Single Quantum WebSQ: bias and counters of superconducting detectors."""

from __future__ import annotations

import math
from collections.abc import Mapping

from driver.detector_bias.websq_link import DETECTORS, Labels, WebsqLink
from driver.hal import Identity, Snapshot
from driver.hal_light import DetectorBiasConfig
from driver.restoring import require_same
from scqc.core.errors import DeviceError, RangeError, StateError, WireProtocolError

BIAS_A = (0.0, 100e-6)
TRIGGER_LEVEL_V = (-1.0, 1.0)
INTEGRATION_S = (0.01, 100.0)
BIAS, TRIGGER, ENABLE = "BiasCurrent", "TriggerLevel", "DetectorEnable"
PERIOD = "InptMeasurementPeriod"
# Steps of the converters that set them: of currents in uA, of levels in mV.
_STEP = {BIAS: 0.05, TRIGGER: 1.0}


class SingleQuantumWebSq:
    """Driver for role `DetectorBias`.

    Parameters
    ----------
    link : WebsqLink
    """

    bias_range_a = BIAS_A

    def __init__(self, link: WebsqLink) -> None:
        self._link = link
        self.name = link.instrument
        self._detectors = 0
        self._config: DetectorBiasConfig | None = None
        # What `restore` sets; being made safe leaves it alone.
        self._wanted: DetectorBiasConfig | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of its detectors, as the instrument told."""
        return tuple(range(1, self._detectors + 1))

    def open(self) -> Identity:
        """Connect, ask for the detectors, and take their current away."""
        identity = self._link.open()
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.labels()

    def safe_state(self, timeout_s: float) -> None:
        """Take the current of all detectors away, within `timeout_s` [s] each step."""
        self._config = None
        # Asked again: whoever makes safe may not have opened it.
        self._detectors = int(self._link.labels(timeout_s)[DETECTORS])
        self._set("SetAllBiasCurrents", BIAS, [0.0] * self._detectors, timeout_s)
        self._enable(False, timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        if config is None:
            return {"detectors": self._detectors}
        return {
            "detectors": self._detectors,
            "bias_a": {str(n): v for n, v in config.bias_a.items()},
            "trigger_level_v": {str(n): v for n, v in config.trigger_level_v.items()},
        }

    def set_detectors(self, config: DetectorBiasConfig) -> DetectorBiasConfig:
        """Set currents and trigger levels; return those of all detectors.

        Detectors that are not named keep theirs.

        Raises
        ------
        RangeError
            If a detector or a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses, or does not take a value.
        """
        self._check("bias", config.bias_a, BIAS_A, "A")
        self._check("trigger level", config.trigger_level_v, TRIGGER_LEVEL_V, "V")
        self._config = None
        labels = self._link.labels()
        bias_ua = self._values(labels, BIAS)
        level_mv = self._values(labels, TRIGGER)
        for n, amperes in config.bias_a.items():
            bias_ua[n - 1] = round(1e6 * amperes, 6)
        for n, volts in config.trigger_level_v.items():
            level_mv[n - 1] = round(1e3 * volts, 6)
        timeout_s = self._link.io_timeout_s
        got_mv = self._set("SetAllTriggerLevels", TRIGGER, level_mv, timeout_s)
        got_ua = self._set("SetAllBiasCurrents", BIAS, bias_ua, timeout_s)
        self._enable(True, timeout_s)
        self._config = DetectorBiasConfig(
            {n: 1e-6 * got_ua[n - 1] for n in self.channels},
            {n: 1e-3 * got_mv[n - 1] for n in self.channels},
        )
        self._wanted = self._config
        return self._config

    def restore(self) -> None:
        """Set currents and trigger levels as last, read them back, compare.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        if self._wanted is not None:
            require_same(self.name, self._wanted, self.set_detectors(self._wanted))

    def count_rates_hz(self, integration_s: float) -> dict[int, float]:
        """Return how often each detector fires [counts/s], over whole milliseconds.

        Raises
        ------
        RangeError
            If the time is outside the limits; nothing is sent.
        StateError
            If the detectors have no bias.
        WireProtocolError
            If a line of counts makes no sense.
        """
        low, high = INTEGRATION_S
        if not low <= integration_s <= high:
            given = f"integration {integration_s:g} s"
            raise RangeError(self.name, given, f"limits are {low:g}..{high:g}")
        if self._config is None:
            raise StateError(self.name, "count", "the detectors have no bias")
        period_ms = round(1e3 * integration_s)
        labels = self._link.command("SetMeasurementPeriod", PERIOD, period_ms)
        if labels.get(PERIOD) != period_ms:
            text = f"set to {period_ms}, reads {str(labels.get(PERIOD))[:20]}"
            raise DeviceError(self.name, PERIOD, [(0, text)])
        # A period that was under way has another length, and the line before may
        # have waited for us.
        timeout_s = self._link.io_timeout_s + 4e-3 * period_ms
        line = self._link.count_lines(3, timeout_s)[-1]
        return {
            n: count / (1e-3 * period_ms)
            for n, count in zip(self.channels, self._counts(line), strict=True)
        }

    def _counts(self, line: str) -> list[float]:
        """Return the counts of a line: time, and one number for each detector."""
        try:
            values = [float(field) for field in line.split(",")]
        except ValueError as error:
            reason = f"{line[:40]!r} is no line of numbers"
            raise WireProtocolError(self.name, "counts", reason) from error
        if len(values) != 1 + self._detectors:
            reason = f"{len(values)} fields for {self._detectors} detectors"
            raise WireProtocolError(self.name, "counts", reason)
        if not all(math.isfinite(v) and v >= 0.0 for v in values):
            raise WireProtocolError(self.name, "counts", f"{line[:40]!r}")
        return values[1:]

    def _set(
        self, command: str, label: str, wanted: list[float], timeout_s: float
    ) -> list[float]:
        """Set a value for every detector; return what was taken."""
        labels = self._link.command(command, label, wanted, timeout_s)
        taken = self._values(labels, label)
        for n, (want, got) in enumerate(zip(wanted, taken, strict=True), start=1):
            if not abs(got - want) <= _STEP[label]:
                text = f"detector {n} set to {want:g}, reads {got:g}"
                raise DeviceError(self.name, command, [(0, text)])
        return taken

    def _enable(self, enabled: bool, timeout_s: float) -> None:
        labels = self._link.command(ENABLE, ENABLE, enabled, timeout_s)
        if labels.get(ENABLE) is not enabled:
            text = f"set to {enabled}, reads {str(labels.get(ENABLE))[:20]}"
            raise DeviceError(self.name, ENABLE, [(0, text)])

    def _values(self, labels: Labels, label: str) -> list[float]:
        """Return a label's value for every detector."""
        values = labels.get(label)
        fits = (
            isinstance(values, list)
            and len(values) == self._detectors
            and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        )
        if not fits or values is None:
            reason = f"{str(values)[:40]} for {self._detectors} detectors"
            raise WireProtocolError(self.name, label, reason)
        return [float(v) for v in values]

    def _check(
        self,
        what: str,
        values: Mapping[int, float],
        limits: tuple[float, float],
        unit: str,
    ) -> None:
        low, high = limits
        for n, value in values.items():
            if n not in self.channels:
                has = f"has detectors 1..{self._detectors}"
                raise RangeError(self.name, f"detector {n}", has)
            if not low <= value <= high:
                raise RangeError(
                    self.name,
                    f"{what} {n}: {value:g} {unit}",
                    f"limits of WebSQ are {low:g}..{high:g}",
                )
