"""Which name somebody meant who wrote another one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 3
_CUTOFF = 0.6


def meant(name: str, known: Iterable[str]) -> str:
    """Return a hint which of the `known` names was meant.

    Parameters
    ----------
    name : str
    known : iterable of str

    Returns
    -------
    str
        ``did you mean 'seed'?``, with up to three names; empty if none is near.
    """
    close = [
        repr(one) for one in difflib.get_close_matches(name, known, _MOST, _CUTOFF)
    ]
    if not close:
        return ""
    *others, last = close
    return (
        f"did you mean {', '.join(others)} or {last}?"
        if others
        else (f"did you mean {last}?")
    )
