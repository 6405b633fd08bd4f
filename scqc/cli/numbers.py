"""Numbers for people: three digits and a prefix, and times in their own units."""

from __future__ import annotations

_PREFIXES = ("", "k", "M", "G", "T", "P")


def si(number: float, unit: str) -> str:
    """Return a quantity with the prefix that leaves at most three digits before it."""
    size, n = abs(number), 0
    # What rounds to a thousand is one of the next prefix.
    while size >= 999.5 and n < len(_PREFIXES) - 1:
        size, n = size / 1000.0, n + 1
    value = number / 1000.0**n
    shown = f"{value:.0f}" if n == 0 and float(number).is_integer() else f"{value:.3g}"
    return f"{shown} {_PREFIXES[n]}{unit}"


def duration(seconds: float) -> str:
    """Return a time in the unit that fits it: 4.2 s, 3 min, 5 h, 12 d."""
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    for limit, size, unit in ((120.0, 1.0, "s"), (7200.0, 60.0, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    if seconds < 48 * 3600.0:
        return f"{seconds / 3600.0:.0f} h"
    return f"{seconds / 86400.0:.0f} d"
