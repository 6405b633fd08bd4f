"""Looking for instruments, and configs made of what was found."""

import json
import socket

import pytest
from bench_kit import PHOTON_BENCH, ClickingLight, served

from driver.hal import Identity
from driver.registry import DRIVERS
from scqc import cli
from scqc.core.errors import ConfigError
from scqc.runs import scan
from scqc.runs.lab_config import load_config
from scqc.runs.new_config import PLACEHOLDER, SEATS, draft, write_new
from scqc.runs.scan import Found

pytestmark = pytest.mark.hil


def awg_of(driver, resource="tcp://127.0.0.1:1"):
    return Found("network", resource, "a,b,c,d", driver)


@pytest.mark.parametrize("name", ["awg", "scope", "tagger"])
def test_served_instruments_are_named_and_their_drivers_found(name):
    names = PHOTON_BENCH if name == "tagger" else ("awg", "scope")
    light = ClickingLight() if name == "tagger" else None
    with served(names=names, light=light) as lab:
        found = scan.ask(lab.endpoints[name], 1.0)
    expected = {
        "awg": "keysight.m8190a",
        "scope": "keysight.infiniium",
        "tagger": "idq.id900",
    }
    assert found is not None
    assert found.driver == expected[name]
    assert found.identity.count(",") == 3


def test_a_port_that_nobody_answers_on_is_left_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert scan.ask(f"tcp://127.0.0.1:{port}", 0.2) is None
    assert scan.ask(f"tcp://127.0.0.1:{port}", 0.2) is None


@pytest.mark.parametrize(
    ("vendor", "model", "driver"),
    [
        ("Agilent Technologies", "M8190A", "keysight.m8190a"),
        ("Keysight Technologies", "M8195A", "keysight.m8195a"),
        ("KEYSIGHT TECHNOLOGIES", "DSOS204A", "keysight.infiniium"),
        ("TEKTRONIX", "AWG70002A", "tektronix.awg70000"),
        ("IDQ", "ID900", "idq.id900"),
        ("ACME", "M8190A", ""),
        ("KEYSIGHT TECHNOLOGIES", "33600A", ""),
    ],
)
def test_a_driver_is_proposed_by_identity(vendor, model, driver):
    assert scan.driver_for(Identity(vendor, model, "1", "1")) == driver


def test_serial_resources_of_visa_are_not_listed_twice():
    listed = ["ASRL/dev/ttyS0::INSTR", "USB0::1::2::3::INSTR"]
    found = scan.visa_resources(lambda: listed)
    assert [one.resource for one in found] == ["visa://USB0::1::2::3::INSTR"]


@pytest.mark.parametrize("scheme", ["cv", "dv"])
@pytest.mark.parametrize("simulated", [True, False])
def test_a_new_config_is_valid(tmp_path, scheme, simulated):
    made = draft(scheme, [], simulated=simulated)
    path = tmp_path / "new.toml"
    write_new(path, made)
    config = load_config(path).config
    assert (config.sim is not None) is simulated
    gaps = [n for n, s in config.instruments.items() if PLACEHOLDER in s.resource]
    assert gaps == [seat.name for seat in SEATS[scheme]]
    assert len(made.missing) == (0 if simulated else len(gaps))
    with pytest.raises(ConfigError, match="left alone"):
        write_new(path, made)


def test_found_instruments_take_their_seats(tmp_path):
    found = [
        awg_of("tektronix.awg70000"),
        awg_of("keysight.infiniium", "tcp://127.0.0.1:2"),
        Found("network", "tcp://127.0.0.1:3", "ACME,Toaster,1,1"),
    ]
    made = draft("cv", found, simulated=False)
    path = tmp_path / "new.toml"
    write_new(path, made)
    instruments = load_config(path).config.instruments
    assert made.missing == ()
    assert instruments["awg"].driver == "tektronix.awg70000"
    assert instruments["scope"].resource == "tcp://127.0.0.1:2"
    assert "# tcp://127.0.0.1:3  ACME,Toaster,1,1" in made.text


def test_every_proposed_driver_plays_a_role():
    for name in scan.IDENTITIES.keys() & DRIVERS.keys():
        assert DRIVERS[name].roles


def test_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scan, "visa_resources", lambda: [])
    monkeypatch.setattr(scan, "serial_ports", lambda: [])
    monkeypatch.setattr(scan, "ask", lambda resource, _: None)
    assert cli.main(["devices", "--scan", "--host", "127.0.0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"] == []
    new = str(tmp_path / "new.toml")
    assert cli.main(["config", "new", new, "--scheme", "dv", "--json"]) == 0
    missing = json.loads(capsys.readouterr().out)["to_fill_in"]
    assert missing == [
        "alice.instruments.awg.resource",
        "bob.instruments.tagger.resource",
    ]
    assert cli.main(["config", "new", new]) == 2
    assert cli.main(["config", "new", new, "--scheme", "am"]) == 2
    assert cli.main(["devices"]) == 2
