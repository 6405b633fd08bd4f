"""However wrong the estimate, a frame comes through by reveals, and only rightly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.reconciliation import ladder
from protocols.security.decoy import binary_entropy

COLUMNS = 800


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(0.004, 0.07),
    off=st.floats(0.7, 1.3),
    size=st.integers(16, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_estimate_a_third_off_costs_reveals_but_no_frame(rate, off, size, seed):
    n = COLUMNS * size
    code = ladder.plan_frames(n, rate * off, 10**6, n).code
    rng = np.random.default_rng(seed)
    # Exactly as many errors as the rate says: chance is not what is tested here.
    errors = np.zeros((1, n), dtype=np.uint8)
    errors[0, rng.choice(n, round(n * rate), replace=False)] = 1
    alice = rng.integers(0, 2, (1, n), dtype=np.uint8)
    information = rng.integers(0, 2, (1, n - code.min_rows), dtype=np.uint8)
    word = code.encode(information)
    noisy = (word ^ alice) ^ (alice ^ errors)
    rows, syndromes = code.min_rows, code.checks(noisy, code.min_rows)
    before = rows
    while not (found := code.decode(syndromes, rate * off, 150)).converged[0]:
        upto = code.next_rows(rows)
        assert upto > rows
        told = code.further_checks(word, rows, upto)
        more = told ^ code.further_checks(noisy, rows, upto)
        syndromes, before, rows = np.concatenate([syndromes, more], axis=1), rows, upto
    np.testing.assert_array_equal(found.errors, errors)
    np.testing.assert_array_equal(code.information(noisy ^ found.errors), information)
    # Nothing is disclosed without need: the last step at most was too much.
    # A short word needs more than its entropy, by the dispersion of the channel
    # (Polyanskiy 2010); four deviations of it.
    spread = np.log2((1.0 - rate) / rate) * np.sqrt(n * rate * (1.0 - rate))
    if rows > code.min_rows:
        assert before < 1.6 * binary_entropy(rate) * n + 4.0 * spread


@settings(max_examples=30, deadline=None)
@given(
    n_key=st.integers(12_800, 3_000_000),
    rate=st.floats(0.0, 0.08),
    n_sampled=st.integers(1000, 10**6),
    frame_bits=st.integers(8_000, 500_000),
)
def test_a_plan_always_fits_the_key(n_key, rate, n_sampled, frame_bits):
    plan = ladder.plan_frames(n_key, rate, n_sampled, frame_bits)
    assert 0 < plan.n_frames * plan.code.n_bits <= n_key
    assert plan.code.n_bits < 2 * max(frame_bits, COLUMNS * 16)
    assert plan.code.min_rows < plan.code.max_rows < plan.code.n_bits * 1.2
    assert ladder.load_code(plan.code.name) is plan.code
