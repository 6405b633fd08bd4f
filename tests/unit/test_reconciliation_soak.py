"""Long statistics of the coding figures; ``pytest -m soak``."""

import pytest

from benchmarks import reconciliation as bench


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("rate", "beta", "size", "frames", "lost"),
    [(0.1, 0.92, 2560, 20, 0.2), (0.2557, 0.86, 1024, 100, 0.05)],
)
def test_reconciliation_reaches_its_efficiency(rate, beta, size, frames, lost):
    row = bench.bench_reconciliation(rate, beta, size, frames)
    assert row["fer_first"] <= lost
    assert row["fer"] <= lost
    assert row["raw_mbit_per_s"] > 0.5


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("rate", "raw_ber"), [*bench.FEC_POINTS])
def test_classical_code_loses_nothing_past_the_crc(rate, raw_ber):
    row = bench.bench_fec(rate, raw_ber, frames=1000)
    assert row["frames_lost"] == 0
    assert row["wrong_past_crc"] == 0
    assert row["coded_mbit_per_s"] > 5
