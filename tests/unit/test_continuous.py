"""Block after block: when it stops, what it writes down, what ends it."""

import importlib
import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from protocols.key_sink.schedule import SinkLevel, plan_block
from scqc.cli.running import _seconds
from scqc.core.errors import (
    ConnectionLost,
    DiskSpaceError,
    KeySinkError,
    ProtocolAbort,
    SyncError,
)
from scqc.runs import continuous, disk
from scqc.runs.continuous import BLOCKS_NAME, Until, run_blocks
from scqc.runs.lab_config import load_config
from scqc.runs.progress import Silent
from scqc.runs.result import Result

QUICK = "lab_configs/cv_quick.toml"


@pytest.fixture
def bench(monkeypatch):
    """A bench whose blocks do what `script` says: a number of bits, or an error."""
    state = SimpleNamespace(script=[], payloads=[], closed=False)

    @contextmanager
    def sender(loaded, box, *rest):
        def send(number, home, left):
            home.mkdir()
            (home / "capture.h5").write_bytes(b"raw")
            state.payloads.append(box.waiting)
            step = state.script[number % len(state.script)]
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step = step()
            result = Result(
                {"key": {"secret_bits": step}, "payload": {"delivered": True}}, "done"
            )
            box.note(result)
            return result

        try:
            yield send
        finally:
            state.closed = True

    monkeypatch.setattr(continuous, "_sender", sender)
    return state


def run(folder, until, payload=b"", **options):
    loaded = load_config(QUICK)
    return run_blocks(loaded, payload, folder, Silent(), until, **options)


def test_so_many_blocks_and_no_more(bench, tmp_path):
    bench.script = [10, 0, 5]
    done = run(tmp_path, Until(blocks=3))
    assert [row.secret_bits for row in done.rows] == [10, 0, 5]
    assert [row.exit_code for row in done.rows] == [0, 3, 0]
    assert done.secret_bits == 15
    assert done.exit_code == 0
    lines = (tmp_path / BLOCKS_NAME).read_text().splitlines()
    assert [json.loads(line)["folder"] for line in lines] == [
        "block-000",
        "block-001",
        "block-002",
    ]
    assert bench.closed


def test_time_ends_it_too(bench, tmp_path):
    bench.script = [1]
    done = run(tmp_path, Until(seconds=1e-9))
    assert len(done.rows) == 0
    assert done.exit_code == 3


def test_the_payload_goes_with_the_first_block_that_delivers_it(bench, tmp_path):
    bench.script = [SyncError("dark"), 7, 7]
    done = run(tmp_path, Until(blocks=3), payload=b"text")
    assert bench.payloads == [b"text", b"text", b""]
    assert done.delivered
    assert done.as_json()["failed"] == 1


def test_a_failed_block_is_written_down_and_the_next_begins(bench, tmp_path):
    bench.script = [SyncError("no frame"), ProtocolAbort("tag"), 9]
    done = run(tmp_path, Until(blocks=3))
    assert [row.exit_code for row in done.rows] == [5, 6, 0]
    assert done.rows[0].verdict == "SyncError: no frame"


def test_three_failures_in_a_row_end_it(bench, tmp_path):
    bench.script = [4, *[SyncError("no frame")] * 9]
    with pytest.raises(SyncError):
        run(tmp_path, Until(blocks=10))
    assert len((tmp_path / BLOCKS_NAME).read_text().splitlines()) == 4
    assert bench.closed


@pytest.mark.parametrize(
    "error", [ConnectionLost("awg", "write", "gone"), KeySinkError("empty")]
)
def test_a_bench_or_sink_that_fails_ends_it_at_once(bench, tmp_path, error):
    bench.script = [error]
    with pytest.raises(type(error)):
        run(tmp_path, Until(blocks=5))
    assert bench.closed


def test_the_first_interrupt_lets_the_block_finish(bench, tmp_path):
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        return 3

    bench.script = [interrupted]
    before = signal.getsignal(signal.SIGINT)
    done = run(tmp_path, Until(blocks=5))
    assert len(done.rows) == 1
    assert done.stopped
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_ends_it_at_once(bench, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return 3

    bench.script = [twice]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Until(blocks=5))
    assert bench.closed


@pytest.mark.parametrize("keep", [True, False])
def test_captures_may_be_discarded(bench, tmp_path, keep):
    bench.script = [1]
    run(tmp_path, Until(blocks=2), keep_captures=keep)
    assert (tmp_path / "block-001" / "capture.h5").exists() is keep


def free(monkeypatch, free_bytes):
    usage = SimpleNamespace(free=free_bytes)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)


def test_a_full_disk_is_refused_before_any_light(bench, tmp_path, monkeypatch):
    needed = disk.block_bytes(load_config(QUICK).config)
    free(monkeypatch, disk.RESERVE_BYTES + 10 * needed - 1)
    bench.script = [1]
    with pytest.raises(DiskSpaceError, match="10 blocks"):
        run(tmp_path, Until(blocks=10))
    assert not bench.payloads
    # Without the captures two blocks at a time are enough.
    assert run(tmp_path, Until(blocks=10), keep_captures=False).secret_bits == 10


def test_a_disk_that_fills_up_ends_it(bench, tmp_path, monkeypatch):
    def fill():
        free(monkeypatch, disk.RESERVE_BYTES)
        return 1

    bench.script = [1, fill]
    with pytest.raises(DiskSpaceError, match="a block"):
        run(tmp_path, Until(seconds=60.0))
    assert len(bench.payloads) == 2
    assert bench.closed


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)]
)
def test_durations(text, seconds):
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3m", "2 hours", "1e3s"])
def test_bad_durations(text):
    with pytest.raises(typer.BadParameter):
        _seconds(text)


def test_a_run_that_only_time_ends_has_blocks_to_wait_for():
    """A long message may be put off until fresh pad has come: see `plan_block`."""
    endless, counted = Until(seconds=1.0), Until(blocks=3)
    full = SinkLevel(pad_bits=1000, authentication_bits=10_000, reserve_bits=0)
    waiting_bits, refill_bits = 50_000, 1000
    plan = plan_block(full, waiting_bits, endless.left(0), refill_bits)
    assert plan.kind == "key"
    with pytest.raises(KeySinkError):
        plan_block(full, waiting_bits, counted.left(0), refill_bits)


def test_what_the_sink_cannot_pay_for_is_refused_before_any_light(
    tmp_path, monkeypatch
):
    def no_light(*_, **__):
        raise AssertionError("the bench was opened")

    # A module that is first imported now would keep what is put in place here.
    for name in ("scqc.runs.live", "scqc.runs.photon.live", "scqc.runs.align"):
        importlib.import_module(name)
    monkeypatch.setattr("scqc.runs.parties.opened.open_station", no_light)
    text = Path("lab_configs/dv_quick.toml").read_text()
    path = tmp_path / "poor.toml"
    path.write_text(text.replace("reserve_bits = 4096", "reserve_bits = 1_000_000_000"))
    loaded = load_config(path)
    with pytest.raises(KeySinkError, match="pad"):
        run_blocks(loaded, b"x" * 100, tmp_path, Silent(), Until(blocks=1))
