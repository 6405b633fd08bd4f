"""The report that a finished run leaves in its folder."""

import json
import re

import numpy as np
import pytest
from foreign_kit import PILOTS_HZ, ForeignScene, synthesise, write_folder

from scqc.runs.foreign import import_foreign_npy
from scqc.runs.offline import process_capture
from scqc.runs.progress import Silent
from scqc.runs.report import write_report
from scqc.runs.report_data import N_FFT


@pytest.fixture(scope="module")
def page(finished):
    return (finished.folder / "report.html").read_text(encoding="utf-8")


def test_every_section_is_there(page):
    found = re.findall(r'<section id="(\w+)">', page)
    assert found == [
        "figures",
        "constellation",
        "pilot",
        "spectrum",
        "channel",
        "errors",
        "reconciliation",
        "ledger",
        "equality",
        "timing",
        "provenance",
    ]
    assert len(page) < 3_000_000


def test_it_says_what_the_result_says(page, result_json):
    assert result_json["verdict"] in page
    assert f"{result_json['quantum']['transmittance']['value']:.4f}" in page
    entries = json.loads(
        re.search(r"Instruments</h3>\n<pre>(.*?)</pre>", page, re.S)[1].replace(
            "&quot;", '"'
        )
    )
    assert entries["awg"]["driver"] == "keysight.m8190a"


def test_spectrum_is_the_one_that_was_sent(finished):
    found = finished.result.plots["spectrum"]
    axis, density = found["frequency_mhz"], found["density_db"]
    # The strongest line is the strong pilot, in its bin or the next.
    top = axis[np.argmax(density["signal"])]
    assert abs(top - found["pilots_mhz"][0]) <= 1.5 * found["resolution_mhz"]
    low, high = found["band_mhz"]
    inside = (axis > low) & (axis < high)
    level = {k: float(np.mean(10 ** (d[inside] / 10))) for k, d in density.items()}
    # By the definition of 0 dB: shot is one vacuum above electronic.
    assert level["shot"] - level["electronic"] == pytest.approx(1.0, abs=1e-9)
    # Another path to the same number: the demodulator's. Averages of half
    # overlapping Hann segments count 9/11 each; two quadratures a symbol there.
    averages = 9 / 11 * inside.sum() * 2 * 400_000 / N_FFT
    values = 2 * finished.result.data["key"]["symbols"]
    sigma = np.sqrt(2 / averages + 2 * 2 / values)
    measured = finished.result.data["quantum"]["electronic_snu"]
    assert level["electronic"] == pytest.approx(measured, rel=5 * sigma)
    assert level["signal"] > 3.0


def test_raw_errors_of_the_bursts_add_up(finished):
    found = finished.result.plots["errors"]
    rate = sum(found["errors"]) / sum(found["bits"])
    assert rate == pytest.approx(
        finished.result.data["classical"]["ber_raw"], rel=1e-12
    )


def test_plots_are_no_part_of_the_json(finished, tmp_path):
    assert "plots" not in finished.result.as_json()
    write_report(tmp_path / "again.html", finished.result)
    assert (tmp_path / "again.html").read_text(encoding="utf-8").startswith("<!DOCTYPE")


def test_a_foreign_capture_has_a_report_without_bits_and_key(tmp_path):
    folder = write_folder(synthesise(ForeignScene(symbols=5000)), tmp_path / "in")
    # Whoever made the files may have written anything into them.
    told = folder / "receiver_knows.json"
    hostile = json.loads(told.read_text()) | {"units": "<script>alert(1)</script>"}
    told.write_text(json.dumps(hostile))
    import_foreign_npy(folder, tmp_path / "foreign.h5")
    result = process_capture(
        tmp_path / "foreign.h5",
        tmp_path / "out",
        Silent(),
        symbols=folder / "alice_symbols.npy",
    )
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)">', page) == [
        "figures",
        "constellation",
        "pilot",
        "spectrum",
        "equality",
        "provenance",
    ]
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    pilots_mhz = result.plots["spectrum"]["pilots_mhz"]
    spacing_mhz = 1e-6 * (PILOTS_HZ[1] - PILOTS_HZ[0])
    assert pilots_mhz[1] - pilots_mhz[0] == pytest.approx(spacing_mhz, abs=0.01)
