"""Which part of a bench belongs to which party."""

from __future__ import annotations

from collections.abc import Mapping

from driver.bench import Bench
from driver.settings import InstrumentSettings
from scqc.runs.lab_config import LabConfig
from scqc.store.results import Sender


class Half:
    """One party's instruments on an open bench.

    A program that plays both parties has one bench for both; each still touches
    its own instruments only.

    Parameters
    ----------
    bench : Bench
        Open.
    config : LabConfig
    party : {"alice", "bob"}
    """

    def __init__(self, bench: Bench, config: LabConfig, party: Sender) -> None:
        self.bench = bench
        self.instruments = own_instruments(config, party)
        self.wiring = own_wiring(config, party)

    def set_shutters(self, wanted: Mapping[str, bool]) -> None:
        """Open or close those of the shutters that are this party's."""
        for signal, is_open in wanted.items():
            if signal in self.wiring:
                self.bench.switch(signal).set_open(is_open)


def own_instruments(config: LabConfig, party: Sender) -> dict[str, InstrumentSettings]:
    """Return the instruments of a party."""
    side = config.alice if party == "alice" else config.bob
    return dict(side.instruments)


def own_wiring(config: LabConfig, party: Sender) -> dict[str, str]:
    """Return the signals that a party's instruments carry."""
    own = own_instruments(config, party)
    return {s: p for s, p in config.wiring.items() if p.partition(":")[0] in own}
