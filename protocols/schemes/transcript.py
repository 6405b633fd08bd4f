"""One party's view of the public channel, and its authentication.

Each side hashes everything it has sent *and everything it has received* into one
tag per block and direction. The peer's tag thus proves both that its messages
arrived unchanged and that ours did: without the second half, a party could
release a key that rests on what the peer made of forged messages. The key is
only released after the peer's tag is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.authentication import wegman_carter
from protocols.messages.wire import AnyMessage, decode, encode
from scqc.core.errors import ProtocolAbort

BOB_TO_ALICE = "bob-to-alice"
ALICE_TO_BOB = "alice-to-bob"


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """Authentication key of one direction for one block; never printed.

    Parameters
    ----------
    hash_key : bytes, 16 bytes
    pad : bytes, 16 bytes
        One-time, already burnt in the key sink.
    """

    hash_key: bytes = field(repr=False)
    pad: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """What one side sent and received about a block before its parties speak.

    While the light of a block is taken, both ends tell each other which burst is
    played and measured. The tags of the block cover that as well: nobody can have
    made one end store a burst that the other end gave up.

    Parameters
    ----------
    sent, received : tuple of bytes
        Frames, in order; what the one end sent is what the other received.
    """

    sent: tuple[bytes, ...] = ()
    received: tuple[bytes, ...] = ()

    def then(self, sent: bytes, received: bytes) -> Opening:
        """Return it with one more frame each way."""
        return Opening((*self.sent, sent), (*self.received, received))


#: A block whose parties speak first.
NOTHING_SAID = Opening()


def link_name(link: bytes, run_uuid: str, block: int) -> str:
    """Return the name of a block that its tags are bound to.

    Parameters
    ----------
    link : bytes
        Number of the link, the same at both ends; empty within one program.
    run_uuid : str
    block : int
    """
    place = f"{run_uuid}/{block}"
    return f"{link.hex()}/{place}" if link else place


@dataclass(frozen=True, slots=True)
class PublicChannel:
    """What one party has of the channel on which it speaks about one block.

    Parameters
    ----------
    link : str
        Names link, run and block; bound into the tags.
    keys : dict
        `LinkKeys` by direction.
    opening : Opening
        What was said about the block before the parties speak; the tags cover it,
        too.
    """

    link: str
    keys: dict[str, LinkKeys] = field(repr=False)
    opening: Opening = field(default=NOTHING_SAID, repr=False)


class Transcript:
    """Sent and received messages of one block.

    Parameters
    ----------
    channel : PublicChannel
    sends, receives : str
        Direction names.
    """

    def __init__(self, channel: PublicChannel, sends: str, receives: str) -> None:
        self._link, self._keys = channel.link, channel.keys
        self._sends, self._receives = sends, receives
        self._sent: list[bytes] = list(channel.opening.sent)
        self._received: list[bytes] = list(channel.opening.received)
        self._tagged = False

    def send(self, message: AnyMessage) -> bytes:
        """Note a message that goes out; return its bytes."""
        data = encode(message)
        self._sent.append(data)
        return data

    def receive(self, data: bytes) -> AnyMessage:
        """Note a message that came in; return it unpacked."""
        message = decode(data)
        self._received.append(data)
        return message

    def own_tag(self) -> bytes:
        """Return the tag over everything sent and received so far.

        Raises
        ------
        ProtocolAbort
            On a second call: its pad is one-time.
        """
        if self._tagged:
            raise ProtocolAbort(
                f"authentication: the pad of {self._sends} is spent; a second tag "
                "under it would tell the hash key"
            )
        self._tagged = True
        keys = self._keys[self._sends]
        body = self._body(self._sends, self._sent, self._received)
        return wegman_carter.tag(keys.hash_key, keys.pad, body)

    @property
    def forgery_probability(self) -> float:
        """Bound on the chance that either tag of this exchange is forged [1]."""
        n_bytes = sum(map(len, [*self._sent, *self._received]))
        return wegman_carter.forgery_probability(n_bytes, n_tags=2)

    def check_peer(self, tag: bytes) -> None:
        """Check the peer's tag over everything it sent and received before it.

        Raises
        ------
        ProtocolAbort
            If a single bit of the conversation was changed.
        """
        keys = self._keys[self._receives]
        body = self._body(self._receives, self._received[:-1], self._sent)
        wegman_carter.check(keys.hash_key, keys.pad, body, tag)

    def _body(self, direction: str, sent: list[bytes], seen: list[bytes]) -> bytes:
        """Join both lists as the sender of the tag holds them."""
        framed = b"".join(
            len(part).to_bytes(8, "big")
            + b"".join(len(m).to_bytes(8, "big") + m for m in part)
            for part in (sent, seen)
        )
        return wegman_carter.bind(self._link, direction, len(sent), framed)
