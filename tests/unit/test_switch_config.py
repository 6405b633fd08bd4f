"""A shutter that is an instrument of its own, in the lab config of either scheme."""

import pytest
from run_kit import CONFIGS

from scqc.core.errors import ConfigError
from scqc.runs.config_text import as_toml
from scqc.runs.lab_config import parse_config

SHUTTER = """
[alice.instruments.shutter]
role = "optical-switch"
driver = "generic.line_switch"
resource = "serial:///dev/ttyUSB9?baud=9600"

[alice.instruments.shutter.commands]
open = "S1"
close = "S0"
query = "S?"
open_reply = "1"
closed_reply = "0"
terminator = "\\r"
"""
CV = (CONFIGS / "cv_quick.toml").read_text()
DV = (CONFIGS / "dv_quick.toml").read_text()


def wired(text, port):
    """Return the bench with its signal shutter on another port."""
    old = '"switch.signal" = "awg:marker1"'
    assert text.count(old) == 1
    return text.replace(old, f'"switch.signal" = "{port}"') + SHUTTER


@pytest.mark.parametrize("text", [CV, DV])
def test_a_shutter_may_hang_on_a_marker_or_be_a_switch(text):
    config = parse_config(wired(text, "shutter:1"))
    assert config.wiring["switch.signal"] == "shutter:1"
    shutter = config.alice.instruments["shutter"]
    assert shutter.commands.terminator == "\r"
    assert parse_config(as_toml(config)) == config
    parse_config(wired(text, "awg:marker1"))


@pytest.mark.parametrize("text", [CV, DV])
@pytest.mark.parametrize(
    ("port", "says"),
    [
        ("awg:1", "must be a marker of the awg, or a channel of the optical-switch"),
        ("shutter:2", "no port '2'"),
        ("shutter:marker1", "no port 'marker1'"),
    ],
)
def test_nothing_else_will_do(text, port, says):
    with pytest.raises(ConfigError, match=says):
        parse_config(wired(text, port))


def test_a_switch_carries_no_other_signal():
    text = CV.replace('"rx.rf" = "scope:1"', '"rx.rf" = "shutter:1"') + SHUTTER
    with pytest.raises(ConfigError, match=r"rx\.rf.*must be a channel of the digitiz"):
        parse_config(text)
