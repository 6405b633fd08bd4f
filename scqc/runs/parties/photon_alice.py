"""Alice of the photon-counting scheme: her slots, her message, her generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.bench import Bench
from driver.capture import SIGNAL_SWITCH
from driver.hal import ArbitraryWaveformGenerator, AwgConfig
from dsp.time_tags.transmitter import pulse_waveform
from protocols.key_sink.schedule import plan_block
from protocols.key_sink.sink import KeySink
from protocols.messages.light import Budget
from protocols.schemes import direct
from protocols.schemes.pads import Pad
from protocols.schemes.photon_alice import Outgoing, PhotonAlice
from protocols.schemes.transcript import LinkKeys, Opening, PublicChannel, link_name
from scqc.core.errors import CaptureError, PeerError, StateError
from scqc.core.records import Waveform
from scqc.core.rng import EntropySource
from scqc.runs.journal import Journal
from scqc.runs.parties.alice_light import AliceLight
from scqc.runs.parties.block import ALICE_NAME, BlockName
from scqc.runs.parties.half import Half
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import JournaledPads, sink_level
from scqc.runs.photon.prepare import BlockMessage, prepare_burst, word_id
from scqc.runs.recovery import Recovery
from scqc.runs.sinks import party_entropy
from scqc.store.slot_record import SlotRecordWriter, read_slot_record

AWG_CHANNELS = 2


@dataclass(slots=True)
class PreparedBlock:
    """A block before its light; its slots are drawn burst by burst.

    Parameters
    ----------
    record : SlotRecordWriter
        Open.
    word : ndarray, shape (n,), uint8 [bit], or None
        With direct encoding.
    """

    record: SlotRecordWriter
    word: NDArray[np.uint8] | None

    def close(self) -> None:
        """Close the record: no more bursts are added to it."""
        self.record.close()


class PhotonAliceEnd:
    """Alice of one run, whatever became of her instruments.

    Parameters
    ----------
    config : PhotonConfig
    sink : KeySink
        Hers.
    journal : Journal
    session : int
        How often these sinks were used by programs before [1].
    link : bytes
        Number of the link between two programs; empty within one.
    """

    def __init__(
        self,
        config: PhotonConfig,
        sink: KeySink,
        journal: Journal,
        session: int = 0,
        link: bytes = b"",
    ) -> None:
        self.config, self._sink, self._journal = config, sink, journal
        self._session, self._link = session, link
        # One stream for the run: no block repeats the slots of another.
        self.entropy = party_entropy(config, "alice/slots", session)

    @property
    def n_bursts(self) -> int:
        """Bursts of a block [1]."""
        return self.config.link.bursts

    def prepare(self, name: BlockName, payload: bytes, folder: Path) -> PreparedBlock:
        """Open the record of a block; with direct encoding the pad is spent here.

        Raises
        ------
        KeySinkError
            If the sink cannot pad the payload.
        """
        folder.mkdir(parents=True, exist_ok=True)
        message, word = BlockMessage(payload), None
        if self.config.security.encoding == "direct":
            message, word = self._direct_word(name, message)
        n = self.config.link.burst_slots
        record = SlotRecordWriter(
            folder / ALICE_NAME, name.run_uuid, message.packed(), n
        )
        return PreparedBlock(record, word)

    def light(self, half: Half, recovery: Recovery) -> PhotonAliceLight:
        """Return what answers Bob about the light."""
        return PhotonAliceLight(self.config, self.entropy, half, recovery)

    def party(
        self,
        name: BlockName,
        record: Path,
        n_bursts: int,
        keys: dict[str, LinkKeys],
        opening: Opening,
    ) -> PhotonAlice:
        """Return Alice of the protocol for the first `n_bursts` bursts of a block.

        Parameters
        ----------
        name : BlockName
        record : Path
            Her record, or the folder it is in.
        n_bursts : int
        keys : dict
            Authentication keys by direction.
        opening : Opening
            What was said about the block before.

        Raises
        ------
        CaptureError
            If the record is missing, of another run, or shorter.
        KeySinkError
            If the sink cannot pad what it carries.
        """
        path = record / ALICE_NAME if record.is_dir() else record
        config = self.config
        prepared, message = read_block(path, name.run_uuid, n_bursts)
        for part in message.pads:
            # A sink that does not know what a direct word has spent learns it here.
            self._sink.burn_upto(part.identifier, part.start_bit + part.n_bits)
        if message.payload and config.security.encoding == "masked":
            # Refused before anything is said: a claimed block has no second try.
            plan_block(sink_level(config, self._sink), 8 * len(message.payload), 1)
        link = link_name(self._link, name.run_uuid, name.number)
        return PhotonAlice(
            prepared,
            self._outgoing(message),
            (config.decoy, config.security),
            party_entropy(config, f"alice/words/{name.number}", self._session),
            PublicChannel(link, keys, opening),
        )

    def _outgoing(self, message: BlockMessage) -> Outgoing:
        """Return the message and where its pad comes from, or came from."""
        pads = JournaledPads(self.config, self._sink, self._journal, "alice")
        if self.config.security.encoding == "direct" and message.pads:
            # Spent before the light was sent; the bits themselves are in the light.
            nothing = np.zeros(0, dtype=np.uint8)
            spent = Pad(nothing, message.pads, message.pad_epsilon)
            return Outgoing(message.bits, pads, spent)
        return Outgoing(message.bits, pads)

    def _direct_word(
        self, name: BlockName, message: BlockMessage
    ) -> tuple[BlockMessage, NDArray[np.uint8]]:
        """Spend the pad and return the word that goes into the light."""
        config, bits = self.config, message.bits
        ranges, epsilon = [], 0.0
        if bits.size:
            pads = JournaledPads(config, self._sink, self._journal, "alice")
            pad = pads.spend(bits.size)
            bits, ranges, epsilon = bits ^ pad.bits, pad.ranges, pad.epsilon
        word = direct.encode(
            bits,
            config.security.direct_frames,
            word_id(name.run_uuid, name.number),
            party_entropy(config, f"alice/word/{name.number}", self._session),
        )
        return BlockMessage(message.payload, ranges, epsilon), word


def read_block(
    path: Path, run_uuid: str, n_bursts: int
) -> tuple[NDArray[np.uint8], BlockMessage]:
    """Return what Alice prepared for the first `n_bursts` bursts, and the message.

    Returns
    -------
    prepared : ndarray, shape (n_slots,), uint8 [code]
    message : BlockMessage

    Raises
    ------
    CaptureError
        If the record is missing, of another run, or shorter.
    """
    if not path.exists():
        raise CaptureError(
            f"{path}: Alice's record is missing; without it Bob has nobody to talk to"
        )
    record = read_slot_record(path)
    if record.run_uuid != run_uuid:
        raise CaptureError(
            f"{path}: of run {record.run_uuid}, the capture is of run {run_uuid}"
        )
    if len(record.bursts) < n_bursts:
        raise CaptureError(
            f"{path}: {len(record.bursts)} bursts, the capture has {n_bursts}"
        )
    prepared = np.concatenate(record.bursts[:n_bursts])
    return prepared, BlockMessage.unpacked(record.message)


def generator_of(bench: Bench, signal: str) -> ArbitraryWaveformGenerator:
    """Return the generator that drives `signal`.

    Raises
    ------
    StateError
        If something else is wired there.
    """
    name, _ = bench.resolve(signal)
    found = bench.instrument(name)
    if not isinstance(found, ArbitraryWaveformGenerator):
        raise StateError(name, signal, "is no waveform generator")
    return found


class PhotonAliceLight(AliceLight):
    """Alice's generator, intensity and phase modulator.

    Parameters
    ----------
    config : PhotonConfig
    entropy : EntropySource
        For the slots.
    half : Half
    recovery : Recovery
    """

    def __init__(
        self,
        config: PhotonConfig,
        entropy: EntropySource,
        half: Half,
        recovery: Recovery,
    ) -> None:
        super().__init__(half, recovery)
        self._config, self._entropy = config, entropy
        self._awg = generator_of(half.bench, "tx.im")
        self._block: PreparedBlock | None = None
        self._prepared = np.zeros(0, dtype=np.uint8)

    def prepare(self) -> None:
        """Set rate and levels; open the shutter."""
        config = self._config
        rate_hz = config.link.slot_rate_hz * config.link.samples_per_slot
        amplitude_vpp = config.alice.transmitter.amplitude_vpp
        levels = {n: amplitude_vpp for n in range(1, AWG_CHANNELS + 1)}
        self._awg.configure(AwgConfig(rate_hz, levels))
        self.ready()

    def ready(self) -> None:
        """Open the shutter."""
        self.half.set_shutters({SIGNAL_SWITCH: True})

    def take(self, block: PreparedBlock | None) -> None:
        """Expect Bob to ask for this block's bursts."""
        self.begin()
        self._block = block

    def load_probe(self) -> float:
        """Load fresh slots that are kept nowhere: they only carry the public ones."""
        return self._upload(prepare_burst(self._config, self._entropy, 0, None))

    def draw(self, number: int, *, again: bool) -> None:
        """Draw and record a burst; one that may have been seen is struck."""
        block = self._block
        if block is None or not 0 <= number < self._config.link.bursts:
            raise PeerError(f"alice: there is no burst {number} to be sent")
        if again:
            if block.word is not None:
                raise PeerError(
                    "alice: a word in the light is not sent a second time; the block "
                    "is lost, and the pad of its message is spent"
                )
            block.record.drop_last()
        prepared = prepare_burst(self._config, self._entropy, number, block.word)
        block.record.add(prepared)
        self._prepared = prepared

    def upload(self, number: int, budget: Budget | None) -> float:
        """Load the burst; it has no displacement that a budget would tell of."""
        return self._upload(self._prepared)

    def _upload(self, prepared: NDArray[np.uint8]) -> float:
        """Upload at once, or as segments that are played without a gap."""
        config = self._config
        waveform = pulse_waveform(prepared, config.link, config.pulses)
        _, intensity_port = self.half.bench.resolve("tx.im")
        samples = waveform.samples if intensity_port == "1" else waveform.samples[::-1]
        n_segments = config.alice.transmitter.segments
        if n_segments == 1:
            self._awg.upload(Waveform(np.ascontiguousarray(samples), waveform.rate_hz))
        else:
            parts = np.split(samples, n_segments, axis=1)
            self._awg.upload_segments(
                [Waveform(np.ascontiguousarray(p), waveform.rate_hz) for p in parts]
            )
        return prepared.size / config.link.slot_rate_hz

    def start(self) -> None:
        """Start the generator."""
        self._awg.start()

    def end(self) -> None:
        """Stop the generator."""
        self._awg.stop()
