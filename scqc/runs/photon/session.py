"""An open photon-counting bench: bursts out, time tags in, both on disk.

Alice's record of a burst is on disk before its light is sent, and Bob's tags
before the next burst is prepared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.bench import Bench
from driver.capture import SIGNAL_SWITCH, arm_tags, play_and_read_tags
from driver.guard import Supervision
from driver.hal import (
    ArbitraryWaveformGenerator,
    AwgConfig,
    TaggerChannel,
    TaggerConfig,
)
from driver.set_points import set_up_light
from dsp.time_tags.slots import BASIS_SHIFT
from dsp.time_tags.transmitter import pulse_waveform
from protocols.schemes import direct
from scqc.core.errors import ConnectionLost, StateError
from scqc.core.records import TimeTags, Waveform
from scqc.core.rng import EntropySource
from scqc.runs.freshness import FreshRecords
from scqc.runs.journal import Journal
from scqc.runs.photon.bias import BiasLoop
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import JournaledPads
from scqc.runs.photon.prepare import BlockMessage, prepare_burst, word_id
from scqc.runs.photon.process import ALICE_NAME, BOB_NAME, CAPTURE_NAME
from scqc.runs.progress import Progress
from scqc.runs.recovery import Recovery
from scqc.runs.sinks import Sinks, party_entropy
from scqc.runs.station import station
from scqc.store.capture_format import CaptureHeader
from scqc.store.slot_record import SlotRecordWriter
from scqc.store.tag_capture import TagCaptureWriter

_AWG_CHANNELS = 2
BASIS_SIGNAL = "rx.pm"


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, and where to."""

    text: str
    config: PhotonConfig
    run_uuid: str
    folder: Path
    numbered: bool = False

    def home(self, block: int) -> Path:
        """Return the folder of a block: that of the run if there is only one."""
        if self.config.link.blocks == 1 and not self.numbered:
            return self.folder
        return self.folder / f"block-{block:03d}"


@contextmanager
def open_session(
    work: Work, journal: Journal, progress: Progress
) -> Iterator[PhotonSession]:
    """Open the bench of a run for the time of the block, ready to send.

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    SignalError
        If the interferometers cannot be brought together.
    """
    with open_bench(work, journal, progress) as session:
        session.configure()
        yield session


@contextmanager
def open_bench(
    work: Work, journal: Journal, progress: Progress
) -> Iterator[PhotonSession]:
    """Open the bench of a run for the time of the block; nothing is set yet.

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    """
    config = work.config
    progress.stage("station")
    watch = Supervision(journal=journal.path, run_uuid=work.run_uuid)
    with (
        station(config.instruments, config.wiring, config.sim) as place,
        Bench(place.instruments, place.wiring, config.safety, watch) as bench,
    ):
        journal.write("bench", json.dumps(bench.snapshot(), default=str))
        set_up_light(bench, config.instruments, config.bob.tagger.timeout_s)
        yield PhotonSession(work, bench, journal)
    journal.write("bench", "safe state")


def _generator(bench: Bench, signal: str) -> ArbitraryWaveformGenerator:
    """Return the generator that drives `signal`."""
    name, _ = bench.resolve(signal)
    found = bench.instrument(name)
    if not isinstance(found, ArbitraryWaveformGenerator):
        raise StateError(name, signal, "is no waveform generator")
    return found


class PhotonSession:
    """Alice's generator and Bob's tagger, connected and configured.

    Parameters
    ----------
    work : Work
    bench : Bench
    journal : Journal
    """

    def __init__(self, work: Work, bench: Bench, journal: Journal) -> None:
        self._work, self._bench, self._journal = work, bench, journal
        self._config = work.config
        # One stream for the run: no block repeats the slots of another.
        self._entropy: EntropySource = party_entropy(work.config, "alice/slots")
        self._bob_entropy = party_entropy(work.config, "bob/bases")
        self._bias = BiasLoop(work.config, bench)
        timeout_s = work.config.bob.tagger.timeout_s
        self._recovery = Recovery(bench, work.config.instruments, journal, timeout_s)
        self._alice = _generator(bench, "tx.im")
        self._fresh, self._bursts = FreshRecords(), 0
        active = work.config.active_basis
        self._bob = _generator(bench, BASIS_SIGNAL) if active else None

    @property
    def config(self) -> PhotonConfig:
        """The config of the run."""
        return self._config

    @property
    def bench(self) -> Bench:
        """The open bench."""
        return self._bench

    def configure(self) -> None:
        """Set rates and levels, open the shutter, bring the phase to its place."""
        self.prepare()
        # Fresh slots that are kept nowhere: they only carry the public ones.
        self._bias.acquire(self.send_probe)

    def prepare(self) -> None:
        """Set rates and levels; open the shutter."""
        config, bench = self._config, self._bench
        amplitude_vpp = config.alice.transmitter.amplitude_vpp
        rate_hz = config.link.slot_rate_hz * config.link.samples_per_slot
        levels = {n: amplitude_vpp for n in range(1, _AWG_CHANNELS + 1)}
        self._alice.configure(AwgConfig(rate_hz, levels))
        if self._bob is not None:
            levels = {n: config.bob.basis.amplitude_vpp for n in levels}
            self._bob.configure(AwgConfig(rate_hz, levels, "external"))
        bench.switch(SIGNAL_SWITCH).set_open(True)

    def capture(
        self, block: int, message: BlockMessage, sinks: Sinks, progress: Progress
    ) -> Path:
        """Take one block; return its folder.

        With direct encoding the pad is spent here, before any light.

        Raises
        ------
        ScqcError
            Typed by cause.
        """
        work, config = self._work, self._config
        home = work.home(block)
        home.mkdir(parents=True, exist_ok=True)
        word = None
        if config.security.encoding == "direct":
            message, word = self._direct_word(block, message, sinks)
        header = CaptureHeader(
            config_toml=work.text,
            run_uuid=work.run_uuid,
            layout_json=json.dumps({"block": block}),
            instruments_json=json.dumps(self._bench.snapshot(), default=str),
        )
        link = config.link
        progress.stage("capture", link.bursts)
        alice = home / ALICE_NAME
        with (
            SlotRecordWriter(
                alice, work.run_uuid, message.packed(), link.burst_slots
            ) as record,
            TagCaptureWriter(home / CAPTURE_NAME, header, link.bursts) as capture,
            self._basis_record(home) as bases_record,
        ):
            for number in range(link.bursts):
                records = [r for r in (record, bases_record) if r is not None]
                tags, bases = self._send(number, word, records)
                capture.add(number, tags)
                self._bias.update(tags, bases)
                progress.advance()
            self._journal.write("burst", f"block {block}: {link.bursts} bursts stored")
        return home

    def _send(
        self,
        number: int,
        word: NDArray[np.uint8] | None,
        records: list[SlotRecordWriter],
    ) -> tuple[TimeTags, NDArray[np.uint8] | None]:
        """Draw, record and send a burst; return Bob's tags, and his bases.

        A burst that is lost with its light is struck from the records, and fresh
        slots are sent instead. A word in the light is not sent a second time.
        """
        while True:
            prepared = prepare_burst(self._config, self._entropy, number, word)
            bases = self._draw_bases()
            kept = [prepared]
            if bases is not None:
                kept.append(bases << np.uint8(BASIS_SHIFT))
            for record, slots in zip(records, kept, strict=True):
                record.add(slots)
            try:
                return self.burst(prepared, bases), bases
            except ConnectionLost as error:
                if word is not None:
                    raise
                self._recovery.after(error, f"burst {number} is lost, a fresh one sent")
            self._bench.switch(SIGNAL_SWITCH).set_open(True)
            for record in records:
                record.drop_last()

    def _basis_record(
        self, home: Path
    ) -> AbstractContextManager[SlotRecordWriter | None]:
        """Return the file of Bob's bases; they are raw key material like his tags."""
        if self._bob is None:
            return nullcontext()
        n = self._config.link.burst_slots
        return SlotRecordWriter(home / BOB_NAME, self._work.run_uuid, b"", n)

    def _draw_bases(self) -> NDArray[np.uint8] | None:
        """Return Bob's choice for a burst; None when a beam splitter chooses."""
        if self._bob is None:
            return None
        n, share = self._config.link.burst_slots, self._config.bob.basis.z_share
        words = np.frombuffer(self._bob_entropy.read(2 * n), dtype="<u2")
        return (words >= round(share * (1 << 16))).astype(np.uint8)

    def send_probe(self) -> tuple[TimeTags, NDArray[np.uint8] | None]:
        """Send fresh slots that are kept nowhere: they only carry the public ones."""
        while True:
            bases = self._draw_bases()
            prepared = prepare_burst(self._config, self._entropy, 0, None)
            try:
                return self.burst(prepared, bases), bases
            except ConnectionLost as error:
                self._recovery.after(error, "a fresh probe is sent")
            self._bench.switch(SIGNAL_SWITCH).set_open(True)

    def burst(
        self, prepared: NDArray[np.uint8], bases: NDArray[np.uint8] | None = None
    ) -> TimeTags:
        """Send one burst and return Bob's tags.

        A connection that is lost before the burst is played is made anew. Once
        it may have been played there is no second time.

        Parameters
        ----------
        prepared : ndarray, shape (n,), uint8 [code]
        bases : ndarray, shape (n,), uint8 [0 for Z, 1 for X], optional
            What Bob's modulator is set to.
        """
        while True:
            try:
                self._get_ready(prepared, bases)
                break
            except ConnectionLost as error:
                self._recovery.after(error, "nothing was played, the burst is loaded")
                self._bench.switch(SIGNAL_SWITCH).set_open(True)
        timeout_s = self._config.bob.tagger.timeout_s
        tags = play_and_read_tags(self._bench, timeout_s, self._alice)
        self._recovery.require_light()
        self._bursts += 1
        self._fresh.check(f"burst {self._bursts}", tags.times_ps)
        return tags

    def _get_ready(
        self, prepared: NDArray[np.uint8], bases: NDArray[np.uint8] | None
    ) -> None:
        """Load both generators and arm all but Alice's."""
        config, use = self._config, self._config.bob.tagger
        if self._bob is not None and bases is not None:
            self._load_bases(self._bob, bases)
        self._load(pulse_waveform(prepared, config.link, config.pulses))
        delays = zip(config.tag_inputs(), use.delays_ps, strict=False)
        inputs = TaggerConfig(
            {n: TaggerChannel(use.threshold_v, delay_ps=ps) for n, ps in delays}
        )
        duration_s = prepared.size / config.link.slot_rate_hz + use.margin_s
        arm_tags(self._bench, inputs, duration_s)
        if self._bob is not None:
            # Armed: the marker of Alice's first samples is its trigger.
            self._bob.start()

    def _load_bases(
        self, generator: ArbitraryWaveformGenerator, bases: NDArray[np.uint8]
    ) -> None:
        """Upload what Bob's modulator does: nothing for Z, a quarter turn for X."""
        config, basis = self._config, self._config.bob.basis
        _, port = self._bench.resolve(BASIS_SIGNAL)
        quarter_v = 0.5 * basis.phase_vpi_v / basis.phase_gain
        per_slot = config.link.samples_per_slot
        samples = np.zeros((_AWG_CHANNELS, bases.size * per_slot), dtype=np.float32)
        row = samples[int(port) - 1].reshape(-1, per_slot)
        row[:, per_slot // 2 :] = (np.float32(quarter_v) * bases)[:, None]
        rate_hz = config.link.slot_rate_hz * per_slot
        generator.upload(Waveform(samples, rate_hz))

    def _load(self, waveform: Waveform) -> None:
        """Upload at once, or as segments that are played without a gap."""
        _, intensity_port = self._bench.resolve("tx.im")
        samples = waveform.samples if intensity_port == "1" else waveform.samples[::-1]
        n_segments = self._config.alice.transmitter.segments
        if n_segments == 1:
            self._alice.upload(
                Waveform(np.ascontiguousarray(samples), waveform.rate_hz)
            )
            return
        parts = np.split(samples, n_segments, axis=1)
        self._alice.upload_segments(
            [Waveform(np.ascontiguousarray(p), waveform.rate_hz) for p in parts]
        )

    def _direct_word(
        self, block: int, message: BlockMessage, sinks: Sinks
    ) -> tuple[BlockMessage, NDArray[np.uint8]]:
        """Spend the pad and return the word that goes into the light."""
        config, bits = self._config, message.bits
        ranges, epsilon = [], 0.0
        if bits.size:
            pads = JournaledPads(config, sinks[0], self._journal, "alice")
            pad = pads.spend(bits.size)
            bits, ranges, epsilon = bits ^ pad.bits, pad.ranges, pad.epsilon
        entropy = party_entropy(config, f"alice/word/{block}")
        word = direct.encode(
            bits,
            config.security.direct_frames,
            word_id(self._work.run_uuid, block),
            entropy,
        )
        return BlockMessage(message.payload, ranges, epsilon), word
