"""Finite-size decoy bounds: the published formulas, and what they claim."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy import stats

from dsp.time_tags import slots
from protocols.security import decoy, decoy_length
from protocols.security.decoy import Bounds, Counts, Intensities, estimate, interval
from protocols.security.decoy_sampling import exact_deviation, sampling_deviation
from protocols.settings import DecoySettings
from scqc.core.errors import ProtocolAbort
from scqc.core.rng import ReplayEntropy
from scqc.runs.photon.prepare import draw_slots

PROVEN = ("hoeffding", "chernoff")
METHODS = (*PROVEN, "gaussian")
PULSES = Intensities((0.6, 0.2, 0.002), (0.3, 0.5, 0.2))


# The formulas of Lim et al., as the paper has them ---------------------------------


def lim(n, check_n, check_m, pulses, eps):
    """Return (s0, s1, check s1, v1, phase error): numbered as in the paper."""
    mu, p = pulses.mean_photons, pulses.probabilities
    tau = [
        sum(
            q * math.exp(-m) * m**i / math.factorial(i)
            for q, m in zip(p, mu, strict=True)
        )
        for i in (0, 1)
    ]

    def side(counts, k, sign):
        delta = math.sqrt(sum(counts) / 2 * math.log(21 / eps))
        bounded = min(max(counts[k] + sign * delta, 0), sum(counts))
        return math.exp(mu[k]) / p[k] * bounded

    def s0(c):
        raw = tau[0] / (mu[1] - mu[2])
        return max(0, raw * (mu[1] * side(c, 2, -1) - mu[2] * side(c, 1, 1)))

    def s1(c):
        ratio = (mu[1] ** 2 - mu[2] ** 2) / mu[0] ** 2
        inner = side(c, 1, -1) - side(c, 2, 1)
        inner -= ratio * (side(c, 0, 1) - s0(c) / tau[0])
        bottom = mu[0] * (mu[1] - mu[2]) - mu[1] ** 2 + mu[2] ** 2
        return max(0, tau[1] * mu[0] * inner / bottom)

    v1 = tau[1] * (side(check_m, 1, 1) - side(check_m, 2, -1)) / (mu[1] - mu[2])
    v1 = min(v1, sum(check_m))
    c, d = s1(n), s1(check_n)
    b = v1 / d
    inner = (c + d) / (c * d * (1 - b) * b) * 21**2 / eps**2
    gamma = math.sqrt((c + d) * (1 - b) * b / (c * d * math.log(2)) * math.log2(inner))
    return s0(n), c, d, v1, min(0.5, b + gamma)


@pytest.mark.parametrize("scale", [1, 10, 1000])
@pytest.mark.parametrize("eps", [1e-10, 1e-6])
def test_default_bounds_are_those_of_the_paper(scale, eps):
    n = tuple(scale * k for k in (181_500, 102_500, 1_400))
    check = tuple(scale * k for k in (45_400, 25_600, 350))
    errors = tuple(scale * k for k in (1_087, 812, 127))
    found = estimate(Counts(n, (0, 0, 0)), Counts(check, errors), PULSES, eps)
    s0, s1, check_s1, v1, phi = lim(n, check, errors, PULSES, eps)
    assert found.vacuum == pytest.approx(s0, rel=1e-12)
    assert found.single == pytest.approx(s1, rel=1e-12)
    assert found.check_single == pytest.approx(check_s1, rel=1e-12)
    assert found.check_single_errors == pytest.approx(v1, rel=1e-12)
    # Never below the paper's; its prefactor gives a trifle away at huge counts.
    rate = v1 / check_s1
    proven = rate + exact_deviation(rate, s1, check_s1, eps / 21)
    phi = max(phi, proven)
    assert found.phase_error == pytest.approx(phi, rel=1e-12)
    assert scale == 1000 or phi > proven
    # And the length, eq. (1), with the tags counted as leaked.
    said = decoy_length.Disclosed(30_000 * scale, 100, 640, 30, 0)
    ledger = decoy_length.key_length(sum(n), found, said, eps)
    h = -phi * math.log2(phi) - (1 - phi) * math.log2(1 - phi)
    length = s0 + s1 * (1 - h) - (30_000 * scale + 770) - 6 * math.log2(21 / eps)
    assert ledger.secret_bits == max(0, math.floor(length))
    assert scale == 1 or ledger.secret_bits > 0


def test_the_parts_never_exceed_the_whole():
    rng = np.random.default_rng(1)
    for _ in range(300):
        low, middle, high = sorted(rng.random(3))
        if high <= middle + 0.01 * low:
            continue
        shares = np.maximum(rng.dirichlet([1, 1, 1]), 1e-3)
        shares = tuple(shares / shares.sum())
        pulses = Intensities((high, middle, 0.01 * low), shares)
        size = 10 ** rng.uniform(0, 9)
        n = tuple(int(k) for k in size * rng.dirichlet([0.3] * 3))
        for method in METHODS:
            found = estimate(Counts(n, n), Counts(n, n), pulses, 1e-9, method)
            total = sum(n)
            assert 0.0 <= found.vacuum <= total
            assert 0.0 <= found.single <= total * (1 + 1e-12) - found.vacuum
            assert 0.0 <= found.check_single_errors <= total
            assert 0.0 <= found.phase_error <= 0.5
            assert found.entropy_bits <= total * (1 + 1e-12)


# Counts ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", PROVEN)
@pytest.mark.parametrize("epsilon", [0.05, 1e-3, 1e-9])
@pytest.mark.parametrize("total", [1, 2, 7, 60, 3000])
def test_each_side_covers_a_binomial_count(method, epsilon, total):
    """Exact: add up the counts whose interval misses the expectation."""
    counts = np.arange(total + 1)
    ends = np.array([interval(int(k), total, epsilon, method) for k in counts])
    assert np.all((ends >= 0.0) & (ends <= total))
    for p in (1e-4, 0.01, 0.2, 0.5, 0.77, 0.999):
        pmf, mean = stats.binom.pmf(counts, total, p), total * p
        # A bound that touches the mean is no miss; allow it to round.
        slack = 1e-9 * total
        assert pmf[ends[:, 0] > mean + slack].sum() <= epsilon * (1 + 1e-9)
        assert pmf[ends[:, 1] < mean - slack].sum() <= epsilon * (1 + 1e-9)


def test_counts_of_unequal_chances_are_covered_too():
    """Every slot may have its own chance to be of one intensity."""
    chances, epsilon = np.linspace(0.0, 0.6, 40), 1e-3
    pmf = np.array([1.0])
    for p in chances:
        pmf = np.convolve(pmf, [1 - p, p])
    for method in PROVEN:
        ends = np.array([interval(k, 40, epsilon, method) for k in range(41)])
        assert pmf[ends[:, 0] > chances.sum()].sum() <= epsilon
        assert pmf[ends[:, 1] < chances.sum()].sum() <= epsilon


def test_chernoff_is_tighter_and_solves_its_equation():
    for observed, total in ((0, 10), (3, 1000), (500, 1000), (40_000, 10**7)):
        for epsilon in (0.01, 1e-12):
            low, high = interval(observed, total, epsilon, "chernoff")
            loose = interval(observed, total, epsilon, "hoeffding")
            assert low >= loose[0] - 1e-9 * total
            assert high <= loose[1] + 1e-9 * total
            for end in (low, high):
                if 0.0 < end < total:
                    q, p = observed / total, end / total
                    kl = (1 - q) * math.log((1 - q) / (1 - p))
                    kl += q * math.log(q / p) if q else 0.0
                    assert total * kl == pytest.approx(-math.log(epsilon), rel=1e-6)


def test_bounds_exist_for_any_count():
    """Twelve decades of totals, next to both ends: a root is always found."""
    rng = np.random.default_rng(1)
    for _ in range(3000):
        total = int(10 ** rng.uniform(0, 12))
        part = int(total * 10 ** rng.uniform(-12, 0))
        epsilon = 10 ** rng.uniform(-43, -1)
        for observed in (part, total - part):
            low, high = interval(observed, total, epsilon, "chernoff")
            assert 0.0 <= low <= observed * (1 + 1e-9)
            assert observed * (1 - 1e-9) <= high <= total
        unsampled = 10 ** rng.uniform(0, 12)
        rate = rng.uniform(0.0, 0.5) * rng.integers(0, 2)
        deviation = exact_deviation(rate, unsampled, float(total), epsilon)
        assert 0.0 <= deviation <= 0.5 - rate


def entropy_nats(p, q):
    """Relative entropy of two coins to fifty digits."""
    some = p * (p / q).ln() if p else Decimal(0)
    return some + (1 - p) * ((1 - p) / (1 - q)).ln()


@pytest.mark.parametrize(
    ("observed", "total"),
    [(1, 10**3), (20, 10**12), (10**6, 10**12), (1, 10**18), (10**17, 10**18)],
)
def test_ends_solve_their_equation_however_large_the_counts(observed, total):
    epsilon = 1e-12
    with localcontext() as context:
        context.prec = 50
        for end in interval(observed, total, epsilon, "chernoff"):
            kl = entropy_nats(Decimal(observed) / total, Decimal(end) / total)
            # Of e^u, 1e-16; and u is 1e-8 where the entropy is 1e-16.
            assert float(total * kl / -Decimal(epsilon).ln()) == pytest.approx(1, 1e-6)


@pytest.mark.parametrize("rate", [0.0, 1e-5, 0.02, 0.3])
@pytest.mark.parametrize(("n", "k"), [(10.0, 1e12), (1e12, 1e3), (1e9, 1e9)])
def test_deviations_leave_the_tail_that_is_allowed(rate, n, k):
    epsilon = 1e-12
    found = exact_deviation(rate, n, k, epsilon)
    with localcontext() as context:
        context.prec = 50
        r, d, unsampled, sampled = (Decimal(v) for v in (rate, found, n, k))
        both = unsampled + sampled
        mean = r + d * unsampled / both
        spread = 8 * both * mean * (1 - mean)
        parts = sampled * entropy_nats(r, mean), unsampled * entropy_nats(r + d, mean)
        joint = sum(parts) - max(spread, Decimal(1)).ln() / 2
        allowed = max(*parts, joint) / -Decimal(epsilon).ln()
    if found < 0.5 - rate:
        assert 1.0 - 1e-14 <= float(allowed) < 1.001


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("epsilon", [0.05, 1e-10, 1e-42])
def test_ends_of_the_range(method, epsilon):
    assert interval(0, 0, epsilon, method) == (0.0, 0.0)
    for total in (1, 2, 10**9):
        assert interval(0, total, epsilon, method)[0] == 0.0
        low, high = interval(total, total, epsilon, method)
        assert high == total
        assert 0.0 <= low <= total
    # (1 - p)^n = epsilon has a closed form at both ends.
    edge = 50 * -math.expm1(math.log(epsilon) / 50)
    assert interval(0, 50, epsilon, "chernoff")[1] == pytest.approx(edge)
    assert interval(50, 50, epsilon, "chernoff")[0] == pytest.approx(50 - edge)


# From sampled to unsampled errors ----------------------------------------------------


def worst_tail(bound, n, k, ms):
    """Return the largest chance, over all numbers of errors, to exceed `bound`."""
    worst = 0.0
    for errors in range(0, (n + k) // 2 + 1, max(1, (n + k) // 150)):
        exceeded = (errors - ms) / n > bound
        tail = stats.hypergeom.pmf(ms[exceeded], n + k, errors, k)
        worst = max(worst, float(tail.sum()))
    return worst


SIZES = [(100, 100), (1000, 100), (2000, 400), (300, 3000)]


@pytest.mark.parametrize(("n", "k"), SIZES)
@pytest.mark.parametrize("epsilon", [0.05, 1e-4, 1e-10])
def test_unsampled_errors_stay_below_the_bound(n, k, epsilon):
    """No error seen, few, many: against the exact hypergeometric tail."""
    ms = np.arange(k + 1)
    for method in PROVEN:
        bound = np.array(
            [
                decoy._phase_error(float(m), float(k), float(n), epsilon, method)
                for m in ms
            ]
        )
        # At one half the bound claims nothing.
        assert worst_tail(np.where(bound < 0.5, bound, 1.0), n, k, ms) <= epsilon


def test_the_published_deviation_alone_would_not_cover_few_errors():
    """Why it is not used alone: the break that the test above must notice."""
    n, k, epsilon = 1000, 1000, 1e-10
    ms = np.arange(k + 1)
    rates = np.maximum(ms, 1) / k
    alone = np.array([r + sampling_deviation(r, n, k, epsilon) for r in rates])
    assert worst_tail(alone, n, k, ms) > 1e4 * epsilon
    # And without any sampling term a coin decides.
    assert worst_tail(ms / k, n, k, ms) > 0.3


def test_deviations_at_large_samples():
    """Gaussian there: theta^2 = 2 ln(1/eps) r(1-r)/k for k << n."""
    rate, k, n, epsilon = 0.03, 1e8, 1e14, 1e-12
    gauss = math.sqrt(2 * rate * (1 - rate) / k * math.log(1 / epsilon))
    assert exact_deviation(rate, n, k, epsilon) == pytest.approx(gauss, rel=0.01)
    # The published constant is larger by 1/ln 2, less a small prefactor.
    published = sampling_deviation(rate, n, k, epsilon)
    assert gauss < published < gauss / math.log(2)
    assert sampling_deviation(0.03, 1e8, 1e8, 0.4) == 0.0
    assert sampling_deviation(0.0, 1e3, 1e3, 1e-9) == 0.5
    assert exact_deviation(0.2, 10.0, 10.0, 1e-12) == 0.3


def test_too_little_to_say_anything():
    for errors, check, key in ((0.0, 0.5, 100.0), (0.0, 100.0, 0.5), (9.0, 4.0, 4.0)):
        for method in METHODS:
            found = decoy._phase_error(errors, check, key, 1e-3, method)
            assert found == 0.5


# Intensities and what is drawn -------------------------------------------------------


@pytest.mark.parametrize(
    ("means", "shares"),
    [
        ((0.5, 0.5, 0.0), (0.4, 0.3, 0.3)),
        ((0.5, 0.3, 0.2), (0.4, 0.3, 0.3)),
        ((0.5, 0.1, 0.1), (0.4, 0.3, 0.3)),
        ((0.5, 0.1, -0.1), (0.4, 0.3, 0.3)),
        ((math.nan, 0.1, 0.0), (0.4, 0.3, 0.3)),
        ((0.5, 0.1, 0.0), (0.4, 0.3, 0.2)),
        ((0.5, 0.1, 0.0), (0.7, 0.3, 0.0)),
    ],
)
def test_pulses_that_bound_nothing_are_refused(means, shares):
    with pytest.raises(ProtocolAbort, match="decoy states"):
        Intensities(means, shares)


@pytest.mark.parametrize("errors", [(5, 0, 0), (-1, 0, 0)])
def test_impossible_counts_are_refused(errors):
    with pytest.raises(ProtocolAbort, match="errors in 4 detections"):
        Counts((4, 9, 9), errors)


class Listed:
    """An entropy source that gives every 32-bit word of a list once."""

    simulated = True

    def __init__(self, words):
        self._data = words.astype("<u4").tobytes()

    def read(self, n_bytes):
        head, self._data = self._data[:n_bytes], self._data[n_bytes:]
        assert len(head) == n_bytes
        return head


@pytest.mark.parametrize(
    "shares", [(0.35, 0.45, 0.8), (0.23, 0.53, 0.77), (1 / 65536, 1 / 3, 1 / 32768)]
)
def test_the_bounds_use_the_probabilities_that_are_drawn(shares):
    """All values of the halves that decide, once each: counts are exact."""
    signal, bright, z = shares
    pulses = DecoySettings(signal_share=signal, decoy_share=bright, z_share=z)
    halves = np.arange(1 << 16, dtype=np.uint32)
    by_intensity = draw_slots(Listed(halves << np.uint32(16)), pulses, halves.size)
    drawn = np.bincount(slots.intensity(by_intensity), minlength=3)
    exact = tuple(drawn / 65536)
    assert exact == pulses.intensities.probabilities
    assert exact == pytest.approx((signal, bright, 1 - signal - bright), abs=1 / 65536)
    low = draw_slots(Listed(halves), pulses, halves.size)
    assert np.count_nonzero(slots.basis(low) == slots.Z) == 2 * round(32768 * z)
    assert np.count_nonzero(slots.bit(low)) == 1 << 15
    # Bit and basis do not depend on the half that decides the intensity.
    assert np.all(slots.intensity(low) == slots.intensity(low[:1]))


def test_drawn_slots_are_independent_and_as_often_as_they_should():
    pulses, n = DecoySettings(), 2_000_000
    drawn = draw_slots(ReplayEntropy(3, "slots"), pulses, n)
    assert not slots.is_sync(drawn).any()
    z = pulses.thresholds()[0] / 32768
    expected = [
        n * share * basis * 0.5
        for share, basis, _ in itertools.product(
            pulses.intensities.probabilities, (z, 1 - z), (0, 1)
        )
    ]
    seen = np.bincount(drawn, minlength=12)
    assert stats.chisquare(seen, expected).pvalue > 1e-6
    # Neighbours: a slot tells nothing of the next.
    pairs = np.bincount(12 * drawn[:-1].astype(np.int64) + drawn[1:], minlength=144)
    table = pairs.reshape(12, 12)
    assert stats.chi2_contingency(table).pvalue > 1e-6


# Length ------------------------------------------------------------------------------


def test_efficiency_mismatch_pays_for_the_bias_it_allows():
    """Bits of a detector that loses a share d: min-entropy is log2(2 - d)."""
    bounds = Bounds(0.0, 1000.0, 500.0, 5.0, 0.02)
    nothing = decoy_length.Disclosed(0, 0, 0, 0, 0)
    even = decoy_length.key_length(1000, bounds, nothing, 1e-10)
    for d in (0.01, 0.1, 0.3, 0.49):
        ledger = decoy_length.key_length(1000, bounds, nothing, 1e-10, d)
        lost = 1000 * (1.0 - math.log2(2.0 - d))
        assert ledger.mismatch_bits >= lost
        assert ledger.phase_bits > even.phase_bits
        assert ledger.balance_bits < even.balance_bits - lost
    for wrong in (-0.1, 1.0, math.nan):
        with pytest.raises(ProtocolAbort, match="mismatch"):
            decoy_length.key_length(1000, bounds, nothing, 1e-10, wrong)


def test_every_disclosed_bit_shortens_the_key_by_one():
    bounds = Bounds(10.0, 5000.0, 500.0, 5.0, 0.02)
    none = decoy_length.key_length(
        9000, bounds, decoy_length.Disclosed(0, 0, 0, 0, 0), 1e-10
    )
    for place in range(5):
        said = [0] * 5
        said[place] = 100
        ledger = decoy_length.key_length(
            9000, bounds, decoy_length.Disclosed(*said), 1e-10
        )
        assert none.balance_bits - ledger.balance_bits == pytest.approx(100)
        assert none.secret_bits - ledger.secret_bits == 100
