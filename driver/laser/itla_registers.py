"""Registers of an ITLA module, and its arithmetic of frequencies.

Source: OIF-ITLA-MSA-01.3, command interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

SENA = 0x0008
"""Bit of `Register.RESET_ENABLE` that lets light out."""
MODULE_READY = 0x0010
"""Bit of `Register.NOP`: the module has warmed up."""
CHANNEL = 1
"""The driver uses the first channel alone, so that the grid does not count."""

ERRORS = {
    1: "RNI, register not implemented",
    2: "RNW, register not writable",
    3: "RVE, value out of range",
    4: "CIP, ignored: an operation is pending",
    5: "CII, ignored: the module is starting",
    6: "ERE, extended address out of range",
    7: "ERO, extended address is read only",
    8: "EXF, execution failed",
    9: "CIE, ignored: the output is on",
    10: "IVC, invalid configuration",
    15: "VSE, error of the maker's own",
}
NOT_IMPLEMENTED, BUSY, STARTING = 1, 4, 5


class Register(IntEnum):
    """Addresses, by what they hold."""

    NOP = 0x00
    MANUFACTURER = 0x02
    MODEL = 0x03
    SERIAL = 0x04
    RELEASE = 0x06
    EXTENDED = 0x0B
    CHANNEL = 0x30
    POWER = 0x31
    RESET_ENABLE = 0x32
    GRID = 0x34
    FIRST_THZ = 0x35
    FIRST_100MHZ = 0x36
    ACTUAL_THZ = 0x40
    ACTUAL_100MHZ = 0x41
    ACTUAL_POWER = 0x42
    FINE_RANGE = 0x4F
    LOWEST_POWER = 0x50
    HIGHEST_POWER = 0x51
    LOWEST_THZ = 0x52
    LOWEST_100MHZ = 0x53
    HIGHEST_THZ = 0x54
    HIGHEST_100MHZ = 0x55
    FINE = 0x62
    CHANNEL_HIGH = 0x65
    FIRST_MHZ = 0x67
    ACTUAL_MHZ = 0x68


def signed(data: int) -> int:
    """Return sixteen bits as a signed number."""
    return data - 0x10000 if data & 0x8000 else data


def dbm(data: int) -> float:
    """Return the power that a register holds in hundredths [dBm]."""
    return signed(data) / 100.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is written into the frequency registers.

    The frequency is that of the first channel, a whole number of 100 MHz, plus
    the channels above it on the grid, plus the fine tuning.

    Parameters
    ----------
    first_mhz : int
        Frequency of the first channel [MHz].
    fine_mhz : int
        Fine tuning [MHz].
    channel : int
        Counted from 1.
    grid_mhz : int
        Spacing of the channels [MHz].
    """

    first_mhz: int
    fine_mhz: int = 0
    channel: int = CHANNEL
    grid_mhz: int = 0

    @classmethod
    def nearest(cls, frequency_hz: float) -> Tuning:
        """Return the tuning nearest to a frequency [Hz]; the step is 1 MHz."""
        total_mhz = round(frequency_hz / 1e6)
        first_mhz = 100 * round(total_mhz / 100)
        return cls(first_mhz, total_mhz - first_mhz)

    @property
    def on_grid_hz(self) -> float:
        """Frequency without the fine tuning [Hz]."""
        return 1e6 * (self.first_mhz + (self.channel - 1) * self.grid_mhz)

    @property
    def frequency_hz(self) -> float:
        """Frequency of the light [Hz]."""
        return self.on_grid_hz + 1e6 * self.fine_mhz
