"""Drivers of other distributions: the documented example, and broken ones."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from bench_kit import served
from pydantic import ValidationError
from role_kit import MovableLight

from driver import hal_light
from driver.bench import Bench
from driver.guard import Supervision
from driver.links import check_resource, make_link
from driver.registry import DRIVERS, make_driver
from driver.settings import InstrumentSettings
from scqc.core.errors import ConfigError, RangeError
from scqc.core.extensions import EMULATORS, INSTRUMENTS, load_extension
from scqc.runs.lab_config import parse_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/drivers/own_driver.md").read_text()
METER = {"role": "power-meter", "driver": "acme.pm1", "resource": "tcp://h:5025"}


def example_files():
    """Return the files of the documented example by name."""
    found = re.findall(
        r"^## `(\S+)`\n+```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    )
    return dict(found)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution for the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = set(sys.modules)

    def put(name, version, entry_points, files):
        lines = []
        for group, points in entry_points.items():
            lines += [f"[{group}]", *(f"{key} = {at}" for key, at in points.items())]
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text)
        importlib.invalidate_caches()

    yield put
    DRIVERS._offered.clear()
    for module in set(sys.modules) - before:
        if module.startswith(("acme_", "broken_")):
            del sys.modules[module]


@pytest.fixture
def acme(install):
    """The documented example, installed."""
    files = example_files()
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    install(project["name"], project["version"], project["entry-points"], files)


@pytest.mark.usefixtures("acme")
def test_the_documented_example_works_as_it_stands():
    wiring = {"tx.power": "meter:1"}
    with served(
        drivers={"meter": "acme.pm1"}, names=(), light=MovableLight(), wiring=wiring
    ) as lab:
        settings = InstrumentSettings(**METER | {"resource": lab.endpoints["meter"]})
        bench = Bench({"meter": settings}, wiring, None, Supervision(watchdog=False))
        with bench:
            meter = bench.instrument("meter")
            assert isinstance(meter, hal_light.PowerMeter)
            assert meter.identity.vendor == "Acme"
            taken = meter.configure_meter(hal_light.PowerMeterConfig(1310e-9))
            assert taken.wavelength_m == pytest.approx(1310e-9)
            assert meter.power_w() == pytest.approx(1e-6)
            with pytest.raises(RangeError, match="PM-1"):
                meter.configure_meter(hal_light.PowerMeterConfig(400e-9))


@pytest.mark.usefixtures("acme")
def test_the_program_runs_the_example_from_a_lab_config(tmp_path):
    quick = (ROOT / "lab_configs/cv_quick.toml").read_text()
    wired = quick.replace("[wiring]\n", '[wiring]\n"tx.power" = "meter:1"\n')
    table = "".join(f'{key} = "{value}"\n' for key, value in METER.items())
    config = tmp_path / "lab.toml"
    config.write_text(f"{wired}\n[alice.instruments.meter]\n{table}")
    done = subprocess.run(
        [sys.executable, "-m", "scqc.cli", "devices", str(config), "--json"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PM-1" in json.dumps(json.loads(done.stdout))


@pytest.mark.usefixtures("acme")
def test_hints_know_the_names_of_others():
    with pytest.raises(ValidationError, match=r"did you mean 'acme\.pm1'"):
        InstrumentSettings(**METER | {"driver": "acme.pm2"})
    with pytest.raises(ValidationError, match="is for role 'power-meter'"):
        InstrumentSettings(**METER | {"role": "laser"})
    with pytest.raises(ValidationError, match="expected tcp://host:port"):
        InstrumentSettings(**METER | {"resource": "serial:///dev/x"})


def test_others_cannot_take_a_built_in_name(install):
    points = {INSTRUMENTS: {"keysight.m8190a": "broken_module:nothing"}}
    install("broken-one", "1.0", points, {})
    assert DRIVERS["keysight.m8190a"].class_name == "KeysightM8190A"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_sdk", "ModuleNotFoundError: No module named 'no_such_sdk'"),
        ("ENTRY = 7", "is of type int, expected DriverEntry"),
        ("def ENTRY(): return None", "is of type NoneType, expected DriverEntry"),
        ("def ENTRY(): raise OSError('no licence')", "OSError: no licence"),
        ("OTHER = 1", "AttributeError"),
        ("raise SystemError('x')", "SystemError"),
    ],
)
def test_a_broken_one_is_told_of_with_its_distribution(install, code, said):
    points = {INSTRUMENTS: {"broken.one": "broken_one:ENTRY"}}
    install("broken-one", "2.3", points, {"broken_one.py": code})
    with pytest.raises(ConfigError) as caught:
        DRIVERS["broken.one"]
    assert "broken-one 2.3: [scqc.instruments] broken.one" in str(caught.value)
    assert said in str(caught.value)
    with pytest.raises(ValidationError, match=r"broken-one 2\.3"):
        InstrumentSettings(**METER | {"driver": "broken.one"})
    # Who does not use it is not troubled.
    assert InstrumentSettings(**METER | {"driver": "thorlabs.pm100"})


def test_a_driver_that_cannot_be_imported_is_told_of_with_its_distribution(install):
    entry = (
        "from driver.registry import DriverEntry\n"
        "ENTRY = DriverEntry({'laser': ('1',)}, 'broken_one.driver', 'Laser')\n"
    )
    points = {INSTRUMENTS: {"broken.one": "broken_one:ENTRY"}}
    install("broken-one", "2.3", points, {"broken_one/__init__.py": entry})
    with pytest.raises(ConfigError, match=r"broken-one 2\.3.*broken_one\.driver:Laser"):
        make_driver("broken.one", make_link("scpi", "it", "tcp://127.0.0.1:9"))


def test_two_that_offer_one_name_are_both_named(install):
    for name in ("broken-one", "broken-two"):
        install(name, "1.0", {INSTRUMENTS: {"broken.it": f"{name}:X"}}, {})
    with pytest.raises(ConfigError, match=r"broken-one 1\.0 and broken-two 1\.0"):
        DRIVERS["broken.it"]


def test_a_broken_emulator_is_told_of(install):
    points = {"scqc.emulators": {"thorlabs.pm999": "broken_one:EMULATOR"}}
    install("broken-one", "2.3", points, {"broken_one.py": "EMULATOR = 1"})
    with (
        pytest.raises(ConfigError, match=r"broken-one 2\.3.*expected Emulator"),
        served(drivers={"it": "thorlabs.pm999"}, names=(), wiring={}),
    ):
        pass


LINK = """
from driver.interlock import Interlocked
from scqc.core.errors import RangeError

class Link(Interlocked):
    def __init__(self, instrument, resource, open_timeout_s, io_timeout_s):
        if not resource.startswith("acme://"):
            raise RangeError(instrument, resource, "expected acme://box")
        self.instrument, self.resource = instrument, resource
"""


def test_a_link_of_its_own(install):
    install("acme-link", "1.0", {}, {"acme_link.py": LINK})
    kind = "acme_link:Link"
    assert make_link(kind, "it", "acme://box").resource == "acme://box"
    check_resource(kind, "it", "acme://box")
    with pytest.raises(RangeError, match="expected acme://box"):
        check_resource(kind, "it", "tcp://h:1")
    with pytest.raises(ConfigError, match="acme_link:Nothing"):
        make_link("acme_link:Nothing", "it", "acme://box")


def test_a_name_that_nobody_offers():
    with pytest.raises(KeyError):
        load_extension(INSTRUMENTS, "nobody.at.all", str)
    assert "nobody.at.all" not in DRIVERS


def test_what_has_no_emulator_is_refused_before_anything_starts(install):
    """Maker's packages have none, and others only if they bring one."""
    text = (ROOT / "lab_configs/dv_quick.toml").read_text()
    maker = text.replace('"idq.id900"', '"swabian.timetagger"')
    maker = re.sub(r'"zmq://[^"]*"', '"swabian://X"', maker)
    with pytest.raises(ConfigError, match=r"swabian\.timetagger.*has no emulator"):
        parse_config(maker)
    entry = (
        "from driver.registry import DRIVERS\n"
        "def tagger(): return DRIVERS['idq.id900']\n"
    )
    points = {INSTRUMENTS: {"acme.tagger": "acme_tagger:tagger"}}
    install("acme-tagger", "1.0", points, {"acme_tagger.py": entry})
    other = text.replace('"idq.id900"', '"acme.tagger"')
    with pytest.raises(ConfigError, match=r"acme\.tagger.*has no emulator"):
        parse_config(other)
    install("acme-sim", "1.0", {EMULATORS: {"acme.tagger": "nobody:looks"}}, {})
    assert parse_config(other).sim is not None
