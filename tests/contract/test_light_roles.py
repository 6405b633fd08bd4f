"""One suite per role of the instruments that handle light, over every driver."""

import pytest
from role_kit import opened, playing

from driver.hal_light import LaserConfig, LaserReading
from scqc.core.errors import RangeError, StateError

SETTLE_S = 5.0


@pytest.fixture
def instrument(request):
    """The driver named by the parameter, open, on its served emulator."""
    with opened(request.param) as (driver, lab):
        driver.seen = lab.cables.light
        yield driver


def middle(laser):
    """Return a config well inside the limits of a laser."""
    (low_hz, high_hz), (low_dbm, high_dbm) = (
        laser.frequency_range_hz,
        laser.power_range_dbm,
    )
    megahertz = round(0.5e-6 * (low_hz + high_hz)) + 1
    return LaserConfig(1e6 * megahertz, round(0.5 * (low_dbm + high_dbm), 1))


@pytest.mark.parametrize("instrument", playing("laser"), indirect=True)
class TestLaser:
    def test_limits_are_ordered(self, instrument):
        assert 0.0 < instrument.frequency_range_hz[0] < instrument.frequency_range_hz[1]
        assert instrument.power_range_dbm[0] < instrument.power_range_dbm[1]

    def test_light_comes_with_enable_alone(self, instrument):
        config = instrument.configure(middle(instrument))
        assert config.frequency_hz == pytest.approx(
            middle(instrument).frequency_hz, abs=1e9
        )
        assert not instrument.reading().is_on
        assert not instrument.seen.levers.signal.is_on
        instrument.set_enabled(True, SETTLE_S)
        emitted = instrument.seen.levers.signal
        assert emitted.is_on
        assert emitted.frequency_hz == pytest.approx(config.frequency_hz, abs=1e6)
        assert emitted.power_dbm == pytest.approx(config.power_dbm, abs=0.01)
        reading = instrument.reading()
        assert reading == LaserReading(True, reading.frequency_hz, reading.power_dbm)
        assert reading.frequency_hz == pytest.approx(config.frequency_hz, abs=1e9)
        instrument.set_enabled(False, SETTLE_S)
        assert not instrument.seen.levers.signal.is_on

    def test_safe_state_is_dark(self, instrument):
        instrument.configure(middle(instrument))
        instrument.set_enabled(True, SETTLE_S)
        instrument.safe_state(1.0)
        assert not instrument.seen.levers.signal.is_on
        assert not instrument.reading().is_on

    def test_enable_needs_a_config(self, instrument):
        with pytest.raises(StateError):
            instrument.set_enabled(True, SETTLE_S)
        instrument.configure(middle(instrument))
        instrument.safe_state(1.0)
        with pytest.raises(StateError):
            instrument.set_enabled(True, SETTLE_S)

    def test_limits(self, instrument):
        good = middle(instrument)
        (low_hz, high_hz), (low_dbm, high_dbm) = (
            instrument.frequency_range_hz,
            instrument.power_range_dbm,
        )
        for frequency_hz in (low_hz - 1e9, high_hz + 1e9, 0.0, float("nan")):
            with pytest.raises(RangeError):
                instrument.configure(LaserConfig(frequency_hz, good.power_dbm))
        for power_dbm in (low_dbm - 0.1, high_dbm + 0.1, float("inf"), float("nan")):
            with pytest.raises(RangeError):
                instrument.configure(LaserConfig(good.frequency_hz, power_dbm))
        for power_dbm in (low_dbm, high_dbm):
            taken = instrument.configure(LaserConfig(good.frequency_hz, power_dbm))
            assert taken.power_dbm == pytest.approx(power_dbm, abs=0.01)

    def test_a_new_frequency_never_shines_on_the_way(self, instrument):
        """Far away, the laser ends dark; near by it may stay lit."""
        config = instrument.configure(middle(instrument))
        instrument.set_enabled(True, SETTLE_S)
        far = LaserConfig(config.frequency_hz + 500e9, config.power_dbm)
        instrument.configure(far)
        reading = instrument.reading()
        if reading.is_on:
            assert reading.frequency_hz == pytest.approx(far.frequency_hz, abs=1e9)
        instrument.set_enabled(True, SETTLE_S)
        assert instrument.reading().frequency_hz == pytest.approx(
            far.frequency_hz, abs=1e9
        )
