"""Whatever Bob asks for, Alice plays no prepared burst twice.

The same quantum states a second time would give an eavesdropper two copies. Bob's
messages are random here, and so is when her generator drops its connection.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_kit import CONFIGS

from driver.hal import ArbitraryWaveformGenerator
from protocols.messages.light import (
    BlockRequest,
    BlockTaken,
    Budget,
    EndBurst,
    LoadBurst,
    LoadProbe,
    Lost,
    Play,
    SetShutters,
)
from protocols.messages.wire import decode, encode
from scqc.core.errors import CaptureError, ConnectionLost, PeerError
from scqc.runs.lab_config import parse_config
from scqc.runs.parties import cv_alice
from scqc.runs.parties.alice import MOST_PENDING, AliceEnd, NextBlock
from scqc.runs.parties.alice_light import AliceLight
from scqc.runs.parties.block import ALICE_NAME, BlockName
from scqc.runs.parties.cv_alice import CvAliceEnd
from scqc.runs.parties.half import Half
from scqc.runs.parties.photon_alice import PhotonAliceEnd
from scqc.store.alice_record import read_alice_record
from scqc.store.slot_record import SlotRecordWriter, read_slot_record

BURSTS = 2
BUDGET = Budget(0.3, 1.1)
NUMBERS = st.integers(0, BURSTS)
MESSAGES = st.one_of(
    st.builds(BlockRequest),
    st.builds(LoadProbe),
    st.builds(LoadBurst, NUMBERS, st.sampled_from([BUDGET, BUDGET, None])),
    st.builds(SetShutters, st.sampled_from(["signal", "shot"])),
    st.builds(Play),
    st.builds(Play),
    st.builds(EndBurst),
    st.builds(BlockTaken, st.integers(1, BURSTS)),
)
#: What a step is: a message, and where the generator is lost under it, if at all.
CUTS = st.sampled_from([None] * 6 + ["upload", "start", "started", "require_light"])
STEPS = st.lists(st.tuples(MESSAGES, CUTS), min_size=5, max_size=40)


def configs():
    """Return the smallest bench of each scheme."""
    cv = (CONFIGS / "cv_quick.toml").read_text()
    cv = cv.replace('psk = "qpsk"', 'psk = "none"')
    cv = cv.replace("bursts = 2", f"bursts = {BURSTS}\nburst_symbols = 2_048")
    cv = cv.replace("disclosed_symbols = 10_000", "disclosed_symbols = 1_000")
    dv = (CONFIGS / "dv_quick.toml").read_text()
    dv = dv.replace("burst_slots = 4_194_304", "burst_slots = 4096")
    dv = dv.replace("frame_bits = 102_400", "frame_bits = 16_000")
    return {"cv": parse_config(cv), "dv": parse_config(dv)}


SCHEMES = configs()


class Lab:
    """Alice of a scheme, with a generator that notes what leaves it."""

    def __init__(self, scheme, folder):
        self.folder, self.scheme, self.blocks = folder, scheme, 0
        self.played, self.uploaded, self.cut = [], b"", None
        config = SCHEMES[scheme]
        awg = Mock(spec=ArbitraryWaveformGenerator)
        awg.granularity, awg.amplitude_range_vpp = 64, (0.05, 1.0)
        awg.upload.side_effect, awg.start.side_effect = self.upload, self.start
        bench = SimpleNamespace(
            awg=awg, resolve=lambda _: ("awg", "1"), instrument=lambda _: awg
        )
        half = Mock(spec=Half, bench=bench)
        recovery = Mock()
        recovery.require_light.side_effect = lambda: self.lose("require_light")
        end = CvAliceEnd(config)
        if scheme == "dv":
            end = PhotonAliceEnd(config, Mock(), Mock())
        self.alice = AliceEnd(end, None, self.choose, lambda *_: None)
        self.alice.open_light(half, recovery)

    def choose(self):
        self.blocks += 1
        return NextBlock(BlockName("0", self.blocks), self.home(self.blocks))

    def home(self, number):
        return self.folder / str(number)

    def lose(self, where):
        if self.cut == where:
            self.cut = None
            raise ConnectionLost("awg", where, "cut by a test")

    def upload(self, waveform):
        # It may have arrived all the same.
        self.uploaded = waveform.samples.tobytes()
        self.lose("upload")

    def start(self):
        self.lose("start")
        self.played.append(self.uploaded)
        self.lose("started")

    def ask(self, message, cut=None):
        """Return Alice's answer, or None if she refuses."""
        self.cut = cut
        try:
            (answer,) = self.alice.answer("light", 0, [encode(message)])
        except PeerError:
            return None
        return decode(answer)

    @property
    def copies(self):
        return len(self.played) - len(set(self.played))


@pytest.fixture
def make_lab():
    """Make labs whose files are closed at the end."""
    labs = []

    def make(scheme, folder):
        labs.append(Lab(scheme, folder))
        return labs[-1]

    yield make
    for lab in labs:
        lab.alice.forget()


def recorded(scheme, folder):
    """Return each burst of Alice's record, as bytes."""
    if scheme == "cv":
        return [b.symbols.tobytes() for b in read_alice_record(folder / ALICE_NAME)[1]]
    return [b.tobytes() for b in read_slot_record(folder / ALICE_NAME).bursts]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(steps=STEPS)
@settings(max_examples=25, deadline=None)
def test_no_burst_is_played_twice(scheme, steps):
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(scheme, Path(folder))
        lab.ask(BlockRequest())
        try:
            for message, cut in steps:
                lab.ask(message, cut)
        finally:
            lab.alice.forget()
        assert lab.copies == 0
        # Nor do two bursts on record share their states.
        for number in range(1, lab.blocks + 1):
            kept = recorded(scheme, lab.home(number))
            assert len(set(kept)) == len(kept)


#: The same burst again: at once, with a probe or a lost connection in between.
AGAIN = {
    "at-once": [],
    "probe": [(LoadProbe(), None), (Play(), None)],
    "lost-upload": [(LoadBurst(0, BUDGET), "upload")],
    "lost-probe": [(LoadProbe(), "upload")],
    "ended": [(EndBurst(), None)],
    "light-went-out": [(EndBurst(), "require_light")],
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("between", AGAIN)
@pytest.mark.parametrize("lost", [None, "start", "started"])
def test_a_burst_that_may_have_left_is_drawn_anew(
    make_lab, tmp_path, scheme, between, lost
):
    lab = make_lab(scheme, tmp_path)
    lab.ask(BlockRequest())
    lab.ask(LoadBurst(0, BUDGET))
    before = recorded(scheme, lab.home(1))[0]
    assert isinstance(lab.ask(Play(), lost), Lost) == (lost is not None)
    for message, cut in AGAIN[between]:
        lab.ask(message, cut)
    assert lab.ask(LoadBurst(0, BUDGET)) is not None
    # On record before its light.
    assert recorded(scheme, lab.home(1))[0] != before
    lab.ask(Play())
    lab.ask(LoadBurst(1, BUDGET))
    assert lab.copies == 0
    lab.alice.forget()
    assert len(recorded(scheme, lab.home(1))) == BURSTS


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_burst_that_was_never_played_stays(make_lab, tmp_path, scheme):
    """Also if its upload is lost: nothing of it has left, nothing is drawn for it."""
    lab = make_lab(scheme, tmp_path)
    lab.ask(BlockRequest())
    for number in range(BURSTS):
        assert isinstance(lab.ask(LoadBurst(number, BUDGET), "upload"), Lost)
        # What did not arrive is not played.
        assert lab.ask(Play()) is None
        before = recorded(scheme, lab.home(1))
        lab.ask(LoadProbe())
        lab.ask(Play())
        assert lab.ask(LoadBurst(number, BUDGET)) is not None
        assert recorded(scheme, lab.home(1)) == before
        lab.ask(Play())
    lab.alice.forget()
    assert len(recorded(scheme, lab.home(1))) == BURSTS
    assert lab.copies == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_over_is_not_played_any_more(make_lab, tmp_path, scheme):
    """Neither what is loaded of a block that ended, nor a change of its record."""
    lab = make_lab(scheme, tmp_path)
    lab.ask(BlockRequest())
    lab.ask(LoadBurst(0, BUDGET))
    lab.ask(Play())
    lab.ask(LoadBurst(1, BUDGET))
    assert lab.ask(BlockTaken(1)) is not None
    before, played = recorded(scheme, lab.home(1)), len(lab.played)
    assert lab.ask(Play()) is None
    assert lab.ask(LoadBurst(1, BUDGET)) is None
    assert lab.ask(BlockTaken(1)) is None
    assert recorded(scheme, lab.home(1)) == before
    assert len(lab.played) == played


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_burst_that_cannot_be_replaced_is_not_played(
    make_lab, tmp_path, scheme, monkeypatch
):
    """A full disk is no reason to send what may have been seen."""
    lab = make_lab(scheme, tmp_path)
    lab.ask(BlockRequest())
    lab.ask(LoadBurst(0, BUDGET))
    lab.ask(Play())

    def full(*_):
        raise CaptureError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(cv_alice, "replace_alice_burst", full)
        patch.setattr(SlotRecordWriter, "add", full)
        for _ in range(2):
            with pytest.raises(CaptureError):
                lab.ask(LoadBurst(0, BUDGET))
            assert lab.ask(Play()) is None
    assert lab.copies == 0


def test_old_blocks_are_given_up(make_lab, tmp_path):
    lab = make_lab("cv", tmp_path)
    for _ in range(MOST_PENDING + 2):
        lab.ask(BlockRequest())
        lab.ask(BlockTaken(1))
    assert [name.number for name in lab.alice._pending] == list(
        range(3, 3 + MOST_PENDING)
    )


# The checks above see it: each guard dropped on purpose -----------------------------


def _forgets_what_left(monkeypatch):
    original = AliceLight._play

    def play(self):
        original(self)
        self._seen = False

    monkeypatch.setattr(AliceLight, "_play", play)


def _plays_what_is_loaded(monkeypatch):
    monkeypatch.setattr(AliceLight, "_play", lambda self: self.start())


def _begins_anew_with_a_probe(monkeypatch):
    original = cv_alice.CvAliceLight.load_probe

    def load_probe(self):
        self._number, self._seen = -1, False
        return original(self)

    monkeypatch.setattr(cv_alice.CvAliceLight, "load_probe", load_probe)


@pytest.mark.parametrize(
    ("mutant", "messages"),
    [
        (_forgets_what_left, [LoadBurst(0, BUDGET), Play()] * 2),
        (_plays_what_is_loaded, [LoadBurst(0, BUDGET), Play(), Play()]),
        (
            _begins_anew_with_a_probe,
            [LoadBurst(0, BUDGET), Play(), LoadProbe(), LoadBurst(0, BUDGET), Play()],
        ),
    ],
)
def test_a_guard_that_is_dropped_is_noticed(
    make_lab, tmp_path, monkeypatch, mutant, messages
):
    def copies(folder):
        lab = make_lab("cv", folder)
        for message in [BlockRequest(), *messages]:
            lab.ask(message)
        return lab.copies

    assert copies(tmp_path / "whole") == 0
    mutant(monkeypatch)
    assert copies(tmp_path / "broken") == 1
