"""Hypothesis strategies for every kind of message."""

from hypothesis import strategies as st

from protocols.messages import photon, wire

counts = st.integers(0, 1 << 40)
seeds = st.binary(min_size=32, max_size=32)
hash_keys = st.binary(min_size=16, max_size=16)
finite = st.floats(-9e29, 9e29, allow_nan=False)
payloads = st.binary(max_size=64)
class_sums = st.builds(
    wire.ClassSums, st.text(max_size=8), counts, finite, finite, finite
)
triples = st.tuples(counts, counts, counts)
pads = st.lists(st.builds(photon.PadRange, st.text(max_size=16), counts, counts))
calibrations = st.builds(wire.Calibration, finite, counts, counts)

photon_messages = st.one_of(
    st.builds(photon.Detections, counts, counts, payloads, payloads),
    st.builds(photon.Preparation, payloads, payloads),
    st.builds(photon.CheckBits, payloads, seeds),
    st.builds(
        photon.MaskedWords,
        triples,
        st.text(max_size=32),
        st.text(max_size=64),
        counts,
        counts,
        payloads,
        counts,
        pads,
    ),
    st.builds(photon.RevealRequest, payloads),
    st.builds(photon.Reveal, payloads),
    st.builds(photon.Decoded, payloads),
    st.builds(photon.Verification, hash_keys, payloads),
    st.builds(photon.Verified, payloads, counts),
    st.builds(photon.ParityRequest, counts, payloads, payloads, counts),
    st.builds(photon.Parities, payloads),
    st.builds(photon.DirectWord, triples, counts, pads),
    st.builds(photon.DirectResult, st.booleans(), finite),
)
messages = st.one_of(
    photon_messages,
    st.builds(wire.FrameReport, counts, payloads),
    st.builds(wire.FrameDisclosure, seeds, payloads),
    st.builds(wire.SampleRequest, seeds, counts, counts),
    st.builds(wire.SampleDisclosure, payloads),
    st.builds(
        wire.ReconciliationOffer,
        finite,
        counts,
        st.text(max_size=64),
        counts,
        finite,
        finite,
        st.tuples(finite, finite),
        payloads,
        payloads,
        payloads,
        hash_keys,
        payloads,
        calibrations,
    ),
    st.builds(wire.ReconciliationResult, payloads),
    st.builds(wire.RetrySyndromes, payloads),
    st.builds(wire.FailedFrames, payloads),
    st.builds(
        wire.EstimationReport,
        st.lists(class_sums, max_size=8),
        st.lists(class_sums, max_size=20),
    ),
    st.builds(wire.Amplification, counts, payloads),
    st.builds(wire.Verdict, counts),
    st.builds(wire.TranscriptTag, hash_keys),
)
