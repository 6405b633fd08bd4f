"""Which settings both ends of a link must have alike.

Each end has a config file of its own: its instruments, addresses and folders are
nobody else's business, and need not even be told. What is sent, how it is encoded
and what the key is worth must be the same, or nothing would fit.
"""

from __future__ import annotations

from typing import Any

from protocols.messages.terms import canonical
from scqc.runs.lab_config import LabConfig

#: Tables and entries that are each end's own.
OWN = (
    "wiring",
    "safety",
    "sim",
    "peer",
    "delivery",
    "alice.instruments",
    "bob.instruments",
    "keys.directory",
    "keys.simulated_directory",
    "security.threads",
)


def shared_config(config: LabConfig) -> str:
    """Return what the peer must have alike, as canonical JSON.

    Of ``[sim]`` only whether it is there: both ends are simulated, or none is.
    """
    tree = config.model_dump(mode="json", by_alias=True)
    tree["simulated"] = config.sim is not None
    for place in OWN:
        _drop(tree, place.split("."))
    return canonical(tree)


def _drop(tree: dict[str, Any], names: list[str]) -> None:
    *tables, last = names
    for name in tables:
        tree = tree.get(name) or {}
    tree.pop(last, None)
