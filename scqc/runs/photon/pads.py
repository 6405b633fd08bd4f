"""What a run sees of the key sinks: message pads and levels."""

from __future__ import annotations

from protocols.key_sink.pads import MessagePads
from protocols.key_sink.schedule import SinkLevel
from protocols.key_sink.sink import AUTHENTICATION_PURPOSE, PAD_PURPOSE, KeySink
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.runs.photon.config import PhotonConfig


def pads_of(config: PhotonConfig, sink: KeySink) -> MessagePads:
    """Return the pool of message pads of one party."""
    return MessagePads(sink, allow_simulated=config.sim is not None)


def sink_level(config: PhotonConfig, sink: KeySink) -> SinkLevel:
    """Return what a party's sink holds now."""
    simulated = config.sim is not None
    authentication = [
        sink.available_bits(AUTHENTICATION_PURPOSE, direction, simulated)
        for direction in (ALICE_TO_BOB, BOB_TO_ALICE)
    ]
    return SinkLevel(
        sink.available_bits(PAD_PURPOSE, ALICE_TO_BOB, simulated),
        min(authentication),
        config.keys.reserve_bits,
    )
