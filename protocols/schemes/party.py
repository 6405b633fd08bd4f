"""What both parties of a scheme share: one state machine, one transcript, one key.

A party is sans-I/O: bytes in, bytes out. It knows which messages may come next;
anything else ends the exchange. The key leaves only after the peer's transcript
was authenticated, and after that nothing is accepted any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from protocols.messages import wire
from protocols.messages.base import Message
from protocols.schemes.transcript import PublicChannel, Transcript
from scqc.core.errors import PeerError


class Party(ABC):
    """Base of Alice and Bob.

    Parameters
    ----------
    name : str
        For messages.
    channel : PublicChannel
    directions : tuple of str
        Direction this party sends in, and the one it receives from.
    first : type
        The message that opens the exchange for this party.
    """

    def __init__(
        self,
        name: str,
        channel: PublicChannel,
        directions: tuple[str, str],
        first: type[Message],
    ) -> None:
        self._name = name
        self._transcript = Transcript(channel, *directions)
        self._expected: tuple[type[Message], ...] = (first,)
        #: Security parameter of the key; 0 until there is one [1].
        self.epsilon = 0.0
        self.authenticated = False
        self._broken_off = False
        self._key = b""
        self._secret_bits = 0

    @property
    def finished(self) -> bool:
        """Whether the exchange has come to its end."""
        return self.authenticated

    def key(self) -> tuple[bytes, int]:
        """Return the packed key and its length [bit].

        Raises
        ------
        PeerError
            Before the peer's transcript was authenticated.
        """
        if not self.authenticated:
            raise PeerError(
                f"{self._name}: no key before the transcript is authenticated"
            )
        return self._key, self._secret_bits

    def receive(self, data: bytes) -> list[bytes]:
        """Take one message of the peer; return the answers.

        Raises
        ------
        PeerError
            If the message is malformed or not one that is expected now, or one
            before it was refused.
        ProtocolAbort
            If a security check fails.
        """
        if self._broken_off:
            raise PeerError(f"{self._name}: this exchange was broken off before")
        # Nobody gets a second try at a check that failed.
        self._broken_off = True
        message = self._transcript.receive(data)
        if not isinstance(message, self._expected):
            names = " or ".join(kind.__name__ for kind in self._expected) or "nothing"
            raise PeerError(
                f"{self._name}: got {type(message).__name__}, expected {names}"
            )
        if isinstance(message, wire.TranscriptTag):
            self._transcript.check_peer(message.tag)
            self.authenticated = True
            self._expected = ()
        answers = [self._transcript.send(part) for part in self._answers(message)]
        self._broken_off = False
        return answers

    @property
    def forgery_probability(self) -> float:
        """Bound on the chance that either tag of this exchange is forged [1]."""
        return self._transcript.forgery_probability

    def _tag(self) -> wire.TranscriptTag:
        """Return the tag over everything sent so far; one per exchange."""
        return wire.TranscriptTag(self._transcript.own_tag())

    @abstractmethod
    def _answers(self, message: Message) -> Iterable[wire.AnyMessage]:
        """Act on an expected message; give what to send, each sent before the next."""
