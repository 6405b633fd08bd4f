"""Both parties' light without a block: for looking at a bench, and measuring it."""

from __future__ import annotations

from protocols.messages.wire import decode, encode
from scqc.core.errors import PeerError
from scqc.runs.cv_config import CvConfig
from scqc.runs.parties.alice_light import AliceLight
from scqc.runs.parties.cv_alice import CvAliceLight
from scqc.runs.parties.cv_bob import CvBobLight
from scqc.runs.parties.light_talk import LightTalk
from scqc.runs.parties.link import LocalLink, Stream
from scqc.runs.parties.opened import OpenStation
from scqc.runs.parties.photon_alice import PhotonAliceLight
from scqc.runs.parties.photon_bob import PhotonBobLight
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.sinks import party_entropy


class LightOnly:
    """An Alice who answers about light and offers no block; an `Answerer`.

    Parameters
    ----------
    light : AliceLight
    """

    def __init__(self, light: AliceLight) -> None:
        self._light = light

    def answer(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """See `Answerer.answer`."""
        if stream != "light" or len(frames) != 1:
            raise PeerError(f"alice: nothing but light here, not {stream!r} {block}")
        return [encode(self._light.answer(decode(frames[0])))]


def cv_probes(
    config: CvConfig, opened: OpenStation, stream: str
) -> tuple[CvAliceLight, CvBobLight]:
    """Return both parties' instruments; what is sent is kept nowhere.

    Parameters
    ----------
    config : CvConfig
    opened : OpenStation
    stream : str
        Name of the randomness it is drawn from.
    """
    entropy = party_entropy(config, stream)
    alice = CvAliceLight(config, entropy, opened.half("alice"), opened.recovery)
    talk = LightTalk(LocalLink(LightOnly(alice)))
    bob = CvBobLight("", config, opened.half("bob"), opened.recovery, talk)
    return alice, bob


def photon_probes(config: PhotonConfig, opened: OpenStation) -> PhotonBobLight:
    """Return Bob's instruments, with Alice's set and answering him."""
    entropy = party_entropy(config, "alice/slots")
    alice = PhotonAliceLight(config, entropy, opened.half("alice"), opened.recovery)
    alice.prepare()
    talk = LightTalk(LocalLink(LightOnly(alice)))
    bob = PhotonBobLight("", config, opened.half("bob"), opened.recovery, talk)
    bob.prepare()
    return bob
