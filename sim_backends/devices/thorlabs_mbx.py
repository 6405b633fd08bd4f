"""Emulated Thorlabs MBX: bias controller, attenuator, and lights under the chassis.

Most settings are silent; those that a public driver reads a reply to are
answered by ``1``.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable

from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.pty_line import LineFormat

IDENTITY = "THORLABS,MBX1000,SIM-000001,1.4.0"
OFF, PEAK, NULL, QUAD_POSITIVE, QUAD_NEGATIVE = range(5)
MANUAL = 7
#: Settings and their limits; those of `ANSWERED` are acknowledged.
SETTINGS = {
    "MZM:MODE": (0.0, 9.0),
    "MZM:HOLD:RATIO": (250.0, 10_000.0),
    "MZM:HOLD:VOLTAGE": (-10_000.0, 10_000.0),
    "VOA:POWER": (0.0, 1.0),
    "VOA:MODE": (0.0, 1.0),
    "VOA:ATTEN": (0.5, 20.0),
    "VOA:OUTPUT:MW": (0.01, 100.0),
    "RGB:POWER": (0.0, 2.0),
    "RGB:RED": (0.0, 100.0),
    "RGB:GREEN": (0.0, 100.0),
    "RGB:BLUE": (0.0, 100.0),
    "RGB:WHITE": (0.0, 100.0),
}
ANSWERED = ("VOA:MODE", "MZM:RESET")
MOVES_BIAS = ("MZM:MODE", "MZM:HOLD:VOLTAGE")
# A real controller takes that long to find a point; its attenuator, to settle.
LOCK_S, ATTENUATE_S = 10.0, 0.2
# Of an attenuator without power, and what taps show of light.
DARK_DB, TAP_MW = 0.5, 1.0
_SETTING = re.compile(r"([A-Z:]+): ?([-+0-9.eE]+)$")


class ThorlabsMbx:
    """The box's registers; bias from port 1, attenuation from port ``voa1``.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    settle_scale : float
        How long it takes to lock, over what a real one takes [1].
    v_pi_v : float
        Voltage between null and peak of the modulator [V].
    clock : callable
        Returns the time [s].
    """

    line_format = LineFormat(impostor=(b"MBX1000", b"MBX2000"))

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        settle_scale: float = 0.0,
        v_pi_v: float = 3.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._cables, self._scale = name, cables, settle_scale
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self._v_pi_v, self._clock = v_pi_v, clock
        self._start_up()

    @property
    def is_safe(self) -> bool:
        """Whether the bias holds 0 V and the attenuator attenuates all it can."""
        held = self.values["MZM:MODE"] == MANUAL and not self._bias_v()
        return held and self._attenuation_db() == SETTINGS["VOA:ATTEN"][1]

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        with self.lock:
            line = line.upper().strip()
            if line == "*IDN?":
                return "identify", [IDENTITY]
            if line == "MZM:RESET":
                self._begin_lock()
                return "configure", ["1"]
            if line.endswith("?"):
                return self._read(line[:-1])
            found = _SETTING.match(line)
            if found and found[1] in SETTINGS:
                return "configure", self._set(found[1], found[2])
            return "", []

    def _start_up(self) -> None:
        self.values = {name: low for name, (low, _) in SETTINGS.items()}
        self.values["MZM:HOLD:VOLTAGE"] = 0.0
        self._locked_s = self._attenuated_s = self._clock()
        self._apply()

    def _read(self, name: str) -> tuple[str, list[str]]:
        now_s = self._clock()
        if name in ("MZM:CALIBRATING", "MZM:SETPOINT"):
            is_done = now_s >= self._locked_s
            return "wait", [str(int(is_done is (name == "MZM:SETPOINT")))]
        found = {
            "VOA:SETPOINT": float(now_s >= self._attenuated_s),
            "MZM:VOLTAGE": self._bias_v(),
            "MZM:TAP:MW": TAP_MW,
            "VOA:TAP:MW": TAP_MW * 10.0 ** (-0.1 * self._attenuation_db()),
            "VOA:MEASURED": self._attenuation_db(),
            "VOA:ERROR": 0.0,
            **self.values,
        }
        if name not in found:
            return "", []
        is_setting = name in SETTINGS
        if not is_setting and self.faults.take_data("fetch", "not-a-number"):
            return "fetch", ["NaN"]
        return "configure" if is_setting else "fetch", [f"{found[name]:.6g}"]

    def _set(self, name: str, text: str) -> list[str]:
        reply = ["1"] if name in ANSWERED else []
        low, high = SETTINGS[name]
        try:
            value = float(text)
        except ValueError:
            return reply
        if self.faults.take_data("configure", "reboot"):
            self._start_up()
            return reply
        changes = value != self.values[name]
        not_taken = changes and self.faults.take_data("configure", "not-taken")
        if not low <= value <= high or not_taken:
            return reply
        self.values[name] = value
        if name in MOVES_BIAS:
            self._begin_lock()
        elif changes and name.startswith("VOA:"):
            self._attenuated_s = self._clock() + ATTENUATE_S * self._scale
        self._apply()
        return reply

    def _begin_lock(self) -> None:
        locks = self.values["MZM:MODE"] not in (OFF, MANUAL)
        forever = locks and self.faults.take_data("wait", "pending-forever")
        after_s = math.inf if forever else LOCK_S * self._scale
        self._locked_s = self._clock() + (after_s if locks else 0.0)

    def _bias_v(self) -> float:
        mode = self.values["MZM:MODE"]
        points = {
            PEAK: self._v_pi_v,
            QUAD_POSITIVE: 0.5 * self._v_pi_v,
            QUAD_NEGATIVE: -0.5 * self._v_pi_v,
            MANUAL: self.values["MZM:HOLD:VOLTAGE"] / 1000.0,
        }
        return points.get(int(mode), 0.0)

    def _attenuation_db(self) -> float:
        return self.values["VOA:ATTEN"] if self.values["VOA:POWER"] else DARK_DB

    def _apply(self) -> None:
        """Tell the light where everything stands."""
        is_null = self.values["MZM:MODE"] == NULL
        volts = None if is_null else self._bias_v()
        self._cables.optics.set_bias(self.name, "1", volts)
        self._cables.optics.set_attenuation(self.name, "voa1", self._attenuation_db())
