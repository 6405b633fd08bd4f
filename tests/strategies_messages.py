"""Hypothesis strategies for every kind of message."""

from typing import get_args

from hypothesis import strategies as st
from msgspec import inspect as info

from protocols.messages import photon, wire
from protocols.messages.distil import DistilMessage
from protocols.messages.light import LightMessage
from protocols.messages.session import SessionMessage

counts = st.integers(0, 1 << 40)
seeds = st.binary(min_size=32, max_size=32)
hash_keys = st.binary(min_size=16, max_size=16)
finite = st.floats(-9e29, 9e29, allow_nan=False)
payloads = st.binary(max_size=64)
class_sums = st.builds(
    wire.ClassSums, st.text(max_size=8), counts, finite, finite, finite
)
calibrations = st.builds(wire.Calibration, finite, counts, counts)


def field(kind):
    """Values of one field, within the limits that its type states."""
    match kind:
        case info.IntType():
            return st.integers(kind.ge, kind.le)
        case info.BytesType():
            return st.binary(
                min_size=kind.min_length or 0, max_size=kind.max_length or 64
            )
        case info.StrType(pattern=str()):
            # Names of runs.
            return st.text("0123456789abcdef-", min_size=1, max_size=64)
        case info.StrType():
            return st.text(max_size=min(kind.max_length, 64))
        case info.FloatType(ge=None, gt=0.0):
            return st.floats(1e-300, 0.999 * kind.lt)
        case info.FloatType(ge=None):
            return finite
        case info.FloatType():
            return st.floats(kind.ge, 0.999 * kind.lt)
        case info.LiteralType():
            return st.sampled_from(kind.values)
        case info.UnionType():
            return st.one_of(*map(field, kind.types))
        case info.NoneType():
            return st.none()
        case info.BoolType():
            return st.booleans()
        case info.TupleType():
            return st.tuples(*map(field, kind.item_types))
        case info.ListType():
            least = kind.min_length or 0
            return st.lists(field(kind.item_type), min_size=least, max_size=5)
        case info.StructType():
            return st.builds(kind.cls, *(field(f.type) for f in kind.fields))
    raise TypeError(kind)


def field_values(message, name):
    """Values of the field `name` of a message type."""
    kinds = {f.name: f.type for f in info.type_info(message).fields}
    return field(kinds[name])


photon_messages = st.one_of(
    [field(info.type_info(kind)) for kind in get_args(photon.PhotonMessage)]
)
link_messages = st.one_of(
    [
        field(info.type_info(kind))
        for union in (SessionMessage, LightMessage, DistilMessage)
        for kind in get_args(union)
    ]
)
messages = st.one_of(
    photon_messages,
    link_messages,
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
