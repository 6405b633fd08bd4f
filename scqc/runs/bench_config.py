"""What the lab configs of all schemes share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from driver.settings import SafetySettings, WiringSettings
from protocols.delivery.settings import DeliverySettings
from protocols.key_sink.shares import ShareSettings
from scqc.core.settings import ADDRESS, Settings


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


class PeerSettings(Settings):
    """How the two programs of a link find each other.

    Alice listens at `address`, Bob connects to it. Each end has its key file of
    ``scqc keys init-link`` in the folder of its key sink, or at `link_file`.
    """

    address: str = Field(default="tcp://127.0.0.1:7750", pattern=r"^tcp://[^/]+$")
    link_file: str = ""
    # Largest difference of the two computers' clocks [s].
    max_clock_skew_s: float = Field(default=60.0, gt=0.0, le=86_400.0)
    # Folders of so many blocks are kept; older ones are removed.
    keep_blocks: int = Field(default=20, ge=1, le=1_000_000)
    # Raw captures give the key away together with the public transcript.
    keep_captures: bool = False
    # Blocks that may wait to be distilled while further ones are taken.
    queue_blocks: int = Field(default=1, ge=1, le=4)
    # Where metrics are served, HOST:PORT; empty: nowhere.
    metrics: str = Field(default="", pattern=ADDRESS)
    # Authentication pad for fewer blocks than that is low.
    low_blocks: int = Field(default=20, ge=1, le=1_000_000)
    # Pad for messages above [keys] reserve_bits that is low [bit].
    low_pad_bits: int = Field(default=8192, ge=0, le=1 << 40)
    # So many blocks without key, one after the other, are an alarm.
    no_key_blocks: int = Field(default=3, ge=1, le=1_000_000)
    # Alice: nothing from Bob for so long is an alarm [s].
    peer_silent_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    # Excess noise that is an alarm; absent: none is [SNU].
    max_xi_snu: float | None = Field(default=None, gt=0.0, le=100.0)


class BenchConfig(Settings):
    """The tables that mean the same whatever the scheme."""

    schema_: Literal[1] = Field(alias="schema")
    wiring: WiringSettings
    safety: SafetySettings = SafetySettings()
    keys: KeySettings = KeySettings()
    peer: PeerSettings = PeerSettings()
    delivery: DeliverySettings | None = None
