"""Time tagger and generator on one bench: tags, counters, tap, faults."""

import io
import socket
import threading
import time

import numpy as np
import pytest
import zmq
from bench_kit import (
    AMPLITUDE_VPP,
    KINDS,
    PHOTON_BENCH,
    RATE_HZ,
    ClickingLight,
    bench_on,
    served,
)
from patience_kit import PATIENT_S, deaf_port, not_late_each_time, struck, within
from role_kit import sampled

from driver.capture import acquire_tags
from driver.hal import AwgConfig, TaggerChannel, TaggerConfig
from driver.time_tagger import idq_id900
from driver.time_tagger.idq_id900 import SORT_WINDOW_PS
from driver.time_tagger.idq_link import IdqLink
from driver.time_tagger.merging import merge_tags
from driver.transports.zmq_link import ZmqAddress, ZmqLink, parse_zmq
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentError,
    InstrumentTimeout,
    RangeError,
    WireProtocolError,
)
from scqc.core.records import Waveform
from scqc.core.rng import stream
from sim_backends.faults import LATE_S
from sim_backends.optics.click_detectors import by_detector

pytestmark = pytest.mark.hil

IO_TIMEOUT_S = 0.3
DURATION_S = 1e-3
DURATION_PS = 10**9
CONFIG = TaggerConfig({n: TaggerChannel(0.2) for n in (1, 2, 3, 4)})


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Have the kernels loaded: on a loaded machine that outlasts `IO_TIMEOUT_S`."""
    merge_tags({1: [np.arange(3)], 2: [np.arange(3)]})
    by_detector(np.arange(3), np.zeros(3, dtype=np.uint8), 4)


def random_times(n_tags=2000, seed=1):
    """Return four sorted sets of times within the record, of unequal sizes."""
    return [
        np.sort(stream(seed, f"d{d}").integers(0, DURATION_PS, n_tags // (d + 1)))
        for d in range(4)
    ]


def whole_run(lab, timeout_s=PATIENT_S, io_timeout_s=PATIENT_S):
    """Open, configure, upload and acquire once."""
    expect = {"awg": {"model": "M8190A"}, "tagger": {"model": "ID900"}}
    with bench_on(lab, io_timeout_s, **expect) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        samples = np.full((2, 1280), 0.1, dtype=np.float32)
        bench.awg.upload(Waveform(samples, RATE_HZ))
        return acquire_tags(bench, CONFIG, DURATION_S, timeout_s)


def served_photons(faults=None, times_ps=None):
    light = ClickingLight(random_times() if times_ps is None else times_ps)
    return served(faults, light=light, names=PHOTON_BENCH)


def test_tags_of_a_generator_started_after_the_tagger():
    times_ps = random_times()
    with served_photons(times_ps=times_ps) as lab:
        tags = whole_run(lab)
        assert lab.cables.light.durations_s == [pytest.approx(DURATION_S)]
        assert not lab.cables.playing
    for n in (1, 2, 3, 4):
        np.testing.assert_array_equal(
            tags.times_ps[tags.channels == n], times_ps[n - 1]
        )
    assert np.all(np.diff(tags.times_ps) >= 0)
    assert (tags.lost, tags.overflow, tags.duration_ps) == (0, False, DURATION_PS)


def test_inputs_follow_the_wiring():
    """Detectors wired to other inputs must show up there."""
    wiring = {"rx.z0": "tagger:4", "rx.z1": "tagger:3", "tx.im": "awg:1"}
    times_ps = random_times()
    light = ClickingLight(times_ps, dark=False)
    with served(light=light, names=PHOTON_BENCH, wiring=wiring) as lab:
        tags = whole_run(lab)
    np.testing.assert_array_equal(tags.times_ps[tags.channels == 4], times_ps[0])
    np.testing.assert_array_equal(tags.times_ps[tags.channels == 3], times_ps[1])
    assert set(tags.channels) == {3, 4}


def test_an_empty_record():
    with served_photons(times_ps=[np.arange(0)] * 4) as lab:
        tags = whole_run(lab)
    assert tags.times_ps.size == 0
    assert tags.duration_ps == DURATION_PS


def test_streams_longer_than_a_message(monkeypatch):
    monkeypatch.setattr("sim_backends.wire.zmq_tagger.CHUNK_TAGS", 7)
    times_ps = random_times(100)
    with served_photons(times_ps=times_ps) as lab:
        tags = whole_run(lab)
    np.testing.assert_array_equal(tags.times_ps, np.sort(np.concatenate(times_ps)))


@pytest.mark.parametrize(
    ("channel", "seen"),
    [
        (TaggerChannel(0.2), 0),
        (TaggerChannel(0.2, "falling"), 20_000),
        (TaggerChannel(0.2, "rising", 777), 777),
        (TaggerChannel(1.5), None),
        (TaggerChannel(-0.5), None),
    ],
)
def test_threshold_edge_and_delay(channel, seen):
    times_ps = [np.array([1000, 500_000_000])] + [np.arange(0)] * 3
    with (
        served(
            light=ClickingLight(times_ps, dark=False), names=("tagger",), wiring=None
        ) as lab,
        bench_on_tagger(lab) as tagger,
    ):
        tagger.configure(TaggerConfig({1: channel}))
        tagger.start(DURATION_S)
        found = tagger.read(PATIENT_S).times_ps
    expected = [] if seen is None else times_ps[0] + seen
    np.testing.assert_array_equal(found, expected)


class bench_on_tagger:  # noqa: N801
    """The tagger alone, open for the time of the block."""

    def __init__(self, lab):
        link = ZmqLink("tagger", lab.endpoints["tagger"])
        self.tagger = idq_id900.IdqId900(IdqLink(link, PATIENT_S, PATIENT_S))

    def __enter__(self):
        self.tagger.open()
        return self.tagger

    def __exit__(self, *_):
        self.tagger.close()


LOST, LATE, GARBLED = ConnectionLost, InstrumentTimeout, WireProtocolError
CASES = [
    ("identify", "drop-connection", (LOST,)),
    ("identify", "no-reply", (LATE,)),
    ("identify", "late-reply", (LATE,)),
    ("identify", "garbage", (GARBLED,)),
    ("identify", "wrong-identity", (ConnectError,)),
    ("configure", "no-reply", (LATE,)),
    ("configure", "late-reply", (LATE,)),
    ("arm", "drop-connection", (LOST,)),
    ("arm", "no-reply", (LATE,)),
    ("start", "drop-connection", (LOST,)),
    ("start", "no-reply", (LATE,)),
    ("start", "late-reply", (LATE,)),
    ("wait", "drop-connection", (LOST,)),
    ("wait", "no-reply", (LATE,)),
    ("wait", "late-reply", (LATE,)),
    ("wait", "garbage", (GARBLED,)),
    ("fetch", "drop-connection", (LOST,)),
    ("fetch", "no-reply", (LATE,)),
    ("fetch", "garbage", (GARBLED,)),
    ("fetch", "late-reply", (LATE,)),
    ("fetch", "half-block", (GARBLED,)),
    ("fetch", "out-of-order", (GARBLED,)),
]


@pytest.mark.parametrize(("at", "kind", "errors"), sampled(CASES, 3))
@not_late_each_time
def test_fault_ends_in_its_typed_error(at, kind, errors):
    before = {t.ident for t in threading.enumerate()}
    with served_photons({"tagger": [(at, kind)]}) as lab:
        start = time.monotonic()
        with pytest.raises(InstrumentError) as caught:
            whole_run(lab, *((2.0, IO_TIMEOUT_S) if LATE in errors else ()))
        struck(lab.devices["tagger"])
        assert isinstance(caught.value, errors)
        within(IO_TIMEOUT_S + LATE_S + 4.0, start)
        assert caught.value.instrument == "tagger"
        assert "tagger" in str(caught.value)
        # The fault struck once: the bench works again, with nothing stale.
        tags = whole_run(lab)
        assert tags.times_ps.size == sum(t.size for t in lab.cables.light.times_ps)
    assert not [t for t in threading.enumerate() if t.ident not in before]


def test_lost_tags_are_counted():
    times_ps = random_times()
    with served_photons({"tagger": [("fetch", "lost-tags")]}, times_ps) as lab:
        tags = whole_run(lab)
    sent = sum(t.size for t in times_ps)
    assert tags.lost == sent - tags.times_ps.size > 0


def test_an_overflow_is_flagged():
    with served_photons({"tagger": [("fetch", "overflow")]}) as lab:
        assert whole_run(lab).overflow
        assert not whole_run(lab).overflow


def test_swapped_inputs_are_delivered_as_they_come():
    """No driver can see this; the receiver must, from its error rates."""
    times_ps = random_times()
    with served_photons({"tagger": [("fetch", "wrong-channels")]}, times_ps) as lab:
        tags = whole_run(lab)
    np.testing.assert_array_equal(tags.times_ps[tags.channels == 1], times_ps[1])
    np.testing.assert_array_equal(tags.times_ps[tags.channels == 4], times_ps[0])


def test_tags_out_of_order_within_the_window_are_sorted(monkeypatch):
    times_ps = random_times()
    with served_photons(times_ps=times_ps) as lab:
        device = lab.devices["tagger"]
        original = device._tags_of

        def jumbled(n, fired, duration_ps):
            tags = original(n, fired, duration_ps).copy()
            close = np.flatnonzero(np.diff(tags) < SORT_WINDOW_PS)[::2]
            tags[close], tags[close + 1] = tags[close + 1], tags[close].copy()
            assert np.any(np.diff(tags) < 0)
            return tags

        monkeypatch.setattr(device, "_tags_of", jumbled)
        tags = whole_run(lab)
    np.testing.assert_array_equal(tags.times_ps, np.sort(np.concatenate(times_ps)))


@pytest.mark.parametrize("value", [-5, DURATION_PS + SORT_WINDOW_PS + 1])
def test_tags_outside_the_record_are_refused(monkeypatch, value):
    with served_photons() as lab:
        device = lab.devices["tagger"]
        monkeypatch.setattr(device, "_tags_of", lambda *_: np.array([value]))
        with pytest.raises(WireProtocolError, match="stream of input"):
            whole_run(lab)


@not_late_each_time
def test_a_stream_that_never_ends_is_a_timeout(monkeypatch):
    with served_photons() as lab:
        monkeypatch.setattr("sim_backends.wire.zmq_tagger._Stream.put", lambda *_: None)
        start = time.monotonic()
        with pytest.raises(InstrumentTimeout):
            whole_run(lab, timeout_s=0.5)
        within(1.5, start)


@not_late_each_time
def test_a_record_that_never_ends_is_a_timeout(monkeypatch):
    """The tagger answers every question in time, but always the same."""
    with served_photons() as lab:
        monkeypatch.setattr(lab.devices["tagger"], "_report", lambda: "PLAYING")
        start = time.monotonic()
        with pytest.raises(InstrumentTimeout, match="still recording"):
            whole_run(lab, timeout_s=0.4)
        within(1.4, start)


def test_a_tagger_that_vanishes_is_noticed_at_once():
    with served_photons() as lab, bench_on_tagger(lab) as tagger:
        tagger.configure(CONFIG)
        lab.servers["tagger"].close()
        for error in (ConnectionLost, ConnectError):
            start = time.monotonic()
            with pytest.raises(error):
                tagger.ping()
            assert time.monotonic() - start < PATIENT_S / 2


def test_streams_left_open_by_a_dead_session_are_closed():
    with served_photons() as lab:
        with bench_on_tagger(lab) as tagger:
            tagger.configure(CONFIG)
            tagger.start(DURATION_S)
        assert whole_run(lab).times_ps.size


def test_the_data_link_service_reports_errors():
    with served_photons() as lab, bench_on_tagger(lab) as tagger:
        for request in ("stop --id nobody", "start-stream --channel 9", "sing"):
            with pytest.raises(DeviceError):
                tagger._link.ask_datalink(request)


def test_nobody_listens():
    with deaf_port() as port:
        link = IdqLink(ZmqLink("tagger", f"zmq://127.0.0.1:{port}"), 0.5, 0.5)
        with pytest.raises(ConnectError, match="tagger"):
            link.open()
    link.close()


def test_the_tap_has_waveforms_and_truth():
    with served_photons() as lab:
        tags = whole_run(lab)
        found = tapped(lab)
        assert set(found.files) == {"played/0", "truth/0/clicks"}
        np.testing.assert_array_equal(found["played/0"], lab.cables.played[0])
        np.testing.assert_array_equal(found["truth/0/clicks"], tags.times_ps)


def test_any_zmq_client_can_attach():
    with served_photons() as lab:
        address = parse_zmq("x", lab.endpoints["tagger"])
        with zmq.Context() as context, context.socket(zmq.REQ) as link:
            link.setsockopt(zmq.LINGER, 0)
            link.connect(f"tcp://127.0.0.1:{address.control}")
            for sent, reply in [
                ("*IDN?", "ID Quantique,ID900,0000001,2.4.0"),
                ("REC:TRIG:ARM:MODE MANUal;ENABle ON", "-113,REC:TRIG:ARM:ENABLE"),
                ("INPU1:THRE +0.25V;EDGE FALLING", ""),
                ("INPU1:THRE?;EDGE?", "+0.250V\nFALLING"),
                ("DELA2:VALU 40;:INPU1:ENAB?;:DELA2:VALU?", "0\n40TB"),
                ("NOSUCH:THING 3", "-113,NOSUCH:THING"),
                ("RAW9:SEND ON", ""),
                ("REC:STAGe?", "IDLE"),
            ]:
                link.send_string(sent)
                assert link.poll(1000 * PATIENT_S)
                assert link.recv().decode().upper() == reply.upper()


def tapped(lab):
    """Return everything the truth tap has."""
    host, port = lab.endpoints["tap"].removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), PATIENT_S) as tap:
        return np.load(io.BytesIO(b"".join(iter(lambda: tap.recv(1 << 16), b""))))


def random_segments(lengths, name="segments"):
    random = stream(5, name)
    shapes = [(2, n) for n in lengths]
    volts = [random.uniform(-0.25, 0.25, s).astype(np.float32) for s in shapes]
    return [Waveform(v, RATE_HZ) for v in volts]


def test_a_sequence_is_played_gapless_and_read_back():
    """What the tap says was played is every uploaded sample, in order, once."""
    segments = random_segments((1280, 320, 64 * 333))
    whole_v = np.concatenate([s.samples for s in segments], axis=1)
    codes = np.rint(whole_v * (2047 / 0.25)).astype(np.int16)
    with served_photons() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        bench.awg.upload_segments(segments)
        acquire_tags(bench, CONFIG, DURATION_S, PATIENT_S)
        bench.awg.upload(segments[1])
        acquire_tags(bench, CONFIG, DURATION_S, PATIENT_S)
        found = tapped(lab)
        (seen_v, rate_hz), _ = lab.cables.light.played_v
    np.testing.assert_array_equal(found["played/0"], codes)
    np.testing.assert_array_equal(found["played/1"], codes[:, 1280:1600])
    assert rate_hz == RATE_HZ
    assert np.max(np.abs(seen_v - whole_v)) <= 0.5 * 0.25 / 2047 * (1 + 1e-3)


def test_reading_back_sees_segments_in_another_order(monkeypatch):
    """The test above must fail when the generator's table is wrong."""
    segments = random_segments((320, 320))
    with served_photons() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        bench.awg.upload_segments(segments)
        for channel in lab.devices["awg"].channels.values():
            first, second = channel.segments[1], channel.segments[2]
            channel.segments.update({1: second, 2: first})
        bench.awg.start()
        played = tapped(lab)["played/0"]
    whole_v = np.concatenate([s.samples for s in segments], axis=1)
    assert not np.array_equal(played, np.rint(whole_v * (2047 / 0.25)))


def test_a_table_with_a_hole_is_refused_by_the_generator():
    with served_photons() as lab, bench_on(lab) as bench:
        bench.awg.configure(AwgConfig(RATE_HZ, AMPLITUDE_VPP))
        bench.awg.upload_segments(random_segments((320, 320)))
        del lab.devices["awg"].channels[1].table[1]
        with pytest.raises(DeviceError, match="sequence table"):
            bench.awg.start()


@pytest.mark.parametrize(
    ("resource", "address"),
    [
        ("zmq://tc.lab", ZmqAddress("tc.lab", 5555, 6060, 4242)),
        ("zmq://tc.lab:1", ZmqAddress("tc.lab", 1, 6060, 4242)),
        ("zmq://h:1?datalink=2&stream=3", ZmqAddress("h", 1, 2, 3)),
    ],
)
def test_resources(resource, address):
    assert parse_zmq("x", resource) == address


@pytest.mark.parametrize(
    "resource",
    [
        "tcp://h:1",
        "zmq://",
        "zmq://:5",
        "zmq://h:x",
        "zmq://h:70000",
        "zmq://h:1?stream=0",
        "zmq://h:1?strum=2",
        "zmq://h:1?stream",
        "zmq://h:1?stream=1&stream=2",
        "zmq://h:1?control=2",
    ],
)
def test_bad_resources(resource):
    with pytest.raises(RangeError):
        parse_zmq("x", resource)


def test_merging_breaks_ties_by_input():
    times = {2: np.array([5, 7]), 1: np.array([5, 6, 7]), 4: np.array([], np.int64)}
    merged, channels = merge_tags({n: [run] for n, run in times.items()})
    assert merged.tolist() == [5, 5, 6, 7, 7]
    assert channels.tolist() == [1, 2, 1, 1, 2]
    assert channels.dtype == np.uint8


def test_photon_bench_names_known_drivers():
    assert set(PHOTON_BENCH) <= set(KINDS)
