"""The driver of Spectrum cards, records and streams, on a stand-in of the package."""

import contextlib
import sys
import tracemalloc

import numpy as np
import pytest
import spcm_stub
from local_kit import opened_driver

from driver import hal
from driver.digitizer.spectrum_spcm import RING_BLOCKS
from driver.hal_stream import StreamingDigitizer
from driver.links import check_resource, takes_one_client
from driver.registry import DRIVERS
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    InstrumentTimeout,
    RangeError,
    StateError,
)

pytestmark = pytest.mark.hil

NAME, RESOURCE, BLOCK = "spectrum.spcm", "spcm:///dev/spcm0", 4096
CONFIG = hal.DigitizerConfig(100e6, 1000, {1: 1.0, 3: 0.5})


@pytest.fixture
def card():
    with spcm_stub.installed() as cards:
        yield cards


@pytest.fixture
def digitizer(card):
    with opened_driver(NAME, RESOURCE) as driver:
        driver.configure(CONFIG)
        yield driver


def test_registers_are_those_of_the_manual(card, digitizer):
    written = dict(card[0].written)
    number = spcm_stub.NUMBERS
    assert written[number["SPC_CHENABLE"]] == 0b101
    assert written[number["SPC_SAMPLERATE"]] == 100_000_000
    # Half of the range, in millivolts, at the addresses of channels 0 and 2.
    assert (written[30010], written[30210]) == (500, 250)
    assert (written[30030], written[30230]) == (1, 1)
    # A record of whole steps of 32 samples.
    assert written[number["SPC_MEMSIZE"]] == 1024
    external = hal.DigitizerConfig(100e6, 1000, {1: 1.0}, "external", 0.25)
    digitizer.configure(external)
    written = dict(card[0].written)
    assert written[number["SPC_TRIG_ORMASK"]] == number["SPC_TMASK_EXT0"]
    assert written[number["SPC_TRIG_EXT0_LEVEL0"]] == 250


def test_a_stream_has_every_sample_once(card, digitizer):
    assert isinstance(digitizer, StreamingDigitizer)
    blocks = digitizer.stream(BLOCK, 1.0)
    assert card[0].starts == 0
    found = [next(blocks) for _ in range(3 * RING_BLOCKS)]
    blocks.close()
    assert not card[0].running
    assert [b.first_sample for b in found] == [BLOCK * k for k in range(len(found))]
    assert not any(b.after_gap for b in found)
    codes = np.concatenate([b.trace.codes for b in found], axis=1)
    ramp = np.arange(BLOCK * len(found)) % 30000
    np.testing.assert_array_equal(codes, [ramp, ramp + 100])
    assert found[0].trace.scale_v == pytest.approx((1.0 / 65534, 0.5 / 65534))
    assert found[0].trace.rate_hz == 100e6


def test_who_is_too_slow_is_told_of_the_gap(card, digitizer):
    blocks = digitizer.stream(BLOCK, 1.0)
    before = [next(blocks) for _ in range(2)]
    while not card[0].overrun:
        with contextlib.suppress(spcm_stub.SpcmException):
            card[0].ring.fill()
    after = [next(blocks) for _ in range(2)]
    assert [b.after_gap for b in before + after] == [False, False, True, False]
    assert [b.first_sample for b in after] == [2 * BLOCK, 3 * BLOCK]
    # It begins anew: nothing of the old ring is passed off as the next samples.
    assert after[0].trace.codes[0, 0] == 0
    blocks.close()


def test_an_overrun_that_is_an_error_is_a_gap_too(card, digitizer, monkeypatch):
    blocks = digitizer.stream(BLOCK, 1.0)
    next(blocks)
    ring = card[0].ring
    ring.n_samples, ring.held = 0, 0
    assert next(blocks).after_gap
    blocks.close()


def test_abort_ends_a_stream(card, digitizer):
    blocks = digitizer.stream(BLOCK, 1.0)
    next(blocks)
    digitizer.abort()
    assert list(blocks) == []
    assert not card[0].running


def test_silence_ends_a_stream_in_time(card, digitizer):
    card[0].silent = True
    blocks = digitizer.stream(BLOCK, 0.2)
    with pytest.raises(InstrumentTimeout, match=r"no block within 0\.2 s"):
        next(blocks)
    assert not card[0].running


def test_memory_of_a_stream_is_bounded(digitizer):
    blocks = digitizer.stream(BLOCK, 1.0)
    next(blocks)
    tracemalloc.start()
    for _ in range(20):
        next(blocks)
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(200):
        next(blocks)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    blocks.close()
    # A block of two channels has 16 KiB; two hundred of them would be 3 MiB.
    assert after - before < 1 << 18


@pytest.mark.parametrize("block_samples", [0, -1, 1000, 1023])
def test_block_lengths(card, digitizer, block_samples):
    before = len(card[0].written)
    with pytest.raises(RangeError, match="multiples of 4096 bytes"):
        digitizer.stream(block_samples, 1.0)
    assert len(card[0].written) == before


def test_a_stream_needs_settings(card):
    with opened_driver(NAME, RESOURCE) as driver, pytest.raises(StateError):
        driver.stream(BLOCK, 1.0)


def test_records_after_a_stream(digitizer):
    blocks = digitizer.stream(BLOCK, 1.0)
    next(blocks)
    blocks.close()
    digitizer.arm()
    digitizer.wait(60.0)
    assert digitizer.fetch(60.0).codes.shape == (2, 1000)


def test_what_the_card_reports_is_a_device_error(card, digitizer):
    card[0].opened = False
    with pytest.raises(DeviceError, match="The card is closed"):
        digitizer.ping()
    with pytest.raises(DeviceError, match="The card is closed"):
        digitizer.configure(CONFIG)
    card[0].opened = True


def test_the_cards_own_rate_is_a_limit(card, digitizer):
    with pytest.raises(RangeError, match=r"1000\.\.5e\+08"):
        digitizer.configure(hal.DigitizerConfig(1e9, 1000, {1: 1.0}))


@pytest.mark.usefixtures("card")
def test_a_card_that_is_not_there():
    with (
        pytest.raises(ConnectError, match="No card found"),
        opened_driver(NAME, "spcm://TCPIP::192.0.2.8::inst0::INSTR"),
    ):
        pass


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spcm", None)
    with (
        pytest.raises(ConnectError, match="pip install spcm"),
        opened_driver(NAME, RESOURCE),
    ):
        pass


@pytest.mark.parametrize("resource", ["spcm:", "spcm://", "tcp://h:1", "spcm://a b"])
def test_resources(resource):
    with pytest.raises(RangeError, match="expected spcm:///dev/spcm0"):
        check_resource(DRIVERS[NAME].link, "resource", resource)
    assert takes_one_client(RESOURCE)
