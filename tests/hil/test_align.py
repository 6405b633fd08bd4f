"""Delays of a whole bench, over the wire: found, written down, and corrected."""

import json
import math

import numpy as np
import pytest
from photon_run_kit import SMALL, bench
from run_kit import CONFIGS

from dsp.time_tags.alignment import path_delays
from dsp.time_tags.pipeline import receive_tags
from scqc import cli
from scqc.runs import align
from scqc.runs.align import Alignment, Delay, Start, _combined, _start, _start_hints
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig, parse_config
from scqc.runs.parties.opened import open_station
from scqc.runs.parties.probes import photon_probes
from scqc.runs.photon.receive import receiver_settings
from scqc.runs.progress import Silent

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("warm_processes")]
CV = (CONFIGS / "cv_quick.toml").read_text()
CV = CV.replace("frames_per_burst = 9 ", "frames_per_burst = 4 ")
RECORDS_CV, CLOCK_PPM = 2, 12.0
DELAYS_S = (0.0, 7.123e-9, 61.5e-9, 9.25e-7)
LATE = ("jitter_s = 50e-12", f"jitter_s = 50e-12\ndelay_s = {list(DELAYS_S)}")


def aligned(capsys, path, *options):
    assert cli.main(["align", str(path), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def with_lines(text, lines):
    """Put what was written into a config."""
    header, _, rest = lines.partition("\n")
    return text.replace(f"{header}\n", f"{header}\n{rest}", 1)


def theory_ps(records):
    """Cramer and Rao's bound for the arms of this bench [ps].

    An arm is 12 dB below the pilots of a run, 30 dB; the guess of the channel that
    sets the level is the probe's, good to a few per cent.
    """
    groups = (4 * 5632) // 2048
    symbols = records * 2 * groups * 448 * 0.8
    rms_hz = 20e6 / math.sqrt(3.0)
    snr = 10.0**1.8
    return 1e12 * math.sqrt(2.0) / (2 * math.pi * rms_hz * math.sqrt(2 * snr * symbols))


def test_arms_out_of_step(tmp_path, capsys):
    text = CV.replace("[sim.awg]", "[sim.awg]\nskew_s = 200e-12")
    config, lines = tmp_path / "skewed.toml", tmp_path / "lines.toml"
    config.write_text(text)
    options = ("--records", str(RECORDS_CV), "--write", str(lines))
    found = aligned(capsys, config, *options)
    (delay,) = found["delays"]
    sigma_ps = theory_ps(RECORDS_CV)
    assert delay["sigma_ps"] == pytest.approx(sigma_ps, rel=0.1)
    assert abs(delay["delay_ps"] - 200.0) < 5.0 * sigma_ps
    start = found["start"]
    assert 2e-6 <= start["earliest_s"] <= start["median_s"] <= start["latest_s"] <= 6e-6
    assert start["latest_s"] < start["needed_s"] < 10e-6
    assert lines.read_text() == found["toml"]
    config.write_text(with_lines(text, found["toml"]))
    # Nothing is overwritten, and no light is sent before that is said.
    assert cli.main(["align", str(config), "--write", str(lines), "--json"]) == 2
    assert "left alone" in capsys.readouterr().out
    (left,) = aligned(capsys, config, "--records", str(RECORDS_CV))["delays"]
    # What was put in has the uncertainty of the first measurement.
    assert abs(left["delay_ps"]) < 5.0 * math.hypot(sigma_ps, sigma_ps)


def test_detectors_out_of_step(tmp_path, capsys):
    text = bench(*SMALL[:2], LATE).text
    config = tmp_path / "late.toml"
    config.write_text(text)
    found = aligned(capsys, config, "--records", "2")
    for one, delay_s in zip(found["delays"][1:], DELAYS_S[1:], strict=True):
        # The tagger's own picoseconds are a little short, or long.
        wanted_ps = 1e12 * delay_s * (1.0 + 1e-6 * CLOCK_PPM)
        assert abs(one["delay_ps"] - wanted_ps) < 5.0 * one["sigma_ps"]
        assert one["sigma_ps"] < 2.0
    assert found["start"]["latest_s"] < 1.1e-3
    tags, loaded = corrected_burst(with_lines(text, found["toml"]), tmp_path)
    link, settings = loaded.config.link, receiver_settings(loaded.config)
    left = path_delays(tags, link, settings, loaded.config.detectors)
    for (delay_ps, sigma_ps), one in zip(
        left.after_first()[1:], found["delays"][1:], strict=True
    ):
        # Both measurements, and the rounding of two delays to a picosecond.
        assert abs(delay_ps) < 5.0 * math.hypot(sigma_ps, one["sigma_ps"]) + 1.0
    bits = np.zeros(tags.times_ps.size, dtype=np.uint8)
    for fringe in receive_tags(tags, link, settings, bits).report.fringes:
        # 0.98 less stray and dark counts; the counts are thousands.
        assert fringe.visibility > 0.9


def corrected_burst(text, folder):
    """Send one burst on a bench that is in step."""
    loaded = LoadedConfig(parse_config(text), text, folder / "x.toml")
    with (
        Journal(folder, "run") as journal,
        open_station(loaded.config, journal, Silent()) as opened,
    ):
        return photon_probes(loaded.config, opened).send_probe()[0], loaded


def test_a_real_bench_needs_leave_to_send_light(tmp_path):
    path = tmp_path / "real.toml"
    path.write_text(CV[: CV.index("[sim]")])
    assert cli.main(["align", str(path)]) == 2


def test_the_text(tmp_path, capsys, monkeypatch):
    delays = (Delay("rx.z0", 0.0, 0.0), Delay("rx.z1 behind rx.z0", 70.0, 0.5))
    start = Start(1e-3, 2e-3, 3e-3, 4e-3, 5e-3)
    made = Alignment(3, start, delays, ("raise it",), "[bob.tagger]\n")
    monkeypatch.setattr(align, "align", lambda *_: made)
    config = str(CONFIGS / "dv_quick.toml")
    assert cli.main(["align", config]) == 0
    said = capsys.readouterr().out
    for part in ("rx.z1 behind rx.z0", "70.0", "median 2000.000", "raise it"):
        assert part in said
    assert said.endswith("[bob.tagger]\n")
    assert cli.main(["align", config, "--write", str(tmp_path / "new.toml")]) == 0
    assert "new.toml" in capsys.readouterr().out


def test_another_margin():
    for name in ("cv_quick.toml", "dv_quick.toml"):
        bob = align.with_margin(bench(name=name), 0.25).config.bob
        use = bob.digitizer if name.startswith("cv") else bob.tagger
        assert use.margin_s == 0.25


def test_margins_that_are_too_short_are_pointed_out():
    starts_s = [1e-6 * k for k in range(1, 9)]
    start = _start(starts_s, 10e-6)
    assert (start.earliest_s, start.latest_s) == (1e-6, 8e-6)
    (hint,) = _start_hints(start, "bob.digitizer.margin_s")
    assert "8.000 us" in hint
    assert "bob.digitizer.margin_s = 1e-05" in hint
    assert not _start_hints(_start(starts_s, 12e-6), "bob.digitizer.margin_s")


def test_records_that_contradict_each_other_are_pointed_out():
    steady = [(10.0 + 0.5 * (-1) ** k, 1.0) for k in range(8)]
    delay, hints = _combined("x", steady)
    assert (delay.delay_ps, hints) == (pytest.approx(10.0), [])
    assert delay.sigma_ps == pytest.approx(1.0 / math.sqrt(8))
    assert delay.is_clear
    moved = [*steady[:-1], (30.0, 1.0)]
    _, (hint,) = _combined("x", moved)
    assert "more than their noise" in hint
