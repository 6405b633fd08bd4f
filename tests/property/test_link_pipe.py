"""Over a network that loses, repeats and reorders, each turn happens exactly once."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from link_kit import frames_of, opened

from protocols.messages.channel import Notice
from scqc.core.errors import PeerError, PeerRefused, ProtocolAbort


class LossyLink(RuleBasedStateMachine):
    """Bob repeats while nothing comes; the pipe does what it likes with messages."""

    to_alice = Bundle("to_alice")
    to_bob = Bundle("to_bob")

    def __init__(self):
        super().__init__()
        self.bob, self.alice = opened()
        self.channel = self.bob.channel("key", [])
        self.answering = self.alice._current.channels["key"]
        self.asked, self.acted, self.answers, self.heard = [], [], [], []

    @rule(target=to_alice)
    def ask(self):
        if self.channel.request is None:
            number = len(self.asked)
            self.channel.wrap(number, frames_of("key", number))
            self.asked.append(number)
        return self.channel.request

    # A message stays in its bundle: it may come again at any time, in any order.
    @rule(message=to_alice)
    def reaches_alice(self, message):
        try:
            _, turn = self.alice.unwrap(message)
        except PeerError:
            return
        if not turn.repeated:
            assert turn.frames == frames_of("key", turn.block)
            self.acted.append(turn.block)

    @rule(target=to_bob, refuse=st.booleans())
    def alice_answers(self, refuse):
        if not self.answering.is_working:
            return self.answering.reply or b""
        number = self.acted[-1]
        self.answers.append("refused" if refuse else number)
        if refuse:
            return self.alice.refuse(self.answering, ProtocolAbort("no"))
        return self.alice.reply(self.answering, frames_of("key", 1000 + number))

    @rule(target=to_bob, size=st.integers(0, 9))
    def alice_is_working(self, size):
        return self.answering.notice(size)

    @rule(message=to_bob)
    def reaches_bob(self, message):
        try:
            turn = self.channel.unwrap(message)
        except PeerRefused:
            self.heard.append("refused")
            return
        except PeerError:
            return
        if not isinstance(turn, Notice):
            assert turn.frames == frames_of("key", 1000 + turn.block)
            self.heard.append(turn.block)

    @rule(message=to_bob)
    def reflected(self, message):
        before = dict(vars(self.answering))
        try:
            self.alice.unwrap(message)
        except PeerError:
            assert vars(self.answering) == before
            return
        raise AssertionError("Alice took a message of her own")

    @invariant()
    def exactly_once_and_in_order(self):
        assert self.acted == self.asked[: len(self.acted)]
        assert len(self.asked) - 1 <= len(self.acted) <= len(self.asked)
        assert self.heard == self.answers[: len(self.heard)]
        assert len(self.answers) - 1 <= len(self.heard) <= len(self.answers)


LossyLink.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None
)
TestLossyLink = LossyLink.TestCase
