"""The whole light path, seen by a slow demodulator written here.

Nothing of the receiver under test elsewhere is used: the reference forms
z = sqrt(2) sum x_n g_n exp(-j w n) with sum g^2 = 1, window by window.
"""

import math

import numpy as np
import pytest

from scqc.core.errors import StateError
from sim_backends.optics.modulator import full_scale_field
from sim_backends.optics.receiver import lo_noise_rms
from sim_backends.settings import SimSettings
from sim_backends.world import World

RATE_HZ = 4e8
START = 800  # 2 us at 400 MSa/s
WINDOW = 80
IDEAL = {
    "laser": {"linewidth_hz": 0, "rin_db_per_hz": 0},
    "lo": {"linewidth_hz": 0, "rin_db_per_hz": 0},
    "awg": {"bandwidth_hz": 0, "skew_s": 0},
    "modulator": {
        "extinction_ratio_db": 0,
        "imbalance_db": 0,
        "quadrature_error_rad": 0,
        "bias_drift_rad_per_sqrt_s": 0,
    },
    "channel": {
        "length_km": 0,
        "dispersion_ps_per_nm_km": 0,
        "excess_noise_snu": 0,
        "polarisation_drift_rad_per_sqrt_s": 0,
    },
    "receiver": {
        "efficiency": 1.0,
        "electronic_noise_snu": 0,
        "shot_noise": False,
        "bandwidth_hz": 0,
        "cmrr_db": 0,
        "lo_offset_error_hz": 0,
        "lo_drift_hz_per_s": 0,
        "shutter_isolation_db": 0,
        "start_offset_s": (2e-6, 2e-6),
    },
    "digitizer": {"clock_error_ppm": 0},
}


def bench(**changes):
    """A bench with every effect off but the ones given."""
    tables = {name: IDEAL.get(name, {}) | changes.get(name, {}) for name in IDEAL}
    rest = {key: value for key, value in changes.items() if key not in IDEAL}
    world = World(SimSettings(**tables, **rest))
    world.set_level("signal", 2.0)
    world.set_level("lo", 2.0)
    return world


def shot_noise(world, n, **kwargs):
    """A record in units of the rms shot noise."""
    volts = world.record(n, RATE_HZ, **kwargs).astype(float)
    return volts / world.settings.receiver.shot_noise_v_rms


def volts_for(field, settings):
    """Generator volts that make the ideal modulator emit `field`."""
    scale = full_scale_field(settings, RATE_HZ)
    gain = 10 ** (settings.modulator.driver_gain_db / 20)
    arcs = np.arcsin(np.stack([field.real, field.imag]) / scale)
    return (arcs * 2 * settings.modulator.v_pi_v / (np.pi * gain)).astype(np.float32)


def play_tones(world, n, tones):
    m = np.arange(n)
    field = sum(a * np.exp(2j * np.pi * f / RATE_HZ * m) for f, a in tones)
    world.play(volts_for(field, world.settings), RATE_HZ)
    return field


HANN = np.hanning(WINDOW + 2)[1:-1] / np.linalg.norm(np.hanning(WINDOW + 2))


def demodulate(x, frequency_hz, g=HANN):
    n = np.arange(x.size // g.size * g.size)
    mixed = x[: n.size] * np.exp(-2j * np.pi * frequency_hz / RATE_HZ * n)
    return math.sqrt(2) * mixed.reshape(-1, g.size) @ g


def symbols_at_signal_frequency(world, n_symbols, seed=0):
    """Play random complex symbols; return them as X = sum e_n g_n."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=n_symbols) + 1j * rng.normal(size=n_symbols)
    m = np.arange(n_symbols * WINDOW)
    carrier = np.exp(-2j * np.pi * 55e6 / RATE_HZ * m)
    world.play(volts_for(np.repeat(levels, WINDOW) * carrier, world.settings), RATE_HZ)
    return levels * HANN.sum()


def received_symbols(world, n_symbols):
    x = shot_noise(world, START + n_symbols * WINDOW)[START:]
    turns = 150e6 * START / RATE_HZ
    return demodulate(x, 95e6) * np.exp(-2j * np.pi * turns)


def test_everything_off_is_the_modulated_beat_and_nothing_else():
    world = bench()
    field = play_tones(world, 5000, [(-55e6, 2.0), (-118e6, 30.0), (-5e6, 10.0)])
    x = shot_noise(world, 6000)
    n = np.arange(START, START + 5000)
    ideal = (field * np.exp(2j * np.pi * 150e6 / RATE_HZ * n)).real
    assert np.max(np.abs(x[n] - ideal)) < 2e-5 * 42
    # Rounding of the instants leaves the interpolation's ringing at 1e-7.
    assert np.max(np.abs(x[:START])) < 1e-5
    assert np.max(np.abs(x[START + 5000 :])) < 1e-5
    assert not x[: START - 20].any()


def test_no_effects_no_randomness():
    records = []
    for seed in (1, 2):
        world = bench(seed=seed)
        play_tones(world, 4000, [(-55e6, 5.0)])
        records.append(world.record(6000, RATE_HZ))
    assert np.array_equal(*records)


def test_dark_ideal_bench_is_silent():
    world = bench()
    play_tones(world, 4000, [(-55e6, 5.0)])
    world.set_level("signal", 0.0)
    assert not world.record(5000, RATE_HZ).any()


def test_both_shutters_start_closed():
    world = World(SimSettings(receiver=IDEAL["receiver"]))
    world.play(np.full((2, 4000), 0.3, np.float32), RATE_HZ)
    assert not world.record(5000, RATE_HZ).any()


@pytest.mark.parametrize("efficiency", [1.0, 0.85])
@pytest.mark.parametrize("length_km", [0.0, 10.0])
def test_symbols_arrive_with_amplitude_root_half_eta_t(efficiency, length_km):
    world = bench(receiver={"efficiency": efficiency}, channel={"length_km": length_km})
    sent = symbols_at_signal_frequency(world, 500)
    got = received_symbols(world, 500)
    eta_t = efficiency * 10 ** (-0.02 * length_km)
    # The image at 2 w leaves the Hann window's side lobe, below 1e-4.
    assert np.allclose(got, math.sqrt(eta_t / 2) * sent, atol=2e-4 * np.abs(sent).max())


def variance_of_parts(z):
    """Variance per real part and its 5 sigma, relative."""
    parts = np.concatenate([z.real, z.imag])
    return parts.var(), 5 * math.sqrt(2 / parts.size)


N = 1 << 22


@pytest.mark.parametrize("v_el", [0.0, 0.05])
def test_shot_noise_is_one_unit_per_sample_and_per_quadrature(v_el):
    world = bench(receiver={"shot_noise": True, "electronic_noise_snu": v_el})
    x = shot_noise(world, N)
    assert x.var() == pytest.approx(1 + v_el, rel=5 * math.sqrt(2 / N))
    for lag in (1, 2, 3, 8, 100):
        assert abs(np.mean(x[lag:] * x[:-lag])) < 5 * (1 + v_el) / math.sqrt(N)
    got, tolerance = variance_of_parts(demodulate(x, 95e6))
    assert got == pytest.approx(1 + v_el, rel=tolerance)


def test_lo_blocked_leaves_electronic_noise():
    world = bench(receiver={"shot_noise": True, "electronic_noise_snu": 0.05})
    world.set_level("lo", 0.0)
    assert shot_noise(world, N).var() == pytest.approx(0.05, rel=5 * math.sqrt(2 / N))


def test_excess_noise_is_half_eta_t_xi_per_quadrature():
    xi, eta, length_km = 0.8, 0.85, 10.0
    world = bench(
        channel={"excess_noise_snu": xi, "length_km": length_km},
        receiver={"efficiency": eta},
    )
    expected = eta * 10 ** (-0.02 * length_km) * xi / 2
    got, tolerance = variance_of_parts(demodulate(shot_noise(world, N), 95e6))
    assert got == pytest.approx(expected, rel=tolerance)
    # White noise enters through the image band too: the test can tell.
    world = bench(
        channel={
            "excess_noise_snu": xi,
            "length_km": length_km,
            "noise_band_width_hz": RATE_HZ,
        },
        receiver={"efficiency": eta},
    )
    got, _ = variance_of_parts(demodulate(shot_noise(world, N), 95e6))
    assert got == pytest.approx(2 * expected, rel=tolerance)


def test_excess_noise_stays_out_of_the_pilots():
    world = bench(channel={"excess_noise_snu": 1.0})
    x = shot_noise(world, N)
    for pilot_hz in (32e6, 145e6):
        got, _ = variance_of_parts(demodulate(x, pilot_hz, np.hanning(800) / 17.3))
        assert got < 1e-5


def test_excess_noise_reaches_the_signal_only_when_it_is_let_in():
    world = bench(channel={"excess_noise_snu": 1.0})
    world.set_level("signal", 0.0)
    assert not shot_noise(world, 5000).any()


def test_displaced_symbols_on_a_full_bench_have_the_stated_model():
    """y = sqrt(eta T / 2) X + n, Var n = 1 + v_el + eta T xi / 2."""
    xi, eta, v_el = 0.3, 0.85, 0.05
    world = bench(
        channel={"excess_noise_snu": xi, "length_km": 10.0},
        receiver={
            "efficiency": eta,
            "electronic_noise_snu": v_el,
            "shot_noise": True,
        },
    )
    count = N // WINDOW
    sent = symbols_at_signal_frequency(world, count)
    got = received_symbols(world, count)
    x = np.concatenate([sent.real, sent.imag])
    y = np.concatenate([got.real, got.imag])
    gain = (x @ y) / (x @ x)
    noise = y - gain * x
    eta_t = eta * 10**-0.2
    variance = 1 + v_el + eta_t * xi / 2
    sigma = math.sqrt(variance / (x @ x))
    assert gain == pytest.approx(math.sqrt(eta_t / 2), abs=5 * sigma + 2e-4)
    assert noise.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / x.size))


@pytest.mark.parametrize("ppm", [3.0, -50.0])
def test_clock_error_shifts_tones_exactly(ppm):
    world = bench(digitizer={"clock_error_ppm": ppm})
    n = 400_000
    play_tones(world, n + 5000, [(-55e6, 20.0)])
    x = shot_noise(world, n)[2 * START :]
    f = 95e6 * (1 + 1e-6 * ppm)
    flat = np.angle(demodulate(x, f, np.full(80, 80**-0.5)))
    assert np.ptp(np.unwrap(flat)) < 5e-3
    # 3 ppm off in the reference alone is 1.8 rad over the record.
    wrong = np.unwrap(np.angle(demodulate(x, 95e6, np.full(80, 80**-0.5))))
    drift = 2 * np.pi * 95e6 * 1e-6 * ppm * (x.size - 80) / RATE_HZ
    assert wrong[-1] - wrong[0] == pytest.approx(drift, abs=1e-2)


def test_clock_drift_bends_the_phase():
    world = bench(digitizer={"clock_drift_ppm_per_s": 5.0})
    world.clock.advance(2.0)
    n = 1_000_000
    play_tones(world, n + 5000, [(-55e6, 20.0)])
    z = demodulate(shot_noise(world, n)[2 * START :], 95e6, np.full(80, 80**-0.5))
    t = (np.arange(z.size) * 80 + 40 + 2 * START) / RATE_HZ
    turns = 95e6 * (10e-6 * t + 2.5e-6 * t * t)
    error = np.unwrap(np.angle(z)) - 2 * np.pi * turns
    assert np.ptp(error) < 5e-3


def test_local_oscillator_offset_and_drift():
    world = bench(receiver={"lo_offset_error_hz": 1e6, "lo_drift_hz_per_s": 1e6})
    world.clock.advance(0.5)
    n = 1_000_000
    play_tones(world, n + 5000, [(-56e6, 20.0)])
    z = demodulate(shot_noise(world, n)[2 * START :], 95.5e6, np.full(80, 80**-0.5))
    t = (np.arange(z.size) * 80 + 40 + 2 * START) / RATE_HZ
    error = np.unwrap(np.angle(z)) - 2 * np.pi * (0.5e6 * t * t)
    # Carried over 80 samples the drift itself is 1e-8 rad.
    assert np.ptp(error) < 2e-2


def test_beat_has_the_sum_of_both_linewidths():
    """Var of the phase over k windows of length tau: 2 pi dnu tau (k - 1/3)."""
    world = bench(laser={"linewidth_hz": 3e4}, lo={"linewidth_hz": 7e4})
    n = N
    play_tones(world, n, [(-50e6, 50.0)])
    x = shot_noise(world, n)[START : START + n // 2]
    phase = np.unwrap(np.angle(demodulate(x, 100e6, np.full(40, 40**-0.5))))
    k, tau_s = 5, 40 / RATE_HZ
    steps = phase[k::k] - phase[:-k:k]
    expected = 2 * math.pi * 1e5 * tau_s * (k - 1 / 3)
    # Neighbouring steps share one window: correlation -1/6 at most.
    tolerance = 5 * math.sqrt(2 * (1 + 2 / 36) / steps.size)
    assert steps.var() / expected == pytest.approx(1, abs=tolerance + 0.01)


def test_dispersion_turns_tones_by_the_square_of_their_frequency():
    channel = {"length_km": 1000.0, "attenuation_db_per_km": 0.0}
    tones = [(-100e6, 20.0), (-50e6, 20.0)]
    phases = []
    for d in (0.0, 200.0):
        world = bench(channel=channel | {"dispersion_ps_per_nm_km": d})
        play_tones(world, 40_000, tones)
        x = shot_noise(world, 40_000)[START + 400 : START + 32_400]
        g = np.full(32_000, 32_000**-0.5)
        phases.append([np.angle(demodulate(x, f, g)[0]) for f in (50e6, 100e6)])
    turned = np.subtract(phases[1], phases[0])
    lam, c = 1550e-9, 299_792_458.0
    b = np.pi * 200e-6 * 1e6 * lam**2 / c
    assert turned == pytest.approx([b * 1e16, b * 25e14], abs=1e-3 * b * 1e16)


def test_skew_delays_q_against_i():
    """I cos, Q sin of one tone: a skew makes an image of relative size pi f tau."""
    skew_s, f = 1e-10, 50e6
    world = bench(awg={"skew_s": skew_s})
    play_tones(world, 40_000, [(f, 20.0)])
    # Tone at 200 MHz would fold; look at the image, at 150 - 50 = 100 MHz.
    x = shot_noise(world, 40_000)[START + 400 : START + 32_400]
    image = demodulate(x, 100e6, np.full(32_000, 32_000**-0.5))[0]
    expected = 20.0 * math.sin(math.pi * f * skew_s) * math.sqrt(32_000 / 2)
    assert abs(image) == pytest.approx(expected, rel=2e-3)


def test_polarisation_angle_takes_its_cosine():
    sizes = []
    for angle in (0.0, 0.5):
        world = bench(channel={"polarisation_rad": angle})
        symbols_at_signal_frequency(world, 50)
        sizes.append(received_symbols(world, 50))
    assert np.allclose(sizes[1], math.cos(0.5) * sizes[0], rtol=1e-5)


def test_closed_shutter_leaks_by_its_isolation():
    sizes = []
    for level in (2.0, 0.0):
        world = bench(receiver={"shutter_isolation_db": 40})
        world.set_level("signal", level)
        symbols_at_signal_frequency(world, 50)
        sizes.append(received_symbols(world, 50))
    assert np.allclose(sizes[1], 0.01 * sizes[0], rtol=1e-5)


def test_finite_extinction_leaks_a_carrier():
    world = bench(modulator={"extinction_ratio_db": 30})
    x = shot_noise(world, 8000)
    leak = demodulate(x, 150e6, np.full(8000, 8000**-0.5))[0]
    field = full_scale_field(world.settings, RATE_HZ) * 10 ** (-30 / 20)
    assert abs(leak) == pytest.approx(field * math.sqrt(8000 / 2), rel=1e-4)


def test_detector_bandwidth_acts_on_light_and_shot_noise_alike():
    size, ratio = [], []
    for bandwidth_hz in (0.0, 1e8):
        front = {"bandwidth_hz": bandwidth_hz}
        world = bench(receiver=front)
        symbols_at_signal_frequency(world, 2000)
        size.append(np.std(received_symbols(world, 2000)))
        world = bench(receiver=front | {"shot_noise": True})
        g = np.hanning(400) / np.linalg.norm(np.hanning(400))
        noise, tolerance = variance_of_parts(demodulate(shot_noise(world, N), 95e6, g))
        ratio.append(size[-1] / math.sqrt(noise))
    assert size[1] / size[0] == pytest.approx(1 / math.hypot(1, 0.95), rel=2e-2)
    assert ratio[1] / ratio[0] == pytest.approx(1, abs=tolerance + 2e-2)


def test_lo_intensity_noise_adds_to_the_shot_noise():
    lo = {"power_dbm": 10, "rin_db_per_hz": -140}
    world = bench(lo=lo, receiver={"shot_noise": True, "cmrr_db": 30})
    expected = 1 + lo_noise_rms(world.settings, RATE_HZ) ** 2
    assert expected > 1.3
    got = shot_noise(world, N).var()
    assert got == pytest.approx(expected, rel=5 * math.sqrt(2 / N))


@pytest.mark.parametrize("chunk", [1 << 14, 99_991, 1 << 20])
def test_piece_size_changes_nothing(chunk):
    settings = SimSettings(
        laser={"linewidth_hz": 1e4}, digitizer={"clock_drift_ppm_per_s": 1.0}
    )
    samples = np.random.default_rng(1).normal(0, 0.05, (2, 300_000))
    records = []
    for piece in (1 << 16, chunk):
        world = World(settings)
        world.set_level("signal", 2.0)
        world.set_level("lo", 2.0)
        world.play(samples.astype(np.float32), RATE_HZ)
        records.append([world.record(310_001, RATE_HZ, piece) for _ in range(2)])
    assert np.array_equal(records[0][0], records[1][0])
    assert np.array_equal(records[0][1], records[1][1])
    assert not np.array_equal(records[0][0], records[0][1])


@pytest.mark.parametrize(
    "added",
    [
        {"laser": {"linewidth_hz": 1e4, "rin_db_per_hz": -120}},
        {"channel": {"excess_noise_snu": 0.5, "length_km": 10.0}},
        {"channel": {"polarisation_drift_rad_per_sqrt_s": 0.1}},
        {"modulator": {"bias_drift_rad_per_sqrt_s": 0.1, "extinction_ratio_db": 20}},
        {"receiver": {"start_offset_s": (2e-6, 6e-6), "shot_noise": True}},
    ],
)
def test_adding_an_effect_leaves_the_shot_noise_as_it_was(added):
    """The second record, with the light blocked, is the same noise."""
    records = []
    for changes in ({}, added):
        front = {"shot_noise": True} | changes.get("receiver", {})
        world = bench(**(changes | {"receiver": front}))
        play_tones(world, 20_000, [(-55e6, 5.0)])
        world.record(30_000, RATE_HZ)
        world.set_level("signal", 0.0)
        records.append(world.record(30_000, RATE_HZ))
    assert np.array_equal(*records)


def test_records_never_share_noise_and_time_moves_on():
    world = bench(receiver={"shot_noise": True})
    first, second = (world.record(100_000, RATE_HZ).astype(float) for _ in range(2))
    assert world.clock.now_s() == pytest.approx(200_000 / RATE_HZ)
    r = np.corrcoef(first, second)[0, 1]
    assert abs(r) < 5 / math.sqrt(first.size)


def test_start_is_unknown_within_its_range():
    world = bench(receiver={"start_offset_s": (2e-6, 6e-6)})
    world.play(np.full((2, 4000), 0.3, np.float32), RATE_HZ)
    starts = [
        np.flatnonzero(np.abs(world.record(6000, RATE_HZ)) > 1e-6)[0] / RATE_HZ
        for _ in range(50)
    ]
    # The interpolation's ringing shows up to 16 samples early.
    assert min(starts) > 2e-6 - 17 / RATE_HZ
    assert max(starts) < 6e-6
    assert np.ptp(starts) > 2e-6


def test_stopped_generator_plays_nothing():
    world = bench()
    play_tones(world, 4000, [(-55e6, 5.0)])
    world.stop()
    assert not world.record(5000, RATE_HZ).any()


def test_wrong_calls_are_refused():
    world = bench()
    with pytest.raises(StateError, match=r"\(2, n\)"):
        world.play(np.zeros(10, np.float32), RATE_HZ)
    with pytest.raises(StateError, match="float64"):
        world.play(np.zeros((2, 10)), RATE_HZ)
    with pytest.raises(StateError, match="no switch"):
        world.set_level("pump", 1.0)
    with pytest.raises(StateError, match="0 samples"):
        world.record(0, RATE_HZ)
