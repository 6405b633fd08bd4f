"""Alice of the CV scheme: what she draws, plays, and brings to the protocol."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driver.hal import AwgConfig
from protocols.messages.light import Budget
from protocols.schemes.cv_alice import AliceRecord, CvAlice
from protocols.schemes.transcript import LinkKeys, Opening, PublicChannel, link_name
from scqc.core.errors import CaptureError, PeerError
from scqc.core.records import Waveform
from scqc.core.rng import EntropySource, random_bits
from scqc.runs.cv_config import CvConfig
from scqc.runs.parties.alice_light import AliceLight
from scqc.runs.parties.block import ALICE_NAME, BlockName
from scqc.runs.parties.half import Half
from scqc.runs.recovery import Recovery
from scqc.runs.sinks import party_entropy
from scqc.runs.transmit import (
    LinkBudget,
    Transmitter,
    burst_symbols,
    expected_budget,
    payload_frames,
    prepare_payload,
)
from scqc.store.alice_record import (
    AliceBurst,
    read_alice_record,
    replace_alice_burst,
    write_alice_record,
)

PAYLOAD_NAME = "payload.json"


@dataclass(slots=True)
class PreparedBlock:
    """What is to be sent once; its bursts are on disk already.

    Parameters
    ----------
    folder : Path
    bursts : list of AliceBurst
    """

    folder: Path
    bursts: list[AliceBurst]

    def close(self) -> None:
        """Do nothing: the record is whole and closed before any light."""


class CvAliceEnd:
    """Alice of one run, whatever became of her instruments.

    Parameters
    ----------
    config : CvConfig
    session : int
        How often these sinks were used by programs before [1].
    link : bytes
        Number of the link between two programs; empty within one.
    """

    def __init__(self, config: CvConfig, session: int = 0, link: bytes = b"") -> None:
        self.config, self._link = config, link
        # One stream for the run: no block repeats the symbols of another.
        self.entropy = party_entropy(config, "alice", session)

    @property
    def n_bursts(self) -> int:
        """Bursts of a block [1]."""
        return self.config.link.bursts

    def prepare(self, name: BlockName, payload: bytes, folder: Path) -> PreparedBlock:
        """Draw what is sent in one block, and store it before any light.

        Parameters
        ----------
        name : BlockName
        payload : bytes
            May be empty.
        folder : Path
            Made if it is not there.

        Raises
        ------
        PayloadError
            If the payload does not fit.
        """
        config = self.config
        prepared = prepare_payload(config, payload, name.run_uuid, self.entropy)
        folder.mkdir(parents=True, exist_ok=True)
        transmitter, n = Transmitter(config, self.entropy), burst_symbols(config)
        bursts = [
            AliceBurst(transmitter.gaussian(n), coded.ravel())
            for coded in prepared.coded
        ]
        # A run that is cut short keeps what its bursts need.
        write_alice_record(folder / ALICE_NAME, name.run_uuid, bursts)
        digest = {"sha256": prepared.sha256.hex(), "bytes": prepared.n_bytes}
        (folder / PAYLOAD_NAME).write_text(json.dumps(digest))
        return PreparedBlock(folder, bursts)

    def light(self, half: Half, recovery: Recovery) -> CvAliceLight:
        """Return what answers Bob about the light."""
        return CvAliceLight(self.config, self.entropy, half, recovery)

    def party(
        self,
        name: BlockName,
        record: Path,
        n_bursts: int,
        keys: dict[str, LinkKeys],
        opening: Opening,
    ) -> CvAlice:
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
        """
        path = record / ALICE_NAME if record.is_dir() else record
        config = self.config
        prepared = _record(path, name.run_uuid, config, n_bursts)
        link = link_name(self._link, name.run_uuid, name.number)
        return CvAlice(
            prepared,
            config.classical,
            config.security,
            PublicChannel(link, keys, opening),
        )


def _record(path: Path, run_uuid: str, config: CvConfig, n_bursts: int) -> AliceRecord:
    """Return what Alice prepared for the first `n_bursts` bursts."""
    if not path.exists():
        raise CaptureError(
            f"{path}: Alice's record is missing; without it Bob has nobody to talk to. "
            "Give it, or --symbols for a capture of known symbols"
        )
    owner, bursts = read_alice_record(path)
    if owner != run_uuid:
        raise CaptureError(f"{path}: of run {owner}, the capture is of run {run_uuid}")
    if len(bursts) < n_bursts:
        raise CaptureError(f"{path}: {len(bursts)} bursts, the capture has {n_bursts}")
    bursts = bursts[:n_bursts]
    symbols = np.concatenate([b.symbols for b in bursts])
    frames = len(bursts) * config.classical.frames_per_burst
    bits = np.concatenate([b.bits for b in bursts])
    coded = np.zeros((0, 0), dtype=np.uint8)
    if bits.size:
        coded = bits.reshape(frames, -1)
    side = path.parent / PAYLOAD_NAME
    digest, carrying = bytes(32), 0
    if side.exists():
        told = json.loads(side.read_text())
        digest = bytes.fromhex(told["sha256"])
        carrying = payload_frames(config, int(told["bytes"]))
    return AliceRecord(symbols, coded, digest, len(bursts), carrying)


class CvAliceLight(AliceLight):
    """Alice's generator and modulator.

    Parameters
    ----------
    config : CvConfig
    entropy : EntropySource
        For probes, and for what takes the place of lost bursts.
    half : Half
    recovery : Recovery
    """

    def __init__(
        self, config: CvConfig, entropy: EntropySource, half: Half, recovery: Recovery
    ) -> None:
        super().__init__(half, recovery)
        self._config, self._entropy = config, entropy
        self.transmitter = Transmitter(config, entropy)
        self._block: PreparedBlock | None = None

    def take(self, block: PreparedBlock | None) -> None:
        """Expect Bob to ask for this block's bursts."""
        self.begin()
        self._block = block

    def load_probe(self) -> float:
        """Load fresh symbols with the displacement that the config guesses."""
        config = self._config
        n = config.alice.transmitter.probe_symbols
        symbols = self.transmitter.gaussian(n)
        per_symbol = 0 if config.classical.psk == "none" else 2
        if config.classical.psk == "bpsk":
            per_symbol = 1
        bits = random_bits(self._entropy, per_symbol * n)
        return self.load(self._waveform(symbols, bits, expected_budget(config)))

    def draw(self, number: int, *, again: bool) -> None:
        """Draw fresh symbols for a burst that may have been seen; others are drawn."""
        block = self._require(number)
        if not again:
            return
        old = block.bursts[number]
        fresh = AliceBurst(self.transmitter.gaussian(old.symbols.size), old.bits)
        # Before any light, like all the others.
        replace_alice_burst(block.folder / ALICE_NAME, number, fresh)
        block.bursts[number] = fresh

    def upload(self, number: int, budget: Budget | None) -> float:
        """Load a burst, with the displacement that Bob's probe asks for."""
        if budget is None:
            raise PeerError(f"alice: burst {number} asked for without a budget")
        burst = self._require(number).bursts[number]
        link = LinkBudget(budget.gain, budget.noise_snu)
        return self.load(self._waveform(burst.symbols, burst.bits, link))

    def _require(self, number: int) -> PreparedBlock:
        block = self._block
        if block is None or not 0 <= number < len(block.bursts):
            raise PeerError(f"alice: there is no burst {number} to be sent")
        return block

    def _waveform(
        self, symbols: NDArray[np.complex64], bits: NDArray[np.uint8], link: LinkBudget
    ) -> Waveform:
        granularity = self.half.bench.awg.granularity
        return self.transmitter.waveform(symbols, bits, link, granularity)

    def load(self, waveform: Waveform) -> float:
        """Set the generator's levels and load a waveform; return its length [s]."""
        bench = self.half.bench
        peak_v = float(np.max(np.abs(waveform.samples)))
        amplitude = max(2.02 * peak_v, bench.awg.amplitude_range_vpp[0])
        ports = [int(bench.resolve(signal)[1]) for signal in ("tx.i", "tx.q")]
        levels = dict.fromkeys(ports, amplitude)
        bench.awg.configure(AwgConfig(waveform.rate_hz, levels))
        bench.awg.upload(waveform)
        return float(waveform.samples.shape[1] / waveform.rate_hz)

    def start(self) -> None:
        """Start the generator."""
        self.half.bench.awg.start()
