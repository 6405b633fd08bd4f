"""Bob of the CV scheme: what he records, receives, and brings to the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.capture import (
    LIGHT,
    LO_SWITCH,
    SIGNAL_SWITCH,
    RecordKind,
    acquire,
    triggered,
)
from driver.hal import DigitizerConfig
from dsp.pipeline import BurstRecords, ReceivedBurst, receive_burst
from dsp.settings import FrameLayout
from protocols.messages.light import (
    BlockTaken,
    Budget,
    Done,
    EndBurst,
    LoadBurst,
    Loaded,
    LoadProbe,
    Play,
    SetShutters,
)
from protocols.messages.wire import SampleRequest
from protocols.schemes.cv_bob import CvBob
from protocols.schemes.cv_common import frame_codec
from protocols.schemes.cv_reception import Cancellation, Reception
from protocols.schemes.transcript import LinkKeys, Opening, PublicChannel, link_name
from scqc.core.errors import CaptureError, ConnectionLost, PeerError
from scqc.core.records import Trace
from scqc.runs.cv_config import CvConfig
from scqc.runs.freshness import FreshRecords
from scqc.runs.journal import Journal
from scqc.runs.lab_config import parse_config
from scqc.runs.parties.block import CAPTURE_NAME, BlockName
from scqc.runs.parties.half import Half
from scqc.runs.parties.light_talk import BurstLost, LightTalk
from scqc.runs.progress import Progress
from scqc.runs.receive import Timing, receive_all
from scqc.runs.recovery import Recovery
from scqc.runs.sinks import party_entropy
from scqc.runs.transmit import LinkBudget, frame_layout, run_id
from scqc.store.capture_format import CaptureHeader
from scqc.store.capture_writer import CaptureWriter
from scqc.store.sealed_reader import Capture, open_capture

KINDS: tuple[RecordKind, ...] = ("signal", "shot", "electronic")
# Nobody plays longer than this; a record would not fit the memory.
_LONGEST_S = 100.0


@dataclass(frozen=True, slots=True)
class CvReceived:
    """A block at Bob: its bursts, demodulated.

    Parameters
    ----------
    name : BlockName
    bursts : list of ReceivedBurst
    layout : FrameLayout
    """

    name: BlockName
    bursts: list[ReceivedBurst] = field(repr=False)
    layout: FrameLayout

    @property
    def n_bursts(self) -> int:
        """Bursts that were received [1]."""
        return len(self.bursts)


class CvBobEnd:
    """Bob of one run, whatever became of his instruments.

    Parameters
    ----------
    config : CvConfig
    session : int
        How often these sinks were used by programs before [1].
    link : bytes
        Number of the link between two programs; empty within one.
    """

    #: The message of a transcript that tells the public permutation.
    seed_message = SampleRequest

    def __init__(self, config: CvConfig, session: int = 0, link: bytes = b"") -> None:
        self.config, self._session, self._link = config, session, link
        self._blocks = 0

    def receive(
        self, opened: Capture, progress: Progress, timing: Timing
    ) -> CvReceived:
        """Demodulate a stored capture."""
        layout = FrameLayout.model_validate_json(opened.header.layout_json)
        with timing.stage("receiver"):
            bursts = receive_all(opened, self.config, layout, progress, timing)
        return CvReceived(BlockName(opened.header.run_uuid), bursts, layout)

    def party(
        self,
        received: CvReceived,
        keys: dict[str, LinkKeys],
        opening: Opening,
        permutation_seed: bytes | None = None,
    ) -> CvBob:
        """Return Bob of the protocol.

        Parameters
        ----------
        received : CvReceived
        keys : dict
            Authentication keys by direction.
        opening : Opening
            What was said about the block before.
        permutation_seed : bytes, 32 bytes, optional
            Of an earlier processing of the same capture.
        """
        name = received.name
        # Every block has a stream of its own, also in simulation.
        stream = f"bob/{self._blocks}" if self._blocks else "bob"
        self._blocks += 1
        link = link_name(self._link, name.run_uuid, name.number)
        return CvBob(
            received.bursts,
            reception_of(received, self.config),
            self.config.security,
            party_entropy(self.config, stream, self._session),
            PublicChannel(link, keys, opening),
            permutation_seed,
        )


def open_cv_capture(path: Path) -> tuple[Capture, CvConfig]:
    """Open a capture with the config it was taken with.

    Raises
    ------
    CaptureError
        If it belongs to another scheme.
    """
    opened = open_capture(path)
    config = parse_config(opened.header.config_toml, opened.path)
    if not isinstance(config, CvConfig):
        opened.close()
        raise CaptureError(
            f"{opened.path}: samples of a digitiser, but its config is of scheme "
            f"{config.link.scheme!r}"
        )
    return opened, config


def reception_of(received: CvReceived, config: CvConfig) -> Reception | None:
    """Return the decoder of the classical frames, None without displacement."""
    if config.classical.psk == "none":
        return None
    receiver = config.bob.receiver
    return Reception(
        received.bursts,
        received.layout,
        config.classical,
        frame_codec(config.classical, run_id(received.name.run_uuid)),
        Cancellation(receiver.cancellation_taps, receiver.decision_directed),
        config.security.threads,
    )


class CvBobLight:
    """Bob's digitiser and shutters; he leads, Alice plays what he asks for.

    Parameters
    ----------
    text : str
        The config, as it is stored with the captures.
    config : CvConfig
    half : Half
    recovery : Recovery
    talk : LightTalk
    """

    def __init__(
        self,
        text: str,
        config: CvConfig,
        half: Half,
        recovery: Recovery,
        talk: LightTalk,
    ) -> None:
        self._text, self._config, self._half = text, config, half
        self._recovery, self._talk = recovery, talk
        self._fresh = FreshRecords()
        self._bursts = 0

    def acquire(self) -> None:
        """Do nothing: a probe begins every block."""

    def capture(
        self, name: BlockName, n_bursts: int, folder: Path, progress: Progress
    ) -> Path:
        """Take a block and store it; return the finished capture.

        Raises
        ------
        SignalError
            If the probe finds no light.
        InstrumentError
            Whatever an instrument reports.
        PeerError
            If Alice breaks the rules.
        """
        folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(folder, name.run_uuid)
        progress.stage("probe")
        budget = self.probe()
        journal.write("probe", json.dumps(asdict(budget)))
        header = CaptureHeader(
            config_toml=self._text,
            run_uuid=name.run_uuid,
            layout_json=frame_layout(self._config).model_dump_json(),
            instruments_json=json.dumps(self._half.bench.snapshot(), default=str),
        )
        wanted = Budget(budget.gain, budget.noise_snu)
        path = folder / CAPTURE_NAME
        progress.stage("capture", len(KINDS) * n_bursts)
        with CaptureWriter(path, header, n_bursts) as writer:
            for number in range(n_bursts):
                for kind, trace in self.burst(LoadBurst(number, wanted)):
                    writer.add_trace(number, kind, trace)
                    progress.advance()
                journal.write("burst", f"{number + 1} of {n_bursts} stored")
        self._talk.ask(BlockTaken(n_bursts), Done)
        return path

    def probe(self) -> LinkBudget:
        """Measure the link with a short burst of its own, never used for a key."""
        traces = dict(self.send_probe())
        layout = frame_layout(
            self._config, self._config.alice.transmitter.probe_symbols
        )
        received = receive_burst(records_of(traces), layout, self._config.bob.receiver)
        return _budget(received)

    def send_probe(self) -> list[tuple[RecordKind, Trace]]:
        """Take the records of a burst that carries nothing."""
        return self.burst(LoadProbe())

    def burst(self, load: LoadBurst | LoadProbe) -> list[tuple[RecordKind, Trace]]:
        """Take signal, shot and electronic noise of one burst.

        If a connection is lost, of either party, the burst is given up: whether any
        light had left by then cannot be known. Alice sends fresh symbols instead.
        """
        while True:
            try:
                taken = self._records(load)
                self._recovery.require_light()
                self._talk.ask(EndBurst(), Done)
            except BurstLost:
                # She counts how often.
                continue
            except ConnectionLost as error:
                self._recovery.after(error, "the burst is lost, a fresh one is asked")
                continue
            self._bursts += 1
            for kind, trace in taken:
                self._fresh.check(f"{kind} of burst {self._bursts}", trace.codes[0])
            return taken

    def _records(self, load: LoadBurst | LoadProbe) -> list[tuple[RecordKind, Trace]]:
        duration_s = self._talk.ask(load, Loaded).duration_s
        config = self.record_config(duration_s)
        taken = []
        for kind in KINDS:
            self._talk.ask(SetShutters(kind), Done)
            play = self._play if kind == "signal" else None
            taken.append((kind, self.record(kind, config, play)))
        return taken

    def _play(self) -> None:
        self._talk.ask(Play(), Done)

    def record(
        self,
        kind: RecordKind,
        config: DigitizerConfig,
        play: Callable[[], object] | None,
    ) -> Trace:
        """Bring his own shutters in place and take one record."""
        signal_open, lo_open = LIGHT[kind]
        self._half.set_shutters({SIGNAL_SWITCH: signal_open, LO_SWITCH: lo_open})
        timeout_s = self._config.bob.digitizer.timeout_s
        return acquire(self._half.bench, triggered(config, kind), timeout_s, play)

    def record_config(self, duration_s: float) -> DigitizerConfig:
        """Return what a burst of that length is recorded with.

        Raises
        ------
        PeerError
            If no burst is that long.
        """
        if not 0.0 < duration_s <= _LONGEST_S:
            raise PeerError(f"light: a burst of {duration_s:g} s, limit {_LONGEST_S} s")
        use = self._config.bob.digitizer
        n_samples = math.ceil((duration_s + use.margin_s) * use.rate_hz)
        _, port = self._half.bench.resolve("rx.rf")
        # Inputs of a box that has outputs too are called in1 and in2.
        channel = int(port.removeprefix("in"))
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
