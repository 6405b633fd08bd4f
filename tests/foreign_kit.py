"""A frame of plain Gaussian modulation as another program would have made it.

Written down with numpy from the signal model alone: nothing of the receiver, the
transmitter or the simulator is used. The true phase is kept sample by sample, so
that a demodulator can be built which knows everything but the noise.

Conventions: symbols in sqrt(SNU), vacuum variance 1 per quadrature; white noise
of variance 1 per real sample is shot noise of variance 1 per quadrature after a
matched filter of unit energy.
"""

import json
import math
from dataclasses import dataclass

import numpy as np

SYMBOL_RATE_HZ = 100e6
GENERATOR_HZ = 500e6
ADC_HZ = 2.5e9
SHIFT_HZ = 100e6
PILOTS_HZ = (200e6, 220e6)
ROLL_OFF = 0.5
SPAN = 10
ZC_ROOT, ZC_LENGTH = 5, 3989
LEAD, TAIL = 30_000, 6_000
SCALE_V = 1.0 / 500.0


@dataclass(frozen=True)
class ForeignScene:
    """Light, channel, receiver and clock of one frame."""

    symbols: int = 20_000
    transmittance: float = 0.3162
    eta: float = 0.7
    v_el_snu: float = 0.1
    v_a_snu: float = 5.0
    xi_snu: float = 0.01
    # Of both lasers together.
    linewidth_hz: float = 10e3
    beat_hz: float = 213.7e6
    clock_ppm: float = 3.0
    # Pilots over the mean power of the quantum signal.
    pilots_db: tuple = (12.0, 9.0)
    start: float = LEAD + 0.37
    seed: int = 1

    @property
    def period(self):
        """Symbol period [sample of the receiver]."""
        return ADC_HZ / SYMBOL_RATE_HZ / (1.0 + 1e-6 * self.clock_ppm)

    @property
    def first_symbol(self):
        """Centre of symbol 0 [sample]: mid of its interval, after the preamble."""
        return self.start + (ZC_LENGTH + 2) / GENERATOR_HZ * (
            SYMBOL_RATE_HZ * self.period
        )

    @property
    def signal_snu(self):
        """Variance of Alice's signal in one of Bob's quadratures."""
        return 0.5 * self.eta * self.transmittance * self.v_a_snu

    @property
    def noise_snu(self):
        """Noise of an ideal receiver in one of Bob's quadratures."""
        return 1.0 + self.v_el_snu + 0.5 * self.eta * self.transmittance * self.xi_snu

    @property
    def pilots_snr(self):
        """Power of each pilot over the white noise, per symbol [1]."""
        noise = 1.0 + self.v_el_snu
        return [10 ** (0.1 * db) * self.signal_snu / noise for db in self.pilots_db]

    def smoothed_rad2(self, pilots_snr):
        """Phase variance left by the best two-sided smoother of white pilots.

        Wiener phase of step Q per symbol, measured with variance R per symbol:
        P = Q R / sqrt(Q^2 + 4 Q R).
        """
        q = 2.0 * math.pi * self.linewidth_hz / SYMBOL_RATE_HZ
        r = 0.5 / pilots_snr
        return q * r / math.sqrt(q * q + 4.0 * q * r)

    def clock_sigma_ppm(self):
        """Cramer-Rao bound of the clock from the phase slope of two tones."""
        r = sum(0.5 / snr for snr in self.pilots_snr)
        sigma = math.sqrt(12.0 * r / self.symbols**3)
        return (
            1e6
            * sigma
            / (2.0 * math.pi * (PILOTS_HZ[1] - PILOTS_HZ[0]) / SYMBOL_RATE_HZ)
        )


@dataclass(frozen=True)
class ForeignFrame:
    """The records of one frame, and the truth."""

    scene: ForeignScene
    signal: np.ndarray
    shot: np.ndarray
    electronic: np.ndarray
    alice: np.ndarray
    phase_rad: np.ndarray


def root_raised_cosine(u):
    """Return the root-raised cosine, unit energy per symbol, cut at SPAN symbols."""
    a = ROLL_OFF
    # A hair off the removable singularities at 0 and 1/(4a).
    u = np.where(np.abs(u) < 1e-6, 1e-6, u)
    u = np.where(np.abs(np.abs(4 * a * u) - 1.0) < 1e-6, u * (1.0 + 1e-5), u)
    top = np.sin(np.pi * u * (1 - a)) + 4 * a * u * np.cos(np.pi * u * (1 + a))
    pulse = top / (np.pi * u * (1 - (4 * a * u) ** 2))
    return np.where(np.abs(u) <= SPAN / 2, pulse, 0.0)


def zadoff_chu():
    n = np.arange(ZC_LENGTH, dtype=np.int64)
    return np.exp(-1j * np.pi * ((ZC_ROOT * n * (n + 1)) % (2 * ZC_LENGTH)) / ZC_LENGTH)


def _resampled(sequence, at):
    """Band-limited interpolation: what a reconstruction filter makes of samples."""
    first = np.floor(at).astype(int)
    out = np.zeros(at.size, complex)
    for offset in range(-23, 25):
        index = first + offset
        inside = (index >= 0) & (index < sequence.size)
        distance = at - index
        weight = np.sinc(distance) * np.cos(np.pi * distance / 50.0) ** 2
        out[inside] += sequence[index[inside]] * weight[inside]
    return out


def _baseband(scene, symbols, n):
    """Alice's field around her carrier on Bob's clock, unit energy pulses."""
    u = (np.arange(n) - scene.first_symbol) / scene.period
    first = np.floor(u).astype(int)
    field = np.zeros(n, complex)
    for offset in range(-SPAN // 2, SPAN // 2 + 2):
        index = first + offset
        inside = (index >= 0) & (index < symbols.size)
        pulse = root_raised_cosine(u[inside] - index[inside])
        field[inside] += symbols[index[inside]] * pulse
    time_s = u / SYMBOL_RATE_HZ
    field *= np.exp(2j * np.pi * SHIFT_HZ * time_s)
    # Mean power of the signal: one symbol of variance 2 V_A per symbol period.
    power = 2.0 * scene.v_a_snu
    on = (u > -0.5) & (u < symbols.size - 0.5)
    for db, f in zip(scene.pilots_db, PILOTS_HZ, strict=True):
        tone = math.sqrt(power * 10 ** (0.1 * db)) * np.exp(2j * np.pi * f * time_s)
        field[on] += tone[on]
    at = (np.arange(n) - scene.start) / scene.period * GENERATOR_HZ / SYMBOL_RATE_HZ
    # The preamble as strong as the rest together.
    peak = math.sqrt(power * (1.0 + sum(10 ** (0.1 * d) for d in scene.pilots_db)))
    inside = (at > -30) & (at < ZC_LENGTH + 30)
    field[inside] += peak * _resampled(zadoff_chu(), at[inside])
    # Unit energy per pulse in samples of the receiver.
    return field / math.sqrt(scene.period)


def synthesise(scene):
    """Return the three records of a frame with everything that is true of it."""
    rng = np.random.default_rng(scene.seed)
    n = math.ceil(scene.first_symbol + scene.symbols * scene.period) + TAIL

    def gauss(variance, size):
        pair = rng.standard_normal((2, size))
        return math.sqrt(variance) * (pair[0] + 1j * pair[1])

    alice = gauss(scene.v_a_snu, scene.symbols)
    # Excess noise rides on the symbols: inside the signal's band only.
    field = _baseband(scene, alice + gauss(scene.xi_snu, alice.size), n)
    step = math.sqrt(2.0 * math.pi * scene.linewidth_hz / ADC_HZ)
    phase = rng.uniform(0.0, 2.0 * np.pi) + np.cumsum(step * rng.standard_normal(n))
    carrier = np.exp(1j * (2 * np.pi * scene.beat_hz / ADC_HZ * np.arange(n) + phase))
    light = math.sqrt(scene.eta * scene.transmittance) * (field * carrier).real

    def codes(volts):
        rounded = np.rint(volts / SCALE_V)
        assert np.abs(rounded).max() < 32767
        return rounded.astype(np.int16)

    def white(variance):
        return math.sqrt(variance) * rng.standard_normal(n)

    noise = 1.0 + scene.v_el_snu
    return ForeignFrame(
        scene,
        codes(light + white(noise)),
        codes(white(noise)),
        codes(white(scene.v_el_snu)),
        alice.astype(np.complex64),
        phase,
    )


def ideal_symbols(frame):
    """Demodulate with the true phase, frequency, timing and scale.

    Returns complex symbols in Bob's sqrt(SNU): sqrt(eta T / 2) a + noise.
    """
    scene = frame.scene
    n = frame.signal.size
    index = np.arange(n)
    turns = scene.beat_hz / ADC_HZ * index
    turns += SHIFT_HZ / SYMBOL_RATE_HZ * (index - scene.first_symbol) / scene.period
    base = (
        SCALE_V
        * frame.signal
        * np.exp(-1j * (2 * np.pi * (turns % 1.0) + frame.phase_rad))
    )
    centres = scene.first_symbol + scene.period * np.arange(scene.symbols)
    first = np.floor(centres).astype(int)
    half = math.ceil(0.5 * SPAN * scene.period) + 1
    out = np.zeros(scene.symbols, complex)
    energy = np.zeros(scene.symbols)
    for offset in range(-half, half + 1):
        pulse = root_raised_cosine((first + offset - centres) / scene.period)
        out += pulse * base[first + offset]
        energy += pulse**2
    return math.sqrt(2.0) * out / np.sqrt(energy)


def receiver_knows(scene):
    return {
        "symbols": scene.symbols,
        "adc_rate": ADC_HZ,
        "dac_rate": GENERATOR_HZ,
        "symbol_rate": SYMBOL_RATE_HZ,
        "frequency_shift": SHIFT_HZ,
        "pilot_frequencies": list(PILOTS_HZ),
        "roll_off": ROLL_OFF,
        "zc_root": ZC_ROOT,
        "zc_length": ZC_LENGTH,
        "zc_rate": GENERATOR_HZ,
        "eta": scene.eta,
        "va": scene.v_a_snu,
        "scale_v_per_code": SCALE_V,
    }


def write_folder(frame, folder):
    """Write the files in the layout that ``scqc import foreign-npy`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("signal", "shot", "electronic"):
        np.save(folder / f"{kind}.npy", getattr(frame, kind))
    np.save(folder / "alice_symbols.npy", frame.alice)
    (folder / "receiver_knows.json").write_text(json.dumps(receiver_knows(frame.scene)))
    return folder
