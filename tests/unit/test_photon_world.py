"""The photon-counting bench against theory; every tolerance is 4 sigma or more.

Nothing of the receiver under test elsewhere is used: slots are found by
division, with the start that the settings fix.
"""

import math

import numpy as np
import pytest
from photon_bench_kit import (
    PULSE_HZ,
    SLOT_PS,
    START_S,
    centre_clicks,
    photon_bench,
    play,
    slots_of,
)
from scipy import stats

from scqc.core.errors import StateError
from sim_backends.optics.click_detectors import AFTERPULSE, BLINDING, DARK, PHOTON
from sim_backends.photon_world import PhotonWorld

N = 400_000
PHASES = np.array([0.0, np.pi, np.pi / 2, -np.pi / 2])


def near(count, trials, probability):
    """Whether a binomial count is within 4 sigma."""
    sigma = math.sqrt(trials * probability * (1 - probability))
    return abs(count - trials * probability) <= 4 * sigma + 1e-9


def test_gain_of_every_intensity():
    # Q = 1 - (1 - Y0) exp(-eta mu): half of the photons fall in the centre, a
    # dark count in the gate of half a slot has Y0 = 1 - exp(-4 d T / 2).
    dark_hz = 1e6
    world = photon_bench(
        channel={"length_km": 0, "extra_loss_db": 10.0},
        detectors={"dark_rate_hz": (dark_hz,) * 4, "efficiency": (0.6,) * 4},
    )
    levels = np.array([0.8, 0.2, 0.0])
    kind = np.random.default_rng(1).integers(0, 3, N)
    slot, _ = centre_clicks(world, play(world, levels[kind], 0.0))
    clicked = np.unique(slot[(slot >= 0) & (slot < N)])
    y0 = -math.expm1(-4 * dark_hz * 0.5 * SLOT_PS * 1e-12)
    for k, mu in enumerate(levels):
        gain = 1 - (1 - y0) * math.exp(-0.5 * 0.6 * 0.1 * mu)
        assert near(np.sum(kind[clicked] == k), np.sum(kind == k), gain), mu


@pytest.mark.parametrize(("visibility", "offset_rad"), [(0.9, 0.0), (1.0, 0.4)])
def test_error_rate_follows_visibility_and_phase(visibility, offset_rad):
    world = photon_bench(
        source={"full_scale_photons": 0.2},
        interferometer={
            "visibility": visibility,
            "z_offset_rad": offset_rad,
            "x_offset_rad": offset_rad,
        },
    )
    sent = np.random.default_rng(2).integers(0, 4, N)
    slot, detector = centre_clicks(world, play(world, 1.0, PHASES[sent]))
    bit, basis = sent[slot] % 2, sent[slot] // 2
    same = detector // 2 == basis
    error = (1 - visibility * math.cos(offset_rad)) / 2
    for b in (0, 1):
        chosen = same & (basis == b)
        assert near(np.sum(bit[chosen] != detector[chosen] % 2), chosen.sum(), error)
    # In the other basis a phase error of d leaves (1 -+ V sin d) / 2.
    crossed = ~same & (basis == 0)
    ones = detector[crossed] % 2 == bit[crossed]
    swing = visibility * math.sin(offset_rad)
    assert near(ones.sum(), crossed.sum(), 0.5 * (1 + swing))


def test_phase_shifter_takes_an_offset_away():
    world = photon_bench(
        source={"full_scale_photons": 0.2},
        phase_modulator={"phase_offset_rad": 0.6},
        interferometer={"phase_shifter_rad_per_v": 0.3},
    )
    world.set_phase_v(2.0)
    _, detector = centre_clicks(world, play(world, np.ones(N // 4), 0.0))
    assert np.sum(detector == 0) > 0
    assert np.sum(detector == 1) == 0


def test_split_between_bases_and_windows():
    world = photon_bench(
        source={"full_scale_photons": 0.1}, interferometer={"z_fraction": 0.8}
    )
    # Every second slot dark, so that satellites do not overlap with others.
    train = np.tile([1.0, 0.0], N // 2)
    times_ps, detector = world.tags(play(world, train, 0.0))
    assert near(np.sum(detector < 2), detector.size, 0.8)
    lit = (times_ps - 1e12 * START_S) / (2 * SLOT_PS) % 1.0
    windows = np.rint(4 * lit).astype(int) % 4
    assert np.all(np.abs(4 * lit - np.rint(4 * lit)) < 1e-3)
    for window, share in enumerate((0.25, 0.5, 0.25)):
        assert near(np.sum(windows == window), windows.size, share)


def test_yields_of_photon_number_states():
    dark_hz, eta = 2e6, 0.5 * 0.4
    world = photon_bench(
        source={"full_scale_photons": 0.7},
        detectors={"efficiency": (0.4,) * 4, "dark_rate_hz": (dark_hz,) * 4},
    )
    world.tags(play(world, np.ones(N), 0.0))
    truth = world.truth[0]
    rows = truth["in_gate"] & (truth["slot"] >= 0) & (truth["slot"] < N)
    slot, first = np.unique(truth["slot"][rows], return_index=True)
    emitted = truth["emitted"][rows][first]
    y0 = -math.expm1(-4 * dark_hz * 0.5 * SLOT_PS * 1e-12)
    for n in range(5):
        click = 1 - (1 - y0) * (1 - eta) ** n
        chance = stats.poisson.pmf(n, 0.7) * click
        assert near(np.sum(emitted == n), N, chance), n
    assert slot.size == np.sum(emitted >= 0)


def test_coherent_pulses_click_independently_at_two_detectors():
    # A coherent state gives product statistics: no excess of coincidences.
    world = photon_bench(interferometer={"z_fraction": 1.0})
    slot, detector = centre_clicks(world, play(world, np.ones(N), np.pi / 2))
    both = np.intersect1d(slot[detector == 0], slot[detector == 1])
    each = -math.expm1(-1.0 / 4)
    assert near(both.size, N, each**2)


def test_extinction_lets_light_through_at_rest_and_when_stopped():
    world = photon_bench(
        intensity_modulator={"extinction_ratio_db": 20.0},
        source={"full_scale_photons": 2.0},
    )
    duration_s = play(world, np.zeros(N), 0.0)
    expected = 2.0 * 0.01 * PULSE_HZ * duration_s
    for _ in range(2):
        times_ps, _ = world.tags(duration_s)
        assert abs(times_ps.size - expected) < 4 * math.sqrt(expected)
        world.stop()


def test_pattern_effect_mixes_voltages_of_neighbours():
    pattern, high, low = 0.15, 0.9, 0.04
    world = photon_bench(
        intensity_modulator={"pattern_effect": pattern},
        source={"full_scale_photons": 0.5},
    )
    train = np.tile([high, low, low, low], N // 4)
    slot, _ = centre_clicks(world, play(world, train, 0.0))
    arms = np.arcsin(np.sqrt([high, low]))
    after = np.sin(arms[1] + pattern * (arms[0] - arms[1])) ** 2
    for place, level in ((1, after), (2, low), (3, low)):
        # Two detectors of Z and X each: Poisson clicks of the lit ports.
        expected = 0.5 * 0.5 * level * N / 4
        count = np.sum(slot % 4 == place)
        assert abs(count - expected) < 4 * math.sqrt(expected) + expected**2 / N


def test_halves_of_unequal_height_lose_contrast():
    world = photon_bench(
        source={"full_scale_photons": 0.3}, interferometer={"z_fraction": 1.0}
    )
    play(world, np.ones(N), 0.0)
    im_v = np.array(world._waveform[0]).reshape(-1, 4)
    im_v[:, 2:] /= 3.0  # the late pulse has sin^2(30 deg) = 1/4 of the early one
    world.play(np.stack([im_v.ravel(), 0 * im_v.ravel()]), 4 * PULSE_HZ)
    _, detector = centre_clicks(world, START_S + N / PULSE_HZ)
    assert near(np.sum(detector == 1), detector.size, 0.5 * (1 - 2 * 0.5 / 1.25))


def test_dead_time_law():
    rate_hz, dead_s, duration_s = 2e7, 100e-9, 0.02
    world = photon_bench(detectors={"blinding_rate_hz": rate_hz, "dead_time_s": dead_s})
    times_ps, detector = world.tags(duration_s)
    assert set(detector) == {0}
    assert np.all(world.truth[0]["cause"] == BLINDING)
    assert np.min(np.diff(times_ps)) >= 1e12 * dead_s - 1
    # m = n / (1 + n tau); renewal theory: Var = m T / (1 + n tau)^2.
    slow_down = 1 + rate_hz * dead_s
    expected = rate_hz / slow_down * duration_s
    assert abs(times_ps.size - expected) < 4 * math.sqrt(expected) / slow_down + 1
    measured = times_ps.size / duration_s
    assert measured / (1 - measured * dead_s) == pytest.approx(rate_hz, rel=0.02)


def test_afterpulses_are_as_many_and_as_late_as_set():
    p, dead_s, decay_s = 0.2, 1e-6, 5e-6
    world = photon_bench(
        detectors={
            "dark_rate_hz": (2e3,) * 4,
            "dead_time_s": dead_s,
            "afterpulse_probability": p,
            "afterpulse_decay_s": decay_s,
        }
    )
    times_ps, detector = world.tags(10.0)
    cause = world.truth[0]["cause"]
    # Every click releases one with probability p, afterpulses included; of the
    # genuine ones about 2e3/s * 6 us meet in a dead time or another's tail.
    assert abs(np.mean(cause == AFTERPULSE) - p) < 4 * math.sqrt(
        p * (1 - p) / cause.size
    ) + p * 2e3 * (dead_s + decay_s)
    delays = []
    for d in range(4):
        mine, why = times_ps[detector == d], cause[detector == d]
        delays.append(np.diff(mine)[why[1:] == AFTERPULSE])
    delays_s = 1e-12 * np.concatenate(delays)
    assert delays_s.min() >= dead_s - 1e-12
    # A dark count in between shortens a delay: a share of decay * rate.
    slack = 2e3 * decay_s * 2
    assert np.mean(delays_s - dead_s) == pytest.approx(
        decay_s, rel=4 / math.sqrt(delays_s.size) + slack
    )
    late = np.sum(delays_s - dead_s > 2 * decay_s)
    assert abs(late / delays_s.size - math.exp(-2)) < slack + 4 * math.sqrt(
        math.exp(-2) / delays_s.size
    )


def test_jitter_dark_counts_and_stray_light():
    sigma_s, duration_s = 100e-12, START_S + N / PULSE_HZ
    world = photon_bench(detectors={"jitter_s": sigma_s})
    times_ps, _ = world.tags(play(world, np.full(N, 0.1), 0.0))
    _, phase = slots_of(times_ps)
    centre = phase[np.abs(phase) < 0.25] * SLOT_PS * 1e-12
    spread = math.sqrt(np.mean(centre**2))
    assert spread == pytest.approx(sigma_s, rel=4 / math.sqrt(2 * centre.size))

    rates = (1e5, 2e5, 0.0, 4e5)
    world = photon_bench(detectors={"dark_rate_hz": rates})
    _, detector = world.tags(duration_s)
    for d, rate_hz in enumerate(rates):
        expected = rate_hz * duration_s
        assert abs(np.sum(detector == d) - expected) <= 4 * math.sqrt(expected)
    assert np.all(world.truth[0]["cause"] == DARK)

    # Daybreak: background b t at the input, halved at each of the ports.
    world = photon_bench(
        channel={"length_km": 0, "background_slope_hz_per_s": 1e5},
        interferometer={"z_fraction": 0.8, "insertion_loss_db": 3.0},
    )
    _, detector = world.tags(2.0)
    total = 0.5 * 1e5 * 2.0**2 * 10**-0.3
    assert abs(detector.size - total) < 4 * math.sqrt(total)
    assert near(np.sum(detector == 2), detector.size, 0.1)


def test_efficiency_mismatch_and_shutter():
    eta = (0.9, 0.6, 0.3, 0.1)
    world = photon_bench(
        source={"full_scale_photons": 0.2},
        interferometer={"visibility": 0.0},
        detectors={"efficiency": eta},
        channel={"length_km": 0, "shutter_isolation_db": 0},
    )
    duration_s = play(world, np.ones(N), 0.0)
    _, detector = world.tags(duration_s)
    for d in range(4):
        expected = N * 0.2 * 0.25 * eta[d]
        assert abs(np.sum(detector == d) - expected) < 4 * math.sqrt(expected)
    world.set_level("signal", 0.0)
    assert world.tags(duration_s)[0].size == 0


def test_intensity_fluctuation_adds_its_variance():
    # Var n = mu + (sigma mu)^2. At 20 photons, all found, a slot without a click
    # in its own first half (all photons late) has a chance below 1e-5.
    sigma, mu, n = 0.1, 20.0, 20_000
    for relative in (sigma, 0.0):
        world = photon_bench(
            source={"full_scale_photons": mu, "intensity_fluctuation": relative}
        )
        world.tags(play(world, np.ones(n), 0.0))
        truth = world.truth[0]
        own = (truth["origin_slot"] == truth["slot"]) & (truth["slot"] < n)
        slot, first = np.unique(truth["slot"][own], return_index=True)
        assert slot.size >= n - 1
        emitted = truth["emitted"][own][first]
        variance = mu + (relative * mu) ** 2
        assert abs(emitted.mean() - mu) < 4 * math.sqrt(variance / n)
        # Fourth moment of a nearly Gaussian count: 3 v^2 (1 + 1 / mu), at most.
        error = variance * math.sqrt((2 + 3 / mu) / n)
        assert abs(emitted.var() - variance) < 4 * error


def test_tagger_clock_runs_at_its_own_rate_and_drifts():
    ppm, drift = 40.0, 0.5
    world = photon_bench(
        tagger={
            "clock_error_ppm": ppm,
            "clock_drift_ppm_per_s": drift,
            "pause_s": 10.0,
            "start_offset_s": (0.0, 0.01),
        }
    )
    play(world, np.full(N, 0.02), 0.0)
    starts = []
    for number in range(3):
        times_ps, _ = world.tags(0.012)
        truth = world.truth[number]
        t0_s = number * (0.012 + 10.0)
        assert float(truth["t0_s"]) == pytest.approx(t0_s)
        rate = 1 + 1e-6 * (ppm + drift * t0_s)
        assert float(truth["clock_ratio"]) == pytest.approx(rate, abs=1e-12)
        at = truth["origin_slot"] + 0.5 * truth["origin_window"]
        bench_ps = 1e12 * float(truth["start_s"]) + SLOT_PS * at
        curve = 0.5e-18 * drift * bench_ps**2
        assert np.max(np.abs(times_ps - rate * bench_ps - curve)) <= 0.51
        starts.append(float(truth["start_s"]))
    assert len(set(starts)) == 3
    assert min(starts) >= 0.0
    assert max(starts) <= 0.01
    assert world.clock.now_s() == pytest.approx(3 * 10.012)


def test_resolution_of_the_tagger():
    world = photon_bench(
        tagger={"resolution_ps": 100}, detectors={"dark_rate_hz": (1e5,) * 4}
    )
    times_ps, _ = world.tags(0.01)
    assert np.all(times_ps % 100 == 0)
    assert np.all(np.diff(times_ps) >= 0)


def test_counterfactual_error_is_that_of_the_check_basis():
    world = photon_bench(
        source={"full_scale_photons": 0.3},
        interferometer={"visibility": 0.94, "x_offset_rad": 0.3},
        detectors={"efficiency": (0.5,) * 4, "dark_rate_hz": (5e6,) * 4},
    )
    world.tags(play(world, np.ones(N), 0.0))
    truth = world.truth[0]
    one = truth["in_gate"] & (truth["emitted"] == 1)
    photon = one & (truth["cause"] == PHOTON)
    photon &= (truth["origin_window"] == 1) & (truth["origin_slot"] == truth["slot"])
    error = (1 - 0.94 * math.cos(0.3)) / 2
    assert near(truth["x_error"][photon].sum(), photon.sum(), error)
    dark = one & (truth["cause"] == DARK)
    assert dark.sum() > 100
    assert near(truth["x_error"][dark].sum(), dark.sum(), 0.5)


def test_only_a_photon_of_the_slots_own_centre_would_have_been_right():
    # With so much jitter satellites and neighbours fall into every gate.
    world = photon_bench(
        source={"full_scale_photons": 0.1}, detectors={"jitter_s": 2e-9}
    )
    world.tags(play(world, np.ones(N // 4), 0.0))
    truth = world.truth[0]
    centre, own = truth["origin_window"] == 1, truth["origin_slot"] == truth["slot"]
    assert not truth["x_error"][centre & own].any()
    for stray in (centre & ~own, ~centre & own, ~centre & ~own):
        assert stray.sum() > 500
        assert near(truth["x_error"][stray].sum(), stray.sum(), 0.5)


@pytest.mark.parametrize(
    ("table", "key", "moves_z"),
    [
        ("phase_modulator", "drift_rad_per_sqrt_s", True),
        ("interferometer", "drift_rad_per_sqrt_s", True),
        ("interferometer", "differential_drift_rad_per_sqrt_s", False),
    ],
)
def test_every_phase_drifts_where_it_should(table, key, moves_z):
    world = photon_bench(source={"full_scale_photons": 0.3}, **{table: {key: 0.1}})
    world.settings = world.settings.model_copy(
        update={"tagger": world.settings.tagger.model_copy(update={"pause_s": 50.0})}
    )
    duration_s = play(world, np.ones(N // 8), 0.0)
    errors = {"z": [], "x": []}
    for number in range(8):
        _, detector = centre_clicks(world, duration_s)
        truth = world.truth[number]
        for basis, port, first in (("z", 0, np.cos), ("x", 2, np.sin)):
            phase = truth[f"phase_{basis}_rad"].mean()
            mine = detector // 2 == port // 2
            chance = 0.5 * (1 - first(phase))
            assert near(np.sum(detector[mine] == port + 1), mine.sum(), chance)
            errors[basis].append(phase)
    # Steps of 0.7 rad between acquisitions, or none at all.
    assert (np.std(errors["z"]) > 0.05) == moves_z
    assert np.std(errors["x"]) > 0.05


def test_bias_lets_light_through_and_drifts():
    world = photon_bench(
        intensity_modulator={"bias_rad": 0.3, "bias_drift_rad_per_sqrt_s": 0.05},
        tagger={"pause_s": 4.0},
    )
    duration_s = play(world, np.zeros(N // 8), 0.0)
    seen = []
    for number in range(6):
        times_ps, _ = world.tags(duration_s)
        bias = world.truth[number]["bias_rad"].mean()
        expected = math.sin(bias) ** 2 * PULSE_HZ * duration_s
        # Up to 1/16 photon per outcome at mean 0.2: a loss below 2 per cent.
        assert abs(times_ps.size - expected) < 4 * math.sqrt(expected) + 0.05 * expected
        seen.append(bias)
    assert seen[0] == pytest.approx(0.3, abs=0.01)
    assert np.std(seen) > 0.01


REAL = {
    "source": {"intensity_fluctuation": 0.03},
    "intensity_modulator": {
        "extinction_ratio_db": 30.0,
        "pattern_effect": 0.02,
        "bias_drift_rad_per_sqrt_s": 0.5,
    },
    "channel": {
        "length_km": 20,
        "background_hz": 1e4,
        "fading": {"kind": "weibull", "correlation_time_s": 1e-3},
    },
    "interferometer": {"drift_rad_per_sqrt_s": 1.0, "visibility": 0.97},
    "detectors": {
        "dark_rate_hz": (1e3,) * 4,
        "dead_time_s": 5e-8,
        "afterpulse_probability": 0.05,
        "jitter_s": 5e-11,
    },
    "tagger": {"start_offset_s": (0.0, 2e-3)},
}


def acquire(world, chunk):
    duration_s = play(world, np.full(50_000, 0.8), 0.0)
    return [world.tags(duration_s, chunk=chunk) for _ in range(2)]


def test_pieces_do_not_matter_and_acquisitions_differ():
    worlds = [photon_bench(seed, **REAL) for seed in (5, 5, 6)]
    whole, pieces, other = (
        acquire(world, chunk)
        for world, chunk in zip(worlds, (1 << 20, 977, 1 << 20), strict=True)
    )
    for (t, d), (u, e) in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(t, u)
        np.testing.assert_array_equal(d, e)
    for key, values in worlds[0].truth[1].items():
        np.testing.assert_array_equal(values, worlds[1].truth[1][key])
    assert not np.array_equal(whole[0][0], whole[1][0])
    assert not np.array_equal(whole[0][0], other[0][0])
    # Where a piece overflows its buffer the walk goes on with the same slot.
    bright = photon_bench(5, source={"full_scale_photons": 20.0})
    again = photon_bench(5, source={"full_scale_photons": 20.0})
    (t, _), _ = acquire(bright, 64)
    (u, _), _ = acquire(again, 1 << 20)
    np.testing.assert_array_equal(t, u)


def test_the_truth_is_only_read_never_needed():
    kept = photon_bench(5, **REAL)
    silent = PhotonWorld(kept.settings, keep_truth=False)
    silent.set_level("signal", 2.0)
    for (t, d), (u, e) in zip(
        acquire(kept, 1 << 20), acquire(silent, 1 << 20), strict=True
    ):
        np.testing.assert_array_equal(t, u)
        np.testing.assert_array_equal(d, e)
    assert len(kept.truth) == 2
    assert silent.truth == []


def test_an_effect_switched_on_leaves_the_others_alone():
    quiet = photon_bench(7, source={"full_scale_photons": 0.1})
    noisy = photon_bench(
        7,
        source={"full_scale_photons": 0.1},
        detectors={"dark_rate_hz": (1e4,) * 4},
    )
    duration_s = play(quiet, np.ones(50_000), 0.0)
    play(noisy, np.ones(50_000), 0.0)
    times_ps, _ = quiet.tags(duration_s)
    more_ps, _ = noisy.tags(duration_s)
    photons = noisy.truth[0]["cause"] == PHOTON
    np.testing.assert_array_equal(times_ps, more_ps[photons])


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda w: w.play(np.zeros((3, 8), np.float32), 1e9), "shape"),
        (lambda w: w.play(np.zeros((2, 8)), 1e9), "float64"),
        (lambda w: w.play(np.full((2, 8), np.nan, np.float32), 1e9), "no numbers"),
        (lambda w: w.play(np.zeros((2, 8), np.float32), 4e8), "1.6 samples per slot"),
        (lambda w: w.set_level("pump", 1.0), "pump"),
        (lambda w: w.set_phase_v(math.inf), "inf"),
        (lambda w: w.tags(0.0), "0.0 s"),
        (lambda w: w.tags(1e-3, chunk=0), "chunk 0"),
    ],
)
def test_refused_calls_name_what_is_wrong(call, names):
    with pytest.raises(StateError, match=names):
        call(photon_bench())


def test_other_rates_of_the_generator_play_the_same_slots():
    world = photon_bench(source={"full_scale_photons": 0.5})
    n = 20_000
    for per_slot in (2, 4, 10):
        volts = np.zeros((2, n, per_slot), dtype=np.float32)
        volts[0, ::2] = 0.35  # full transmission in every second slot
        world.play(volts.reshape(2, -1), per_slot * PULSE_HZ)
        slot, _ = centre_clicks(world, START_S + n / PULSE_HZ)
        assert int(world.truth[-1]["n_slots"]) == n
        assert slot.size > 0
        assert np.all(slot % 2 == 0)
