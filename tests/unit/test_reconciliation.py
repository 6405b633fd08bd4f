import math
from importlib.resources import files

import numpy as np
import pytest

from dsp.coding import qc_ldpc, row_kernels
from protocols.reconciliation import construct, met_ldpc
from protocols.reconciliation import multidimensional as md
from protocols.reconciliation.met_ldpc import ReconciliationCode
from scqc.core.errors import ProtocolAbort


def _correlated(n, snr, rng):
    """Alice's x and Bob's y with their regression x = kappa y + z."""
    x = rng.standard_normal(n).astype(np.float32)
    y = (math.sqrt(snr) * x + rng.standard_normal(n)).astype(np.float32)
    kappa = math.sqrt(snr) / (1 + snr)
    return x, y, kappa, 1 - kappa**2 * (1 + snr)


def _frames(code, snr, frames, rng):
    x, y, kappa, sigma2 = _correlated(frames * code.n, snr, rng)
    u = rng.integers(0, 2, frames * code.n, dtype=np.uint8)
    llr = md.llr(x, md.encode(y, u), kappa, sigma2)
    return u.reshape(frames, -1), llr.reshape(frames, -1)


TABLES = [(e, z) for e in construct.ENSEMBLES for z in construct.SIZES]


def _lifted(ensemble, size):
    """The mother code with the retry row as its last row."""
    rows = met_ldpc.table(ensemble, size)
    return qc_ldpc.from_rows(rows, ensemble.core_columns + ensemble.leaf_rows, size)


@pytest.mark.parametrize("ensemble", construct.ENSEMBLES)
def test_shipped_tables_come_from_the_script(ensemble):
    size = 256
    rows = construct.build(ensemble, size, construct.SIZES[size])
    text = construct.to_text(rows, ensemble, size, construct.SIZES[size])
    shipped = files("protocols.reconciliation").joinpath(
        construct.table_name(ensemble, size)
    )
    assert text == shipped.read_text(encoding="ascii")


def test_ensembles_have_their_rates():
    for ensemble in construct.ENSEMBLES:
        assert ensemble.core_columns - ensemble.precode_rows == 40
    for ensemble, rate in ((construct.LOW, 0.1), (construct.HIGH, 0.2)):
        assert 40 / (ensemble.core_columns + ensemble.leaf_rows) == rate


@pytest.mark.parametrize(("ensemble", "size"), TABLES)
def test_mother_code_has_the_degrees_of_the_ensemble(ensemble, size):
    code = _lifted(ensemble, size)
    p, last = ensemble.precode_rows, code.n_rows - 1
    precode, retry = code.edge_row < p, code.edge_row == last
    core = code.edge_column < ensemble.core_columns
    x1 = np.bincount(code.edge_column[precode])
    x2 = np.bincount(code.edge_column[core & ~precode & ~retry])
    assert x1.tolist() == [d for n, d, _ in ensemble.core for _ in range(n)]
    weights = np.array([w for n, _, w in ensemble.core for _ in range(n)], float)
    degrees = ensemble.degree_sequence()
    # proportional loading, within one socket
    np.testing.assert_allclose(x2, weights * sum(degrees) / weights.sum(), atol=1)
    rows = np.bincount(code.edge_row)
    assert np.ptp(rows[:p]) <= 1
    np.testing.assert_array_equal(rows[p:last] - 1, degrees)
    for degree, share in ensemble.leaf_degrees:
        assert abs(degrees.count(degree) - share * len(degrees)) < 1
    np.testing.assert_array_equal(
        code.edge_column[retry], np.arange(ensemble.core[0][0])
    )


@pytest.mark.parametrize(("ensemble", "size"), TABLES)
def test_no_cycle_of_length_four(ensemble, size):
    code = _lifted(ensemble, size)
    seen = set()
    for r in range(code.n_rows):
        edges = range(code.row_start[r], code.row_start[r + 1])
        for a in edges:
            for b in edges:
                if code.edge_column[a] < code.edge_column[b]:
                    gap = int(code.edge_shift[a] - code.edge_shift[b]) % size
                    key = (int(code.edge_column[a]), int(code.edge_column[b]), gap)
                    assert key not in seen
                    seen.add(key)


@pytest.mark.parametrize("ensemble", construct.ENSEMBLES)
def test_precode_rows_are_independent(ensemble):
    """Otherwise the counted leak would be larger than what is disclosed."""
    size = 256
    rows = []
    for row in met_ldpc.table(ensemble, size)[: ensemble.precode_rows]:
        for z in range(size):
            word = 0
            for c, s in row:
                word |= 1 << (c * size + (z + s) % size)
            rows.append(word)
    pivots: dict[int, int] = {}
    for row in rows:
        left = row
        while left and left.bit_length() in pivots:
            left ^= pivots[left.bit_length()]
        if left:
            pivots[left.bit_length()] = left
    # a circulant block matrix may lose a few rows; each would only be counted twice
    assert len(pivots) >= len(rows) - 8


@pytest.mark.parametrize(
    ("rate", "size", "start"),
    [
        (0.1, 256, "e155368a1e1ecdfc"),
        (0.1, 1024, "e3e0b7d76880c1e2"),
        (0.1, 2560, "323bbcd83d79203c"),
        (0.25, 256, "e18123b48746d524"),
        (0.25, 1024, "cd6ead591d7d28f9"),
        (0.25, 2560, "ed653a7a9062d9ee"),
    ],
)
def test_codes_have_the_published_digest(rate, size, start):
    assert ReconciliationCode(rate, size).sha256.startswith(start)


def test_retry_decodes_what_failed():
    """Beyond the threshold of the code, within that of the code plus a row."""
    code = ReconciliationCode(0.25, 256)
    rng = np.random.default_rng(8)
    u, llr = _frames(code, 0.52, 8, rng)
    checks, more = code.syndrome(u), code.retry_syndrome(u)
    first = code.decode(llr, checks, 25)
    again = code.decode_again(llr, checks, more, 100)
    assert more.shape == (8, code.retry_leak_bits)
    missed = (first.words != u).any(axis=1).sum()
    assert (again.words != u).any(axis=1).sum() <= missed
    more ^= 1
    wrong = code.decode_again(llr, checks, more, 25)
    assert not (wrong.converged & (wrong.words == u).all(axis=1)).any()


def test_syndrome_against_the_definition():
    code = ReconciliationCode(0.3, 256)
    rng = np.random.default_rng(1)
    word = rng.integers(0, 2, (1, code.n), dtype=np.uint8)
    got = code.syndrome(word).reshape(-1, 256)
    g = code.graph
    for r in (0, 5, 10, 40, g.n_rows - 1):
        for z in (0, 17, 255):
            total = 0
            for e in range(g.row_start[r], g.row_start[r + 1]):
                v = int(g.edge_column[e]) * 256 + (z + int(g.edge_shift[e])) % 256
                total ^= int(word[0, v])
            assert got[r, z] == total


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.26, 0.333, 0.5])
def test_rate_is_never_above_what_was_asked(rate):
    code = ReconciliationCode(rate, 256)
    assert rate * 0.985 <= code.rate <= rate + 1e-12
    assert code.leak_bits == code.n - code.k == code.graph.n_rows * 256


@pytest.mark.parametrize(("rate", "size"), [(0.05, 256), (0.6, 256), (0.2, 300)])
def test_uncovered_rate_or_size(rate, size):
    with pytest.raises(ProtocolAbort, match="reconciliation code"):
        ReconciliationCode(rate, size)


def test_half_tanh_and_double_atanh_against_the_library():
    x = np.linspace(-9.9, 9.9, 4001).astype(np.float32)
    out = np.empty_like(x)
    row_kernels.half_tanh(x, out)
    np.testing.assert_allclose(out, np.tanh(x / 2), atol=2e-4)
    assert np.abs(out).max() < 1
    p = np.linspace(-0.9999, 0.9999, 4001).astype(np.float32)
    q = p.copy()
    row_kernels.double_atanh(q, np.empty_like(p))
    np.testing.assert_allclose(q, 2 * np.arctanh(p.astype(np.float64)), atol=2e-3)
    centre = np.abs(p) < 0.9
    exact = 2 * np.arctanh(p.astype(np.float64))
    np.testing.assert_allclose(q[centre], exact[centre], atol=2e-5)


def test_sum_product_row_against_the_formula():
    rng = np.random.default_rng(2)
    llr = rng.normal(0, 2, (4, 16)).astype(np.float32)
    tanhs, out = np.empty_like(llr), np.empty_like(llr)
    for d in range(4):
        row_kernels.half_tanh(llr[d], tanhs[d])
    first = np.where(np.arange(16) % 2, -0.5, 1).astype(np.float32)
    row_kernels.sum_product(tanhs, first, np.empty((2, 16), np.float32), out)
    exact = np.tanh(llr.astype(np.float64) / 2)
    for d in range(4):
        others = np.prod(np.delete(exact, d, axis=0), axis=0) * first
        np.testing.assert_allclose(out[d], 2 * np.arctanh(others), atol=5e-3)


def test_reconciles_and_random_words_are_found_exactly():
    code = ReconciliationCode(0.25, 256)
    rng = np.random.default_rng(3)
    u, llr = _frames(code, 0.58, 4, rng)  # beta 0.76: far from the threshold
    result = code.decode(llr, code.syndrome(u), n_threads=2)
    assert result.converged.all()
    np.testing.assert_array_equal(result.words, u)
    np.testing.assert_array_equal(code.syndrome(result.words), code.syndrome(u))
    # three clean iterations at least: one pass of the checks is not enough
    assert result.iterations.min() >= 3


def test_converged_words_always_have_the_wanted_syndrome():
    code = ReconciliationCode(0.3, 256)
    u, llr = _frames(code, 0.56, 10, np.random.default_rng(9))  # at the threshold
    wanted = code.syndrome(u)
    result = code.decode(llr, wanted, 60)
    clean = (code.syndrome(result.words) == wanted).all(axis=1)
    assert (clean | ~result.converged).all()


def test_wrong_scale_of_the_soft_values_costs_iterations():
    code = ReconciliationCode(0.25, 256)
    u, llr = _frames(code, 0.55, 4, np.random.default_rng(10))
    good = code.decode(llr, code.syndrome(u), 100).iterations.sum()
    bad = code.decode(0.4 * llr, code.syndrome(u), 100).iterations.sum()
    assert bad > 1.3 * good


def test_a_flipped_syndrome_bit_does_not_pass_unseen():
    code = ReconciliationCode(0.25, 256)
    rng = np.random.default_rng(4)
    u, llr = _frames(code, 0.7, 1, rng)
    for bit in (3, code.leak_bits - 1):  # a pre-code row, a leaf row
        wanted = code.syndrome(u)
        wanted[0, bit] ^= 1
        found = code.decode(llr, wanted, 60)
        assert (found.words != u).any() or not found.converged[0]


def test_too_noisy_frames_do_not_converge():
    code = ReconciliationCode(0.25, 256)
    u, llr = _frames(code, 0.3, 2, np.random.default_rng(5))
    assert not code.decode(llr, code.syndrome(u), 40).converged.any()


def test_bad_shapes_and_values():
    code = ReconciliationCode(0.25, 256)
    llr = np.zeros((1, code.n), np.float32)
    checks = np.zeros((1, code.leak_bits), np.uint8)
    with pytest.raises(ProtocolAbort, match="LLRs: shape"):
        code.decode(llr[:, 1:], checks)
    with pytest.raises(ProtocolAbort, match="syndromes: shape"):
        code.decode(llr, checks[:, 1:])
    llr[0, 7] = np.nan
    with pytest.raises(ProtocolAbort, match="not finite"):
        code.decode(llr, checks)


def test_soft_values_have_the_right_scale():
    """E[tanh of the aligned LLR / 2] = E[tanh^2] only for the true posterior."""
    rng = np.random.default_rng(6)
    n = 1_600_000
    x, y, kappa, sigma2 = _correlated(n, 0.163, rng)
    u = rng.integers(0, 2, n, dtype=np.uint8)
    llr = md.llr(x, md.encode(y, u), kappa, sigma2).astype(np.float64)
    sign = 1.0 - 2.0 * u

    def gap(scale):
        t = np.tanh(scale * llr / 2)
        d = sign * t - t**2
        return d.mean(), d.std() / math.sqrt(n)

    mean, error = gap(1.0)
    assert abs(mean) < 5 * error
    wrong, error = gap(1.05)
    assert abs(wrong) > 5 * error


def _largest_correlation(y, u):
    """Between products of two alphas and products of two bits [sigma]."""
    alpha = md.encode(y, u).alpha / md.ALPHA_SCALE
    signs = 1.0 - 2.0 * u.reshape(-1, 8)
    i, j = np.triu_indices(8, 1)
    a, b = alpha[:, i] * alpha[:, j], signs[:, i] * signs[:, j]
    single = np.abs(alpha.T @ signs) / np.sqrt(len(a) / 8)
    double = np.abs(a.T @ b) / np.sqrt(len(a)) / a.std()
    return max(single.max(), double.max())


def test_alpha_tells_nothing_about_the_bits():
    rng = np.random.default_rng(7)
    n = 800_000
    _, y, _, _ = _correlated(n, 0.2, rng)
    u = rng.integers(0, 2, n, dtype=np.uint8)
    # 848 correlations of unit variance: 6 sigma has probability 2e-6
    assert _largest_correlation(y, u) < 6
    # unequal quadratures would leak: the normalisation is not optional
    y[::2] *= 1.2
    assert _largest_correlation(y, u) > 6


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_empty_group_is_refused(bad):
    y = np.ones(16, np.float32)
    y[8:] = bad
    with pytest.raises(ProtocolAbort, match="zero or NaN"):
        md.encode(y, np.zeros(16, np.uint8))


def test_length_must_be_a_multiple_of_eight():
    with pytest.raises(ProtocolAbort, match="multiples of 8"):
        md.encode(np.ones(12, np.float32), np.zeros(12, np.uint8))
