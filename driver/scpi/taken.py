"""Checks that an instrument took what it was told."""

from __future__ import annotations

from scqc.core.errors import DeviceError


def require_taken(
    instrument: str, command: str, wanted: float, taken: float, tolerance: float
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

    Raises
    ------
    DeviceError
        If they differ by more.
    """
    if not abs(taken - wanted) <= tolerance * abs(wanted):
        text = f"set to {wanted:.9g}, reads {taken:.9g}"
        raise DeviceError(instrument, command, [(0, text)])
