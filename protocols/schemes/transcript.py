"""One party's view of the public channel, and its authentication.

Everything a side sends is hashed into one tag per block and direction. Nothing
secret depends on a message before its tag is checked: the key is only released
afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocols.authentication import wegman_carter
from protocols.messages.wire import AnyMessage, decode, encode

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


class Transcript:
    """Sent and received messages of one block.

    Parameters
    ----------
    link : str
        Names run and block; bound into the tags.
    sends, receives : str
        Direction names.
    keys : dict
        `LinkKeys` by direction.
    """

    def __init__(
        self, link: str, sends: str, receives: str, keys: dict[str, LinkKeys]
    ) -> None:
        self._link, self._sends, self._receives = link, sends, receives
        self._keys = keys
        self._sent: list[bytes] = []
        self._received: list[bytes] = []

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
        """Return the tag over everything sent so far."""
        keys = self._keys[self._sends]
        body = self._body(self._sends, self._sent)
        return wegman_carter.tag(keys.hash_key, keys.pad, body)

    def check_peer(self, tag: bytes) -> None:
        """Check the peer's tag over everything it sent before the tag.

        Raises
        ------
        ProtocolAbort
            If a single bit of the conversation was changed.
        """
        keys = self._keys[self._receives]
        body = self._body(self._receives, self._received[:-1])
        wegman_carter.check(keys.hash_key, keys.pad, body, tag)

    def _body(self, direction: str, messages: list[bytes]) -> bytes:
        framed = b"".join(len(m).to_bytes(8, "big") + m for m in messages)
        return wegman_carter.bind(self._link, direction, len(messages), framed)
