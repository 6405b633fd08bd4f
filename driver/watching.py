"""What a bench tells its watchdog, put together from its settings."""

from __future__ import annotations

from collections.abc import Mapping

from driver.bench_lock import BenchLock
from driver.guard import Supervision
from driver.interlock import Interlock
from driver.links import takes_one_client
from driver.making_safe import safe_order
from driver.processes import ProcessRef
from driver.settings import InstrumentSettings, SafetySettings
from driver.watch_plan import Watched, WatchPlan


def watch_plan(
    instruments: Mapping[str, InstrumentSettings],
    safety: SafetySettings,
    supervision: Supervision,
    lock: BenchLock,
    interlock: Interlock,
) -> WatchPlan:
    """Return the plan for a watchdog of this process.

    Parameters
    ----------
    instruments : mapping of str to InstrumentSettings
        In the order of arming.
    safety : SafetySettings
    supervision : Supervision
    lock : BenchLock
        Held.
    interlock : Interlock
    """
    here, journal = ProcessRef.here(), supervision.journal
    roles = {name: settings.roles for name, settings in instruments.items()}
    names = safe_order(roles, safety.on_exit)
    return WatchPlan(
        pid=here.pid,
        started=here.started,
        interlock=str(interlock.path),
        instruments=tuple(_watched(name, instruments[name]) for name in names),
        locks=tuple(str(path) for path in lock.paths),
        journal=str(journal.resolve()) if journal else "",
        run_uuid=supervision.run_uuid,
        hang_s=supervision.hang_s,
    )


def _watched(name: str, settings: InstrumentSettings) -> Watched:
    exclusive = settings.one_client
    if exclusive is None:
        exclusive = takes_one_client(settings.resource)
    commands = None if settings.commands is None else settings.commands.model_dump()
    return Watched(name, settings.driver, settings.resource, exclusive, commands)
