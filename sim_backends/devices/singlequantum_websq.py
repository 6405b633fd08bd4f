"""Emulated Single Quantum WebSQ: named values, told to everyone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan

DETECTORS = 4
BIAS_UA, LEVEL_MV = (0.0, 100.0), (-1000.0, 1000.0)
SHORTEST_MS = 10
UNITS = {"BiasCurrent": "uA", "TriggerLevel": "mV", "InptMeasurementPeriod": "ms"}


class SingleQuantumWebSq:
    """The labels, and the counters behind them; the currents go to the detectors.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    time_scale : float
        How long a period takes, over what it is set to [1].
    clock : callable
        Returns the time since 1970 [s].
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        time_scale: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self._cables = name, cables
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self._time_scale, self._clock = time_scale, clock
        self._initialise()

    def _initialise(self) -> None:
        self.labels: dict[str, Any] = {
            "NumberOfDetectors": DETECTORS,
            "BiasCurrent": [0.0] * DETECTORS,
            "TriggerLevel": [100.0] * DETECTORS,
            "DetectorEnable": False,
            "InptMeasurementPeriod": 100,
            "BiasVoltage": [0.0] * DETECTORS,
        }
        self._bounds = {
            "BiasCurrent": BIAS_UA,
            "TriggerLevel": LEVEL_MV,
            "InptMeasurementPeriod": (SHORTEST_MS, 100_000),
        }

    @property
    def is_safe(self) -> bool:
        """Whether no detector has a current."""
        off = not self.labels["DetectorEnable"]
        return off and not any(self.labels["BiasCurrent"])

    @property
    def period_s(self) -> float:
        """How long the next line of counts takes [s]."""
        return 1e-3 * float(self.labels["InptMeasurementPeriod"]) * self._time_scale

    def reboot(self) -> None:
        """Start anew: no current."""
        self._initialise()
        self._drive()

    def properties(self) -> list[dict[str, Any]]:
        """Return all labels, as the request ``labelProps`` asks for them."""
        told = []
        for label, value in self.labels.items():
            low, high = self._bounds.get(label, (None, None))
            properties = {"value": value, "unit": UNITS.get(label, "")}
            told.append(
                {"label": label, "value": properties | {"min": low, "max": high}}
            )
        return told

    def command(self, name: str, value: Any) -> dict[str, Any]:
        """Carry out a command; return what everyone is told."""
        commands: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
            "SetAllBiasCurrents": ("BiasCurrent", self._list),
            "SetAllTriggerLevels": ("TriggerLevel", self._list),
            "SetMeasurementPeriod": ("InptMeasurementPeriod", self._number),
            "DetectorEnable": ("DetectorEnable", lambda _, v: bool(v)),
        }
        if name not in commands:
            return {"label": "Error", "value": f"unknown command {name[:40]}"}
        label, read = commands[name]
        try:
            self.labels[label] = read(label, value)
        except (TypeError, ValueError) as error:
            return {"label": "Error", "value": f"{name}: {error}"}
        self._drive()
        return {"label": label, "value": self.labels[label]}

    def count_line(self) -> list[float]:
        """Return the time and the counts of the period that just ended."""
        enabled = bool(self.labels["DetectorEnable"])
        period_s = 1e-3 * float(self.labels["InptMeasurementPeriod"])
        rates = [
            self._cables.optics.count_rate_hz(self.name, n) if enabled else 0.0
            for n in range(1, DETECTORS + 1)
        ]
        return [self._clock(), *(float(round(rate * period_s)) for rate in rates)]

    def _list(self, label: str, value: Any) -> list[float]:
        if len(value) != DETECTORS:
            raise ValueError(f"{len(value)} values for {DETECTORS} detectors")
        return [self._number(label, v) for v in value]

    def _number(self, label: str, value: Any) -> float:
        low, high = self._bounds[label]
        if not low <= value <= high:
            raise ValueError(f"{value} not in {low}..{high}")
        return value if isinstance(value, int) else float(value)

    def _drive(self) -> None:
        """Tell the detectors their currents."""
        enabled = bool(self.labels["DetectorEnable"])
        for n, microamperes in enumerate(self.labels["BiasCurrent"], start=1):
            amperes = 1e-6 * microamperes if enabled else 0.0
            self._cables.optics.set_detector_bias(self.name, n, amperes)
