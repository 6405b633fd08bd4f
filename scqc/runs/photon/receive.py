"""Bob's receiver over the bursts of a block."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags import slots
from dsp.time_tags.diagnostics import Afterpulsing, afterpulsing
from dsp.time_tags.pipeline import ReceivedTags, receive_tags
from dsp.time_tags.settings import TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.sync import sync_pattern
from protocols.schemes import direct
from protocols.schemes.photon_common import Received
from scqc.core.errors import LockError, SignalError, SyncError
from scqc.core.records import TimeTags
from scqc.core.rng import random_bits
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.prepare import word_id
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.sinks import party_entropy
from scqc.store.tag_capture import TagCapture

# Inputs that no tagger has, for the detectors that an active choice does without.
_NOWHERE = (254, 255)
# Lags looked at for afterpulses: half of it is near, half is the level.
_AFTERPULSE_PS = 4_000_000


@dataclass(frozen=True, slots=True)
class ReceivedBlock:
    """A block at Bob.

    Parameters
    ----------
    received : Received
        What he brings to the protocol.
    bursts : list of ReceivedTags or None
        Per burst; None where no light was found.
    problems : list of str
        Why those bursts are missing.
    afterpulsing : list of Afterpulsing
        Of each detector, from the first burst with light.
    """

    received: Received = field(repr=False)
    bursts: list[ReceivedTags | None] = field(repr=False)
    problems: list[str]
    afterpulsing: list[Afterpulsing]

    @property
    def locked(self) -> list[ReceivedTags]:
        """Bursts with a clock and a frame."""
        return [burst for burst in self.bursts if burst is not None]


def receiver_settings(config: PhotonConfig) -> TagSettings:
    """Return the receiver's settings with the inputs of the wiring."""
    inputs = (*config.tag_inputs(), *_NOWHERE)[:4]
    return config.bob.receiver.model_copy(update={"inputs": inputs})


def receive_block(
    opened: TagCapture,
    config: PhotonConfig,
    what: tuple[int, list[NDArray[np.uint8]] | None],
    progress: Progress,
    timing: Timing,
) -> ReceivedBlock:
    """Receive all bursts of a block.

    With ``bob.tagger.skip_dark_bursts`` a burst without a lock is left out as a
    whole: which bursts those are hangs on the light alone, not on any bit.

    Raises
    ------
    SignalError
        If a burst is bad, or no burst has light.
    """
    block, bases = what
    link = config.link
    entropy = party_entropy(config, f"bob/double clicks/{block}")
    settings = receiver_settings(config)
    bursts: list[ReceivedTags | None] = []
    problems: list[str] = []
    prior: SlotClock | None = None
    afterpulses: list[Afterpulsing] = []
    # A salvaged capture ends with its last whole burst.
    whole = opened.complete_bursts()
    n_bursts = next((n for n, k in enumerate(whole) if n != k), len(whole))
    progress.stage("receiver", n_bursts)
    with timing.stage("receiver"):
        for number in range(n_bursts):
            tags = opened.burst(number)
            bits = random_bits(entropy, tags.times_ps.size // 2 + 8)
            try:
                burst = receive_tags(
                    tags,
                    link,
                    settings,
                    bits,
                    link.burst_slots,
                    prior,
                    None if bases is None else bases[number],
                )
            except (LockError, SyncError) as error:
                if not config.bob.tagger.skip_dark_bursts:
                    raise
                problems.append(f"burst {number}: {error}")
                bursts.append(None)
                continue
            bursts.append(burst)
            prior = burst.clock
            if not afterpulses:
                afterpulses = _afterpulses(tags, config)
            progress.advance()
    if all(burst is None for burst in bursts):
        why = problems[0] if problems else "none was finished"
        raise SignalError(f"{opened.path}: no burst has light; {why}")
    received = _join(bursts, config, (opened.header.run_uuid, block))
    return ReceivedBlock(received, bursts, problems, afterpulses)


def _afterpulses(tags: TimeTags, config: PhotonConfig) -> list[Afterpulsing]:
    """Return the afterpulses of every detector that has clicks to tell by.

    Bins of whole slots: the pulses' own comb is flat in them.
    """
    slot_ps = max(1, round(1e12 / config.link.slot_rate_hz))
    window_ps = 4 * slot_ps * max(1, round(_AFTERPULSE_PS / (4 * slot_ps)))
    found = []
    for number in config.tag_inputs():
        times_ps = np.sort(tags.times_ps[tags.channels == number], kind="stable")
        if times_ps.size > 1:
            found.append(afterpulsing(times_ps, window_ps, slot_ps))
    return found


def _join(
    bursts: list[ReceivedTags | None], config: PhotonConfig, name: tuple[str, int]
) -> Received:
    """Count slots through the block, and take the public ones out."""
    link = config.link
    public = slots.is_sync(sync_pattern(link).table(link.frame_slots))
    places, bases, bits = [], [], []
    for number, burst in enumerate(bursts):
        if burst is None:
            continue
        found = burst.detections
        fresh = ~public[found.slots % link.frame_slots]
        places.append(number * link.burst_slots + found.slots[fresh])
        bases.append(found.bases[fresh])
        bits.append(found.bits[fresh])
    fringes = [burst.report.fringes[slots.Z] for burst in bursts if burst is not None]
    sample = sum(f.errors for f in fringes), sum(f.counts for f in fringes)
    received = Received(
        len(bursts) * link.burst_slots,
        np.concatenate(places),
        np.concatenate(bases),
        np.concatenate(bits),
        public_key_sample=sample,
    )
    if config.security.encoding != "direct":
        return received
    return replace(received, word=_direct_word(received, config, name))


def _direct_word(
    received: Received, config: PhotonConfig, name: tuple[str, int]
) -> direct.SoftWord:
    """Decode the word of a direct encoding, before anything is announced."""
    errors, counts = received.public_key_sample
    in_z = received.bases == slots.Z
    return direct.decode(
        received.places[in_z],
        received.bits[in_z],
        config.security.direct_frames,
        word_id(*name),
        (errors / counts if counts else 0.25, config.decoy.z_share),
    )
