"""Decoy bounds move the way they must, whatever the counts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.security.decoy import Counts, Intensities, estimate, interval

PULSES = Intensities((0.6, 0.2, 0.002), (0.3, 0.5, 0.2))
methods = st.sampled_from(["hoeffding", "chernoff"])
epsilons = st.floats(-12.0, -2.0).map(lambda x: 10.0**x)


@st.composite
def blocks(draw):
    """Counts of both bases that a channel of some loss and noise gives."""
    gain = draw(st.floats(1e4, 1e7))
    background = draw(st.floats(0.0, 0.02))
    error = draw(st.floats(0.0, 0.1))
    detections = [
        int(gain * p * (mu + background))
        for p, mu in zip(PULSES.probabilities, PULSES.mean_photons, strict=True)
    ]
    check = [n // 4 for n in detections]
    wrong = [
        min(n, int(gain / 4 * p * (error * mu + 0.5 * background)))
        for n, p, mu in zip(
            check, PULSES.probabilities, PULSES.mean_photons, strict=True
        )
    ]
    return tuple(detections), tuple(check), tuple(wrong)


def entropy(detections, check, wrong, epsilon, method):
    key = Counts(detections, (0, 0, 0))
    return estimate(key, Counts(check, wrong), PULSES, epsilon, method).entropy_bits


@settings(max_examples=60, deadline=None)
@given(blocks(), epsilons, methods, st.integers(1, 500), st.sampled_from([0, 1]))
def test_more_errors_never_more_key(block, epsilon, method, more, where):
    """Errors of bright pulses; those of the vacuum are no single photons'."""
    detections, check, wrong = block
    worse = list(wrong)
    worse[where] = min(check[where], wrong[where] + more)
    before = entropy(detections, check, wrong, epsilon, method)
    after = entropy(detections, check, tuple(worse), epsilon, method)
    assert after <= before + 1e-6


@settings(max_examples=60, deadline=None)
@given(blocks(), epsilons, methods, st.integers(1, 4), st.integers(1, 4))
def test_a_shorter_block_never_gives_more(block, epsilon, method, short, more):
    def times(k):
        return (tuple(k * n for n in part) for part in block)

    assert (
        entropy(*times(short), epsilon, method)
        <= entropy(*times(short + more), epsilon, method) + 1e-6
    )


@settings(max_examples=60, deadline=None)
@given(blocks(), epsilons, st.floats(1.0, 1e6), methods)
def test_smaller_epsilon_never_more_key(block, epsilon, factor, method):
    tight = entropy(*block, epsilon / factor, method)
    assert tight <= entropy(*block, epsilon, method) + 1e-6


@settings(max_examples=60, deadline=None)
@given(blocks(), epsilons, st.integers(1, 10_000))
def test_more_vacuum_detections_never_more_single_photons(block, epsilon, more):
    """More dark clicks with the same bright ones are not more single photons."""
    detections, check, wrong = block
    darker = (*detections[:2], detections[2] + more)
    for method in ("hoeffding", "chernoff"):
        before = estimate(
            Counts(detections, (0, 0, 0)), Counts(check, wrong), PULSES, epsilon, method
        )
        after = estimate(
            Counts(darker, (0, 0, 0)), Counts(check, wrong), PULSES, epsilon, method
        )
        assert after.single <= before.single + 1e-6


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**12), st.floats(0.0, 1.0), epsilons, methods)
def test_an_interval_holds_its_count(total, share, epsilon, method):
    observed = min(total, round(share * total))
    low, high = interval(observed, total, epsilon, method)
    rounding = 1e-9 * total
    assert 0.0 <= low <= observed + rounding
    assert observed - rounding <= high <= total
    wider = interval(observed, total, 1e-3 * epsilon, method)
    assert wider[0] <= low + rounding
    assert high <= wider[1] + rounding
