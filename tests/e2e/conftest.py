"""One finished run of the quick bench, shared by the end-to-end tests."""

import json
from contextlib import contextmanager

import pytest
from run_kit import CONFIGS, PAYLOAD, Finished, read_tap

from scqc.runs import live
from scqc.runs.lab_config import load_config
from scqc.runs.parties import opened
from scqc.runs.progress import Silent


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Run the quick bench once, with the truth tap open."""
    folder = tmp_path_factory.mktemp("run") / "quick"
    played = []
    original = opened.station

    @contextmanager
    def tapped(*arguments, **options):
        with original(*arguments, **options, tap=True) as place:
            yield place
            played.extend(read_tap(place.tap))

    patch = pytest.MonkeyPatch()
    patch.setattr(opened, "station", tapped)
    try:
        loaded = load_config(CONFIGS / "cv_quick.toml")
        result = live.run_live(loaded, PAYLOAD, folder, Silent())
    finally:
        patch.undo()
    return Finished(folder, result, played)


@pytest.fixture
def result_json(finished):
    return json.loads((finished.folder / "result.json").read_text())
