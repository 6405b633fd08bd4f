"""A link without a network: both ends, and messages for them."""

import json
import time

import msgspec
import numpy as np
from msgspec.structs import replace

from protocols.messages import light, photon, wire
from protocols.messages.ends import AnsweringEnd, AskingEnd
from protocols.messages.envelope import unpack
from protocols.messages.session import Hello, HelloTag, KeyConfirm
from protocols.messages.terms import config_digest

LINK, OTHER_LINK = bytes(range(16)), bytes(range(1, 17))
SESSION, OTHER_SESSION = b"s" * 16, b"o" * 16
CONFIG = '{"link":{"bursts":8}}'


def hello(session=SESSION, **changes):
    """A greeting of Bob's that is in order."""
    fields = {
        "protocol": (1, 0),
        "link": LINK,
        "session": session,
        "party": "bob",
        "run": "",
        "utc_s": time.time(),
        "config": CONFIG,
        "config_sha256": config_digest(CONFIG),
        "fingerprint": bytes(16),
        "sink": b"",
    }
    return wire.encode(Hello(**{**fields, **changes}))


PROOF = wire.encode(HelloTag(bytes(16)))


def frames_of(stream, number=0):
    """Frames that may be said on a stream."""
    content = np.arange(20, dtype="<f4").tobytes()
    return {
        "session": [wire.encode(KeyConfirm("0a-1", number, bytes(16)))],
        "light": [wire.encode(light.LoadBurst(number))],
        "key": [
            wire.encode(wire.SampleDisclosure(content)),
            wire.encode(photon.Verified(b"\xff", number)),
        ],
    }[stream]


def opened(session=SESSION, alice=None):
    """Both ends, after a greeting; Alice's may have been there before."""
    bob, alice = AskingEnd(LINK), alice or AnsweringEnd(LINK)
    for frames in ([hello(session)], [PROOF]):
        channel = bob.channel("session", frames)
        channel.wrap(0, frames)
        answering, _ = alice.unwrap(channel.request)
        channel.unwrap(alice.reply(answering, [PROOF]))
    return bob, alice


def ask(bob, stream, number=0):
    """Wrap a request of Bob's; return his channel and the bytes."""
    frames = frames_of(stream, number)
    channel = bob.channel(stream, frames)
    return channel, channel.wrap(number, frames)


def changed(data, **fields):
    """The same message with other fields in its envelope, packed without checks."""
    return msgspec.msgpack.encode(replace(unpack(data), **fields))


def state(end):
    """Everything that an end or a channel knows, to be compared."""
    if isinstance(end, AnsweringEnd):
        return [
            (s.number, s.refused, {k: dict(vars(c)) for k, c in s.channels.items()})
            for s in (end._current, end._greeting)
            if s is not None
        ]
    return dict(vars(end))


def as_json(settings):
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))
