"""The main job, end to end over the wire: file in, file out, honest verdict."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from run_kit import CONFIGS, HOME, PAYLOAD, assert_no_key, mode_of, scqc, scqc_here

from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout
from dsp.transmitter import LEAD_SYMBOLS
from protocols.reconciliation import multidimensional
from protocols.schemes.cv_bob import CvBob
from protocols.schemes.transcript import PublicChannel
from scqc.core.errors import ClippedError, ConnectError, InstrumentError, SignalError
from scqc.core.rng import ReplayEntropy
from scqc.runs import live, offline, receive
from scqc.runs.lab_config import LoadedConfig, parse_config
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.cv_bob import CvReceived, reception_of
from scqc.runs.progress import Silent
from scqc.store.alice_record import read_alice_record
from scqc.store.results import read_transcript
from scqc.store.sealed_reader import open_capture

# The benches of this file live for a second: see warm_kit.
pytestmark = pytest.mark.usefixtures("warm_processes", "undrawn")
NOTE = CONFIGS / "payload.txt"
FIELDS = (
    "classical.ber_raw",
    "classical.ber_fec",
    "classical.frames",
    "classical.frames_lost",
    "quantum.snr.x",
    "quantum.snr.p",
    "quantum.transmittance.value",
    "quantum.transmittance.low",
    "quantum.transmittance.high",
    "quantum.xi_snu.value",
    "quantum.truth.transmittance",
    "quantum.truth.xi_injected_snu",
    "quantum.truth.xi_expected_snu",
    "reconciliation.beta",
    "reconciliation.fer",
    "reconciliation.code_rate",
    "key.secret_bits",
    "key.secret_bits_per_symbol",
    "key.agree",
    "key.epsilon",
    "timing.receiver",
    "throughput.dsp_msa_per_s",
)


def test_file_arrives_and_the_verdict_is_honest(finished):
    assert (finished.folder / "payload.received").read_bytes() == PAYLOAD
    data = finished.result.as_json()
    assert data["payload"] == {"delivered": True, "bytes": len(PAYLOAD), "problem": ""}
    assert data["key"]["secret_bits"] == 0
    assert finished.result.exit_code == 3
    assert "too small" in finished.result.verdict
    assert "symbols" in finished.result.verdict


def test_every_promised_field_is_there(result_json):
    data = result_json
    assert data["schema_version"] == 1
    for path in FIELDS:
        node = data
        for part in path.split("."):
            node = node[part]
        assert isinstance(node, int | float | bool), path
    assert data["key"]["agree"] is True
    # Two tags, each a polynomial over 16-byte blocks of the transcript.
    assert 0.0 < data["key"]["epsilon_authentication"] < 2 * 2**20 / 2.0**128


def test_the_capture_holds_the_settings_of_the_whole_station(finished):
    with open_capture(finished.folder / "capture.h5") as opened:
        snapshot = json.loads(opened.header.instruments_json)
        config = parse_config(opened.header.config_toml)
    assert snapshot.keys() == {*config.instruments, "wiring"}
    assert snapshot["wiring"] == config.wiring
    for name in config.instruments:
        assert snapshot[name]["settings"]["rate_hz"] == 400e6
        assert len(snapshot[name]["identity"]) == 4


def test_figures_agree_with_the_truth(result_json):
    """Five sigma of the stated intervals, which are 3.29 sigma wide."""
    quantum = result_json["quantum"]
    for name, true in (
        ("transmittance", quantum["truth"]["transmittance"]),
        ("xi_snu", quantum["truth"]["xi_expected_snu"]),
    ):
        entry = quantum[name]
        sigma = (entry["high"] - entry["low"]) / (2 * 3.2905)
        assert abs(entry["value"] - true) < 5 * sigma, name
    # The displacement was set for a raw error rate of 1 %: binomial, 5 sigma, plus
    # 2 % of the probe's uncertainty in amplitude (d ln BER / d ln k = -k^2 - 1).
    ber, n = result_json["classical"]["ber_raw"], 2 * result_json["key"]["symbols"]
    assert abs(ber - 0.01) < 5 * np.sqrt(0.01 / n) + 0.01 * 6.4 * 0.02


def symbols_of(codes):
    """Read the modulated symbols back from what the generator played, no receiver.

    Small angles: the modulator's sine is undone to first order, which is enough to
    recognise symbols.
    """
    layout = FrameLayout()
    sps, span = 8, 32
    base = codes[0].astype(np.float64) + 1j * codes[1]
    base *= np.exp(-2j * np.pi * layout.centre_hz / 400e6 * np.arange(base.size))
    pulse = finite_pulse(
        np.arange(-span * sps // 2, span * sps // 2 + 1) / sps, 0.2, span
    )
    filtered = np.convolve(base, pulse, mode="same")
    # Lead-in, preamble, half a pulse: see dsp.transmitter.
    first = (LEAD_SYMBOLS + layout.preamble.symbols + span // 2) * sps
    return filtered[first::sps] * np.exp(2j * np.pi * layout.centre_hz / 400e6 * first)


def test_no_gaussian_symbol_is_played_twice(finished):
    """From what the emulator received: each burst carries its own symbols, once."""
    _, bursts = read_alice_record(finished.folder / "alice.scqc")
    # The probe and each burst, nothing else.
    assert len(finished.played) == len(bursts) + 1
    symbols = np.concatenate([b.symbols for b in bursts])
    assert np.unique(symbols).size == symbols.size
    for i, codes in enumerate(finished.played):
        seen = symbols_of(codes)
        for k, burst in enumerate(bursts):
            n = min(seen.size, burst.symbols.size)
            signs = burst.bits[: 2 * n].reshape(-1, 2)
            known = (1.0 - 2.0 * signs[:, 0]) + 1j * (1.0 - 2.0 * signs[:, 1])
            light = seen[:n] - known * np.vdot(known, seen[:n]) / (2 * n)
            a = burst.symbols[:n]
            match = abs(np.vdot(a, light)) / np.sqrt(
                np.vdot(a, a).real * np.vdot(light, light).real
            )
            if i == k + 1:
                assert match > 0.9
            else:
                # Independent symbols correlate to 1/sqrt(n); five sigma.
                assert match < 5 / np.sqrt(n)


def test_offline_gives_the_same_numbers(finished, tmp_path, result_json):
    again = offline.process_capture(
        finished.folder / "capture.h5",
        tmp_path,
        Silent(),
        alice=finished.folder / "alice.scqc",
    ).as_json()
    # Only what was said about the light is not said again: fewer bytes to forge.
    forged = [d["key"].pop("epsilon_authentication") for d in (again, result_json)]
    assert 0.0 < forged[0] < forged[1]
    for part in ("payload", "classical", "quantum", "reconciliation", "key"):
        assert json.loads(json.dumps(again[part])) == result_json[part], part


def test_bob_follows_from_his_capture_and_the_transcript_alone(finished):
    """Bob again, without Alice's record: same figures; and his raw bits from y."""
    folder = finished.folder
    run_uuid, messages = read_transcript(folder / "transcript.scqc")
    with open_capture(folder / "capture.h5") as opened:
        config = parse_config(opened.header.config_toml, opened.path)
        layout = FrameLayout.model_validate_json(opened.header.layout_json)
        bursts = receive.receive_all(opened, config, layout, Silent(), receive.Timing())
    bob = CvBob(
        bursts,
        reception_of(CvReceived(BlockName(run_uuid), bursts, layout), config),
        config.security,
        ReplayEntropy(config.sim.seed, "bob"),
        PublicChannel(f"{run_uuid}/0", {}),
    )
    said = [m.frame for m in messages if m.sender == "bob"]
    heard = [m.frame for m in messages if m.sender == "alice"]
    made = bob.start()
    for frame in heard[:-1]:
        made += bob.receive(frame)
    assert made == said[: len(made)]
    assert len(made) >= len(said) - 1  # all but the closing tag, which needs a key
    data = finished.result.data
    assert bob.distillation.ledger.as_dict() == data["key"]["ledger"]
    assert bob.sample_sums["x"].snr == data["quantum"]["snr"]["x"]
    # The raw key is a function of his samples and what he published.
    words = bob._words
    side = multidimensional.encode(
        multidimensional.recover_y(words.ravel(), bob._side), words.ravel()
    )
    assert np.max(np.abs(side.norm / bob._side.norm - 1.0)) < 1e-3


def test_files_that_hold_secrets_are_private(finished):
    assert mode_of(finished.folder / "alice.scqc") == 0o600
    assert mode_of(finished.folder / "capture.h5") == 0o600
    for name in ("alice.sqlite", "bob.sqlite"):
        assert mode_of(finished.folder / "keys" / name) == 0o600


def test_command_line_prints_one_object(tmp_path):
    payload = tmp_path / "note.txt"
    payload.write_bytes(b"over the light" * 20)
    config = CONFIGS / "cv_quick.toml"
    done = scqc(
        "run",
        config,
        "--payload",
        payload,
        "--json",
        "--seed",
        7,
        "--out",
        tmp_path / "r",
    )
    assert done.returncode == 3, done.stderr
    data = json.loads(done.stdout)
    assert data["payload"]["delivered"] is True
    assert (tmp_path / "r" / "payload.received").read_bytes() == payload.read_bytes()
    assert (tmp_path / "r" / "report.html").stat().st_size > 1000


def run_here(text, folder, payload=b"in the same process"):
    """Run a config text in this process."""
    return live.run_live(
        LoadedConfig(parse_config(text), text, Path("test.toml")),
        payload,
        folder,
        Silent(),
    )


def test_bpsk_delivers(tmp_path):
    text = (CONFIGS / "cv_bpsk_quick.toml").read_text()
    result = run_here(text, tmp_path / "r", b"both quadratures")
    assert (tmp_path / "r" / "payload.received").read_bytes() == b"both quadratures"
    assert result.exit_code in (0, 3)


def test_plain_gaussian_modulation_runs(tmp_path):
    """D = 0: no payload, no displacement to remove; T still inside five sigma."""
    text = (CONFIGS / "cv_quick.toml").read_text()
    text = text.replace('psk = "qpsk"', 'psk = "none"').replace(
        "bursts = 2", "bursts = 2\nburst_symbols = 60_000"
    )
    quantum = run_here(text, tmp_path / "r", b"").data["quantum"]
    entry = quantum["transmittance"]
    sigma = (entry["high"] - entry["low"]) / (2 * 3.2905)
    assert abs(entry["value"] - quantum["truth"]["transmittance"]) < 5 * sigma
    assert quantum["displacement"] == "none"


def test_a_block_below_one_large_frame_ends_in_a_verdict(tmp_path):
    """90 000 symbols do not fill a frame of the large code; a smaller one is taken."""
    text = (CONFIGS / "cv_quick.toml").read_text()
    large = text.replace("code_size = 256", "code_size = 2560")
    assert large != text
    result = run_here(large, tmp_path / "r")
    assert result.exit_code == 3
    assert "too small" in result.verdict
    assert result.data["reconciliation"]["frame_bits"] < 200_000


def test_payload_too_large_is_refused_before_any_light(tmp_path, monkeypatch):
    payload = tmp_path / "big"
    payload.write_bytes(bytes(1 << 20))
    config = CONFIGS / "cv_quick.toml"
    done = scqc_here("run", config, "--payload", payload, "--out", tmp_path / "r")
    assert done.returncode == 2
    # 2 bursts of 9 frames with 1030 bytes each.
    assert str(2 * 9 * 1030) in done.stderr
    assert not (tmp_path / "r" / "capture.h5").exists()


FAULTS = [
    # A connection that drops at the same place is tried through the command line.
    pytest.param(
        'scope = [{ at = "fetch", kind = "half-block", count = 99 }]',
        InstrumentError,
        marks=pytest.mark.soak,
    ),
    ('awg = [{ at = "identify", kind = "wrong-identity", count = 99 }]', ConnectError),
]


def with_fault(fault):
    text = (CONFIGS / "cv_quick.toml").read_text()
    resource = 'resource = "tcp://192.0.2.10:5025"'
    assert resource in text
    text = text.replace(resource, resource + '\nexpect = { model = "M8190A" }')
    return text.replace("timeout_s = 60.0", "timeout_s = 3.0") + (
        f"\n[sim.faults]\n{fault}\n"
    )


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_instrument_faults_are_typed_and_leave_no_key(fault, kind, tmp_path):
    with pytest.raises(kind):
        run_here(with_fault(fault), tmp_path / "r")
    assert_no_key(tmp_path / "r")


def test_a_fault_ends_with_exit_code_and_journal(tmp_path):
    config = tmp_path / "faulty.toml"
    fault = 'scope = [{ at = "fetch", kind = "drop-connection", count = 99 }]'
    config.write_text(with_fault(fault))
    options = ("--payload", NOTE, "--json", "--out", tmp_path / "r")
    done = scqc_here("run", config, *options)
    assert done.returncode == 4, done.stderr + done.stdout
    assert "error" in json.loads(done.stdout)
    assert "error" in (tmp_path / "r" / "journal.jsonl").read_text()


def test_clipping_refuses_the_block(tmp_path):
    text = (CONFIGS / "cv_quick.toml").read_text()
    clipped = text.replace("range_v = 0.5 ", "range_v = 0.2 ")
    assert clipped != text
    with pytest.raises(ClippedError, match="rails"):
        run_here(clipped, tmp_path / "r")


def test_hopeless_frames_are_a_typed_error(tmp_path):
    """Raw errors of 19 % at rate 0.88: beyond capacity, no frame can pass."""
    text = (CONFIGS / "cv_quick.toml").read_text()
    weak = text.replace("target_raw_ber = 1e-2", "target_raw_ber = 0.19")
    with pytest.raises(SignalError, match="none of 18"):
        run_here(weak.replace("fec_rate = 0.75", "fec_rate = 0.88"), tmp_path / "r")
    assert not list((tmp_path / "r").glob("keys/*.sqlite-wal"))


def test_a_killed_capture_is_salvaged_and_processed(tmp_path):
    """Kill -9 after two bursts; both, and what Alice prepared, are still there."""
    text = (CONFIGS / "cv_quick.toml").read_text().replace("bursts = 2", "bursts = 40")
    many = tmp_path / "many.toml"
    many.write_text(text)
    folder = tmp_path / "r"
    command = [sys.executable, "-m", "scqc.cli", "capture", str(many)]
    process = subprocess.Popen(
        [*command, "--payload", str(NOTE), "--out", str(folder)],
        cwd=HOME,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journal, deadline = folder / "journal.jsonl", time.monotonic() + 240.0
    while time.monotonic() < deadline:
        if journal.exists() and "2 of 40 stored" in journal.read_text():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(60.0)
    while time.monotonic() < deadline and '"watchdog"' not in journal.read_text():
        time.sleep(0.02)
    assert "ended without leaving the bench" in journal.read_text()
    part, saved = folder / "capture.h5.part", folder / "saved.h5"
    done = scqc_here("inspect", part, "--salvage", saved, "--json")
    assert done.returncode == 0, done.stderr
    result = offline.process_capture(saved, tmp_path / "p", Silent())
    symbols = 9 * 5632
    assert result.data["key"]["symbols"] >= 2 * symbols
    assert result.data["key"]["symbols"] % symbols == 0
    # The payload fits the first frame, so it is delivered all the same.
    assert (tmp_path / "p" / "payload.received").read_bytes() == NOTE.read_bytes()
    entry = result.data["quantum"]["transmittance"]
    sigma = (entry["high"] - entry["low"]) / (2 * 3.2905)
    true = result.data["quantum"]["truth"]["transmittance"]
    assert abs(entry["value"] - true) < 5 * sigma


def test_damaged_capture_gives_no_key(finished, tmp_path):
    for name in ("alice.scqc", "payload.json"):
        shutil.copy2(finished.folder / name, tmp_path / name)
    data = bytearray((finished.folder / "capture.h5").read_bytes())
    data[len(data) // 2] ^= 0x10
    broken = tmp_path / "capture.h5"
    broken.write_bytes(data)
    done = scqc_here("process", broken, "--json", "--out", tmp_path / "r")
    assert done.returncode == 9, done.stdout + done.stderr
    assert_no_key(tmp_path / "r")
