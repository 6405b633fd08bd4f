"""Keysight N7776C and its relatives: tunable lasers that speak SCPI.

The laser tunes while it is lit. Wavelengths have steps of 0.1 pm, so what was
taken differs from what was asked for by up to 6 MHz at 1550 nm.
"""

from __future__ import annotations

from driver.hal import Identity, Snapshot
from driver.hal_light import LaserConfig, LaserReading
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_taken
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.units import LIGHT_SPEED_M_PER_S

MODELS = ("N7776C", "N7778C", "N7779C")
# Half a step, and what the decimal places of the reply may add.
_WAVELENGTH_M = 0.1e-12
_POWER_DB = 0.02


class KeysightN7776C:
    """Driver for role `Laser`.

    Parameters
    ----------
    link : ScpiLink
    """

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._config: LaserConfig | None = None
        # What `restore` sets; being made safe leaves it alone.
        self._wanted: LaserConfig | None = None
        self._lit = False
        self._wavelengths_m = self._powers_dbm = (0.0, 0.0)

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def frequency_range_hz(self) -> tuple[float, float]:
        """Lowest and highest optical frequency [Hz], as the laser told."""
        shortest_m, longest_m = self._wavelengths_m
        return (
            LIGHT_SPEED_M_PER_S / longest_m,
            LIGHT_SPEED_M_PER_S / shortest_m,
        )

    @property
    def power_range_dbm(self) -> tuple[float, float]:
        """Lowest and highest output power [dBm], as the laser told."""
        return self._powers_dbm

    def open(self) -> Identity:
        """Connect, switch the light off, and ask for the limits.

        Raises
        ------
        ConnectError
            If it is no laser of this family.
        WireProtocolError
            If the limits make no sense.
        """
        identity = self._link.open()
        if identity.model not in MODELS:
            reason = f"{identity.model!r} is none of {MODELS}"
            raise ConnectError(self.name, "*IDN?", reason)
        self._link.write("*CLS")
        self.safe_state(self._link.io_timeout_s)
        with self._link.batch() as batch:
            batch.append("SOUR0:POW:UNIT 0")
        self._wavelengths_m = self._limits("SOUR0:WAV?")
        self._powers_dbm = self._limits("SOUR0:POW?")
        if not self._wavelengths_m[0] > 0.0:
            reason = f"shortest wavelength {self._wavelengths_m[0]:g} m"
            raise WireProtocolError(self.name, "SOUR0:WAV? MIN", reason)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?", idempotent=True)

    def safe_state(self, timeout_s: float) -> None:
        """Switch the light off, within `timeout_s` [s]."""
        self._config = None
        self._switch(False, timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        return {
            "frequency_hz": config.frequency_hz if config else None,
            "power_dbm": config.power_dbm if config else None,
            "is_on": self._lit,
        }

    def configure(self, config: LaserConfig) -> LaserConfig:
        """Set frequency and power; return what the laser took.

        A laser that emits goes on emitting.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses, or does not take a value.
        """
        self._check(config)
        self._config = None
        wavelength_m = LIGHT_SPEED_M_PER_S / config.frequency_hz
        # Steps that round to the far side of a limit would be refused.
        steps = round(wavelength_m / _WAVELENGTH_M)
        with self._link.batch() as batch:
            batch += [
                "SOUR0:POW:UNIT 0",
                f"SOUR0:WAV {steps / 10_000:.4f}nm",
                f"SOUR0:POW {config.power_dbm:.3f}dBm",
            ]
        got_m = self._link.query_number("SOUR0:WAV?")
        got_dbm = self._link.query_number("SOUR0:POW?")
        tolerance = _WAVELENGTH_M / wavelength_m
        require_taken(self.name, "SOUR0:WAV", wavelength_m, got_m, tolerance)
        if not abs(got_dbm - config.power_dbm) <= _POWER_DB:
            text = f"set to {config.power_dbm:g} dBm, reads {got_dbm:g} dBm"
            raise DeviceError(self.name, "SOUR0:POW", [(0, text)])
        self._config = LaserConfig(LIGHT_SPEED_M_PER_S / got_m, got_dbm)
        self._wanted = self._config
        return self._config

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
        DeviceError
            If the laser stays as it was, or emits at another wavelength.
        StateError
            If it is to be switched on before it was configured.
        """
        if is_on and self._config is None:
            raise StateError(self.name, "enable", "the laser is not configured")
        self._switch(is_on, timeout_s)
        if is_on and self._config is not None:
            wanted_m = LIGHT_SPEED_M_PER_S / self._config.frequency_hz
            got_m = self._link.query_number("SOUR0:WAV?")
            # A laser that hops to another mode as it lights up says so here.
            tolerance = _WAVELENGTH_M / wanted_m
            require_taken(self.name, "SOUR0:WAV", wanted_m, got_m, tolerance)

    def reading(self) -> LaserReading:
        """Return what the laser says of itself; the power is the set one."""
        is_on = self._is_on(self._link.io_timeout_s)
        wavelength_m = self._link.query_number("SOUR0:WAV?")
        if not wavelength_m > 0.0:
            reason = f"wavelength {wavelength_m:g} m"
            raise WireProtocolError(self.name, "SOUR0:WAV?", reason)
        power_dbm = self._link.query_number("SOUR0:POW?")
        return LaserReading(is_on, LIGHT_SPEED_M_PER_S / wavelength_m, power_dbm)

    def _switch(self, is_on: bool, timeout_s: float) -> None:
        deadline = Deadline(timeout_s)
        # Told lit first: if the command fails, light is assumed.
        self._lit = self._lit or is_on
        with self._link.batch(timeout_s) as batch:
            batch.append(f"SOUR0:POW:STAT {is_on:d}")
        if self._is_on(max(deadline.remaining_s(), 1e-3)) != is_on:
            text = f"set to {is_on:d}, reads {not is_on:d}"
            raise DeviceError(self.name, "SOUR0:POW:STAT", [(0, text)])
        self._lit = is_on

    def _is_on(self, timeout_s: float) -> bool:
        state = self._link.query_number("SOUR0:POW:STAT?", timeout_s)
        if state not in (0.0, 1.0):
            reason = f"{state:g} is neither 0 nor 1"
            raise WireProtocolError(self.name, "SOUR0:POW:STAT?", reason)
        return state == 1.0

    def _limits(self, query: str) -> tuple[float, float]:
        low = self._link.query_number(f"{query} MIN")
        high = self._link.query_number(f"{query} MAX")
        if not low < high:
            raise WireProtocolError(self.name, query, f"limits {low:g}..{high:g}")
        return low, high

    def _check(self, config: LaserConfig) -> None:
        for what, value, (low, high), unit in (
            ("frequency", config.frequency_hz, self.frequency_range_hz, "Hz"),
            ("power", config.power_dbm, self.power_range_dbm, "dBm"),
        ):
            if not low <= value <= high:
                raise RangeError(
                    self.name,
                    f"{what} {value:.9g} {unit}",
                    f"limits of {self.identity.model} are {low:.9g}..{high:.9g}",
                )
