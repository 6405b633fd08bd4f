"""What the lab configs of all schemes share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from driver.settings import SafetySettings, WiringSettings
from scqc.core.settings import Settings


class KeySettings(Settings):
    """Where the key sinks lie, ``alice.sqlite`` and ``bob.sqlite``.

    A simulated bench keeps its own in the run folder instead, with
    `start_pad_bits` of pad for messages to begin with.
    """

    directory: str = "keys"
    # Pad that messages leave in the sink [bit].
    reserve_bits: int = Field(default=0, ge=0, le=1 << 40)
    start_pad_bits: int = Field(default=1 << 20, ge=0, le=1 << 32)


class BenchConfig(Settings):
    """The tables that mean the same whatever the scheme."""

    schema_: Literal[1] = Field(alias="schema")
    wiring: WiringSettings
    safety: SafetySettings = SafetySettings()
    keys: KeySettings = KeySettings()
