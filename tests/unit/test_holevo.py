"""The closed formulas against covariance matrices, mode by mode.

The oracle builds all six modes: Alice's half A of an entangled pair, the light
B, Eve's two-mode squeezed cloner E1 E2, and the purification F G of the
detector's loss and noise. Beam splitters act as matrices, measurements as Schur
complements, entropies come from symplectic eigenvalues. It shares no formula
with the product.
"""

import math

import numpy as np
import pytest

from protocols.security.holevo import (
    Channel,
    asymptotic_rate,
    entropy_g,
    holevo_information,
    mutual_information,
    signal_to_noise,
    untrusted,
)
from scqc.core.errors import ProtocolAbort

A, B, E1, E2, F, G = range(6)


def _entangled(cov, one, two, variance):
    c = math.sqrt(variance**2 - 1.0)
    for mode in (one, two):
        cov[2 * mode, 2 * mode] = cov[2 * mode + 1, 2 * mode + 1] = variance
    for quadrature, sign in ((0, 1.0), (1, -1.0)):
        i, j = 2 * one + quadrature, 2 * two + quadrature
        cov[i, j] = cov[j, i] = sign * c


def _beam_splitter(cov, one, two, transmittance):
    s = np.eye(12)
    t, r = math.sqrt(transmittance), math.sqrt(1.0 - transmittance)
    for q in (0, 1):
        i, j = 2 * one + q, 2 * two + q
        s[i, i], s[i, j], s[j, i], s[j, j] = t, r, -r, t
    return s @ cov @ s.T


def _rows(modes):
    return [2 * m + q for m in modes for q in (0, 1)]


def _entropy(cov):
    """Von Neumann entropy [bit] from the symplectic spectrum."""
    n = cov.shape[0] // 2
    omega = np.kron(np.eye(n), np.array([[0.0, 1.0], [-1.0, 0.0]]))
    values, vectors = np.linalg.eigh(cov)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    spectrum = np.linalg.eigvalsh(1j * root @ omega @ root)
    total = 0.0
    for x in spectrum[n:]:
        if x > 1.0 + 1e-14:
            up, down = 0.5 * (x + 1), 0.5 * (x - 1)
            total += up * math.log2(up) - down * math.log2(down)
    return total


def _conditional(cov, modes, detection):
    """Covariance of `modes` after B was measured."""
    rows, b = _rows(modes), _rows([B])
    rest, cross = cov[np.ix_(rows, rows)], cov[np.ix_(rows, b)]
    light = cov[np.ix_(b, b)]
    if detection == "homodyne":
        inverse = np.zeros((2, 2))
        inverse[0, 0] = 1.0 / light[0, 0]
    else:
        inverse = np.linalg.inv(light + np.eye(2))
    return rest - cross @ inverse @ cross.T


def _all_modes(c):
    cov = np.zeros((12, 12))
    _entangled(cov, A, B, c.v_a_snu + 1.0)
    _entangled(cov, E1, E2, 1.0 + c.transmittance * c.xi_snu / (1 - c.transmittance))
    units = 1.0 if c.detection == "homodyne" else 2.0
    _entangled(cov, F, G, 1.0 + units * c.electronic_snu / (1.0 - c.efficiency))
    cov = _beam_splitter(cov, B, E1, c.transmittance)
    return _beam_splitter(cov, B, F, c.efficiency)


def _eves_information(c):
    cov = _all_modes(c)
    eve = cov[np.ix_(_rows([E1, E2]), _rows([E1, E2]))]
    return _entropy(eve) - _entropy(_conditional(cov, [E1, E2], c.detection))


def _by_purification(c):
    """The same through the modes Eve does not hold."""
    cov = _all_modes(c)
    others = cov[np.ix_(_rows([A, B, F, G]), _rows([A, B, F, G]))]
    return _entropy(others) - _entropy(_conditional(cov, [A, F, G], c.detection))


def _random_channels(n=60):
    rng = np.random.default_rng(20)
    return [
        Channel(
            v_a_snu=float(rng.uniform(0.2, 20.0)),
            transmittance=float(10 ** rng.uniform(-2.0, -0.05)),
            xi_snu=float(rng.uniform(1e-3, 0.2)),
            efficiency=float(rng.uniform(0.3, 0.98)),
            electronic_snu=float(rng.uniform(0.0, 0.3)),
            detection=("homodyne", "heterodyne")[i % 2],
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("channel", _random_channels(), ids=str)
def test_trusted_bound_equals_the_covariance_matrices(channel):
    assert holevo_information(channel) == pytest.approx(
        _eves_information(channel), abs=1e-9
    )


def test_the_oracle_agrees_with_itself_through_the_purification():
    for channel in _random_channels(6):
        # Pure modes lose digits: their eigenvalue is one up to rounding.
        assert _by_purification(channel) == pytest.approx(
            _eves_information(channel), abs=1e-7
        )


@pytest.mark.parametrize("channel", _random_channels(20), ids=str)
def test_untrusted_bound_gives_eve_the_detector(channel):
    """Eve holds F and G too: all modes but A and B.

    The receiver's own noise is then part of the state; a Gaussian channel of
    the same loss and output noise must give the same number.
    """
    seen = untrusted(channel)
    assert (seen.efficiency, seen.electronic_snu) == (1.0, 0.0)
    # Same signal and same noise at the output ...
    assert signal_to_noise(seen) == pytest.approx(signal_to_noise(channel))
    # ... and Eve's information through a detector that adds nothing.
    almost = Channel(
        seen.v_a_snu, seen.transmittance, seen.xi_snu, 1 - 1e-12, 0.0, seen.detection
    )
    assert holevo_information(seen) == pytest.approx(
        _eves_information(almost), abs=1e-8
    )
    assert holevo_information(seen) > holevo_information(channel)


def test_default_bench_has_its_known_value():
    """0.661 bit; with nu/(eta T) instead of 2 nu/(eta T) it would be 0.525."""
    bench = Channel(2.0, 0.631, 0.01, 0.85, 0.05, "heterodyne")
    assert holevo_information(untrusted(bench)) == pytest.approx(0.661, abs=5e-4)
    half = Channel(2.0, 0.631 * 0.85, 0.01 + 0.05 / (0.85 * 0.631), 1.0, 0.0)
    assert holevo_information(half) == pytest.approx(0.525, abs=5e-4)


def test_a_vacuum_channel_leaks_only_its_loss():
    """No noise: Eve's mode is a beam splitter's other output."""
    for t in (0.1, 0.5, 0.9):
        clean = Channel(4.0, t, 0.0, 1.0 - 1e-12, 0.0, "heterodyne")
        assert holevo_information(clean) == pytest.approx(
            _eves_information(clean), abs=1e-6
        )
    assert holevo_information(Channel(4.0, 1.0, 0.0, 1.0, 0.0)) == pytest.approx(
        0.0, abs=1e-9
    )


@pytest.mark.parametrize("detection", ["homodyne", "heterodyne"])
def test_negative_noise_counts_as_none(detection):
    below, none = (Channel(2.0, 0.631, xi, 0.85, 0.05, detection) for xi in (-0.3, 0.0))
    assert holevo_information(below) == holevo_information(none)


def test_entropy_of_a_thermal_mode():
    assert entropy_g(1.0) == 0.0
    assert entropy_g(0.999) == 0.0
    assert entropy_g(3.0) == pytest.approx(2.0)  # mean photon number one: 2 bits
    # x = 1 + 2n, n -> 0: n log2(e/n).
    n = 1e-12
    assert entropy_g(1 + 2 * n) == pytest.approx(n * math.log2(math.e / n), rel=1e-3)


def test_mutual_information_and_rate():
    bench = Channel(2.0, 0.631, 0.01, 0.85, 0.05, "heterodyne")
    gain = 0.85 * 0.631 / 2.0
    snr = gain * 2.0 / (1.05 + gain * 0.01)
    assert signal_to_noise(bench) == pytest.approx(snr)
    assert mutual_information(bench) == pytest.approx(math.log2(1 + snr))
    homodyne = Channel(2.0, 0.631, 0.01, 0.85, 0.05, "homodyne")
    single = 2 * gain * 2.0 / (1.05 + 2 * gain * 0.01)
    assert mutual_information(homodyne) == pytest.approx(0.5 * math.log2(1 + single))
    assert asymptotic_rate(bench, 0.9) == pytest.approx(
        0.9 * math.log2(1 + snr) - holevo_information(bench)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"v_a_snu": 0.0},
        {"v_a_snu": math.inf},
        {"transmittance": 0.0},
        {"transmittance": math.nan},
        {"efficiency": 1.01},
        {"efficiency": -0.1},
        {"electronic_snu": -0.01},
    ],
)
def test_unphysical_parameters_are_refused(changes):
    values = {
        "v_a_snu": 2.0,
        "transmittance": 0.6,
        "xi_snu": 0.01,
        "efficiency": 0.8,
        "electronic_snu": 0.05,
    } | changes
    with pytest.raises(ProtocolAbort, match="security"):
        holevo_information(Channel(**values))


@pytest.mark.parametrize("xi", [math.nan, math.inf])
def test_noise_that_is_no_number_is_refused(xi):
    with pytest.raises(ProtocolAbort, match="security"):
        holevo_information(Channel(2.0, 0.6, xi, 0.8, 0.05))
