"""The receiver over a whole capture, burst by burst, and its timing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from dsp.pipeline import BurstRecords, ReceivedBurst, receive_burst
from dsp.settings import FrameLayout
from scqc.core.errors import CaptureError
from scqc.runs.cv_config import CvConfig
from scqc.runs.progress import Progress
from scqc.store.sealed_reader import Capture

CHUNK_SAMPLES = 1 << 20


@dataclass(slots=True)
class Timing:
    """Wall-clock seconds per stage, and the receiver's CPU time."""

    stages: dict[str, float] = field(default_factory=dict)
    dsp_samples: int = 0
    dsp_cpu_s: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.stages[name] = self.stages.get(name, 0.0) + spent


def burst_records(opened: Capture, number: int) -> BurstRecords:
    """Return the re-readable records of one burst of a capture."""
    stored = opened.burst(number)
    records = (stored.signal, stored.shot, stored.electronic)
    scales = [r.scale for r in records]
    if scales[0] is None or any(s is None for s in scales):
        raise CaptureError(
            f"{opened.path}: burst {number} has a record without samples"
        )
    return BurstRecords(
        scales[0].rate_hz,
        lambda: stored.signal.chunks(CHUNK_SAMPLES),
        lambda: stored.shot.chunks(CHUNK_SAMPLES),
        lambda: stored.electronic.chunks(CHUNK_SAMPLES),
        sum(r.clipped for r in records),
    )


def complete_bursts(opened: Capture) -> int:
    """Count the bursts, from the first on, whose three records are whole.

    A finished capture holds all of them. A salvaged one ends somewhere; the burst
    that was cut is left out without looking at its samples.

    Raises
    ------
    CaptureError
        If not even the first burst is whole.
    """
    if not opened.header.salvaged:
        return opened.n_bursts
    whole = opened.burst(0).signal.n_samples
    count = 0
    for number in range(opened.n_bursts):
        stored = opened.burst(number)
        records = (stored.signal, stored.shot, stored.electronic)
        if whole == 0 or any(r.n_samples != whole for r in records):
            break
        count += 1
    if count == 0:
        raise CaptureError(f"{opened.path}: salvaged, but without one whole burst")
    return count


def receive_all(
    opened: Capture,
    config: CvConfig,
    layout: FrameLayout,
    progress: Progress,
    timing: Timing,
) -> list[ReceivedBurst]:
    """Run the receiver over all bursts, a few at a time."""
    n_bursts = complete_bursts(opened)
    progress.stage("receiver", n_bursts)

    def one(number: int) -> tuple[ReceivedBurst, int, float]:
        stored = opened.burst(number)
        samples = sum(
            r.n_samples for r in (stored.signal, stored.shot, stored.electronic)
        )
        start = time.thread_time()
        received = receive_burst(
            burst_records(opened, number), layout, config.bob.receiver
        )
        return received, samples, time.thread_time() - start

    bursts = []
    with ThreadPoolExecutor(config.security.threads) as pool:
        for received, samples, cpu_s in pool.map(one, range(n_bursts)):
            timing.dsp_samples += samples
            timing.dsp_cpu_s += cpu_s
            bursts.append(received)
            progress.advance()
    return bursts
