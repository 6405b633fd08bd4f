"""A start key is loaded when nobody uses the sink, at both ends."""

import os

import pytest

from protocols.key_sink.sink import KeySink
from scqc.core.errors import KeySinkError
from scqc.runs.keys import load_start_key, provision_keys, write_start_key
from scqc.runs.sink_use import sink_in_service


def test_no_start_key_is_loaded_under_a_service(tmp_path):
    sink, first, second = (tmp_path / n for n in ("a.sqlite", "1.key", "2.key"))
    write_start_key(first, 1024, "one")
    write_start_key(second, 1024, "two")
    load_start_key(first, sink)
    with sink_in_service(sink):
        with pytest.raises(KeySinkError, match="end the programs at both ends"):
            load_start_key(second, sink)
        other = sink_in_service(sink)
        with pytest.raises(KeySinkError, match="a service holds it already"):
            other.__enter__()
        with KeySink(sink) as opened:
            assert not [e for e in opened.list() if e.run_uuid == "two"]
    load_start_key(second, sink)


@pytest.mark.parametrize("end", ["alice", "bob"])
def test_both_sinks_of_a_folder_get_a_start_key_or_none(tmp_path, end):
    """Whether one of them is in use, or has a key of that name already."""
    provision_keys(tmp_path, 1024, "one")
    write_start_key(tmp_path / "3.key", 1024, "three")
    load_start_key(tmp_path / "3.key", tmp_path / f"{end}.sqlite")

    def names():
        found = []
        for party in ("alice", "bob"):
            with KeySink(tmp_path / f"{party}.sqlite") as opened:
                found.append({entry.run_uuid for entry in opened.list()})
        return found

    before = names()
    with (
        sink_in_service(tmp_path / f"{end}.sqlite"),
        pytest.raises(KeySinkError, match="end the programs at both ends"),
    ):
        provision_keys(tmp_path, 1024, "two")
    with pytest.raises(KeySinkError, match="stored before"):
        provision_keys(tmp_path, 1024, "three")
    assert names() == before
    provision_keys(tmp_path, 1024, "two")
    assert all("two" in found for found in names())


def test_a_killed_service_lets_go(tmp_path):
    sink = tmp_path / "a.sqlite"
    child = os.fork()
    if child == 0:
        sink_in_service(sink).__enter__()
        os._exit(9)
    os.waitpid(child, 0)
    with sink_in_service(sink):
        assert (tmp_path / "a.sqlite.service").stat().st_mode & 0o777 == 0o600
