"""Instruments that drop their connection during a run, and come back.

A burst whose light may have left is never sent again: the same quantum states
twice would give an eavesdropper two copies. It is lost, and a fresh one takes
its place.
"""

from __future__ import annotations

from collections.abc import Mapping

from driver.bench import Bench
from driver.hal import Instrument
from driver.hal_light import Attenuator, Laser
from driver.set_points import SetPoints, set_up_light
from driver.settings import InstrumentSettings
from scqc.core.errors import ConnectionLost, DeviceError
from scqc.runs.journal import Journal

#: How often a run goes on after a lost connection.
TRIES = 3
_BACK_S = 10.0
# What an attenuator may read beside its set-point: its resolution, and more.
_NEAR_DB = 0.5


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
        """Ask every laser that was switched on whether it still is, and attenuators.

        A burst in which a laser went out, or away, is worth nothing, and says so only
        after the run. An attenuator that was without power may come back open, and
        launch more than the run counts on.

        Raises
        ------
        ConnectionLost
            If one is gone.
        DeviceError
            If one is out, or is not where it was set to.
        """
        for name, settings in self._instruments.items():
            wrong = _astray(self._bench.instrument(name), settings.set_points)
            if wrong:
                raise DeviceError(name, "reading", [(-1, wrong)])


def _astray(instrument: Instrument, points: SetPoints) -> str:
    """Return how an instrument's light is not what was set; empty if it is."""
    if isinstance(instrument, Laser) and points.power_dbm is not None:
        return "" if instrument.reading().is_on else "switched on, and is off"
    if isinstance(instrument, Attenuator) and points.attenuation_db is not None:
        wanted_db, found_db = points.attenuation_db, instrument.attenuation_db()
        near = abs(found_db - wanted_db) <= _NEAR_DB
        return "" if near else f"is at {found_db:g} dB, was set to {wanted_db:g} dB"
    return ""
