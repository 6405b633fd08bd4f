"""Checks that an instrument took what it was told."""

from __future__ import annotations

from driver.hal import AwgConfig
from scqc.core.errors import DeviceError

# Steps of converters are finer; a register that kept its value is further off.
_AMPLITUDE, _RATE = 0.02, 1e-6


def require_taken(
    instrument: str,
    command: str,
    wanted: float,
    taken: float,
    tolerance: float,
    absolute: float = 0.0,
) -> None:
    """Compare a set-point with what was read back.

    Parameters
    ----------
    instrument, command : str
        For the message.
    wanted, taken : float
        In the same unit.
    tolerance : float
        Largest relative difference [1].
    absolute : float
        A difference that is always good enough, in their unit.

    Raises
    ------
    DeviceError
        If they differ by more.
    """
    if not abs(taken - wanted) <= max(tolerance * abs(wanted), absolute):
        text = f"set to {wanted:.9g}, reads {taken:.9g}"
        raise DeviceError(instrument, command, [(0, text)])


def require_generator(instrument: str, wanted: AwgConfig, taken: AwgConfig) -> None:
    """Compare what a generator was told with what was read back.

    Raises
    ------
    DeviceError
        If the rate or an amplitude is another one.
    """
    require_taken(instrument, "rate", wanted.rate_hz, taken.rate_hz, _RATE)
    for n, volts in wanted.amplitude_vpp.items():
        got_v = taken.amplitude_vpp[n]
        require_taken(instrument, f"amplitude {n}", volts, got_v, _AMPLITUDE)
