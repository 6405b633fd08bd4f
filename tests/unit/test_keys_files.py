"""Key in files: on the disk in full or not at all, and sinks past reading."""

import errno
import json
import os

import pytest

from protocols.key_sink import KeySink, entries
from protocols.key_sink.export import ExportStore, KeyPosition
from scqc.cli import main
from scqc.core.errors import KeySinkError
from scqc.runs.keys import burn_sink, take_key, write_start_key
from tests.sink_kit import TO_ALICE, TO_BOB, pool_key


@pytest.fixture
def sink(tmp_path):
    path = tmp_path / "k.sqlite"
    with KeySink(path) as opened:
        opened.store([pool_key(1)], confirmed=True)
    return path


@pytest.fixture
def full_disk(monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Of the file of key; the database calls the system by itself.
    monkeypatch.setattr("scqc.runs.keys.os.fsync", full)


def test_a_full_disk_leaves_no_half_start_key(tmp_path, full_disk, capsys):
    path = tmp_path / "x.key"
    with pytest.raises(KeySinkError, match="No space left"):
        write_start_key(path, 1024, "start")
    assert not path.exists()
    assert main(["keys", "provision", str(path), "--bits", "1024"]) == 8
    assert not path.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_disk_that_is_full_when_the_file_is_closed(tmp_path, monkeypatch):
    """The buffer is written late; what failed once fails again at closing."""
    real = os.open

    def opened(path, *rest):
        os.close(real(path, *rest))
        return real("/dev/full", os.O_WRONLY)

    monkeypatch.setattr("scqc.runs.keys.os.open", opened)
    with pytest.raises(KeySinkError, match="No space left"):
        write_start_key(tmp_path / "x.key", 1024, "start")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_key(sink, tmp_path, full_disk):
    with pytest.raises(KeySinkError, match="No space left"):
        take_key(sink, tmp_path / "k", n_bits=64)
    assert not (tmp_path / "k").exists()


def test_a_file_that_is_there_is_left_alone(sink, tmp_path):
    (tmp_path / "k").write_bytes(b"mine")
    with pytest.raises(KeySinkError, match="exists"):
        take_key(sink, tmp_path / "k", n_bits=64)
    assert (tmp_path / "k").read_bytes() == b"mine"
    with KeySink(sink) as opened:
        assert opened.available_bits() == 1024


@pytest.mark.parametrize("first", ["allocated", "fetched"])
def test_beside_delivery_only_own_key_is_taken(tmp_path, first):
    """The other end gives the other direction to its applications."""
    path = tmp_path / "alice.sqlite"
    with KeySink(path) as opened:
        for number, way in enumerate((TO_ALICE, TO_BOB)):
            opened.store([pool_key(number, direction=way)], confirmed=True)
        with ExportStore(opened, TO_BOB, TO_ALICE) as store:
            if first == "allocated":
                store.allocate(1, 16)
            else:
                theirs = entries.tag_of(f"run/0/key/{TO_ALICE}")
                store.fetch([KeyPosition(theirs, 0, 16)])
        opened.store([pool_key(2)], confirmed=True)
    for how in ({"direction": TO_ALICE}, {"identifier": f"run/0/key/{TO_ALICE}"}):
        with pytest.raises(KeySinkError, match="alice-to-bob"):
            take_key(path, tmp_path / "k", n_bits=64, **how)
        assert not (tmp_path / "k").exists()
    # Without a word about it, too: the other direction has the older block.
    assert TO_BOB in take_key(path, tmp_path / "k", n_bits=64)["identifier"]


def test_key_of_one_direction_at_the_command_line(sink, tmp_path, capsys):
    out = tmp_path / "k"
    take = ["keys", "take", str(sink), "--out", str(out), "--bits", "64", "--json"]
    assert main([*take, "--direction", "bob-to-alice"]) == 8
    assert not out.exists()
    assert main([*take, "--direction", "sideways"]) == 2
    capsys.readouterr()
    assert main([*take, "--direction", TO_BOB]) == 0
    assert json.loads(capsys.readouterr().out)["n_bits"] == 64
    assert len(out.read_bytes()) == 8


def test_burning_says_what_it_does_not_reach(sink, capsys):
    assert main(["keys", "burn", str(sink)]) == 0
    assert "end `scqc keys serve` first" in capsys.readouterr().out


@pytest.mark.parametrize("kept_bytes", [0, 100])
def test_a_sink_past_reading_is_to_be_moved_away(sink, kept_bytes):
    """Without the header it is no database; with it, one of nonsense."""
    content = sink.read_bytes()
    rest = bytes(k % 251 for k in range(len(content) - kept_bytes))
    sink.write_bytes(content[:kept_bytes] + rest)
    with pytest.raises(KeySinkError, match=r"too damaged.*move it away") as caught:
        burn_sink(sink)
    assert "scqc keys burn" not in str(caught.value)


def test_a_sink_that_is_only_read_only_is_not_to_be_moved(sink, monkeypatch):
    def refused(_sink):
        raise KeySinkError("key sink: read-only")

    monkeypatch.setattr("scqc.runs.keys.burn_everything", refused)
    with pytest.raises(KeySinkError, match="read-only") as caught:
        burn_sink(sink)
    assert "move it away" not in str(caught.value)
