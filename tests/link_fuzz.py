"""Messages that no end of a link may take, by the thousand, and what they do."""

import random
import struct

import msgspec
from link_kit import (
    LINK,
    OTHER_LINK,
    OTHER_SESSION,
    ask,
    changed,
    frames_of,
    hello,
    opened,
    state,
)

from protocols.messages.envelope import STREAMS, unpack
from scqc.core.errors import PeerError

NESTED = (b"\x91", b"\x81\xa1a", b"\x92\xc0")


class Hostile:
    """Draws messages that are certain to be wrong, from one seed.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed):
        self.random = random.Random(seed)
        bob, alice = opened()
        self.requests, self.replies = {}, {}
        for stream in STREAMS:
            _, request = ask(bob, stream)
            self.requests[stream] = request
            self.replies[stream] = alice.reply(
                alice.unwrap(request)[0], frames_of(stream)
            )
        self.kinds = [
            self.cut,
            self.longer,
            self.noise,
            self.nested,
            self.claimed,
            self.misplaced,
            self.no_message,
            self.mistyped,
        ]

    def draw(self, table, stream):
        return self.random.choice(self.kinds)(table[stream], stream)

    def cut(self, data, _):
        return data[: self.random.randrange(len(data))]

    def longer(self, data, _):
        return data + self.random.randbytes(self.random.randint(1, 40))

    def noise(self, *_):
        return self.random.randbytes(self.random.randint(0, 300))

    def nested(self, data, _):
        depth = self.random.choice((50, 500, 2000, 20_000))
        bomb = self.random.choice(NESTED) * depth
        # Alone, or where a well-formed envelope has its link.
        return bomb if self.random.random() < 0.5 else data[:12] + bomb

    def claimed(self, data, _):
        head = self.random.choice((b"\xc6", b"\xdb", b"\xdd", b"\xdf"))
        at = self.random.randrange(len(data))
        return data[:at] + head + struct.pack(">I", 0xFFFFFFFF) + data[at:]

    def misplaced(self, data, stream):
        other = self.random.choice([s for s in STREAMS if s != stream])
        opposite = {"bob-to-alice": "alice-to-bob", "alice-to-bob": "bob-to-alice"}
        fields = self.random.choice(
            (
                {"protocol": (self.random.choice((0, 2, 255)), 0)},
                {"link": OTHER_LINK},
                {"link": self.random.randbytes(16)},
                {"session": OTHER_SESSION},
                {"direction": opposite[unpack(data).direction]},
                {"stream": other},
                {"sequence": self.random.randint(1, (1 << 63) - 1)},
            )
        )
        return changed(data, **fields)

    def no_message(self, data, stream):
        frame = bytearray(frames_of(stream)[0])
        match self.random.randrange(4):
            case 0:
                del frame[self.random.randrange(len(frame)) :]
            case 1:
                frame += b"\0"
            case 2:
                frame[0] = self.random.choice((0xC0, 0x90, 0xA0, 0xFF))
            case 3:
                frame = self.random.choice(NESTED) * 5000
        return changed(data, frames=[bytes(frame)])

    def mistyped(self, data, _):
        tree = msgspec.msgpack.decode(data)
        name = self.random.choice(list(tree))
        tree[name] = self.random.choice((None, -1, 1.5, "x", [[]], {"a": {}}, 1 << 63))
        if name in {"block", "ext"}:
            # Some numbers and some tables are in order there.
            tree[name] = None
        return msgspec.msgpack.encode(tree)


def fuzz(n_messages, seed):
    """Show messages to Alice and to Bob; return how many were taken.

    Every single one must be refused with a `PeerError` and leave no trace.
    """
    hostile = Hostile(seed)
    bob, alice = opened()
    channels = {stream: ask(bob, stream)[0] for stream in STREAMS}
    ends = {"alice": alice, **channels}
    before = {name: state(end) for name, end in ends.items()}
    taken = 0
    for number in range(n_messages):
        stream = STREAMS[number % 3]
        at_alice = number % 2
        table = hostile.requests if at_alice else hostile.replies
        data = hostile.draw(table, stream)
        end = alice if at_alice else channels[stream]
        try:
            end.unwrap(data)
        except PeerError:
            if number % 10 < 2:
                name = "alice" if at_alice else stream
                assert state(end) == before[name], data
            continue
        taken += 1
    assert {name: state(end) for name, end in ends.items()} == before
    assert unpack(hello_envelope()).link == LINK
    return taken


def hello_envelope():
    """A message that is in order: the fuzz must not reject everything."""
    bob, _ = opened()
    channel = bob.channel("session", [hello()])
    return channel.wrap(0, [hello()])
