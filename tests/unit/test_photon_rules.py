"""What a photon-counting config must not say, and what it is told then."""

import numpy as np
import pytest
from photon_run_kit import bench
from run_kit import CONFIGS

from dsp.control.bias import PhaseIntegrator
from scqc.core.errors import CaptureError, ConfigError, PayloadError
from scqc.core.rng import ReplayEntropy
from scqc.runs.lab_config import load_config, parse_config
from scqc.runs.photon.prepare import (
    BlockMessage,
    check_payload,
    draw_slots,
    expected_detections,
)

WRONG = [
    ('"tx.pm" = ', '# ', "wiring", "tx.pm", "needs this signal"),
    ('"rx.z1" = "tagger:2"', '"rx.z1" = "tagger:1"', "wiring", "rx.z1", "carries"),
    ('"rx.x0" = "tagger:3"', '"rx.x0" = "awg:1"', "wiring", "rx.x0", "time-tagger"),
    ('"rx.x1" = "tagger:4"', '"rx.x1" = "tagger:7"', "wiring", "rx.x1", "no port"),
    ('"rx.phase" = "phase:1"\n', "", "wiring", "rx.phase", "needs this signal"),
    ("burst_slots = 4_194_304", "burst_slots = 4_194_305", "link", "burst_slots", "64"),
    ("frame_slots = 131_072 ", "frame_slots = 16_384 ", "link", "frame_slots", "delay"),
    ("intensity_gain = 10.0", "intensity_gain = 5.0", "alice.transmitter",
     "intensity_gain", "needs"),
    ("vacuum_photons = 0.00032", "vacuum_photons = 0.0001", "decoy", "vacuum_photons",
     "lets"),
    ("pulse_rate_hz = 50e6", "pulse_rate_hz = 51e6", "sim.source", "pulse_rate_hz",
     "once per slot"),
    ("dead_time_s = 40e-9 ", "dead_time_s = 20e-9 ", "bob.receiver", "dead_time_s",
     "shorter"),
    ("signal_photons = 0.67", "signal_photons = 1.5", "decoy", "signal_photons",
     "photons"),
    ("signal_share = 0.23", "signal_share = 0.47", "decoy", "", "vacuum share"),
    ("decoy_photons = 0.26", "decoy_photons = 0.7", "decoy", "", "must exceed"),
    ('scheme = "dv-qsdc"', 'scheme = "dv-qsdk"', "link", "scheme", "dv-qsdc"),
    ("rad_per_v = 0.5\n", "rad_per_v = 0.01\n", "bob.bias", "", "wider than a turn"),
    ("epsilon = 1e-10 ", "epsilon = 0.5 ", "security", "epsilon", "less than"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "table", "key", "says"), WRONG)
def test_wrong_configs_are_told_where_and_why(old, new, table, key, says):
    text = (CONFIGS / "dv_quick.toml").read_text()
    assert old in text
    with pytest.raises(ConfigError) as caught:
        parse_config(text.replace(old, new, 1), "bench.toml")
    told = [str(p) for p in caught.value.problems]
    places = [f"{p.table}.{p.key}".strip(".") for p in caught.value.problems]
    assert any(f"{table}.{key}".strip(".") == place for place in places), told
    assert any(says in line for line in told), told


def test_direct_without_payload_makes_no_sense():
    text = (CONFIGS / "dv_quick.toml").read_text()
    text = text.replace('"dv-qsdc"', '"dv-decoy-bb84"', 1)
    with pytest.raises(ConfigError, match="sends a payload"):
        parse_config(text.replace('encoding = "masked"', 'encoding = "direct"', 1))


def test_an_active_choice_needs_a_generator_and_all_light():
    text = (CONFIGS / "dv_active_quick.toml").read_text()
    text = text.replace("z_fraction = 1.0 ", "z_fraction = 0.5 ", 1)
    text = text.replace('"rx.pm" = "basis:1"', '"rx.x0" = "tagger:3"', 1)
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert {p.key for p in caught.value.problems} == {"rx.pm", "z_fraction"}


def test_a_missing_pass_is_named(tmp_path):
    text = (CONFIGS / "dv_freespace.toml").read_text()
    path = tmp_path / "bench.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"pass_aircraft\.csv"):
        load_config(path)


def test_payloads_that_cannot_fit():
    config = bench().config
    with pytest.raises(PayloadError, match="empty"):
        check_payload(config, b"")
    room = int(0.8 * expected_detections(config) / 8)
    check_payload(config, bytes(room))
    with pytest.raises(PayloadError, match=f"carries about {room}"):
        check_payload(config, bytes(room + 1))


def test_slots_do_not_hang_on_how_they_are_drawn():
    """Reading the entropy in pieces gives the same slots; two draws differ."""
    pulses = bench().config.decoy
    whole = draw_slots(ReplayEntropy(1, "a"), pulses, 3_000_000)
    source = ReplayEntropy(1, "a")
    parts = [draw_slots(source, pulses, 1 << 20) for _ in range(2)]
    assert np.array_equal(whole[: 1 << 21], np.concatenate(parts))
    assert 0.3 < np.mean(parts[0] != parts[1]) < 0.9


def test_block_messages_survive_being_kept():
    message = BlockMessage(b"\x00\nbytes\xff{}")
    assert BlockMessage.unpacked(message.packed()) == message
    assert "bytes" not in repr(message)
    for damaged in (b"", b"[]\n", b'{"pads": 3}\nx', b'{"pads": []}'):
        with pytest.raises(CaptureError):
            BlockMessage.unpacked(damaged)


def test_phase_integrator_converges_and_steps_back_by_turns():
    """A shifter of either sign, with the target anywhere, stays within limits."""
    for rad_per_v in (0.5, -0.5):
        law = PhaseIntegrator(0.5, rad_per_v, (0.0, 30.0))
        volts = law.start(15.0)
        target = 1.0
        for step in range(400):
            target += 0.05
            error = (rad_per_v * volts - target + np.pi) % (2 * np.pi) - np.pi
            volts = law.update(error, gain=1.0 if step < 3 else None)
            assert 0.0 <= volts <= 30.0
            if step > 10:
                assert abs(error) < 0.2
