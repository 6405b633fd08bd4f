"""Displacements against tables that were computed apart from this program."""

import numpy as np
import pytest

from protocols.security.cv_rates import Link, Receiver, rates
from protocols.security.displacement import Imperfections, decision_margin, displace

#: T, W, Vm, BER, phase variance, eta, noise; D^2, xi, key at beta 0.95 (homodyne,
#: reverse, displacement removed by raw decisions).
POINTS = [
    (0.3162, 1, 4, 1e-9, 1e-4, 0.6, 0.1, 353.757844, 0.0357771994, 0.0637096145),
    (0.3162, 1, 4, 1e-3, 1e-4, 0.6, 0.1, 93.6597846, 0.384405117, -0.0969300),
    (0.999, 41.1257, 200, 1e-9, 1e-6, 1, 0, 7232.46, 0.00746139, 1.46875),
    (0.999, 41.1257, 200, 1e-9, 1e-4, 1, 0, None, None, -0.861),
]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_displaced_keys(point):
    t, w, v_m, ber, sigma2, eta, nu, squared, xi, key = point
    link, receiver = Link(t, v_m, environment_snu=w), Receiver(eta, nu)
    shift = displace(
        link, receiver, ber, Imperfections(sigma2, removal="raw-decisions")
    )
    if squared is not None:
        assert shift.squared_snu == pytest.approx(squared, rel=1e-6)
        assert shift.xi_snu == pytest.approx(xi, rel=1e-6)
    digits = 1e-3 if abs(key) > 0.5 else 1e-7
    found = rates(shift.on(link), receiver).key_bits(0.95)
    assert found == pytest.approx(key, abs=digits)


@pytest.mark.parametrize(
    ("ber", "squared"), [(1e-9, 35.97), (1e-6, 22.6), (1e-3, 9.55), (1e-2, 5.41)]
)
def test_margins(ber, squared):
    assert decision_margin(ber) ** 2 == pytest.approx(squared, rel=1e-3)


def test_displacement_along_a_fibre():
    """0.2 dB/km, Vm 4, xi 0.01, efficiency 0.5, electronic noise 0.1."""
    km = np.array([0.0, 10.0, 25.0, 50.0])
    link, receiver = Link(10 ** (-0.02 * km), 4.0, 0.01), Receiver(0.5, 0.1)
    for ber, table in (
        (1e-6, [140.3, 169.4, 247.8, 587.7]),
        (1e-9, [223.4, 269.7, 394.5, 935.7]),
    ):
        shift = displace(link, receiver, ber, Imperfections())
        np.testing.assert_allclose(shift.squared_snu, table, rtol=4e-4)
        np.testing.assert_allclose(4 * shift.photons, shift.squared_snu)
