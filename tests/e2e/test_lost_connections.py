"""A dropped connection costs a burst, never a second copy of one."""

from contextlib import contextmanager
from unittest.mock import Mock

import numpy as np
import pytest
from photon_run_kit import SMALL, tapped
from photon_run_kit import run as run_photon
from run_kit import CONFIGS, read_tap

from driver.awg.keysight_m8190a import KeysightM8190A
from driver.digitizer.keysight_infiniium import KeysightInfiniium
from driver.hal_light import LaserReading
from driver.laser.itla_msa import ItlaLaser
from driver.laser.keysight_n7776c import KeysightN7776C
from driver.set_points import SetPoints
from driver.time_tagger.idq_id900 import IdqId900
from scqc.core.errors import CaptureError, ConnectionLost, DeviceError
from scqc.runs import live
from scqc.runs.journal import Journal, read_journal
from scqc.runs.lab_config import load_config
from scqc.runs.offline import process_capture
from scqc.runs.parties import cv_alice, opened
from scqc.runs.progress import Silent
from scqc.runs.recovery import TRIES, Recovery
from scqc.runs.station import station
from scqc.runs.transmit import Transmitter
from scqc.store import alice_record
from scqc.store.alice_record import read_alice_record
from scqc.store.slot_record import SlotRecordWriter, read_slot_record

# The benches of this file live for a second: see warm_kit.
pytestmark = pytest.mark.usefixtures("warm_processes", "undrawn")
PAYLOAD = b"arrives all the same"


@pytest.fixture
def losing(monkeypatch):
    """Return a function that cuts an instrument's connection under a call."""

    recorded, add = [], SlotRecordWriter.add
    monkeypatch.setattr(
        SlotRecordWriter, "add", lambda *a: (recorded.append(1), add(*a))
    )

    def lose(driver, method, numbers, *, after=False, recorded_only=False):
        original, calls = getattr(driver, method), []

        def cut(self, *arguments):
            if recorded_only and not recorded:
                return original(self, *arguments)
            calls.append(method)
            if len(calls) not in numbers:
                return original(self, *arguments)
            if after:
                original(self, *arguments)
            self._link.close()
            raise ConnectionLost(self.name, method, "cut by a test")

        monkeypatch.setattr(driver, method, cut)

    return lose


def run_cv(folder, monkeypatch, work=live.run_live, name="cv_quick.toml"):
    """Run a bench; return the result and what was played."""
    played = []

    @contextmanager
    def tapped_station(*arguments, **options):
        with station(*arguments, **options, tap=True) as place:
            yield place
            played.extend(read_tap(place.tap))

    monkeypatch.setattr(opened, "station", tapped_station)
    loaded = load_config(CONFIGS / name)
    return work(loaded, PAYLOAD, folder, Silent()), played


def copies(played):
    """Return how many of the waveforms were played before [1]."""
    known = {codes.tobytes() for codes in played}
    return len(played) - len(known)


def test_lost_bursts_are_replaced_by_fresh_ones(tmp_path, losing, monkeypatch):
    """Three records a burst, the probe first: the fourth has light of burst 0."""
    losing(KeysightInfiniium, "fetch", {4})
    losing(KeysightM8190A, "upload", {4})
    losing(KeysightM8190A, "start", {4}, after=True)
    result, played = run_cv(tmp_path / "r", monkeypatch)
    assert (tmp_path / "r" / "payload.received").read_bytes() == PAYLOAD
    # The probe, both bursts, and two that were lost with their light.
    assert len(played) == 5
    assert copies(played) == 0
    kinds = [entry["kind"] for entry in read_journal(tmp_path / "r")]
    assert kinds.count("lost") == kinds.count("recovered") == TRIES
    # Alice's record holds what arrived: other symbols would leave no signal.
    truth = result.data["quantum"]["truth"]["transmittance"]
    found = result.data["quantum"]["transmittance"]
    assert found["low"] / 1.05 < truth < found["high"] * 1.05
    _, bursts = read_alice_record(tmp_path / "r" / "alice.scqc")
    symbols = np.concatenate([burst.symbols for burst in bursts])
    assert np.unique(symbols).size == symbols.size


def test_lasers_that_are_lost_come_back_lit(tmp_path, losing, monkeypatch):
    """They are asked after every burst; one without its laser is not kept."""
    # Switched on, after the probe, after burst 0; once more when switched on again.
    losing(ItlaLaser, "reading", {3})
    # After the probe, after burst 0, after burst 1.
    losing(KeysightN7776C, "reading", {3})
    folder = tmp_path / "r"
    work = live.capture_live
    path, played = run_cv(folder, monkeypatch, work, "cv_full_bench.toml")
    # The probe, both bursts, and two that were lost with a laser.
    assert len(played) == 5
    assert copies(played) == 0
    entries = read_journal(folder)
    for kind in ("lost", "recovered"):
        told = [entry["text"] for entry in entries if entry["kind"] == kind]
        assert [text.partition(":")[0] for text in told] == ["laser", "lo"]
    # What was kept has light: with it, the payload.
    result = process_capture(path, folder, Silent(), alice=folder / "alice.scqc")
    assert (folder / "payload.received").read_bytes() == PAYLOAD
    assert result.data["payload"]["delivered"]


@pytest.mark.parametrize("given", [{"frequency_hz": 193e12, "power_dbm": 3.0}, {}])
def test_a_laser_that_went_out_ends_the_run(tmp_path, given):
    """Only one that the set-points switched on: others are not ours."""
    laser, settings = Mock(), Mock(set_points=SetPoints(**given))
    bench = Mock(instrument=lambda _: laser)
    recovery = Recovery(bench, {"lo": settings}, Journal(tmp_path, "run"), 1.0)
    laser.reading.return_value = LaserReading(True, 193e12, 3.0)
    recovery.require_light()
    laser.reading.return_value = LaserReading(False, 193e12, 3.0)
    if not given:
        recovery.require_light()
        assert not laser.reading.called
        return
    with pytest.raises(DeviceError, match=r"lo.*is off"):
        recovery.require_light()


@pytest.mark.parametrize("found_db", [24.8, 0.0, float("nan")])
def test_an_attenuator_that_opened_ends_the_run(tmp_path, found_db):
    voa = Mock()
    settings = Mock(set_points=SetPoints(attenuation_db=25.4))
    bench = Mock(instrument=lambda _: voa)
    recovery = Recovery(bench, {"voa": settings}, Journal(tmp_path, "run"), 1.0)
    voa.attenuation_db.return_value = 25.3
    recovery.require_light()
    voa.attenuation_db.return_value = found_db
    with pytest.raises(DeviceError, match=r"voa.*was set to 25.4"):
        recovery.require_light()


def test_a_burst_that_is_sent_again_is_noticed(tmp_path, losing, monkeypatch):
    """The check of the test above sees copies; the record refuses them."""
    losing(KeysightInfiniium, "fetch", {4})
    original, drawn = Transmitter.gaussian, []

    def stuck(self, n):
        # The same symbols again for a burst of the same size, drawn third.
        drawn.append(original(self, n))
        return drawn[0] if len(drawn) > 3 else drawn[-1]

    monkeypatch.setattr(Transmitter, "gaussian", stuck)
    with pytest.raises(CaptureError, match="symbols of the lost one"):
        run_cv(tmp_path / "r", monkeypatch, live.capture_live)
    losing(KeysightInfiniium, "fetch", {4})
    drawn.clear()
    monkeypatch.setattr(cv_alice, "replace_alice_burst", lambda *_: None)
    _, played = run_cv(tmp_path / "s", monkeypatch, live.capture_live)
    assert copies(played) == 1


def test_too_many_losses_end_the_run(tmp_path, losing, monkeypatch):
    losing(KeysightInfiniium, "fetch", range(4, 100))
    with pytest.raises(ConnectionLost):
        run_cv(tmp_path / "r", monkeypatch)
    assert (tmp_path / "r" / "capture.h5.part").exists()
    entries = read_journal(tmp_path / "r")
    assert [e["kind"] for e in entries].count("lost") == TRIES
    assert entries[-1]["kind"] == "error"


def test_photon_bursts_that_are_lost_are_replaced_by_fresh_ones(tmp_path, losing):
    """Before it is played a burst is loaded again; after that it is given up."""
    losing(IdqId900, "read", {1})
    losing(IdqId900, "start", {2}, recorded_only=True)
    losing(IdqId900, "read", {1}, recorded_only=True)
    archives = []
    with tapped(archives):
        result = run_photon(tmp_path / "r", *SMALL)
    assert result.data["payload"]["delivered"]
    played = [v for k, v in archives[0].items() if k.startswith("played/")]
    assert len(played) >= 4
    assert copies(played) == 0
    kinds = [entry["kind"] for entry in read_journal(tmp_path / "r")]
    assert kinds.count("recovered") == 3


def test_a_word_in_the_light_is_not_sent_twice(tmp_path, losing):
    losing(IdqId900, "read", {1}, recorded_only=True)
    direct = ('encoding = "masked"', 'encoding = "direct"')
    with pytest.raises(ConnectionLost):
        run_photon(tmp_path / "r", *SMALL, direct, payload=b"once")
    assert "lost" not in [entry["kind"] for entry in read_journal(tmp_path / "r")]


def test_a_struck_burst_leaves_no_trace_in_the_record(tmp_path):
    paths = [tmp_path / "struck", tmp_path / "plain"]
    slots = [np.full(1024, n, dtype=np.uint8) for n in range(3)]
    with SlotRecordWriter(paths[0], "run", b"", 1024) as record:
        with pytest.raises(CaptureError, match="no burst to strike"):
            record.drop_last()
        record.add(slots[0])
        record.add(slots[1])
        record.drop_last()
        with pytest.raises(CaptureError, match="no burst to strike"):
            record.drop_last()
        record.add(slots[2])
    with SlotRecordWriter(paths[1], "run", b"", 1024) as record:
        record.add(slots[0])
        record.add(slots[2])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(read_slot_record(paths[0]).bursts) == 2


def test_the_record_refuses_what_is_no_replacement(tmp_path):
    path = tmp_path / "alice.scqc"
    old = alice_record.AliceBurst(np.ones(3, np.complex64), np.ones(4, np.uint8))
    alice_record.write_alice_record(path, "run", [old])
    longer = alice_record.AliceBurst(np.zeros(4, np.complex64), old.bits)
    for number, burst, problem in (
        (1, longer, "no burst 1"),
        (0, longer, "another size"),
        (0, old, "symbols of the lost one"),
    ):
        with pytest.raises(CaptureError, match=problem):
            alice_record.replace_alice_burst(path, number, burst)
    fresh = alice_record.AliceBurst(np.zeros(3, np.complex64), old.bits)
    alice_record.replace_alice_burst(path, 0, fresh)
    run_uuid, bursts = read_alice_record(path)
    assert run_uuid == "run"
    assert not bursts[0].symbols.any()
    assert path.stat().st_mode & 0o777 == 0o600
