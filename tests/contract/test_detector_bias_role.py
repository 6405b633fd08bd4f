"""One suite for supplies of superconducting detectors, over every driver."""

import pytest
from role_kit import MovableLight, opened, playing

from driver.hal_light import DetectorBiasConfig
from driver.registry import DRIVERS
from scqc.core.errors import RangeError, StateError

SIGNALS = ("bias.z0", "bias.z1", "bias.x0", "bias.x1")


class Clicks(MovableLight):
    """Detectors that fire in proportion to their current."""

    def __init__(self):
        super().__init__()
        self.amperes = {}

    def set_detector_bias_a(self, detector, amperes):
        self.amperes[detector] = amperes

    def count_rate_hz(self, detector):
        return 1e9 * self.amperes.get(detector, 0.0) * (detector + 1)


@pytest.fixture
def supply(request):
    """The driver named by the parameter, open, and the light on its detectors."""
    light = Clicks()
    ports = DRIVERS[request.param.partition(" ")[0]].plays["detector-bias"]
    wiring = {s: f"dut:{port}" for s, port in zip(SIGNALS, ports, strict=False)}
    with opened(request.param, light=light, wiring=wiring) as (driver, _):
        yield driver, light


@pytest.mark.parametrize("supply", playing("detector-bias"), indirect=True)
class TestDetectorBias:
    def test_currents_and_levels_are_taken(self, supply):
        driver, light = supply
        taken = driver.set_detectors(
            DetectorBiasConfig({1: 20e-6, 3: 12.5e-6}, {1: 0.15})
        )
        assert set(taken.bias_a) == set(driver.channels)
        assert taken.bias_a[1] == pytest.approx(20e-6)
        assert taken.bias_a[2] == 0.0
        assert taken.trigger_level_v[1] == pytest.approx(0.15)
        assert light.amperes == pytest.approx({0: 20e-6, 1: 0.0, 2: 12.5e-6, 3: 0.0})
        # Those not named keep theirs.
        again = driver.set_detectors(DetectorBiasConfig({2: 5e-6}))
        assert again.bias_a[1] == pytest.approx(20e-6)
        assert again.trigger_level_v[1] == pytest.approx(0.15)
        assert light.amperes[1] == pytest.approx(5e-6)

    def test_safe_state_is_no_current(self, supply):
        driver, light = supply
        driver.set_detectors(DetectorBiasConfig({1: 20e-6}))
        driver.safe_state(1.0)
        assert not any(light.amperes.values())
        with pytest.raises(StateError):
            driver.count_rates_hz(0.1)

    def test_rates(self, supply):
        driver, _ = supply
        driver.set_detectors(DetectorBiasConfig({1: 20e-6, 2: 10e-6, 4: 30e-6}))
        assert driver.count_rates_hz(0.1) == pytest.approx(
            {1: 20e3, 2: 20e3, 3: 0.0, 4: 120e3}
        )
        assert driver.count_rates_hz(0.5)[1] == pytest.approx(20e3)

    def test_limits(self, supply):
        driver, _ = supply
        low, high = driver.bias_range_a
        top = driver.channels[-1]
        driver.set_detectors(DetectorBiasConfig({1: low, top: high}))
        for bias_a in ({0: low}, {top + 1: low}, {1: 1.1 * high}, {1: float("nan")}):
            with pytest.raises(RangeError):
                driver.set_detectors(DetectorBiasConfig(bias_a))
        for level_v in (50.0, float("nan")):
            with pytest.raises(RangeError):
                driver.set_detectors(DetectorBiasConfig({1: low}, {1: level_v}))
        for integration_s in (0.0, -1.0, 1e6, float("nan")):
            with pytest.raises(RangeError):
                driver.count_rates_hz(integration_s)
