"""Runs of the photon-counting benches within the test's own process."""

from contextlib import contextmanager

import pytest
from run_kit import CONFIGS, read_tap_archive

from scqc.runs import live
from scqc.runs.lab_config import LoadedConfig, parse_config
from scqc.runs.parties import opened
from scqc.runs.progress import Silent

MESSAGE = b"sixty-four bytes of a message that somebody wants to keep secret" * 4


def bench(*changes, name="dv_quick.toml", seed=1):
    """Return a shipped bench with some of its text changed."""
    text = (CONFIGS / name).read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return LoadedConfig(parse_config(text), text, CONFIGS / name).with_seed(seed)


# One burst of a quarter of the size: no key, but everything else.
SMALL = (
    ("bursts = 2 ", "bursts = 1 "),
    ("burst_slots = 4_194_304", "burst_slots = 1_048_576"),
    ("frame_bits = 102_400", "frame_bits = 16_000"),
)


def run(folder, *changes, payload=MESSAGE, seed=1, name="dv_quick.toml"):
    """Run a changed bench; return its result."""
    loaded = bench(*changes, name=name, seed=seed)
    return live.run_live(loaded, payload, folder, Silent())


@contextmanager
def tapped(archives):
    """Let every run within the block leave its truth in `archives`."""
    original = opened.station

    @contextmanager
    def station(*arguments, **options):
        with original(*arguments, **options, tap=True) as place:
            yield place
            archives.append(read_tap_archive(place.tap))

    patch = pytest.MonkeyPatch()
    patch.setattr(opened, "station", station)
    try:
        yield
    finally:
        patch.undo()
