"""Dividing the uses against sharing the light."""

import numpy as np
import pytest

from protocols.security.coexistence import (
    Neighbour,
    Point,
    Shares,
    advantage,
    beside_gaussian,
    beside_photons,
    divided,
    key_at,
    pareto_front,
    stray_photons,
)
from protocols.security.cv_rates import Link, Receiver, rates
from protocols.security.displacement import ClassicalLayer, Imperfections, displace
from protocols.security.dv_rates import PhotonLink, click_rate
from scqc.core.errors import ModelRangeError

LINK, RECEIVER = Link(0.5, 4.0, 0.01), Receiver(0.7, 0.1)


def test_uses_are_never_spent_twice():
    shares = Shares("time", np.linspace(0, 1, 11), 0.1)
    for_data, for_key = shares.used
    total = for_data + for_key
    assert np.all(total <= 1.0 + 1e-12)
    np.testing.assert_allclose(total[1:-1], 0.9)
    # Nothing divided, nothing guarded.
    assert total[0] == total[-1] == 1.0
    with pytest.raises(ModelRangeError, match="share"):
        assert Shares("time", 1.2).used


def test_stray_light_of_each_division():
    data = Neighbour(100.0, 60.0, 1e-6)
    assert stray_photons(data, "time", 0.5) == 0.0
    leaked = 100.0 * 0.5 * 1e-6
    assert stray_photons(data, "frequency", 0.5) == pytest.approx(leaked)
    assert stray_photons(data, "wavelength", 0.5) == pytest.approx(leaked + 1e-4)


def test_stray_photons_are_noise_of_a_gaussian_key():
    noisy = beside_gaussian(LINK, Neighbour(100.0, 60.0, 1e-4), "wavelength")
    photons = 100.0 * 0.5e-6 + 1e-2
    # An environment that brings as many photons to the receiver is the same.
    warm = Link(0.5, 4.0, 0.01, environment_snu=1 + 2 * photons / 0.5)
    for receiver in (RECEIVER, Receiver(0.7, 0.1, "heterodyne")):
        assert rates(noisy, receiver).holevo_bits == pytest.approx(
            float(rates(warm, receiver).holevo_bits), abs=1e-12
        )


def test_stray_photons_click():
    link = PhotonLink(0.05, 1e-6, 0.01)
    beside = beside_photons(link, Neighbour(1.0, 300.0, 2e-3), "wavelength", 0.2)
    # Vacuum slots click for background or stray light, which are independent.
    expected = 1 - (1 - 1e-6) * np.exp(-0.2 * 2e-3)
    assert click_rate(beside, 0.0) == pytest.approx(expected, rel=1e-9)
    fading = PhotonLink(np.array([0.02, 0.08]), 1e-6, 0.01, np.array([0.5, 0.5]))
    faded = beside_photons(fading, Neighbour(1.0, 30.0), "frequency", 0.2)
    steady = beside_photons(link, Neighbour(1.0, 30.0), "frequency", 0.2)
    assert faded.background_yield == pytest.approx(float(steady.background_yield))


def test_pareto_front_by_brute_force():
    rng = np.random.default_rng(5)
    data, key = rng.integers(0, 12, (2, 200)) / 4.0
    front = pareto_front(data, key)
    for i in range(data.size):
        beaten = (
            (data >= data[i]) & (key >= key[i]) & ((data > data[i]) | (key > key[i]))
        )
        same_before = np.any((data[:i] == data[i]) & (key[:i] == key[i]))
        assert front[i] == (not np.any(beaten) and not same_before)


def test_simultaneous_against_divided_uses():
    """With quiet lasers one light is better; with noisy ones slots are."""
    layer = ClassicalLayer(1e-2, 1, 0.75)
    key_alone = rates(LINK, RECEIVER).key_bits(0.95)
    shares = Shares("time", np.linspace(0.0, 1.0, 201), 0.05)
    slots = divided(shares, layer.bits_per_use, key_alone)
    gain = {}
    for sigma2 in (1e-6, 1e-2):
        shift = displace(LINK, RECEIVER, 1e-2, Imperfections(sigma2))
        key = rates(shift.on(LINK), RECEIVER).key_bits(0.95)
        one = Point(layer.bits_per_use, np.maximum(key, 0.0))
        gain[sigma2] = advantage(one, slots)
    assert gain[1e-6] == pytest.approx(float(key_alone), rel=0.01)
    assert gain[1e-2] < gain[1e-6]
    # All uses for data leave none for the key.
    assert key_at(slots, float(layer.bits_per_use)) == 0.0
    assert key_at(slots, 0.0) == pytest.approx(float(key_alone))
    assert key_at(slots, 10.0) == 0.0
    # What is divided is a straight line: all of it is a front.
    assert np.all(pareto_front(slots.classical_bits, slots.key_bits)[1:-1])


def test_no_key_is_not_a_negative_one():
    point = divided(Shares("wavelength", 0.5), 1.0, np.array([-0.3, 0.2]))
    assert point.key_bits[0] == 0.0
    assert point.key_bits[1] == pytest.approx(0.5 * 0.95 * 0.2)
