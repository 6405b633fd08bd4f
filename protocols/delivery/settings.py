"""The ``[delivery]`` table: who gets keys, where, and how many at a time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scqc.core.settings import ADDRESS, Settings

#: One end of the link.
Party = Literal["alice", "bob"]
# What fits a common name, a URL and a log line without quoting.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class KmeSettings(Settings):
    """One end: its key management entity (KME) and the applications (SAEs) there.

    The files are needed at this end only; what the other end must know is the
    name and the list.
    """

    kme_id: Name
    saes: tuple[Name, ...] = Field(min_length=1, max_length=128)
    listen_host: str = "127.0.0.1"
    # 0: any free port, told when the server has started.
    listen_port: int = Field(default=8443, ge=0, le=65535)
    certificate_file: str = ""
    private_key_file: str = ""
    # Who signs the certificates of the SAEs.
    authority_file: str = ""
    # Where metrics are served, HOST:PORT; empty: nowhere.
    metrics: str = Field(default="", pattern=ADDRESS)


class DeliverySettings(Settings):
    """Delivery of keys to applications by ETSI GS QKD 014 and 004.

    Both ends need the same table, but for addresses, files and limits.
    """

    alice: KmeSettings
    bob: KmeSettings
    allow_simulated_keys: bool = False
    key_size_bits: int = Field(default=256, ge=8, le=65536, multiple_of=8)
    min_key_size_bits: int = Field(default=64, ge=8, le=65536, multiple_of=8)
    max_key_size_bits: int = Field(default=8192, ge=8, le=65536, multiple_of=8)
    max_keys_per_request: int = Field(default=128, ge=1, le=1024)
    max_key_count: int = Field(default=1_000_000, ge=1, le=1 << 40)
    # A SAE that shows more key_IDs that were never made is refused from then on.
    max_forged_ids: int = Field(default=1000, ge=1, le=1_000_000)
    # Reserved when a key stream is opened, unless its QoS asks for more.
    stream_bytes: int = Field(default=4096, ge=8, le=1 << 20)
    max_stream_bytes: int = Field(default=65536, ge=8, le=1 << 20)
    max_streams_per_sae: int = Field(default=8, ge=1, le=1024)
    max_connections: int = Field(default=64, ge=1, le=4096)
    max_body_bytes: int = Field(default=65536, ge=1024, le=1 << 20)
    request_timeout_s: float = Field(default=10.0, gt=0.0, le=600.0)
    idle_timeout_s: float = Field(default=60.0, gt=0.0, le=3600.0)

    @model_validator(mode="after")
    def _consistent(self) -> DeliverySettings:
        if not self.min_key_size_bits <= self.key_size_bits <= self.max_key_size_bits:
            raise ValueError(
                f"key_size_bits = {self.key_size_bits} must lie between "
                f"min_key_size_bits = {self.min_key_size_bits} and "
                f"max_key_size_bits = {self.max_key_size_bits}"
            )
        if self.stream_bytes > self.max_stream_bytes:
            raise ValueError("stream_bytes must not exceed max_stream_bytes")
        if self.alice.kme_id == self.bob.kme_id:
            raise ValueError(f"both ends have kme_id = {self.alice.kme_id!r}")
        names = [*self.alice.saes, *self.bob.saes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"saes name {', '.join(twice)} twice")
        return self

    def here(self, party: Party) -> KmeSettings:
        """Return the end of `party`."""
        return self.alice if party == "alice" else self.bob

    def there(self, party: Party) -> KmeSettings:
        """Return the end across the link from `party`."""
        return self.bob if party == "alice" else self.alice
