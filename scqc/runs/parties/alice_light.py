"""Alice's side of the light: she loads and plays what Bob asks for, each once.

She never takes Bob's word for what was played. Once she was told to play a burst,
its light may have left; the same quantum states a second time would give an
eavesdropper two copies, so a burst that is asked for again is drawn anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from driver.capture import LIGHT, LO_SWITCH, SIGNAL_SWITCH
from protocols.messages.light import (
    Budget,
    Done,
    EndBurst,
    LightMessage,
    LoadBurst,
    Loaded,
    LoadProbe,
    Lost,
    Play,
    SetShutters,
)
from protocols.messages.wire import AnyMessage
from scqc.core.errors import ConnectionLost, PeerError
from scqc.runs.parties.half import Half
from scqc.runs.recovery import Recovery

_NONE = -1
_SENTENCE = 900


class AliceLight(ABC):
    """Answers the messages of `protocols.messages.light` that move light.

    Parameters
    ----------
    half : Half
        Alice's.
    recovery : Recovery
    """

    def __init__(self, half: Half, recovery: Recovery) -> None:
        self.half, self._recovery = half, recovery
        #: Burst of the block that was drawn last; they begin at 0.
        self._number = _NONE
        #: Whether the light of that burst may have left.
        self._seen = False
        #: Whether the generator holds what it has not played, and is it a burst.
        self._ready = self._is_burst = False
        self._resting = False

    def prepare(self) -> None:
        """Set what stands still during a run; by default nothing is to be done."""
        return

    def begin(self) -> None:
        """Expect the bursts of a new block; what is loaded is not played any more."""
        self._number, self._seen, self._ready = _NONE, False, False

    def answer(self, message: AnyMessage) -> LightMessage:
        """Do what Bob asks for.

        A connection that is lost is made anew; Bob is told, and asks again.

        Raises
        ------
        PeerError
            If it is not his turn to ask for that.
        InstrumentError
            Whatever an instrument reports.
        """
        try:
            return self._act(message)
        except ConnectionLost as error:
            self._ready = False
            self._recovery.after(error, "Bob is told, and asks again")
            self.ready()
            return Lost(str(error)[:_SENTENCE])

    def rest(self) -> None:
        """Close the shutters: nobody asks for light.

        Raises
        ------
        InstrumentError
            Whatever an instrument reports.
        """
        if not self._resting:
            self._resting = True
            self.half.set_shutters({SIGNAL_SWITCH: False, LO_SWITCH: False})

    def _act(self, message: AnyMessage) -> LightMessage:
        if self._resting:
            self._resting = False
            self.ready()
        match message:
            case LoadProbe():
                # Fresh every time: its symbols are kept nowhere.
                self._ready = self._is_burst = False
                duration_s = self.load_probe()
            case LoadBurst(number, budget):
                self._ready, self._is_burst = False, True
                duration_s = self._load(number, budget)
            case SetShutters(kind):
                signal_open, lo_open = LIGHT[kind]
                self.half.set_shutters({SIGNAL_SWITCH: signal_open, LO_SWITCH: lo_open})
                return Done()
            case Play():
                self._play()
                return Done()
            case EndBurst():
                self.end()
                self._recovery.require_light()
                return Done()
            case _:
                raise PeerError(f"alice: {type(message).__name__} is none of Bob's")
        self._ready = True
        return Loaded(duration_s)

    def _load(self, number: int, budget: Budget | None) -> float:
        if number not in (self._number, self._number + 1):
            raise PeerError(
                f"alice: burst {number} asked for, burst {self._number + 1} is next"
            )
        if number != self._number:
            self.draw(number, again=False)
        elif self._seen:
            self.draw(number, again=True)
        # Not before it is on record: what fails until then leaves nothing unseen.
        self._number, self._seen = number, False
        return self.upload(number, budget)

    def _play(self) -> None:
        if not self._ready:
            raise PeerError("alice: nothing is loaded that was not played before")
        # From here on its light may be anywhere, whatever the generator says. A
        # probe says nothing about the burst before it.
        self._ready = False
        self._seen = self._seen or self._is_burst
        self.start()

    @abstractmethod
    def take(self, block: Any) -> None:
        """Expect Bob to ask for the bursts of this block, as the scheme prepared it.

        None if there is no block any more.
        """

    @abstractmethod
    def load_probe(self) -> float:
        """Load a burst that is kept nowhere; return how long it lasts [s]."""

    @abstractmethod
    def draw(self, number: int, *, again: bool) -> None:
        """Put a burst on record, before any light.

        With `again` it takes the place of the last one, whose states may have been
        seen.
        """

    @abstractmethod
    def upload(self, number: int, budget: Budget | None) -> float:
        """Load the burst as it is on record; return how long it lasts [s]."""

    @abstractmethod
    def start(self) -> None:
        """Start the generator."""

    def end(self) -> None:
        """Leave a burst behind; by default nothing is to be done."""
        return

    def ready(self) -> None:
        """Bring what was opened anew back; by default nothing is to be done."""
        return
