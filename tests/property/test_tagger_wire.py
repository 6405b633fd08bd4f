"""Time tagger and line protocol: merging, and input of any kind."""

import itertools
import json
import string
import threading

import numpy as np
import pytest
from bench_kit import ClickingLight
from hypothesis import given, settings
from hypothesis import strategies as st

from driver.time_tagger.merging import largest_step_back, merge_tags, settle
from sim_backends.devices.idq_id900 import IdqId900
from sim_backends.devices.lab import Cables
from sim_backends.devices.thorlabs_mdt693b import ThorlabsMdt693b
from sim_backends.wire.pty_line import LineConversation
from sim_backends.wire.zmq_tagger import ZmqTaggerServer

times = st.lists(st.integers(0, 2**61 - 1), max_size=40)


# The first example compiles: no deadline.
@given(
    st.dictionaries(st.integers(1, 4), times, min_size=1),
    st.lists(st.integers(0, 40), max_size=4).map(sorted),
)
@settings(deadline=None)
def test_merging_is_sorting_by_time_then_input(found, cuts):
    """Whatever pieces the tags of an input come in, empty ones too."""
    arrays = {
        n: np.split(np.array(sorted(t), dtype=np.int64), [min(c, len(t)) for c in cuts])
        for n, t in found.items()
    }
    merged, channels = merge_tags(arrays)
    wanted = sorted((t, n) for n, listed in found.items() for t in listed)
    assert list(zip(merged.tolist(), channels.tolist(), strict=True)) == wanted


@given(times.filter(bool))
@settings(deadline=None)
def test_settling_is_sorting(found):
    run = np.array(found, dtype=np.int64)
    back, high = largest_step_back(run, run[0])
    assert back == int(np.max(np.maximum.accumulate(run) - run))
    assert high == run.max()
    settle(run)
    assert run.tolist() == sorted(found)
    assert largest_step_back(run, run[0]) == (0, high)
    # From another piece's latest tag on.
    assert largest_step_back(run, high)[0] == high - min(found)


@pytest.fixture(scope="module")
def server():
    cables = Cables(ClickingLight(dark=False), {"rx.z0": "tagger:1"})
    served = ZmqTaggerServer(IdqId900("tagger", cables))
    yield served
    served.close()


words = st.sampled_from(
    [
        *("INPU1", "INPU7", "THRE", "DELA2", "VALU", "LINK", "RAW3", "SEND", "REC"),
        *("DURation", "COUN", "?", ":", ";", " ", ",", "1e400", "nan", "-1", "ON", "#"),
        *("TSCO1", "FIR", "INPUx", "*IDN?", "EDGE", "\x00", "é", "DELA99"),
    ]
)


@given(st.lists(words, max_size=12).map("".join))
@settings(max_examples=300)
def test_any_command_is_answered(server, message):
    verb, reply = server._command(message)
    assert isinstance(verb, str)
    assert isinstance(reply, str)


options = st.sampled_from(
    [
        *("start-stream", "stop", "status", "list", "--id", "--channel", "x", "-3"),
        *("--stream-port", "'", "99999999", "--address", ""),
    ]
)


@given(st.lists(options, max_size=7).map(" ".join))
@settings(max_examples=100)
def test_any_request_to_the_data_link_gets_json(server, message):
    _, reply = server._datalink.answer(message)
    json.loads(reply)


@given(st.data())
def test_commands_cut_anywhere_are_the_same_commands(data):
    commands = ["id?", "xvoltage=3.5", "xvoltage?", "nonsense", "zmax?", ""]
    sent = "\r".join(data.draw(st.lists(st.sampled_from(commands), max_size=6))) + "\r"
    whole, pieces = (
        LineConversation(
            ThorlabsMdt693b("phase", Cables(ClickingLight(), {})), threading.Event()
        )
        for _ in range(2)
    )
    expected = whole.feed(sent.encode()).data
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    bounds = [0, *cuts, len(sent)]
    got = b"".join(
        pieces.feed(sent[a:b].encode()).data for a, b in itertools.pairwise(bounds)
    )
    assert got == expected


@given(st.text(string.printable, max_size=20))
def test_any_line_is_answered_and_never_exceeds_the_limit(text):
    device = ThorlabsMdt693b("phase", Cables(ClickingLight(), {}))
    _, lines = device.answer(text)
    assert isinstance(lines, list)
    assert all(0.0 <= volts <= 150.0 for volts in device.volts.values())
