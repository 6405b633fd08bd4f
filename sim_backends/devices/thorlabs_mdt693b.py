"""Emulated Thorlabs MDT693B: three high-voltage outputs, a line protocol."""

from __future__ import annotations

import re
import threading

from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.pty_line import LineFormat

MODEL_LINES = ("Model MDT693B Piezo Control Module", "Firmware Version: 1.10")
SERIAL_NUMBER = "000000000001"
LIMIT_V = 150.0
OUTPUTS = {"x": 1, "y": 2, "z": 3}
UNKNOWN, OUT_OF_RANGE = "CMD_NOT_DEFINED", "CMD_ARG_RANGE_ERR"
_SETTING = re.compile(r"([xyz])voltage=([-+0-9.eE]+)$")
_READING = re.compile(r"([xyz])(voltage|min|max)\?$")


class ThorlabsMdt693b:
    """The source's registers; volts go to the cables.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    """

    line_format = LineFormat(prompts=True, impostor=(b"MDT693B", b"MDT694X"))

    def __init__(
        self, name: str, cables: Cables, faults: FaultPlan | None = None
    ) -> None:
        self.name, self._cables = name, cables
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self.volts = dict.fromkeys(OUTPUTS, 0.0)

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        with self.lock:
            if line == "id?":
                return "identify", list(MODEL_LINES)
            if line == "serial?":
                return "identify", [f"[ {SERIAL_NUMBER}]"]
            if line == "vlimit?":
                return "configure", [f"[ {LIMIT_V:.0f}]"]
            if found := _SETTING.match(line):
                return "switch", self._set(found[1], found[2])
            if found := _READING.match(line):
                if self.faults.take_data("fetch", "not-a-number"):
                    return "fetch", ["[ NaN]"]
                limits = {"min": 0.0, "max": LIMIT_V, "voltage": self.volts[found[1]]}
                return "fetch", [f"[ {limits[found[2]]:.1f}]"]
            return "", [UNKNOWN]

    @property
    def is_safe(self) -> bool:
        """Whether all outputs are at 0 V."""
        return not any(self.volts.values())

    def _set(self, axis: str, text: str) -> list[str]:
        try:
            volts = float(text)
        except ValueError:
            return [OUT_OF_RANGE]
        if not 0.0 <= volts <= LIMIT_V:
            return [OUT_OF_RANGE]
        if self.faults.take_data("switch", "execution-error"):
            return [OUT_OF_RANGE]
        if self.faults.take_data("switch", "reboot"):
            self.volts = dict.fromkeys(OUTPUTS, 0.0)
            for port in OUTPUTS.values():
                self._cables.set_phase_voltage(self.name, port, 0.0)
            return []
        changes = self.volts[axis] != volts
        if changes and self.faults.take_data("switch", "not-taken"):
            return []
        self.volts[axis] = volts
        self._cables.set_phase_voltage(self.name, OUTPUTS[axis], volts)
        return []
