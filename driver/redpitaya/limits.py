"""What a STEMlab 125-14 can do, and how its refusals read."""

from __future__ import annotations

from scqc.core.errors import RangeError

MODEL = "125-14"
CHANNELS = (1, 2)
CLOCK_HZ = 125e6
BUFFER_SAMPLES = 16384
LARGEST_DECIMATION = 1 << 16
# The converters have 14 bits.
TOP_CODE = 8191
ADC_STEPS = 1 << 14
AMPLITUDE_VPP = (0.02, 2.0)
# Full scale of the inputs by the position of their jumpers.
GAINS_V = {"LV": 2.0, "HV": 40.0}
RANGE_V = (1e-3, 40.0)
N_SAMPLES = (16, BUFFER_SAMPLES)
# The trigger input is a logic input: any level between its rails is the same.
TRIGGER_LEVEL_V = (0.0, 3.3)


def decimation(name: str, rate_hz: float) -> int:
    """Return the divider of the clock that gives `rate_hz`.

    Raises
    ------
    RangeError
        If the rate is not 125 MSa/s over a power of two up to 65536.
    """
    if CLOCK_HZ / LARGEST_DECIMATION * 0.999 <= rate_hz <= CLOCK_HZ * 1.001:
        factor = 1 << round(CLOCK_HZ / rate_hz).bit_length() - 1
        if abs(rate_hz * factor - CLOCK_HZ) <= 1e-9 * CLOCK_HZ:
            return factor
    raise RangeError(
        name,
        f"rate {rate_hz:g} Sa/s",
        f"STEMlab {MODEL} has 125 MSa/s over a power of two up to 65536",
    )


def check(
    name: str, what: str, value: float, limits: tuple[float, float], unit: str
) -> None:
    """Check that a value is within limits.

    Raises
    ------
    RangeError
        If it is not, or not a number.
    """
    low, high = limits
    if not low <= value <= high:
        raise RangeError(
            name,
            f"{what} {value:g} {unit}",
            f"limits of STEMlab {MODEL} are {low:g}..{high:g}",
        )
