"""What a run sees of the key sinks: message pads and levels."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.key_sink.pads import MessagePads
from protocols.key_sink.records import AUTHENTICATION_PURPOSE, PAD_PURPOSE
from protocols.key_sink.schedule import SinkLevel
from protocols.key_sink.sink import KeySink
from protocols.messages.photon import PadRange
from protocols.schemes.pads import Pad
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.runs.bench_config import BenchConfig
from scqc.runs.journal import Journal
from scqc.runs.photon.config import PhotonConfig


class JournaledPads:
    """One party's message pads; the journal says what was spent, as it is spent.

    Parameters
    ----------
    config : PhotonConfig
    sink : KeySink
    journal : Journal
    name : str
        Of the party.
    """

    def __init__(
        self, config: PhotonConfig, sink: KeySink, journal: Journal, name: str
    ) -> None:
        self._pads = MessagePads(sink, allow_simulated=config.sim is not None)
        self._journal, self._name = journal, name

    def spend(self, n_bits: int) -> Pad:
        """Spend the oldest unspent bits; see `AlicePads.spend`."""
        return self._noted(self._pads.spend(n_bits))

    def follow(self, ranges: Sequence[PadRange]) -> Pad:
        """Spend exactly `ranges`; see `BobPads.follow`."""
        return self._noted(self._pads.follow(ranges))

    def _noted(self, pad: Pad) -> Pad:
        spans = ", ".join(
            f"{p.identifier}[{p.start_bit}:{p.start_bit + p.n_bits}]"
            for p in pad.ranges
        )
        self._journal.write("pad", f"{self._name}: spent for ever: {spans}")
        return pad


def sink_level(config: BenchConfig, sink: KeySink) -> SinkLevel:
    """Return what a party's sink holds now."""
    simulated = getattr(config, "sim", None) is not None
    authentication = [
        sink.available_bits(AUTHENTICATION_PURPOSE, direction, simulated)
        for direction in (ALICE_TO_BOB, BOB_TO_ALICE)
    ]
    return SinkLevel(
        sink.available_bits(PAD_PURPOSE, ALICE_TO_BOB, simulated),
        min(authentication),
        config.keys.reserve_bits,
    )
