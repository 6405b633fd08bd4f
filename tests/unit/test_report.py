"""The report of a run: whole, harmless, and nothing of the key in it."""

import base64
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from dsp.decision import DecisionScale
from protocols.estimation.regression import Sums, regress
from scqc.runs import report_figures as figures
from scqc.runs.report import write_report
from scqc.runs.report_data import equality
from scqc.runs.result import Result

HOSTILE = (
    '</pre><script src="http://evil.example/x.js">alert(1)</script>"\'&\x00\x1b\ud800'
)


def interval(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def entry(t=0.63, xi=0.01):
    return {"transmittance": interval(t, 0.01), "xi_snu": interval(xi, 0.02)}


def ledger(secret=1000, holevo=4000.0):
    balance = secret if secret else -2500.5
    return {
        "raw_bits": 10000,
        "failed_bits": 1000,
        "syndrome_bits": 3000,
        "revealed_bits": 0,
        "verification_bits": 64,
        "flag_bits": 10,
        "estimation_bits": 700,
        "holevo_bits": holevo,
        "aep_bits": 9000 - 3774 - holevo - 69.0 - balance,
        "hashing_bits": 69.0,
        "frames_total": 10,
        "frames_kept": 9,
        "leak_bits": 3774,
        "balance_bits": balance,
        "secret_bits": secret,
    }


def data(secret=1000):
    truth = {
        "transmittance": 0.631,
        "xi_injected_snu": 0.005,
        "xi_expected_snu": 0.009,
    }
    classes = {name: entry() for name in ("x0", "x1", "p0", "p1")}
    return {
        "payload": {"delivered": True, "bytes": 568, "problem": ""},
        "classical": {"ber_raw": 1e-2, "frames": 18, "frames_lost": 0},
        "quantum": entry()
        | {
            "truth": truth,
            "quadratures": {"x": entry(), "p": entry()},
            "classes": classes,
        },
        "receiver": {"pilot_snr_db": 30.0, "clock_ppm": 3.0, "cycle_slips": 0},
        "reconciliation": {
            "beta": 0.83,
            "fer": 0.1,
            "code_rate": 0.25,
            "frames": 10,
            "frame_bits": 1000,
        },
        "key": {
            "secret_bits": secret,
            "secret_bits_per_symbol": secret / 1e5,
            "epsilon": 1e-10,
            "simulated": True,
            "ledger": ledger(secret),
        },
        "timing": {"receiver": 0.5, "key distillation": 0.3},
        "throughput": {"dsp_msa_per_s": 25.0},
    }


def cloud(rng, n=4000):
    return (rng.normal(size=n) + 1j * rng.normal(size=n)).astype(np.complex64)


def plots(text="plain"):
    rng = np.random.default_rng(1)
    residual = cloud(rng)
    axis = np.linspace(0.1, 200.0, 2047)
    density = {
        name: level + rng.normal(0.0, 0.1, axis.size)
        for name, level in (("signal", 10.0), ("shot", 0.2), ("electronic", -13.0))
    }
    names = ("capture", "run_uuid", "created_utc", "software_version", "salvaged")
    return {
        "residual": residual,
        "constellation": residual + np.complex64(3 + 3j),
        "scale": DecisionScale(3.0, 1.5),
        "psk": "qpsk",
        "pilot_phase_rad": [rng.normal(size=120) for _ in range(8)],
        "pilot_residual_rad": [np.full(120, 0.01) for _ in range(8)],
        "spectrum": {
            "frequency_mhz": axis,
            "density_db": density,
            "resolution_mhz": 0.1,
            "pilots_mhz": [32.0, 138.0],
            "carrier_mhz": 150.0,
            "band_mhz": (65.0, 125.0),
        },
        "bursts": [entry() for _ in range(8)],
        "errors": {
            "errors": [100, 0],
            "bits": [10000, 10000],
            "target_ber": 1e-2,
            "iterations": np.array([2, 3, 3]),
            "limit": 30,
        },
        "decoder_iterations": np.array([20, 40, 200]),
        "decoder_limit": 200,
        "equality": {"x": {"gain": 1.5, "noise": -0.25}},
        "provenance": dict.fromkeys((*names, "config", "layout", "instruments"), text),
    }


def written(folder, result):
    write_report(folder / "report.html", result)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page with everything in it."""
    result = Result(data(), "1000 secret bits", plots())
    return written(tmp_path_factory.mktemp("report"), result)


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave the drawing out, which takes a second a page."""
    empty = "data:image/svg+xml;base64,"
    monkeypatch.setattr(figures, "draw_figure", lambda *arguments: empty)


class Reader(HTMLParser):
    """Collects tags, addresses and the balance of tags as a browser sees them."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.sections, self.open = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action")]
        if tag == "section":
            self.sections.append(found["id"])
        if any(name.startswith("on") for name in found):
            raise ValueError(f"{tag} has a handler")
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise ValueError(f"</{tag}> closes nothing")


ALL = [
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


def test_same_result_same_report_and_quickly(whole, tmp_path):
    result = Result(data(), "1000 secret bits", plots())
    start = time.process_time()
    assert written(tmp_path, result) == whole
    # Five times the limit of one report: other threads of the test process count too,
    # and not every machine is as fast.
    assert time.process_time() - start < 15.0


def test_all_sections(whole):
    page = whole
    assert len(page) < 3_000_000
    reader = Reader(page)
    assert reader.sections == ALL
    assert reader.open == []
    assert reader.tags.count("img") == 7
    assert "1000 secret bits" in page
    assert "Simulated bench" in page


def test_nothing_is_fetched(whole):
    page = whole
    reader = Reader(page)
    assert all(a.startswith("data:image/svg+xml;base64,") for a in reader.addresses)
    assert not {"script", "link", "iframe", "object", "embed"} & set(reader.tags)
    assert "default-src 'none'" in page
    assert "http" not in re.sub(r'src="data:[^"]*"', "", page).replace("http-equiv", "")
    for address in reader.addresses:
        picture = base64.b64decode(address.partition(",")[2]).decode()
        references = re.findall(r'(?:href|src)="([^"]*)"', picture)
        assert all(r.startswith(("#", "data:image/png;base64,")) for r in references)
        assert "<script" not in picture


@pytest.mark.usefixtures("no_pictures")
def test_texts_of_a_file_are_only_texts(tmp_path):
    made = data()
    made["timing"] = {HOSTILE: 1.0}
    made["payload"]["problem"] = HOSTILE
    made["quantum"]["classes"] = {HOSTILE: entry()}
    page = written(tmp_path, Result(made, HOSTILE, plots(HOSTILE)))
    reader = Reader(page)
    assert "script" not in reader.tags
    assert reader.sections == ALL
    assert reader.open == []
    assert all(a.startswith("data:image/svg") for a in reader.addresses)
    assert "&lt;script" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)


def test_without_displacement_there_are_no_bit_errors(tmp_path):
    made = plots()
    made["errors"] = {}
    del made["constellation"], made["scale"]
    page = written(tmp_path, Result(data(), "v", made))
    assert Reader(page).sections == [s for s in ALL if s != "errors"]
    assert "Crosses" not in page


def test_without_key_the_ledger_says_what_is_missing(whole, tmp_path):
    page = written(tmp_path, Result(data(secret=0), "No key", plots()))
    assert "missing for a key" in page
    assert "−2,500" in page
    assert '<p class="verdict">' in page
    assert '<p class="verdict key">' in whole


def test_table_leaves_out_what_was_not_sent():
    made = data()
    assert {"payload", "raw bit error rate"} < dict(Result(made, "v").table()).keys()
    made["classical"]["frames"] = 0
    left = dict(Result(made, "v").table())
    assert not {"payload", "raw bit error rate", "classical frames lost"} & left.keys()
    assert "secret key" in left


@pytest.mark.parametrize(("psk", "crosses"), [("qpsk", 4), ("bpsk", 2)])
def test_a_cross_for_each_displacement(psk, crosses):
    class Axis:
        drawn = 0

        def plot(self, x, p, style, **options):
            self.drawn += style == "+"

    axis = Axis()
    figures._displacements(axis, DecisionScale(3.0, 1.5), psk)
    assert axis.drawn == crosses


@pytest.mark.usefixtures("no_pictures")
def test_no_reconciled_frame_leaves_no_ledger(tmp_path):
    made = data(secret=0)
    del made["key"]["ledger"]
    shown = plots() | {"bursts": [], "decoder_iterations": np.zeros(0, dtype=int)}
    page = written(tmp_path, Result(made, "No key", shown))
    assert "nothing to count" in page


def test_a_result_without_plots_still_gets_a_report(tmp_path):
    quantum = {k: v for k, v in entry().items()}
    page = written(tmp_path, Result({"quantum": quantum}, "estimated"))
    assert Reader(page).sections == ["figures"]


def test_ledger_table_adds_up(whole):
    page = whole
    section = page[page.index('id="ledger"') : page.index('id="equality"')]
    cells = re.findall(r"<td class=n>([^<]*)</td>", section)
    numbers = [float(c.replace("−", "-").replace(",", "")) for c in cells]
    # Each of the ten entries is rounded to a bit.
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=5.0)


def test_amounts_are_signed_but_zero_is_not():
    assert figures.signed(-0.0) == figures.signed(0.2) == figures.signed(-0.2) == "0"
    assert figures.signed(-1234.0) == "−1,234"
    assert figures.signed(1234.4) == "1,234"


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.5, 1.0])
def test_wilson_bounds_solve_the_score_equation(rate):
    n = 1000.0
    for bound in figures.wilson(rate, n):
        if bound in (rate, 0.0, 1.0):
            continue
        score = abs(rate - bound) / np.sqrt(bound * (1.0 - bound) / n)
        assert score == pytest.approx(figures.SIGMAS_999, rel=1e-9)
    low, high = figures.wilson(rate, n)
    assert 0.0 <= low <= rate <= high <= 1.0 + 1e-12


def made_sums(rng, n, gain=0.5, noise=1.0):
    alice = rng.normal(0.0, 1.4, n).astype(np.float32)
    bob = (gain * alice + rng.normal(0.0, np.sqrt(noise), n)).astype(np.float32)
    return regress(alice, bob)


def test_equal_classes_score_like_normal_numbers():
    rng = np.random.default_rng(5)
    runs = [
        equality({name: made_sums(rng, 2000) for name in ("x0", "x1", "p0", "p1")})
        for _ in range(200)
    ]
    for key in ("gain", "noise"):
        # One class of each run: scores of one run depend on each other.
        z = np.array([scores["x0"][key] for scores in runs])
        assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
        assert abs(z.var() - 1.0) < 4.0 * np.sqrt(2.0 / z.size)


@pytest.mark.parametrize(
    ("odd", "key"), [({"gain": 0.6}, "gain"), ({"noise": 1.3}, "noise")]
)
def test_an_odd_class_stands_out(odd, key):
    rng = np.random.default_rng(6)
    classes = {name: made_sums(rng, 20000) for name in ("x0", "x1", "p0")}
    classes["p1"] = made_sums(rng, 20000, **odd)
    scores = equality(classes)
    assert scores["p1"][key] > 5.0
    other = "noise" if key == "gain" else "gain"
    assert abs(scores["p1"][other]) < 5.0


def test_one_class_alone_has_nothing_to_equal():
    assert equality({"x": Sums(10, 1.0, 1.0, 2.0)}) == {}
