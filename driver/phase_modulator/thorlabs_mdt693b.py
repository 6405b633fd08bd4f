"""Thorlabs MDT693B, three high-voltage outputs, as the source of phase shifters.

The outputs X, Y and Z are channels 1, 2 and 3. None goes below 0 V, and none
above the limit set by a switch on the instrument.
"""

from __future__ import annotations

from driver.hal import Identity, Snapshot
from driver.phase_modulator.prompt_link import PromptLink
from scqc.core.errors import DeviceError, RangeError, WireProtocolError

AXES = {1: "x", 2: "y", 3: "z"}
LIMITS_V = (75.0, 100.0, 150.0)
# How far a reading may be off: its last digit, and the drift of the supply.
READING_V = 0.5


class ThorlabsMdt693b:
    """Driver for role `PhaseModulator`.

    Parameters
    ----------
    link : PromptLink
    """

    def __init__(self, link: PromptLink) -> None:
        self._link = link
        self.name = link.instrument
        self._limit_v = min(LIMITS_V)
        self._set_v: dict[int, float] = {}
        # What was asked for last; making safe does not change it.
        self._wanted_v: dict[int, float] = {}

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def limits_v(self) -> tuple[float, float]:
        """Lowest and highest voltage of every output [V]."""
        return 0.0, self._limit_v

    def open(self) -> Identity:
        """Connect, read the voltage limit, and set all outputs to 0 V.

        Raises
        ------
        WireProtocolError
            If the instrument has a limit that the model does not know.
        """
        identity = self._link.open()
        limit_v = self._link.query_number("vlimit?")
        if limit_v not in LIMITS_V:
            known = f"is none of {LIMITS_V}"
            raise WireProtocolError(self.name, "vlimit?", f"{limit_v:g} V {known}")
        self._limit_v = limit_v
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("id?")

    def safe_state(self, timeout_s: float) -> None:
        """Set all outputs to 0 V, within `timeout_s` [s] each."""
        self._set_v = {}
        for axis in AXES.values():
            self._link.query(f"{axis}voltage=0.000", timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        return {
            "limit_v": self._limit_v,
            "set_v": {str(n): v for n, v in self._set_v.items()},
        }

    def set_voltage(self, channel: int, volts: float) -> None:
        """Set an output [V].

        Raises
        ------
        RangeError
            If the channel or the voltage is outside the limits; nothing is sent.
        DeviceError
            If the instrument refuses, or the output reads another voltage.
        """
        axis = self._axis(channel)
        low, high = self.limits_v
        if not low <= volts <= high:
            raise RangeError(
                self.name,
                f"output {channel}: {volts:g} V",
                f"limits are {low:g}..{high:g}",
            )
        # Until it is read, nobody knows where the output stands.
        self._set_v.pop(channel, None)
        self._link.query(f"{axis}voltage={volts:.3f}")
        found_v = self.voltage(channel)
        if not abs(found_v - volts) <= READING_V:
            reason = f"output {channel} set to {volts:g} V, reads {found_v:g} V"
            raise DeviceError(self.name, f"{axis}voltage", [(-1, reason)])
        self._set_v[channel] = self._wanted_v[channel] = volts

    def restore(self) -> None:
        """Set the voltages that were asked for last, read them back and compare.

        Raises
        ------
        DeviceError
            With every output that reads another voltage.
        """
        wrong: list[tuple[int, str]] = []
        for channel, volts in list(self._wanted_v.items()):
            try:
                self.set_voltage(channel, volts)
            except DeviceError as error:
                wrong += error.entries
        if wrong:
            raise DeviceError(self.name, "restore", wrong)

    def voltage(self, channel: int) -> float:
        """Return what an output reads, to 0.1 V [V].

        Raises
        ------
        RangeError
            If there is no such channel.
        """
        return self._link.query_number(f"{self._axis(channel)}voltage?")

    def _axis(self, channel: int) -> str:
        if channel not in AXES:
            raise RangeError(self.name, f"output {channel}", "has outputs 1, 2 and 3")
        return AXES[channel]
