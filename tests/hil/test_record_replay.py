"""A wire transcript, and the emulator that is made of it."""

import json
import stat

import pytest

from scqc import cli
from scqc.core.errors import CaptureError
from scqc.runs import devices
from scqc.runs.lab_config import load_config
from sim_backends.wire.replay import Message, Script, read_transcript

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("warm_processes")]
CV, DV = "lab_configs/cv_full_bench.toml", "lab_configs/dv_quick.toml"


def told(rows):
    """Return the survey without the addresses, which differ."""
    return [{k: v for k, v in row.items() if k != "resource"} for row in rows]


@pytest.mark.parametrize("config", [CV, DV])
def test_a_recorded_bench_answers_again(tmp_path, config):
    """Byte streams, binary frames, SCPI and ZeroMQ, from one file."""
    loaded, path = load_config(config), tmp_path / "bench.jsonl"
    first = devices.survey(loaded, record=path)
    assert not any("error" in row for row in first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told(devices.survey(loaded, replay=path)) == told(first)
    with pytest.raises(CaptureError, match="exists"):
        devices.survey(loaded, record=path)


def test_what_was_never_said_is_told(tmp_path):
    """Another command than the recorded one: no answer, and a complaint."""
    loaded, path = load_config(DV), tmp_path / "bench.jsonl"
    devices.survey(loaded, record=path)
    lines = path.read_text().splitlines()
    changed = [
        line.replace("*IDN?", "*IDX?") if '"awg"' in line and ">" in line else line
        for line in lines
    ]
    assert changed != lines
    path.write_text("\n".join(changed))
    with pytest.raises(CaptureError, match=r"awg: heard b'\*IDN\?"):
        devices.survey(loaded, replay=path)


def test_a_transcript_of_other_instruments_is_refused(tmp_path):
    path = tmp_path / "bench.jsonl"
    devices.survey(load_config(DV), record=path)
    with pytest.raises(CaptureError, match="config has"):
        devices.survey(load_config(CV), replay=path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '{"format": "scqc-transcript", "version": 2, "instruments": {}}',
        '{"format": "scqc-transcript", "version": 1, "instruments": 3}',
        '{"format": "scqc-transcript", "version": 1, "instruments": {}}\n{"way": ">"}',
        '{"format": "scqc-transcript", "version": 1, "instruments": {}}\n'
        '{"instrument": "a", "way": ">", "base64": "%"}',
    ],
)
def test_files_that_are_no_transcripts(tmp_path, text):
    path = tmp_path / "bench.jsonl"
    path.write_text(text)
    with pytest.raises(CaptureError, match="transcript"):
        read_transcript(path)


def test_a_script_takes_bytes_in_any_pieces():
    said = [Message("x", ">", b"ab"), Message("x", ">", b"c"), Message("x", "<", b"1")]
    for pieces in ([b"abc"], [b"a", b"bc"], [b"a", b"b", b"c"]):
        script = Script("x", said)
        answers = b"".join(script.hear(piece)[0] for piece in pieces)
        assert answers == b"1"
        assert script.is_finished
        assert script.hear(b"more") == (b"", False)
        assert len(script.complaints) == 1


def test_the_command_line(tmp_path, capsys):
    path = tmp_path / "bench.jsonl"
    command = ["devices", DV, "--quick", "--json"]
    assert cli.main([*command, "--record", str(path)]) == 0
    first = json.loads(capsys.readouterr().out)["instruments"]
    assert cli.main([*command, "--replay", str(path)]) == 0
    assert told(json.loads(capsys.readouterr().out)["instruments"]) == told(first)
    assert cli.main([*command, "--record", str(path)]) == 9
