"""Rules on instruments: who is wired, who shares a place, what is told at once."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from run_kit import CONFIGS

from driver.set_points import KEYS, SIGNALS, SetPoints, set_up_light
from scqc.core.errors import ConfigError, StateError
from scqc.core.hints import meant
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


WRONG_WIRES = (
    ('"tx.q" = "awg:2"', '"tx.q" = "awg:1"'),
    ('"switch.lo" = "awg:marker2"\n', ""),
    ('"rx.rf" = "scope:1"', '"rx.rf" = "scope:1"\n"rx.lamp" = "scope:2"'),
)
WRONG_ENTRIES = [
    (('"tcp://192.0.2.10:5025"', '"192.0.2.10"'), "awg", "resource"),
    (('"keysight.m8190a"', '"keysight.m8190b"'), "awg", "driver"),
    (('role = "awg"', 'role = "agw"'), "awg", "role"),
    (('role = "awg"', 'role = "digitizer"'), "", "awg"),
    (('role = "awg"\n', ""), "awg", "role"),
    (("io_timeout_s = 60.0", "io_timeout_s = 0.0"), "awg", "io_timeout_s"),
    (("schema = 1", "schema = 2"), None, "schema"),
]


@pytest.mark.parametrize(("change", "name", "key"), WRONG_ENTRIES)
def test_wiring_is_told_of_beside_an_instrument_that_is_wrong(change, name, key):
    """All at once; nothing that is told only because the instrument is wrong."""
    table = "" if name is None else f"alice.instruments.{name}".removesuffix(".")
    found = problems(QUICK, change, *WRONG_WIRES)
    assert sorted((p.table, p.key) for p in found) == sorted(
        [
            (table, key),
            ("wiring", "tx.q"),
            ("wiring", "switch.lo"),
            ("wiring", "rx.lamp"),
        ]
    ), [str(p) for p in found]
    assert len(problems(QUICK, change)) == 1


def test_one_wrong_wire_hides_no_other():
    found = problems(QUICK, ('"tx.i" = "awg:1"', '"tx.i" = "awg"'), *WRONG_WIRES[1:])
    assert told(found) == {
        ("wiring", "tx.i"),
        ("wiring", "switch.lo"),
        ("wiring", "rx.lamp"),
    }
    assert len(found) == 3


def test_wiring_of_photons_is_told_of_beside_a_wrong_instrument():
    changes = (("idq.id900", "idq.id901"), ('"tx.pm" = ', '"tx.pn" = '))
    assert told(problems(DV, *changes)) == {
        ("bob.instruments.tagger", "driver"),
        ("wiring", "tx.pn"),
        ("wiring", "tx.pm"),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("attenuation_db = 25.4", 'attenuation_db = "much"'),
        ("attenuation_db = 25.4", "attenuation_dB = 25.4"),
        ("ozoptics.dd100", "ozoptics.dd101"),
        ("ttyUSB1?baud=9600", "ttyUSB1?bauds=9600"),
        ('"tx.attenuator" = "voa:1"', '"tx.attenuator" = "voa"'),
        ('"tx.laser" = "laser:1"', '"tx.laser" = "laser"'),
    ],
)
def test_the_light_is_not_summed_without_what_is_wrong(old, new):
    """10 dBm behind an attenuator that cannot be read is not 10 dBm."""
    assert len(problems(FULL, (old, new))) == 1


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        (('role = "awg"', 'role = "agw"'), "unknown role 'agw'; did you mean 'awg'?"),
        (('"awg"', '["awg", "lamp"]'), "unknown role 'lamp'; known roles: awg, "),
        (
            ('"keysight.m8190a"', '"keysight.m81"'),
            "unknown driver 'keysight.m81', "
            "did you mean 'keysight.m8195a' or 'keysight.m8190a'?",
        ),
        (
            ('"keysight.infiniium"', '"oscilloscope"'),
            "unknown driver 'oscilloscope', drivers for role digitizer: "
            "keysight.infiniium, redpitaya.stemlab, spectrum.spcm, tektronix.mso",
        ),
    ],
)
def test_a_wrong_name_is_one_line_in_the_words_of_the_file(change, limit):
    (found,) = problems(QUICK, change)
    assert found.table in ("alice.instruments.awg", "bob.instruments.scope")
    assert found.limit.startswith(limit)
    assert "literal" not in str(found).lower()
    assert "tuple" not in str(found).lower()


def test_no_more_than_three_names_are_near_and_none_that_is_not():
    known = [f"laser{n}" for n in range(9)]
    assert meant("laser", known).count("laser") == 3
    assert meant("laser", known[:2]) == "did you mean 'laser1' or 'laser0'?"
    assert meant("phase", known) == ""


@pytest.mark.parametrize(
    ("fault", "key", "says"),
    [
        ('scope = [{ at = "fetch", kind = "lost-tags" }]', "kind", "a time-tagger"),
        ('awg = [{ at = "upload", kind = "clipping" }]', "kind", "a digitizer"),
        ('scope = [{ at = "arm", kind = "clipping" }]', "at", '"fetch" alone'),
        ('awg = [{ at = "fetch", kind = "stale-trigger" }]', "kind", "digitizer or"),
        ('scope = [{ at = "fetch", kind = "bad-checksum" }]', "kind", "of itla.msa"),
    ],
)
def test_faults_that_can_never_strike_are_refused(fault, key, says):
    (found,) = problems(f"{QUICK}\n[sim.faults]\n{fault}\n")
    assert (found.table, found.key) == (f"sim.faults.{fault.split()[0]}", key)
    assert says in found.limit


def test_faults_that_may_strike_pass():
    faults = (
        'scope = [{ at = "fetch", kind = "clipping" }, '
        '{ at = "fetch", kind = "stale-trigger" }, { at = "arm", kind = "reboot" }]\n'
        'laser = [{ at = "switch", kind = "mode-hop" }]\n'
    )
    assert parse_config(f"{FULL}\n[sim.faults]\n{faults}").sim.faults


def test_a_recorded_file_has_no_faults():
    played = (
        ('"idq.id900"', '"picoquant.ptu"'),
        ("zmq://192.0.2.11:5555", "file:///nowhere/tags.ptu"),
    )
    faults = '[sim.faults]\ntagger = [{ at = "fetch", kind = "lost-tags" }]\n'
    (found,) = problems(f"{DV}\n{faults}", *played)
    assert (found.table, found.key) == ("sim.faults", "tagger")
    assert "no fault strikes" in found.limit
