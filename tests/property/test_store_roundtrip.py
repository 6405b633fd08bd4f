"""Any samples, appended in any pieces, come back the same."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scqc.store.capture_format import CaptureHeader, RecordScale
from scqc.store.capture_writer import CaptureWriter
from scqc.store.sealed_reader import open_capture

codes = arrays(np.int16, st.integers(0, 300))
positive = st.floats(1e-9, 1e9)
signed = st.floats(-1e3, 1e3)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(codes, max_size=3),
    scale=st.builds(RecordScale, positive, st.floats(1e-9, 1e3), signed, signed),
    chunk=st.sampled_from([17, 64, 1000]),
    piece=st.integers(1, 500),
    text=st.text(max_size=50),
)
def test_round_trip(parts, scale, chunk, piece, text):
    whole = np.concatenate([np.zeros(0, np.int16), *parts])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with (
            CaptureWriter(path, CaptureHeader(text, "run"), 1, chunk) as writer,
            writer.record(0, "signal", scale) as record,
        ):
            for part in parts:
                acknowledged = record.append(part)
                assert acknowledged % chunk == 0
        with open_capture(path) as capture:
            assert capture.header.config_toml == text
            signal = capture.burst(0).signal
            assert signal.n_samples == whole.size
            assert whole.size == 0 or signal.scale == scale
            read = [np.zeros(0, np.int16), *signal.chunks(piece)]
            assert np.array_equal(np.concatenate(read), whole)
