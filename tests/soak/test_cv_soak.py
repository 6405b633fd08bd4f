"""The default CV bench over many seeds: delivery, honesty of the intervals, key.

Started by ``make soak AREA=cv``; about 20 minutes on two cores. Every limit is
from theory: Gaussian intervals, counted samples, the key formula.
"""

import math
import shutil

import numpy as np
import pytest
from run_kit import CONFIGS, PAYLOAD

from protocols.security.holevo import Channel, asymptotic_rate
from scqc.runs import live
from scqc.runs.lab_config import LoadedConfig, parse_config
from scqc.runs.progress import Silent

SIGMAS_999 = 3.2905
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def run(tmp_path, seed=1, changes=(), payload=PAYLOAD, name="cv_fiber_10km.toml"):
    """Run a shipped bench with some settings changed; drop its files."""
    text = (CONFIGS / name).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    loaded = LoadedConfig(parse_config(text), text, CONFIGS / name).with_seed(seed)
    folder = tmp_path / f"{seed}"
    result = live.run_live(loaded, payload, folder, Silent())
    shutil.rmtree(folder)
    return result.data


def figure(data, name):
    """Return (estimate, sigma) of an entry with a 99.9 % interval."""
    entry = data["quantum"][name]
    return entry["value"], (entry["high"] - entry["low"]) / (2 * SIGMAS_999)


def offsets(data):
    """Return how far T and xi are from the truth, in their own sigmas."""
    truth = data["quantum"]["truth"]
    t, t_sigma = figure(data, "transmittance")
    xi, xi_sigma = figure(data, "xi_snu")
    return (
        (t - truth["transmittance"]) / t_sigma,
        (xi - truth["xi_expected_snu"]) / xi_sigma,
        (xi - truth["xi_injected_snu"]) / xi_sigma,
    )


def theory_sigma(data):
    """Return sigma of xi for all symbols and equally long calibrations [SNU]."""
    truth = data["quantum"]["truth"]
    gain = 0.5 * 0.85 * truth["transmittance"]
    noise = 1.05 + gain * truth["xi_expected_snu"]
    n = 2 * data["key"]["symbols"]
    return math.hypot(noise, 1.05) * math.sqrt(2.0 / n) / gain


def show(title, data):
    z = offsets(data)
    reconciliation = data["reconciliation"]
    print(
        f"{title:>24s}  T {z[0]:+5.2f}  xi {z[1]:+5.2f} sigma of the truth, "
        f"{figure(data, 'xi_snu')[0]:+.4f} SNU, raw BER "
        f"{data['classical']['ber_raw']:.4f}, frames lost "
        f"{data['classical']['frames_lost']}/{data['classical']['frames']}, beta "
        f"{reconciliation['beta']:.3f}, FER {reconciliation['fer']:.3f}, "
        f"key {data['key']['secret_bits']} bits"
    )


def test_cv_twenty_seeds(tmp_path):
    inside_t = inside_xi = 0
    for seed in range(1, 21):
        data = run(tmp_path, seed)
        show(f"seed {seed}", data)
        assert data["payload"]["delivered"], seed
        assert data["key"]["secret_bits"] > 0, seed
        assert data["key"]["agree"], seed
        z_t, z_xi, z_injected = offsets(data)
        inside_t += abs(z_t) <= SIGMAS_999
        inside_xi += abs(z_xi) <= SIGMAS_999
        assert z_injected > -3.0, seed
        assert figure(data, "xi_snu")[1] <= 1.2 * theory_sigma(data), seed
    assert inside_t >= 19
    assert inside_xi >= 19


def test_cv_frame_loss_does_not_select(tmp_path):
    """Few decoder iterations lose about a tenth of the frames; xi stays honest."""
    changes = (
        ("target_raw_ber = 1e-2", "target_raw_ber = 0.0455"),
        ("fec_iterations = 30", "fec_iterations = 8"),
    )
    scores = []
    for seed in (1, 2, 3):
        data = run(tmp_path, seed, changes, payload=b"")
        show(f"frame loss, seed {seed}", data)
        lost = data["classical"]["frames_lost"] / data["classical"]["frames"]
        assert 0.02 < lost < 0.4
        scores.append(offsets(data)[1])
        assert offsets(data)[2] > -3.0
    # The mean of three unbiased scores has sigma 1/sqrt(3).
    assert abs(np.mean(scores)) < SIGMAS_999 / math.sqrt(3)


def test_cv_injected_noise_is_recovered_and_costs_key(tmp_path):
    keys = []
    for injected in (0.0, 0.01, 0.03, 0.1):
        change = ("excess_noise_snu = 0.005", f"excess_noise_snu = {injected}")
        data = run(tmp_path, 5, (change,))
        show(f"injected {injected}", data)
        assert abs(offsets(data)[1]) < SIGMAS_999, injected
        assert offsets(data)[2] > -3.0, injected
        keys.append(data["key"]["secret_bits"])
        truth = data["quantum"]["truth"]
        worst = truth["xi_expected_snu"] + 7.0 * theory_sigma(data)
        channel = Channel(2.0, truth["transmittance"], worst, 0.85, 0.05)
        rate = asymptotic_rate(channel, data["reconciliation"]["beta"])
        # Finite-size terms cost below 0.02 bit per symbol here.
        if rate < 0.0:
            assert keys[-1] == 0, injected
        if rate > 0.03:
            assert keys[-1] > 0, injected
    assert keys == sorted(keys, reverse=True)
    assert keys[0] > keys[1] > keys[2]


def test_cv_raw_errors_of_three_percent(tmp_path):
    data = run(tmp_path, 1, name="cv_ber_3e-2.toml")
    show("raw BER 3e-2", data)
    assert data["payload"]["delivered"]
    assert 0.027 < data["classical"]["ber_raw"] < 0.033
    assert abs(offsets(data)[1]) < SIGMAS_999


def test_cv_ten_kilohertz_lasers_end_in_an_honest_verdict(tmp_path):
    """Tails of the pilots drown the key; the payload still arrives."""
    changes = (("linewidth_hz = 100.0", "linewidth_hz = 10e3"),)
    data = run(tmp_path, 1, changes)
    show("10 kHz lasers", data)
    assert data["payload"]["delivered"]
    assert data["key"]["secret_bits"] == 0


def test_cv_ten_kilohertz_lasers_with_a_wide_frame_give_a_key(tmp_path):
    data = run(tmp_path, 1, name="cv_10khz_lasers.toml")
    show("10 kHz, wide frame", data)
    assert data["payload"]["delivered"]
    assert data["key"]["secret_bits"] > 0
    assert abs(offsets(data)[0]) < SIGMAS_999
    assert abs(offsets(data)[1]) < SIGMAS_999
    assert offsets(data)[2] > -3.0


def test_cv_plain_gaussian_modulation_gives_a_key(tmp_path):
    data = run(tmp_path, 1, payload=b"", name="cv_gmcs_10km.toml")
    show("plain GMCS", data)
    assert data["key"]["secret_bits"] > 0
    assert abs(offsets(data)[0]) < SIGMAS_999
    assert abs(offsets(data)[1]) < SIGMAS_999
