"""What apertures pass of spots that miss them, beside brute force."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy import integrate, special

from scqc.core.errors import ModelRangeError
from scqc.core.rng import stream
from sim_backends.optics.slow_drift import weibull_shape
from sim_backends.propagation import coupling, fading
from sim_backends.propagation.beam import Transmitter, centred_transmittance
from sim_backends.propagation.coupling import (
    mean_square_transmittance,
    mean_transmittance,
    offset_transmittance,
    weibull_form,
)
from sim_backends.propagation.elliptic import (
    EllipticBeam,
    elliptic_transmittance,
    weak_elliptic_beam,
)
from sim_backends.propagation.fading import (
    CircularBeam,
    Quadrature,
    WanderingSpot,
    circular_beam,
    lognormal_quadrature,
    thinned,
)
from sim_backends.propagation.spreading import spot_m, wander_variance_m2
from sim_backends.propagation.turbulence import (
    horizontal_path,
    rytov_variance,
    spherical_coherence_m,
)

# Standard deviations by which a Monte Carlo mean may miss: once in 2e6 runs.
SIGMAS = 5.0


def over_the_disc(a, w1, w2, u0, v0, n=240):
    """Integrate an elliptic Gaussian over a disc in polar coordinates."""
    x, weight = special.roots_legendre(n)
    radius, dr = 0.5 * a * (x + 1.0), 0.5 * a * weight
    angle = 2 * math.pi * np.arange(2 * n) / (2 * n)
    u = radius[:, None] * np.cos(angle)
    v = radius[:, None] * np.sin(angle)
    density = np.exp(-2 * ((u - u0) / w1) ** 2 - 2 * ((v - v0) / w2) ** 2)
    return 2 / (math.pi * w1 * w2) * (dr * radius) @ density.mean(1) * 2 * math.pi


def test_quoted_mean_over_wander():
    # Propagation reference: w = 1, a = 0.5, s = 0.3 gives 0.3076385.
    assert mean_transmittance(0.5, 1.0, 0.3) == pytest.approx(0.3076385, abs=5e-8)
    assert mean_transmittance(0.5, 1.0, 0.3) == pytest.approx(
        1 - math.exp(-2 * 0.25 / (1 + 4 * 0.09)), rel=1e-13
    )


@pytest.mark.parametrize(
    ("a", "w", "r"),
    [(0.5, 1.0, 0.3), (1.0, 1.0, 2.5), (3.0, 0.4, 2.9), (0.01, 1.0, 0.5), (0.5, 6, 9)],
)
def test_exact_coupling_is_marcums_function(a, w, r):
    mpmath.mp.dps = 20

    def ring(rho):
        bessel = mpmath.besseli(0, 4 * rho * r / w**2)
        return 4 * rho / w**2 * mpmath.exp(-2 * (rho**2 + r**2) / w**2) * bessel

    want = float(mpmath.quad(ring, np.linspace(0.0, a, 7)))
    assert offset_transmittance(r, a, w) == pytest.approx(want, abs=1e-11, rel=1e-9)
    assert over_the_disc(a, w, w, r, 0.0) == pytest.approx(want, abs=1e-11)


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 1.0, 13.0, 100.0])
def test_exact_coupling_over_all_sizes(ratio):
    offset = np.concatenate([[0.0], np.geomspace(1e-3, 300.0, 40)])
    x, weight = special.roots_legendre(300)
    want = []
    for r in offset:
        low, high = max(0.0, r - 6.0), min(ratio, r + 6.0)
        half = 0.5 * max(0.0, high - low)
        rho = low + half * (x + 1.0)
        ring = 4 * rho * np.exp(-2 * (rho - r) ** 2) * special.i0e(4 * rho * r)
        want.append(half * weight @ ring)
    got = offset_transmittance(offset, ratio, 1.0)
    assert np.abs(got - want).max() < 1e-9
    assert got[0] == pytest.approx(float(centred_transmittance(ratio, 1.0)), rel=1e-12)
    assert (np.diff(got) <= 1e-15).all()


def test_exact_coupling_beside_monte_carlo():
    # Every photon of a spot is Gaussian with w / 2 per axis around its centre.
    n, (a, w, r) = 200_000, (0.7, 1.1, 0.8)
    x, y = 0.5 * w * stream(1, "photons").standard_normal((2, n))
    share = np.mean(np.hypot(r + x, y) < a)
    exact = float(offset_transmittance(r, a, w))
    assert share == pytest.approx(exact, abs=SIGMAS * math.sqrt(exact / n))


def test_wander_beside_monte_carlo():
    spot, n = WanderingSpot(0.5, 1.0, 0.3, 0.2, 0.1), 100_000
    drawn = spot.sample(n, 1, "wander")
    assert drawn.shape == (n,)
    error = SIGMAS * drawn.std() / math.sqrt(n)
    assert drawn.mean() == pytest.approx(float(spot.mean()), abs=error)
    squares = spot.quadrature().mean(2.0)
    error = SIGMAS * (drawn**2).std() / math.sqrt(n)
    assert (drawn**2).mean() == pytest.approx(float(squares), abs=error)


def test_quadrature_of_wander_has_the_closed_mean():
    a, w, s, b = np.meshgrid(
        [0.01, 0.5, 1.0, 20.0],
        [0.05, 1.0, 3.0],
        [0.0, 1e-3, 0.3, 1.0, 50.0],
        [0.0, 1.0, 5.0],
        indexing="ij",
    )
    for hole in (0.0, 0.3):
        spot = WanderingSpot(a, w, s, b, hole * a)
        nodes = spot.quadrature()
        assert np.abs(nodes.mean() - spot.mean()).max() < 1e-9
        assert np.abs(nodes.weight.sum(axis=-1) - 1.0).max() < 1e-9
        assert nodes.weight.min() >= 0.0


def test_a_mutant_of_the_mean_is_noticed(monkeypatch):
    # w^2 + 2 s^2, as if the variance were of both axes together.
    def wrong(a, w, s, b=0.0, hole=0.0):
        return offset_transmittance(b, a, np.hypot(w, math.sqrt(2.0) * s), hole)

    monkeypatch.setattr(fading, "mean_transmittance", wrong)
    spot = WanderingSpot(0.5, 1.0, 0.3)
    assert abs(spot.quadrature().mean() - spot.mean()) > 0.01
    drawn = spot.sample(20_000, 1, "mutant")
    error = SIGMAS * drawn.std() / math.sqrt(drawn.size)
    assert abs(drawn.mean() - spot.mean()) > error


def test_an_obscuration_takes_what_it_covers():
    covered = offset_transmittance(0.4, 0.2, 1.0)
    whole = offset_transmittance(0.4, 0.5, 1.0)
    ring = offset_transmittance(0.4, 0.5, 1.0, 0.2)
    assert ring == pytest.approx(float(whole - covered), rel=1e-13)
    for call in (
        lambda: offset_transmittance(0.4, 0.5, 1.0, 0.6),
        lambda: offset_transmittance(-0.4, 0.5, 1.0),
        lambda: offset_transmittance(0.4, 0.5, 0.0),
        lambda: WanderingSpot(0.5, 1.0, -0.1),
        lambda: weibull_form(1.0, 1e-7),
    ):
        with pytest.raises(ModelRangeError, match="nearest valid value"):
            call()


@pytest.mark.parametrize(
    ("ratio", "error"), [(1.0, 0.0089), (0.5, 0.0010), (1 / 7, 1.2e-6), (2.5, 0.020)]
)
def test_weibull_form_errs_as_much_as_quoted(ratio, error):
    offset = np.linspace(0.0, 5.0 * max(1.0, ratio), 4000)
    form = weibull_form(ratio, 1.0)
    off = np.abs(
        form.transmittance(offset) - offset_transmittance(offset, ratio, 1.0)
    ).max()
    # Quoted to two digits, from a coarser grid.
    assert 0.94 * error < off < 1.2 * error


def test_the_simulated_laboratory_fades_by_the_same_form():
    form = weibull_form(0.2, 4.0)
    assert weibull_shape(0.2, 4.0) == (form.centre, form.scale_m, form.exponent)


def test_weibull_form_for_tiny_and_huge_apertures():
    mpmath.mp.dps = 40
    for ratio in (1e-6, 1e-3, 0.158, 0.1582, 1.0, 30.0, 900.0):
        x = 4 * mpmath.mpf(ratio) ** 2
        missing = 1 - mpmath.exp(-x) * mpmath.besseli(0, x)
        log_ratio = mpmath.log(2 * (1 - mpmath.exp(-x / 2)) / missing)
        slope = 2 * x * mpmath.exp(-x) * mpmath.besseli(1, x) / (missing * log_ratio)
        form = weibull_form(ratio, 1.0)
        assert form.exponent == pytest.approx(float(slope), rel=1e-9)
        scale = ratio * log_ratio ** (-1 / slope)
        assert form.scale_m == pytest.approx(float(scale), rel=1e-9)


def test_weibull_density_is_one():
    form = weibull_form(0.5, 1.0)
    cuts = float(form.centre) * np.array([0.0, 1e-6, 1e-3, 0.1, 0.9, 1.0])
    total, mean = 0.0, 0.0
    for low, high in itertools.pairwise(cuts):
        total += integrate.quad(lambda e: float(form.density(e, 0.3)), low, high)[0]
        mean += integrate.quad(lambda e: e * float(form.density(e, 0.3)), low, high)[0]
    assert total == pytest.approx(1.0, abs=1e-6)
    assert mean == pytest.approx(float(mean_transmittance(0.5, 1.0, 0.3)), abs=1e-3)
    assert form.density(1.0, 0.3) == 0.0


@pytest.mark.parametrize(
    "spot", [(0.141, 0.283, 0.1, 0.0), (0.3, 0.1, 0.05, 0.2), (0.02, 0.05, 0.07, 0.05)]
)
def test_elliptic_spots_beside_brute_force(spot):
    w1, w2, u0, v0 = spot
    want = over_the_disc(0.1, w1, w2, u0, v0)
    got = elliptic_transmittance(0.1, (w1, w2), (u0, v0))
    assert got == pytest.approx(want, abs=1e-9)
    swapped = elliptic_transmittance(0.1, (w2, w1), (v0, u0))
    assert swapped == pytest.approx(want, abs=1e-9)


def test_round_spots_are_elliptic_ones():
    offset = np.linspace(0.0, 3.0, 13)
    for w in (0.06, 0.3, 1.0, 5.0):
        got = elliptic_transmittance(1.0, (w, w), (offset * 0.6, offset * 0.8))
        assert got == pytest.approx(offset_transmittance(offset, 1.0, w), abs=1e-11)
    with pytest.raises(ModelRangeError, match="half-axis"):
        elliptic_transmittance(1.0, (0.04, 1.0), (0.0, 0.0))


def test_elliptic_statistics():
    beam = EllipticBeam(0.05, 4e-4, 1.2, 0.09, -0.05)
    drawn = beam.sample(0.04, 20_000, 3, "elliptic")
    # The same by hand, with the covariance as a matrix.
    n, random = 1500, np.random.default_rng(5)
    theta = random.multivariate_normal([1.2, 1.2], [[0.09, -0.05], [-0.05, 0.09]], n)
    w1, w2 = 0.05 * np.exp(0.5 * theta.T)
    x, y = 0.02 * random.standard_normal((2, n))
    slow = np.array(
        [over_the_disc(0.04, *row, n=10) for row in zip(w1, w2, x, y, strict=True)]
    )
    for power in (1, 2):
        a, b = drawn**power, slow**power
        error = SIGMAS * math.hypot(a.std() / math.sqrt(a.size), b.std() / math.sqrt(n))
        assert a.mean() == pytest.approx(b.mean(), abs=error)
    with pytest.raises(ModelRangeError, match="covariance"):
        EllipticBeam(0.05, 4e-4, 1.2, 0.05, -0.06)


def test_weak_elliptic_beams_wander_as_rays_do():
    length_m = 1.6e3
    sender = Transmitter(0.04, 809e-9, curvature_m=length_m)
    path = horizontal_path(2e-15, length_m)
    rytov = float(rytov_variance(path, 809e-9))
    beam = weak_elliptic_beam(sender, length_m, rytov)
    rays_m2 = float(wander_variance_m2(sender, path, "uplink", "geometric"))
    assert beam.wander_variance_m2 == pytest.approx(rays_m2, rel=0.08)
    # Without turbulence the spot of a focused beam is left.
    calm = weak_elliptic_beam(sender, length_m, 0.0)
    spot_m = float(sender.spot_m(length_m))
    assert 0.04**2 * math.exp(calm.log_mean) == pytest.approx(spot_m**2)
    assert calm.log_variance == calm.log_covariance == 0.0
    with pytest.raises(ModelRangeError, match="weak turbulence"):
        weak_elliptic_beam(sender, length_m, 1.5)
    with pytest.raises(ModelRangeError, match="focused"):
        weak_elliptic_beam(Transmitter(0.04, 809e-9), length_m, 0.5)


def test_published_elliptic_beams_are_wider_than_theory():
    """Mean of a focused beam by second-order theory, right in any turbulence.

    The power in a circle is that of the transfer function of aperture and air,
    exp[-r^2 / (2 W0^2) - (r / rho0)^(5/3)].
    """
    length_m, wave_m = 2e3, 800e-9
    k = 2.0 * math.pi / wave_m
    sender = Transmitter(0.0225, wave_m, curvature_m=length_m)
    spot = float(sender.spot_m(length_m))
    a = 0.5 * spot
    for cn2, share in ((3e-16, 0.93), (1e-15, 0.80), (3e-15, 0.62)):
        path = horizontal_path(cn2, length_m)
        rho = float(spherical_coherence_m(path, wave_m, "downlink"))

        def power(r, rho=rho):
            transfer = math.exp(-(r**2) / (2 * 0.0225**2) - (r / rho) ** (5 / 3))
            return transfer * k * a / length_m * special.j1(k * a * r / length_m)

        exact, _ = integrate.quad(power, 0.0, 0.27, limit=500)
        rytov = float(rytov_variance(path, wave_m))
        beam = weak_elliptic_beam(sender, length_m, rytov)
        # Spread by 20 000 draws: below 0.5 %.
        published = beam.sample(a, 20_000, 5, "elliptic").mean()
        assert published / exact == pytest.approx(share, abs=0.02)
        # What links are planned with: short-term spot, wander apart.
        short = spot_m(sender, path, "downlink", "fante-yura-short")
        moved = np.sqrt(wander_variance_m2(sender, path, "downlink", "fante-yura"))
        planned = float(mean_transmittance(a, short, moved))
        assert planned == pytest.approx(exact, rel=0.02)


def test_circular_beams_have_the_moments_they_are_fitted_to():
    beam = circular_beam(0.5, 0.3, 0.3, 0.1)
    nodes = beam.quadrature()
    assert nodes.mean() == pytest.approx(0.3, abs=1e-9)
    assert nodes.mean(2.0) == pytest.approx(0.1, abs=1e-9)
    assert beam.mean() == pytest.approx(0.3, abs=1e-9)
    n = 100_000
    drawn = beam.sample(n, 1, "circular")
    for power in (1, 2):
        moment = drawn**power
        error = SIGMAS * moment.std() / math.sqrt(n)
        assert moment.mean() == pytest.approx(float(nodes.mean(power)), abs=error)
    # One that does not breathe is a wandering spot.
    still = CircularBeam(0.5, 0.3, 0.0, 0.0)
    assert still.mean() == pytest.approx(float(mean_transmittance(0.5, 1.0, 0.3)))


@pytest.mark.parametrize("wander", [0.0, 1e-6, 0.05, 0.4, 3.0, 100.0])
def test_second_moment_of_wander_beside_quadrature(wander):
    a = np.array([1e-6, 1e-2, 0.3, 0.7, 1.0, 3.0, 50.0])
    spot = WanderingSpot(a, 1.0, wander)
    by_nodes = spot.quadrature(40).mean(2.0)
    assert spot.mean_square() == pytest.approx(by_nodes, rel=1e-9)
    # Never less than the square of the mean, never more than the mean.
    assert np.all(spot.mean_square() >= spot.mean() ** 2 * (1.0 - 1e-9))
    assert np.all(spot.mean_square() <= spot.mean() * (1.0 + 1e-9))


def test_second_moment_of_a_ring_beside_quadrature():
    spot = WanderingSpot(np.array([0.5, 1.0, 3.0]), 1.0, 0.4, 0.0, [0.2, 0.3, 1.0])
    assert spot.mean_square() == pytest.approx(spot.quadrature(40).mean(2.0), rel=1e-9)
    off = WanderingSpot(0.5, 1.0, 0.4, 0.3)
    assert off.mean_square() == pytest.approx(float(off.quadrature(40).mean(2.0)))


def test_second_moment_where_it_is_known():
    # A spot that stands still; one that is a point, in or out.
    still = 1.0 - math.exp(-2.0 * 0.6**2)
    assert mean_square_transmittance(0.6, 1.0, 0.0) == pytest.approx(still**2)
    point = 1.0 - math.exp(-0.5 * 0.6**2 / 0.25**2)
    assert mean_square_transmittance(0.6, 1e-3, 0.25) == pytest.approx(point, rel=3e-3)
    # A tiny aperture reads the intensity, exp(-2 r^2 / w^2): with x = r^2 / (2 s^2)
    # exponential, <I^2> / <I>^2 = (1 + g)^2 / (1 + 2 g), g = 4 s^2 / w^2.
    g = 4.0 * 0.3**2
    ratio = mean_square_transmittance(1e-5, 1.0, 0.3) / (
        mean_transmittance(1e-5, 1.0, 0.3) ** 2
    )
    assert ratio == pytest.approx((1.0 + g) ** 2 / (1.0 + 2.0 * g), rel=1e-8)
    # From 1e-5 on spots are points, without a step.
    spots = np.array([1.02e-5, 0.98e-5, 1e-9])
    near = mean_transmittance(1.0, spots, 0.6) - mean_square_transmittance(
        1.0, spots, 0.6
    )
    assert near[0] / near[1] == pytest.approx(1.02 / 0.98, rel=1e-3)
    assert near[2] == pytest.approx(near[1] * 1e-9 / 0.98e-5, rel=1e-3)
    with pytest.raises(ModelRangeError, match="wander"):
        mean_square_transmittance(0.5, 1.0, -0.1)


def test_moments_of_circular_beams_beside_monte_carlo():
    beam = CircularBeam(0.4, 0.25, math.log(0.5), 0.6)
    drawn = beam.sample(100_000, 11, "moments")
    for moment, power in ((beam.mean(), 1), (beam.mean_square(), 2)):
        error = SIGMAS * float((drawn**power).std()) / math.sqrt(drawn.size)
        assert float((drawn**power).mean()) == pytest.approx(moment, abs=error)
    nodes = beam.quadrature()
    assert beam.mean_square() == pytest.approx(float(nodes.mean(2.0)), rel=1e-9)


def test_a_mutant_of_the_second_moment_is_noticed(monkeypatch):
    whole = coupling._both_within

    def mutant(one_m, other_m, variance_m2, power):
        # The correlation for its square.
        shared = np.sqrt(power[0])
        return whole(one_m, other_m, variance_m2, (shared, 1.0 - shared))

    honest = float(WanderingSpot(0.5, 1.0, 0.3).quadrature().mean(2.0))
    monkeypatch.setattr(coupling, "_both_within", mutant)
    assert abs(float(mean_square_transmittance(0.5, 1.0, 0.3)) / honest - 1.0) > 0.01


def test_moments_that_no_circular_beam_has():
    with pytest.raises(ModelRangeError, match="too much wander") as caught:
        circular_beam(0.5, 0.3, 0.95, 0.95)
    assert caught.value.nearest == pytest.approx(1 - math.exp(-2 * 0.25 / 0.36))
    with pytest.raises(ModelRangeError, match="mean squared") as caught:
        circular_beam(0.5, 0.3, 0.3, 0.05)
    tightest = circular_beam(0.5, 0.3, 0.3, caught.value.nearest)
    assert tightest.log_area_sigma == 0.0


def test_scintillation_is_log_normal_only_where_weak():
    nodes = lognormal_quadrature(0.01, 0.2)
    assert nodes.mean() == pytest.approx(0.01, rel=1e-6)
    assert nodes.mean(2.0) == pytest.approx(1e-4 * math.exp(0.2), rel=1e-4)
    with pytest.raises(ModelRangeError, match="weak"):
        lognormal_quadrature(0.01, 0.5)
    with pytest.raises(ModelRangeError, match="mean transmittance"):
        lognormal_quadrature(0.5, 0.2)


def test_thinning_keeps_the_mean():
    nodes = WanderingSpot(0.5, 1.0, 0.3).quadrature()
    few = thinned(nodes, 8)
    assert few.weight.size <= 8
    assert few.weight.sum() == pytest.approx(1.0)
    assert few.mean() == pytest.approx(float(nodes.mean()), rel=1e-12)
    assert (np.diff(few.transmittance) > 0.0).all()
    # Convex functions lose by it: bins hide fading, they never invent it.
    assert few.mean(2.0) <= nodes.mean(2.0)
    with pytest.raises(ModelRangeError, match="bins"):
        thinned(Quadrature(np.ones(1), np.ones(1)), 0)
