"""An open photon-counting bench: bursts out, time tags in, both on disk.

Alice's record of a burst is on disk before its light is sent, and Bob's tags
before the next burst is prepared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.bench import Bench
from driver.capture import SIGNAL_SWITCH, acquire_tags
from driver.hal import AwgConfig, TaggerChannel, TaggerConfig
from dsp.time_tags.transmitter import pulse_waveform
from protocols.schemes import direct
from scqc.core.records import TimeTags, Waveform
from scqc.core.rng import EntropySource
from scqc.runs.journal import Journal
from scqc.runs.photon.bias import BiasLoop
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import pads_of
from scqc.runs.photon.prepare import BlockMessage, prepare_burst, word_id
from scqc.runs.photon.process import ALICE_NAME, CAPTURE_NAME
from scqc.runs.progress import Progress
from scqc.runs.sinks import Sinks, party_entropy
from scqc.runs.station import station
from scqc.store.capture_format import CaptureHeader
from scqc.store.slot_record import SlotRecordWriter
from scqc.store.tag_capture import TagCaptureWriter

_AWG_CHANNELS = 2


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, and where to."""

    text: str
    config: PhotonConfig
    run_uuid: str
    folder: Path

    def home(self, block: int) -> Path:
        """Return the folder of a block."""
        if self.config.link.blocks == 1:
            return self.folder
        return self.folder / f"block-{block:03d}"


@contextmanager
def open_session(
    work: Work, journal: Journal, progress: Progress
) -> Iterator[PhotonSession]:
    """Open the bench of a run for the time of the block.

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    """
    config = work.config
    progress.stage("station")
    with (
        station(config.instruments, config.wiring, config.sim) as place,
        Bench(place.instruments, place.wiring, config.safety) as bench,
    ):
        journal.write("bench", json.dumps(bench.snapshot(), default=str))
        session = PhotonSession(work, bench, journal)
        session.configure()
        yield session
    journal.write("bench", "safe state")


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
        self._bias = BiasLoop(work.config, bench)

    def configure(self) -> None:
        """Set rates, levels and thresholds; open the shutter."""
        config, bench = self._config, self._bench
        amplitude_vpp = config.alice.transmitter.amplitude_vpp
        rate_hz = config.link.slot_rate_hz * config.link.samples_per_slot
        levels = {n: amplitude_vpp for n in range(1, _AWG_CHANNELS + 1)}
        bench.awg.configure(AwgConfig(rate_hz, levels))
        bench.switch(SIGNAL_SWITCH).set_open(True)
        # Fresh slots that are kept nowhere: they only carry the public ones.
        self._bias.acquire(
            lambda: self.burst(prepare_burst(config, self._entropy, 0, None))
        )

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
        ):
            for number in range(link.bursts):
                prepared = prepare_burst(config, self._entropy, number, word)
                record.add(prepared)
                tags = self.burst(prepared)
                capture.add(number, tags)
                self._bias.update(tags)
                progress.advance()
            self._journal.write("burst", f"block {block}: {link.bursts} bursts stored")
        return home

    def burst(self, prepared: NDArray[np.uint8]) -> TimeTags:
        """Send one burst and return Bob's tags."""
        config = self._config
        self._load(pulse_waveform(prepared, config.link, config.pulses))
        use = config.bob.tagger
        channel = TaggerChannel(threshold_v=use.threshold_v)
        inputs = TaggerConfig({n: channel for n in config.tag_inputs()})
        duration_s = prepared.size / config.link.slot_rate_hz + use.margin_s
        return acquire_tags(self._bench, inputs, duration_s, use.timeout_s)

    def _load(self, waveform: Waveform) -> None:
        """Upload at once, or as segments that are played without a gap."""
        _, intensity_port = self._bench.resolve("tx.im")
        samples = waveform.samples if intensity_port == "1" else waveform.samples[::-1]
        n_segments = self._config.alice.transmitter.segments
        if n_segments == 1:
            self._bench.awg.upload(
                Waveform(np.ascontiguousarray(samples), waveform.rate_hz)
            )
            return
        parts = np.split(samples, n_segments, axis=1)
        self._bench.awg.upload_segments(
            [Waveform(np.ascontiguousarray(p), waveform.rate_hz) for p in parts]
        )

    def _direct_word(
        self, block: int, message: BlockMessage, sinks: Sinks
    ) -> tuple[BlockMessage, NDArray[np.uint8]]:
        """Spend the pad and return the word that goes into the light."""
        config, bits = self._config, message.bits
        ranges = []
        if bits.size:
            pad = pads_of(config, sinks[0]).spend(bits.size)
            bits, ranges = bits ^ pad.bits, pad.ranges
            self._journal.write("pad", f"block {block}: {bits.size} bits spent")
        entropy = party_entropy(config, f"alice/word/{block}")
        word = direct.encode(
            bits,
            config.security.direct_frames,
            word_id(self._work.run_uuid, block),
            entropy,
        )
        return BlockMessage(message.payload, ranges), word
