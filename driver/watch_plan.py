"""What the program tells its watchdog: one line of JSON, nothing secret."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from driver.optical_switch.commands import SwitchCommands

#: Between two beats of the program's heart, and two looks of the watchdog [s].
BEAT_S = 0.1
TICK_S = 0.05
#: Silence of a hung program [s]. What remains of a second is for acting.
HANG_S = 0.65
#: Looks in a row that find the program stopped; a profiler stops it for less.
STOPPED_TICKS = 2

BEAT, BYE, ECHO = b".", b"B", b".\n"


@dataclass(frozen=True, slots=True)
class Watched:
    """An instrument to be made safe.

    Parameters
    ----------
    name, driver, resource : str
        As configured.
    is_exclusive : bool
        Whether it takes one client only, so that a hung one must be ended first.
    commands : dict, optional
        Its words, if it takes them.
    """

    name: str
    driver: str
    resource: str
    is_exclusive: bool
    commands: dict[str, str] | None = None

    @property
    def words(self) -> SwitchCommands | None:
        """Its words, if it takes them."""
        return None if self.commands is None else SwitchCommands(**self.commands)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Whom to watch, and what to do when its heart stops.

    Parameters
    ----------
    pid, started : int
        The program; see `driver.processes.ProcessRef`.
    interlock : str
        File of the flag that tells the program.
    instruments : tuple of Watched
        In the order of making safe.
    locks : tuple of str
        Files of the bench's locks, removed when the station is safe.
    journal : str
        File that gets a line about it; empty for none.
    run_uuid : str
        For that line.
    hang_s : float
        Silence of the program that counts as a hang [s].
    """

    pid: int
    started: int
    interlock: str
    instruments: tuple[Watched, ...]
    locks: tuple[str, ...] = ()
    journal: str = ""
    run_uuid: str = ""
    hang_s: float = HANG_S

    def to_line(self) -> bytes:
        """Return the plan as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WatchPlan:
        """Read a plan.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is none.
        """
        found = json.loads(line)
        watched = tuple(Watched(**entry) for entry in found.pop("instruments"))
        locks = tuple(found.pop("locks"))
        return cls(instruments=watched, locks=locks, **found)
