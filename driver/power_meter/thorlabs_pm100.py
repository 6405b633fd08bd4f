"""Thorlabs PM100 family of optical power meters with a network interface.

All of them, and the PM400, speak the same SCPI dialect; which sensor is plugged
in is read when the link is opened.
"""

from __future__ import annotations

from driver.hal import Identity, Snapshot
from driver.hal_light import PowerMeterConfig
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from driver.scpi.taken import require_taken
from scqc.core.errors import ConnectError, RangeError, StateError, WireProtocolError

MODELS = ("PM100A", "PM100D", "PM100USB", "PM101", "PM102", "PM103E", "PM400")
AVERAGES = (1, 3000)
# Flags of the sensor: it measures power, and knows its response by wavelength.
POWER, WAVELENGTH = 1, 32
# The instrument averages samples of up to a third of a millisecond, and the
# slowest models take ten times as long.
_SAMPLE_S = 3e-3


class ThorlabsPm100:
    """Driver for role `PowerMeter`.

    Parameters
    ----------
    link : ScpiLink
    """

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._sensor = ""
        self._wavelengths_m = (0.0, 0.0)
        self._config: PowerMeterConfig | None = None
        # What `restore` sets; being made safe leaves it alone.
        self._wanted: PowerMeterConfig | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    @property
    def wavelength_range_m(self) -> tuple[float, float]:
        """Shortest and longest wavelength [m], as the sensor told."""
        return self._wavelengths_m

    def open(self) -> Identity:
        """Connect and ask which sensor is plugged in.

        Raises
        ------
        ConnectError
            If it is no such meter, or has no sensor for power at a set wavelength.
        WireProtocolError
            If the sensor's description or limits make no sense.
        """
        identity = self._link.open()
        if identity.model not in MODELS:
            reason = f"{identity.model!r} is none of {MODELS}"
            raise ConnectError(self.name, "*IDN?", reason)
        self._link.write("*CLS")
        self._config = None
        self._sensor = self._ask_sensor()
        with self._link.batch() as batch:
            batch += ["SENS:POW:UNIT W", "SENS:POW:RANG:AUTO 1"]
        low_nm = self._link.query_number("SENS:CORR:WAV? MIN")
        high_nm = self._link.query_number("SENS:CORR:WAV? MAX")
        if not 0.0 < low_nm < high_nm:
            reason = f"wavelengths {low_nm:g}..{high_nm:g} nm"
            raise WireProtocolError(self.name, "SENS:CORR:WAV?", reason)
        self._wavelengths_m = (low_nm * 1e-9, high_nm * 1e-9)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?", idempotent=True)

    def safe_state(self, timeout_s: float) -> None:
        """Stop a measurement, within `timeout_s` [s]; a meter emits nothing."""
        with self._link.batch(timeout_s) as batch:
            batch.append("ABOR")

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        config = self._config
        return {
            "sensor": self._sensor,
            "wavelength_m": config.wavelength_m if config else None,
            "averages": config.averages if config else None,
        }

    def configure_meter(self, config: PowerMeterConfig) -> PowerMeterConfig:
        """Set wavelength and averaging; return what the meter took.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses, or does not take a value.
        """
        self._check(config)
        self._config = None
        wavelength_nm = config.wavelength_m * 1e9
        with self._link.batch() as batch:
            batch += [
                f"SENS:CORR:WAV {wavelength_nm:.3f}",
                f"SENS:AVER:COUN {config.averages}",
            ]
        got_nm = self._link.query_number("SENS:CORR:WAV?")
        got = self._link.query_number("SENS:AVER:COUN?")
        # Some models keep whole nanometres.
        require_taken(
            self.name, "SENS:CORR:WAV", wavelength_nm, got_nm, 0.51 / wavelength_nm
        )
        require_taken(self.name, "SENS:AVER:COUN", config.averages, got, 0.0)
        self._config = self._wanted = PowerMeterConfig(got_nm * 1e-9, int(got))
        return self._config

    def restore(self) -> None:
        """Set what was configured last, read it back, compare.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        if self._wanted is not None:
            require_same(self.name, self._wanted, self.configure_meter(self._wanted))

    def power_w(self) -> float:
        """Return one reading [W].

        Raises
        ------
        WireProtocolError
            If it is not a finite number: the sensor is overloaded, or not there.
        StateError
            If the meter is not configured.
        """
        if self._config is None:
            raise StateError(self.name, "read", "the meter is not configured")
        more_s = self._config.averages * _SAMPLE_S
        return self._link.query_number("MEAS:POW?", self._link.io_timeout_s + more_s)

    def _ask_sensor(self) -> str:
        """Return the name of the sensor, once it is known to be fit."""
        query = "SYST:SENS:IDN?"
        reply = self._link.query(query)
        fields = [field.strip().strip('"') for field in reply.split(",")]
        if len(fields) != 6 or not fields[5].isdecimal():
            raise WireProtocolError(self.name, query, f"{reply[:60]!r} is no sensor")
        flags = int(fields[5])
        if not (flags & POWER and flags & WAVELENGTH):
            reason = f"{fields[0]!r} (flags {flags}) measures no power by wavelength"
            raise ConnectError(self.name, query, reason)
        return fields[0]

    def _check(self, config: PowerMeterConfig) -> None:
        for what, value, (low, high), unit in (
            ("wavelength", config.wavelength_m, self.wavelength_range_m, "m"),
            ("averages", config.averages, AVERAGES, "samples"),
        ):
            # A wavelength in metres is off its nanometres by rounding.
            if not low * (1.0 - 1e-9) <= value <= high * (1.0 + 1e-9):
                raise RangeError(
                    self.name,
                    f"{what} {value:g} {unit}",
                    f"limits of {self.identity.model} with {self._sensor} are "
                    f"{low:g}..{high:g}",
                )
