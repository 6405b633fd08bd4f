"""Where a result came from: software, time, run."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from scqc import __version__


def new_run_uuid() -> str:
    """Return a fresh random run identifier."""
    return str(uuid.uuid4())


def utc_now() -> str:
    """Return the time now as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def software_version() -> str:
    """Return the version of this program."""
    return __version__
