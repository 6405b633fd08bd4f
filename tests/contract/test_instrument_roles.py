"""One suite per role, over every driver that plays it."""

import inspect

import numpy as np
import pytest
from bench_kit import served, settings_for

from driver import hal
from driver.registry import DRIVERS, make_driver
from driver.scpi.link import ScpiLink
from driver.transports.tcp import TcpTransport
from scqc.core.errors import InstrumentTimeout, RangeError, StateError
from scqc.core.records import Trace, Waveform

ROLES = {"awg": hal.ArbitraryWaveformGenerator, "digitizer": hal.Digitizer}
RATE_HZ = 400e6


def playing(role):
    return [name for name, entry in DRIVERS.items() if entry.role == role]


@pytest.fixture
def instrument(request):
    """The driver named by the parameter, open, on its served emulator."""
    with served() as lab:
        names = {s.driver: n for n, s in settings_for(lab.endpoints).items()}
        name = names[request.param]
        link = ScpiLink(TcpTransport(name, lab.endpoints[name]), io_timeout_s=2.0)
        driver = make_driver(request.param, link)
        driver.open()
        yield driver
        driver.close()


@pytest.mark.parametrize("instrument", DRIVERS, indirect=True)
class TestEveryInstrument:
    def test_plays_its_role(self, instrument):
        roles = [r for r in ROLES.values() if isinstance(instrument, r)]
        assert len(roles) == 1

    def test_signatures_are_those_of_the_role(self, instrument):
        role = next(r for r in ROLES.values() if isinstance(instrument, r))
        for name, wanted in inspect.getmembers(role, inspect.isfunction):
            if name.startswith("_"):
                continue
            got = inspect.signature(getattr(type(instrument), name))
            assert list(got.parameters) == list(inspect.signature(wanted).parameters)

    def test_identity_and_ping(self, instrument):
        assert instrument.identity.model
        instrument.ping()

    def test_safe_state_and_close_are_idempotent(self, instrument):
        for _ in range(2):
            instrument.safe_state(1.0)
        for _ in range(2):
            instrument.close()
        with pytest.raises(StateError):
            instrument.ping()

    def test_open_again_after_close(self, instrument):
        instrument.close()
        assert instrument.open() == instrument.identity
        instrument.ping()


@pytest.mark.parametrize("instrument", playing("awg"), indirect=True)
class TestGenerator:
    def configured(self, awg):
        taken = awg.configure(hal.AwgConfig(RATE_HZ, {1: 0.5, 2: 0.6}))
        assert taken == hal.AwgConfig(RATE_HZ, {1: 0.5, 2: 0.6})

    def test_minimum_fits_the_granularity(self, instrument):
        assert instrument.minimum_samples % instrument.granularity == 0
        self.configured(instrument)
        samples = np.zeros((2, instrument.minimum_samples), dtype=np.float32)
        instrument.upload(Waveform(samples, RATE_HZ))
        instrument.start()
        instrument.stop()

    @pytest.mark.parametrize("extra", [-1, 1])
    def test_other_lengths_are_refused(self, instrument, extra):
        self.configured(instrument)
        n_samples = instrument.minimum_samples + extra
        samples = np.zeros((2, n_samples), dtype=np.float32)
        with pytest.raises(RangeError):
            instrument.upload(Waveform(samples, RATE_HZ))

    @pytest.mark.parametrize("rows", [1, 3])
    def test_other_channel_counts_are_refused(self, instrument, rows):
        self.configured(instrument)
        samples = np.zeros((rows, 1280), dtype=np.float32)
        with pytest.raises(RangeError):
            instrument.upload(Waveform(samples, RATE_HZ))

    @pytest.mark.parametrize(
        "config",
        [
            hal.AwgConfig(1.0, {1: 0.5, 2: 0.5}),
            hal.AwgConfig(float("nan"), {1: 0.5, 2: 0.5}),
            hal.AwgConfig(RATE_HZ, {1: 0.5}),
            hal.AwgConfig(RATE_HZ, {1: 0.5, 2: 50.0}),
        ],
    )
    def test_limits(self, instrument, config):
        with pytest.raises(RangeError):
            instrument.configure(config)

    @pytest.mark.parametrize(("marker", "level_v"), [(0, 1.0), (3, 1.0), (1, 9.0)])
    def test_marker_limits(self, instrument, marker, level_v):
        with pytest.raises(RangeError):
            instrument.set_marker_level(marker, level_v)

    def test_start_needs_a_waveform(self, instrument):
        self.configured(instrument)
        with pytest.raises(StateError):
            instrument.start()

    def test_configuring_forgets_the_waveform(self, instrument):
        self.configured(instrument)
        instrument.upload(Waveform(np.zeros((2, 1280), np.float32), RATE_HZ))
        self.configured(instrument)
        with pytest.raises(StateError):
            instrument.start()


@pytest.mark.parametrize("instrument", playing("digitizer"), indirect=True)
class TestDigitizer:
    CONFIG = hal.DigitizerConfig(RATE_HZ, 1000, {1: 0.8})

    def test_record(self, instrument):
        assert instrument.configure(self.CONFIG) == self.CONFIG
        instrument.arm()
        instrument.wait(2.0)
        trace = instrument.fetch(2.0)
        assert isinstance(trace, Trace)
        assert trace.codes.shape == (1, 1000)
        assert trace.scale_v[0] * 65536 == pytest.approx(0.8)
        assert trace.rate_hz == RATE_HZ

    def test_two_channels(self, instrument):
        config = hal.DigitizerConfig(RATE_HZ, 1000, {1: 0.8, 3: 0.4})
        instrument.configure(config)
        instrument.arm()
        instrument.wait(2.0)
        trace = instrument.fetch(2.0)
        assert trace.codes.shape == (2, 1000)
        np.testing.assert_allclose(np.array(trace.scale_v) * 65536, [0.8, 0.4])

    def test_order_of_calls(self, instrument):
        for call in (instrument.arm, lambda: instrument.fetch(1.0)):
            with pytest.raises(StateError):
                call()
        instrument.configure(self.CONFIG)
        for call in (lambda: instrument.wait(1.0), lambda: instrument.fetch(1.0)):
            with pytest.raises(StateError):
                call()

    def test_abort_ends_waiting_for_a_trigger(self, instrument):
        config = hal.DigitizerConfig(RATE_HZ, 1000, {1: 0.8}, "external")
        instrument.configure(config)
        instrument.arm()
        with pytest.raises(InstrumentTimeout):
            instrument.wait(0.05)
        instrument.abort()
        with pytest.raises(StateError):
            instrument.fetch(1.0)

    @pytest.mark.parametrize(
        "config",
        [
            hal.DigitizerConfig(1.0, 1000, {1: 0.8}),
            hal.DigitizerConfig(RATE_HZ, 1, {1: 0.8}),
            hal.DigitizerConfig(RATE_HZ, 1000, {}),
            hal.DigitizerConfig(RATE_HZ, 1000, {5: 0.8}),
            hal.DigitizerConfig(RATE_HZ, 1000, {1: 80.0}),
            hal.DigitizerConfig(RATE_HZ, 1000, {1: 0.8}, "external", 50.0),
        ],
    )
    def test_limits(self, instrument, config):
        with pytest.raises(RangeError):
            instrument.configure(config)
