"""A recorded file as a time tagger: stretches, the end, damage, a lab config."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from local_kit import PERIOD_PS, opened_driver, regular_tags

import scqc.store.ptu
from driver import hal
from driver.links import check_resource, takes_one_client
from driver.registry import DRIVERS
from scqc.core.errors import (
    ConnectError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)
from scqc.core.records import TimeTags
from scqc.store.ptu import write_ptu

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("warm_processes")]

ROOT = Path(__file__).parents[2]
TWO = hal.TaggerConfig({1: hal.TaggerChannel(), 3: hal.TaggerChannel(delay_ps=700)})
LINK = DRIVERS["picoquant.ptu"].link


def irregular_tags(n_tags=5000, span_ps=20_000_000, seed=3):
    generator = np.random.default_rng(seed)
    times = np.sort(generator.integers(0, span_ps, n_tags)).astype(np.int64)
    inputs = generator.integers(1, 5, n_tags).astype(np.uint8)
    return TimeTags(times, inputs, 21_000_000_000)


@pytest.fixture(params=[1 << 20, 97])
def recorded(tmp_path, monkeypatch, request):
    """A file, also read in blocks that are short against a stretch."""
    blocks = functools.partial(scqc.store.ptu.read_ptu_blocks, block=request.param)
    monkeypatch.setattr("scqc.store.ptu.read_ptu_blocks", blocks)
    tags = irregular_tags()
    write_ptu(tmp_path / "a.ptu", tags)
    return f"file://{tmp_path / 'a.ptu'}", tags


def expected(tags, config, begin_ps, stop_ps):
    """Return what a stretch must hold, one tag after the other."""
    found = []
    for time_ps, n in zip(tags.times_ps.tolist(), tags.channels.tolist(), strict=True):
        if n in config.channels:
            delayed_ps = time_ps + config.channels[n].delay_ps
            if begin_ps <= delayed_ps < stop_ps:
                found.append((delayed_ps - begin_ps, n))
    return sorted(found)


def test_stretches_follow_one_another_and_hold_every_tag_once(recorded):
    resource, tags = recorded
    begin_ps = 0
    with opened_driver("picoquant.ptu", resource) as tagger:
        for number, duration_ps in enumerate((3_000_000, 1_000_000, 5_500_000) * 2):
            # As a run does, which sets the tagger before every block.
            tagger.configure(TWO)
            tagger.start(1e-12 * duration_ps)
            if number == 3:
                tagger.close()
                assert tagger.open().vendor == "PicoQuant"
                begin_ps += duration_ps
                continue
            found = tagger.read(60.0)
            got = list(
                zip(found.times_ps.tolist(), found.channels.tolist(), strict=True)
            )
            assert sorted(got) == expected(tags, TWO, begin_ps, begin_ps + duration_ps)
            assert np.all(np.diff(found.times_ps) >= 0)
            assert found.duration_ps == duration_ps
            begin_ps += duration_ps


def test_behind_the_end_is_an_error_that_says_what_is_left(tmp_path):
    tags = regular_tags(5)
    write_ptu(tmp_path / "a.ptu", tags)
    with opened_driver("picoquant.ptu", f"file://{tmp_path / 'a.ptu'}") as tagger:
        tagger.configure(TWO)
        tagger.start(4e-12 * PERIOD_PS)
        with pytest.raises(StateError, match=r"ends at 5e-06 s, 1e-06 s are left"):
            tagger.start(2e-12 * PERIOD_PS)
        with pytest.raises(StateError):
            tagger.read(60.0)
        # Nothing was taken: what is left can still be had.
        tagger.start(1e-12 * PERIOD_PS)
        assert tagger.read(60.0).times_ps.size == np.sum(
            np.isin(tags.channels, (1, 3)) & (tags.times_ps >= 4 * PERIOD_PS)
        )
        with pytest.raises(StateError, match="0 s are left"):
            tagger.counts(1e-6)


def test_damage_is_met_and_nothing_behind_it_is_played(tmp_path, monkeypatch):
    path = tmp_path / "a.ptu"
    write_ptu(path, irregular_tags())
    blocks = functools.partial(scqc.store.ptu.read_ptu_blocks, block=1000)
    monkeypatch.setattr("scqc.store.ptu.read_ptu_blocks", blocks)
    with opened_driver("picoquant.ptu", f"file://{path}") as tagger:
        tagger.configure(TWO)
        tagger.start(1e-6)
        path.write_bytes(path.read_bytes()[:-8000])
        tagger.close()
        with pytest.raises(ConnectError, match="announced"):
            tagger.open()

    def broken(_path):
        yield from ()
        raise scqc.store.ptu.CaptureError("bad record")

    write_ptu(path, irregular_tags())
    monkeypatch.setattr("scqc.store.ptu.read_ptu_blocks", broken)
    with opened_driver("picoquant.ptu", f"file://{path}") as tagger:
        tagger.configure(TWO)
        with pytest.raises(WireProtocolError, match="bad record"):
            tagger.start(1e-6)
        with pytest.raises(StateError, match="closed"):
            tagger.start(1e-6)


def test_reading_has_a_deadline(tmp_path, monkeypatch):
    tags = irregular_tags()
    write_ptu(tmp_path / "a.ptu", tags)
    blocks = functools.partial(scqc.store.ptu.read_ptu_blocks, block=1)
    monkeypatch.setattr("scqc.store.ptu.read_ptu_blocks", blocks)
    resource = f"file://{tmp_path / 'a.ptu'}"
    with opened_driver("picoquant.ptu", resource, io_timeout_s=1e-4) as tagger:
        tagger.configure(TWO)
        with pytest.raises(InstrumentTimeout, match="not done within"):
            tagger.start(20e-6)
        # Nothing is lost by it: asked again, it goes on from there.
        tagger._link.io_timeout_s = 60.0
        tagger.start(20e-6)
        found = tagger.read(60.0)
        assert found.times_ps.size == len(expected(tags, TWO, 0, 20_000_000))


@pytest.mark.parametrize("content", [b"", b"no PTU at all", b"PQTTTR\0\0" + bytes(60)])
def test_what_is_no_file_of_tags_is_told_when_opening(tmp_path, content):
    path = tmp_path / "a.ptu"
    path.write_bytes(content)
    for place in (path, tmp_path / "absent.ptu", tmp_path):
        with (
            pytest.raises(ConnectError, match="open"),
            opened_driver("picoquant.ptu", f"file://{place}"),
        ):
            pass


@pytest.mark.parametrize("resource", ["a.ptu", "file://", "file:///", "tcp://h:1"])
def test_malformed_resource(resource):
    with pytest.raises(RangeError, match="expected file:///folder"):
        check_resource(LINK, "resource", resource)
    assert not takes_one_client("file:///a.ptu")


def test_a_lab_config_with_a_recorded_file(tmp_path):
    """The file is played as it is; the other instruments are emulated."""
    write_ptu(tmp_path / "a.ptu", regular_tags())
    text = (ROOT / "lab_configs/dv_quick.toml").read_text()
    before, table, after = text.partition("[bob.instruments.tagger]\n")
    _, rest = after.split("\n\n", 1)
    config = tmp_path / "lab.toml"
    config.write_text(
        f'{before}{table}role = "time-tagger"\ndriver = "picoquant.ptu"\n'
        f'resource = "file://{tmp_path / "a.ptu"}"\n\n{rest}'
    )
    done = subprocess.run(
        [sys.executable, "-m", "scqc.cli", "devices", str(config), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "MultiHarp" in json.dumps(json.loads(done.stdout))
