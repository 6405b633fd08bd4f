"""One suite per role of the instruments that handle light, over every driver."""

import pytest
from role_kit import opened, playing

from driver.hal_light import (
    AttenuatorConfig,
    BiasConfig,
    BiasReading,
    LaserConfig,
    LaserReading,
    PolarisationConfig,
)
from scqc.core.errors import RangeError, StateError

SETTLE_S = 60.0


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


@pytest.mark.parametrize("instrument", playing("attenuator"), indirect=True)
class TestAttenuator:
    def test_is_reached_and_read(self, instrument):
        low_db, high_db = instrument.attenuation_range_db
        assert 0.0 <= low_db < high_db
        for wanted_db in (low_db, 10.37, high_db):
            taken = instrument.set_attenuation(AttenuatorConfig(wanted_db))
            assert taken.attenuation_db == pytest.approx(wanted_db, abs=0.1)
            assert instrument.attenuation_db() == pytest.approx(wanted_db, abs=0.1)
            assert instrument.seen.levers.attenuation_db == pytest.approx(
                wanted_db, abs=0.1
            )

    def test_safe_state_is_the_largest(self, instrument):
        high_db = instrument.attenuation_range_db[1]
        assert instrument.seen.levers.attenuation_db == high_db
        instrument.set_attenuation(AttenuatorConfig(5.0))
        instrument.safe_state(1.0)
        assert instrument.seen.levers.attenuation_db == high_db

    def test_limits(self, instrument):
        low_db, high_db = instrument.attenuation_range_db
        for bad_db in (low_db - 0.01, high_db + 0.01, float("nan"), float("inf")):
            with pytest.raises(RangeError, match=r"limits of|may launch"):
                instrument.set_attenuation(AttenuatorConfig(bad_db))
        assert instrument.attenuation_db() == pytest.approx(high_db, abs=0.1)


@pytest.mark.parametrize("instrument", playing("bias-controller"), indirect=True)
class TestBiasController:
    def test_holds_a_voltage_without_a_lock(self, instrument):
        for volts in (1.25, -2.5, 0.0):
            reading = instrument.set_bias(BiasConfig(None, volts), SETTLE_S)
            assert not reading.is_locked
            assert reading.volts == pytest.approx(volts, abs=0.05)
            levers = instrument.seen.levers
            assert (levers.bias_locked, levers.bias_v) == (False, volts)

    @pytest.mark.parametrize("point", ["null", "peak", "quad+", "quad-"])
    def test_locks(self, instrument, point):
        reading = instrument.set_bias(BiasConfig(point), SETTLE_S)
        assert reading.is_locked
        assert instrument.bias() == reading
        assert instrument.seen.levers.bias_locked == (point == "null")

    def test_safe_state_is_zero_volts(self, instrument):
        instrument.set_bias(BiasConfig(None, 3.0), SETTLE_S)
        instrument.safe_state(1.0)
        assert instrument.bias() == BiasReading(False, 0.0)
        assert instrument.seen.levers.bias_v == 0.0

    def test_limits(self, instrument):
        low_v, high_v = instrument.hold_range_v
        for volts in (low_v, high_v):
            instrument.set_bias(BiasConfig(None, volts), SETTLE_S)
        for volts in (low_v - 0.1, high_v + 0.1, float("nan")):
            with pytest.raises(RangeError, match="limits of"):
                instrument.set_bias(BiasConfig(None, volts), SETTLE_S)
        with pytest.raises(RangeError, match="points of"):
            instrument.set_bias(BiasConfig("trough"), SETTLE_S)


@pytest.mark.parametrize(
    "instrument", playing("polarisation-controller"), indirect=True
)
class TestPolarisationController:
    def test_channels_are_independent_and_read_back(self, instrument):
        wanted = {n: 0.25 * n - 1.0 for n in instrument.channels}
        taken = instrument.set_polarisation(PolarisationConfig(wanted))
        assert taken.volts == pytest.approx(wanted, abs=0.01)
        first = instrument.channels[0]
        instrument.set_polarisation(PolarisationConfig({first: 2.0}))
        wanted[first] = 2.0
        assert instrument.polarisation().volts == pytest.approx(wanted, abs=0.01)
        assert instrument.seen.levers.polarisation_v == pytest.approx(
            sum(wanted.values()), abs=0.02
        )

    def test_safe_state_is_zero(self, instrument):
        instrument.set_polarisation(PolarisationConfig({instrument.channels[0]: 2.0}))
        instrument.safe_state(1.0)
        assert not any(instrument.polarisation().volts.values())
        assert instrument.seen.levers.polarisation_v == 0.0

    def test_limits(self, instrument):
        low_v, high_v = instrument.volts_range
        first = instrument.channels[0]
        for volts in (low_v, high_v):
            instrument.set_polarisation(PolarisationConfig({first: volts}))
        before = instrument.polarisation()
        for channel, volts in (
            (first, low_v - 0.1),
            (first, high_v + 0.1),
            (first, float("nan")),
            (0, 1.0),
            (max(instrument.channels) + 1, 1.0),
        ):
            with pytest.raises(RangeError):
                instrument.set_polarisation(PolarisationConfig({channel: volts}))
        assert instrument.polarisation() == before


@pytest.mark.parametrize("instrument", playing("optical-switch"), indirect=True)
class TestOpticalSwitch:
    def test_light_passes_while_it_is_open(self, instrument):
        assert not instrument.is_open
        for is_open in (True, False, True):
            instrument.set_open(is_open)
            assert instrument.is_open is is_open
            assert (instrument.seen.levels["signal"] > 0.0) is is_open

    def test_safe_state_is_closed(self, instrument):
        instrument.set_open(True)
        instrument.safe_state(1.0)
        assert not instrument.is_open
        assert instrument.seen.levels["signal"] == 0.0
