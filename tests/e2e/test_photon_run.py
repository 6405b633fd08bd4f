"""The photon-counting job, end to end over the wire: message in, message out, key."""

import copy
import json
import math
import shutil

import numpy as np
import pytest
from photon_run_kit import MESSAGE, SMALL, bench, run, tapped
from run_kit import CONFIGS, made_pools, mode_of, scqc

from dsp.time_tags import slots
from dsp.time_tags.transmitter import read_back
from protocols.key_sink import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    KeySink,
)
from scqc.core.errors import (
    CaptureError,
    KeySinkError,
    PayloadError,
    ProtocolAbort,
    SignalError,
)
from scqc.runs import offline
from scqc.runs.lab_config import parse_config
from scqc.runs.progress import Silent
from scqc.store.slot_record import read_slot_record
from scqc.store.tag_capture import open_tag_capture

# The benches of this file live for a second: see warm_kit.
pytestmark = pytest.mark.usefixtures("warm_processes", "undrawn")
ALICE_TO_BOB = "alice-to-bob"
BOB_TO_ALICE = "bob-to-alice"
FIELDS = (
    "quantum.gain.signal",
    "quantum.gain.decoy",
    "quantum.gain.vacuum",
    "quantum.qber.z",
    "quantum.qber.x",
    "quantum.y1",
    "quantum.e1",
    "sync.delay_s",
    "sync.df",
    "sink.before",
    "sink.consumed",
    "sink.refilled",
    "sink.after",
    "payload.delivered",
    "payload.bytes",
    "key.secret_bits",
    "key.agree",
    "key.epsilon",
)
FULL_SCALE_V = 0.35
DAC_FULL = 2047


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Run the quick bench once: two blocks' worth of files and one result."""
    folder = tmp_path_factory.mktemp("photon") / "run"
    return folder, run(folder)


def test_the_capture_holds_the_settings_of_the_whole_station(quick):
    with open_tag_capture(quick[0] / "capture.h5") as opened:
        snapshot = json.loads(opened.header.instruments_json)
        config = parse_config(opened.header.config_toml)
    assert snapshot.keys() == {*config.instruments, "wiring"}
    assert all(snapshot[name]["settings"] for name in config.instruments)


def released(folder, name):
    with KeySink(folder / "keys" / f"{name}.sqlite") as sink:
        return {(e.identifier, e.n_bits - e.available_bits) for e in sink.list()}


def test_message_arrives_and_key_is_equal(quick):
    folder, result = quick
    assert (folder / "payload.received").read_bytes() == MESSAGE
    key = result.data["key"]
    assert key["agree"] is True
    assert key["secret_bits"] > 1000
    assert result.exit_code == 0
    alice, bob = (made_pools(folder / "keys", name) for name in ("alice", "bob"))
    assert [bits for _, bits in alice] == [bits for _, bits in bob]
    sizes = {(e.purpose, e.direction): e.n_bits for e, _ in alice}
    # The tags of the next block and of a greeting come first, the rest is pad for
    # messages.
    tags = 3 * 128
    assert sizes == {
        (AUTHENTICATION_PURPOSE, ALICE_TO_BOB): tags,
        (AUTHENTICATION_PURPOSE, BOB_TO_ALICE): tags,
        (PAD_PURPOSE, ALICE_TO_BOB): key["secret_bits"] - 2 * tags,
    }


def test_every_promised_field_is_there(quick):
    folder, _ = quick
    data = json.loads((folder / "result.json").read_text())
    for path in FIELDS:
        node = data
        for part in path.split("."):
            node = node[part]
        assert isinstance(node, int | float | bool), path
    assert data["sink"]["after"] == (
        data["sink"]["before"] - data["sink"]["consumed"] + data["sink"]["refilled"]
    )
    assert data["sink"]["consumed"] == 8 * len(MESSAGE)
    assert (folder / "report.html").stat().st_size > 10_000
    for name in ("capture.h5", "alice.scqc", "payload.received"):
        assert mode_of(folder / name) == 0o600


def test_figures_agree_with_the_bench(quick):
    """Gains, errors and clocks against the settings, within five sigma."""
    _, result = quick
    data, config = result.data, bench().config
    sim = config.sim
    eta = 10 ** (-0.1 * (0.2 * sim.channel.length_km + 1.5)) * 0.5 * 0.7
    # The all-detector dead time takes the same share of every intensity.
    n_slots, sync = config.link.block_slots, 1 - 1 / config.link.sync_every
    shares = config.decoy.intensities.probabilities
    counts = {}
    for share, name in zip(shares, slots.INTENSITIES, strict=True):
        counts[name] = data["quantum"]["gain"][name] * share * n_slots * sync
    z = sim.interferometer.z_fraction
    ideal = []
    for mu in config.decoy.intensities.mean_photons:
        mean = eta * mu
        cross = math.expm1(-z * mean) * math.expm1(-(1 - z) * mean)
        # An early satellite of the same slot (half as bright as the centre) puts the
        # receiver to sleep before the centre comes.
        ideal.append((-math.expm1(-mean) - cross) * math.exp(-0.5 * mean))
    live_time = data["quantum"]["gain"]["signal"] / ideal[0]
    assert 0.75 < live_time < 1.0
    ratio = data["quantum"]["gain"]["decoy"] / ideal[1]
    sigma = live_time * math.hypot(counts["signal"] ** -0.5, counts["decoy"] ** -0.5)
    assert abs(ratio - live_time) < 5 * sigma
    # (1 - V) / 2 of the photons take the wrong port; the phase adds a little.
    expected = 0.5 * (1 - sim.interferometer.visibility)
    for basis, n in (("z", 1e5), ("x", data["quantum"]["check_detections"])):
        assert data["quantum"]["qber"][basis] > expected - 5 * math.sqrt(expected / n)
        assert data["quantum"]["qber"][basis] < expected + 0.01
    # Slots are longer in Bob's clock by his clock's error.
    assert abs(1e6 * data["sync"]["df"] + sim.tagger.clock_error_ppm) < 0.01
    assert 0.0 < data["sync"]["delay_s"] < 1.0e-3
    # This bench's detectors have none.
    for one in data["counting"]["afterpulse"]:
        assert abs(one["probability"]) < 5 * one["sigma"] < 0.05


def test_processing_the_capture_again_gives_the_same(quick, tmp_path):
    folder, result = quick
    again = offline.process_capture(folder / "capture.h5", tmp_path / "b", Silent())
    expected = copy.deepcopy(result.data)
    # Only what was said about the light is not said again: fewer bytes to forge.
    forged = [d["key"].pop("epsilon_authentication") for d in (again.data, expected)]
    assert 0.0 < forged[0] < forged[1]
    # The pad of the start key adds nothing to what a forger of the message has.
    assert [d["payload"].pop("epsilon") for d in (again.data, expected)] == forged
    for table in ("quantum", "key", "payload", "reconciliation", "counting"):
        assert again.data[table] == expected[table], table
    # The sinks of the run itself know that this block was said.
    shutil.copytree(folder / "keys", tmp_path / "c" / "keys")
    with pytest.raises(KeySinkError, match="distilled before"):
        offline.process_capture(folder / "capture.h5", tmp_path / "c", Silent())


def test_generator_played_what_alice_noted(tmp_path):
    """Slot contents read back from the emulator, in a gapless sequence of segments."""
    archives = []
    with tapped(archives):
        run(tmp_path, *SMALL, ("segments = 1 ", "segments = 8 "))
    config = bench(*SMALL).config
    record = read_slot_record(tmp_path / "alice.scqc")
    (archive,) = archives
    played = [archive[name] for name in archive if name.startswith("played/")]
    # The last one is the block; before it came bursts that found the phase.
    volts = played[-1].astype(np.float32) * np.float32(FULL_SCALE_V / DAC_FULL)
    found = read_back(volts, config.link, config.pulses)
    sent = record.bursts[0] & np.uint8(0x0F)
    assert found.size == sent.size == config.link.burst_slots
    assert np.array_equal(slots.intensity(found), slots.intensity(sent))
    # A dark slot has no phase that anybody could see.
    lit = slots.intensity(sent) != slots.VACUUM
    assert np.array_equal(found[lit], sent[lit])


def test_direct_encoding_delivers_and_only_drains(tmp_path):
    result = run(
        tmp_path,
        ('encoding = "masked"', 'encoding = "direct"'),
        ("bursts = 2 ", "bursts = 1 "),
        ("burst_slots = 4_194_304", "burst_slots = 2_097_152"),
    )
    assert (tmp_path / "payload.received").read_bytes() == MESSAGE
    data = result.data
    assert data["key"]["secret_bits"] == 0
    assert data["sink"]["refilled"] == 0
    assert data["sink"]["before"] == 65_536
    assert data["sink"]["after"] == 65_536 - 8 * len(MESSAGE)
    # A sink that never heard of it learns what the light has spent.
    again = offline.process_capture(
        tmp_path / "capture.h5", tmp_path / "again", Silent()
    )
    assert again.data["sink"] == data["sink"]
    assert "decoy argument" in result.verdict
    assert result.exit_code == 3
    assert "decoy argument" in (tmp_path / "report.html").read_text()


def test_without_payload_it_is_decoy_bb84(tmp_path):
    bb84 = ('"dv-qsdc"', '"dv-decoy-bb84"')
    with pytest.raises(PayloadError, match="key only"):
        run(tmp_path / "a", bb84)
    result = run(tmp_path, bb84, payload=b"")
    assert result.data["key"]["agree"]
    pools = [entry for entry, _ in made_pools(tmp_path / "keys", "bob")]
    assert sum(e.n_bits for e in pools) == result.data["key"]["secret_bits"]
    export = [e for e in pools if e.purpose == KEY_PURPOSE]
    # Each end allocates from half of it; no message is padded with any.
    assert {e.direction for e in export} == {ALICE_TO_BOB, BOB_TO_ALICE}
    tags = sum(e.n_bits for e in pools if e.purpose == AUTHENTICATION_PURPOSE)
    assert tags == 6 * 128
    assert sum(e.n_bits for e in export) + tags == result.data["key"]["secret_bits"]
    assert not (tmp_path / "payload.received").exists()


def test_key_blocks_fill_the_sink_until_the_message_fits(tmp_path):
    """The message waits for a block that the sink can pad."""
    result = run(
        tmp_path,
        ("blocks = 1 ", "blocks = 2 "),
        ("start_pad_bits = 65_536", "start_pad_bits = 5_120"),
    )
    sink, first = result.data["sink"], tmp_path / "block-000"
    assert sink["before"] == 5120 < 4096 + 8 * len(MESSAGE)
    assert not (first / "payload.received").exists()
    got = (tmp_path / "block-001" / "payload.received").read_bytes()
    assert got == MESSAGE
    assert sink["after"] == 5120 - 8 * len(MESSAGE) + sink["refilled"]
    # No slot of one block is a copy of the other's.
    one, two = (
        read_slot_record(tmp_path / f"block-00{n}" / "alice.scqc").bursts[0]
        for n in (0, 1)
    )
    assert 0.2 < np.mean(one != two) < 0.9


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        pytest.param(
            [('"rx.z0" = "tagger:1"', '"rx.z0" = "tagger:3"'),
             ('"rx.x0" = "tagger:3"', '"rx.x0" = "tagger:1"')], None, "",
            marks=pytest.mark.soak, id="dv-swapped"),
        ([("visibility = 0.98", "visibility = 0.70")], ProtocolAbort, "error rate"),
        ([("dark_rate_hz = [100.0, 100.0", "dark_rate_hz = [4e7, 100.0"),
          ("dead_time_s = 40e-9 ", "max_count_rate_hz = 8e6\ndead_time_s = 40e-9 ")],
         SignalError, "blind the detector"),
        pytest.param(
            [("full_scale_photons = 1.0", "full_scale_photons = 1e-7")],
            SignalError, "clock|frame|tags", marks=pytest.mark.soak, id="dv-dark"),
        pytest.param(
            [("[sim]\n", "[sim.faults]\n"
              'tagger = [{ at = "fetch", kind = "lost-tags", count = 99 }]\n[sim]\n')],
            SignalError, "lost", marks=pytest.mark.soak, id="dv-lost"),
        ([("[sim]\n", "[sim.faults]\n"
           'tagger = [{ at = "fetch", kind = "overflow", count = 99 }]\n[sim]\n')],
         SignalError, "overflow"),
        ([("[sim]\n", "[sim.faults]\n"
           'tagger = [{ at = "fetch", kind = "wrong-channels", count = 99 }]\n[sim]\n'),
          ("gain = 0.5", "gain = 0.0"), ("drift_rad_per_sqrt_s = 0.1\n", "")],
         SignalError, "channel map"),
        ([("start_pad_bits = 65_536", "start_pad_bits = 4_352")],
         KeySinkError, "pad"),
    ],
)  # fmt: skip
def test_bad_benches_end_typed_and_without_key(tmp_path, changes, error, says):
    if error is None:
        # Both the bench and the config swap the inputs: consistent, and fine.
        assert run(tmp_path, *SMALL, *changes).data["payload"]["delivered"]
        return
    with pytest.raises(error, match=says):
        run(tmp_path, *SMALL, *changes)
    assert not (tmp_path / "payload.received").exists()
    for name in ("alice", "bob"):
        with KeySink(tmp_path / "keys" / f"{name}.sqlite") as sink:
            assert not [e for e in sink.list() if "/0/" in e.identifier]
            if error is ProtocolAbort:
                # It came before the word: no pad is spent.
                left = sink.available_bits(PAD_PURPOSE, ALICE_TO_BOB, True)
                assert left == 65_536


def test_too_long_a_payload_is_refused_before_any_light(tmp_path):
    with pytest.raises(PayloadError, match="carries about"):
        run(tmp_path, payload=bytes(100_000))
    assert not (tmp_path / "capture.h5").exists()


@pytest.mark.soak
def test_command_line_of_dv_says_it_all(tmp_path):
    """The command line of several blocks, of both schemes, is tried every time."""
    text = (CONFIGS / "dv_quick.toml").read_text()
    for old, new in SMALL:
        text = text.replace(old, new, 1)
    config = tmp_path / "small.toml"
    config.write_text(text)
    note = CONFIGS / "payload.txt"
    done = scqc(
        "run", config, "--payload", note, "--json", "--out", tmp_path / "r", timeout=110
    )
    data = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr
    assert data["payload"]["delivered"] is True
    assert "bits short" in data["verdict"]


def test_pass_table_travels_with_the_capture(tmp_path):
    """A config that names a file is stored with the file's numbers."""
    from scqc.runs.lab_config import load_config

    loaded = load_config(CONFIGS / "dv_freespace.toml")
    assert "pass_file =" not in loaded.text
    config = parse_config(loaded.text, tmp_path / "elsewhere.toml")
    assert len(config.sim.channel.fading.pass_table) == 101


def test_what_was_spent_stays_spent_and_the_journal_says_so(tmp_path, monkeypatch):
    """An abort after the words were published: no message, no key, pad gone."""
    from protocols.schemes import photon_bob

    def refuse(basis, rate, security):
        if basis == "Z":
            raise ProtocolAbort("error rate: broken on purpose")

    monkeypatch.setattr(photon_bob, "refuse_errors", refuse)
    with pytest.raises(ProtocolAbort, match="on purpose"):
        run(tmp_path, *SMALL)
    journal = (tmp_path / "journal.jsonl").read_text()
    for name in ("alice", "bob"):
        with KeySink(tmp_path / "keys" / f"{name}.sqlite") as sink:
            left = sink.available_bits(PAD_PURPOSE, ALICE_TO_BOB, True)
            assert left == 65_536 - 8 * len(MESSAGE)
            assert not [e for e in sink.list() if "/0/" in e.identifier]
        assert f"{name}: spent for ever: start/alice-to-bob/pad[0:" in journal
    assert "on purpose" in journal
    assert not (tmp_path / "payload.received").exists()


def test_a_key_basis_much_worse_than_the_check_is_seen_in_public_slots(tmp_path):
    """Without a bias loop: Z half a radian off, X in place."""
    worse = (
        *SMALL,
        ("gain = 0.5", "gain = 0.0"),
        ("drift_rad_per_sqrt_s = 0.1\n", "z_offset_rad = 0.45\n"),
        ("drift_rad_per_sqrt_s = 0.05", "drift_rad_per_sqrt_s = 0.0"),
    )
    result = run(tmp_path / "a", *worse)
    assert result.data["payload"]["delivered"]
    assert result.data["quantum"]["qber"]["z"] > 0.04
    assert result.data["quantum"]["qber"]["x"] < 0.02
    with pytest.raises(ProtocolAbort, match="basis Z"):
        run(tmp_path / "b", *worse, ("z_offset_rad = 0.45", "z_offset_rad = 0.9"))
    with KeySink(tmp_path / "b" / "keys" / "alice.sqlite") as sink:
        assert sink.available_bits(PAD_PURPOSE, ALICE_TO_BOB, True) == 65_536


def test_two_detectors_and_an_active_choice_of_the_basis(tmp_path):
    """Bob's modulator chooses; what it was set to is on disk, and of two kinds."""
    result = run(tmp_path, *SMALL, name="dv_active_quick.toml")
    assert (tmp_path / "payload.received").read_bytes() == MESSAGE
    assert len(result.data["counting"]["rates_hz"]) == 2
    assert mode_of(tmp_path / "bob.scqc") == 0o600
    (bases,) = (slots.basis(b) for b in read_slot_record(tmp_path / "bob.scqc").bursts)
    share = bench(name="dv_active_quick.toml").config.bob.basis.z_share
    sigma = math.sqrt(share * (1 - share) / bases.size)
    assert abs(np.mean(bases == slots.Z) - share) < 5 * sigma
    # Half of a wrong guess is wrong: without the record nothing could be sifted.
    assert result.data["quantum"]["qber"]["x"] < 0.03
    (tmp_path / "bob.scqc").unlink()
    with pytest.raises(CaptureError, match="modulator"):
        offline.process_capture(tmp_path / "capture.h5", tmp_path / "again", Silent())
