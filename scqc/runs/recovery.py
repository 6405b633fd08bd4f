"""Instruments that drop their connection during a run, and come back.

A burst whose light may have left is never sent again: the same quantum states
twice would give an eavesdropper two copies. It is lost, and a fresh one takes
its place.
"""

from __future__ import annotations

from collections.abc import Mapping

from driver.bench import Bench
from driver.hal_light import Laser
from driver.set_points import set_up_light
from driver.settings import InstrumentSettings
from scqc.core.errors import ConnectionLost, DeviceError
from scqc.runs.journal import Journal

#: How often a run goes on after a lost connection.
TRIES = 3
_BACK_S = 10.0


class Recovery:
    """Opens lost instruments anew, a few times per run.

    Parameters
    ----------
    bench : Bench
        Open.
    instruments : mapping of str to InstrumentSettings
    journal : Journal
    light_timeout_s : float
        Deadline for the set-points of lasers and controllers [s].
    """

    def __init__(
        self,
        bench: Bench,
        instruments: Mapping[str, InstrumentSettings],
        journal: Journal,
        light_timeout_s: float,
    ) -> None:
        self._bench, self._instruments = bench, instruments
        self._journal, self._light_timeout_s = journal, light_timeout_s
        self._left = TRIES

    def after(self, error: ConnectionLost, consequence: str) -> None:
        """Open the instrument anew that was lost.

        Parameters
        ----------
        error : ConnectionLost
        consequence : str
            What the run does about it, for the journal.

        Raises
        ------
        ConnectionLost
            The same, if the run has gone on too often already.
        InstrumentError
            If the instrument does not come back as it was.
        """
        name = error.instrument
        if not self._left or name not in self._instruments:
            raise error
        self._left -= 1
        self._journal.write("lost", f"{error}; {consequence}")
        self._bench.recover(name, _BACK_S)
        settings = {name: self._instruments[name]}
        set_up_light(self._bench, settings, self._light_timeout_s)
        self._journal.write("recovered", f"{name}: same instrument, same set-points")

    def require_light(self) -> None:
        """Ask every laser that was switched on whether it still is.

        A burst in which a laser went out, or away, is worth nothing, and says so only
        after the run.

        Raises
        ------
        ConnectionLost
            If one is gone.
        DeviceError
            If one is out, or does not emit what it was set to.
        """
        for name, settings in self._instruments.items():
            laser = self._bench.instrument(name)
            if not isinstance(laser, Laser) or not settings.set_points.given():
                continue
            if not laser.reading().is_on:
                raise DeviceError(name, "reading", [(-1, "switched on, and is off")])
