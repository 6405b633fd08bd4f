"""A live run: station, probe, bursts, capture; then the same processing as offline.

The order is the one of a careful lab: everything that can be checked without
light is checked first, the light is on only while a record is taken, and every
acknowledged sample is on disk before the next burst is prepared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.bench import Bench
from driver.capture import RecordKind, record
from driver.guard import Supervision
from driver.hal import AwgConfig, DigitizerConfig
from driver.set_points import set_up_light
from dsp.pipeline import BurstRecords, ReceivedBurst, receive_burst
from scqc.core.errors import ConnectionLost
from scqc.core.provenance import new_run_uuid
from scqc.core.records import Trace, Waveform
from scqc.core.rng import EntropySource, random_bits
from scqc.runs.cv_config import CvConfig
from scqc.runs.freshness import FreshRecords
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.offline import ALICE_NAME, process_capture
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing
from scqc.runs.recovery import Recovery
from scqc.runs.result import Result
from scqc.runs.sinks import party_entropy
from scqc.runs.station import station
from scqc.runs.transmit import (
    LinkBudget,
    PreparedPayload,
    Transmitter,
    burst_symbols,
    driven_launch,
    expected_budget,
    frame_layout,
    prepare_payload,
)
from scqc.store.alice_record import (
    AliceBurst,
    replace_alice_burst,
    write_alice_record,
)
from scqc.store.capture_format import CaptureHeader
from scqc.store.capture_writer import CaptureWriter

CAPTURE_NAME = "capture.h5"
KINDS: tuple[RecordKind, ...] = ("signal", "shot", "electronic")


def run_live(
    loaded: LoadedConfig, payload: bytes, folder: Path, progress: Progress
) -> Result:
    """Capture and process a run.

    Parameters
    ----------
    loaded : LoadedConfig
    payload : bytes
        May be empty.
    folder : Path
        Run folder, created.
    progress : Progress

    Returns
    -------
    Result

    Raises
    ------
    ScqcError
        Typed by cause; the bench is in its safe state in every case.
    """
    if isinstance(loaded.config, PhotonConfig):
        from scqc.runs.photon.live import run_photon

        return run_photon(loaded, loaded.config, payload, folder, progress)
    timing = Timing()
    with timing.stage("capture"):
        capture = capture_live(loaded, payload, folder, progress)
    record = folder / ALICE_NAME
    return process_capture(capture, folder, progress, alice=record, timing=timing)


def capture_live(
    loaded: LoadedConfig, payload: bytes, folder: Path, progress: Progress
) -> Path:
    """Take the capture of a run and stop there.

    Returns
    -------
    Path
        The finished capture.
    """
    if isinstance(loaded.config, PhotonConfig):
        from scqc.runs.photon.live import capture_photon

        return capture_photon(loaded, loaded.config, payload, folder, progress)
    entropy = party_entropy(loaded.config, "alice")
    # What cannot be sent is refused before an instrument is touched.
    prepared = prepare_block(loaded, loaded.config, payload, folder, entropy)
    with (
        Journal(folder, prepared.run_uuid) as journal,
        open_cv_session(loaded.config, entropy, journal, progress) as session,
    ):
        return session.capture(prepared, progress)


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """What is to be sent once, and where its capture goes.

    Parameters
    ----------
    text : str
        The config, as it is stored with the capture.
    run_uuid : str
    folder : Path
    bursts : list of AliceBurst
        On disk already.
    """

    text: str
    run_uuid: str
    folder: Path
    bursts: list[AliceBurst]


def prepare_block(
    loaded: LoadedConfig,
    config: CvConfig,
    payload: bytes,
    folder: Path,
    entropy: EntropySource,
) -> PreparedBlock:
    """Draw what Alice sends in one block, and store it before any light.

    Parameters
    ----------
    loaded : LoadedConfig
    config : CvConfig
        The same, checked to be of this scheme.
    payload : bytes
        May be empty.
    folder : Path
        Made if it is not there.
    entropy : EntropySource
        Alice's; one for all blocks of a run.

    Raises
    ------
    PayloadError
        If the payload does not fit.
    """
    run_uuid = new_run_uuid()
    prepared = prepare_payload(config, payload, run_uuid, entropy)
    folder.mkdir(parents=True, exist_ok=True)
    bursts = _prepare_bursts(config, prepared, Transmitter(config, entropy))
    # A run that is cut short keeps what its bursts need.
    write_alice_record(folder / ALICE_NAME, run_uuid, bursts)
    (folder / "payload.json").write_text(
        json.dumps({"sha256": prepared.sha256.hex(), "bytes": prepared.n_bytes})
    )
    Journal(folder, run_uuid).write(
        "run", f"{loaded.path.name}, payload {len(payload)} bytes"
    )
    return PreparedBlock(loaded.text, run_uuid, folder, bursts)


def _prepare_bursts(
    config: CvConfig, prepared: PreparedPayload, transmitter: Transmitter
) -> list[AliceBurst]:
    """Draw the Gaussian symbols of every burst; each is to be played once."""
    n = burst_symbols(config)
    return [AliceBurst(transmitter.gaussian(n), c.ravel()) for c in prepared.coded]


@contextmanager
def open_cv_session(
    config: CvConfig, entropy: EntropySource, journal: Journal, progress: Progress
) -> Iterator[CvSession]:
    """Open the bench of a run for the time of the block, its light set up.

    Raises
    ------
    InstrumentError
        If an instrument does not answer or is not the expected one.
    """
    progress.stage("station")
    watch = Supervision(journal=journal.path, run_uuid=journal.run_uuid)
    with (
        station(config.instruments, config.wiring, config.sim) as place,
        Bench(
            place.instruments, place.wiring, config.safety, watch, driven_launch(config)
        ) as bench,
    ):
        journal.write("bench", json.dumps(bench.snapshot(), default=str))
        timeout_s = config.bob.digitizer.timeout_s
        set_up_light(bench, config.instruments, timeout_s)
        recovery = Recovery(bench, config.instruments, journal, timeout_s)
        transmitter = Transmitter(config, entropy)
        yield CvSession(config, bench, transmitter, entropy, recovery)
    journal.write("bench", "safe state")


@dataclass(slots=True)
class CvSession:
    """An open bench with Alice's transmitter on it."""

    config: CvConfig
    bench: Bench
    transmitter: Transmitter
    entropy: EntropySource
    recovery: Recovery
    fresh: FreshRecords = field(default_factory=FreshRecords)
    #: Sent so far, probes included [1].
    bursts: int = 0

    def capture(self, block: PreparedBlock, progress: Progress) -> Path:
        """Send a block and store what arrives; return the finished capture."""
        journal = Journal(block.folder, block.run_uuid)
        progress.stage("probe")
        budget = self.probe()
        journal.write("probe", json.dumps(asdict(budget)))
        header = CaptureHeader(
            config_toml=block.text,
            run_uuid=block.run_uuid,
            layout_json=frame_layout(self.config).model_dump_json(),
            instruments_json=json.dumps(self.bench.snapshot(), default=str),
        )
        path, count = block.folder / CAPTURE_NAME, len(block.bursts)
        progress.stage("capture", len(KINDS) * count)
        with CaptureWriter(path, header, count) as writer:
            for number in range(count):
                for kind, trace in self.send(block, number, budget):
                    writer.add_trace(number, kind, trace)
                    progress.advance()
                journal.write("burst", f"{number + 1} of {count} stored")
        return path

    def send(
        self, work: PreparedBlock, number: int, budget: LinkBudget
    ) -> list[tuple[RecordKind, Trace]]:
        """Send a burst and return its records.

        If a connection is lost, its symbols are given up and fresh ones sent in
        their place: whether any light had left by then cannot be known.
        """
        while True:
            burst = work.bursts[number]
            waveform = self.transmitter.waveform(
                burst.symbols, burst.bits, budget, self.bench.awg.granularity
            )
            try:
                return self.burst(waveform)
            except ConnectionLost as error:
                self.recovery.after(error, f"burst {number} is lost, a fresh one sent")
            fresh = self.transmitter.gaussian(burst.symbols.size)
            work.bursts[number] = AliceBurst(fresh, burst.bits)
            # Before any light, like all the others.
            record_path = work.folder / ALICE_NAME
            replace_alice_burst(record_path, number, work.bursts[number])

    def probe(self) -> LinkBudget:
        """Measure the link with a short burst of its own, never used for a key."""
        while True:
            try:
                return self._probe()
            except ConnectionLost as error:
                self.recovery.after(error, "a fresh probe is sent")

    def _probe(self) -> LinkBudget:
        traces = dict(self.send_probe())
        layout = frame_layout(self.config, self.config.alice.transmitter.probe_symbols)
        received = receive_burst(records_of(traces), layout, self.config.bob.receiver)
        return _budget(received)

    def send_probe(self) -> list[tuple[RecordKind, Trace]]:
        """Send a short burst of fresh symbols that are kept nowhere."""
        config = self.config
        guess = expected_budget(config)
        n = config.alice.transmitter.probe_symbols
        symbols = self.transmitter.gaussian(n)
        per_symbol = 0 if config.classical.psk == "none" else 2
        if config.classical.psk == "bpsk":
            per_symbol = 1
        bits = random_bits(self.entropy, per_symbol * n)
        waveform = self.transmitter.waveform(
            symbols, bits, guess, self.bench.awg.granularity
        )
        return self.burst(waveform)

    def burst(self, waveform: Waveform) -> list[tuple[RecordKind, Trace]]:
        """Play one waveform; take signal, shot and electronic noise."""
        config, timeout_s = self.load(waveform), self.config.bob.digitizer.timeout_s
        taken = [(kind, record(self.bench, kind, config, timeout_s)) for kind in KINDS]
        self.recovery.require_light()
        self.bursts += 1
        for kind, trace in taken:
            self.fresh.check(f"{kind} of burst {self.bursts}", trace.codes[0])
        return taken

    def look(self, waveform: Waveform) -> Trace:
        """Play one waveform; take the signal alone."""
        timeout_s = self.config.bob.digitizer.timeout_s
        return record(self.bench, "signal", self.load(waveform), timeout_s)

    def load(self, waveform: Waveform) -> DigitizerConfig:
        """Load one waveform; return what its records are taken with."""
        use = self.config.bob.digitizer
        peak_v = float(np.max(np.abs(waveform.samples)))
        awg = self.bench.awg
        amplitude = max(2.02 * peak_v, awg.amplitude_range_vpp[0])
        _, i_port = self.bench.resolve("tx.i")
        _, q_port = self.bench.resolve("tx.q")
        awg.configure(
            AwgConfig(
                waveform.rate_hz, {int(i_port): amplitude, int(q_port): amplitude}
            )
        )
        awg.upload(waveform)
        duration_s = waveform.samples.shape[1] / waveform.rate_hz
        n_samples = math.ceil((duration_s + use.margin_s) * use.rate_hz)
        _, rx_port = self.bench.resolve("rx.rf")
        # Inputs of a box that has outputs too are called in1 and in2.
        channel = int(rx_port.removeprefix("in"))
        return DigitizerConfig(use.rate_hz, n_samples, {channel: use.range_v})


def records_of(traces: dict[RecordKind, Trace]) -> BurstRecords:
    """Return what the receiver reads of three records in memory."""

    def one(kind: RecordKind) -> list[NDArray[np.int16]]:
        return [traces[kind].codes[0]]

    return BurstRecords(
        traces["signal"].rate_hz,
        lambda: one("signal"),
        lambda: one("shot"),
        lambda: one("electronic"),
        sum(sum(t.clipped) for t in traces.values()),
    )


def _budget(received: ReceivedBurst) -> LinkBudget:
    """Return the live link budget: preamble for the gain, calibration for noise."""
    gain = (received.preamble_gain / received.unit.scale) ** 2
    return LinkBudget(gain, 1.0 + received.unit.electronic_snu)
