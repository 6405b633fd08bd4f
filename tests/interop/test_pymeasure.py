"""PyMeasure on the emulators, unmodified."""

import time

import numpy as np
import pytest
from bench_kit import PlainLight, served
from pymeasure.instruments.keysight import KeysightN7776C
from pymeasure.instruments.redpitaya import RedPitayaScpi
from pymeasure.instruments.thorlabs import ThorlabsMBXSeries, ThorlabsPM100USB
from pymeasure.instruments.thorlabs.thorlabsmbxseries import MzmMode, VoaMode
from role_kit import MovableLight

LINES = {"read_termination": "\n", "write_termination": "\n", "visa_library": "@py"}
IMMEDIATE = {"visa_library": "@py"}


class Lamp(MovableLight):
    """A known power at the receiver."""

    watts = 3.25e-6

    def power_w(self, place):
        return self.watts


def on(driver, wiring, light=None, **transport):
    transports = {"dut": transport["over"]} if transport else {}
    return served(
        names=(),
        light=light or MovableLight(),
        wiring=wiring,
        drivers={"dut": driver},
        transports=transports,
    )


@pytest.fixture(params=["tcp", "hislip"])
def over(request):
    return request.param


def options(over):
    """A socket needs its line ends told; HiSLIP has messages."""
    return LINES if over == "tcp" else IMMEDIATE


def test_pm100(resource, over):
    lamp = Lamp()
    with on("thorlabs.pm100", {"rx.power": "dut:1"}, lamp, over=over) as lab:
        meter = ThorlabsPM100USB(resource(lab.endpoints["dut"]), **options(over))
        assert meter.is_power_sensor
        assert not meter.is_energy_sensor
        assert meter.wavelength_settable
        assert (meter.wavelength_min, meter.wavelength_max) == (700.0, 1800.0)
        meter.wavelength = 1310.0
        assert meter.wavelength == 1310.0
        for lamp.watts in (3.25e-6, 1e-9):
            assert meter.power == pytest.approx(lamp.watts, rel=1e-6)
        meter.adapter.close()


def test_n7776c(resource, over):
    with on("keysight.n7776c", {"tx.laser": "dut:1"}, over=over) as lab:
        light = lab.cables.light
        laser = KeysightN7776C(resource(lab.endpoints["dut"]), **options(over))
        laser.wavelength = 1550.12
        assert laser.wavelength == pytest.approx(1550.12, abs=1e-4)
        laser.output_power_dBm = 6.0
        assert laser.output_power_dBm == pytest.approx(6.0)
        assert laser.output_power_mW == pytest.approx(3.981072, rel=1e-5)
        laser.output_power_mW = 2.0
        assert laser.output_power_dBm == pytest.approx(3.0103, abs=1e-4)
        laser.output_enabled = True
        assert laser.output_enabled
        emitted = light.levers.signal
        assert emitted.is_on
        assert emitted.power_dbm == pytest.approx(3.0103, abs=1e-4)
        # 299792458 / 1550.12e-9
        assert emitted.frequency_hz == pytest.approx(193399516166490.0, abs=10e6)
        laser.output_enabled = False
        assert not laser.output_enabled
        assert not light.levers.signal.is_on
        laser.locked = True
        assert laser.locked
        laser.close()


def test_n7776c_sweep(resource, over):
    with on("keysight.n7776c", {"tx.laser": "dut:1"}, over=over) as lab:
        laser = KeysightN7776C(resource(lab.endpoints["dut"]), **options(over))
        laser.sweep_wl_start, laser.sweep_wl_stop = 1550.0, 1551.0
        laser.sweep_step, laser.sweep_speed = 0.1, 50
        laser.sweep_mode, laser.sweep_twoway = "CONT", False
        laser.trigger_out = "STF"
        laser.wl_logging = True
        assert laser.valid_sweep_params()
        laser.sweep_state = 1
        assert laser.sweep_state == 0
        assert laser.sweep_points == 11
        np.testing.assert_allclose(
            laser.get_wl_data(), np.linspace(1550e-9, 1551e-9, 11), rtol=1e-12
        )
        laser.sweep_wl_stop = 1549.0
        assert not laser.valid_sweep_params()
        laser.close()


def test_red_pitaya(resource):
    light = PlainLight(offset=0)
    light.waveform = np.linspace(-0.9, 0.9, 16384, dtype=np.float32)[None, :]
    with on("redpitaya.stemlab", {"rx.rf": "dut:in2"}, light) as lab:
        board = RedPitayaScpi(resource(lab.endpoints["dut"]), visa_library="@py")
        assert "125-14" in board.board_name
        board.digital_reset()
        board.led3.enabled = True
        assert (board.led2.enabled, board.led3.enabled) == (False, True)
        board.dioP1.direction_in = False
        assert not board.dioP1.direction_in
        board.acquisition_reset()
        board.decimation = 8
        assert board.decimation == 8
        board.average_skipped_samples = False
        assert not board.average_skipped_samples
        board.acq_units, board.acq_format = "VOLTS", "ASCII"
        board.acq_trigger_delay_samples = 8192
        assert board.acq_trigger_delay_samples == 8192
        board.ain2.gain = "LV"
        assert board.ain2.gain == "LV"
        board.acquisition_start()
        board.acq_trigger_source = "NOW"
        deadline = time.monotonic() + 60.0
        while not (board.acq_trigger_status and board.acq_buffer_filled):
            assert time.monotonic() < deadline
        volts = board.ain2.get_data(format="ASCII")
        assert board.buffer_length == volts.size == 16384
        # Half a step of 14 bits over 2 V, and six digits of text.
        np.testing.assert_allclose(volts, light.waveform[0], atol=0.51 * 2 / 16384)
        np.testing.assert_array_equal(board.ain2.get_data(npts=100), volts[:100])
        assert board.acq_trigger_position == 0
        # Its binary reader takes eight bytes for a number: only the length is ours.
        board.acq_units, board.acq_format = "RAW", "BIN"
        assert board.ain2.get_data(format="BIN").size == 16384 * 2 // 8
        assert board.decimation == 8
        board.adapter.close()


def test_mbx():
    wiring = {"tx.bias": "dut:1", "tx.attenuator": "dut:voa1"}
    with on("thorlabs.mbx", wiring) as lab:
        port = lab.endpoints["dut"].removeprefix("serial://").partition("?")[0]
        box = ThorlabsMBXSeries(f"ASRL{port}::INSTR", visa_library="@py")
        box.voa.mode = VoaMode.ATTENUATION
        assert box.voa.mode == VoaMode.ATTENUATION
        box.voa.enabled = True
        assert box.voa.enabled
        box.voa.attenuation_setpoint = 12.5
        assert box.voa.attenuation_setpoint == 12.5
        assert lab.cables.light.levers.attenuation_db == pytest.approx(12.5)
        box.mzm.mode = MzmMode.MANUAL
        assert box.mzm.mode == MzmMode.MANUAL
        box.mzm.voltage_setpoint = 2.5
        assert box.mzm.voltage_setpoint == 2.5
        assert box.mzm.voltage == pytest.approx(2.5, abs=0.01)
        box.rgb.rgb = (10, 20, 30)
        assert box.rgb.rgb == (10, 20, 30)
        box.adapter.close()
