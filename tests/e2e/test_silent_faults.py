"""Faults that no driver can see: the run refuses the block, or has no key of it."""

import pytest
from photon_run_kit import MESSAGE
from photon_run_kit import bench as photon_bench
from run_kit import CONFIGS

from scqc.core.errors import ClippedError, ProtocolAbort, SignalError
from scqc.runs import live
from scqc.runs.freshness import FreshRecords
from scqc.runs.lab_config import LoadedConfig, parse_config
from scqc.runs.progress import Silent

# The benches of this file live for a second: see warm_kit.
pytestmark = pytest.mark.usefixtures("warm_processes", "undrawn")

# Records of a burst come in threes; the probe is the first burst.
SHOT_OF_PROBE, SIGNAL_OF_BURST, SHOT_OF_BURST = 1, 3, 4


def run(folder, instrument, kind, after):
    """Run the quick bench with one fault; return its result."""
    text = (CONFIGS / "cv_quick.toml").read_text()
    text += f'\n[[sim.faults.{instrument}]]\nat = "fetch"\nkind = "{kind}"\n'
    text += f"after = {after}\n"
    loaded = LoadedConfig(parse_config(text), text, CONFIGS / "cv_quick.toml")
    return live.run_live(loaded, b"payload", folder, Silent())


def photon_run(folder, kind, after):
    loaded = photon_bench()
    text = loaded.text + '\n[[sim.faults.tagger]]\nat = "fetch"\n'
    text += f'kind = "{kind}"\nafter = {after}\ncount = 1000\n'
    changed = LoadedConfig(parse_config(text), text, loaded.path)
    return live.run_live(changed, MESSAGE, folder, Silent())


def test_a_stale_record_is_refused(tmp_path):
    """The vacuum of the probe is its signal once more."""
    with pytest.raises(SignalError, match="trigger is stale"):
        run(tmp_path, "scope", "stale-trigger", SHOT_OF_PROBE)


def test_a_clipped_record_is_refused(tmp_path):
    with pytest.raises(ClippedError):
        run(tmp_path, "scope", "clipping", SHOT_OF_PROBE)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("stale-trigger", SIGNAL_OF_BURST),
        ("stale-trigger", SHOT_OF_BURST),
        ("clipping", SIGNAL_OF_BURST),
        ("clipping", SHOT_OF_BURST),
        # In a record of shot noise a gap changes nothing: noise behind it is noise.
        ("dropped-samples", SIGNAL_OF_BURST),
    ],
)
def test_instruments_faulty_records_make_no_key(tmp_path, kind, after):
    try:
        result = run(tmp_path, "scope", kind, after)
    except (SignalError, ProtocolAbort):
        return
    assert result.data["key"]["secret_bits"] == 0


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["stale-trigger", "lost-tags", "wrong-channels"])
def test_instruments_faulty_tags_make_no_key(tmp_path, kind):
    try:
        result = photon_run(tmp_path, kind, 1)
    except (SignalError, ProtocolAbort):
        return
    assert result.data["key"]["secret_bits"] == 0


@pytest.mark.soak
def test_instruments_without_the_look_back_nothing_says_stale(tmp_path, monkeypatch):
    """The tests above must fail when the check is gone."""
    monkeypatch.setattr(FreshRecords, "check", lambda *_: None)
    said = ""
    try:
        run(tmp_path, "scope", "stale-trigger", SHOT_OF_BURST)
    except SignalError as error:
        said = str(error)
    assert "stale" not in said
