"""Displacement, bit errors and the noise they make, against drawn light."""

import math

import numpy as np
import pytest

from protocols.security import displacement
from protocols.security.cv_rates import Link, Receiver, Trust, rates
from protocols.security.displacement import (
    ClassicalLayer,
    Imperfections,
    bit_error_rate,
    displace,
    greatest_phase_variance,
    psk_capacity,
)
from scqc.core.errors import ModelRangeError

N = 400_000
LINK, RECEIVER = Link(0.3, 4.0, 0.02), Receiver(0.6, 0.1)


def _drawn(squared, sigma2, axes, rng):
    """Bob's quadrature, Alice's and the signs, from the physical model."""
    gain = math.sqrt(RECEIVER.efficiency * LINK.transmittance)
    sign = rng.choice([-1.0, 1.0], N)
    x, p = 2.0 * rng.standard_normal((2, N))
    phi = math.sqrt(sigma2) * rng.standard_normal(N)
    d = math.sqrt(squared)
    turned = p + (sign * d if axes == "both" else 0.0)
    noise = math.sqrt(1.1 + gain**2 * LINK.xi_snu) * rng.standard_normal(N)
    light = (sign * d + x) * np.cos(phi) - turned * np.sin(phi)
    return gain * light + noise, x, sign


@pytest.mark.parametrize("axes", ["both", "measured"])
@pytest.mark.parametrize("sigma2", [0.0, 5e-4, 5e-3])
def test_errors_and_noise_of_drawn_light(axes, sigma2):
    target = 1e-2
    shift = displace(LINK, RECEIVER, target, Imperfections(sigma2, axes=axes))
    squared = float(shift.squared_snu)
    rng = np.random.default_rng([int(1e4 * sigma2), len(axes)])
    bob, alice, sign = _drawn(squared, sigma2, axes, rng)
    errors = np.mean(bob * sign < 0)
    spread = math.sqrt(target / N)
    # The phase noise is not Gaussian and bends the mean: second order.
    assert errors == pytest.approx(target, abs=5 * spread + 3 * sigma2 * target)
    class_mean = np.mean(bob * sign)
    rest = bob - class_mean * sign
    rest -= alice * (rest @ alice) / (alice @ alice)
    gain = RECEIVER.efficiency * LINK.transmittance
    xi = (np.var(rest) - 1.1) / gain - LINK.xi_snu
    # Variance of a variance; the rest is the second order that is left out.
    slack = 5 * np.var(rest) * math.sqrt(2 / N) / gain
    expected = float(shift.xi_snu)
    assert xi == pytest.approx(expected, abs=slack + 2 * sigma2 * (expected + 4.0))


def test_dropping_a_term_is_seen(monkeypatch):
    """The same comparison without the displacement's own phase noise fails."""
    shift = displace(LINK, RECEIVER, 1e-2, Imperfections(5e-3))
    lost = 5e-3 * float(shift.squared_snu)
    gain = RECEIVER.efficiency * LINK.transmittance
    slack = 5 * 2.0 * math.sqrt(2 / N) / gain + 2 * 5e-3 * (float(shift.xi_snu) + 4.0)
    assert lost > slack
    # Without the decision's margin the error rate is not the wanted one.
    monkeypatch.setattr(displacement, "_variance", lambda link, receiver: np.ones(()))
    wrong = displace(LINK, RECEIVER, 1e-2, Imperfections())
    monkeypatch.undo()
    assert bit_error_rate(wrong.squared_snu, LINK, RECEIVER) > 1.2e-2


def test_all_four_noises_are_consistent():
    rough = Imperfections(1e-3, 1e-4, converter_bits=7.0)
    for detection in ("homodyne", "heterodyne"):
        receiver = Receiver(0.6, 0.1, detection)
        shift = displace(LINK, receiver, 1e-6, rough)
        total = bit_error_rate(shift.squared_snu, shift.on(LINK), receiver)
        assert total == pytest.approx(1e-6, rel=1e-9)
        squared = float(shift.squared_snu)
        assert shift.amplitude_xi_snu == pytest.approx(1e-4 * squared)
        assert shift.phase_xi_snu == pytest.approx(1e-3 * (squared + 4.0))
        # By hand: rails at displacement and 6 sigma, 128 steps, LSB^2 / 12.
        gain = 0.18
        sigma = math.sqrt(gain * squared) / 4.753424
        step = 2 * (math.sqrt(gain * squared) + 6 * sigma) / 128
        assert shift.converter_xi_snu == pytest.approx(step**2 / 12 / gain, rel=1e-6)
        assert shift.decision_xi_snu == 0.0


def test_trusted_phase_noise_costs_less():
    shift = displace(LINK, RECEIVER, 1e-6, Imperfections(1e-3))
    wary = rates(shift.on(LINK), RECEIVER).key_bits(0.95)
    trusting = Receiver(0.6, 0.1, trust=Trust(phase=True))
    assert rates(shift.on(LINK), trusting).key_bits(0.95) > wary
    assert rates(LINK, RECEIVER).key_bits(0.95) > rates(
        shift.on(LINK), trusting
    ).key_bits(0.95)


def test_no_displacement_beats_too_much_phase_noise():
    limit = float(greatest_phase_variance(1e-9))
    assert limit == pytest.approx(1 / 35.97, rel=1e-3)
    displace(LINK, RECEIVER, 1e-9, Imperfections(0.99 * limit))
    for axes, factor in (("both", 1.01), ("both", 3.0)):
        with pytest.raises(
            ModelRangeError, match=r"no displacement .* valid value 0.02"
        ):
            displace(LINK, RECEIVER, 1e-9, Imperfections(factor * limit, axes=axes))
    # Along the measured quadrature alone it goes on.
    displace(LINK, RECEIVER, 1e-9, Imperfections(3 * limit, axes="measured"))
    with pytest.raises(ModelRangeError, match="no displacement"):
        displace(LINK, RECEIVER, 1e-9, Imperfections(0.0, converter_bits=2.0))


def test_classical_bits():
    layer = ClassicalLayer(1e-2, 2, 0.75, 0.1)
    assert layer.bits_per_use == pytest.approx(2 * 0.75 * 0.9)
    with pytest.raises(ModelRangeError, match=r"code rate = 0\.99"):
        assert ClassicalLayer(0.05, 1, 0.99).bits_per_use
    # Binary input in Gaussian noise has capacity 1/2 at Es/N0 = -2.82 dB.
    z2 = 2 * 10 ** (-0.282)
    ber = 0.5 * math.erfc(math.sqrt(z2 / 2))
    assert psk_capacity(ber) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("ber", [0.0, 0.5, 0.7, np.nan])
def test_error_rates_outside_their_range(ber):
    with pytest.raises(ModelRangeError, match="bit error rate"):
        displace(LINK, RECEIVER, ber, Imperfections())
    with pytest.raises(ModelRangeError, match="phase variance"):
        displace(LINK, RECEIVER, 1e-3, Imperfections(-1e-3))
