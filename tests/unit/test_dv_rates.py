"""Decoy rates over arrays, fading, published forms, planned blocks."""

import math
from dataclasses import replace

import numpy as np
import pytest

from protocols.security import decoy_asymptotic, dv_rates
from protocols.security.decoy import Counts, Intensities, estimate
from protocols.security.dv_finite import (
    PhotonBlock,
    expected_balance,
    expected_counts,
    expected_ledger,
    slot_rates,
)
from protocols.security.dv_rates import (
    Decoys,
    PhotonLink,
    PublishedBlock,
    click_rate,
    gains,
    key_per_slot,
    message_per_slot,
    published_key_per_slot,
    refill,
    single_error,
    single_yield,
    wrong_click_rate,
)
from scqc.core.errors import ModelRangeError

DECOYS = Decoys(0.6, 0.2, 0.5, 1.05)
INTENSITIES = Intensities((0.6, 0.2, 0.0), (0.8, 0.1, 0.1))
ETA = np.logspace(-5, -0.5, 12)


def test_arrays_are_the_points():
    link = PhotonLink(ETA, 2e-6, 0.015)
    found = gains(link, DECOYS)
    for i, eta in enumerate(ETA):
        channel = decoy_asymptotic.PhotonChannel(eta, 2e-6, 0.015)
        one = decoy_asymptotic.key_per_slot(channel, 0.6, 0.2)
        assert key_per_slot(found, DECOYS)[i] == pytest.approx(one, rel=1e-9, abs=1e-15)
        message = decoy_asymptotic.message_per_slot(channel, 0.6)
        assert message_per_slot(found, DECOYS)[i] == pytest.approx(message, rel=1e-12)


def test_bounds_are_on_the_safe_side_of_the_truth():
    link = PhotonLink(ETA, 2e-6, 0.015)
    found = gains(link, DECOYS)
    y1 = 1 - (1 - 2e-6) * (1 - ETA)
    e1 = (0.5 * 2e-6 + 0.015 * (1 - 2e-6) * ETA) / y1
    assert np.all(single_yield(found, DECOYS) <= y1 * (1 + 1e-9))
    assert np.all(single_error(found, DECOYS) >= e1 * (1 - 1e-9))


def test_a_padded_message_always_drains_the_sink():
    link = PhotonLink(ETA, np.array([0.0, 1e-6, 2e-4])[:, None], 0.01)
    found = gains(link, DECOYS)
    share = refill(found, DECOYS)
    assert share.shape == (3, 12)
    assert np.all((share >= 0.0) & (share < 1.0))
    none = key_per_slot(found, DECOYS) <= 0.0
    assert np.all(share[none] == 0.0)
    assert np.any(none)
    assert np.any(share > 0.25)


def test_fading_adds_up_clicks_not_keys():
    weights = np.array([0.25, 0.75])
    states = np.array([0.02, 1e-4])
    link = PhotonLink(states[:, None] * np.ones(3), 2e-5, 0.01, weights)
    found = gains(link, DECOYS)
    assert found.signal.shape == (3,)
    # By hand, from one slot in four of each state.
    by_state = [gains(PhotonLink(t, 2e-5, 0.01), DECOYS) for t in states]
    mean = 0.25 * by_state[0].signal + 0.75 * by_state[1].signal
    assert found.signal[0] == pytest.approx(float(mean), rel=1e-12)
    whole = float(key_per_slot(found, DECOYS)[0])
    apart = float(weights @ [float(key_per_slot(g, DECOYS)) for g in by_state])
    # A mean of key rates would claim what the added counts do not prove.
    assert 0.0 < whole < 0.99 * apart
    # A state that never occurs changes nothing.
    never = PhotonLink(np.array([0.02, 0.3]), 2e-5, 0.01, np.array([1.0, 0.0]))
    assert gains(never, DECOYS).signal == pytest.approx(float(by_state[0].signal))


@pytest.mark.parametrize("broken", ["background", "errors", "entropy"])
def test_a_term_less_is_seen(broken, monkeypatch):
    link = PhotonLink(3e-3, 2e-4, 0.01)
    right = float(key_per_slot(gains(link, DECOYS), DECOYS))
    scale = float(gains(link, DECOYS).signal)
    if broken == "background":
        monkeypatch.setattr(dv_rates, "RANDOM_CLICK", 0.0)
    elif broken == "errors":
        monkeypatch.setattr(dv_rates, "_correction", lambda found, decoys: 0.0)
    else:
        monkeypatch.setattr(dv_rates, "binary_entropy", lambda p: 0.0 * np.asarray(p))
    wrong = float(key_per_slot(gains(link, DECOYS), DECOYS))
    assert wrong > right + 1e-2 * scale


def test_published_form_approaches_the_endless_key_from_below():
    found = gains(PhotonLink(0.01, 2.024e-4, 0.01), DECOYS)
    slots = np.logspace(8, 18, 11)
    keys = published_key_per_slot(found, DECOYS, PublishedBlock(slots))
    limit = float(key_per_slot(found, DECOYS))
    assert np.all(np.diff(keys) > 0.0)
    assert np.all(keys < limit)
    assert keys[-1] == pytest.approx(limit, rel=1e-3)
    # By hand: delta of 1e6 counts at 1e-10 is 9.7e-3.
    log = math.log(0.5e-10)
    delta = (-3 * log + math.sqrt(log**2 - 8 * log * 1e6)) / (2 * (1e6 + log))
    low, high = dv_rates._chernoff(np.array(1e-3), 1e9, 1e-10)
    assert low == pytest.approx(1e-3 / (1 + delta))
    assert high == pytest.approx(1e-3 / (1 - delta))
    # Below 142 counts the form says nothing.
    assert published_key_per_slot(found, DECOYS, PublishedBlock(1e5)) < 0.0


def test_planned_counts_go_through_the_bench_code():
    link = PhotonLink(0.01, 1e-6, 0.01)
    block = PhotonBlock(1e10, 0.8, 1.2, 0.0, 1e5)
    rates = slot_rates(link, INTENSITIES)
    key = expected_counts(rates, INTENSITIES, 1e10 * 0.64)
    signal = 1e10 * 0.64 * 0.8 * float(click_rate(link, 0.6))
    assert key.detections[0] == round(signal)
    wrong = 1e10 * 0.64 * 0.8 * float(wrong_click_rate(link, 0.6))
    assert key.errors[0] == round(wrong)
    check = expected_counts(rates, INTENSITIES, 1e10 * 0.2**2)
    bounds = estimate(key, check, INTENSITIES, 1e-10)
    ledger = expected_ledger(link, INTENSITIES, block)
    assert ledger.single_bits == bounds.single
    assert ledger.sifted_bits == key.total
    entropy = float(dv_rates.binary_entropy(key.error_rate))
    assert ledger.published_bits == math.ceil(1.2 * entropy * key.total)
    assert 0 < ledger.secret_bits < key.total


def test_planned_keys_fall_with_every_cost():
    link = PhotonLink(0.01, 1e-6, 0.01)

    def key(link=link, **changes):
        block = replace(PhotonBlock(1e10, 0.8), **changes)
        return expected_ledger(link, INTENSITIES, block).balance_bits

    best = key()
    assert key(efficiency=1.4) < best
    assert key(fer=0.1) < best
    assert key(secrecy=1e-14) < best
    assert key(slots=1e9) / 1e9 < best / 1e10
    for worse in (
        PhotonLink(0.008, 1e-6, 0.01),
        PhotonLink(0.01, 1e-4, 0.01),
        PhotonLink(0.01, 1e-6, 0.03),
    ):
        assert key(worse) < best


def test_planned_keys_by_the_array():
    t = np.array([[1e-4, 1e-2], [1e-3, 0.1]])
    block = PhotonBlock(1e10, 0.8)
    found = expected_balance(PhotonLink(t, 1e-6, 0.01), INTENSITIES, block)
    assert found.shape == (2, 2)
    one = expected_ledger(PhotonLink(0.1, 1e-6, 0.01), INTENSITIES, block)
    assert found[1, 1] == one.balance_bits
    states = np.stack([0.5 * t, 1.5 * t])
    fading = PhotonLink(states, 1e-6, 0.01, np.array([0.5, 0.5]))
    faded = expected_balance(fading, INTENSITIES, block)
    # Almost linear in the transmittance: fading costs next to nothing.
    np.testing.assert_allclose(faded, found, rtol=0.05)


@pytest.mark.parametrize(
    "link",
    [
        PhotonLink(1.1, 0.0, 0.0),
        PhotonLink(0.1, -0.1, 0.0),
        PhotonLink(0.1, 0.0, 1.5),
        PhotonLink(np.array([0.1, 0.2]), 0.0, 0.0, np.array([0.5, 0.6])),
    ],
)
def test_unphysical_links_are_refused(link):
    with pytest.raises(ModelRangeError):
        gains(link, DECOYS)
    with pytest.raises(ModelRangeError, match="decoy over signal"):
        gains(PhotonLink(0.1, 0.0, 0.0), Decoys(0.2, 0.6))


def test_more_errors_than_clicks_are_never_planned():
    rates = slot_rates(PhotonLink(1e-9, 0.6, 0.0), INTENSITIES)
    counts = expected_counts(rates, INTENSITIES, 17)
    assert isinstance(counts, Counts)
