"""Fading, drift and the numbers behind the photon-counting bench."""

import csv
import heapq
import math
from pathlib import Path

import numpy as np
import pytest
from photon_bench_kit import PULSE_HZ, photon_bench, photon_settings, play
from pydantic import ValidationError
from scipy import integrate, stats

from scqc.core.errors import StateError
from sim_backends.optics.click_detectors import AFTERPULSE, Events, Recovery, clicks
from sim_backends.optics.counter_random import normal, poisson, stream_keys, uniform
from sim_backends.optics.slow_drift import (
    Cells,
    Channel,
    CorrelatedNormal,
    Walk,
    weibull_shape,
)
from sim_backends.photon_settings import PhotonChannelSettings, PhotonSimSettings

PASS = Path(__file__).parents[2] / "lab_configs/pass_leo_500km.csv"
EARTH_KM, HEIGHT_KM, GM_KM3_PER_S2 = 6371.0, 500.0, 398600.4418


def slow_clicks(events, recovery, seed, name):
    """What a detector clicks at, with a heap of releases: times and causes."""
    key, releases, out, ready_ps = stream_keys(seed, name, 1)[0], [], [], -math.inf
    arrivals = list(zip(events.times_ps, events.causes, strict=True))[::-1]
    while arrivals or releases:
        if not releases or (arrivals and arrivals[-1][0] <= releases[0]):
            t, cause = arrivals.pop()
        else:
            t, cause = heapq.heappop(releases), AFTERPULSE
        if t < ready_ps:
            continue
        n, ready_ps = len(out), t + recovery.dead_ps
        out.append((t, cause))
        if uniform(key, 2 * n) < recovery.afterpulse_probability:
            delay_ps = -recovery.decay_ps * math.log(1 - uniform(key, 2 * n + 1))
            heapq.heappush(releases, ready_ps + delay_ps)
    return out


@pytest.mark.parametrize("decay_ps", [10.0, 1e3, 1e6])
def test_dead_time_and_afterpulses_equal_the_slow_walk(decay_ps):
    random = np.random.default_rng(4)
    events = Events(
        np.sort(random.uniform(0, 1e6, 3000)),
        random.integers(0, 3, 3000).astype(np.uint8),
        np.arange(3000),
    )
    recovery = Recovery(200.0, 0.5, decay_ps)
    found = clicks(events, recovery, 1, "d")
    times_ps, causes = zip(*slow_clicks(events, recovery, 1, "d"), strict=True)
    np.testing.assert_array_equal(found.times_ps, times_ps)
    np.testing.assert_array_equal(found.causes, causes)
    genuine = found.origins >= 0
    np.testing.assert_array_equal(genuine, found.causes != AFTERPULSE)
    np.testing.assert_array_equal(
        events.times_ps[found.origins[genuine]], found.times_ps[genuine]
    )


def channel_of(**fading):
    return PhotonChannelSettings(length_km=0, extra_loss_db=20.0, fading=fading)


def test_poisson_by_inversion_is_the_inverse_of_the_tail():
    u = np.random.default_rng(1).random(300)
    for mean in (1e-6, 0.01, 0.7, 5.0, 40.0):
        mine = [poisson(float(x), mean) for x in u]
        np.testing.assert_array_equal(mine, stats.poisson.isf(u, mean))
    assert poisson(0.0, 1.0) > 15
    assert poisson(1.0 - 2.0**-53, 0.5) == 0


def test_counter_words_are_uniform_and_normal_and_keyed():
    keys = stream_keys(3, "a", 2)
    assert keys[0] != keys[1]
    assert stream_keys(3, "b", 1)[0] != keys[0]
    u = np.array([uniform(keys[0], k) for k in range(-2000, 2000)])
    g = np.array([normal(keys[1], k) for k in range(-2000, 2000)])
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert stats.kstest(g, "norm").pvalue > 1e-4
    # Neighbours are uncorrelated: a coefficient has a deviation 1 / sqrt(n).
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 4 / math.sqrt(u.size)


def test_phase_drift_has_the_variance_of_a_walk():
    rate, seeds = 0.3, 300
    late, gap = [], []
    for seed in range(seeds):
        walk = Walk(seed, "phase", rate, start=0.5)
        first = walk.values(Cells(0, 0.0, 1e-3, 21))
        second = walk.values(Cells(1, 4.0, 1e-3, 21))
        assert first[0] == 0.5
        late.append(first[-1] - 0.5)
        gap.append(second[0] - first[-1])
    for steps, span_s in ((late, 0.02), (gap, 4.0 - 0.02)):
        ratio = np.mean(np.square(steps)) / (rate**2 * span_s)
        low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], seeds) / seeds
        assert low < ratio < high


def test_fading_is_correlated_over_its_time_only():
    process = CorrelatedNormal(1, "fading", 1e-3)
    n = 20_000
    g = np.concatenate(
        [process.values(Cells(i, 0.5e-3 * n * i, 0.5e-3, n)) for i in range(2)]
    )
    rho = math.exp(-0.5)
    # Effective samples of an exponentially correlated series.
    independent = 2 * n * (1 - rho) / (1 + rho)
    assert abs(g.mean()) < 4 / math.sqrt(independent)
    assert abs(g.var() - 1) < 4 * math.sqrt(2 * (1 + rho**2) / (1 - rho**2) / (2 * n))
    assert abs(np.mean(g[1:] * g[:-1]) - rho) < 4 * 2 / math.sqrt(independent)
    # It goes on across the two acquisitions.
    assert abs(g[n] - rho * g[n - 1]) < 5 * math.sqrt(1 - rho**2)


def independent_cells(count=40_000):
    return Cells(0, 0.0, 0.1, count)  # 100 correlation times apart


def test_lognormal_moments():
    sigma = 0.4
    channel = Channel(
        2, channel_of(kind="lognormal", log_sigma=sigma, correlation_time_s=1e-3)
    )
    factor = channel.transmittance(independent_cells()) / 0.01
    n, grown = factor.size, math.exp(sigma**2)
    assert abs(factor.mean() - 1) < 4 * math.sqrt((grown - 1) / n)
    assert abs(np.log(factor).std() - sigma) < 4 * sigma / math.sqrt(2 * n)
    assert abs(np.log(factor).mean() + sigma**2 / 2) < 4 * sigma / math.sqrt(n)


def exact_coupling(r_m, aperture_m, beam_m):
    """Share of a Gaussian beam that an aperture passes at a distance r."""
    return stats.ncx2.cdf(4 * (aperture_m / beam_m) ** 2, 2, 4 * (r_m / beam_m) ** 2)


@pytest.mark.parametrize(("aperture_m", "beam_m"), [(0.5, 1.0), (0.2, 3.0), (1.0, 0.9)])
def test_weibull_law_is_a_beam_that_wanders_across_an_aperture(aperture_m, beam_m):
    eta0, r0_m, gamma = weibull_shape(aperture_m, beam_m)
    for r_m in np.linspace(1e-6, 2 * beam_m, 9):
        exact = exact_coupling(r_m, aperture_m, beam_m)
        assert eta0 * math.exp(-((r_m / r0_m) ** gamma)) == pytest.approx(
            exact, abs=0.02
        )


def test_weibull_moments():
    fading = {"aperture_radius_m": 0.4, "beam_radius_m": 1.0, "pointing_sigma_m": 0.5}
    channel = Channel(3, channel_of(kind="weibull", correlation_time_s=1e-3, **fading))
    eta = channel.transmittance(independent_cells()) / 0.01
    eta0, r0_m, gamma = weibull_shape(0.4, 1.0)

    def moment(power):
        def weighted(r):
            value = (eta0 * math.exp(-((r / r0_m) ** gamma))) ** power
            return value * stats.rayleigh.pdf(r, scale=0.5)

        return integrate.quad(weighted, 0, 5)[0]

    deviation = math.sqrt(moment(2) - moment(1) ** 2)
    assert abs(eta.mean() - moment(1)) < 4 * deviation / math.sqrt(eta.size)
    square = math.sqrt(moment(4) - moment(2) ** 2)
    assert abs(np.mean(eta**2) - moment(2)) < 4 * square / math.sqrt(eta.size)
    # The exact mean of a wandering Gaussian beam, to what the law is good for.
    exact = -math.expm1(-2 * 0.4**2 / (1.0 + 4 * 0.5**2))
    assert moment(1) == pytest.approx(exact, abs=0.02)


def test_fading_reaches_the_clicks():
    world = photon_bench(
        source={"full_scale_photons": 0.5},
        channel={
            "length_km": 0,
            "extra_loss_db": 3.0,
            "fading": {"kind": "weibull", "correlation_time_s": 1e-4},
        },
    )
    n = 400_000
    duration_s = play(world, np.ones(n), 0.0)
    world.tags(duration_s)
    truth = world.truth[0]
    cell_s, start_s = float(truth["cell_s"]), float(truth["start_s"])
    assert cell_s <= 1e-4 / 10
    at_s = start_s + (truth["origin_slot"] + 0.5) / PULSE_HZ
    found = np.bincount((at_s / cell_s).astype(int), minlength=400)[201:399]
    # Shares of detector and window at phase 0: eight satellites, z0, x0, x1. What
    # falls on one of them in one slot is one click: Bernoulli in every slot.
    shares = np.array([1 / 16] * 8 + [1 / 4, 1 / 8, 1 / 8])
    mean = 0.5 * truth["transmittance"][201:399]
    chance = -np.expm1(-mean[:, None] * shares)
    slots = cell_s * PULSE_HZ
    expected = slots * chance.sum(axis=1)
    z2 = (found - expected) ** 2 / (slots * (chance * (1 - chance)).sum(axis=1))
    assert np.ptp(expected) > 0.3 * expected.mean()
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], z2.size) / z2.size
    assert low < np.mean(z2) < high


def test_crest_above_one_is_refused_not_cut():
    with pytest.raises(ValidationError, match="exceed 1"):
        PhotonChannelSettings(length_km=0, fading={"kind": "lognormal"})
    settings = channel_of(kind="lognormal", log_sigma=0.5)
    crest = settings.model_copy(update={"extra_loss_db": 0.0})
    with pytest.raises(StateError, match="exceeds 1"):
        Channel(1, crest).transmittance(independent_cells(100))


def write_pass(folder, text):
    path = folder / "pass.csv"
    path.write_text(text)
    return str(path)


def test_a_pass_is_read_with_the_settings_and_stands_on_its_own(tmp_path):
    name = write_pass(
        tmp_path, "# x\ntime_s,loss_db,background_hz\n1,10,100\n3,20,300\n"
    )
    settings = PhotonSimSettings(
        channel={"length_km": 0, "fading": {"kind": "pass", "pass_file": name}}
    )
    Path(name).unlink()
    settings = PhotonSimSettings(**settings.model_dump())
    settings = PhotonSimSettings.model_validate_json(settings.model_dump_json())
    channel = Channel(1, settings.channel)
    cells = Cells(0, 0.0, 0.5, 8)  # centres 0.25, 0.75, ..., 3.75 s
    loss_db = 10 + 5 * (cells.centres_s - 1)
    expected = 10 ** (-loss_db / 10) * ((cells.centres_s > 1) & (cells.centres_s < 3))
    np.testing.assert_allclose(channel.transmittance(cells), expected)
    np.testing.assert_allclose(
        channel.background_hz(cells),
        [100, 100, 125, 175, 225, 275, 300, 300],
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("time_s,loss_db\n1,2\n3,4\n", "columns"),
        ("time_s,loss_db,background_hz\n1,2,x\n", "row 1"),
        ("time_s,loss_db,background_hz\n1,2\n", "row 1"),
        ("time_s,loss_db,background_hz\n1,2,3\n", "2 rows or more"),
        ("time_s,loss_db,background_hz\n1,2,3\n1,2,3\n", "must rise"),
        ("time_s,loss_db,background_hz\n1,2,3\n2,-1,3\n", "loss -1 dB"),
        ("time_s,loss_db,background_hz\n1,2,3\n2,nan,3\n", "loss nan dB|finite"),
        ("time_s,loss_db,background_hz\n1,2,3\n2,1,-3\n", "background -3 Hz"),
    ],
)
def test_a_bad_pass_is_refused_by_name(tmp_path, text, names):
    with pytest.raises(ValidationError, match=names):
        channel_of(kind="pass", pass_file=write_pass(tmp_path, text))


def test_a_missing_pass_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="cannot be read"):
        channel_of(kind="pass", pass_file=str(tmp_path / "none.csv"))
    with pytest.raises(ValidationError, match="2 rows or more"):
        channel_of(kind="pass")


def link_of_pass(t_s):
    """The formulas of docs/explanation/photon_world.md, term by term."""
    culmination = math.radians(60.0)
    rate = math.sqrt(GM_KM3_PER_S2 / (EARTH_KM + HEIGHT_KM) ** 3)
    orbit_km = EARTH_KM + HEIGHT_KM
    least = math.acos(EARTH_KM * math.cos(culmination) / orbit_km) - culmination
    angle = math.acos(math.cos(least) * math.cos(rate * (t_s - 110.0)))
    slant_km = math.sqrt(
        EARTH_KM**2 + orbit_km**2 - 2 * EARTH_KM * orbit_km * math.cos(angle)
    )
    sin_elevation = (orbit_km * math.cos(angle) - EARTH_KM) / slant_km
    beam_m, wander_m = 12e-6 * 1e3 * slant_km, 1e-6 * 1e3 * slant_km
    collected = -math.expm1(-2 * 0.2**2 / (beam_m**2 + 4 * wander_m**2))
    air = 0.876 ** (1 / sin_elevation)
    shell = (EARTH_KM / (EARTH_KM + 90.0)) ** 2 * (1 - sin_elevation**2)
    sky = 1.9e13 * 1.0 * 1e-9 * math.pi * 0.2**2 / math.sqrt(1 - shell)
    return 5.0 - 10 * math.log10(collected * air), sky * air * 10**-0.5


def test_the_shipped_pass_follows_its_formulas():
    rows = list(csv.reader(PASS.read_text().splitlines()[2:]))
    assert [int(row[0]) for row in rows] == list(range(101))
    for t_s, loss_db, background_hz in rows:
        loss, background = link_of_pass(float(t_s))
        assert 30.0 < loss < 45.0
        assert float(loss_db) == pytest.approx(loss, abs=6e-4)
        assert float(background_hz) == pytest.approx(background, abs=0.06)
    assert PASS.stat().st_size < 10_000
    settings = photon_settings(
        channel={"length_km": 0, "fading": {"kind": "pass", "pass_file": str(PASS)}}
    )
    assert len(settings.channel.fading.pass_table) == 101
