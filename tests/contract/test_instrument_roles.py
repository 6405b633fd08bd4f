"""One suite per role, over every driver that plays it."""

import inspect

import numpy as np
import pytest
from bench_kit import KINDS, ClickingLight, served

from driver import hal
from driver.links import make_link
from driver.registry import DRIVERS, make_driver
from scqc.core.errors import InstrumentTimeout, RangeError, StateError
from scqc.core.records import TimeTags, Trace, Waveform

ROLES = {
    "awg": hal.ArbitraryWaveformGenerator,
    "digitizer": hal.Digitizer,
    "time-tagger": hal.TimeTagger,
    "phase-modulator": hal.PhaseModulator,
}
RATE_HZ = 400e6


def backends(names):
    """Return every driver on its usual link, those for SCPI over HiSLIP too."""
    scpi = [name for name in names if DRIVERS[name].link == "scpi"]
    return [*names, *(f"{name} hislip" for name in scpi)]


def playing(role):
    return backends([name for name, entry in DRIVERS.items() if role in entry.roles])


@pytest.fixture
def instrument(request):
    """The driver named by the parameter, open, on its served emulator."""
    wanted, _, transport = request.param.partition(" ")
    played = DRIVERS[wanted].roles
    name = next(n for n, (role, _) in KINDS.items() if role in played)
    transports = {name: transport} if transport else {}
    times_ps = [np.arange(n, 900_000, 1000 * n) for n in (1, 2, 3, 4)]
    light = ClickingLight(times_ps, dark=False) if name == "tagger" else None
    with served(
        names=(name,), light=light, drivers={name: wanted}, transports=transports
    ) as lab:
        kind = DRIVERS[wanted].link
        link = make_link(kind, name, lab.endpoints[name], io_timeout_s=2.0)
        driver = make_driver(wanted, link)
        driver.open()
        yield driver
        driver.close()


@pytest.mark.parametrize("instrument", backends(DRIVERS), indirect=True)
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
        taken = awg.configure(hal.AwgConfig(RATE_HZ, {1: 0.5, 2: 0.4}))
        assert taken == hal.AwgConfig(RATE_HZ, {1: 0.5, 2: 0.4})

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
        if extra > 0 and instrument.granularity == 1:
            instrument.upload(Waveform(samples, RATE_HZ))
            return
        with pytest.raises(RangeError):
            instrument.upload(Waveform(samples, RATE_HZ))

    def test_amplitude_range(self, instrument):
        low, high = instrument.amplitude_range_vpp
        for vpp in (low, high):
            assert instrument.configure(
                hal.AwgConfig(RATE_HZ, {1: vpp, 2: vpp})
            ) == hal.AwgConfig(RATE_HZ, {1: vpp, 2: vpp})
        for vpp in (0.99 * low, 1.01 * high):
            with pytest.raises(RangeError):
                instrument.configure(hal.AwgConfig(RATE_HZ, {1: vpp, 2: low}))

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

    def test_segments_are_played_like_one_waveform(self, instrument):
        self.configured(instrument)
        n_samples = instrument.minimum_samples
        parts = [np.zeros((2, k * n_samples), np.float32) for k in (1, 2, 1)]
        instrument.upload_segments([Waveform(part, RATE_HZ) for part in parts])
        assert instrument.snapshot()["loaded_samples"] == 4 * n_samples
        instrument.start()
        instrument.stop()

    @pytest.mark.parametrize("lengths", [(), (1280, 1281), (64,), (1280, 64)])
    def test_bad_segments_are_refused(self, instrument, lengths):
        self.configured(instrument)
        parts = [Waveform(np.zeros((2, n), np.float32), RATE_HZ) for n in lengths]
        with pytest.raises(RangeError):
            instrument.upload_segments(parts)
        with pytest.raises(StateError):
            instrument.start()

    def test_configuring_forgets_the_waveform(self, instrument):
        self.configured(instrument)
        samples = np.zeros((2, instrument.minimum_samples), np.float32)
        instrument.upload(Waveform(samples, RATE_HZ))
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


@pytest.mark.parametrize("instrument", playing("time-tagger"), indirect=True)
class TestTimeTagger:
    CONFIG = hal.TaggerConfig(
        {
            1: hal.TaggerChannel(0.2),
            2: hal.TaggerChannel(0.5, delay_ps=137),
            4: hal.TaggerChannel(0.1),
        }
    )

    def test_configure_returns_what_was_taken(self, instrument):
        assert instrument.configure(self.CONFIG) == self.CONFIG

    def test_tags_are_those_of_the_detectors_merged(self, instrument):
        instrument.configure(self.CONFIG)
        instrument.start(1e-6)
        tags = instrument.read(5.0)
        assert isinstance(tags, TimeTags)
        assert tags.duration_ps == 1_000_000
        assert (tags.lost, tags.overflow) == (0, False)
        assert np.all(np.diff(tags.times_ps) >= 0)
        for n, delay_ps in ((1, 0), (2, 137), (4, 0)):
            expected = np.arange(n, 900_000, 1000 * n) + delay_ps
            np.testing.assert_array_equal(tags.times_ps[tags.channels == n], expected)
        assert not np.any(tags.channels == 3)

    def test_nothing_is_recorded_after_the_end(self, instrument):
        instrument.configure(self.CONFIG)
        instrument.start(1.0e-6)
        assert instrument.read(5.0).times_ps.max() < 1_000_000
        # Input 1 fires at 1, 1001, 2001, ... ps: a shorter record has fewer.
        with pytest.raises(RangeError):
            instrument.start(0.0)

    def test_start_again_forgets_the_first_record(self, instrument):
        instrument.configure(self.CONFIG)
        instrument.start(1e-6)
        instrument.start(2e-6)
        assert instrument.read(5.0).duration_ps == 2_000_000

    def test_many_records_one_after_the_other(self, instrument):
        instrument.configure(self.CONFIG)
        sizes = set()
        for _ in range(5):
            instrument.start(1e-6)
            sizes.add(instrument.read(5.0).times_ps.size)
        assert len(sizes) == 1

    def test_counts(self, instrument):
        instrument.configure(self.CONFIG)
        expected = {n: np.arange(n, 900_000, 1000 * n).size for n in (1, 2, 4)}
        assert instrument.counts(1e-6) == expected

    def test_order_of_calls(self, instrument):
        for call in (lambda: instrument.start(1e-6), lambda: instrument.counts(1e-3)):
            with pytest.raises(StateError):
                call()
        instrument.configure(self.CONFIG)
        with pytest.raises(StateError):
            instrument.read(1.0)
        instrument.start(1e-6)
        instrument.stop()
        with pytest.raises(StateError):
            instrument.read(1.0)

    @pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), 1e9])
    def test_durations(self, instrument, duration_s):
        instrument.configure(self.CONFIG)
        for call in (instrument.start, instrument.counts):
            with pytest.raises(RangeError):
                call(duration_s)

    @pytest.mark.parametrize(
        "channels",
        [
            {},
            {0: hal.TaggerChannel()},
            {5: hal.TaggerChannel()},
            {1: hal.TaggerChannel(threshold_v=50.0)},
            {1: hal.TaggerChannel(threshold_v=float("nan"))},
            {1: hal.TaggerChannel(delay_ps=-1)},
            {1: hal.TaggerChannel(edge="both")},
        ],
    )
    def test_limits(self, instrument, channels):
        with pytest.raises(RangeError):
            instrument.configure(hal.TaggerConfig(channels))


@pytest.mark.parametrize("instrument", playing("phase-modulator"), indirect=True)
class TestPhaseModulator:
    def test_outputs_are_independent_and_read_back(self, instrument):
        for channel, volts in ((1, 12.3), (2, 0.0), (3, 70.0)):
            instrument.set_voltage(channel, volts)
        assert [instrument.voltage(n) for n in (1, 2, 3)] == [12.3, 0.0, 70.0]

    def test_safe_state_is_zero(self, instrument):
        instrument.set_voltage(1, 5.0)
        instrument.safe_state(1.0)
        assert instrument.voltage(1) == 0.0

    def test_limits(self, instrument):
        low, high = instrument.limits_v
        assert low < high
        for volts in (low, high):
            instrument.set_voltage(1, volts)
        for channel, volts in ((0, 1.0), (4, 1.0), (1, high + 0.1), (1, low - 0.1)):
            with pytest.raises(RangeError):
                instrument.set_voltage(channel, volts)
        with pytest.raises(RangeError):
            instrument.set_voltage(1, float("nan"))
        with pytest.raises(RangeError):
            instrument.voltage(4)
