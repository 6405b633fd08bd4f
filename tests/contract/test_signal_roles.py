"""One suite for generators and one for digitisers, over every driver."""

from dataclasses import replace

import numpy as np
import pytest
import spcm_stub
from role_kit import opened, playing

from driver import hal
from scqc.core.errors import InstrumentTimeout, RangeError, StateError
from scqc.core.records import Trace, Waveform

# What the models differ in, by the class of the driver.
RATES_HZ = {
    "RedPitayaStemlab": 125e6,
    "TektronixMso": 625e6,
    "KeysightM8195A": 16e9,
}
STEPS = {
    "RedPitayaStemlab": 1 << 14,
    "TektronixMso": 64_000,
    "SpectrumSpcm": 2 * spcm_stub.FULL_CODE,
}
COARSE_RANGES = {"RedPitayaStemlab"}
PAIRS = {"RedPitayaStemlab": (1, 2)}
WITHOUT_MARKERS = {"RedPitayaStemlab", "KeysightM8195A"}


def model(instrument):
    return type(instrument).__name__


def rate_hz(instrument):
    return RATES_HZ.get(model(instrument), 400e6)


@pytest.fixture
def instrument(request):
    """The driver named by the parameter, open, on its served emulator."""
    with opened(request.param) as (driver, _):
        yield driver


@pytest.mark.parametrize("instrument", playing("awg"), indirect=True)
class TestGenerator:
    def configured(self, awg):
        taken = awg.configure(hal.AwgConfig(rate_hz(awg), {1: 0.5, 2: 0.4}))
        assert taken == hal.AwgConfig(rate_hz(awg), {1: 0.5, 2: 0.4})

    def test_minimum_fits_the_granularity(self, instrument):
        assert instrument.minimum_samples % instrument.granularity == 0
        self.configured(instrument)
        samples = np.zeros((2, instrument.minimum_samples), dtype=np.float32)
        instrument.upload(Waveform(samples, rate_hz(instrument)))
        instrument.start()
        instrument.stop()

    @pytest.mark.parametrize("extra", [-1, 1])
    def test_other_lengths_are_refused(self, instrument, extra):
        self.configured(instrument)
        n_samples = instrument.minimum_samples + extra
        samples = np.zeros((2, n_samples), dtype=np.float32)
        if extra > 0 and instrument.granularity == 1:
            instrument.upload(Waveform(samples, rate_hz(instrument)))
            return
        with pytest.raises(RangeError):
            instrument.upload(Waveform(samples, rate_hz(instrument)))

    def test_amplitude_range(self, instrument):
        low, high = instrument.amplitude_range_vpp
        for vpp in (low, high):
            assert instrument.configure(
                hal.AwgConfig(rate_hz(instrument), {1: vpp, 2: vpp})
            ) == hal.AwgConfig(rate_hz(instrument), {1: vpp, 2: vpp})
        for vpp in (0.99 * low, 1.01 * high):
            with pytest.raises(RangeError):
                instrument.configure(
                    hal.AwgConfig(rate_hz(instrument), {1: vpp, 2: low})
                )

    @pytest.mark.parametrize("rows", [1, 3])
    def test_other_channel_counts_are_refused(self, instrument, rows):
        self.configured(instrument)
        samples = np.zeros((rows, 1280), dtype=np.float32)
        with pytest.raises(RangeError):
            instrument.upload(Waveform(samples, rate_hz(instrument)))

    @pytest.mark.parametrize(
        "config",
        [
            (1.0, {1: 0.5, 2: 0.5}),
            (float("nan"), {1: 0.5, 2: 0.5}),
            (None, {1: 0.5}),
            (None, {1: 0.5, 2: 50.0}),
            (None, {1: 0.5, 2: float("nan")}),
        ],
    )
    def test_limits(self, instrument, config):
        wanted_hz, amplitude_vpp = config
        wanted_hz = wanted_hz or rate_hz(instrument)
        with pytest.raises(RangeError):
            instrument.configure(hal.AwgConfig(wanted_hz, amplitude_vpp))

    def test_markers(self, instrument):
        if model(instrument) in WITHOUT_MARKERS:
            with pytest.raises(RangeError):
                instrument.set_marker_level(1, 1.4)
        else:
            instrument.set_marker_level(1, 1.4)

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
        instrument.upload_segments(
            [Waveform(part, rate_hz(instrument)) for part in parts]
        )
        assert instrument.snapshot()["loaded_samples"] == 4 * n_samples
        instrument.start()
        instrument.stop()

    @pytest.mark.parametrize("extra", [(), (-1,), (0, -1)])
    def test_bad_segments_are_refused(self, instrument, extra):
        self.configured(instrument)
        lengths = [instrument.minimum_samples + more for more in extra]
        parts = [
            Waveform(np.zeros((2, n), np.float32), rate_hz(instrument)) for n in lengths
        ]
        with pytest.raises(RangeError):
            instrument.upload_segments(parts)
        with pytest.raises(StateError):
            instrument.start()

    def test_configuring_forgets_the_waveform(self, instrument):
        self.configured(instrument)
        samples = np.zeros((2, instrument.minimum_samples), np.float32)
        instrument.upload(Waveform(samples, rate_hz(instrument)))
        self.configured(instrument)
        with pytest.raises(StateError):
            instrument.start()


def digitizer_config(instrument, *ranges_v, n_samples=1000, **more):
    """Return a config for as many channels as there are ranges."""
    channels = PAIRS.get(model(instrument), (1, 3))
    ranges = dict(zip(channels, ranges_v, strict=False))
    return hal.DigitizerConfig(rate_hz(instrument), n_samples, ranges, **more)


@pytest.mark.parametrize("instrument", playing("digitizer"), indirect=True)
class TestDigitizer:
    def configured(self, digitizer, *ranges_v, **more):
        """Return what was taken: the range exactly, or the next larger one."""
        wanted = digitizer_config(digitizer, *ranges_v, **more)
        taken = digitizer.configure(wanted)
        if model(digitizer) in COARSE_RANGES:
            assert taken.range_v.keys() == wanted.range_v.keys()
            assert all(taken.range_v[n] >= v for n, v in wanted.range_v.items())
            taken_otherwise = (taken.rate_hz, taken.n_samples, taken.trigger)
            assert taken_otherwise == (wanted.rate_hz, wanted.n_samples, wanted.trigger)
        else:
            assert taken == wanted
        return taken

    def recorded(self, digitizer):
        digitizer.arm()
        digitizer.wait(60.0)
        return digitizer.fetch(60.0)

    @pytest.mark.known_light
    def test_record(self, instrument):
        self.configured(instrument, 0.8)
        trace = self.recorded(instrument)
        assert isinstance(trace, Trace)
        assert trace.codes.shape == (1, 1000)
        assert trace.rate_hz == rate_hz(instrument)
        assert not np.any(trace.codes)
        assert trace.clipped == (0,)

    def test_two_channels_and_their_scales(self, instrument):
        taken = self.configured(instrument, 0.8, 0.4)
        trace = self.recorded(instrument)
        assert trace.codes.shape == (2, 1000)
        full_v = np.array(trace.scale_v) * STEPS.get(model(instrument), 1 << 16)
        np.testing.assert_allclose(full_v, list(taken.range_v.values()))

    def test_records_one_after_the_other(self, instrument):
        for n_samples in (1000, 16, 1000):
            self.configured(instrument, 0.8, n_samples=n_samples)
            for _ in range(2):
                assert self.recorded(instrument).codes.shape == (1, n_samples)

    def test_order_of_calls(self, instrument):
        for call in (instrument.arm, lambda: instrument.fetch(60.0)):
            with pytest.raises(StateError):
                call()
        self.configured(instrument, 0.8)
        for call in (lambda: instrument.wait(60.0), lambda: instrument.fetch(1.0)):
            with pytest.raises(StateError):
                call()

    def test_abort_ends_waiting_for_a_trigger(self, instrument):
        self.configured(instrument, 0.8, trigger="external")
        instrument.arm()
        with pytest.raises(InstrumentTimeout):
            instrument.wait(0.05)
        instrument.abort()
        with pytest.raises(StateError):
            instrument.fetch(60.0)

    @pytest.mark.parametrize(
        "change",
        [
            {"rate_hz": 1.0},
            {"rate_hz": float("nan")},
            {"n_samples": 1},
            {"range_v": {}},
            {"range_v": {5: 0.8}},
            {"range_v": {1: 80.0}},
            {"range_v": {1: float("nan")}},
            {"trigger": "external", "trigger_level_v": 50.0},
        ],
    )
    def test_limits(self, instrument, change):
        config = replace(digitizer_config(instrument, 0.8), **change)
        with pytest.raises(RangeError):
            instrument.configure(config)
