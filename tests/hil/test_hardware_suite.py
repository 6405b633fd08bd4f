"""``make test-hw``: the suites of the roles on instruments that somebody else serves.

The emulators stand in for the laboratory: they run in another process, and the
config that is tested has their endpoints and no ``[sim]``.
"""

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import hw_kit
import pytest

pytestmark = pytest.mark.hil

HOME = Path(__file__).resolve().parents[2]
BENCH = HOME / "lab_configs" / "cv_full_bench.toml"
SUITE = "tests/contract/test_light_roles.py"


@contextmanager
def laboratory(folder):
    """Serve the bench; yield a config of it without ``[sim]``."""
    command = (sys.executable, "-m", "scqc.cli", "serve-sim", str(BENCH), "--json")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HOME, text=True
    ) as served:
        try:
            endpoints = json.loads(served.stdout.readline())["endpoints"]
            text = BENCH.read_text().partition("[sim]")[0]
            for name, place in endpoints.items():
                text, found = re.subn(
                    rf'(instruments\.{name}\][^[]*?resource = )"[^"]*"',
                    rf'\g<1>"{place}"',
                    text,
                )
                assert found == 1
            config = folder / "lab.toml"
            config.write_text(text)
            yield config
        finally:
            served.kill()


def run_suite(*options):
    """Run part of the suite; return its exit code and what it said."""
    command = (sys.executable, "-m", "pytest", "-rs", "-p", "no:xdist", SUITE)
    done = subprocess.run(
        [*command, *options], cwd=HOME, capture_output=True, text=True, timeout=500
    )
    return done.returncode, done.stdout + done.stderr


def test_light_only_when_it_is_allowed(tmp_path):
    with laboratory(tmp_path) as config:
        code, dark = run_suite(f"--hw-config={config}", "-k", "Laser")
        assert code == 0, dark
        assert "set_enabled could let light out or drive the bench: only with" in dark


@pytest.mark.soak
def test_instruments_with_light_and_without(tmp_path):
    with laboratory(tmp_path) as config:
        code, dark = run_suite(f"--hw-config={config}")
        assert code == 0, dark
        for call in ("set_enabled", "set_bias", "set_attenuation"):
            assert f"{call} could let light out" in dark
        code, lit = run_suite(f"--hw-config={config}", "--allow-light")
        assert code == 0, lit
        assert "could let light out" not in lit


def test_a_config_of_emulators_is_no_hardware():
    with pytest.raises(pytest.UsageError, match=r"\[sim\] is no hardware"):
        hw_kit.choose(BENCH, allow_light=False)
    assert not hw_kit.CHOICE.instruments


@pytest.mark.soak
def test_instruments_that_are_emulators_end_the_suite():
    code, said = run_suite(f"--hw-config={BENCH}")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "[sim] is no hardware" in said
