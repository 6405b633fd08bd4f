"""The command line: help, exit codes, one JSON object whatever happens."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scqc import cli
from scqc.core import errors
from scqc.runs import foreign, live, offline, outcome
from scqc.runs.journal import read_journal
from scqc.runs.result import Result
from scqc.store import inspect as inspector

ROOT = Path(__file__).parents[2]
QUICK = str(ROOT / "lab_configs/cv_quick.toml")
PLAIN = str(ROOT / "lab_configs/cv_gmcs_10km.toml")
PAYLOAD = str(ROOT / "lab_configs/payload.txt")
RUN = ["run", QUICK, "--payload", PAYLOAD]
FIGURES = {"secret_bits_per_symbol": 0.0, "epsilon": 1e-10}
KEY = Result({"key": FIGURES | {"secret_bits": 9}}, "A key of 9 bits.")
NO_KEY = Result({"key": FIGURES | {"secret_bits": 0}}, "No key: too small.")
COMPLETE = {"_SCQC_COMPLETE": "complete_bash", "COMP_WORDS": "scqc ", "COMP_CWORD": "1"}
COMMANDS = [
    ["run"],
    ["capture"],
    ["process"],
    ["import", "foreign-npy"],
    ["inspect"],
    ["devices"],
    ["serve-sim"],
    ["keys", "list"],
    ["keys", "take"],
    ["keys", "provision"],
    ["keys", "load"],
    ["keys", "fingerprint"],
    ["keys", "check"],
    ["keys", "burn"],
    ["config", "check"],
    ["config", "show"],
    ["config", "schema"],
]
ERRORS = [
    (errors.ConfigError([errors.ConfigProblem("f", "t", "k", "v", "l")]), 2),
    (errors.PayloadError("900 bytes, 800 fit"), 2),
    (errors.ConnectError("awg", "open", "refused"), 4),
    (errors.InstrumentTimeout("scope", "wait", "no answer in 3 s"), 4),
    (errors.SyncError("no frame"), 5),
    (errors.CalibrationError("shot below electronic noise"), 5),
    (errors.ProtocolAbort("tags differ"), 6),
    (errors.PeerError("message out of order"), 7),
    (errors.KeySinkError("spent"), 8),
    (errors.CaptureError("x.h5: truncated"), 9),
    (OSError(28, "No space left on device", "x.h5"), 9),
    (KeyboardInterrupt(), 130),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pretend(monkeypatch, outcome_of_run):
    """Replace the run by one that ends as told; return what it was given."""
    given = []

    def run_live(loaded, payload, folder, progress):
        given.append((loaded, payload, folder))
        progress.stage("one", 2)
        progress.advance()
        progress.note("half")
        if isinstance(outcome_of_run, BaseException):
            raise outcome_of_run
        return outcome_of_run

    monkeypatch.setattr(live, "run_live", run_live)
    return given


def one_object(capsys):
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["schema_version"] == 1
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command, capsys):
    assert cli.main([*command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_every_error_class_has_its_exit_code_and_a_hint():
    def leaves(kind):
        below = kind.__subclasses__()
        return [kind] + [leaf for one in below for leaf in leaves(one)]

    for kind in leaves(errors.ScqcError)[1:]:
        error = kind.__new__(kind)
        assert outcome.exit_code(error) in range(2, 10), kind
        assert outcome.hint(error), kind
    assert outcome.exit_code(errors.ScqcError()) == 1


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_is_one_line_and_a_hint(error, code, monkeypatch, capsys):
    pretend(monkeypatch, error)
    assert cli.main([*RUN, "--out", "r"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[-2].startswith("error: ")
    assert lines[-1].startswith("hint: ")
    assert "Traceback" not in said.err
    (entry,) = read_journal(Path("r"))
    assert entry["kind"] == "error"
    assert type(error).__name__ in entry["text"]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_is_one_json_object(error, code, monkeypatch, capsys):
    pretend(monkeypatch, error)
    assert cli.main([*RUN, "--json"]) == code
    found = one_object(capsys)["error"]
    assert found["class"] == type(error).__name__
    assert found["exit_code"] == code
    assert found["message"]


def test_debug_shows_the_traceback(monkeypatch, capsys):
    pretend(monkeypatch, errors.SyncError("no frame"))
    assert cli.main([*RUN, "--debug"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_a_mistake_of_ours_is_not_hidden(monkeypatch, capsys):
    pretend(monkeypatch, ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        cli.main([*RUN, "--json"])
    error = {"class": "ZeroDivisionError", "message": "x", "exit_code": 1}
    assert one_object(capsys)["error"] == error


@pytest.mark.parametrize(("result", "code"), [(KEY, 0), (NO_KEY, 3)])
def test_a_result(result, code, monkeypatch, capsys):
    pretend(monkeypatch, result)
    assert cli.main([*RUN, "--json"]) == code
    found = one_object(capsys)
    assert found["verdict"] == result.verdict
    assert found["key"] == result.data["key"]
    assert cli.main([*RUN, "--out", "r"]) == code
    said = capsys.readouterr()
    assert "secret key: " in said.out
    assert said.out.splitlines()[-2:] == [result.verdict, "Report: r/report.html"]
    assert said.err == ""


@pytest.mark.parametrize("arguments", [["run"], ["run", QUICK, "--sede", "1"], ["fly"]])
def test_wrong_usage(arguments, capsys):
    assert cli.main([*arguments, "--json"]) == 2
    assert one_object(capsys)["error"]["class"] == "UsageError"
    assert cli.main(arguments) == 2
    assert capsys.readouterr().out == ""


def test_config_errors_are_listed(capsys):
    Path("bad.toml").write_text("schema = 2\nlinc = 1\n")
    assert cli.main(["config", "check", "bad.toml"]) == 2
    said = capsys.readouterr().err
    assert said.count("bad.toml: ") == 5
    assert not Path("runs").exists()


def test_the_payload_and_the_seed_reach_the_run(monkeypatch):
    given = pretend(monkeypatch, KEY)
    assert cli.main([*RUN, "--seed", "42", "--out", "here"]) == 0
    loaded, payload, folder = given[0]
    assert loaded.config.sim.seed == 42
    assert payload == Path(PAYLOAD).read_bytes()
    assert folder == Path("here")


def test_a_payload_is_needed_unless_nothing_is_sent(monkeypatch, capsys):
    given = pretend(monkeypatch, KEY)
    assert cli.main(["run", QUICK]) == 2
    assert "--payload FILE" in capsys.readouterr().err
    assert cli.main(["run", PLAIN]) == 0
    assert given[0][1] == b""


def test_run_folders_are_new_and_named_by_time(monkeypatch, capsys):
    given = pretend(monkeypatch, KEY)
    assert cli.main(RUN) == 0
    assert cli.main(RUN) == 0
    folders = [folder for _, _, folder in given]
    assert folders[0] != folders[1]
    assert all(f.parent == Path("runs") and "-cv_quick" in f.name for f in folders)
    Path("full").mkdir()
    Path("full/result.json").write_text("{}")
    assert cli.main([*RUN, "--out", "full"]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert len(given) == 2


def test_process_capture_and_import_call_one_function_each(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(
        offline, "process_capture", lambda *a: called.append(("process", a)) or NO_KEY
    )
    monkeypatch.setattr(
        live, "capture_live", lambda *a: called.append(("capture", a)) or Path("c.h5")
    )
    monkeypatch.setattr(
        foreign, "import_foreign_npy", lambda *a: called.append(("import", a))
    )
    Path("s.npy").write_bytes(b"")
    assert cli.main(["process", "c.h5", "--symbols", "s.npy", "--json"]) == 3
    assert one_object(capsys)["verdict"] == NO_KEY.verdict
    assert cli.main(["capture", QUICK, "--payload", PAYLOAD, "--json"]) == 0
    assert one_object(capsys)["capture"] == "c.h5"
    assert cli.main(["import", "foreign-npy", ".", "out.h5", "--json"]) == 0
    assert one_object(capsys)["capture"] == "out.h5"
    assert [name for name, _ in called] == ["process", "capture", "import"]
    path, _, _, alice, symbols = called[0][1]
    assert (path, alice, symbols) == (Path("c.h5"), None, Path("s.npy"))


@pytest.mark.parametrize(("problem", "code"), [(None, 0), ("truncated", 9)])
def test_inspect(problem, code, monkeypatch, capsys):
    found = {"path": "c.h5", "problem": problem, "bursts": []}
    monkeypatch.setattr(inspector, "describe", lambda path: found)
    Path("c.h5").write_bytes(b"")
    assert cli.main(["inspect", "c.h5", "--json"]) == code
    assert one_object(capsys)["problem"] == problem


def test_keys_from_start_to_file(capsys):
    assert cli.main(["keys", "provision", "keys", "--bits", "1024", "--json"]) == 0
    assert len(one_object(capsys)["blocks"]) == 5
    assert cli.main(["keys", "provision", "keys", "--bits", "1024"]) == 8
    assert "stored before" in capsys.readouterr().err
    assert cli.main(["keys", "list", "keys/bob.sqlite", "--json"]) == 0
    blocks = one_object(capsys)["blocks"]
    assert {b["n_bits"] for b in blocks} == {128, 256, 1024}
    assert not any("bits" in b for b in blocks)
    assert cli.main(["keys", "provision", "keys", "--bits", "9", "--name", "x"]) == 8
    # Start key is no message key: nothing can be taken, and no file is left.
    assert cli.main(["keys", "take", "keys/bob.sqlite", "--out", "k", "--bits", "8"])
    assert not Path("k").exists()


def test_a_start_key_is_carried_loaded_compared_and_burnt(capsys):
    provision = ["keys", "provision", "s.key", "--bits", "1024", "--json"]
    assert cli.main(provision) == 0
    drawn = one_object(capsys)["fingerprint"]
    assert stat.S_IMODE(Path("s.key").stat().st_mode) == 0o600
    assert cli.main(provision) == 8  # never over another one
    assert "File exists" in one_object(capsys)["error"]["message"]
    for sink in ("alice.sqlite", "bob.sqlite"):
        assert cli.main(["keys", "load", "s.key", sink, "--json"]) == 0
        assert one_object(capsys)["fingerprint"] == drawn
        assert cli.main(["keys", "fingerprint", sink, "--json"]) == 0
        assert one_object(capsys)["fingerprint"] == drawn
    assert cli.main(["keys", "load", "s.key", "bob.sqlite"]) == 8
    assert "stored before" in capsys.readouterr().err
    assert cli.main(["keys", "check", "bob.sqlite", "--json"]) == 0
    levels = one_object(capsys)["levels"]
    assert levels["authentication alice-to-bob"] == 1024
    assert cli.main(["keys", "burn", "bob.sqlite", "--json"]) == 0
    assert one_object(capsys)["burnt_bits"] == 2 * 1024 + 2 * 128 + 256
    assert cli.main(["keys", "check", "bob.sqlite", "--json"]) == 0
    assert one_object(capsys)["levels"] == {}


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "No such file"),
        (b"not json", 0o600, "not one that"),
        (b"[" * 100_000, 0o600, "not one that"),
        (b"{}", 0o600, "not one that"),
        ("cut", 0o600, "not one that"),
        ("changed", 0o600, "damaged"),
        ("whole", 0o640, "lets others in"),
    ],
)
def test_a_start_key_that_does_not_fit_is_refused(content, mode, why, capsys):
    assert cli.main(["keys", "provision", "s.key", "--bits", "1024", "--json"]) == 0
    whole = Path("s.key").read_bytes()
    at = whole.index(b'"bits":"') + 20
    other = b"A" if whole[at : at + 1] != b"A" else b"B"
    said = {
        "cut": whole[:-30],
        "changed": whole[:at] + other + whole[at + 1 :],
        "whole": whole,
    }.get(content, content)
    if said is None:
        Path("s.key").unlink()
    else:
        Path("s.key").write_bytes(said)
        Path("s.key").chmod(mode)
    capsys.readouterr()
    assert cli.main(["keys", "load", "s.key", "a.sqlite"]) == 8
    assert why in " ".join(capsys.readouterr().err.split())
    assert not Path("a.sqlite").exists()


def test_taken_keys_are_for_the_owner_only_and_spent(capsys):
    from protocols.key_sink import KeySink
    from scqc.core.records import KeyBlock

    key = KeyBlock("k1", b"\xa5\x5a", 16, 1e-10, True, {"run_uuid": "r", "block": "0"})
    with KeySink("s.sqlite") as sink:
        sink.put(key)
    take = ["keys", "take", "s.sqlite", "--out", "out.bin", "--json"]
    assert cli.main([*take, "--id", "k1"]) == 8
    assert "simulated" in one_object(capsys)["error"]["message"]
    Path("full.bin").write_bytes(b"mine")
    assert cli.main([*take[:4], "full.bin", "--id", "k1", "--simulated"]) == 8
    capsys.readouterr()
    assert cli.main([*take, "--id", "k1", "--simulated"]) == 0
    taken = one_object(capsys)
    assert (taken["n_bits"], taken["file"]) == (16, "out.bin")
    assert Path("out.bin").read_bytes() == b"\xa5\x5a"
    assert stat.S_IMODE(Path("out.bin").stat().st_mode) == 0o600
    assert cli.main(["keys", "take", "s.sqlite", "--out", "b", "--bits", "1"]) == 8


def test_config_show_and_schema(capsys):
    assert cli.main(["config", "show", QUICK]) == 0
    Path("shown.toml").write_text(capsys.readouterr().out)
    assert cli.main(["config", "check", "shown.toml", "--json"]) == 0
    assert one_object(capsys)["symbols"] == 2 * 9 * 5632
    assert cli.main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"CvConfig", "PhotonConfig"} <= schema["$defs"].keys()


@pytest.mark.hil
def test_devices_asks_every_emulated_instrument(capsys):
    assert cli.main(["devices", QUICK, "--json"]) == 0
    rows = one_object(capsys)["instruments"]
    assert {r["name"] for r in rows} == {"awg", "scope"}
    assert all("M8190A" in r["identity"] or "MXR" in r["identity"] for r in rows)


@pytest.mark.hil
def test_serving_needs_a_simulated_bench(capsys):
    text = Path(QUICK).read_text()
    Path("real.toml").write_text(text[: text.index("[sim]")])
    assert cli.main(["serve-sim", "real.toml", "--json"]) == 2
    assert "[sim]" in one_object(capsys)["error"]["message"]


@pytest.mark.hil
def test_instruments_that_do_not_answer(capsys, monkeypatch):
    text = Path(QUICK).read_text()
    real = text[: text.index("[sim]")].replace("192.0.2.10:5025", "127.0.0.1:1")
    Path("real.toml").write_text(real.replace("192.0.2.11:5025", "127.0.0.1:2"))
    assert cli.main(["devices", "real.toml", "--json"]) == 4
    rows = one_object(capsys)["instruments"]
    assert all("refused" in r["error"] for r in rows)


def test_help_starts_within_a_second_and_loads_nothing_heavy():
    program = (
        "import sys; from scqc.cli import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('numba', 'scipy', 'h5py', 'numpy')))"
    )
    before = os.times()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=-3)
    # Of its own: other tests may be busy beside this one.
    after = os.times()
    took_s = sum(after[k] - before[k] for k in (2, 3))
    assert took_s < 1.0


def test_shell_completion_answers():
    said = subprocess.run(
        [sys.executable, "-m", "scqc.cli"],
        env={
            "_SCQC_COMPLETE": "complete_bash",
            "COMP_WORDS": "scqc ",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert {"run", "capture", "serve-sim"} <= set(said.stdout.split())


def test_message_pad_is_provisioned_on_request(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["keys", "provision", "keys", "--message-bits", "8192"]) == 0
    capsys.readouterr()
    assert cli.main(["keys", "list", "keys/bob.sqlite", "--json"]) == 0
    blocks = one_object(capsys)["blocks"]
    (pad,) = (b for b in blocks if b["purpose"] == "pad")
    assert (pad["n_bits"], pad["direction"]) == (8192, "alice-to-bob")
    assert cli.main(["keys", "provision", "k", "--message-bits", "3"]) == 8
