"""Unit conversions, in one place.

Inside the program one shot-noise unit (SNU) is a vacuum quadrature variance of
1. Other conventions meet ours only here.
"""

from __future__ import annotations

PLANCK_J_S = 6.62607015e-34
LIGHT_SPEED_M_PER_S = 299_792_458.0


def db_to_power_ratio(value_db: float) -> float:
    """Return the power ratio [1] of a gain of `value_db` [dB]."""
    return float(10.0 ** (value_db / 10.0))


def dbm_to_w(power_dbm: float) -> float:
    """Return the power [W] of `power_dbm` [dBm]."""
    return 1e-3 * db_to_power_ratio(power_dbm)


def fibre_transmittance(length_km: float, attenuation_db_per_km: float) -> float:
    """Return the power transmittance [1] of a fibre."""
    return db_to_power_ratio(-length_km * attenuation_db_per_km)
