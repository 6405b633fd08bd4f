"""Both parties' key sinks and randomness, as a program that plays both needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocols.key_sink.align import align
from protocols.key_sink.records import AUTHENTICATION_PURPOSE, HASH_PURPOSE
from protocols.key_sink.schedule import TAG_PAD_BITS
from protocols.key_sink.sink import KeySink
from protocols.key_sink.start_key import provision
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE, LinkKeys
from scqc.core.rng import EntropySource, ReplayEntropy, SystemEntropy
from scqc.runs.lab_config import LabConfig

# Authentication key of a simulated bench: enough for a thousand blocks.
SIMULATED_START_BITS = 128 * 1024
Sinks = tuple[KeySink, KeySink]
Keys = dict[str, LinkKeys]


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
    directory = Path(config.keys.directory)
    if simulated:
        named = config.keys.simulated_directory
        directory = Path(named) if named else folder / "keys"
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


def link_keys(sinks: Sinks, *, simulated: bool) -> tuple[Keys, Keys]:
    """Draw each party's authentication keys from its own sink.

    Raises
    ------
    KeySinkError
        If a sink cannot pay for the tags.
    """

    def draw(sink: KeySink) -> Keys:
        return {
            direction: LinkKeys(
                sink.read_kept(HASH_PURPOSE, direction, allow_simulated=simulated),
                sink.spend(
                    AUTHENTICATION_PURPOSE,
                    direction,
                    TAG_PAD_BITS,
                    allow_simulated=simulated,
                ).packed,
            )
            for direction in (ALICE_TO_BOB, BOB_TO_ALICE)
        }

    return draw(sinks[0]), draw(sinks[1])
