"""Emulated OZ Optics EPC: four voltages that squeeze a fibre."""

from __future__ import annotations

import re
import threading

from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.pty_line import LineFormat

DONE, ERROR = "Done", "Error!"
LIMIT_MV = 5000
_SETTING = re.compile(r"V([1-4]),([-+]?\d{1,5})$")


class OzOpticsEpc:
    """The controller's registers; its voltages go to the fibres, from port 1.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    """

    line_format = LineFormat(
        line_end=b"\r\n", baud=9600, impostor=(b"000000-02", b"000000-09")
    )

    def __init__(
        self, name: str, cables: Cables, faults: FaultPlan | None = None
    ) -> None:
        self.name, self._cables = name, cables
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self.mode = "DC"
        self.millivolts: dict[int, int] = {}
        self._start_up()

    @property
    def is_safe(self) -> bool:
        """Whether all outputs hold 0 V."""
        return self.mode == "DC" and not any(self.millivolts.values())

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        with self.lock:
            if line in ("SN?", "VER?"):
                text = "000000-02" if line == "SN?" else "EPC HW:1.0 SW:2.1"
                return "identify", [text, DONE]
            if line == "V?":
                return "fetch", [self._voltages(), DONE]
            if line == "M?":
                return "fetch", [f"Operating Mode: {self.mode}", DONE]
            if line in ("MDC", "MAC"):
                self.mode = line[1:]
                return "configure", [DONE]
            if found := _SETTING.match(line):
                return "configure", self._set(int(found[1]), int(found[2]))
            return "", [ERROR]

    def _start_up(self) -> None:
        self.mode = "DC"
        self.millivolts = dict.fromkeys((1, 2, 3, 4), 0)
        self._squeeze()

    def _voltages(self) -> str:
        shown = {n: f"{v:+05d}" for n, v in self.millivolts.items()}
        if self.faults.take_data("fetch", "not-a-number"):
            shown[3] = "NaN"
        if self.faults.take_data("fetch", "wrong-length"):
            del shown[4]
        return " ".join(f"CH{n} {text}" for n, text in shown.items())

    def _set(self, channel: int, millivolts: int) -> list[str]:
        if self.faults.take_data("configure", "reboot"):
            self._start_up()
            return []
        refuses = self.faults.take_data("configure", "execution-error")
        if refuses or abs(millivolts) > LIMIT_MV:
            return [ERROR]
        changes = self.millivolts[channel] != millivolts
        if not (changes and self.faults.take_data("configure", "not-taken")):
            self.millivolts[channel] = millivolts
            self._squeeze()
        return [DONE]

    def _squeeze(self) -> None:
        volts = tuple(v / 1000.0 for v in self.millivolts.values())
        self._cables.optics.set_polarisation(self.name, volts)
