import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.reconciliation import multidimensional as md


@st.composite
def _groups(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = draw(st.integers(1, 20))
    scale = 10.0 ** draw(st.integers(-3, 3))
    y = (scale * rng.standard_normal(8 * groups)).astype(np.float32)
    return y, rng.integers(0, 2, 8 * groups, dtype=np.uint8)


@given(_groups())
@settings(max_examples=60, deadline=None)
def test_alpha_is_a_rotation(case):
    y, u = case
    side = md.encode(y, u)
    alpha = side.alpha.astype(np.float64) / md.ALPHA_SCALE
    # rounding: eight errors of at most half a count, times |alpha|
    limit = 2 * 8**0.5 * 0.5 / md.ALPHA_SCALE * 1.01
    np.testing.assert_allclose((alpha**2).sum(axis=1), 1, atol=limit)


@given(_groups())
@settings(max_examples=60, deadline=None)
def test_alice_recovers_bobs_data(case):
    y, u = case
    side = md.encode(y, u)
    back = md.recover_y(u, side).reshape(-1, 8)
    error = np.linalg.norm(back - y.reshape(-1, 8), axis=1)
    # |d alpha| <= sqrt(8)/2 counts; twice that after normalising; plus float32
    limit = side.norm * (8**0.5 / md.ALPHA_SCALE + 1e-5)
    assert (error <= limit).all()


@given(_groups())
@settings(max_examples=60, deadline=None)
def test_noiseless_llrs_carry_the_bits(case):
    y, u = case
    llr = md.llr(y, md.encode(y, u), 1.0, 1.0)
    np.testing.assert_array_equal((llr < 0).astype(np.uint8), u)


def test_multiplication_is_that_of_the_octonions():
    """Norm-multiplicative, alternative, but not associative."""
    rng = np.random.default_rng(1)

    def times(a, b):
        out = np.empty(8, np.float32)
        md._multiply(a.astype(np.float32), b.astype(np.float32), md._SIGNS, out)
        return out

    a, b, c = rng.standard_normal((3, 8))
    norm = np.linalg.norm
    np.testing.assert_allclose(norm(times(a, b)), norm(a) * norm(b), rtol=1e-5)
    np.testing.assert_allclose(times(times(b, a), a), times(b, times(a, a)), atol=1e-4)
    assert np.abs(times(times(a, b), c) - times(a, times(b, c))).max() > 0.1
