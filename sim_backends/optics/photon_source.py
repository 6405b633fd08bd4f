"""What optical instruments make of the light on a photon-counting bench."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from sim_backends.optics.levers import Levers, Nominal
from sim_backends.optics.pulse_pairs import Optics
from sim_backends.photon_settings import DETECTORS, PhotonSimSettings, SourceSettings

_WAVELENGTH_NM = 1550.0
_PHOTON_J = PLANCK_J_S * LIGHT_SPEED_M_PER_S / (_WAVELENGTH_NM * 1e-9)
# A nanowire's internal efficiency rises like an error function of its current
# and saturates; above the switching current it stays resistive and sees nothing.
_HALF_EFFICIENCY_A = 10e-6
_RISE_A = 3e-6
SWITCHING_A = 25e-6


def full_scale_photons(source: SourceSettings, levers: Levers) -> float:
    """Return the mean photon number of a slot with the modulator fully open [1]."""
    nominal = Nominal(source.power_dbm, 0.0, _WAVELENGTH_NM, 0.0, source.attenuation_db)
    return source.full_scale_photons * levers.signal_amplitude(nominal) ** 2


def bias_efficiency(current_a: float) -> float:
    """Return a nanowire's efficiency at a bias current over its plateau's [1]."""
    if not 0.0 < current_a <= SWITCHING_A:
        return 0.0
    return 0.5 * math.erfc((_HALF_EFFICIENCY_A - current_a) / _RISE_A)


def detector_gain(levers: Levers) -> NDArray[np.float64]:
    """Return each detector's efficiency over the one of the settings.

    Returns
    -------
    ndarray, shape (4,), float64 [1]
    """
    currents = levers.detector_bias_a
    gains = [
        bias_efficiency(currents[d]) if d in currents else 1.0
        for d in range(len(DETECTORS))
    ]
    return np.array(gains)


def launched_power_w(
    optics: Optics, drive_v: NDArray[np.float32], bias_rad: float, pulse_rate_hz: float
) -> float:
    """Return the mean power at Alice's exit while a waveform repeats [W].

    Parameters
    ----------
    optics : Optics
    drive_v : ndarray, shape (n,), float32 [V]
        At the intensity modulator's driver.
    bias_rad : float
        Of that modulator [rad].
    pulse_rate_hz : float
        Of the laser [Hz].
    """
    arm = np.sin(optics.im_rad_per_v * drive_v.astype(np.float64) + bias_rad)
    transmission = optics.leak + (1.0 - optics.leak) * float(np.mean(arm * arm))
    return optics.full_scale_photons * transmission * pulse_rate_hz * _PHOTON_J


def driver_gain(driver_gain_db: float) -> float:
    """Return the voltage gain [1] of a driver, 20 log10."""
    return float(10.0 ** (driver_gain_db / 20.0))


def relative_phase_v(
    settings: PhotonSimSettings,
    alice_v: NDArray[np.float32],
    basis_v: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Return the drive of Alice's modulator, less what Bob's takes back.

    Only the difference of the two phases reaches the interference.

    Parameters
    ----------
    settings : PhotonSimSettings
    alice_v : ndarray, shape (n,), float32 [V]
    basis_v : ndarray, shape (m,), float32 [V], or None
        At Bob's modulator, where there is one.

    Returns
    -------
    ndarray, shape (n,), float32 [V]
    """
    if basis_v is None:
        return alice_v
    bob, pm = settings.basis_modulator, settings.phase_modulator
    scale = driver_gain(bob.driver_gain_db) / bob.v_pi_v
    scale *= pm.v_pi_v / driver_gain(pm.driver_gain_db)
    n = min(alice_v.size, basis_v.size)
    drive_v = alice_v.copy()
    drive_v[:n] -= np.float32(scale) * basis_v[:n]
    return drive_v
