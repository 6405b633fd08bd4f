"""Thorlabs MBX: a bias controller with an attenuator behind the modulator.

One box, two roles: the controller is port 1, the attenuator port ``voa1``.
Some settings are answered, most are not; an identity query behind each tells
the two apart, and every setting is read back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from driver.hal import Identity, Snapshot
from driver.hal_light import AttenuatorConfig, BiasConfig, BiasPoint, BiasReading
from driver.line_link import LineLink, LineRules, Probe
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError, InstrumentTimeout, RangeError

MODES: dict[BiasPoint, int] = {"peak": 1, "null": 2, "quad+": 3, "quad-": 4}
MANUAL = 7
HOLD_V = (-10.0, 10.0)
ATTENUATION_DB = (0.5, 20.0)
# How far the held voltage and the attenuation may read from what was set.
WITHIN_V, WITHIN_DB = 0.05, 0.1
_POLL_S = 0.02


def _identify(replies: Sequence[Sequence[str]]) -> Identity:
    fields = [part.strip() for part in replies[0][0].split(",")]
    vendor, model, serial, firmware = [*fields, "", ""][:4]
    return Identity(vendor, model, serial, firmware)


RULES = LineRules(
    probes=(Probe("*IDN?", r"[^,]+,[^,]+"), Probe("MZM:MODE?", r"\d+$")),
    identify=_identify,
    command_end=b"\r",
    line_end=b"\r",
)


class ThorlabsMbx:
    """Driver for the roles `BiasController` and `Attenuator`.

    Parameters
    ----------
    link : LineLink
    """

    def __init__(self, link: LineLink) -> None:
        self._link = link.speak(RULES)
        self.name = link.instrument
        self._bias: BiasConfig | None = None
        self._set_db: float | None = None
        # What `restore` sets; being made safe leaves it alone.
        self._wanted_bias: tuple[BiasConfig, float] | None = None
        self._wanted_db: float | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def hold_range_v(self) -> tuple[float, float]:
        """Lowest and highest voltage held without a lock [V]."""
        return HOLD_V

    @property
    def attenuation_range_db(self) -> tuple[float, float]:
        """Smallest and largest attenuation [dB]."""
        return ATTENUATION_DB

    def open(self) -> Identity:
        """Connect, set the largest attenuation, and hold the bias at 0 V.

        Raises
        ------
        ConnectError, ConnectionLost, InstrumentTimeout, WireProtocolError
        DeviceError
            If a setting is not taken.
        """
        identity = self._link.open()
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?")

    def safe_state(self, timeout_s: float) -> None:
        """Set the largest attenuation and hold 0 V, within `timeout_s` [s] each.

        Raises
        ------
        DeviceError
            If a setting is not taken.
        """
        self._bias = self._set_db = None
        self._attenuate(ATTENUATION_DB[1], timeout_s)
        self._hold(0.0, timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        bias = self._bias
        return {
            "point": None if bias is None else bias.point,
            "hold_v": None if bias is None else bias.hold_v,
            "attenuation_db": self._set_db,
        }

    def set_bias(self, config: BiasConfig, timeout_s: float) -> BiasReading:
        """Lock to a point, or hold a voltage; return when it is reached.

        Raises
        ------
        RangeError
            If the voltage or the point is none of its own; nothing is sent.
        InstrumentTimeout
            If it is not reached after `timeout_s` [s].
        DeviceError
            If a setting is not taken.
        """
        low, high = HOLD_V
        volts = config.hold_v
        model = self.identity.model
        if not (math.isfinite(volts) and low <= volts <= high):
            limits = f"limits of {model} are {low:g}..{high:g}"
            raise RangeError(self.name, f"hold {volts:g} V", limits)
        if config.point is not None and config.point not in MODES:
            limits = f"points of {model} are {', '.join(MODES)}"
            raise RangeError(self.name, f"lock to {config.point!r}", limits)
        self._bias = None
        deadline = Deadline(timeout_s)
        if config.point is None:
            self._hold(volts, timeout_s)
            self._wait(
                f"hold {volts:g} V",
                lambda: abs(self.bias().volts - volts) <= WITHIN_V,
                deadline,
            )
        else:
            self._set("MZM:MODE", MODES[config.point], timeout_s)
            lock = f"lock to {config.point}"
            self._wait(lock, lambda: self.bias().is_locked, deadline)
        self._bias = config
        self._wanted_bias = (config, timeout_s)
        return self.bias()

    def bias(self) -> BiasReading:
        """Return the state of the lock; a held voltage is no lock."""
        number = self._link.query_number
        is_locked = (
            number("MZM:MODE?") != MANUAL
            and number("MZM:CALIBRATING?") == 0
            and number("MZM:SETPOINT?") == 1
        )
        return BiasReading(is_locked, number("MZM:VOLTAGE?"))

    def set_attenuation(self, config: AttenuatorConfig) -> AttenuatorConfig:
        """Set the attenuation, wait until it is reached, return what it took.

        Raises
        ------
        RangeError
            If it is outside the limits; nothing is sent.
        InstrumentTimeout
            If it is not reached in time.
        DeviceError
            If a setting is not taken.
        """
        low, high = ATTENUATION_DB
        wanted_db = config.attenuation_db
        if not (math.isfinite(wanted_db) and low <= wanted_db <= high):
            limits = f"limits of {self.identity.model} are {low:g}..{high:g}"
            raise RangeError(self.name, f"{wanted_db:g} dB", limits)
        self._set_db = None
        timeout_s = self._link.io_timeout_s
        self._attenuate(wanted_db, timeout_s)
        self._wait(
            f"attenuate by {wanted_db:g} dB",
            lambda: abs(self.attenuation_db() - wanted_db) <= WITHIN_DB,
            Deadline(timeout_s),
        )
        self._set_db = self._wanted_db = self._link.query_number("VOA:ATTEN?")
        return AttenuatorConfig(self._set_db)

    def restore(self) -> None:
        """Lock or hold the bias as last, then attenuate as last; read both back.

        Raises
        ------
        DeviceError
            If a setting is not taken.
        """
        if self._wanted_bias is not None:
            self.set_bias(*self._wanted_bias)
        if self._wanted_db is not None:
            self.set_attenuation(AttenuatorConfig(self._wanted_db))

    def attenuation_db(self) -> float:
        """Return the attenuation it measures [dB]."""
        return self._link.query_number("VOA:MEASURED?")

    def _hold(self, volts: float, timeout_s: float) -> None:
        # In millivolts on the wire.
        self._set("MZM:HOLD:VOLTAGE", round(1000.0 * volts), timeout_s)
        self._set("MZM:MODE", MANUAL, timeout_s)

    def _attenuate(self, wanted_db: float, timeout_s: float) -> None:
        self._set("VOA:MODE", 0, timeout_s)
        self._set("VOA:ATTEN", wanted_db, timeout_s)
        self._set("VOA:POWER", 1, timeout_s)

    def _set(self, name: str, value: float, timeout_s: float) -> None:
        """Set a value and read it back."""
        command = f"{name}: {value:g}"
        self._link.tell(command, timeout_s)
        taken = self._link.query_number(f"{name}?", timeout_s)
        if abs(taken - value) > 1e-4 * max(1.0, abs(value)):
            reason = f"set-point not taken: reads {taken:g}"
            raise DeviceError(self.name, command, [(-1, reason)])

    def _wait(self, what: str, done: Callable[[], bool], deadline: Deadline) -> None:
        while not done():
            if deadline.expired:
                reason = f"not reached within {deadline.timeout_s:g} s"
                raise InstrumentTimeout(self.name, what, reason)
            time.sleep(_POLL_S)
