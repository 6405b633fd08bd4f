"""OZ Optics EPC, four squeezers of a fibre, on a serial port."""

from __future__ import annotations

import re
from collections.abc import Sequence

from driver.hal import Identity, Snapshot
from driver.hal_light import PolarisationConfig
from driver.line_link import LineLink, LineRules, Probe
from scqc.core.errors import DeviceError, RangeError, WireProtocolError

VENDOR, MODEL = "OZ Optics", "EPC"
CHANNELS = (1, 2, 3, 4)
LIMITS_V = (-5.0, 5.0)
# How far an output may read from what was asked for: two steps of its converter.
WITHIN_MV = 5
_VOLTAGES = r"CH1\s*[-+]?\d+\s+CH2\s*[-+]?\d+\s+CH3\s*[-+]?\d+\s+CH4\s*[-+]?\d+\s*$"


def _identify(replies: Sequence[Sequence[str]]) -> Identity:
    _, version, serial = replies
    return Identity(VENDOR, MODEL, serial[0], version[0])


RULES = LineRules(
    probes=(
        Probe("V?", r"CH1"),
        Probe("VER?", r"(?!CH1)."),
        Probe("SN?", r"(?!CH1)."),
    ),
    identify=_identify,
    last_line="Done",
    refusal="Error",
)


class OzOpticsEpc:
    """Driver for role `PolarisationController`.

    Parameters
    ----------
    link : LineLink
    """

    def __init__(self, link: LineLink) -> None:
        self._link = link.speak(RULES)
        self.name = link.instrument
        self._set_v: dict[int, float] = {}
        # What `restore` sets; being made safe leaves it alone.
        self._wanted_v: dict[int, float] = {}

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of its channels."""
        return CHANNELS

    @property
    def volts_range(self) -> tuple[float, float]:
        """Lowest and highest voltage of every channel [V]."""
        return LIMITS_V

    def open(self) -> Identity:
        """Connect, hold the outputs instead of scrambling, and set them to 0 V.

        Raises
        ------
        ConnectError, ConnectionLost, InstrumentTimeout, WireProtocolError
        DeviceError
            If the instrument refuses.
        """
        identity = self._link.open()
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("V?")

    def safe_state(self, timeout_s: float) -> None:
        """Set all outputs to 0 V, within `timeout_s` [s] for each."""
        self._set_v = {}
        self._link.query("MDC", timeout_s)
        for channel in CHANNELS:
            self._link.query(f"V{channel},0000", timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        return {"set_v": {str(n): volts for n, volts in self._set_v.items()}}

    def set_polarisation(self, config: PolarisationConfig) -> PolarisationConfig:
        """Set the voltages that are named, to 1 mV; return those of all channels.

        Raises
        ------
        RangeError
            If a channel or a voltage is outside the limits; nothing is sent.
        DeviceError
            If the instrument refuses, or reads something else.
        """
        low, high = LIMITS_V
        for channel, volts in config.volts.items():
            if channel not in CHANNELS:
                limits = f"{MODEL} has channels 1 to 4"
                raise RangeError(self.name, f"channel {channel}", limits)
            if not low <= volts <= high:
                limits = f"limits of {MODEL} are {low:g}..{high:g}"
                raise RangeError(self.name, f"channel {channel}: {volts:g} V", limits)
        millivolts = {n: round(1000.0 * v) for n, v in config.volts.items()}
        for channel, value in millivolts.items():
            self._link.query(f"V{channel},{value:04d}")
        read = self._read_mv()
        wrong = [n for n, v in millivolts.items() if abs(read[n] - v) > WITHIN_MV]
        if wrong:
            text = ", ".join(
                f"channel {n}: {millivolts[n]} mV reads {read[n]}" for n in wrong
            )
            entry = (-1, f"set-point not taken: {text}")
            raise DeviceError(self.name, "set voltages", [entry])
        self._set_v.update({n: v / 1000.0 for n, v in millivolts.items()})
        self._wanted_v.update(self._set_v)
        return PolarisationConfig({n: v / 1000.0 for n, v in read.items()})

    def restore(self) -> None:
        """Set the voltages that were asked for last, and read them back.

        Raises
        ------
        DeviceError
            With every channel that reads another voltage.
        """
        self.set_polarisation(PolarisationConfig(dict(self._wanted_v)))

    def polarisation(self) -> PolarisationConfig:
        """Return the voltages it reads."""
        return PolarisationConfig({n: v / 1000.0 for n, v in self._read_mv().items()})

    def _read_mv(self) -> dict[int, int]:
        """Return what the outputs read, by channel [mV]."""
        text = " ".join(self._link.query("V?"))
        if not re.match(_VOLTAGES, text):
            raise WireProtocolError(self.name, "V?", f"{text!r:.60} names no four")
        found = re.findall(r"CH(\d)\s*([-+]?\d+)", text)
        return {int(channel): int(value) for channel, value in found}
