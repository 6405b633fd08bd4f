"""How long the two programs wait for each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """How patient both ends are.

    Parameters
    ----------
    handshake_s : float
        For a stranger to prove that he is the peer [s].
    notice_s : float
        Between two notices of Alice that she works [s].
    silence_s : float
        Without a sign of life, until Bob connects anew and repeats himself [s].
    lost_s : float
        Without a sign of life, until he gives up [s].
    turn_s : float
        For one turn, however lively Alice is [s].
    slowest_bytes_per_s : float
        Of a line that still counts as alive, while a message is on its way.
    """

    handshake_s: float = 5.0
    notice_s: float = 1.0
    silence_s: float = 5.0
    lost_s: float = 30.0
    turn_s: float = 1800.0
    slowest_bytes_per_s: float = 50e3

    def transit_s(self, n_bytes: int) -> float:
        """Return how long a message may be on its way [s]."""
        return n_bytes / self.slowest_bytes_per_s


class Patience:
    """What Bob knows of Alice while he waits for one reply.

    A message on its way takes the time that its size needs; it is waited for only
    while there is a connection that it can be on.

    Parameters
    ----------
    times : LinkTimes
    request_bytes : int
    up : bool
        Whether there is a connection.
    now_s : float
        Any clock that never goes back [s].
    """

    def __init__(
        self, times: LinkTimes, request_bytes: int, up: bool, now_s: float
    ) -> None:
        self._times, self._request_bytes = times, request_bytes
        self._begin_s = self._life_s = self._sent_s = now_s
        self._down_s = None if up else now_s
        self._transit_s = times.transit_s(request_bytes)

    def connected(self, up: bool, now_s: float) -> None:
        """Note whether there is a connection."""
        if up:
            self._down_s = None
        elif self._down_s is None:
            # A reply that was announced on it will not come any more.
            self._down_s = now_s
            self._transit_s = self._times.transit_s(self._request_bytes)

    def sent(self, now_s: float) -> None:
        """Note that the request was sent, perhaps again."""
        self._sent_s = now_s

    def alive(self, coming_bytes: int, now_s: float) -> None:
        """Note a sign of life, and what it announces."""
        self._life_s = self._sent_s = now_s
        self._transit_s = self._times.transit_s(self._request_bytes + coming_bytes)

    def wants_another(self, now_s: float) -> bool:
        """Whether a connection that says nothing should be replaced."""
        return now_s - self._sent_s > self._times.silence_s + self._transit_s

    def is_lost(self, now_s: float) -> bool:
        """Whether there was no sign of life, or no connection, for too long."""
        limit_s = self._times.lost_s
        down = self._down_s is not None and now_s - self._down_s > limit_s
        return down or now_s - self._life_s > limit_s + self._transit_s

    def is_over(self, now_s: float) -> bool:
        """Whether the turn takes too long, however lively she is."""
        return now_s - self._begin_s > self._times.turn_s
