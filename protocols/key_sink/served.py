"""Which direction of the export pool an end gives to applications, by its journal.

Each direction is the sending end's to allocate. Key of the other one that was taken
here by hand might be given to an application there.
"""

from __future__ import annotations

from protocols.key_sink.sink import KeySink
from scqc.core.errors import KeySinkError

_ALLOCATED, _FETCHED = "leased key", "fetched for export"
_OTHER = {"alice-to-bob": "bob-to-alice", "bob-to-alice": "alice-to-bob"}


def own_direction(sink: KeySink, wanted: str | None) -> str | None:
    """Return the direction that may be taken from by hand.

    Parameters
    ----------
    sink : KeySink
    wanted : str, optional
        Whichever may be if None.

    Returns
    -------
    str, optional
        None: either, for no keys were ever delivered from this sink.

    Raises
    ------
    KeySinkError
        If the wanted one is the other end's, which delivers keys.
    """
    own = _allocates(sink)
    if own is None or wanted in (None, own):
        return own or wanted
    raise KeySinkError(
        f"key sink {sink.path}: keys are delivered from it, and key {wanted} is the "
        f"other end's to give: the same bits may be an application's; take {own}"
    )


def _allocates(sink: KeySink) -> str | None:
    """Return the direction that keys were allocated from; None before the first."""
    rows = sink.db.rows(
        "SELECT j.event, b.direction FROM journal j JOIN blocks b "
        "ON b.identifier=j.subject WHERE j.event IN (?,?) ORDER BY j.serial DESC "
        "LIMIT 1",
        (_ALLOCATED, _FETCHED),
    )
    if not rows:
        return None
    event, direction = rows[0]
    return str(direction) if event == _ALLOCATED else _OTHER.get(direction)
