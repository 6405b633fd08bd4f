"""Whatever a lab config holds, it is read or refused with all its problems."""

import copy
import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from scqc.core.errors import ConfigError
from scqc.runs.config_text import _table
from scqc.runs.lab_config import LabConfig, parse_config

ROOT = Path(__file__).parents[2]
GOOD = tomllib.loads((ROOT / "lab_configs/cv_quick.toml").read_text())

SCALARS = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "awg", "awg:1", "scope:9", "none", "tcp://a:1", "é\n\"'"])
)
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(
        st.sampled_from(["awg", "scope", "seed", "at", "kind", "", "x y"]),
        SCALARS,
        max_size=3,
    )
)


def places(table, above=()):
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


def put(table, place, value):
    for key in place[:-1]:
        table = table.get(key)
        if not isinstance(table, dict):
            return
    if value is None:
        table.pop(place[-1], None)
    else:
        table[place[-1]] = value


def read(text):
    """Return the config, or the problems."""
    try:
        return parse_config(text, "fuzz.toml")
    except ConfigError as error:
        return error.problems


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(places(GOOD))), st.none() | VALUES),
        min_size=1,
        max_size=4,
    )
)
def test_any_change_is_read_or_refused(changes):
    raw = copy.deepcopy(GOOD)
    for place, value in changes:
        put(raw, place, value)
    text = "\n".join(_table(raw, ()))
    assert tomllib.loads(text) == raw
    found = read(text)
    if not isinstance(found, LabConfig):
        assert found
        assert all(p.file == "fuzz.toml" and p.key and p.limit for p in found)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_refused(text):
    assert not isinstance(read(text), LabConfig)
    assert read(text)
