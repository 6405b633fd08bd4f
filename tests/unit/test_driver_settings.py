"""Settings of the instrument layer: what is refused, and how it is said."""

import numpy as np
import pytest
from bench_kit import WIRING, settings_for
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from driver.awg.keysight_m8190a import dac_words
from driver.bench import Bench
from driver.digitizer.clipping import count_rails
from driver.settings import InstrumentSettings, SafetySettings, WiringSettings
from scqc.core.errors import StateError

GOOD = {
    "role": "awg",
    "driver": "keysight.m8190a",
    "resource": "tcp://192.0.2.10:5025",
}
ENDPOINTS = {"awg": "tcp://127.0.0.1:1", "scope": "tcp://127.0.0.1:2"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"driver": "keysight.m8910a"}, "did you mean 'keysight.m8190a' or"),
        ({"driver": "qqqqqqqq"}, "drivers for role awg: keysight.m8190a, "),
        ({"role": "digitizer"}, "is for role 'awg'"),
        ({"role": "lamp"}, "unknown role 'lamp'; known roles: awg, digitizer, "),
        ({"role": "agw"}, "unknown role 'agw'; did you mean 'awg'?"),
        ({"role": ["awg", "digitiser"]}, "'digitiser'; did you mean 'digitizer'?"),
        ({"role": []}, "must be a role or a list of roles"),
        ({"role": 3}, "must be a role or a list of roles"),
        ({"role": ["awg", 3]}, "unknown role 3; known roles"),
        ({"role": ["awg", "awg"]}, "listed twice"),
        ({"resource": "tcp://host"}, "tcp://host:port"),
        ({"resource": "tcp://host:70000"}, "65535"),
        ({"io_timeout_s": 0.0}, "greater than 0"),
        ({"timeout": 3}, "Extra inputs"),
        ({"expect": {"colour": "red"}}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused_with_a_hint(change, said):
    with pytest.raises(ValidationError) as caught:
        InstrumentSettings.model_validate(GOOD | change)
    assert said in str(caught.value)


def test_good_settings():
    settings = InstrumentSettings.model_validate(GOOD | {"expect": {"model": "M8190A"}})
    assert settings.expect.model == "M8190A"


@pytest.mark.parametrize(
    "wiring",
    [
        {"tx.i": "awg"},
        {"tx.i": "awg:0"},
        {"tx.i": "awg:marker"},
        {"TX": "awg:1"},
        {"tx.i": "awg:1; rm"},
    ],
)
def test_bad_wiring(wiring):
    with pytest.raises(ValidationError):
        TypeAdapter(WiringSettings).validate_python(wiring)


def test_good_wiring():
    assert TypeAdapter(WiringSettings).validate_python(WIRING) == WIRING


def test_wiring_to_an_instrument_that_is_not_there():
    with pytest.raises(StateError, match="no instrument 'osa'"):
        Bench(settings_for(ENDPOINTS), {"rx.rf": "osa:1"})
    with pytest.raises(StateError, match="no instrument 'laser'"):
        Bench(settings_for(ENDPOINTS), {}, SafetySettings(on_exit=("laser.off",)))


def test_bench_that_is_not_open():
    bench = Bench(settings_for(ENDPOINTS), WIRING)
    assert bench.resolve("rx.rf") == ("scope", "1")
    with pytest.raises(StateError):
        _ = bench.awg
    with pytest.raises(StateError):
        bench.resolve("rx.p")


@given(st.lists(st.floats(-0.25, 0.25, width=32), min_size=1, max_size=50))
def test_dac_words_are_twelve_bits_left_aligned(volts):
    samples = np.array(volts, dtype=np.float32)
    words = dac_words(samples, 0.5)
    assert not np.any(words & 0xF)
    assert np.max(np.abs(words.astype(int))) <= 2047 << 4
    back_v = (words >> 4) * (0.25 / 2047)
    assert np.max(np.abs(back_v - samples)) <= 0.5 * 0.25 / 2047 * (1 + 1e-3)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_rails_are_seen_for_every_converter_width(bits):
    step, half = 1 << (16 - bits), 1 << (bits - 1)
    middle = np.arange(-half // 2, half // 2) * step
    rails = np.array([-half * step, (half - 1) * step])
    codes = np.concatenate([middle, rails, rails]).astype(np.int16)
    assert count_rails(codes) == 4
    assert count_rails(middle.astype(np.int16)) == 0
