"""Synthetic light and synthetic parties, for the tests of receiver and protocols.

Nothing here comes from the simulator or the transmitter: records are written
down from the signal model, symbols from the linear channel.
"""

import hashlib
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from dsp.acquisition import Lock
from dsp.calibration import NoiseVariance, shot_noise_unit
from dsp.decision import map_bits
from dsp.demodulator import DemodulatorReport
from dsp.framing import preamble_symbols
from dsp.phase import PhaseNoise
from dsp.pipeline import ReceivedBurst
from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout, QpskPreamble, ReceiverSettings
from protocols.messages import wire
from protocols.schemes.cv_alice import AliceRecord, CvAlice
from protocols.schemes.cv_bob import CvBob
from protocols.schemes.cv_common import frame_codec
from protocols.schemes.cv_reception import Cancellation, Reception
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    LinkKeys,
    PublicChannel,
)
from protocols.settings import ClassicalSettings, SecuritySettings
from scqc.core.rng import ReplayEntropy

RATE_HZ = 400e6
BEAT_HZ = 150e6
SPAN = 32


def small_layout(symbols=4096, preamble=1024, amplitude=12.0, **changes):
    known = QpskPreamble(symbols=preamble, amplitude_sqrt_snu=amplitude)
    return FrameLayout(symbols=symbols, preamble=known, **changes)


def receiver(**changes):
    return ReceiverSettings(acquisition_samples=1 << 16, **changes)


@dataclass(frozen=True)
class Scene:
    """A record written down from the signal model.

    Amplitudes in sqrt(SNU) at a detector of unit efficiency behind no loss;
    shot noise is white with variance 1 per sample, times `code` per sqrt(SNU).
    """

    symbols: int = 4096
    preamble: int = 1024
    start: float = 3000.25  # centre of data symbol 0, minus the preamble [sample]
    tail: int = 600
    clock_ppm: float = 0.0
    offset_hz: float = 0.0
    linewidth_hz: float = 0.0
    displacement: float = 8.0
    preamble_amplitude: float = 12.0
    v_a_snu: float = 2.0
    pilot_db: float = 40.0
    noise: float = 1.0
    code: float = 40.0
    seed: int = 1

    @property
    def first_symbol(self):
        """Centre of data symbol 0 [sample of the receiver]."""
        return self.start + self.preamble * self.period

    @property
    def period(self):
        """Symbol period [sample of the receiver]."""
        return 8.0 / (1.0 + 1e-6 * self.clock_ppm)


@dataclass(frozen=True)
class Light:
    codes: np.ndarray
    shot: np.ndarray
    data: np.ndarray  # complex data symbols as sent
    phase_rad: np.ndarray
    layout: FrameLayout
    scene: Scene


@cache
def light(scene: Scene) -> Light:
    """Write down a record: pulses, pilots, carrier phase, shot noise."""
    rng = np.random.default_rng([scene.seed, 77])
    layout = small_layout(scene.symbols, scene.preamble, scene.preamble_amplitude)
    signs = 1.0 - 2.0 * rng.integers(0, 2, (scene.symbols, 2))
    gauss = math.sqrt(scene.v_a_snu) * rng.standard_normal((scene.symbols, 2))
    data = (scene.displacement * signs + gauss) @ np.array([1.0, 1.0j])
    known = layout.preamble.amplitude_sqrt_snu * preamble_symbols(layout.preamble)
    sent = np.concatenate([known, data])
    n = math.ceil(scene.start + (sent.size + SPAN) * scene.period) + scene.tail
    sample = np.arange(n, dtype=np.float64)
    # Transmitter time in symbols since data symbol 0, then in seconds.
    symbol = (sample - scene.first_symbol) / scene.period
    time_s = symbol / layout.symbol_rate_hz
    train = np.zeros(n, dtype=np.complex128)
    position = symbol + scene.preamble
    first = np.floor(position).astype(np.int64)
    for offset in range(-SPAN // 2 + 1, SPAN // 2 + 1):
        index = first + offset
        inside = (index >= 0) & (index < sent.size)
        pulse = finite_pulse(position[inside] - index[inside], layout.roll_off, SPAN)
        train[inside] += sent[index[inside]] * pulse
    # Unit energy at 8 samples per symbol.
    grid = np.arange(-SPAN // 2 * 8, SPAN // 2 * 8 + 1) / 8.0
    train /= math.sqrt(float(np.sum(finite_pulse(grid, layout.roll_off, SPAN) ** 2)))
    field_ = train * np.exp(2j * np.pi * layout.centre_hz * time_s)
    strong = math.sqrt(10.0 ** (scene.pilot_db / 10.0) * 2.0 / 0.5 / 8.0)
    for amplitude, hz in zip((strong, 0.5 * strong), layout.pilots_hz, strict=True):
        lit = (sample > scene.start - 20 * 8) & (sample < n - scene.tail)
        field_ += amplitude * lit * np.exp(2j * np.pi * hz * time_s)
    step = math.sqrt(2.0 * math.pi * scene.linewidth_hz / RATE_HZ)
    phase = 0.7 + np.cumsum(step * rng.standard_normal(n))
    turns = (BEAT_HZ + scene.offset_hz) / RATE_HZ * sample
    received = (field_ * np.exp(1j * (2.0 * np.pi * (turns % 1.0) + phase))).real
    received += math.sqrt(scene.noise) * rng.standard_normal(n)
    shot = scene.code * rng.standard_normal(n)
    codes = np.round(scene.code * received)
    return Light(
        codes.astype(np.int16),
        np.round(shot).astype(np.int16),
        data,
        phase,
        layout,
        scene,
    )


def chunked(codes, size):
    return [codes[i : i + size] for i in range(0, codes.size, size)]


def some_lock(**changes):
    lock = Lock(
        (32e6, 138e6), 0.0, 0.01, 3000.0, 0.0, 100.0, PhaseNoise(1e-6, 1e-4), 40.0
    )
    return replace(lock, **changes)


# The parties ------------------------------------------------------------------

LINK = "test-run/0"


@dataclass(frozen=True)
class Channel:
    """The linear heterodyne channel the parties talk over."""

    transmittance: float = 0.99
    efficiency: float = 1.0
    electronic_snu: float = 0.01
    xi_snu: float = 0.0
    v_a_snu: float = 4.0

    @property
    def gain(self):
        return math.sqrt(0.5 * self.efficiency * self.transmittance)

    @property
    def noise_snu(self):
        return 1.0 + self.electronic_snu + self.gain**2 * self.xi_snu


@dataclass(frozen=True)
class Block:
    """What the parties hold before they talk."""

    alice: AliceRecord
    bursts: list[ReceivedBurst]
    layout: FrameLayout
    classical: ClassicalSettings
    security: SecuritySettings
    codec: object = None
    keys: dict = field(default_factory=lambda: link_keys())


def link_keys(seed=3):
    source = ReplayEntropy(seed, "link keys")
    return {
        direction: LinkKeys(source.read(16), source.read(16))
        for direction in (ALICE_TO_BOB, BOB_TO_ALICE)
    }


def received_burst(symbols, electronic_snu, n_calibration, gain=0.0):
    """A burst in codes of one tenth sqrt(SNU), its calibration exact."""
    scale = 10.0
    power = 2 * n_calibration * scale**2
    shot = NoiseVariance(
        0.5 * power * (1 + electronic_snu),
        0.5 * power * (1 + electronic_snu),
        n_calibration,
    )
    dark = NoiseVariance(
        0.5 * power * electronic_snu, 0.5 * power * electronic_snu, n_calibration
    )
    return ReceivedBurst(
        (scale * symbols).astype(np.complex64),
        scale * gain,
        shot,
        dark,
        shot_noise_unit(shot, dark),
        DemodulatorReport(some_lock(), 0.0),
    )


def complex_normal(rng, n, variance=1.0):
    """Complex noise of the given variance per quadrature."""
    values = rng.standard_normal((n, 2)) * np.sqrt(variance).reshape(-1, 1)
    return values @ np.array([1.0, 1.0j])


def plain_block(
    n_symbols=44_000, channel=None, seed=5, n_calibration=10**9, **security
):
    """Gaussian modulation without displacement."""
    channel = channel or Channel()
    rng = np.random.default_rng([seed, 88])
    sent = complex_normal(rng, n_symbols, np.float64(channel.v_a_snu))
    sent = sent.astype(np.complex64)
    noise = complex_normal(rng, n_symbols, np.float64(channel.noise_snu))
    burst = received_burst(
        channel.gain * sent + noise, channel.electronic_snu, n_calibration
    )
    settings = {
        "v_a_snu": channel.v_a_snu,
        "detector_efficiency": channel.efficiency,
        "epsilon": 9e-3,
        "disclosed_symbols": 2000,
        "code_size": 256,
        "threads": 1,
    } | security
    return Block(
        AliceRecord(sent, np.zeros((0, 0), np.uint8), bytes(32)),
        [burst],
        FrameLayout(symbols=n_symbols),
        ClassicalSettings(psk="none"),
        SecuritySettings(**settings),
    )


def make_alice(block):
    channel = PublicChannel(LINK, block.keys)
    return CvAlice(block.alice, block.classical, block.security, channel)


def make_bob(block, entropy_seed=1):
    reception = None
    if block.codec is not None:
        reception = Reception(
            block.bursts,
            block.layout,
            block.classical,
            block.codec,
            Cancellation(),
            block.security.threads,
        )
    return CvBob(
        block.bursts,
        reception,
        block.security,
        ReplayEntropy(entropy_seed, "bob"),
        PublicChannel(LINK, block.keys),
    )


Tamper = Callable[[int, str, bytes], bytes]


@dataclass
class Talk:
    """Both parties after (or in the middle of) their conversation."""

    alice: CvAlice
    bob: CvBob
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    outbox: list[tuple[str, bytes]] | None = None

    def of(self, kind):
        """Return the messages of one kind, unpacked."""
        decoded = [wire.decode(data) for _, data in self.messages]
        return [m for m in decoded if isinstance(m, kind)]

    def run(self, tamper: Tamper = lambda number, sender, data: data):
        if self.outbox is None:
            self.outbox = [("bob", m) for m in self.bob.start()]
        while self.outbox:
            sender, data = self.outbox.pop(0)
            data = tamper(len(self.messages), sender, data)
            self.messages.append((sender, data))
            peer, name = (self.alice, "alice") if sender == "bob" else (self.bob, "bob")
            self.outbox += [(name, m) for m in peer.receive(data)]
        return self

    def moments(self):
        """Run to the end; return copies of both parties before each message."""
        copies = []

        def note(number, sender, data):
            copy = deepcopy(self)
            copy.outbox.insert(0, (sender, data))
            copies.append(copy)
            return data

        self.run(note)
        return copies


def talk(block, entropy_seed=1):
    return Talk(make_alice(block), make_bob(block, entropy_seed))


def displaced_block(frame_noise_snu, q=2.33, fec_rate=8 / 9, seed=6, **security):
    """QPSK through the FEC, one burst per two equal parts of the frames.

    Parameters
    ----------
    frame_noise_snu : sequence of float
        Excess noise at Bob of every classical frame [SNU]; its length is even.
    q : float
        Displacement over the total noise of a frame without excess noise [1].
    """
    channel = Channel(0.631, 0.85, 0.05, 0.0, 2.0)
    classical = ClassicalSettings(
        psk="qpsk", fec_rate=fec_rate, frames_per_burst=len(frame_noise_snu) // 2
    )
    codec = frame_codec(classical, b"test")
    payload = b"the payload need not be secret" * 8
    coded = codec.build(payload, len(frame_noise_snu), ReplayEntropy(seed, "filler"))
    directions = map_bits(coded.ravel(), "qpsk")
    per_frame = codec.fec.n_bits // 2
    rng = np.random.default_rng([seed, 99])
    sent = complex_normal(rng, directions.size, np.float64(channel.v_a_snu))
    noise = complex_normal(
        rng,
        directions.size,
        np.repeat(channel.noise_snu + np.asarray(frame_noise_snu), per_frame),
    )
    total = channel.noise_snu + channel.gain**2 * channel.v_a_snu
    y = q * math.sqrt(total) * directions + channel.gain * sent + noise
    settings = {
        "v_a_snu": channel.v_a_snu,
        "detector_efficiency": channel.efficiency,
        "disclosed_symbols": 10_000,
        "code_size": 256,
        "threads": 1,
    } | security
    half = directions.size // 2
    layout = FrameLayout(symbols=half)
    # A preamble gain of zero: nothing leaks in from a preamble never sent.
    bursts = [
        received_burst(part, channel.electronic_snu, 10**9)
        for part in (y[:half], y[half:])
    ]
    return Block(
        AliceRecord(
            sent.astype(np.complex64), coded, hashlib.sha256(payload).digest(), 2
        ),
        bursts,
        layout,
        classical,
        SecuritySettings(**settings),
        codec,
    )
