"""Instruments that test themselves, and the survey of a bench."""

import pytest
from bench_kit import bench_on, served

from driver.links import make_link
from driver.registry import SelfTesting
from scqc.core.errors import DeviceError
from scqc.runs import devices
from scqc.runs.lab_config import load_config
from sim_backends.wire.scpi import Command

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("warm_processes")]


def failing(device, code):
    device.add("*TST", Command("identify", on_query=lambda *_: str(code)))


def test_a_failed_self_test_is_an_error_of_the_device():
    with served() as lab, bench_on(lab) as bench:
        assert bench.self_test("awg", 5.0)
        failing(lab.devices["awg"], 3)
        with pytest.raises(DeviceError, match="self-test failed"):
            bench.self_test("awg", 5.0)


def test_the_survey_tells_failures_and_what_works_side_by_side(monkeypatch):
    loaded = load_config("lab_configs/dv_quick.toml")

    def bad_link(name, *arguments, **options):
        link = make_link(name, *arguments, **options)
        if isinstance(link, SelfTesting):
            monkeypatch.setattr(type(link), "query_number", lambda *_: 7.0)
        return link

    monkeypatch.setattr("driver.bench.make_link", bad_link)
    rows = {row["name"]: row for row in devices.survey(loaded)}
    assert "self-test" in rows["awg"]["error"]
    others = [row for name, row in rows.items() if name != "awg"]
    assert others
    assert all("answers" in row["self_test"] for row in others)
    assert all(isinstance(row["settings"], dict) for row in others)


def test_without_self_tests():
    rows = devices.survey(load_config("lab_configs/cv_quick.toml"), self_test=False)
    assert {row["self_test"] for row in rows} == {"not asked"}
