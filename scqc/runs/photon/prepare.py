"""Alice's side of a block: fresh slots, the message, what she keeps of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.time_tags import sync
from protocols.messages.photon import PadRange
from protocols.schemes import direct
from protocols.security.decoy_asymptotic import PhotonChannel
from protocols.settings import DecoySettings
from scqc.core.errors import CaptureError, PayloadError
from scqc.core.rng import EntropySource
from scqc.runs.photon.config import PhotonConfig

_PIECE = 1 << 20
# Share of the sifted detections that carries information, when nothing is known.
_CODE_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class BlockMessage:
    """What a block is to carry; its repr prints no bits.

    Parameters
    ----------
    payload : bytes
        Empty: key only.
    pads : list of PadRange
        Spent already, with direct encoding.
    pad_epsilon : float
        Security parameter of the keys they came from [1].
    """

    payload: bytes = field(repr=False)
    pads: list[PadRange] = field(default_factory=list)
    pad_epsilon: float = 0.0

    @property
    def bits(self) -> NDArray[np.uint8]:
        """The payload, shape (8 n,), uint8 [bit]."""
        return np.unpackbits(np.frombuffer(self.payload, dtype=np.uint8))

    def packed(self) -> bytes:
        """Return what Alice's record keeps of it."""
        pads = [[p.identifier, p.start_bit, p.n_bits] for p in self.pads]
        head = {"pads": pads, "pad_epsilon": self.pad_epsilon}
        return json.dumps(head).encode() + b"\n" + self.payload

    @staticmethod
    def unpacked(data: bytes) -> BlockMessage:
        """Read what `packed` wrote.

        Raises
        ------
        CaptureError
            If it is something else.
        """
        head, newline, payload = data.partition(b"\n")
        try:
            said = json.loads(head)
            pads = [
                PadRange(str(name), int(start), int(n))
                for name, start, n in said["pads"]
            ]
            epsilon = float(said["pad_epsilon"])
        except (ValueError, KeyError, TypeError) as error:
            raise CaptureError(f"Alice's record: message header: {error}") from error
        if not newline:
            raise CaptureError("Alice's record: message header without end")
        return BlockMessage(payload, pads, epsilon)


def word_id(run_uuid: str, block: int) -> bytes:
    """Return the four bytes that stamp a direct word of a block."""
    return hashlib.sha256(f"{run_uuid}/{block}".encode()).digest()[:4]


def draw_slots(
    entropy: EntropySource, pulses: DecoySettings, n: int
) -> NDArray[np.uint8]:
    """Draw fresh slots: bit, basis and intensity of each independent.

    Parameters
    ----------
    entropy : EntropySource
    pulses : DecoySettings
    n : int

    Returns
    -------
    ndarray, shape (n,), uint8 [code]
    """
    out = np.empty(n, dtype=np.uint8)
    z, signal, bright = pulses.thresholds()
    for start in range(0, n, _PIECE):
        part = out[start : start + _PIECE]
        words = np.frombuffer(entropy.read(4 * part.size), dtype="<u4")
        _fill_slots(words, z, signal, bright, part)
    return out


@numba.njit(cache=True, nogil=True)
def _fill_slots(
    words: NDArray[np.uint32], z: int, signal: int, bright: int, out: NDArray[np.uint8]
) -> None:
    """Turn 32 random bits into a slot: 16 for the intensity, 15 basis, 1 bit."""
    for k in range(out.size):
        word = np.int64(words[k])
        high, basis_word = word >> 16, (word >> 1) & 0x7FFF
        intensity = 0 if high < signal else (1 if high < bright else 2)
        basis = 0 if basis_word < z else 1
        out[k] = np.uint8((word & 1) | (basis << 1) | (intensity << 2))


def prepare_burst(
    config: PhotonConfig,
    entropy: EntropySource,
    number: int,
    word: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    """Return the slots of burst `number` of a block as they are to be sent.

    Parameters
    ----------
    config : PhotonConfig
    entropy : EntropySource
    number : int
    word : ndarray, shape (n_coded,), uint8 [bit], or None
        With direct encoding.

    Returns
    -------
    ndarray, shape (burst_slots,), uint8 [code]
    """
    link = config.link
    prepared = sync.place(draw_slots(entropy, config.decoy, link.burst_slots), link)
    if word is not None:
        direct.place(prepared, number * link.burst_slots, word)
    return prepared


def expected_detections(config: PhotonConfig) -> float:
    """Return the sifted key-basis detections a block should give at best [1].

    On a simulated bench from its settings, else from a lossless channel: then it
    only tells what can never fit.
    """
    decoy, link = config.decoy, config.link
    eta, background, z_fraction = 1.0, 0.0, 1.0
    if config.sim is not None:
        optics, detectors = config.sim.interferometer, config.sim.detectors
        eta = config.sim.channel.mean_transmittance
        eta *= 10.0 ** (-0.1 * optics.insertion_loss_db)
        # Half of the light falls beside the gate.
        eta *= 0.5 * float(np.mean(detectors.efficiency))
        z_fraction = optics.z_fraction
        if config.active_basis:
            z_fraction = config.bob.basis.z_share
    channel = PhotonChannel(eta, background, 0.0)
    shares = decoy.intensities.probabilities
    gain = sum(
        share * channel.gain(mean)
        for share, mean in zip(shares, decoy.intensities.mean_photons, strict=True)
    )
    slots = link.block_slots * (1.0 - 1.0 / link.sync_every)
    return slots * decoy.z_share * z_fraction * gain


def check_payload(config: PhotonConfig, payload: bytes) -> None:
    """Refuse a payload that a block cannot carry, before anything is spent.

    Raises
    ------
    PayloadError
        If it is empty or too long, or the scheme has none.
    """
    if not config.carries_payload:
        if payload:
            raise PayloadError(
                f"payload: {len(payload)} bytes, but scheme {config.link.scheme!r} "
                "makes a key only; leave it out, or take dv-qsdc"
            )
        return
    if not payload:
        raise PayloadError("payload: empty; scheme dv-decoy-bb84 makes a key only")
    if config.security.encoding == "direct":
        room = direct.capacity_bits(config.security.direct_frames) // 8
    else:
        room = int(_CODE_SHARE * expected_detections(config) / 8)
    if len(payload) > room:
        raise PayloadError(
            f"payload: {len(payload)} bytes, a block of this bench carries about {room}"
        )
