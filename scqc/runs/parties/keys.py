"""How a fresh key is cut into the pools of a sink, as the config has it."""

from __future__ import annotations

from protocols.key_sink.records import PoolKey
from protocols.key_sink.shares import share
from scqc.core.records import KeyBlock
from scqc.runs.lab_config import LabConfig
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.distil import SchemeParty, Shares
from scqc.runs.photon.config import PhotonConfig


def shares_of(config: LabConfig) -> Shares:
    """Return what cuts a party's key into pools, for so many tags in advance."""
    messages = isinstance(config, PhotonConfig) and config.carries_payload

    def shares(name: BlockName, party: SchemeParty, tags: int) -> list[PoolKey]:
        packed, n_bits = party.key()
        key = KeyBlock(
            identifier=name.link,
            bits=packed,
            n_bits=n_bits,
            epsilon=party.epsilon,
            simulated=config.sim is not None,
            provenance={"run_uuid": name.run_uuid, "block": str(name.number)},
        )
        settings = config.keys.model_copy(update={"tags_per_block": tags})
        return share(key, settings, messages=messages)

    return shares
