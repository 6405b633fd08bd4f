"""The two programs in steady state: blocks per second, queues, memory.

Laboratory, Alice and Bob run as three programs. What the pipeline makes is set beside
taking blocks without distilling them, and distilling without taking. The virtual
laboratory computes while it "acquires", on the same cores as everything else, so that
a pipeline has little to gain there; *paced* adds a wait to every block, as instruments
have it, and leaves the cores free meanwhile.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scqc.core.errors import ScqcError

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
_WARM_BLOCKS, _SAMPLE_S, _MB = 3, 0.5, 1e-6
_START_S = 180.0
_KEPT_S, _FEWEST_MINUTES = 60.0, 3


@dataclass
class Samples:
    """What was seen while the programs ran.

    Parameters
    ----------
    at_s : list of float
        Since the first of them [s].
    blocks, waiting : list of int
        Blocks distilled so far; blocks that wait to be [1].
    rss_mb : dict of str to list of float
        Resident memory of each program [MB].
    """

    at_s: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    rss_mb: dict[str, list[float]] = field(default_factory=dict)

    @property
    def blocks_per_s(self) -> float:
        """Blocks per second between the first and the last block [1/s]."""
        done = np.array(self.blocks)
        steps = np.flatnonzero(np.diff(done)) + 1
        if steps.size < 2:
            return 0.0
        first, last = steps[0], steps[-1]
        return float((done[last] - done[first]) / (self.at_s[last] - self.at_s[first]))

    def slope_mb_per_h(self, program: str) -> float:
        """Growth of memory by regression, after a quarter of the time [MB/h].

        Of the least in every minute: what is kept stays between blocks, while their
        arrays, of more than a hundred megabytes, come and go. NaN in a short run.
        """
        start = len(self.at_s) // 4
        at_s, rss_mb = np.array(self.at_s[start:]), self.rss_mb[program][start:]
        minute = ((at_s - at_s[0]) // _KEPT_S).astype(int)
        least = np.full(minute[-1] + 1, np.inf)
        np.minimum.at(least, minute, rss_mb)
        # The last minute is not whole; two give no slope worth the name.
        least = least[:-1]
        if least.size < _FEWEST_MINUTES:
            return math.nan
        return float(np.polyfit(np.arange(least.size) * _KEPT_S / 3600.0, least, 1)[0])

    def waiting_slope_per_h(self) -> float:
        """Growth of the queue by regression [1/h]."""
        return float(np.polyfit(np.array(self.at_s) / 3600.0, self.waiting, 1)[0])


def figures(seconds: float) -> list[dict[str, Any]]:
    """Measure both schemes, each for so long [s]."""
    return [row for name in ("dv_quick", "cv_quick") for row in bench(name, seconds)]


def bench(name: str, seconds: float) -> list[dict[str, Any]]:
    """Measure one bench, as it is and paced."""
    alone = {what: _alone(name, what) for what in ("acquire", "distil")}
    # Acquisition is the slower of the two then, and mostly waits.
    pace_s = 1.0 / alone["acquire"] + 1.0 / alone["distil"]
    rows = []
    for kind, wait_s in (("computes", 0.0), ("paced", pace_s)):
        taken = 1.0 / (1.0 / alone["acquire"] + wait_s)
        found = steady(name, seconds, wait_s)
        slower = min(taken, alone["distil"])
        rows.append(
            {
                "bench": name,
                "laboratory": kind,
                "acquisition_alone_per_s": taken,
                "distillation_alone_per_s": alone["distil"],
                "pipeline_per_s": found.blocks_per_s,
                "percent_of_slower": 100.0 * found.blocks_per_s / slower,
                "waiting_mean": float(np.mean(found.waiting)),
                "waiting_most": max(found.waiting),
                **{f"{p}_rss_mb": found.rss_mb[p][-1] for p in ("alice", "bob")},
                **{f"{p}_mb_per_h": found.slope_mb_per_h(p) for p in ("alice", "bob")},
            }
        )
    return rows


def steady(name: str, seconds: float, wait_s: float = 0.0) -> Samples:
    """Run the three programs for so long after they have warmed up [s]."""
    with _programs(name) as made:
        made.party("alice")
        _start_bob(made, "plain", wait_s)
        _wait_blocks(made, _WARM_BLOCKS)
        try:
            return _watch(made, seconds)
        except (ScqcError, RuntimeError, OSError) as error:
            # Whoever ended has a moment to say why.
            time.sleep(2.0)
            logs = "\n".join(
                f"{name}, exit code {process.poll()}:\n{made.log(name)}"
                for name, process in made.running.items()
            )
            raise RuntimeError(f"{error}\n{logs}") from error


def _alone(name: str, what: str) -> float:
    """Return blocks per second of one half of Bob's work [1/s]."""
    with _programs(name) as made:
        made.party("alice")
        bob = _start_bob(made, what, 0.0)
        if bob.wait(_START_S):
            raise RuntimeError(made.log("bob"))
        del made.running["bob"]
        return float(json.loads((made.home("bob") / "alone.json").read_text()))


def _watch(made: Any, seconds: float) -> Samples:
    found, begin_s = Samples(), time.monotonic()
    while (now_s := time.monotonic() - begin_s) < seconds:
        state = made.state("bob")
        found.at_s.append(now_s)
        found.blocks.append(state["blocks"])
        found.waiting.append(state["blocks_waiting"])
        for program, process in made.running.items():
            found.rss_mb.setdefault(program, []).append(_rss_mb(process.pid))
        time.sleep(_SAMPLE_S)
    if state["failed"]:
        raise RuntimeError(f"{state['failed']} blocks failed: {state['alarms']}")
    return found


def _rss_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024.0 * int(line.split()[1]) * _MB
    raise RuntimeError(f"process {process} has ended")


def _wait_blocks(made: Any, n: int) -> None:
    from parties_kit import wait_for

    home = made.home("bob")
    wait_for((home / "control.sock").exists, lambda: made.log("bob"), _START_S)
    wait_for(
        lambda: made.state("bob")["blocks"] >= n,
        lambda: made.log("bob") + made.log("alice"),
        _START_S,
    )


def _start_bob(made: Any, what: str, wait_s: float) -> subprocess.Popen[bytes]:
    words = ["-m", "benchmarks.steady_bob", what, wait_s, made.config]
    log = (made.folder / "bob.log").open("ab")
    command = [sys.executable, *map(str, [*words, made.home("bob"), made.endpoints])]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
    )
    log.close()
    made.running["bob"] = process
    return process


class _programs:  # noqa: N801
    """The laboratory's program in a temporary folder; Alice and Bob are added."""

    def __init__(self, name: str) -> None:
        sys.path.insert(0, str(TESTS))
        from parties_kit import Programs

        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = (ROOT / f"lab_configs/{name}.toml").read_text()
        text += f'\n[peer]\naddress = "tcp://127.0.0.1:{port}"\nqueue_blocks = 4\n'
        (folder / f"{name}.toml").write_text(text)
        self._made = Programs(folder, folder / f"{name}.toml")

    def __enter__(self) -> Any:
        self._made.lab()
        return self._made

    def __exit__(self, *_: object) -> None:
        self._made.end()
        self._folder.cleanup()
