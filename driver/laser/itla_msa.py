"""A tunable laser module of the OIF's multi-source agreement (ITLA, micro-ITLA).

The frequency is set by the first channel and the fine tuning; every step is
read back. A laser that emits is fine-tuned while it emits, as far as its range
goes; otherwise it is switched off first.
"""

from __future__ import annotations

import math

from driver.hal import Identity, Snapshot
from driver.hal_light import LaserConfig, LaserReading
from driver.laser.itla_link import ItlaLink
from driver.laser.itla_registers import (
    CHANNEL,
    MODULE_READY,
    NOT_IMPLEMENTED,
    SENA,
    Register,
    Tuning,
    dbm,
    signed,
)
from driver.restoring import require_same
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError, RangeError, StateError

# A module that is locked is nearer; one that has hopped to another mode is not.
# Some modules leave the fine tuning out of what they report.
LOCKED_WITHIN_HZ = 1e9
POWER_WITHIN_DB = 1.0


class ItlaLaser:
    """Driver for role `Laser`.

    Parameters
    ----------
    link : ItlaLink
    """

    def __init__(self, link: ItlaLink) -> None:
        self._link = link
        self.name = link.instrument
        self._frequency_hz = (0.0, 0.0)
        self._power_dbm = (0.0, 0.0)
        self._fine_range_mhz = 0
        self._has_mhz = False
        self._config: LaserConfig | None = None
        # What `restore` sets; being made safe leaves it alone.
        self._wanted: LaserConfig | None = None
        self._is_on = False

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def frequency_range_hz(self) -> tuple[float, float]:
        """Lowest and highest optical frequency [Hz]."""
        return self._frequency_hz

    @property
    def power_range_dbm(self) -> tuple[float, float]:
        """Lowest and highest output power [dBm]."""
        return self._power_dbm

    def open(self) -> Identity:
        """Connect, switch the light off, and read the module's limits.

        Raises
        ------
        ConnectError, ConnectionLost, InstrumentTimeout, WireProtocolError
        DeviceError
            If the module refuses.
        """
        deadline = Deadline(self._link.open_timeout_s)
        self._link.connect(deadline)
        # Before anything else: many short questions follow.
        self.safe_state(deadline.remaining_s())
        identity = self._link.identify(deadline)
        read = self._link.read
        low_mhz = _mhz(read(Register.LOWEST_THZ), read(Register.LOWEST_100MHZ))
        high_mhz = _mhz(read(Register.HIGHEST_THZ), read(Register.HIGHEST_100MHZ))
        self._frequency_hz = (1e6 * low_mhz, 1e6 * high_mhz)
        self._power_dbm = (
            dbm(read(Register.LOWEST_POWER)),
            dbm(read(Register.HIGHEST_POWER)),
        )
        self._fine_range_mhz = read(Register.FINE_RANGE)
        self._has_mhz = self._implements(Register.FIRST_MHZ)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the module still answers."""
        self._link.read(Register.NOP)

    def safe_state(self, timeout_s: float) -> None:
        """Switch the light off, within `timeout_s` [s].

        Raises
        ------
        DeviceError
            If the module says that it is still on.
        """
        self._config = None
        self._switch(False, Deadline(timeout_s))

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        return {
            "is_on": self._is_on,
            "frequency_hz": None if config is None else config.frequency_hz,
            "power_dbm": None if config is None else config.power_dbm,
            "frequency_range_hz": list(self._frequency_hz),
            "power_range_dbm": list(self._power_dbm),
        }

    def configure(self, config: LaserConfig) -> LaserConfig:
        """Set frequency, to 1 MHz, and power, to 0.01 dB; return what it took.

        A laser that emits stays on if fine tuning is enough, and is switched off
        otherwise.

        Raises
        ------
        RangeError
            If one is outside the limits; nothing is sent.
        DeviceError
            If the module refuses, or reads back something else.
        """
        wanted = self._checked(config)
        if self._is_on:
            held = self._tuning()
            fine_mhz = round((config.frequency_hz - held.on_grid_hz) / 1e6)
            if abs(fine_mhz) <= self._fine_range_mhz:
                wanted = Tuning(held.first_mhz, fine_mhz, held.channel, held.grid_mhz)
            else:
                self.set_enabled(False, self._link.io_timeout_s)
        if not self._is_on:
            self._write_first_channel(wanted)
        self._link.write(Register.FINE, wanted.fine_mhz)
        centibel = round(100.0 * config.power_dbm)
        self._link.write(Register.POWER, centibel)
        taken = LaserConfig(
            self._tuning().frequency_hz, dbm(self._link.read(Register.POWER))
        )
        asked = LaserConfig(wanted.frequency_hz, centibel / 100.0)
        if taken != asked:
            reason = f"set-point not taken: {asked} reads back as {taken}"
            raise DeviceError(self.name, "configure", [(-1, reason)])
        self._config = self._wanted = taken
        return taken

    def restore(self) -> None:
        """Set what was configured last, read it back, compare; the light stays off.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        if self._wanted is not None:
            require_same(self.name, self._wanted, self.configure(self._wanted))

    def set_enabled(self, is_on: bool, timeout_s: float) -> None:
        """Switch the light on or off and return when it has settled.

        Raises
        ------
        InstrumentTimeout
            If it has not settled after `timeout_s` [s].
        StateError
            If it is to be switched on before it was configured.
        DeviceError
            If the module refuses, or its light is not where it was set.
        """
        deadline = Deadline(timeout_s)
        if is_on:
            if self._config is None:
                raise StateError(self.name, "enable", "the laser is not configured")
            self._link.wait(MODULE_READY, timeout_s)
        self._switch(is_on, deadline)
        if is_on:
            self.reading()

    def reading(self) -> LaserReading:
        """Return what the laser says of itself.

        Raises
        ------
        DeviceError
            If it emits, and not at the frequency and power it was set to.
        """
        read = self._link.read
        is_on = bool(read(Register.RESET_ENABLE) & SENA)
        mhz = _mhz(read(Register.ACTUAL_THZ), read(Register.ACTUAL_100MHZ))
        if self._has_mhz:
            mhz += signed(read(Register.ACTUAL_MHZ))
        found = LaserReading(is_on, 1e6 * mhz, dbm(read(Register.ACTUAL_POWER)))
        if is_on and self._config is not None:
            self._check_locked(found, self._config)
        return found

    def _check_locked(self, found: LaserReading, wanted: LaserConfig) -> None:
        off_hz = found.frequency_hz - wanted.frequency_hz
        on_grid_hz = found.frequency_hz - self._tuning().on_grid_hz
        if min(abs(off_hz), abs(on_grid_hz)) > LOCKED_WITHIN_HZ:
            reason = (
                f"emits at {found.frequency_hz / 1e12:.6f} THz, set to "
                f"{wanted.frequency_hz / 1e12:.6f} THz"
            )
            raise DeviceError(self.name, "frequency", [(-1, reason)])
        if abs(found.power_dbm - wanted.power_dbm) > POWER_WITHIN_DB:
            reason = f"emits {found.power_dbm:.2f} dBm, set to {wanted.power_dbm:.2f}"
            raise DeviceError(self.name, "power", [(-1, reason)])

    def _checked(self, config: LaserConfig) -> Tuning:
        """Return the tuning for a config that is within the limits."""
        for value, (low, high), unit in (
            (config.frequency_hz, self._frequency_hz, "Hz"),
            (config.power_dbm, self._power_dbm, "dBm"),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                limits = f"limits of {self.identity.model} are {low:g}..{high:g} {unit}"
                raise RangeError(self.name, f"{value:.9g} {unit}", limits)
        return Tuning.nearest(config.frequency_hz)

    def _write_first_channel(self, wanted: Tuning) -> None:
        thz, rest_mhz = divmod(wanted.first_mhz, 1_000_000)
        write = self._link.write
        write(Register.CHANNEL, CHANNEL)
        if self._has_mhz:
            write(Register.CHANNEL_HIGH, 0)
        write(Register.FIRST_THZ, thz)
        write(Register.FIRST_100MHZ, rest_mhz // 100)
        if self._has_mhz:
            write(Register.FIRST_MHZ, 0)

    def _tuning(self) -> Tuning:
        """Read the frequency registers."""
        read = self._link.read
        first_mhz = _mhz(read(Register.FIRST_THZ), read(Register.FIRST_100MHZ))
        channel = read(Register.CHANNEL)
        if self._has_mhz:
            first_mhz += signed(read(Register.FIRST_MHZ))
            channel += read(Register.CHANNEL_HIGH) << 16
        return Tuning(
            first_mhz,
            signed(read(Register.FINE)),
            channel,
            100 * signed(read(Register.GRID)),
        )

    def _switch(self, is_on: bool, deadline: Deadline) -> None:
        """Set the enable bit, wait, and read it back."""
        if is_on:
            self._is_on = True
        self._link.write(
            Register.RESET_ENABLE, SENA if is_on else 0, deadline.remaining_s()
        )
        state = self._link.read(Register.RESET_ENABLE, deadline.remaining_s())
        if bool(state & SENA) is not is_on:
            reason = f"told {'on' if is_on else 'off'}, ResEna reads {state:#06x}"
            raise DeviceError(self.name, "enable", [(-1, reason)])
        self._is_on = is_on

    def _implements(self, register: Register) -> bool:
        """Return whether the module has a register; older ones lack the MHz."""
        try:
            self._link.read(register)
        except DeviceError as error:
            if error.entries[0][0] != NOT_IMPLEMENTED:
                raise
            return False
        return True


def _mhz(thz: int, hundreds_mhz: int) -> int:
    """Return what a pair of registers holds [MHz]."""
    return 1_000_000 * thz + 100 * hundreds_mhz
