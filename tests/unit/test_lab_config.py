"""Lab configs: what is read, and everything that is refused, all at once."""

from pathlib import Path

import pytest

from scqc.core.errors import ConfigError
from scqc.runs.bench_rules import total_symbols
from scqc.runs.config_text import as_toml
from scqc.runs.lab_config import load_config, parse_config
from scqc.runs.transmit import burst_symbols

SHIPPED = sorted((Path(__file__).parents[2] / "lab_configs").glob("*.toml"))
QUICK = next(p for p in SHIPPED if p.name == "cv_quick.toml").read_text()


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "lab.toml")
    return caught.value.problems


def changed(*pairs, text=QUICK):
    for old, new in pairs:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    return text


def only(text):
    found = problems(text)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_benches_are_valid_and_survive_being_shown(path):
    loaded = load_config(path)
    # But for a table of numbers in the place of its file's name.
    lines = zip(loaded.text.splitlines(), path.read_text().splitlines(), strict=True)
    assert all(a == b or b.startswith("pass_file") for a, b in lines)
    assert loaded.config.sim is not None
    assert parse_config(as_toml(loaded.config)) == loaded.config


@pytest.mark.parametrize(
    "path", [p for p in SHIPPED if p.name.startswith("cv")], ids=lambda p: p.name
)
def test_the_number_of_symbols_is_what_the_transmitter_sends(path):
    config = load_config(path).config
    assert total_symbols(config) == config.link.bursts * burst_symbols(config)


def test_all_benches_are_shipped():
    assert {p.stem for p in SHIPPED} >= {
        "cv_fiber_10km",
        "cv_quick",
        "cv_gmcs_10km",
        "cv_bpsk_quick",
        "cv_ber_3e-2",
        "dv_fiber_50km",
        "dv_freespace",
        "dv_quick",
        "dv_active_quick",
    }


def test_all_problems_come_at_once():
    text = changed(
        ("seed = 1\n", 'sede = 1\nseed = "one"\n'),
        ("bursts = 2", "bursts = 0"),
        ('"switch.lo" = "awg:marker2"', '"switch.lo" = "awg:marker1"'),
        ("rate_hz = 400e6                    # 8", "rate_hz = 410e6  # 8"),
    )
    found = {(p.table, p.key) for p in problems(text)}
    # The broken tables are [sim] and [link]; the rules on the others still speak.
    assert found == {
        ("sim", "sede"),
        ("sim", "seed"),
        ("link", "bursts"),
        ("wiring", "switch.lo"),
        ("alice.transmitter", "rate_hz"),
    }


def test_a_problem_names_file_table_key_value_and_limit():
    problem = only(changed(("bursts = 2", "bursts = 0")))
    assert problem.file == "lab.toml"
    assert (problem.table, problem.key, problem.value) == ("link", "bursts", "0")
    assert "greater than or equal to 1" in problem.limit
    assert str(problem).startswith("lab.toml: [link] bursts = 0: ")


@pytest.mark.parametrize(
    ("old", "new", "table", "key", "hint"),
    [
        ("seed = 1\n", "sede = 1\n", "sim", "sede", "'seed'"),
        ("linewidth_hz = 100.0", "linewith_hz = 1.0", "sim.laser", "linewith_hz", "'l"),
        ("[classical]", "[clasical]", "", "clasical", "'classical'"),
        (
            'role = "awg"\n',
            'role = "awg"\nrol = 1\n',
            "alice.instruments.awg",
            "rol",
            "'",
        ),
        ("psk =", "pskk =", "classical", "pskk", "did you mean 'psk'"),
    ],
)
def test_unknown_keys_get_a_suggestion(old, new, table, key, hint):
    problem = only(changed((old, new)))
    assert (problem.table, problem.key) == (table, key)
    assert "unknown key; did you mean" in problem.limit
    assert hint in problem.limit


@pytest.mark.parametrize(
    ("old", "new", "table", "key", "limit"),
    [
        ("fec_rate = 0.75", 'fec_rate = "high"', "classical", "fec_rate", "number"),
        ("fec_rate = 0.75", "fec_rate = nan", "classical", "fec_rate", "finite"),
        (
            'psk = "qpsk"',
            'psk = "8psk"',
            "classical",
            "psk",
            "'qpsk', 'bpsk' or 'none'",
        ),
        ("tcp://192.0.2.10:5025", "192.0.2.10", "*", "resource", "tcp://host:port"),
        ("keysight.m8190a", "keysight.m8190b", "*", "driver", "keysight.m8190a"),
        ("schema = 1", "schema = 2", "", "schema", "1"),
        ("epsilon = 1e-10", "epsilon = 1.0", "security", "epsilon", "less than 0.01"),
    ],
)
def test_wrong_values(old, new, table, key, limit):
    problem = only(changed((old, new)))
    wanted = "alice.instruments.awg" if table == "*" else table
    assert (problem.table, problem.key) == (wanted, key)
    assert limit in problem.limit


@pytest.mark.parametrize(
    ("old", "new", "key", "limit"),
    [
        ('"awg:1"', '"agw:1"', "tx.i", "did you mean 'awg'"),
        ('"awg:1"', '"awg:3"', "tx.i", "no port '3'; it has 1, 2, marker1, marker2"),
        ('"awg:1"', '"awg:2"', "tx.q", "carries tx.i already"),
        ('"awg:1"', '"scope:2"', "tx.i", "must be a channel of the awg"),
        ('"awg:marker1"', '"scope:3"', "switch.signal", "must be a marker of the awg"),
        ('"tx.q" = "awg:2"\n', "", "tx.q", "needs this signal"),
        ('"rx.rf" = "scope:1"\n', "", "rx.rf", "needs this signal"),
        ('"switch.lo" = "awg:marker2"', "", "switch.lo", "needs this signal"),
        ('"awg:1"', '"awg"', "tx.i", "pattern"),
    ],
)
def test_wiring(old, new, key, limit):
    found = [p for p in problems(changed((old, new))) if p.table == "wiring"]
    assert any(p.key == key and limit in p.limit for p in found), found


def test_unknown_signal_is_named_with_the_one_meant():
    found = problems(changed(('"rx.rf"', '"rx.fr"')))
    assert {(p.key, p.limit.partition(";")[0]) for p in found} == {
        ("rx.fr", "unknown signal"),
        ("rx.rf", "cv-displaced-gmcs needs this signal"),
    }


@pytest.mark.parametrize(
    ("old", "new", "table", "key", "limit"),
    [
        ("symbol_rate_hz = 50e6", "symbol_rate_hz = 30e6", "*", "rate_hz", "multiple"),
        ("[-118e6, -12e6]", "[-218e6, -12e6]", "link", "pilots_hz", "reaches"),
        ("[-118e6, -12e6]", "[-118e6, 60e6]", "link", "pilots_hz", "arrives"),
        ("[-118e6, -12e6]", "[-60e6, -12e6]", "link", "pilots_hz", "signal band"),
        ("[-118e6, -12e6]", "[-12e6, -12e6]", "link", "pilots_hz", "differ"),
        ("beat_hz = 150e6", "beat_hz = 70e6", "link", "centre_hz", "arrives"),
        ("= 10_000", "= 101_376", "security", "disclosed_symbols", "101376"),
        ("max_launch_dbm = 0.0", "max_launch_dbm = -20.4", "safety", "*", "-20.39 dBm"),
        ('"scope.stop"', '"laser.off"', "safety", "on_exit", "unknown instrument"),
    ],
)
def test_what_must_hold_between_the_tables(old, new, table, key, limit):
    found = problems(changed((old, new)))
    assert any(
        table in ("*", p.table) and key in ("*", p.key) and limit in p.limit
        for p in found
    ), [str(p) for p in found]


@pytest.mark.parametrize(
    ("entry", "key", "limit"),
    [
        ('scope = [{ at = "fetsch", kind = "garbage" }]', "at", "'fetch'"),
        ('scope = [{ at = "fetch", kind = "fire" }]', "kind", "'drop-connection'"),
        ('scpoe = [{ at = "fetch", kind = "garbage" }]', "scpoe", "mean 'scope'"),
    ],
)
def test_faults_are_checked_when_the_file_is_read(entry, key, limit):
    problem = only(f"{QUICK}\n[sim.faults]\n{entry}\n")
    assert problem.table.startswith("sim.faults")
    assert problem.key == key
    assert limit in problem.limit


@pytest.mark.parametrize(
    ("entry", "limit"),
    [('scpoe = "hislip"', "mean 'scope'"), ('scope = "vxi11"', "'hislip'")],
)
def test_transports_are_checked_when_the_file_is_read(entry, limit):
    problem = only(f"{QUICK}\n[sim.transports]\n{entry}\n")
    assert problem.table.startswith("sim.transports")
    assert limit in problem.limit


def test_two_generators_and_no_digitiser():
    text = changed(
        ('role = "digitizer"', 'role = "awg"'), ("keysight.infin", "keysight.m8190a #")
    ).replace("keysight.m8190a #iium", "keysight.m8190a")
    found = [p for p in problems(text) if p.key == "role"]
    assert [p.value for p in found] == ['"awg"', '"digitizer"']


def test_syntax_errors_name_the_line():
    problem = only("schema = 1\n[link\nbursts = 2\n")
    assert problem.key == "line 2"
    assert "[link" in problem.value
    assert only('schema = 1\nx = "open').key in ("line 2", "end of file")


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match="unreadable"):
            load_config(path)
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"UTF-8.*byte 5"):
        load_config(path)


@pytest.mark.parametrize("text", ["", "[link]\n", "sim = 3\nalice = 1\n"])
def test_missing_tables_are_all_named(text):
    assert {p.key for p in problems(text)} >= {"schema", "alice", "bob", "wiring"}


def test_another_seed_changes_the_seed_and_nothing_else(tmp_path):
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    loaded = load_config(path)
    other = loaded.with_seed(99)
    assert other.config.sim.seed == 99
    assert parse_config(other.text) == other.config
    same = other.config.sim.model_copy(update={"seed": loaded.config.sim.seed})
    assert other.config.model_copy(update={"sim": same}) == loaded.config
    assert other.with_seed(loaded.config.sim.seed).config == loaded.config


def test_a_bench_without_simulation_has_no_seed(tmp_path):
    path = tmp_path / "real.toml"
    path.write_text(QUICK[: QUICK.index("[sim]")])
    loaded = load_config(path)
    assert loaded.config.sim is None
    with pytest.raises(ConfigError, match=r"\[sim\] table"):
        loaded.with_seed(3)


def test_instruments_of_both_stations_have_different_names():
    text = changed(("[bob.instruments.scope]", "[bob.instruments.awg]"))
    assert any("must be unique" in p.limit for p in problems(text))
