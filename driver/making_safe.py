"""How instruments are made safe: in which order, and all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager

from driver.hal import Instrument
from driver.registry import Role
from scqc.core.errors import ConnectionLost, InstrumentError

SAFE_TIMEOUT_S = 3.0
#: One that does not answer delays the next in the order by no more than this [s].
HEAD_START_S = 0.05
# What makes light goes first, then what lets it through, then what steers it.
_RANKS: dict[Role, int] = {
    "laser": 0,
    "optical-switch": 1,
    "awg": 1,
    "attenuator": 2,
    "bias-controller": 3,
    "polarisation-controller": 3,
    "phase-modulator": 3,
    "detector-bias": 3,
}
_REST = 4


def safe_order(
    instruments: Mapping[str, Iterable[Role]], on_exit: Iterable[str]
) -> list[str]:
    """Return the order of making safe.

    Lasers, then optical switches and generators, attenuators, controllers, and the
    rest; a box of several roles goes with the first of them. Equals go against the
    order of arming.

    Parameters
    ----------
    instruments : mapping of str to iterable of str
        Names in the order of arming, and the roles of each.
    on_exit : iterable of str
        Actions such as ``laser.off``; their instruments come first.

    Returns
    -------
    list of str
        Every name once.
    """

    def rank(name: str) -> int:
        return min((_RANKS.get(r, _REST) for r in instruments[name]), default=_REST)

    first = [action.partition(".")[0] for action in on_exit]
    order = dict.fromkeys([*first, *sorted(reversed(list(instruments)), key=rank)])
    return [name for name in order if name in instruments]


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


def make_all_safe(
    instruments: Mapping[str, Instrument],
    passing: Callable[[], AbstractContextManager[None]],
) -> dict[str, InstrumentError]:
    """Put all in their safe states, in order, but none waits long for another.

    Returns when every one has been tried; each has its own deadline.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        In the order of making safe.
    passing : callable
        Makes what lets a thread past the interlock.

    Returns
    -------
    dict of str to InstrumentError
        Those that are not safe, in that order, and why.
    """

    def one(name: str) -> None:
        with passing():
            make_safe(instruments[name])

    running: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(max(1, len(instruments)), "safe") as pool:
        for name in instruments:
            running[name] = _started(pool, one, name)
            wait([running[name]], HEAD_START_S)
    errors = {name: future.exception() for name, future in running.items()}
    return {n: _told(n, error) for n, error in errors.items() if error is not None}


def _started(
    pool: ThreadPoolExecutor, one: Callable[[str], None], name: str
) -> Future[None]:
    """Begin with one instrument; without a thread to be had, do it now."""
    try:
        return pool.submit(one, name)
    except RuntimeError:
        done: Future[None] = Future()
        try:
            one(name)
        except InstrumentError as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        return done


def _told(name: str, error: BaseException) -> InstrumentError:
    """Return an error of the instrument; a driver's own mistake is told as one."""
    if isinstance(error, InstrumentError):
        return error
    return InstrumentError(name, "safe state", f"{type(error).__name__}: {error}")
