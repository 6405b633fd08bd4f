"""One suite per role, over every driver that plays it."""

import inspect

import numpy as np
import pytest
from role_kit import ROLES, backends, opened, playing

from driver import hal
from driver.registry import DRIVERS
from scqc.core.errors import RangeError, StateError
from scqc.core.records import TimeTags


@pytest.fixture
def instrument(request):
    """The driver named by the parameter, open, on its served emulator."""
    with opened(request.param) as (driver, _):
        yield driver


@pytest.mark.parametrize("instrument", backends(DRIVERS), indirect=True)
class TestEveryInstrument:
    def test_plays_its_roles(self, instrument, request):
        wanted = request.node.callspec.params["instrument"].partition(" ")[0]
        roles = {role for role, kind in ROLES.items() if isinstance(instrument, kind)}
        assert roles == set(DRIVERS[wanted].roles)

    def test_signatures_are_those_of_the_roles(self, instrument):
        for role in (r for r in ROLES.values() if isinstance(instrument, r)):
            for name, wanted in inspect.getmembers(role, inspect.isfunction):
                if name.startswith("_"):
                    continue
                got = inspect.signature(getattr(type(instrument), name)).parameters
                assert list(got) == list(inspect.signature(wanted).parameters)

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

    @pytest.mark.known_light
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

    @pytest.mark.known_light
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

    @pytest.mark.known_light
    def test_many_records_one_after_the_other(self, instrument):
        instrument.configure(self.CONFIG)
        sizes = set()
        for _ in range(5):
            instrument.start(1e-6)
            sizes.add(instrument.read(5.0).times_ps.size)
        assert len(sizes) == 1

    @pytest.mark.known_light
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
            {99: hal.TaggerChannel()},
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
