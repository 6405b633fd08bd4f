import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.privacy_amplification import toeplitz
from scqc.core.errors import ProtocolAbort


def _direct(bits, seed, m):
    """The matrix itself, row by row."""
    n = bits.size
    k = n - m
    out = bits[:m].copy()
    for i in range(m):
        for j in range(k):
            out[i] ^= seed[i - j + k - 1] & bits[m + j]
    return out


@st.composite
def _cases(draw):
    n = draw(st.integers(1, 60))
    m = draw(st.integers(0, n))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = rng.integers(0, 2, (2, n), dtype=np.uint8)
    return bits[0], bits[1], rng.integers(0, 2, n - 1, dtype=np.uint8), m


@given(_cases())
@settings(max_examples=60, deadline=None)
def test_fft_path_is_the_matrix(case):
    bits, _, seed, m = case
    np.testing.assert_array_equal(
        toeplitz.hash_bits(bits, seed, m), _direct(bits, seed, m)
    )


@given(_cases())
@settings(max_examples=60, deadline=None)
def test_linear(case):
    a, b, seed, m = case
    np.testing.assert_array_equal(
        toeplitz.hash_bits(a ^ b, seed, m),
        toeplitz.hash_bits(a, seed, m) ^ toeplitz.hash_bits(b, seed, m),
    )


def test_large_block_against_integer_arithmetic():
    rng = np.random.default_rng(1)
    n, m = 200_000, 20_000
    bits = rng.integers(0, 2, n, dtype=np.uint8)
    seed = rng.integers(0, 2, n - 1, dtype=np.uint8)
    out = toeplitz.hash_bits(bits, seed, m)
    k = n - m
    for i in (0, 1, 777, m - 1):
        window = seed[i : i + k][::-1]
        assert out[i] == bits[i] ^ (int(np.sum(window & bits[m:], dtype=np.int64)) & 1)


def test_collisions_are_as_rare_as_two_universality_says():
    rng = np.random.default_rng(2)
    n, m, trials = 24, 4, 4000
    a, b = rng.integers(0, 2, (2, n), dtype=np.uint8)
    hits = 0
    for _ in range(trials):
        seed = rng.integers(0, 2, n - 1, dtype=np.uint8)
        hits += not toeplitz.hash_bits(a ^ b, seed, m).any()
    p = 2.0**-m
    assert hits < trials * p + 5 * (trials * p) ** 0.5


@pytest.mark.parametrize(
    ("n_seed", "m", "what"), [(9, 11, "11 output"), (8, 4, "8 seed"), (9, -1, "-1")]
)
def test_wrong_lengths(n_seed, m, what):
    with pytest.raises(ProtocolAbort, match=what):
        toeplitz.hash_bits(np.zeros(10, np.uint8), np.zeros(n_seed, np.uint8), m)


def test_packed_input_is_refused():
    with pytest.raises(ProtocolAbort, match="not 0 or 1"):
        toeplitz.hash_bits(np.full(10, 255, np.uint8), np.zeros(9, np.uint8), 4)


def test_inexact_transform_aborts(monkeypatch):
    single = toeplitz.scipy.fft.irfft

    def rough(*args, **kwargs):
        return single(*args, **kwargs) + 0.2

    monkeypatch.setattr(toeplitz.scipy.fft, "irfft", rough)
    with pytest.raises(ProtocolAbort, match="from an integer"):
        toeplitz.hash_bits(np.ones(64, np.uint8), np.ones(63, np.uint8), 16)
