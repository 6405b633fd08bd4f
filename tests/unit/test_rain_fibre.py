"""Rain, cloud, gas and Raman light against printed values and integrals."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from scqc.core.errors import ModelRangeError
from sim_backends.propagation import raman
from sim_backends.propagation.gas_uncertainty import (
    relative_uncertainty,
    uncertainty_note,
)
from sim_backends.propagation.rain_cloud import (
    cloud_db_per_km,
    rain_coefficients,
    rain_db_per_km,
)
from sim_backends.propagation.raman import (
    ClassicalChannel,
    raman_density,
    raman_photons_per_mode,
    raman_shape,
)

LIGHT = 299_792_458.0


def test_rain_as_another_program_prints_it():
    # itur 0.4.0 (P.838-3), elevation 0, circular: k, alpha and dB/km at 25 mm/h.
    f = 1e9 * np.array([28.0, 60.0, 100.0, 220.0, 300.0, 1000.0])
    k, alpha = rain_coefficients(f)
    printed_k = [0.200769, 0.856067, 1.36758, 1.64569, 1.62858, 1.38083]
    printed_alpha = [0.948205, 0.757144, 0.678994, 0.633605, 0.62794, 0.638051]
    assert k == pytest.approx(printed_k, rel=5e-6)
    assert alpha == pytest.approx(printed_alpha, abs=6e-7)
    found = rain_db_per_km(f, 25.0)
    assert found == pytest.approx(
        [4.2485, 9.7938, 12.166, 12.650, 12.292, 10.767], rel=5e-5
    )


def test_rain_of_the_itu_validation_examples():
    # Elevation and tilt [deg], GHz, mm/h, k, alpha, dB/km.
    rows = (
        (31.07699124, 0, 14.25, 26.48052, 0.03975488, 1.12418043, 1.58130839),
        (46.35969261, 0, 29, 27.13586832, 0.21978097, 0.9484851, 5.03135479),
        (48.24117054, 90, 14.25, 63.62668149, 0.04226474, 1.07871664, 3.72901264),
        (85.80459566, 90, 29, 99.13558978, 0.21737148, 0.93950825, 16.3183686),
    )
    for elevation, tilt, ghz, rate, k, alpha, loss in rows:
        angles = math.radians(elevation), math.radians(tilt)
        assert rain_coefficients(1e9 * ghz, *angles) == pytest.approx(
            (k, alpha), abs=1e-8
        )
        assert rain_db_per_km(1e9 * ghz, rate, *angles) == pytest.approx(loss, abs=1e-7)


def test_polarisations_of_rain():
    # P.838-3, Table 5, 30 GHz: kH 0.2403, alphaH 0.9485, kV 0.2291, alphaV 0.9129.
    horizontal, vertical = (
        rain_coefficients(30e9, 0.0, 0.0),
        rain_coefficients(30e9, 0.0, 0.5 * math.pi),
    )
    assert horizontal == pytest.approx((0.2403, 0.9485), abs=5.1e-5)
    assert vertical == pytest.approx((0.2291, 0.9129), abs=5.1e-5)
    # Seen from below, both polarisations are alike.
    assert rain_db_per_km(30e9, 5.0, 0.5 * math.pi, 0.0) == pytest.approx(
        rain_db_per_km(30e9, 5.0, 0.5 * math.pi, 0.5 * math.pi)
    )
    assert rain_db_per_km(30e9, 0.0) == 0.0


def test_cloud_as_another_program_prints_it():
    f = 1e9 * np.array([28.0, 60.0, 100.0, 140.0, 200.0])
    printed = [0.67876, 2.48541, 4.88801, 6.98836, 9.82117]
    assert cloud_db_per_km(f, 1.0) == pytest.approx(printed, abs=5e-6)
    assert cloud_db_per_km(f, 0.5) == pytest.approx(0.5 * np.array(printed), abs=5e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rain_db_per_km(0.5e9, 1.0),
        lambda: rain_db_per_km(2e12, 1.0),
        lambda: rain_db_per_km(1e10, -1.0),
        lambda: cloud_db_per_km(300e9, 1.0),
        lambda: cloud_db_per_km(1e10, -1.0),
        lambda: cloud_db_per_km(1e10, 1.0, 350.0),
        lambda: relative_uncertainty(1.1e12),
        lambda: raman_density(193.4e12, 193.41e12),
        lambda: raman_density(193.4e12, 150e12),
        lambda: raman_shape(50e12),
        lambda: raman_photons_per_mode(193.4e12, [ClassicalChannel(192e12, -1.0)], 1.0),
        lambda: raman_photons_per_mode(193.4e12, [], -1.0),
    ],
)
def test_outside_the_models_is_refused(call):
    with pytest.raises(ModelRangeError, match="nearest valid value"):
        call()


def test_stated_uncertainty_of_gas_loss():
    found = relative_uncertainty(1e9 * np.array([22.2, 140.0, 340.0, 557.0, 850.0]))
    assert found.tolist() == [0.02, 0.055, 0.055, 0.02, 0.30]
    # What an independent model gave there, over P.676.
    ratios = np.array([1.014, 1.0, 0.947, 1.006, 0.727])
    assert (np.abs(ratios - 1.0) <= found).all()


def test_doubtful_gas_loss_is_said():
    ghz = 1e9 * np.array([140.0, 340.0, 557.0])
    assert uncertainty_note(ghz) == ""
    assert uncertainty_note([]) == ""
    assert uncertainty_note(850e9) == (
        "P.676: absorption at 850 GHz is uncertain to 30 %"
    )
    # 988 GHz is a line, on which both models agree.
    both = uncertainty_note(1e9 * np.array([100.0, 410.0, 850.0, 988.0]))
    assert "in windows between 410 and 850 GHz" in both


def test_raman_shape_is_the_spectrum_of_the_response():
    # The response of Hollenbeck and Cantrell in time, transformed by a sum.
    t = np.arange(0.0, 6e-12, 0.5e-15)
    response = np.zeros_like(t)
    for centre, amplitude, gauss, lorentz in raman._LINES:
        g, s = math.pi * 100 * LIGHT * lorentz, math.pi * 100 * LIGHT * gauss
        omega = 2 * math.pi * 100 * LIGHT * centre
        response += amplitude * np.exp(-g * t - 0.25 * (s * t) ** 2) * np.sin(omega * t)
    offsets = np.array([0.3e12, 2e12, 7e12, 13.2e12, 14.7e12, 18e12, 24e12])
    sums = np.array([(response * np.sin(2 * math.pi * f * t)).sum() for f in offsets])
    assert raman_shape(offsets) == pytest.approx(sums / sums[3], rel=1e-3)
    # Silica: the peak at 13.2 THz, a second line at 14.7 THz, little beyond 20 THz.
    grid = np.linspace(1e12, 39e12, 3801)
    assert grid[raman_shape(grid).argmax()] == pytest.approx(13.2e12, abs=0.1e12)


def test_raman_light_is_in_detailed_balance():
    # Photons scattered up against down: the Boltzmann factor of the offset.
    pump, offset = 193.4e12, 3e12
    up = raman_density(pump + offset, pump, 296.0) / (pump + offset)
    down = raman_density(pump - offset, pump, 296.0) / (pump - offset)
    x = 6.62607015e-34 * offset / (1.380649e-23 * 296.0)
    assert up / down == pytest.approx(math.exp(-x), rel=1e-12)
    # Cold fibre scatters down only.
    assert raman_density(pump + offset, pump, 0.0) == 0.0


def test_raman_light_has_the_published_size():
    # Plans for coexistence use some 3e-9 per km and nm of filter within the C band;
    # the peak gain is a textbook value: a factor of two or so is all that is claimed.
    quantum, pump = LIGHT / 1550e-9, LIGHT / 1540e-9
    per_nm = raman_density(quantum, pump) * LIGHT / (1550e-9) ** 2 * 1e-9
    assert 1e-9 < per_nm < 9e-9


def test_raman_light_along_the_fibre():
    quantum, power, length = 193.4e12, 1e-3, 40.0
    a = 0.2 * math.log(10.0) / 10.0
    for counter in (False, True):
        channel = ClassicalChannel(195.0e12, power, counter)
        density = float(raman_density(quantum, 195.0e12))

        def born(z, counter=counter):
            pump = math.exp(-a * (length - z if counter else z))
            return pump * math.exp(-a * (length - z))

        whole, _ = quad(born, 0.0, length, epsabs=0.0, epsrel=1e-11)
        wanted = power * density * whole / (2.0 * 6.62607015e-34 * quantum)
        found = raman_photons_per_mode(quantum, [channel], length)
        assert found == pytest.approx(wanted, rel=1e-9)
    both = [ClassicalChannel(195e12, 1e-3), ClassicalChannel(192e12, 2e-3, True)]
    alone = [raman_photons_per_mode(quantum, [c], length) for c in both]
    assert raman_photons_per_mode(quantum, both, length) == pytest.approx(sum(alone))
