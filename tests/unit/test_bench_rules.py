"""Rules on instruments: who is wired, who shares a place, what is told at once."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from run_kit import CONFIGS

from driver.set_points import KEYS, SIGNALS, SetPoints, set_up_light
from scqc.core.errors import ConfigError, StateError
from scqc.runs import notebook
from scqc.runs.lab_config import load_config, parse_config
from scqc.runs.shared_rules import OPTICS_SIGNALS
from scqc.runs.transmit import driven_launch

QUICK = (CONFIGS / "cv_quick.toml").read_text()
DV = (CONFIGS / "dv_quick.toml").read_text()
FULL = (CONFIGS / "cv_full_bench.toml").read_text()
SET_POINTS = {
    "laser": {"frequency_hz": 193.4e12, "power_dbm": 10.0},
    "attenuator": {"attenuation_db": 3.0},
    "bias-controller": {"bias_point": "null"},
    "polarisation-controller": {"polarisation_v": [0.0]},
    "power-meter": {"averages": 2},
    "detector-bias": {"bias_a": [1e-6]},
}


def problems(text, *changes):
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "lab.toml")
    return caught.value.problems


def told(found):
    return {(p.table, p.key) for p in found}


@pytest.mark.parametrize(
    ("signal", "name", "says"),
    [
        ("tx.laser", "laser", "tx.laser or rx.laser"),
        ("rx.laser", "lo", "tx.laser or rx.laser"),
        ("tx.attenuator", "voa", "wire it to tx.attenuator"),
        ("tx.bias", "bias", "wire it to tx.bias"),
        ("tx.power", "power", "tx.power or rx.power"),
        ("rx.polarisation", "polarisation", "wire it to rx.polarisation"),
    ],
)
def test_set_points_of_what_is_wired_to_nothing_are_refused(signal, name, says):
    """A laser outside the sum of the launch limit would shine unlimited."""
    line = next(n for n in FULL.splitlines() if n.startswith(f'"{signal}"'))
    found = [p for p in problems(FULL, (f"{line}\n", "")) if p.key == "set_points"]
    assert [p.table for p in found] == [f"instruments.{name}"]
    assert says in found[0].limit
    assert "wired to nothing" in found[0].limit


def test_a_box_is_wired_for_each_role_it_has_set_points_for():
    changes = (
        ('role = "bias-controller"', 'role = ["bias-controller", "attenuator"]'),
        ('bias_point = "null"', 'bias_point = "null"\nattenuation_db = 1.0'),
    )
    (found,) = problems(FULL, *changes)
    assert (found.table, found.key) == ("instruments.bias", "set_points")
    assert "this attenuator is wired to nothing" in found.limit


def test_every_role_with_set_points_has_signals_to_be_wired_to():
    assert set(SIGNALS) == set(KEYS)
    assert {role for role, _ in OPTICS_SIGNALS.values()} == set(SIGNALS)


class Untouched:
    """A bench on which nothing may be set, wired as told."""

    def __init__(self, **wiring):
        self.wiring = wiring

    def resolve(self, signal):
        if signal not in self.wiring:
            raise StateError("bench", signal, "no such signal in [wiring]")
        return self.wiring[signal], "1"

    def instrument(self, name):
        raise AssertionError(f"{name} was touched")


@pytest.mark.parametrize("role", SET_POINTS)
def test_what_is_wired_to_nothing_is_not_set_by_the_program_either(role):
    settings = SimpleNamespace(
        roles=(role,), set_points=SetPoints.model_validate(SET_POINTS[role])
    )
    for bench in (Untouched(), Untouched(**{SIGNALS[role][0]: "other"})):
        with pytest.raises(StateError, match=r"dut.*wired to") as caught:
            set_up_light(bench, {"dut": settings}, 1.0)
        assert SIGNALS[role][0] in str(caught.value)
    with pytest.raises(AssertionError, match="dut was touched"):
        set_up_light(Untouched(**{SIGNALS[role][-1]: "dut"}), {"dut": settings}, 1.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tcp://192.0.2.11:5025", "tcp://192.0.2.10:5025"),
        ("tcp://192.0.2.11:5025", "visa://TCPIP0::192.0.2.10::5025::SOCKET"),
        ("ttyUSB1?baud=9600", "ttyUSB0?baud=9600"),
        ("ttyUSB2?baud=115200", "ttyUSB0?baud=115200"),
        ("serial:///dev/ttyUSB1?", "serial:///dev/../dev/ttyUSB0?"),
    ],
)
@pytest.mark.parametrize("sim", [True, False])
def test_two_instruments_in_one_place_are_refused(old, new, sim):
    text = FULL if sim else FULL[: FULL.index("[sim]")]
    parse_config(text)
    (found,) = problems(text, (old, new))
    assert found.key == "resource"
    assert "is there already" in found.limit
    assert 'role = ["awg", "digitizer"]' in found.limit


def test_a_notebook_keeps_the_launch_limit_of_a_run(monkeypatch):
    built = []

    @contextmanager
    def bench(*arguments, **named):
        built.append(named["driven"])
        yield None

    @contextmanager
    def station(instruments, wiring, sim):
        yield SimpleNamespace(instruments=instruments, wiring=wiring)

    monkeypatch.setattr(notebook, "Bench", bench)
    monkeypatch.setattr(notebook, "station", station)
    for name in ("cv_full_bench", "dv_quick"):
        with notebook.open_bench(CONFIGS / f"{name}.toml"):
            pass
    config = load_config(CONFIGS / "cv_full_bench.toml").config
    assert built == [driven_launch(config), None]
    assert built[0].attenuation_db == 25.4
