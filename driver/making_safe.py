"""How instruments are made safe: in which order, and each for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driver.hal import Instrument
from scqc.core.errors import ConnectionLost

SAFE_TIMEOUT_S = 3.0


def safe_order(names: Sequence[str], on_exit: Iterable[str]) -> list[str]:
    """Return the order of making safe.

    Parameters
    ----------
    names : sequence of str
        Instruments in the order of arming.
    on_exit : iterable of str
        Actions such as ``laser.off``; their instruments come first.

    Returns
    -------
    list of str
        Every name once.
    """
    first = [action.partition(".")[0] for action in on_exit]
    order = dict.fromkeys([*first, *reversed(names)])
    return [name for name in order if name in names]


def make_safe(instrument: Instrument, timeout_s: float = SAFE_TIMEOUT_S) -> None:
    """Put one instrument in its safe state, over a new link if the old is dead.

    A link that died unnoticed shows only now, and the command may be lost with
    it. Being safe twice does no harm, so it is said again.

    Raises
    ------
    InstrumentError
        Whatever prevents it.
    """
    try:
        instrument.safe_state(timeout_s)
    except ConnectionLost:
        instrument.safe_state(timeout_s)
