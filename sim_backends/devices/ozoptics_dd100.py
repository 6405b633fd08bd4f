"""Emulated OZ Optics DD-100-MC: an attenuator with a motor."""

from __future__ import annotations

import re
import threading

from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.pty_line import LineFormat

DONE, BAD_COMMAND, OVERFLOW = "Done", "Error-2", "Error-6"
LOSS_DB, LARGEST_DB = 0.8, 60.0
STEPS_PER_DB = 100
# A real motor runs over the whole range in that time, and home in that.
MOVE_S_PER_DB, HOME_S = 0.03, 10.0
CONFIGURATION = (
    "DD100MC",
    "V6.2a",
    "NO:000000-01",
    f"MAX ATTEN:{LARGEST_DB:.2f}",
    "OVERSHOOT:-30",
    "CALIB:JAN-02-2024",
    "GEAR RATIO:485:1",
    "MINTERVAL(MS):0.90",
    "MOTOR VOLT:5",
    f"IL:{LOSS_DB:.2f}",
    "WAVELENGTH:1550",
    "I2C ADDRESS:64",
    "W0 1550",
)
_SETTING = re.compile(r"A(\d+(\.\d*)?|\.\d+)$")


class OzOpticsDd100:
    """The attenuator's registers; its attenuation goes to the fibres, from port 1.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    settle_scale : float
        How long the motor runs, over what a real one runs [1].
    """

    line_format = LineFormat(
        line_end=b"\r\n", baud=9600, impostor=(b"DD100MC", b"DD600MC")
    )

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        settle_scale: float = 0.0,
    ) -> None:
        self.name, self._cables, self._scale = name, cables, settle_scale
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self.is_homed = False
        self.attenuation_db = LOSS_DB
        self._place(LOSS_DB)

    @property
    def is_safe(self) -> bool:
        """Whether it attenuates all it can."""
        return self.attenuation_db == LARGEST_DB

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        with self.lock:
            if line == "CD":
                return "identify", [*CONFIGURATION, DONE]
            if line in ("D", "A?"):
                return "fetch", [*self._shown(line), DONE, ""]
            if line == "H":
                self._run(HOME_S)
                self.is_homed = True
                self._place(LOSS_DB)
                return "configure", ["Pos:0", DONE]
            if found := _SETTING.match(line):
                return "configure", self._set(float(found[1]))
            return "", [BAD_COMMAND]

    def _shown(self, line: str) -> list[str]:
        if self.faults.take_data("fetch", "not-a-number"):
            return ["DPos:0", "ATTEN:NaN"]
        if not self.is_homed:
            return ["DPos:Unknown", "ATTEN:Unknown"]
        if line == "A?":
            return [f"Atten:{self.attenuation_db:.2f}(dB)"]
        return [f"DPos:{self._steps()}", f"ATTEN:{self.attenuation_db:.2f}"]

    def _set(self, wanted_db: float) -> list[str]:
        if not self.is_homed or self.faults.take_data("configure", "execution-error"):
            return ["Error-5"]
        if self.faults.take_data("configure", "reboot"):
            self.is_homed = False
            self._place(LOSS_DB)
            return []
        if not LOSS_DB <= wanted_db <= LARGEST_DB:
            return [OVERFLOW]
        if not self.faults.take_data("configure", "not-taken"):
            self._run(MOVE_S_PER_DB * abs(wanted_db - self.attenuation_db))
            self._place(wanted_db)
        return [f"Pos:{self._steps()}", DONE, ""]

    def _run(self, duration_s: float) -> None:
        """Let the motor run; no command is heard meanwhile."""
        threading.Event().wait(duration_s * self._scale)

    def _steps(self) -> int:
        return round(STEPS_PER_DB * (self.attenuation_db - LOSS_DB))

    def _place(self, attenuation_db: float) -> None:
        self.attenuation_db = attenuation_db
        self._cables.optics.set_attenuation(self.name, "1", attenuation_db)
