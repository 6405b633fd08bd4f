"""Long statistics of the coding figures; ``pytest -m soak``."""

import pytest
from scipy import stats

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


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("error_rate", "limit"),
    [
        (0.01, 1.18),
        (0.02, 1.15),
        (0.03, 1.12),
        (0.05, 1.12),
        (0.07, 1.12),
        (0.09, 1.12),
    ],
)
def test_ladder_reaches_its_efficiency_with_reveals(error_rate, limit):
    row = bench.bench_ladder(error_rate, 102_400, 200)
    assert row["f"] <= limit
    # Of 200 frames, as many lost as 1 % of all explain, but for one test in 1e6.
    assert row["fer"] * 200 <= stats.binom.isf(1e-6, 200, 0.01)
    assert row["mbit_per_s"] > 0.4


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("error_rate", [0.005, 0.01, 0.015, 0.03])
def test_cascade_reaches_its_efficiency(error_rate):
    row = bench.bench_cascade(error_rate, 64)
    assert row["f_one_direction"] <= 1.07
    assert row["fer"] * 64 <= stats.binom.isf(1e-6, 64, 0.01)
    assert row["mbit_per_s"] > 3
