"""How much disk a block needs, and whether it is there."""

from __future__ import annotations

import shutil
from pathlib import Path

from scqc.core.errors import DiskSpaceError
from scqc.runs.cv_config import CvConfig
from scqc.runs.lab_config import LabConfig
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.transmit import burst_symbols

# Report, transcript and result of a block, and what must stay free for others.
_OTHER_BYTES = 16 << 20
RESERVE_BYTES = 64 << 20
_SAMPLE_BYTES, _TAG_BYTES = 2, 9
# Signal, shot and electronic noise.
_RECORDS = 3
# Alice's symbol (complex64) and its coded bits.
_SYMBOL_BYTES = 8 + 2


def block_bytes(config: LabConfig) -> int:
    """Return what a block of this config writes, on the safe side [B]."""
    if isinstance(config, CvConfig):
        return _OTHER_BYTES + config.link.bursts * _cv_burst_bytes(config)
    return _OTHER_BYTES + config.link.bursts * _photon_burst_bytes(config)


def _cv_burst_bytes(config: CvConfig) -> int:
    symbols, use = burst_symbols(config), config.bob.digitizer
    # A tenth for preamble, filter tails and the generator's granularity.
    duration_s = 1.1 * symbols / config.link.symbol_rate_hz + use.margin_s
    samples = _RECORDS * use.rate_hz * duration_s
    return int(_SAMPLE_BYTES * samples) + _SYMBOL_BYTES * symbols


def _photon_burst_bytes(config: PhotonConfig) -> int:
    n_slots = config.link.burst_slots
    duration_s = n_slots / config.link.slot_rate_hz + config.bob.tagger.margin_s
    tags = config.bob.receiver.max_count_rate_hz * duration_s
    return int(_TAG_BYTES * tags) + 2 * n_slots


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Check that a folder's disk has room.

    Parameters
    ----------
    folder : Path
        Exists.
    needed_bytes : int
        Besides `RESERVE_BYTES` [B].
    what : str
        For the message.

    Raises
    ------
    DiskSpaceError
        If it has not.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + RESERVE_BYTES:
        raise DiskSpaceError(
            f"{folder}: {1e-6 * free_bytes:.0f} MB free, {what} needs "
            f"{1e-6 * needed_bytes:.0f} MB and {1e-6 * RESERVE_BYTES:.0f} MB stay free"
        )
