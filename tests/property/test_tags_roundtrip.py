"""Any tags come back the same, through a capture and through PTU."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scqc.core.records import TimeTags
from scqc.store.capture_format import CaptureHeader
from scqc.store.ptu_convert import export_ptu, import_ptu
from scqc.store.tag_capture import TagCaptureWriter, open_tag_capture

COUNTS = st.integers(0, 2**63 - 1)


@st.composite
def any_tags(draw):
    """Also out of order and negative: the store judges nothing."""
    n = draw(st.integers(0, 200))
    times = draw(arrays(np.int64, n))
    channels = draw(arrays(np.uint8, n))
    return TimeTags(times, channels, draw(COUNTS), draw(COUNTS), draw(st.booleans()))


@st.composite
def ptu_tags(draw):
    """What a T2 file can hold: in order, inputs 1 to 63, nothing lost."""
    gaps = draw(st.lists(st.integers(0, 10**12), max_size=100))
    times = np.cumsum(np.array([0, *gaps], np.int64))[1:]
    channels = draw(arrays(np.uint8, times.size, elements=st.integers(1, 63)))
    span = int(times[-1]) if times.size else 0
    return TimeTags(times, channels, span + draw(st.integers(0, 10**12)))


def assert_same(found, wanted):
    assert np.array_equal(found.times_ps, wanted.times_ps)
    assert np.array_equal(found.channels, wanted.channels)
    assert (found.duration_ps, found.lost, found.overflow) == (
        wanted.duration_ps,
        wanted.lost,
        wanted.overflow,
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(any_tags(), min_size=1, max_size=3), st.text(max_size=50))
def test_capture_round_trip(bursts, text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        header = CaptureHeader(text, "run")
        with TagCaptureWriter(path, header, len(bursts)) as writer:
            for number, tags in enumerate(bursts):
                writer.add(number, tags)
        with open_tag_capture(path) as capture:
            assert capture.header == header
            assert capture.complete_bursts() == list(range(len(bursts)))
            for number, tags in enumerate(bursts):
                assert_same(capture.burst(number), tags)


@settings(max_examples=25, deadline=None)
@given(ptu_tags())
def test_through_ptu_and_back(tags):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TagCaptureWriter(folder / "a.h5", CaptureHeader("", "run"), 2) as writer:
            writer.add(1, tags)
        export_ptu(folder / "a.h5", folder / "a.ptu", 1)
        facts = import_ptu(folder / "a.ptu", folder / "b.h5")
        assert (facts["resolution_ps"], facts["sync_ticks"]) == (1.0, 0)
        with open_tag_capture(folder / "b.h5") as capture:
            assert_same(capture.burst(0), tags)
