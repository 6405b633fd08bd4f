"""Blocks of the photon-counting scheme without optics: slots in, clicks out.

The channel is the textbook one: every photon survives with one probability and
takes the wrong detector with another; background clicks are random. Its truth
(photon numbers, counterfactual errors) is kept beside the detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsp.time_tags import slots
from protocols.messages import wire
from protocols.schemes.pads import Pad
from protocols.schemes.photon_alice import NOTHING_TO_SEND, Outgoing, PhotonAlice
from protocols.schemes.photon_bob import PhotonBob
from protocols.schemes.photon_common import Received
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    LinkKeys,
    PublicChannel,
)
from protocols.settings import DecoySettings, PhotonSecuritySettings
from scqc.core.rng import ReplayEntropy

PULSES = DecoySettings(
    signal_photons=0.67,
    decoy_photons=0.26,
    vacuum_photons=0.0001,
    signal_share=0.23,
    decoy_share=0.53,
    z_share=0.77,
)
SECURITY = PhotonSecuritySettings(threads=1, frame_bits=60_000)


@dataclass
class Channel:
    """Per-slot channel: transmittance of either basis arm included."""

    transmittance: float = 0.1
    background: float = 1e-6
    misalignment: float = 0.015
    z_fraction: float = 0.77
    check_misalignment: float | None = None


@dataclass
class Truth:
    """What only the simulation knows, per detection."""

    photons: np.ndarray
    check_error: np.ndarray


def prepare(n_slots, pulses=PULSES, seed=1):
    """Draw the slot bytes of a block."""
    rng = np.random.default_rng(seed)
    intensity = rng.choice(
        3, n_slots, p=np.array(pulses.intensities.probabilities)
    ).astype(np.uint8)
    basis = (rng.random(n_slots) >= pulses.z_share).astype(np.uint8)
    bit = rng.integers(0, 2, n_slots).astype(np.uint8)
    return slots.pack(bit, basis, intensity)


def detect(prepared, channel=None, pulses=PULSES, seed=2):
    """Send a block through the channel; return `Received` and `Truth`."""
    channel = channel or Channel()
    rng = np.random.default_rng(seed)
    n = prepared.size
    mean = np.array(pulses.intensities.mean_photons)[slots.intensity(prepared)]
    photons = rng.poisson(mean)
    arrived = rng.binomial(photons, channel.transmittance)
    dark = rng.random(n) < channel.background
    clicked = np.flatnonzero((arrived > 0) | dark)
    bases = (rng.random(clicked.size) >= channel.z_fraction).astype(np.uint8)
    by_photon = arrived[clicked] > 0
    wrong_x = (
        channel.misalignment
        if channel.check_misalignment is None
        else channel.check_misalignment
    )
    error_rate = np.where(bases == slots.Z, channel.misalignment, wrong_x)
    matched = bases == slots.basis(prepared[clicked])
    error_rate = np.where(by_photon & matched, error_rate, 0.5)
    bits = slots.bit(prepared[clicked]) ^ (rng.random(clicked.size) < error_rate)
    counterfactual = rng.random(clicked.size) < np.where(by_photon, wrong_x, 0.5)
    received = Received(n, clicked.astype(np.int64), bases, bits.astype(np.uint8))
    return received, Truth(photons[clicked], counterfactual)


class CountingPads:
    """An endless pool that both ends share, and a record of what was spent."""

    def __init__(self, seed=9):
        self.seed, self.at, self.spent = seed, 0, []

    def bits(self, start, n):
        rng = np.random.default_rng(self.seed)
        return rng.integers(0, 2, start + n).astype(np.uint8)[start:]

    def spend(self, n_bits):
        from protocols.messages.photon import PadRange

        start, self.at = self.at, self.at + n_bits
        self.spent.append((start, n_bits))
        return Pad(self.bits(start, n_bits), [PadRange("pool", start, n_bits)], 0.0)

    def follow(self, ranges):
        (part,) = ranges
        bits = self.bits(part.start_bit, part.n_bits)
        return Pad(bits, list(ranges), 0.0)


def link_keys(seed=3):
    """Return one party's authentication keys; equal for equal seeds."""
    entropy = ReplayEntropy(seed, "link")
    return {
        direction: LinkKeys(entropy.read(16), entropy.read(16))
        for direction in (ALICE_TO_BOB, BOB_TO_ALICE)
    }


def make_parties(
    prepared, received, message=None, pulses=PULSES, security=SECURITY, pads=None
):
    """Return Alice and Bob before their first message."""
    pads = pads or CountingPads()
    settings = (pulses, security)
    outgoing = NOTHING_TO_SEND if message is None else Outgoing(message, pads)
    channel = PublicChannel("run/0", link_keys())
    alice = PhotonAlice(prepared, outgoing, settings, ReplayEntropy(4, "a"), channel)
    bob = PhotonBob(received, settings, ReplayEntropy(5, "b"), channel, pads)
    return alice, bob


def talk(alice, bob, tamper=None):
    """Let both parties talk to the end; return all messages as (sender, bytes)."""
    said, outbox = [], [("bob", m) for m in bob.start()]
    while outbox:
        sender, data = outbox.pop(0)
        if tamper is not None:
            data = tamper(sender, data)
        said.append((sender, data))
        if sender == "bob":
            outbox += [("alice", m) for m in alice.receive(data)]
        else:
            outbox += [("bob", m) for m in bob.receive(data)]
    return said


def named(said, kind):
    """Return all messages of one kind, decoded."""
    return [m for m in (wire.decode(d) for _, d in said) if isinstance(m, kind)]
