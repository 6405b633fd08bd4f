"""Bob's program as `benchmarks.steady` measures it: whole, or one half of his work.

python -m benchmarks.steady_bob plain|acquire|distil WAIT_S CONFIG HOME LAB
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from scqc.core.provenance import new_run_uuid
from scqc.runs.lab_config import load_config
from scqc.runs.parties import bob_service
from scqc.runs.parties.bob import BobTaker, Captured
from scqc.runs.parties.bob_service import Session
from scqc.runs.parties.programs import serve_party
from scqc.runs.parties.service import Place
from scqc.runs.parties.status import DoneBlock

#: Blocks that are measured alone, after one that warms up; Alice keeps so many.
_BLOCKS = 4


def main(what: str, wait_s: float, config: Path, home: Path, lab: Path) -> None:
    """Serve until told to end, or until the blocks of a half are done."""
    if wait_s:
        _pace(wait_s)
    if what == "acquire":
        _acquire_only(home)
    elif what == "distil":
        _distil_later(home)
    blocks = None if what == "plain" else 1 + _BLOCKS
    serve_party(
        Place(load_config(config), home, lab, new_run_uuid(), False, blocks), "bob"
    )


def _pace(wait_s: float) -> None:
    """Let every block take longer, as instruments do: they wait."""
    take = BobTaker.take

    def paced(self: BobTaker, *places: Any) -> Captured | str:
        time.sleep(wait_s)
        return take(self, *places)

    bob_service.BobTaker.take = paced  # type: ignore[method-assign,assignment]


def _acquire_only(home: Path) -> None:
    """Distil nothing; measure how fast blocks come."""
    came_s: list[float] = []

    def count(self: Session, captured: Captured) -> None:
        came_s.append(time.monotonic())
        self._service.status.done(DoneBlock(captured.index, came_s[-1], 0))
        if len(came_s) == 1 + _BLOCKS:
            _write(home, _BLOCKS / (came_s[-1] - came_s[0]))

    Session._distil = count  # type: ignore[method-assign]


def _distil_later(home: Path) -> None:
    """Take all blocks first; measure how fast keys are made of them."""

    def later(self: Session) -> None:
        first = self._waiting.get()
        if first is None:
            return
        self._distil(first)
        while self._service.taken < 1 + _BLOCKS and not self._over.is_set():
            time.sleep(0.1)
        begin_s = time.monotonic()
        for _ in range(_BLOCKS):
            if (captured := self._waiting.get()) is None:
                return
            self._distil(captured)
        _write(home, _BLOCKS / (time.monotonic() - begin_s))
        self._service.end.set()

    Session._distil_all = later  # type: ignore[method-assign]


def _write(home: Path, blocks_per_s: float) -> None:
    (home / "alone.json").write_text(json.dumps(blocks_per_s))


if __name__ == "__main__":
    kind, wait, *places = sys.argv[1:]
    main(kind, float(wait), *map(Path, places))
