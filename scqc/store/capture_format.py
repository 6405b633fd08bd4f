"""What a capture file holds, and the limits a reader enforces.

::

    /                       format, format_version, run_uuid, created_utc,
                            software_version, complete, salvaged
    /config /layout /instruments        UTF-8 text as bytes (with checksums)
    /bursts/000/signal                  int16 codes
    /bursts/000/calibration/shot        int16 codes, signal light blocked
    /bursts/000/calibration/electronic  int16 codes, all light blocked
    /bursts/000/crc32/signal ...        uint32, one CRC-32 per chunk of the record

Each record has the attributes units, rate_hz, scale_v, offset_v, t0_s, clipped,
n_valid (samples acknowledged) and complete. The CRCs are there because HDF5's
own Fletcher-32 of zeros is zero: a hole that a power cut leaves in a file
passes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scqc.core.errors import CaptureError
from scqc.core.provenance import software_version, utc_now

FORMAT = "scqc-capture"
FORMAT_VERSION = "1.0"
CODE_UNITS = "code"
CHUNK_SAMPLES = 1 << 20

Kind = Literal["signal", "shot", "electronic"]
KIND_PATHS: dict[Kind, tuple[str, ...]] = {
    "signal": ("signal",),
    "shot": ("calibration", "shot"),
    "electronic": ("calibration", "electronic"),
}
CRC_GROUP = "crc32"
CRC_CHUNK = 1
TEXTS = ("config", "layout", "instruments")

MAX_BURSTS = 4096
MAX_SAMPLES = 1 << 36
MAX_CHUNK_BYTES = 1 << 24
MAX_CHUNKS = 1 << 22
MAX_TEXT_BYTES = 1 << 24
MAX_ATTRIBUTE_BYTES = 1 << 12
MAX_ATTRIBUTES = 32
MAX_LINKS = 2 * MAX_BURSTS


@dataclass(frozen=True, slots=True)
class CaptureHeader:
    """What is known before the first sample.

    Parameters
    ----------
    config_toml : str
        The full text of the lab config.
    run_uuid : str
    layout_json : str
        Frame layout, JSON.
    instruments_json : str
        Snapshot of the instruments' identities and settings, JSON.
    created_utc, software_version : str
    salvaged : bool
        Whether the file was rebuilt from an unfinished one.
    """

    config_toml: str
    run_uuid: str
    layout_json: str = "{}"
    instruments_json: str = "{}"
    created_utc: str = field(default_factory=utc_now)
    software_version: str = field(default_factory=software_version)
    salvaged: bool = False


@dataclass(frozen=True, slots=True)
class RecordScale:
    """How one record's codes become volts and bench time.

    Parameters
    ----------
    rate_hz : float
        Nominal sample rate [Sa/s].
    scale_v, offset_v : float
        Volts per code, and at code zero [V].
    t0_s : float
        Bench time of sample 0 [s].
    """

    rate_hz: float
    scale_v: float
    offset_v: float = 0.0
    t0_s: float = 0.0

    def __post_init__(self) -> None:
        checks = (
            ("rate_hz", 0.0 < self.rate_hz <= 1e13, self.rate_hz, "0 to 1e13"),
            ("scale_v", 0.0 < self.scale_v <= 1e6, self.scale_v, "0 to 1e6"),
            ("offset_v", abs(self.offset_v) <= 1e6, self.offset_v, "-1e6 to 1e6"),
            ("t0_s", abs(self.t0_s) <= 1e12, self.t0_s, "-1e12 to 1e12"),
        )
        for name, good, value, limit in checks:
            if not good:
                raise CaptureError(f"record: {name} = {value} is outside {limit}")


def burst_name(number: int) -> str:
    """Return the group name of burst `number`."""
    return f"{number:03d}"
