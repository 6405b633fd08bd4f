"""How far a warm or cold transmitter reaches in air: gas, beam and noise together.

Distances from the tabulated key rates (focused Gaussian, w0 = a, air of 296 K,
asymptotic, ideal homodyne). With W = 2 nbar + 1 >> 1 a key by reverse reconciliation
exists while (1 - T) W^2 < 4/e^2 (warm source) or (1 - T) W < y, y (1 + y) = 4/e^2
(cold source); both laws are off by order 1/W.
"""

import math

import numpy as np
import pytest

from sim_backends.propagation.atmospheres import Atmosphere
from sim_backends.propagation.gas_absorption import specific_attenuation
from sim_backends.propagation.rf_aperture import aperture_coupling
from sim_backends.propagation.thermal import AMBIENT_K, thermal_variance_snu

#: Aperture [m], GHz, reach [m] with a warm and with a cold source.
REACH = [
    (0.05, 100, 0.34, 1.53),
    (0.15, 100, 0.34, 13.2),
    (0.5, 100, 0.34, 30.2),
    (0.15, 140, 0.33, 17.4),
    (0.15, 220, 0.30, 12.3),
    (0.15, 300, 0.27, 7.94),
    (0.15, 340, 0.19, 5.13),
    (0.15, 650, 0.10, 1.40),
]


@pytest.mark.parametrize(("a_m", "ghz", "warm_m", "cold_m"), REACH)
def test_reach_in_open_air(a_m, ghz, warm_m, cold_m):
    f = 1e9 * ghz
    gamma = specific_attenuation(f, Atmosphere().air(0.0)).total_db_per_km
    d = np.logspace(-2, 3, 20_001)
    t = aperture_coupling(f, d, a_m, a_m, "focused") * 10.0 ** (-gamma * d / 1e4)
    w = float(thermal_variance_snu(f, AMBIENT_K))
    budget = 4.0 / math.e**2
    cold = 0.5 * (math.sqrt(1.0 + 4.0 * budget) - 1.0)
    # The table has two or three digits, and the last positive of 200 points per
    # decade (1.2 % apart); the laws are good to 1/W.
    for limit, reach in ((budget / w**2, warm_m), (cold / w, cold_m)):
        found = d[np.flatnonzero(1.0 - t < limit)[-1]]
        assert found == pytest.approx(reach, rel=0.0116 + 0.5 / w, abs=0.005)
