"""The streaming demodulator on written-down records."""

import math
from dataclasses import replace

import numpy as np
import pytest
from light_kit import RATE_HZ, Scene, chunked, light, receiver

from dsp import demodulator as module
from dsp.acquisition import acquire
from dsp.demodulator import (
    BANK_PHASES,
    BLOCK_SAMPLES,
    LOOK_AHEAD_HOPS,
    Demodulator,
    SampleWindow,
    matched_bank,
)
from dsp.displacement import remove_displacement
from scqc.core.errors import LockError, SyncError

# Four blocks of samples, clock off by 3 ppm, a beat off by a few kilohertz.
LONG = Scene(symbols=34_000, clock_ppm=3.0, offset_hz=7e3, linewidth_hz=200.0)


def _demodulator(record):
    samples = record.codes[: 1 << 16].astype(np.float32)
    lock = acquire(samples, RATE_HZ, record.layout, receiver())
    return Demodulator(record.layout, receiver(), RATE_HZ, lock)


def _symbols(record, chunk=1 << 16):
    demodulator = _demodulator(record)
    parts = list(demodulator.run(chunked(record.codes, chunk)))
    return np.concatenate(parts), demodulator


@pytest.fixture(scope="module")
def received():
    return _symbols(light(LONG))


def test_symbols_come_back_with_shot_noise_only(received):
    symbols, _ = received
    record = light(LONG)
    data = symbols[LONG.preamble :] / LONG.code
    sent = record.data / math.sqrt(2.0)
    turn = np.vdot(data, sent)
    data *= turn / abs(turn)
    gain = abs(turn) / np.vdot(sent, sent).real
    # The rounding to codes is below 1e-4 of the noise; gain is that of the mode.
    sigma_gain = 1.0 / math.sqrt(np.vdot(sent, sent).real)
    assert gain == pytest.approx(1.0, abs=5 * sigma_gain + 2e-3)
    known = (record.data / abs(LONG.displacement)).astype(np.complex64)
    rest = remove_displacement(data.astype("c8"), known, np.zeros(0, "c8"), 13).symbols
    inner = rest[50:-50]
    variance = 0.5 * float(np.mean(np.abs(inner) ** 2))
    sigma = 1.0 / math.sqrt(inner.size)
    # Residual phase: pilots of 40 dB, 200 Hz: (D^2/2 + V_A) P below 0.02 SNU.
    assert -5 * sigma < variance - 1.0 < 5 * sigma + 0.02


def test_a_strong_displacement_leaves_no_trace():
    """Bookkeeping of the carrier to a milliradian, smoothing over its whole reach.

    With 50 dB of displacement every shortcut shows: interpolating at the filter
    bank's grid without turning back costs ``D^2/2 (2 pi 0.2375 / 256)^2 / 12`` =
    0.13 SNU, a smoother of a few hops 0.2 SNU.
    """
    strong = replace(
        LONG,
        displacement=300.0,
        preamble_amplitude=300.0,
        code=25.0,
        linewidth_hz=0.0,
    )
    record = light(strong)
    symbols, _ = _symbols(record)
    data = (symbols[strong.preamble :] / strong.code).astype("c8")
    # The bits and the Gaussian variable together are what was sent.
    known = (record.data / 300.0).astype("c8")
    rest = remove_displacement(data, known, np.zeros(0, "c8"), 41).symbols[50:-50]
    excess = 0.5 * float(np.mean(np.abs(rest) ** 2)) - 1.0
    # Left by theory: 0.005 for the pilot's noise, 0.001 for the 41 taps.
    assert abs(excess) < 5 / math.sqrt(rest.size) + 0.03


@pytest.mark.parametrize("power", [14, 15, 17, 18, 20])
def test_symbols_do_not_depend_on_the_chunks(received, power):
    other, demodulator = _symbols(light(LONG), 1 << power)
    np.testing.assert_array_equal(other, received[0])
    assert demodulator.report == received[1].report


def test_chunks_of_one_size_after_another_do_not_matter(received):
    record, at, chunks = light(LONG), 0, []
    for size in (1, 7, 100_000, 3, 50_000, 1 << 20):
        chunks.append(record.codes[at : at + size])
        at += size
    parts = list(_demodulator(record).run(chunks))
    np.testing.assert_array_equal(np.concatenate(parts), received[0])


def test_report_follows_clock_and_pilot(received):
    symbols, demodulator = received
    report = demodulator.report
    assert symbols.size == LONG.preamble + LONG.symbols
    assert demodulator.first_symbol == -LONG.preamble
    # Tracked over the whole record: an order better than the acquisition.
    assert report.clock_ppm == pytest.approx(3.0, abs=0.02)
    assert report.cycle_slips == 0
    n_blocks = math.ceil(symbols.size * 8 / BLOCK_SAMPLES)
    assert len(report.pilot_phase_rad) == n_blocks
    strong = LONG.code * math.sqrt(1e4 * 2.0 / 0.5 / 8.0) / 2.0
    np.testing.assert_allclose(report.pilot_amplitude, strong, rtol=2e-3)


@pytest.mark.parametrize("missing", [200, 2000, 9000, 33_000, 70_000, 200_000])
def test_a_record_that_ends_inside_the_frame_is_a_sync_error(missing):
    record = light(LONG)
    codes = record.codes[: record.codes.size - LONG.tail - missing]
    with pytest.raises(SyncError, match="record ends inside the frame"):
        list(_demodulator(record).run(chunked(codes, 1 << 15)))


def test_a_record_that_starts_too_late_is_a_sync_error():
    record = light(LONG)
    demodulator = _demodulator(record)
    lock = demodulator.report.lock
    cut = int(LONG.start) - 40
    late = replace(lock, first_symbol_sample=lock.first_symbol_sample - cut)
    moved = Demodulator(record.layout, receiver(), RATE_HZ, late)
    with pytest.raises(SyncError, match="starts too late"):
        list(moved.run([record.codes[cut:]]))


def test_a_pilot_that_goes_out_is_a_lock_error():
    record = light(LONG)
    codes = record.codes.copy()
    rng = np.random.default_rng(1)
    dark = np.round(40.0 * rng.standard_normal(codes.size - 150_000))
    codes[150_000:] = dark.astype(np.int16)
    with pytest.raises(LockError, match="strong pilot"):
        list(_demodulator(record).run([codes]))


@pytest.mark.parametrize("size", [1 << 12, 1 << 16])
def test_memory_is_one_block_and_the_look_ahead(monkeypatch, size):
    held, longest = [], []
    original = SampleWindow.get

    def spy(self, start, stop):
        out = original(self, start, stop)
        longest.append(stop - start)
        held.append(self._held.size)
        return out

    monkeypatch.setattr(module.SampleWindow, "get", spy)
    record = light(LONG)
    demodulator = _demodulator(record)
    list(demodulator.run(chunked(record.codes, size)))
    list(demodulator.replay(chunked(record.shot, size)))
    hop = demodulator._filters[0].hop
    taps = demodulator.bank[0].shape[1]
    block = BLOCK_SAMPLES + LOOK_AHEAD_HOPS * hop + 2 * taps + 512
    assert max(longest) <= block < record.codes.size
    # What came in with the last chunk waits for the next block.
    assert max(held) <= block + size


def test_the_window_refuses_to_go_back():
    window = SampleWindow([np.arange(100, dtype=np.int16)])
    np.testing.assert_array_equal(window.get(40, 50), np.arange(40, 50))
    with pytest.raises(LockError, match="are gone"):
        window.get(39, 50)
    assert window.get(90, 200).size == 10


def test_bank_rows_have_the_noise_gain_of_a_unit_filter():
    bank_re, bank_im = matched_bank(1.49, 8.0001, 0.2, 32)
    assert bank_re.shape[0] == BANK_PHASES
    power_re = np.sum(bank_re.astype(float) ** 2, axis=1)
    power_im = np.sum(bank_im.astype(float) ** 2, axis=1)
    # Together exactly two; each quadrature's share is one up to the filter's
    # response at twice the carrier.
    np.testing.assert_allclose(power_re + power_im, 2.0, atol=1e-6)
    np.testing.assert_allclose(power_re, 1.0, atol=1e-5)
    cross = np.sum(bank_re.astype(float) * bank_im, axis=1)
    np.testing.assert_allclose(cross, 0.0, atol=1e-5)


def test_calibration_runs_at_every_fraction_of_a_sample():
    record = light(LONG)
    demodulator = _demodulator(record)
    parts = list(demodulator.replay(chunked(record.shot, 10_000)))
    symbols = np.concatenate(parts)
    n = record.shot.size
    assert symbols.size == pytest.approx((n - demodulator.bank[0].shape[1]) / 8, abs=3)
    whole = np.concatenate(list(demodulator.replay([record.shot])))
    np.testing.assert_array_equal(symbols, whole)
    # White noise of variance code^2 gives code^2 per quadrature.
    variance = 0.5 * float(np.mean(np.abs(symbols) ** 2)) / LONG.code**2
    assert variance == pytest.approx(1.0, abs=5 / math.sqrt(symbols.size) + 1e-4)


def test_a_last_block_of_a_few_hops_does_not_move_the_clock():
    """The frame ends just behind a block's edge and the record right after it."""
    record = light(LONG)
    whole, _ = _symbols(record)
    demodulator = _demodulator(record)
    hop = demodulator._filters[0].hop
    # Blocks begin one sample before the first symbol of the preamble.
    edge = int(LONG.start) - 1 + 2 * (BLOCK_SAMPLES // hop) * hop
    n = math.ceil((edge - LONG.first_symbol) / LONG.period) + 3
    layout = record.layout.model_copy(update={"symbols": n})
    end = math.ceil(LONG.first_symbol + n * LONG.period) + 140
    short = Demodulator(layout, receiver(), RATE_HZ, demodulator.report.lock)
    symbols = np.concatenate(list(short.run([record.codes[:end]])))
    assert symbols.size == LONG.preamble + n
    # Pilot phase without its look-ahead is a little noisier, nothing else.
    error = np.abs(symbols[-3:] - whole[: symbols.size][-3:]) / LONG.code
    assert np.max(error) < 0.3
