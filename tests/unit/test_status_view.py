"""Status on a terminal: what stands where, what is coloured, who is silent."""

import json
import time

import pytest
from rich.console import Console
from run_kit import CONFIGS

from scqc import cli
from scqc.cli import status_view
from scqc.cli.numbers import duration, si
from scqc.cli.status_view import STYLES, rows_of
from scqc.runs.lab_config import parse_config
from scqc.runs.parties.alarms import SEVERITIES
from scqc.runs.parties.control import ControlServer
from scqc.runs.parties.observer import Observer, Sources
from scqc.runs.parties.status import DoneBlock, Status

DV = parse_config((CONFIGS / "dv_quick.toml").read_text())
CV = parse_config((CONFIGS / "cv_quick.toml").read_text())


class Sink:
    def available_bits(self, purpose, direction, simulated):
        return {"authentication": 131_072, "pad": 4000, "key": 0}[purpose]


def end(party, home, config=DV):
    status = Status(party)
    return status, Observer(Sources(config, home, Sink(), status))


def shown(table, width=100):
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


@pytest.mark.parametrize(
    ("number", "unit", "expected"),
    [
        (0, "bit", "0 bit"),
        (999, "bit", "999 bit"),
        (1000, "bit", "1 kbit"),
        (999_499, "bit", "999 kbit"),
        (999_600, "bit", "1 Mbit"),
        (131_072, "bit", "131 kbit"),
        (7.7125, "bit/s", "7.71 bit/s"),
        (8323.4, "bit/s", "8.32 kbit/s"),
        (74_071_883_776, "B", "74.1 GB"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(number, unit, expected):
    assert si(number, unit) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (60.0, "60 s"),
        (180.0, "3 min"),
        (7200.0, "2 h"),
        (1e6, "12 d"),
    ],
)
def test_times_have_a_unit_that_fits(seconds, expected):
    assert duration(seconds) == expected


def test_ends_stand_side_by_side_in_sections(tmp_path):
    alice, alice_looks = end("alice", tmp_path)
    bob, bob_looks = end("bob", tmp_path)
    bob.done(DoneBlock(0, time.monotonic(), 24_000, {"qber_z": 0.0123, "qber_x": 0.02}))
    alice.enter("running")
    ends = [{"home": "A"} | alice_looks.look(), {"home": "B"} | bob_looks.look()]
    text = shown(status_view.status_view(ends))
    lines = [line.rstrip() for line in text.splitlines()]
    sections = [line for line in lines if line and not line.startswith(" ")]
    assert sections == ["link", "blocks", "channel", "key", "key sink", "alarms"]
    rows = {line[2:22].strip(): line for line in lines if line.startswith("  ")}
    assert "running" in rows["state"]
    assert "1.23%" in rows["QBER Z"]
    assert "24 kbit" in rows["so far"]
    assert rows["authentication A→B"].count("131 kbit") == 2
    assert "pad-low" in text


def test_what_is_wrong_is_coloured_by_its_severity(tmp_path):
    status, observer = end("bob", tmp_path)
    limit = DV.security.max_error_rate
    status.done(DoneBlock(0, time.monotonic(), 0, {"qber_z": 2 * limit, "qber_x": 0.0}))
    status.enter("fault", "3 blocks in a row failed")
    rows = rows_of(observer.look())
    assert rows["link", "state"] == ("fault", "major")
    assert rows["channel", "QBER Z"].severity == "major"
    assert rows["key sink", "pad A→B"].severity == "minor"
    assert rows["key sink", "authentication A→B"].severity == "ok"
    assert {rows["alarms", ""].severity} == {"major"}
    assert set(STYLES) == set(SEVERITIES)
    console = Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(status_view.status_view([observer.look()]))
    assert "\x1b[31mfault" in captured.get()


def test_old_figures_are_marked(tmp_path):
    status, observer = end("bob", tmp_path, CV)
    figures = {"xi_snu": 0.0123, "transmittance": 0.5, "ber": 0.01}
    status.done(DoneBlock(0, time.monotonic() - 3600.0, 0, figures))
    rows = rows_of(observer.look())
    assert rows["channel", "as of"] == ("60 min ago", "invalid")
    assert rows["channel", "excess noise"] == ("0.0123 SNU", "invalid")


def test_several_homes_one_of_them_silent(tmp_path, capsys):
    _, observer = end("bob", tmp_path)
    home, silent = tmp_path / "bob", tmp_path / "alice"
    home.mkdir()
    with ControlServer(home, lambda _: observer.look()):
        assert cli.main(["status", str(home), "--json"]) == 0
        one = json.loads(capsys.readouterr().out)
        assert cli.main(["status", str(home), str(silent), "--json"]) == 0
        both = json.loads(capsys.readouterr().out)
        assert cli.main(["status", str(home), str(silent)]) == 7
        spoken = capsys.readouterr()
        assert cli.main(["status", str(home)]) == 0
        capsys.readouterr()
    assert (one["schema_version"], one["party"]) == (1, "bob")
    assert [found["state"] for found in both["homes"]] == ["starting", "no answer"]
    assert "no answer" in spoken.out
    assert "no service answers" in spoken.err
    assert cli.main(["status", str(silent), "--json"]) == 7
    assert json.loads(capsys.readouterr().out)["error"]["class"] == "PeerError"
    assert cli.main(["status", str(silent), "--watch", "--json"]) == 2


def test_watching_goes_on_until_told_to_stop(tmp_path, monkeypatch, capsys):
    looks = []

    def look(homes):
        looks.append(homes)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return [{"home": "x", "state": "no answer", "why": "", "alarms": []}]

    monkeypatch.setattr("scqc.runs.parties.asking.ask_all", look)
    assert cli.main(["status", str(tmp_path), "--watch", "--interval", "0.1"]) == 0
    assert len(looks) == 3
    assert "no answer" in capsys.readouterr().out


def test_every_field_is_documented(tmp_path):
    page = (CONFIGS.parent / "docs/reference/status.md").read_text()
    _, observer = end("bob", tmp_path)
    found = observer.look()
    for name in found:
        assert f"`{name}" in page, name
    for name in found["alarms"][0]:
        assert f"{name}" in page, name
