"""Both parties' key sinks and randomness, as a program that plays both needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocols.key_sink.align import align
from protocols.key_sink.sink import KeySink
from protocols.key_sink.start_key import provision
from scqc.core.rng import EntropySource, ReplayEntropy, SystemEntropy
from scqc.runs.lab_config import LabConfig
from scqc.runs.photon.config import PhotonConfig
from scqc.store.results import Sender

# Authentication key of a simulated bench: enough for a thousand blocks.
SIMULATED_START_BITS = 128 * 1024
Sinks = tuple[KeySink, KeySink]


def party_entropy(config: LabConfig, name: str, session: int = 0) -> EntropySource:
    """Return a source of randomness: repeatable only in simulation.

    Parameters
    ----------
    config : LabConfig
    name : str
        Who draws, and what for; every name has a stream of its own.
    session : int
        Of programs that are started again on the same sinks: what they draw in a
        simulation must not be what they drew before [1].
    """
    if config.sim is not None:
        named = f"{name}/session {session}" if session else name
        return ReplayEntropy(config.sim.seed, named)
    return SystemEntropy()


def sink_directory(config: LabConfig, home: Path) -> Path:
    """Return where the key sinks lie: a simulated bench has its own.

    Parameters
    ----------
    config : LabConfig
    home : Path
        Run folder, or home of a party.
    """
    if config.sim is None:
        return Path(config.keys.directory)
    named = config.keys.simulated_directory
    return Path(named) if named else home / "keys"


@contextmanager
def open_sink(config: LabConfig, home: Path, party: Sender) -> Iterator[KeySink]:
    """Open one party's key sink; a simulated one begins with the start key of its seed.

    Parameters
    ----------
    config : LabConfig
    home : Path
        Of the party.
    party : {"alice", "bob"}

    Raises
    ------
    KeySinkError
        If there is none on a real bench, or it is damaged.
    """
    directory, simulated = sink_directory(config, home), config.sim is not None
    if simulated:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with KeySink(directory / f"{party}.sqlite", create=simulated) as sink:
        if config.sim is not None and not sink.list():
            start = ReplayEntropy(config.sim.seed, "start key")
            pad_bits = config.keys.start_pad_bits if carries_message_pad(config) else 0
            # Another program of this party may begin at the same moment.
            with sink.db.transaction():
                if not sink.list():
                    provision([sink], SIMULATED_START_BITS, start, pad_bits=pad_bits)
        yield sink


def carries_message_pad(config: LabConfig) -> bool:
    """Return whether messages of this scheme are padded from the sink."""
    return isinstance(config, PhotonConfig) and config.carries_payload


@contextmanager
def open_sinks(
    config: LabConfig, folder: Path, start_pad_bits: int = 0
) -> Iterator[Sinks]:
    """Open both key sinks; a simulated bench provisions its own start key.

    Parameters
    ----------
    config : LabConfig
    folder : Path
        Run folder: home of the sinks of a simulated bench.
    start_pad_bits : int
        Pad for messages that such a bench begins with [bit].
    """
    simulated = config.sim is not None
    directory = sink_directory(config, folder)
    if simulated:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        KeySink(directory / "alice.sqlite", create=simulated) as alice,
        KeySink(directory / "bob.sqlite", create=simulated) as bob,
    ):
        if config.sim is not None and not alice.list():
            start = ReplayEntropy(config.sim.seed, "start key")
            sinks = [alice, bob]
            provision(sinks, SIMULATED_START_BITS, start, pad_bits=start_pad_bits)
        # A crash may have stopped an earlier run between the two.
        align(alice, bob)
        yield alice, bob
