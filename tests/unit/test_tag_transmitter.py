"""What is played is what Alice wrote down, at the volts the modulators need."""

import math

import numpy as np
import pytest

from dsp.time_tags.settings import PulseSettings, SlotLayout
from dsp.time_tags.slots import SYNC_FLAG, VACUUM, intensity, is_sync, pack
from dsp.time_tags.sync import place, sync_pattern
from dsp.time_tags.transmitter import PHASES_RAD, pulse_waveform, read_back
from scqc.core.errors import SignalError

LAYOUT = SlotLayout(frame_slots=1 << 12)
PULSES = PulseSettings(mean_photons=(0.5, 0.1, 0.0))


def _slots(n, seed=1):
    rng = np.random.default_rng(seed)
    parts = (rng.integers(0, top, n, dtype=np.uint8) for top in (2, 2, 3))
    return pack(*parts)


@pytest.mark.parametrize("samples_per_slot", [2, 4, 6])
def test_the_waveform_reads_back_as_the_slots(samples_per_slot):
    layout = LAYOUT.model_copy(update={"samples_per_slot": samples_per_slot})
    slots = place(_slots(10_000), layout)
    wave = pulse_waveform(slots, layout, PULSES)
    assert wave.rate_hz == samples_per_slot * 250e6
    # A 10-bit converter over the generator's range.
    step = 0.7 / 1024
    played = (np.rint(wave.samples / step) * step).astype(np.float32)
    np.testing.assert_array_equal(read_back(played, layout, PULSES), slots & 0x0F)


def test_levels_follow_the_modulators_laws():
    slots = np.array([0b0000, 0b0101, 0b1010, 0b0011], dtype=np.uint8)
    im, pm = pulse_waveform(slots, LAYOUT, PULSES).samples.reshape(2, 4, 4)
    opened = np.sin(math.pi * im * 10.0 / (2.0 * 3.5)) ** 2
    np.testing.assert_allclose(opened[:, 0], [0.5, 0.1, 0.0, 0.5], atol=1e-6)
    assert np.all(im == im[:, :1])
    assert np.all(pm[:, :2] == 0.0)
    turned = pm[:, 2:] * 10.0 / 3.5 * math.pi
    # pi * bit + pi / 2 * basis, as points on the circle.
    wanted = np.exp(1j * math.pi * np.array([0.0, 1.0, 0.5, 1.5]))
    np.testing.assert_allclose(np.exp(1j * turned), wanted[:, None] * [1, 1], atol=1e-6)
    assert max(PHASES_RAD) - min(PHASES_RAD) <= 1.5 * math.pi


def test_a_wrong_level_is_noticed():
    wave = pulse_waveform(_slots(64), LAYOUT, PULSES)
    damaged = wave.samples.copy()
    damaged[0, 9] += 0.2
    with pytest.raises(SignalError, match="slot 2"):
        read_back(damaged, LAYOUT, PULSES)


def test_what_the_generator_cannot_play_is_refused():
    weak = PULSES.model_copy(update={"phase_gain": 5.0})
    with pytest.raises(SignalError, match="phase modulator"):
        pulse_waveform(_slots(8), LAYOUT, weak)
    with pytest.raises(SignalError, match="slot 1"):
        pulse_waveform(np.array([0, 12], dtype=np.uint8), LAYOUT, PULSES)


def test_public_slots_repeat_every_frame():
    slots = place(np.full(10_000, 0b0101, dtype=np.uint8), LAYOUT)
    flags = is_sync(slots)
    assert flags.sum() == sum(
        (sync_pattern(LAYOUT).positions + k * 4096 < 10_000).sum() for k in range(3)
    )
    np.testing.assert_array_equal(slots[4096:8192], slots[:4096])
    assert np.all(slots[~flags] == 0b0101)


def test_the_pattern_is_fair_and_its_own_seed_s():
    pattern = sync_pattern(SlotLayout(frame_slots=1 << 20))
    other = sync_pattern(SlotLayout(frame_slots=1 << 20, sync_seed=2))
    n = pattern.positions.size
    assert n == 1 << 16
    assert np.all(np.diff(pattern.positions) > 0)
    assert np.all(pattern.codes & SYNC_FLAG)
    for fraction, found in (
        (0.5, intensity(pattern.codes) == VACUUM),
        (0.5, pattern.codes & 1),
        (0.5, (pattern.codes >> 1) & 1),
        (1 / 16, pattern.positions == other.positions),
        (0.5, intensity(pattern.codes) == intensity(other.codes)),
    ):
        sigma = math.sqrt(fraction * (1 - fraction) / n)
        assert abs(np.mean(found) - fraction) < 5 * sigma


def test_the_pattern_never_moves():
    """The words of Philox 4x64 with key 1, as numpy's reference gives them."""
    words = np.random.Philox(1).random_raw(3)
    found = sync_pattern(LAYOUT).positions[:3]
    np.testing.assert_array_equal(found - 16 * np.arange(3), words % 16)
