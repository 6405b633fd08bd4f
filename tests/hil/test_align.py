"""Delays of a whole bench, over the wire: found, written down, and corrected."""

import json
import math

import pytest
from photon_run_kit import SMALL, bench
from photon_run_kit import run as photon_run
from run_kit import CONFIGS

from scqc import cli
from scqc.core.errors import SignalError
from scqc.runs.align import RECORDS, _combined, _start, _start_hints

pytestmark = pytest.mark.hil
CV = (CONFIGS / "cv_quick.toml").read_text()
# Two symbols out of eight go into guards, and roll-off, see dsp/alignment.py.
RECORDS_CV, CLOCK_PPM = 6, 12.0
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
    groups = (9 * 5632) // 2048
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
    config.write_text(with_lines(text, found["toml"]))
    for one in aligned(capsys, config, "--records", "1")["delays"][1:]:
        # Both measurements, and the rounding of two delays to a picosecond.
        assert abs(one["delay_ps"]) < 5.0 * math.sqrt(2.0) * one["sigma_ps"] + 1.0
    with pytest.raises(SignalError):
        photon_run(tmp_path / "before", *SMALL, LATE)
    corrected = ("[bob.tagger]\n", found["toml"])
    data = photon_run(tmp_path / "after", *SMALL, LATE, corrected).as_json()
    assert data["quantum"]["qber"]["x"] < 0.04


def test_a_real_bench_needs_leave_to_send_light(tmp_path):
    path = tmp_path / "real.toml"
    path.write_text(CV[: CV.index("[sim]")])
    assert cli.main(["align", str(path)]) == 2


def test_the_text(capsys):
    config = str(CONFIGS / "dv_active_quick.toml")
    assert cli.main(["align", config, "--records", "1", "--margin", "2e-3"]) == 0
    said = capsys.readouterr().out
    for part in ("rx.z1 behind rx.z0", "[bob.tagger]", "median", "2000.000", "hint"):
        assert part in said


def test_margins_that_are_too_short_are_pointed_out():
    starts_s = [1e-6 * k for k in range(1, 9)]
    start = _start(starts_s, 10e-6)
    assert (start.earliest_s, start.latest_s) == (1e-6, 8e-6)
    (hint,) = _start_hints(start, "bob.digitizer.margin_s")
    assert "8.000 us" in hint
    assert "bob.digitizer.margin_s = 1e-05" in hint
    assert not _start_hints(_start(starts_s, 12e-6), "bob.digitizer.margin_s")


def test_records_that_contradict_each_other_are_pointed_out():
    steady = [(10.0 + 0.5 * (-1) ** k, 1.0) for k in range(RECORDS)]
    delay, hints = _combined("x", steady)
    assert (delay.delay_ps, hints) == (pytest.approx(10.0), [])
    assert delay.sigma_ps == pytest.approx(1.0 / math.sqrt(RECORDS))
    assert delay.is_clear
    moved = [*steady[:-1], (30.0, 1.0)]
    _, (hint,) = _combined("x", moved)
    assert "more than their noise" in hint
