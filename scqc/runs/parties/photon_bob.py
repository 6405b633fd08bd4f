"""Bob of the photon-counting scheme: his tagger, his bases, his receiver."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.capture import arm_tags, play_and_read_tags
from driver.hal import (
    ArbitraryWaveformGenerator,
    AwgConfig,
    TaggerChannel,
    TaggerConfig,
)
from dsp.time_tags import slots
from dsp.time_tags.slots import BASIS_SHIFT
from protocols.key_sink.sink import KeySink
from protocols.messages.light import (
    BlockTaken,
    Done,
    EndBurst,
    LoadBurst,
    Loaded,
    LoadProbe,
    Play,
)
from protocols.messages.photon import CheckBits
from protocols.schemes.photon_bob import PhotonBob
from protocols.schemes.transcript import LinkKeys, Opening, PublicChannel, link_name
from scqc.core.errors import CaptureError, ConnectionLost
from scqc.core.records import TimeTags, Waveform
from scqc.runs.freshness import FreshRecords
from scqc.runs.journal import Journal
from scqc.runs.parties.block import BOB_NAME, CAPTURE_NAME, BlockName
from scqc.runs.parties.half import Half
from scqc.runs.parties.light_talk import BurstLost, LightTalk
from scqc.runs.parties.photon_alice import AWG_CHANNELS, generator_of
from scqc.runs.photon.bias import BiasLoop
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import JournaledPads
from scqc.runs.photon.receive import ReceivedBlock, receive_block
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.recovery import Recovery
from scqc.runs.sinks import party_entropy
from scqc.store.capture_format import CaptureHeader
from scqc.store.slot_record import SlotRecordWriter, read_slot_record
from scqc.store.tag_capture import TagCapture, TagCaptureWriter

BASIS_SIGNAL = "rx.pm"


@dataclass(frozen=True, slots=True)
class PhotonReceived:
    """A block at Bob.

    Parameters
    ----------
    name : BlockName
    block : ReceivedBlock
    """

    name: BlockName
    block: ReceivedBlock = field(repr=False)

    @property
    def n_bursts(self) -> int:
        """Bursts that were received [1]."""
        return len(self.block.bursts)


class PhotonBobEnd:
    """Bob of one run, whatever became of his instruments.

    Parameters
    ----------
    config : PhotonConfig
    sink : KeySink
        His.
    journal : Journal
    session : int
        How often these sinks were used by programs before [1].
    link : bytes
        Number of the link between two programs; empty within one.
    """

    #: The message of a transcript that tells the public order of the key bits.
    seed_message = CheckBits

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

    def receive(
        self, opened: TagCapture, progress: Progress, timing: Timing
    ) -> PhotonReceived:
        """Find the slots of a stored capture's tags."""
        number = int(json.loads(opened.header.layout_json)["block"])
        run_uuid = opened.header.run_uuid
        bases = None
        if self.config.active_basis:
            bases = _bases(opened.path.parent / BOB_NAME, run_uuid)
        block = receive_block(opened, self.config, (number, bases), progress, timing)
        return PhotonReceived(BlockName(run_uuid, number), block)

    def party(
        self,
        received: PhotonReceived,
        keys: dict[str, LinkKeys],
        opening: Opening,
        permutation_seed: bytes | None = None,
    ) -> PhotonBob:
        """Return Bob of the protocol.

        Parameters
        ----------
        received : PhotonReceived
        keys : dict
            Authentication keys by direction.
        opening : Opening
            What was said about the block before.
        permutation_seed : bytes, 32 bytes, optional
            Of an earlier processing of the same capture.
        """
        config, name = self.config, received.name
        link = link_name(self._link, name.run_uuid, name.number)
        return PhotonBob(
            received.block.received,
            (config.decoy, config.security),
            party_entropy(config, f"bob/{name.number}", self._session),
            PublicChannel(link, keys, opening),
            JournaledPads(config, self._sink, self._journal, "bob"),
            permutation_seed,
        )


def _bases(path: Path, run_uuid: str) -> list[NDArray[np.uint8]]:
    """Return what Bob's modulator was set to, burst by burst."""
    if not path.exists():
        raise CaptureError(f"{path}: what Bob's modulator was set to is missing")
    record = read_slot_record(path)
    if record.run_uuid != run_uuid:
        raise CaptureError(
            f"{path}: of run {record.run_uuid}, the capture is of run {run_uuid}"
        )
    return [slots.basis(burst) for burst in record.bursts]


class PhotonBobLight:
    """Bob's tagger, phase and bases; he leads, Alice plays what he asks for.

    Parameters
    ----------
    text : str
        The config, as it is stored with the captures.
    config : PhotonConfig
    half : Half
    recovery : Recovery
    talk : LightTalk
    session : int
        How often these sinks were used by programs before [1].
    """

    def __init__(
        self,
        text: str,
        config: PhotonConfig,
        half: Half,
        recovery: Recovery,
        talk: LightTalk,
        session: int = 0,
    ) -> None:
        self._text, self._config, self._half = text, config, half
        self._recovery, self._talk = recovery, talk
        self._entropy = party_entropy(config, "bob/bases", session)
        self._bias = BiasLoop(config, half.bench)
        self._fresh, self._bursts = FreshRecords(), 0
        self._generator: ArbitraryWaveformGenerator | None = None
        if config.active_basis:
            self._generator = generator_of(half.bench, BASIS_SIGNAL)

    def prepare(self) -> None:
        """Set his own generator, if he has one."""
        if self._generator is None:
            return
        config = self._config
        rate_hz = config.link.slot_rate_hz * config.link.samples_per_slot
        levels = {n: config.bob.basis.amplitude_vpp for n in range(1, AWG_CHANNELS + 1)}
        self._generator.configure(AwgConfig(rate_hz, levels, "external"))

    def acquire(self) -> None:
        """Bring the interferometers together; Alice's light must be ready.

        Raises
        ------
        SignalError
            If they cannot be.
        """
        self._bias.acquire(self.send_probe)

    def capture(
        self, name: BlockName, n_bursts: int, folder: Path, progress: Progress
    ) -> Path:
        """Take a block and store it; return the finished capture.

        Raises
        ------
        SignalError
            If the record is bad: tags lost, a rate above the limit.
        InstrumentError
            Whatever an instrument reports.
        PeerError
            If Alice breaks the rules.
        """
        folder.mkdir(parents=True, exist_ok=True)
        header = CaptureHeader(
            config_toml=self._text,
            run_uuid=name.run_uuid,
            layout_json=json.dumps({"block": name.number}),
            instruments_json=json.dumps(self._half.bench.snapshot(), default=str),
        )
        progress.stage("capture", n_bursts)
        path = folder / CAPTURE_NAME
        with (
            TagCaptureWriter(path, header, n_bursts) as capture,
            self._basis_record(name, folder) as record,
        ):
            for number in range(n_bursts):
                tags, bases = self._burst(LoadBurst(number), record)
                capture.add(number, tags)
                self._bias.update(tags, bases)
                progress.advance()
        self._talk.ask(BlockTaken(n_bursts), Done)
        journal = Journal(folder, name.run_uuid)
        journal.write("burst", f"block {name.number}: {n_bursts} bursts stored")
        return path

    def send_probe(self) -> tuple[TimeTags, NDArray[np.uint8] | None]:
        """Take the tags, and his bases, of a burst that carries nothing."""
        return self._burst(LoadProbe(), None)

    def _burst(
        self, load: LoadBurst | LoadProbe, record: SlotRecordWriter | None
    ) -> tuple[TimeTags, NDArray[np.uint8] | None]:
        """Return his tags, and his bases, of one burst.

        A burst that is lost with its light is struck from his record, and Alice
        sends fresh slots instead. A word in the light is not sent a second time.
        """
        word = self._config.security.encoding == "direct"
        once = word and isinstance(load, LoadBurst)
        while True:
            bases = self._draw_bases()
            if record is not None and bases is not None:
                record.add(bases << np.uint8(BASIS_SHIFT))
            try:
                tags = self._tags(load, bases)
                self._recovery.require_light()
                self._talk.ask(EndBurst(), Done)
            except BurstLost:
                # She counts how often.
                pass
            except ConnectionLost as error:
                if once:
                    raise
                self._recovery.after(error, "the burst is lost, a fresh one is asked")
            else:
                self._bursts += 1
                self._fresh.check(f"burst {self._bursts}", tags.times_ps)
                return tags, bases
            if record is not None and bases is not None:
                record.drop_last()

    def _tags(
        self, load: LoadBurst | LoadProbe, bases: NDArray[np.uint8] | None
    ) -> TimeTags:
        """Load both generators, arm all but Alice's, let her play, read."""
        config, use = self._config, self._config.bob.tagger
        if self._generator is not None and bases is not None:
            self._load_bases(self._generator, bases)
        self._talk.ask(load, Loaded)
        delays = zip(config.tag_inputs(), use.delays_ps, strict=False)
        inputs = TaggerConfig(
            {n: TaggerChannel(use.threshold_v, delay_ps=ps) for n, ps in delays}
        )
        burst_s = config.link.burst_slots / config.link.slot_rate_hz
        arm_tags(self._half.bench, inputs, burst_s + use.margin_s)
        if self._generator is not None:
            # Armed: the marker of Alice's first samples is its trigger.
            self._generator.start()
        return play_and_read_tags(
            self._half.bench, use.timeout_s, lambda: self._talk.ask(Play(), Done)
        )

    def _basis_record(
        self, name: BlockName, folder: Path
    ) -> AbstractContextManager[SlotRecordWriter | None]:
        """Return the file of Bob's bases; they are raw key material like his tags."""
        if self._generator is None:
            return nullcontext()
        n = self._config.link.burst_slots
        return SlotRecordWriter(folder / BOB_NAME, name.run_uuid, b"", n)

    def _draw_bases(self) -> NDArray[np.uint8] | None:
        """Return Bob's choice for a burst; None when a beam splitter chooses."""
        if self._generator is None:
            return None
        n, share = self._config.link.burst_slots, self._config.bob.basis.z_share
        words = np.frombuffer(self._entropy.read(2 * n), dtype="<u2")
        return (words >= round(share * (1 << 16))).astype(np.uint8)

    def _load_bases(
        self, generator: ArbitraryWaveformGenerator, bases: NDArray[np.uint8]
    ) -> None:
        """Upload what his modulator does: nothing for Z, a quarter turn for X."""
        config, basis = self._config, self._config.bob.basis
        _, port = self._half.bench.resolve(BASIS_SIGNAL)
        quarter_v = 0.5 * basis.phase_vpi_v / basis.phase_gain
        per_slot = config.link.samples_per_slot
        samples = np.zeros((AWG_CHANNELS, bases.size * per_slot), dtype=np.float32)
        row = samples[int(port) - 1].reshape(-1, per_slot)
        row[:, per_slot // 2 :] = (np.float32(quarter_v) * bases)[:, None]
        rate_hz = config.link.slot_rate_hz * per_slot
        generator.upload(Waveform(samples, rate_hz))
