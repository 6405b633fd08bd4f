"""What the lab configs of all schemes share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from driver.settings import SafetySettings, WiringSettings
from protocols.delivery.settings import DeliverySettings
from protocols.key_sink.shares import ShareSettings
from scqc.core.settings import Settings


class KeySettings(ShareSettings):
    """Where the key sinks lie, ``alice.sqlite`` and ``bob.sqlite``.

    A simulated bench keeps its own: in the run folder, or in `simulated_directory`
    so that runs draw from one another's keys. They begin with `start_pad_bits` of
    pad for messages.
    """

    directory: str = "keys"
    simulated_directory: str = ""
    # Pad that messages leave in the sink [bit].
    reserve_bits: int = Field(default=0, ge=0, le=1 << 40)
    start_pad_bits: int = Field(default=1 << 20, ge=0, le=1 << 32)


class BenchConfig(Settings):
    """The tables that mean the same whatever the scheme."""

    schema_: Literal[1] = Field(alias="schema")
    wiring: WiringSettings
    safety: SafetySettings = SafetySettings()
    keys: KeySettings = KeySettings()
    delivery: DeliverySettings | None = None
