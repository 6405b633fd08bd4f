"""ZeroMQ sockets of a link: CURVE on every one, limits on everything.

ZeroMQ's own heartbeats are not used: they cannot overtake a message on its way,
so that a large one over a slow line would look like death. The kernel watches the
connections instead (keepalive while idle, a limit on unacknowledged data else),
and Alice tells Bob that she works.
"""

from __future__ import annotations

import hmac

import zmq
from zmq.utils import z85

from protocols.messages.envelope import LARGEST_BYTES
from scqc.core.errors import PeerError
from scqc.runs.parties.curve import LinkKeyFile
from scqc.runs.parties.patience import LinkTimes

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]
_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_DOMAIN = b"scqc-link"
#: Messages that wait per connection; each stream has one request open at a time.
_HIGH_WATER = 8
_BACKLOG = 16


def asking_socket(
    context: Context, keys: LinkKeyFile, times: LinkTimes, address: str
) -> Socket:
    """Return Bob's socket of one stream, not yet connected to `address`."""
    link = context.socket(zmq.DEALER)
    _set(link, keys, times, address)
    link.setsockopt(zmq.CURVE_SERVERKEY, keys.peer_public)
    # A request waits for the connection, not in a queue where it would grow old.
    link.setsockopt(zmq.IMMEDIATE, 1)
    link.setsockopt(zmq.RECONNECT_IVL, 100)
    link.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    return link


def answering_socket(
    context: Context, keys: LinkKeyFile, times: LinkTimes, address: str
) -> Socket:
    """Return Alice's socket, bound; a `Doorkeeper` must stand there before.

    Raises
    ------
    PeerError
        If the address cannot be bound.
    """
    link = context.socket(zmq.ROUTER)
    _set(link, keys, times, address)
    link.setsockopt(zmq.CURVE_SERVER, 1)
    link.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
    # Without a doorkeeper nobody comes in.
    link.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    link.setsockopt(zmq.BACKLOG, _BACKLOG)
    try:
        link.bind(address)
    except zmq.ZMQError as error:
        link.close(linger=0)
        raise PeerError(f"link: cannot listen on {address}: {error}") from error
    return link


def _set(link: Socket, keys: LinkKeyFile, times: LinkTimes, address: str) -> None:
    link.setsockopt(zmq.IPV6, int("[" in address))
    link.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    link.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    link.setsockopt(zmq.LINGER, 0)
    link.setsockopt(zmq.RCVHWM, _HIGH_WATER)
    link.setsockopt(zmq.SNDHWM, _HIGH_WATER)
    link.setsockopt(zmq.MAXMSGSIZE, LARGEST_BYTES)
    link.setsockopt(zmq.HANDSHAKE_IVL, round(1e3 * times.handshake_s))
    link.setsockopt(zmq.TCP_KEEPALIVE, 1)
    link.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 5)
    link.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 2)
    link.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    link.setsockopt(zmq.TCP_MAXRT, round(500.0 * times.lost_s))


class Doorkeeper:
    """Lets exactly the peer in: a ZAP handler with one key on its list.

    Parameters
    ----------
    context : zmq.Context
    keys : LinkKeyFile
    """

    def __init__(self, context: Context, keys: LinkKeyFile) -> None:
        self._allowed = z85.decode(keys.peer_public)
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ZAP_ADDRESS)
        #: Who was turned away [1].
        self.refused = 0

    def answer(self) -> None:
        """Answer one question of the library."""
        version, number, *_, mechanism, credentials = self.socket.recv_multipart()
        known = mechanism == b"CURVE" and hmac.compare_digest(
            credentials, self._allowed
        )
        self.refused += not known
        verdict = [b"200", b"OK"] if known else [b"400", b"not the peer"]
        self.socket.send_multipart([version, number, *verdict, b"", b""])
