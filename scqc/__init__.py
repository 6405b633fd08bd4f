"""Control and signal processing for simultaneous classical-quantum links.

The heavy parts are imported when they are first used, so that ``import scqc``
and the command line start quickly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_HOME = Path(__file__).resolve().parent.parent
for _name in ("driver", "dsp", "protocols", "sim_backends"):
    _spec = find_spec(_name)
    _found = _spec.origin if _spec else None
    if _found is None or Path(_found).resolve().parent.parent != _HOME:
        raise ImportError(
            f"scqc needs its own package {_name!r} in {_HOME}, but Python finds "
            f"{_found}; rename that file, or start Python with -P"
        )

_LAZY = {
    "open_bench": "scqc.runs.notebook",
    "process": "scqc.runs.notebook",
    "load_capture": "scqc.runs.notebook",
}

__all__ = ["__version__", "load_capture", "open_bench", "process"]


def __getattr__(name: str) -> Any:
    """Import the notebook functions on first use."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'scqc' has no attribute {name!r}")
