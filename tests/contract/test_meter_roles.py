"""One suite for power meters, over every driver."""

import pytest
from role_kit import MovableLight, opened, playing

from driver.hal_light import PowerMeterConfig
from scqc.core.errors import RangeError, StateError, WireProtocolError


class Lamp(MovableLight):
    """A known power at the receiver."""

    watts = 3.25e-6

    def power_w(self, place):
        assert place == "receiver"
        return self.watts


@pytest.fixture
def meter(request):
    """The driver named by the parameter, open, and the light on its head."""
    lamp = Lamp()
    with opened(request.param, light=lamp) as (driver, _):
        yield driver, lamp


@pytest.mark.parametrize("meter", playing("power-meter"), indirect=True)
class TestPowerMeter:
    def test_power_is_read_in_watts(self, meter):
        driver, lamp = meter
        config = PowerMeterConfig(1550e-9, 10)
        taken = driver.configure_meter(config)
        assert taken.wavelength_m == pytest.approx(1550e-9, abs=0.5e-9)
        assert taken.averages == 10
        for lamp.watts in (3.25e-6, 0.0, 1e-3):
            assert driver.power_w() == pytest.approx(lamp.watts, rel=1e-6, abs=1e-15)

    def test_a_blinded_head_is_no_reading(self, meter):
        driver, lamp = meter
        driver.configure_meter(PowerMeterConfig())
        lamp.watts = 1e3
        with pytest.raises(WireProtocolError, match="finite"):
            driver.power_w()
        lamp.watts = 1e-6
        assert driver.power_w() == pytest.approx(1e-6, rel=1e-6)

    def test_order_of_calls(self, meter):
        driver, _ = meter
        with pytest.raises(StateError):
            driver.power_w()

    def test_limits(self, meter):
        driver, _ = meter
        low_m, high_m = driver.wavelength_range_m
        assert 0.0 < low_m < high_m
        for wavelength_m in (low_m, high_m):
            driver.configure_meter(PowerMeterConfig(wavelength_m))
        for wavelength_m in (0.9 * low_m, 1.1 * high_m, 0.0, float("nan")):
            with pytest.raises(RangeError):
                driver.configure_meter(PowerMeterConfig(wavelength_m))
        for averages in (0, 10**9):
            with pytest.raises(RangeError):
                driver.configure_meter(PowerMeterConfig(1550e-9, averages))
