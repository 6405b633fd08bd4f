"""OZ Optics DD-100-MC, a motor-driven attenuator on a serial port.

Every command is answered by lines that end with ``Done``, after the motor has
come to rest, or by ``Error-n``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from driver.hal import Identity, Snapshot
from driver.hal_light import AttenuatorConfig
from driver.line_link import LineLink, LineRules, Probe
from scqc.core.errors import DeviceError, RangeError, WireProtocolError

VENDOR = "OZ Optics"
STEP_DB = 0.01
# How far a reached attenuation may be from the one that was asked for.
WITHIN_DB = 0.05
# A motor that does not know where it is runs to its home first.
HOME_TIMEOUT_S = 40.0


def _identify(replies: Sequence[Sequence[str]]) -> Identity:
    """Read ``DD100MC``, ``V6.2a``, ``NO:303699-01``, ... of the configuration."""
    model, firmware, *rest = replies[0]
    numbers = [line.partition(":")[2] for line in rest if line.startswith("NO:")]
    if not model.startswith("DD"):
        raise ValueError(f"{model!r} is no DD-100")
    return Identity(VENDOR, model, numbers[0] if numbers else "", firmware)


RULES = LineRules(
    probes=(Probe("CD", r"(?s).*MAX ATTEN:"), Probe("D", r"(?s).*Pos:")),
    identify=_identify,
    last_line="Done",
    refusal="Error",
)


class OzOpticsDd100:
    """Driver for role `Attenuator`.

    Parameters
    ----------
    link : LineLink
    """

    def __init__(self, link: LineLink) -> None:
        self._link = link.speak(RULES)
        self.name = link.instrument
        self._range_db = (0.0, 0.0)
        self._set_db: float | None = None
        # What `restore` sets; being made safe leaves it alone.
        self._wanted_db: float | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def attenuation_range_db(self) -> tuple[float, float]:
        """Smallest and largest attenuation [dB]."""
        return self._range_db

    def open(self) -> Identity:
        """Connect, read the limits, and set the largest attenuation.

        A motor that does not know its place is sent home first.

        Raises
        ------
        ConnectError, ConnectionLost, InstrumentTimeout, WireProtocolError
        DeviceError
            If the attenuation is not reached.
        """
        identity = self._link.open()
        config = self._link.query("CD")
        self._range_db = (
            self._value("CD", config, "IL:"),
            self._value("CD", config, "MAX ATTEN:"),
        )
        if self._text("D", self._link.query("D"), "ATTEN:").lower() == "unknown":
            self._link.query("H", HOME_TIMEOUT_S)
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("D")

    def safe_state(self, timeout_s: float) -> None:
        """Set the largest attenuation, within `timeout_s` [s] for each exchange.

        Raises
        ------
        DeviceError
            If it is not reached.
        """
        self._set_db = None
        self._move(self._range_db[1], timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        low, high = self._range_db
        return {"attenuation_db": self._set_db, "range_db": [low, high]}

    def set_attenuation(self, config: AttenuatorConfig) -> AttenuatorConfig:
        """Set the attenuation, to 0.01 dB, wait until it is reached, return it.

        Raises
        ------
        RangeError
            If it is outside the limits; nothing is sent.
        DeviceError
            If the instrument refuses, or stops elsewhere.
        """
        low, high = self._range_db
        wanted_db = config.attenuation_db
        if not (math.isfinite(wanted_db) and low <= wanted_db <= high):
            limits = f"limits of {self.identity.model} are {low:g}..{high:g}"
            raise RangeError(self.name, f"{wanted_db:g} dB", limits)
        self._set_db = None
        taken = AttenuatorConfig(self._move(wanted_db, self._link.io_timeout_s))
        self._set_db = self._wanted_db = taken.attenuation_db
        return taken

    def restore(self) -> None:
        """Set the attenuation that was asked for last, and read it back.

        Raises
        ------
        DeviceError
            If it stops elsewhere.
        """
        if self._wanted_db is not None:
            self.set_attenuation(AttenuatorConfig(self._wanted_db))

    def attenuation_db(self) -> float:
        """Return the attenuation it reads [dB]."""
        return self._value("D", self._link.query("D"), "ATTEN:")

    def _move(self, wanted_db: float, timeout_s: float) -> float:
        """Move the motor; return where it stopped [dB]."""
        command = f"A{wanted_db:.2f}"
        self._link.query(command, timeout_s)
        reached_db = self._value("D", self._link.query("D", timeout_s), "ATTEN:")
        if abs(reached_db - wanted_db) > WITHIN_DB:
            reason = f"set-point not taken: stands at {reached_db:g} dB"
            raise DeviceError(self.name, command, [(-1, reason)])
        return reached_db

    def _value(self, command: str, lines: Sequence[str], key: str) -> float:
        text = self._text(command, lines, key).removesuffix("(dB)").strip()
        return self._link.number(command, text)

    def _text(self, command: str, lines: Sequence[str], key: str) -> str:
        for line in lines:
            if line.upper().startswith(key):
                return line[len(key) :].strip()
        raise WireProtocolError(self.name, command, f"no {key} in {lines!r:.60}")
