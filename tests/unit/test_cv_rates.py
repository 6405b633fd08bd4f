"""The rate engine against other formulas for the same thing, and far out."""

import itertools

import mpmath
import numpy as np
import pytest
from rates_kit import broken, cloner, fossier, spread

from protocols.security import closed_forms, gaussian_kernels
from protocols.security.cv_rates import (
    UNTRUSTED,
    Link,
    Receiver,
    Trust,
    environment_with_excess,
    rates,
)
from protocols.security.holevo import (
    Channel,
    asymptotic_rate,
    holevo_information,
    untrusted,
)
from scqc.core.errors import ModelRangeError

DETECTIONS = ("homodyne", "heterodyne")
#: T, W, V0, Vm, eta, trusted noise: the ends of what links can be.
EXTREMES = [
    *itertools.product(
        (1e-6, 0.5, 1 - 1e-9), (1.0, 1 + 1e-7, 2e4 + 1), (1.0, 2e4 + 1), (5.0, 1e7)
    )
]


def _kernel(module, point, heterodyne, direct):
    t, w, v0, v_m, eta, nu = point
    n = (1 - t) * (w - 1)
    if direct:
        return module.holevo_direct(t, n, v0 + v_m, v0, heterodyne)
    return module.holevo_reverse(t, n, v0 + v_m, eta, nu, heterodyne)


@pytest.mark.parametrize("heterodyne", [False, True])
def test_holevo_equals_the_purification(heterodyne):
    rng = np.random.default_rng(3)
    n = 60
    t, v_a = spread(rng, 1e-6, 0.99, n), spread(rng, 0.01, 1e3, n)
    xi, nu = spread(rng, 1e-6, 1.0, n), rng.uniform(0, 0.5, n)
    eta = rng.uniform(0.1, 1.0, n)
    found = rates(Link(t, v_a, xi), Receiver(eta, nu, DETECTIONS[heterodyne]))
    with mpmath.workdps(50):
        exact = [
            float(fossier(*point, heterodyne))
            for point in zip(t, xi, v_a, eta, nu, strict=True)
        ]
    np.testing.assert_allclose(found.holevo_bits, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("heterodyne", [False, True])
@pytest.mark.parametrize("direct", [False, True])
def test_extremes_against_fifty_digits(heterodyne, direct):
    with mpmath.workdps(50):
        for (t, w, v0, v_m), (eta, nu) in itertools.product(
            EXTREMES, ((1.0, 0.0), (0.6, 0.1))
        ):
            point = (t, w, v0, v_m, eta, nu)
            exact = float(cloner(point, heterodyne, direct))
            found = _kernel(gaussian_kernels, point, heterodyne, direct)
            # Some thirty bits are the largest entropies that are subtracted.
            assert found == pytest.approx(exact, abs=2e-14), point


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n * v + q * v1, q * v1 - n, gap)", "n * v + q * v1, q * v1 + n, gap)"),
        ("_standard_form(above, difference, gap) - after", "- after"),
        ("lost * gap / seen", "0.0"),
        ("less * more * gap", "more * gap"),
        ("lost * (difference * difference", "lost * (difference"),
        ("n * (n + 2.0 * q) * v1", "n * n * v1"),
        ("n * (noise * v1 + less)", "n * noise * v1"),
        ("eta * above + noise", "eta * above - noise"),
        ("eta * (q + n)", "eta * q"),
        ("n * (n + 2.0 * q) * (a * b", "n * n * (a * b"),
        ("q * q * a * b", "q * a * b"),
        ("eve_entropy(t, n, v0)", "0.0"),
        ("lost + 1.0, eta", "lost, eta"),
        ("m * math.log1p(1.0 / m)", "m"),
    ],
)
def test_a_sign_or_a_term_less_is_seen(old, new):
    module = broken(gaussian_kernels, old, new)
    point = (0.6, 1.5, 1.2, 7.0, 0.7, 0.05)
    worst = 0.0
    for heterodyne, direct in itertools.product((False, True), repeat=2):
        exact = float(cloner(point, heterodyne, direct))
        worst = max(worst, abs(_kernel(module, point, heterodyne, direct) - exact))
        right = _kernel(gaussian_kernels, point, heterodyne, direct)
        assert right == pytest.approx(exact, abs=1e-12)
    assert worst > 1e-4


@pytest.mark.parametrize("detection", DETECTIONS)
def test_the_bench_and_the_planner_use_one_bound(detection):
    channel = Channel(2.0, 0.631, 0.01, 0.85, 0.05, detection)
    link = Link(0.631, 2.0, 0.01)
    trusting = rates(link, Receiver(0.85, 0.05, detection))
    assert float(trusting.holevo_bits) == holevo_information(channel)
    assert trusting.key_bits(0.9) == pytest.approx(
        asymptotic_rate(channel, 0.9), abs=1e-14
    )
    wary = rates(link, Receiver(0.85, 0.05, detection, UNTRUSTED))
    assert wary.holevo_bits == pytest.approx(
        holevo_information(untrusted(channel)), abs=1e-13
    )
    # Trust changes what Eve knows, not what Bob sees.
    assert wary.information_bits == pytest.approx(float(trusting.information_bits))


@pytest.mark.parametrize("detection", DETECTIONS)
@pytest.mark.parametrize("direction", ["reverse", "direct"])
def test_each_trust_helps(detection, direction):
    def key(**trust):
        receiver = Receiver(0.7, 0.1, detection, Trust(**trust))
        link = Link(0.8, 5.0, 0.01, phase_xi_snu=0.05)
        return float(rates(link, receiver, direction).key_bits(0.95))

    none = key(efficiency=False, electronic=False, phase=False)
    for one in ("efficiency", "electronic", "phase"):
        others = {"efficiency": False, "electronic": False, "phase": False}
        assert key(**(others | {one: True})) > none or direction == "direct"
        assert key(**(others | {one: True})) >= none


def test_excess_noise_is_a_hotter_environment():
    t, xi = np.array([1e-3, 0.3, 0.99]), 0.02
    warm = environment_with_excess(t, 1.5, xi)
    for direction, detection in itertools.product(("reverse", "direct"), DETECTIONS):
        one, other = (
            rates(link, Receiver(0.8, 0.1, detection), direction)
            for link in (
                Link(t, 5.0, environment_snu=warm),
                Link(t, 5.0, xi, environment_snu=1.5),
            )
        )
        np.testing.assert_allclose(one.holevo_bits, other.holevo_bits, atol=1e-12)
        np.testing.assert_allclose(one.snr, other.snr, rtol=1e-12)


@pytest.mark.parametrize("detection", DETECTIONS)
@pytest.mark.parametrize("direction", ["reverse", "direct"])
def test_unlimited_modulation_reaches_the_closed_forms(detection, direction):
    t = np.array([0.6, 0.9, 0.99])[:, None, None]
    w, v0 = np.array([1.2, 3.0, 41.0])[:, None], np.array([1.0, 2.0])
    closed = closed_forms.unlimited_rate(t, w, v0, detection, direction)
    link = Link(t, 1e9, environment_snu=w, source_snu=v0)
    found = rates(link, Receiver(detection=detection), direction).key_bits(1.0)
    # The next term is of the order W / ((1 - T) Vm) = 4e-6, mostly far less.
    np.testing.assert_allclose(found, closed, rtol=1e-6, atol=1e-6)


def test_no_direct_key_beyond_three_decibels():
    assert closed_forms.unlimited_rate(0.5, 1.0, direction="direct") == pytest.approx(0)
    t = np.linspace(0.01, 0.499, 50)
    assert np.all(closed_forms.unlimited_rate(t, 1.0, direction="direct") < 0.0)
    assert np.all(closed_forms.unlimited_rate(t, 1.0) > 0.0)


def test_hot_laws_hold_where_they_say():
    w = 2 * np.array([20.0, 100.0, 1000.0]) + 1
    for warm, direction in itertools.product((True, False), ("reverse", "direct")):
        law = closed_forms.hot_loss_law(w, warm_source=warm, direction=direction)
        source = w if warm else np.ones_like(w)
        exact = closed_forms.greatest_loss(w, source, direction=direction)
        np.testing.assert_allclose(law, exact, rtol=0.05)
    with pytest.raises(ModelRangeError, match="40"):
        closed_forms.hot_loss_law(5.0, warm_source=True)


@pytest.mark.parametrize("xi", [5e-324, 2.3e-313, 1e-300, 1e-20])
def test_noise_next_to_none_is_none(xi):
    for detection in DETECTIONS:
        next_to, none = (
            float(
                rates(Link(0.5, 4.0, noise), Receiver(0.8, 0.1, detection)).holevo_bits
            )
            for noise in (xi, 0.0)
        )
        assert next_to == pytest.approx(none, abs=1e-15)


def test_shapes_broadcast():
    t, v_a = np.array([0.1, 0.2, 0.3])[:, None], np.array([2.0, 4.0])
    found = rates(Link(t, v_a), Receiver())
    assert found.holevo_bits.shape == (3, 2)
    alone = rates(Link(0.2, 4.0), Receiver())
    assert found.holevo_bits[1, 1] == alone.holevo_bits
    assert alone.holevo_bits.shape == ()


@pytest.mark.parametrize(
    ("link", "receiver", "match"),
    [
        (Link(1.2, 4.0), Receiver(), "transmittance = 1.2 .* nearest valid value 1"),
        (Link(0.0, 4.0), Receiver(), "transmittance = 0"),
        (Link(np.array([0.5, np.nan]), 4.0), Receiver(), "transmittance = nan"),
        (Link(0.5, -1.0), Receiver(), "modulation variance"),
        (Link(0.5, 4.0, -0.1), Receiver(), "excess noise"),
        (Link(0.5, 4.0, environment_snu=0.5), Receiver(), "environment"),
        (Link(0.5, 4.0, source_snu=0.5), Receiver(), "source"),
        (Link(0.5, 4.0), Receiver(1.1), "efficiency = 1.1"),
        (Link(0.5, 4.0), Receiver(0.5, -0.1), "electronic"),
    ],
)
def test_unphysical_points_are_refused(link, receiver, match):
    with pytest.raises(ModelRangeError, match=match):
        rates(link, receiver)
    with pytest.raises(ModelRangeError, match="efficiency"):
        rates(Link(0.5, 4.0), Receiver()).key_bits(1.01)
