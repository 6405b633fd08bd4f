"""What the numbers of a sweep rest on besides its settings: the program itself.

A version number says too little: in a checkout formulas change between two versions,
and a result of the old ones must not be taken for one of the new.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

#: Packages with a part in what a point means.
_PACKAGES = ("protocols", "scqc.core", "scqc.plan", "sim_backends.propagation")


@lru_cache(maxsize=1)
def model_digest() -> str:
    """Return a hash of the sources of models, security code and planner."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for name, place in sorted(_modules(files(package), package)):
            digest.update(name.encode() + b"\0")
            digest.update(hashlib.sha256(place.read_bytes()).digest())
    return digest.hexdigest()


def _modules(folder: Traversable, name: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for one in folder.iterdir():
        if one.is_dir():
            found += _modules(one, f"{name}.{one.name}")
        elif one.name.endswith(".py"):
            found.append((f"{name}.{one.name}", one))
    return found
