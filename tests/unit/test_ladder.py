"""The ladder of codes against linear algebra, counting and binomial theory."""

import numpy as np
import photon_kit as kit
import pytest
from photon_kit import detect, make_parties, named, prepare, talk
from scipy import stats

from protocols.messages import photon
from protocols.reconciliation import ladder, ladder_construct
from protocols.reconciliation.ladder import LadderCode
from protocols.security.decoy import binary_entropy
from scqc.core.errors import PeerError, ProtocolAbort

COLUMNS = ladder_construct.COLUMNS
CODES = [(12, 16), (24, 17), (77, 16), (124, 21), (203, 16), (440, 16)]


def random_bits(shape, seed=1):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


def errors_of(shape, rate, seed=1):
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)


def definition(rows, size, words):
    """The checks of the first attempt, from the edges and nothing else."""
    row, column, shift = ladder_construct.build_edges(rows, size)
    grid = words.reshape(-1, COLUMNS, size)
    out = np.zeros((len(words), rows, size), dtype=np.uint8)
    for r, c, s in zip(row, column, shift, strict=True):
        out[:, r] ^= np.roll(grid[:, c], -s, axis=1)
    return out.reshape(len(words), -1)


def rank(columns):
    """Rank over GF(2) of a matrix, given its columns as integers."""
    pivots = {}
    for column in columns:
        left = column
        while left and left.bit_length() in pivots:
            left ^= pivots[left.bit_length()]
        if left:
            pivots[left.bit_length()] = left
    return len(pivots)


# Construction ------------------------------------------------------------------


@pytest.mark.parametrize("rows", range(12, 441, 13))
def test_every_number_of_rows_has_a_degree_table(rows):
    degrees = ladder_construct.column_degrees(rows)
    assert degrees.shape == (COLUMNS,)
    assert set(degrees) <= set(ladder_construct.DEGREES)
    # Columns of degree 2 are parity columns, and too few to close a cycle.
    assert np.count_nonzero(degrees == 2) <= rows - 1
    assert not np.any(degrees[: COLUMNS - rows] == 2)
    assert np.all(np.diff(degrees[-rows:]) >= 0)


def test_designs_are_met_exactly():
    for rows, counts in ladder_construct.DESIGNS.items():
        assert sum(counts) == COLUMNS
        found = np.sort(ladder_construct.column_degrees(rows))
        np.testing.assert_array_equal(
            found, np.repeat(ladder_construct.DEGREES, counts)
        )


@pytest.mark.parametrize(("rows", "size"), [(80, 128), (124, 128), (247, 128)])
def test_edges_make_no_cycle_of_four_and_a_triangle_of_parities(rows, size):
    row, column, shift = ladder_construct.build_edges(rows, size)
    parity = column >= COLUMNS - rows
    assert np.all(row[parity] >= column[parity] - (COLUMNS - rows))
    diagonal = parity & (row == column - (COLUMNS - rows))
    assert np.count_nonzero(diagonal) == rows
    assert not shift[diagonal].any()
    # Concentrated rows, as density evolution assumes.
    weights = np.bincount(row)
    assert np.ptp(weights[: rows // 2]) <= 2
    seen = set()
    for c in range(COLUMNS):
        edges = np.flatnonzero(column == c)
        for i, a in enumerate(edges):
            for b in edges[i + 1 :]:
                cycle = (row[a], row[b], (shift[a] - shift[b]) % size)
                assert cycle not in seen
                seen.add(cycle)


def test_both_sides_build_the_same_code():
    one, other = LadderCode(80, 128), LadderCode(80, 128)
    assert one.sha256 == other.sha256
    digests = {LadderCode(*pair).sha256 for pair in CODES}
    assert len(digests) == len(CODES)


# Linear algebra ----------------------------------------------------------------


@pytest.mark.parametrize(("rows", "size"), CODES)
def test_encoding_and_checks_are_inverse_to_each_other(rows, size):
    code = LadderCode(rows, size)
    assert (code.n_bits, code.min_rows) == (COLUMNS * size, rows * size)
    information = random_bits((3, code.n_bits - code.min_rows), rows)
    words = code.encode(information)
    np.testing.assert_array_equal(code.information(words), information)
    assert not code.checks(words, code.min_rows).any()
    assert not definition(rows, size, words).any()


@pytest.mark.parametrize(("rows", "size"), CODES)
def test_checks_are_those_of_the_edges_and_only_append(rows, size):
    code = LadderCode(rows, size)
    words = random_bits((2, code.n_bits), rows)
    first = code.checks(words, code.min_rows)
    np.testing.assert_array_equal(first, definition(rows, size, words))
    at, everything = code.min_rows, code.checks(words, code.max_rows)
    while at < code.max_rows:
        upto = code.next_rows(at)
        assert at < upto <= code.max_rows
        more = code.further_checks(words, at, upto)
        np.testing.assert_array_equal(more, everything[:, at:upto])
        np.testing.assert_array_equal(code.checks(words, upto), everything[:, :upto])
        at = upto
    assert code.next_rows(at) == at
    together = words[:1] ^ words[1:]
    np.testing.assert_array_equal(
        code.checks(together, code.max_rows), everything[:1] ^ everything[1:]
    )


@pytest.mark.parametrize("rows", [24, 77])
def test_what_is_disclosed_first_is_exactly_its_rows(rows):
    """Gaussian elimination: no check follows from the others."""
    code = LadderCode(rows, 16)
    columns = []
    for start in range(0, code.n_bits, 800):
        units = np.zeros((800, code.n_bits), dtype=np.uint8)
        units[np.arange(800), start + np.arange(800)] = 1
        checks = np.packbits(code.checks(units, code.max_rows), axis=1)
        columns += [int.from_bytes(check.tobytes(), "big") for check in checks]
    told = code.max_rows - code.min_rows
    assert rank([column >> told for column in columns]) == code.min_rows
    # Parted rows may not count for less than they tell either.
    assert code.max_rows - 2 * rows <= rank(columns) <= code.max_rows


def test_reveals_grow_so_that_few_rounds_reach_the_end():
    code, rounds = LadderCode(100, 16), 0
    at = code.min_rows
    assert code.next_rows(at) - at == code.size
    while at < code.max_rows:
        at, rounds = code.next_rows(at), rounds + 1
    assert rounds < 20


# Decoding ----------------------------------------------------------------------


def correct(code, errors, expected, max_iterations=150):
    """Reveal until the frame decodes; return the errors found and the rows."""
    rows, checks = code.min_rows, code.checks(errors, code.max_rows)
    while True:
        found = code.decode(checks[:, :rows], expected, max_iterations)
        if found.converged[0] or rows == code.max_rows:
            return found, rows
        rows = code.next_rows(rows)


@pytest.mark.parametrize(
    ("rate", "limit"), [(0.02, 1.15), (0.03, 1.12), (0.05, 1.12), (0.09, 1.12)]
)
def test_efficiency_and_frame_errors_at_the_operating_points(rate, limit):
    frames = 8
    code = LadderCode(int(limit * binary_entropy(rate) * COLUMNS), 128)
    assert code.min_rows / code.n_bits <= limit * binary_entropy(rate)
    errors = errors_of((frames, code.n_bits), rate, seed=3)
    found = code.decode(code.checks(errors, code.min_rows), rate, 150)
    right = (found.errors == errors).all(axis=1)
    np.testing.assert_array_equal(right, found.converged)
    # As many failures as 5 % of all frames explain, but for one test in 1e6.
    assert np.count_nonzero(~right) <= stats.binom.isf(1e-6, frames, 0.05)


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05])
def test_the_plan_discloses_little_with_reveals_counted(rate):
    plan = ladder.plan_frames(102_400, rate, 10**9, 102_400)
    errors = errors_of((8, plan.code.n_bits), rate, seed=4)
    rows = []
    for frame in errors[:, None]:
        found, disclosed = correct(plan.code, frame, rate)
        np.testing.assert_array_equal(found.errors, frame)
        rows.append(disclosed)
    realised = binary_entropy(float(errors.mean())) * plan.code.n_bits
    goal = {0.01: 1.18, 0.02: 1.13, 0.05: 1.10}[rate]
    assert np.mean(rows) / realised < goal


def test_parted_rows_are_worth_what_they_disclose():
    """A third more rows decode what that many rows allow, with 15 % to spare."""
    code, rows = LadderCode(120, 64), 160 * 64
    rate = 0.001
    while 1.15 * binary_entropy(rate) * COLUMNS < 160:
        rate += 1e-4
    errors = errors_of((4, code.n_bits), rate - 1e-3, seed=5)
    assert not code.decode(
        code.checks(errors, code.min_rows), rate, 150
    ).converged.any()
    found = code.decode(code.checks(errors, rows), rate, 150)
    np.testing.assert_array_equal(found.errors, errors)


def test_a_stuck_decoder_gives_up_early():
    code = LadderCode(80, 32)
    errors = errors_of((2, code.n_bits), 0.03)
    found = code.decode(code.checks(errors, code.min_rows), 0.03, 150)
    assert not found.converged.any()
    assert np.all(found.iterations < 75)


def test_threads_change_nothing():
    code = LadderCode(80, 16)
    errors = errors_of((5, code.n_bits), 0.008)
    checks = code.checks(errors, code.min_rows)
    one, two = code.decode(checks, 0.008, 60), code.decode(checks, 0.008, 60, 2)
    np.testing.assert_array_equal(one.errors, two.errors)
    np.testing.assert_array_equal(one.iterations, two.iterations)


# Plans and names ---------------------------------------------------------------


@pytest.mark.parametrize("n_key", [12_800, 30_001, 102_400, 777_777, 5_000_000])
def test_plan_wastes_next_to_nothing_and_keeps_a_reserve(n_key):
    rate, n_sampled = 0.02, 2000
    plan = ladder.plan_frames(n_key, rate, n_sampled, 102_400)
    used = plan.n_frames * plan.code.n_bits
    assert n_key - plan.n_frames * COLUMNS < used <= n_key
    worst = rate + ladder.RESERVE_SIGMAS * np.sqrt(rate * (1 - rate) / n_sampled)
    assert plan.code.max_rows >= 1.1 * binary_entropy(worst) * plan.code.n_bits


def test_plan_refuses_what_no_code_covers():
    with pytest.raises(ProtocolAbort, match="12799 sifted bits"):
        ladder.plan_frames(12_799, 0.02, 1000, 12_800)
    with pytest.raises(ProtocolAbort, match=r"error rate 15\.00%"):
        ladder.plan_frames(102_400, 0.15, 10**6, 102_400)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ladder",
        "ladder-80",
        "ladder-80-",
        "ladder--80-16",
        "ladder-80-16-1",
        "ladder-11-16",
        "ladder-441-16",
        "ladder-80-15",
        "ladder-80-4096",
        "ladder-8_0-16",
        "ladder-٨٠-16",
        "ladder-80-" + "9" * 5000,
        "met-80-16",
    ],
)
def test_unknown_codes_are_the_peers_fault(name):
    with pytest.raises(PeerError, match="reconciliation: "):
        ladder.load_code(name)


def test_shapes_rows_and_rates_out_of_range_are_refused():
    code = LadderCode(40, 16)
    words = random_bits((1, code.n_bits))
    for rows in (code.min_rows - 16, code.min_rows + 1, code.max_rows + 16):
        with pytest.raises(ProtocolAbort, match=f"{rows} rows"):
            code.checks(words, rows)
    with pytest.raises(ProtocolAbort, match="shape"):
        code.checks(words[:, 1:], code.min_rows)
    with pytest.raises(ProtocolAbort, match="shape"):
        code.encode(words)
    checks = code.checks(words, code.min_rows)
    for rate in (0.0, 0.5, float("nan")):
        with pytest.raises(ProtocolAbort, match="error rate"):
            code.decode(checks, rate, 10)


# In the scheme -----------------------------------------------------------------

SECURITY = kit.SECURITY.model_copy(
    update={"frame_bits": 16_000, "bounds": "chernoff", "epsilon": 1e-6}
)
PREPARED = prepare(1_000_000)
RECEIVED, _ = detect(PREPARED, kit.Channel(transmittance=0.5, misalignment=0.02))


def test_the_ledger_counts_every_check_that_was_sent(monkeypatch):
    monkeypatch.setattr(
        ladder, "FIRST_EFFICIENCY", ((0.001, 0.5), (1.0, 1.0))
    )  # too little at first: every frame needs reveals
    alice, bob = make_parties(PREPARED, RECEIVED, security=SECURITY)
    said = talk(alice, bob)
    (words,) = named(said, photon.MaskedWords)
    requests, reveals = named(said, photon.RevealRequest), named(said, photon.Reveal)
    flags = [np.unpackbits(np.frombuffer(r.failed, np.uint8)).sum() for r in requests]
    code = ladder.load_code(words.code)
    at, revealed = code.min_rows, 0
    for failed, reveal in zip(flags, reveals, strict=True):
        told = int(failed) * (code.next_rows(at) - at)
        assert len(reveal.checks) == (told + 7) // 8
        at, revealed = code.next_rows(at), revealed + told
    assert revealed > 0
    for party in (alice, bob):
        ledger = party.distillation.ledger
        assert ledger.published_bits == words.n_frames * code.min_rows
        assert ledger.revealed_bits == revealed


@pytest.mark.parametrize("change", [-1, 1])
def test_a_changed_count_of_checks_ends_the_exchange(change):
    alice, bob = make_parties(PREPARED, RECEIVED, security=SECURITY)

    def miscount(_, data):
        if named([(_, data)], photon.Verified):
            alice._frame_rows[0] += change
        return data

    with pytest.raises(PeerError, match="secret bits"):
        talk(alice, bob, miscount)
