"""Closed forms of the infinite run against 40 digits and the yields themselves.

Nothing of the product is used on the other side: gains are summed over photon
numbers, and the formulas of Ma et al. (2005) are written down again.
"""

import itertools

import mpmath
import pytest
from mpmath import mpf

from protocols.security import decoy_asymptotic as product
from protocols.security.decoy_asymptotic import PhotonChannel
from scqc.core.errors import ProtocolAbort

mpmath.mp.dps = 40
SIGNAL, DECOY, EFFICIENCY = 0.5, 0.1, 1.05
#: Down to 100 dB, and a background from nothing to daylight.
GRID = list(
    itertools.product(
        (1.0, 0.3, 1e-2, 1e-4, 1e-6, 1e-10), (0.0, 1e-8, 2.024e-4), (0.0, 0.015)
    )
)


class Exact:
    """One channel in high precision, photon number by photon number."""

    def __init__(self, transmittance, background, misalignment):
        self.eta, self.y0 = mpf(transmittance), mpf(background)
        self.wrong = mpf(misalignment)

    def _sum(self, mean, per_photons):
        mean = mpf(mean)
        return mpmath.fsum(
            mpmath.exp(-mean) * mean**i / mpmath.factorial(i) * per_photons(i)
            for i in range(60)
        )

    def lands(self, i):
        return 1 - (1 - self.eta) ** i

    def gain(self, mean):
        return self._sum(mean, lambda i: 1 - (1 - self.y0) * (1 - self.lands(i)))

    def wrong_gain(self, mean):
        return self._sum(
            mean,
            lambda i: self.y0 / 2 + self.wrong * (1 - self.y0) * self.lands(i),
        )

    def y1(self, mu, nu):
        mu, nu = mpf(mu), mpf(nu)
        inside = (
            self.gain(nu) * mpmath.exp(nu)
            - nu**2 / mu**2 * self.gain(mu) * mpmath.exp(mu)
            - (mu**2 - nu**2) / mu**2 * self.y0
        )
        return mu / (mu * nu - nu**2) * inside

    def e1(self, mu, nu):
        wrong = self.wrong_gain(nu) * mpmath.exp(mpf(nu)) - self.y0 / 2
        return wrong / (self.y1(mu, nu) * mpf(nu))

    def key(self, mu, nu, efficiency):
        y1, q = self.y1(mu, nu), self.gain(mu)
        secret = y1 * mpf(mu) * mpmath.exp(-mpf(mu)) if y1 > 0 else mpf(0)
        if secret:
            secret *= 1 - entropy(min(self.e1(mu, nu), mpf(1) / 2))
        leak = mpf(efficiency) * q * entropy(self.wrong_gain(mu) / q)
        return (secret - leak) / 2


def entropy(p):
    if p in (0, 1):
        return mpf(0)
    return -p * mpmath.log(p, 2) - (1 - p) * mpmath.log(1 - p, 2)


def close(value, exact, scale, tolerance=1e-9):
    """Relative to `scale`: a key near its zero has no relative precision."""
    assert abs(mpf(value) - exact) <= tolerance * abs(scale), (value, exact)


@pytest.mark.parametrize(("eta", "y0", "wrong"), GRID)
def test_gains_yields_and_errors(eta, y0, wrong):
    channel, exact = PhotonChannel(eta, y0, wrong), Exact(eta, y0, wrong)
    for mean in (SIGNAL, DECOY, 1e-4):
        close(channel.gain(mean), exact.gain(mean), exact.gain(mean), 1e-12)
        close(channel.wrong_gain(mean), exact.wrong_gain(mean), exact.gain(mean), 1e-12)
    y1 = exact.y1(SIGNAL, DECOY)
    # The yield is a difference of gains: it is as sharp as those.
    gain = exact.gain(DECOY) / DECOY
    close(product.single_yield(channel, SIGNAL, DECOY), y1, gain)
    assert y1 <= 1 - (1 - exact.y0) * (1 - exact.eta)
    if y1 > 1e-4 * gain:
        e1 = exact.e1(SIGNAL, DECOY)
        close(product.single_error(channel, SIGNAL, DECOY), e1, max(e1, mpf(1)), 1e-6)


@pytest.mark.parametrize(("eta", "y0", "wrong"), GRID)
def test_rates(eta, y0, wrong):
    channel, exact = PhotonChannel(eta, y0, wrong), Exact(eta, y0, wrong)
    gain = exact.gain(SIGNAL)
    key = product.key_per_slot(channel, SIGNAL, DECOY, efficiency=EFFICIENCY)
    close(key, exact.key(SIGNAL, DECOY, EFFICIENCY), gain, 1e-8)
    message = product.message_per_slot(channel, SIGNAL, efficiency=EFFICIENCY)
    error = exact.wrong_gain(SIGNAL) / gain
    close(message, gain * (1 - mpf(EFFICIENCY) * entropy(error)) / 2, gain)
    # A padded message always costs more than its detections give back.
    assert key < message


@pytest.mark.parametrize(
    ("y0", "wrong"), [(2.024e-4, 0.015), (1e-6, 0.01), (1.7e-6, 0.033), (1e-8, 0.0)]
)
def test_transmittance_without_key(y0, wrong):
    found = product.least_transmittance(y0, wrong, SIGNAL, DECOY, EFFICIENCY)

    def key(log_eta):
        exact = Exact(mpmath.exp(log_eta), y0, wrong)
        return exact.key(SIGNAL, DECOY, EFFICIENCY) / exact.gain(SIGNAL)

    root = mpmath.findroot(
        key, (mpmath.log(found / 1.3), mpmath.log(found * 1.3)), solver="anderson"
    )
    assert found == pytest.approx(float(mpmath.exp(root)), rel=1e-6)
    assert key(mpmath.log(found * 1.001)) > 0 > key(mpmath.log(found / 1.001))


def test_no_zero_is_a_typed_refusal():
    for y0, wrong in ((1e-6, 0.2), (0.3, 0.01)):
        with pytest.raises(ProtocolAbort, match="no zero of the key"):
            product.least_transmittance(y0, wrong, SIGNAL, DECOY)
    for signal, decoy in ((0.1, 0.5), (0.5, 0.5), (0.5, 0.0)):
        with pytest.raises(ProtocolAbort, match="signal > decoy > 0"):
            product.single_yield(PhotonChannel(0.1, 0.0, 0.0), signal, decoy)
