"""What the documents promise is what the program does."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from driver.registry import DRIVERS
from scqc.runs import outcome
from scqc.runs.bench_rules import SIGNALS
from scqc.runs.config_problems import _model_of
from scqc.runs.cv_config import CvConfig
from scqc.runs.photon import rules
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.shared_rules import OPTICS_SIGNALS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
CONFIG_PAGE = (ROOT / "docs/reference/config.md").read_text()
TARGETS = ("run", "test", "check", "bench", "soak", "interop", "venv", "warm")
CLI_PAGE = (ROOT / "docs/reference/cli.md").read_text()


def test_readme_is_short():
    assert len(README.splitlines()) < 120


@pytest.mark.parametrize("target", ["run", "test"])
def test_readme_gives_both_commands_on_lines_of_their_own(target):
    assert re.findall(rf"^    make {target}$", README, re.MULTILINE) == [
        f"    make {target}"
    ]
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize(
    "target", ["run", "test", "check", "bench", "soak", "venv", "warm"]
)
def test_make_knows_its_targets(target):
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_gate_runs_the_readmes_test_command():
    script = (ROOT / ".ci/run").read_text()
    pattern = re.search(r"s/(\^.*)/\\1/p", script)[1]
    python = pattern.replace("\\(", "(").replace("\\)", ")")
    assert re.findall(python, README, re.MULTILINE) == ["make test"]


def test_paths_in_readme_exist():
    named = re.findall(r"`((?:lab_configs|docs)/[\w./-]+)`", README)
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


def test_constraints_pin_versions_and_name_no_host():
    files = ("constraints.txt", "constraints-interop.txt")
    lines = "".join((ROOT / name).read_text() for name in files).splitlines()
    pins = [x for x in lines if not x.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+-]+", pin) for pin in pins)
    names = {pin.partition("==")[0].lower().replace("_", "-") for pin in pins}
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'"([a-z0-9-]+)>=[\d.]+"', project)
    assert set(wanted) - {"hatchling"} <= names


@pytest.mark.parametrize("page", ["README.md", "docs/reference/cli.md"])
def test_exit_codes_are_documented(page):
    text = (ROOT / page).read_text()
    for code in {0, 3, outcome.INTERRUPTED, *(c for _, c in outcome._EXIT_CODES)}:
        assert re.search(rf"\b{code}\b", text), code


def test_errors_stand_beside_their_codes():
    for kind, code in outcome._EXIT_CODES:
        row = next(x for x in CLI_PAGE.splitlines() if x.startswith(f"| {code} |"))
        assert kind.__name__ in row


def tables(model: type[BaseModel], found=None):
    found = set() if found is None else found
    if model not in found:
        found.add(model)
        for field in model.model_fields.values():
            for part in [field.annotation, *getattr(field.annotation, "__args__", ())]:
                below = _model_of(part)
                if below is not None:
                    tables(below, found)
    return found


EVERY_TABLE = sorted(
    tables(CvConfig) | tables(PhotonConfig), key=lambda m: (m.__name__, m.__module__)
)


@pytest.mark.parametrize("model", EVERY_TABLE, ids=lambda m: m.__name__)
def test_every_config_key_is_documented(model):
    for name, field in model.model_fields.items():
        key = field.alias or name
        assert f"`{key}`" in CONFIG_PAGE or re.search(rf"[\[.]{key}\b", CONFIG_PAGE), (
            key
        )


def test_every_signal_is_documented():
    for signal in SIGNALS | rules.EVERY_SIGNAL | OPTICS_SIGNALS:
        assert f"`{signal}`" in CONFIG_PAGE, signal


def test_every_driver_has_a_page_and_a_place_in_the_list():
    index = (ROOT / "docs/drivers/README.md").read_text()
    rows = {m[1]: m[0] for m in re.finditer(r"^\| \[`([\w.]+)`\].*$", index, re.M)}
    assert set(rows) == set(DRIVERS)
    for name, entry in DRIVERS.items():
        page = re.search(r"\((\w+\.md)\)", rows[name])[1]
        assert f"`{name}`" in (ROOT / "docs/drivers" / page).read_text(), name
        for role, ports in entry.plays.items():
            assert role in rows[name], (name, role)
            assert f"`{ports[0]}`" in rows[name], (name, ports)
