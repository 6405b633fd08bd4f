"""Alice's side of a run: frames, Gaussian symbols, waveforms."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcinv

from driver.launch import DrivenLaunch
from dsp.alignment import skew_field
from dsp.coding.frames import FrameCodec
from dsp.decision import bits_per_symbol, map_bits
from dsp.fractional_delay import with_arms_apart
from dsp.settings import FrameLayout, QpskPreamble
from dsp.transmitter import (
    Modulator,
    baseband,
    drive,
    pilot_amplitudes,
    samples_per_symbol,
)
from protocols.schemes.cv_common import frame_codec
from scqc.core.errors import PayloadError
from scqc.core.records import Waveform
from scqc.core.rng import EntropySource, standard_normal
from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S, dbm_to_w
from scqc.runs.cv_config import CvConfig

#: By how much the pilots of a test burst are below those of a run [dB].
TEST_BACKOFF_DB = 6.0


@dataclass(frozen=True, slots=True)
class LinkBudget:
    """What Alice believes of the link when she sets her amplitudes.

    Parameters
    ----------
    gain : float
        Power gain from channel input to one quadrature, ``eta T / 2`` [1].
    noise_snu : float
        Noise variance per quadrature at Bob without any modulation [SNU].
    """

    gain: float
    noise_snu: float


def run_id(run_uuid: str) -> bytes:
    """Return the four bytes that stamp the classical frames of a run."""
    return hashlib.sha256(run_uuid.encode()).digest()[:4]


def burst_symbols(config: CvConfig) -> int:
    """Return the number of data symbols of one burst."""
    classical = config.classical
    if classical.psk == "none":
        return config.link.burst_symbols
    n_bits = frame_codec(classical, bytes(4)).fec.n_bits
    return classical.frames_per_burst * n_bits // bits_per_symbol(classical.psk)


def frame_layout(config: CvConfig, symbols: int | None = None) -> FrameLayout:
    """Return the layout of a burst, optionally with another number of symbols."""
    link, transmitter = config.link, config.alice.transmitter
    return FrameLayout(
        symbol_rate_hz=link.symbol_rate_hz,
        centre_hz=link.centre_hz,
        roll_off=link.roll_off,
        pilots_hz=link.pilots_hz,
        symbols=burst_symbols(config) if symbols is None else symbols,
        preamble=QpskPreamble(
            amplitude_sqrt_snu=transmitter.preamble_amplitude_sqrt_snu
        ),
    )


def full_scale_sqrt_snu(config: CvConfig) -> float:
    """Return the field of one fully open arm [sqrt(SNU) per sample].

    A photon flux of P/(h nu) per second is ``2 sqrt(P/(h nu rate))``.
    """
    transmitter = config.alice.transmitter
    photon_j = PLANCK_J_S * LIGHT_SPEED_M_PER_S / (1e-9 * transmitter.wavelength_nm)
    power_w = dbm_to_w(transmitter.full_scale_launch_dbm)
    return 2.0 * math.sqrt(power_w / (photon_j * transmitter.rate_hz))


def driven_launch(config: CvConfig) -> DrivenLaunch:
    """Return what the generator's voltages launch, for the drivers' limit."""
    transmitter = config.alice.transmitter
    attenuator = config.wiring.get("tx.attenuator", "").partition(":")[0]
    nominal_db = None
    if attenuator in config.instruments:
        nominal_db = config.instruments[attenuator].set_points.attenuation_db
    return DrivenLaunch(
        transmitter.full_scale_launch_dbm,
        transmitter.v_pi_v,
        10.0 ** (transmitter.driver_gain_db / 20.0),
        nominal_db,
    )


def expected_budget(config: CvConfig) -> LinkBudget:
    """Return the budget before anything was measured."""
    efficiency = config.security.detector_efficiency
    return LinkBudget(
        0.5 * efficiency * config.alice.transmitter.expected_transmittance, 1.1
    )


def displacement_sqrt_snu(config: CvConfig, budget: LinkBudget) -> float:
    """Return the displacement per quadrature for the wanted raw error rate.

    ``BER = erfc(k / sqrt 2) / 2`` with ``k = sqrt(gain) d / s_B``, where the
    Gaussian modulation counts as noise; BPSK adds both quadratures.
    """
    if config.classical.psk == "none":
        return 0.0
    k = math.sqrt(2.0) * float(erfcinv(2.0 * config.classical.target_raw_ber))
    if config.classical.psk == "bpsk":
        k /= math.sqrt(2.0)
    spread = budget.noise_snu + budget.gain * config.security.v_a_snu
    return k * math.sqrt(spread / budget.gain)


@dataclass(frozen=True, slots=True)
class PreparedPayload:
    """The coded frames of a run.

    Parameters
    ----------
    coded : ndarray, shape (bursts, frames_per_burst, n_bits), uint8 [bit]
    sha256 : bytes
    n_bytes : int
    """

    coded: NDArray[np.uint8]
    sha256: bytes
    n_bytes: int


def check_payload(config: CvConfig, payload: bytes) -> None:
    """Refuse a payload that does not fit a block, before anything is drawn.

    Raises
    ------
    PayloadError
        With the number of bytes that would fit.
    """
    if config.classical.psk == "none":
        if payload:
            raise PayloadError(
                f"payload: {len(payload)} bytes, but psk = 'none' carries 0 bytes"
            )
        return
    codec = frame_codec(config.classical, bytes(4))
    room = codec.payload_capacity(
        config.link.bursts * config.classical.frames_per_burst
    )
    if len(payload) > room:
        raise PayloadError(
            f"payload: {len(payload)} bytes, but a block of this bench carries {room}"
        )


def payload_frames(config: CvConfig, n_bytes: int) -> int:
    """Return how many frames a payload fills [1]."""
    if config.classical.psk == "none":
        return 0
    one = frame_codec(config.classical, bytes(4)).payload_capacity(1)
    return math.ceil(n_bytes / one)


def prepare_payload(
    config: CvConfig, payload: bytes, run_uuid: str, entropy: EntropySource
) -> PreparedPayload:
    """Encode the payload; nothing is switched on yet.

    Raises
    ------
    PayloadError
        If it does not fit, with the number of bytes that would.
    """
    check_payload(config, payload)
    digest = hashlib.sha256(payload).digest()
    bursts = config.link.bursts
    if config.classical.psk == "none":
        return PreparedPayload(np.zeros((bursts, 0, 0), np.uint8), digest, 0)
    codec: FrameCodec = frame_codec(config.classical, run_id(run_uuid))
    frames = config.classical.frames_per_burst
    coded = codec.build(payload, bursts * frames, entropy)
    return PreparedPayload(coded.reshape(bursts, frames, -1), digest, len(payload))


class Transmitter:
    """Makes one burst after the other; no Gaussian symbol is used twice.

    Parameters
    ----------
    config : CvConfig
    entropy : EntropySource
        Source of the Gaussian symbols.
    """

    def __init__(self, config: CvConfig, entropy: EntropySource) -> None:
        self._config, self._entropy = config, entropy
        transmitter = config.alice.transmitter
        self._modulator = Modulator(
            transmitter.v_pi_v,
            10.0 ** (transmitter.driver_gain_db / 20.0),
            full_scale_sqrt_snu(config),
        )

    def gaussian(self, n: int) -> NDArray[np.complex64]:
        """Draw fresh Gaussian symbols of the configured variance.

        Returns
        -------
        ndarray, shape (n,), complex64 [sqrt(SNU)]
        """
        deviation = np.float32(math.sqrt(self._config.security.v_a_snu))
        values: NDArray[np.float32] = deviation * standard_normal(self._entropy, 2 * n)
        return values.view(np.complex64)

    def waveform(
        self,
        symbols: NDArray[np.complex64],
        bits: NDArray[np.uint8],
        budget: LinkBudget,
        granularity: int,
    ) -> Waveform:
        """Build the generator's voltages for one burst.

        Parameters
        ----------
        symbols : ndarray, shape (n,), complex64 [sqrt(SNU)]
            From `gaussian`; each array is to be used once.
        bits : ndarray, shape (n * bits_per_symbol,), uint8 [bit]
            Coded bits; empty without displacement.
        budget : LinkBudget
        granularity : int
            Of the generator's segments [sample].
        """
        config, transmitter = self._config, self._config.alice.transmitter
        layout = frame_layout(config, symbols.size)
        psk = config.classical.psk
        light = symbols
        if psk != "none":
            d = np.float32(displacement_sqrt_snu(config, budget))
            light = symbols + d * map_bits(bits, psk)
        pilots = pilot_amplitudes(
            transmitter.pilot_snr_db,
            transmitter.weak_pilot_db,
            budget.gain,
            budget.noise_snu,
            samples_per_symbol(layout, transmitter.rate_hz),
        )
        field = baseband(light, layout, transmitter.rate_hz, pilots)
        return self.voltages(field, granularity)

    def skew_waveform(
        self, layout: FrameLayout, budget: LinkBudget, granularity: int
    ) -> Waveform:
        """Build the burst that measures the skew of the arms; it is no secret.

        Its pilots are weaker than those of a run by `TEST_BACKOFF_DB`, which leaves
        the converters the room that its symbols take.

        Parameters
        ----------
        layout : FrameLayout
        budget : LinkBudget
        granularity : int
            Of the generator's segments [sample].
        """
        transmitter = self._config.alice.transmitter
        sps = samples_per_symbol(layout, transmitter.rate_hz)
        pilots = pilot_amplitudes(
            transmitter.pilot_snr_db - TEST_BACKOFF_DB,
            transmitter.weak_pilot_db,
            budget.gain,
            budget.noise_snu,
            sps,
        )
        amplitude = pilots[0] * math.sqrt(sps)
        field = skew_field(layout, transmitter.rate_hz, pilots, amplitude)
        return self.voltages(field, granularity)

    def voltages(self, field: NDArray[np.float32], granularity: int) -> Waveform:
        """Turn a field into the generator's voltages, the arms in step.

        Parameters
        ----------
        field : ndarray, shape (2, n), float32 [sqrt(SNU) per sample]
        granularity : int
            Of the generator's segments [sample].
        """
        transmitter = self._config.alice.transmitter
        half = 0.5 * transmitter.iq_skew_s * transmitter.rate_hz
        together = with_arms_apart(field, (half, -half))
        return drive(together, self._modulator, transmitter.rate_hz, granularity)
