"""A plan of weak pulses and its bench: the light is what the plan says it is.

The quick tests play a block in the virtual laboratory, without its instruments; the
long ones run it as ``scqc run`` does.
"""

import json
from collections import namedtuple

import numpy as np
import pytest

from dsp.time_tags import slots
from dsp.time_tags.pipeline import receive_tags
from dsp.time_tags.transmitter import pulse_waveform
from protocols.security.decoy import Counts, binary_entropy, estimate
from protocols.security.decoy_length import Disclosed, key_length
from scqc.core.errors import ConfigError, PlanSettingsError
from scqc.core.records import TimeTags
from scqc.core.rng import ReplayEntropy, random_bits, stream
from scqc.plan.overrides import settings_of
from scqc.runs.lab_config import load_config
from scqc.runs.live import run_live
from scqc.runs.photon.prepare import prepare_burst
from scqc.runs.photon.receive import receiver_settings
from scqc.runs.plan_bench import (
    expected_run,
    found_by_run,
    lab_config,
    write_lab_config,
)
from scqc.runs.progress import Silent
from sim_backends.photon_world import PhotonWorld

Means = namedtuple("Means", ["detections", "errors"])
PAYLOAD = bytes(range(200))
# One burst; with so many dark counts that a block of this size can tell.
LONGER = ("length_km=20", "block_sizes=[4194304]", "dark_yield=1e-5")
QUICK = ("length_km=20", "block_sizes=[2097152]")


def planned(*changes, preset="fiber-decoy"):
    scenario, _, _ = settings_of(preset, changes)
    config = lab_config(scenario)
    return config, expected_run(scenario, config)


def played(config, seed=1):
    """Play one burst without instruments; return what a run reports of its light."""
    link, basis = config.link, config.bob.basis
    prepared = prepare_burst(config, ReplayEntropy(seed, "alice"), 0, None)
    words = np.frombuffer(ReplayEntropy(seed, "bases").read(2 * prepared.size), "<u2")
    bases = (words >= round(basis.z_share * 65536)).astype(np.uint8)
    waveform = pulse_waveform(prepared, link, config.pulses)
    quarter_v = np.float32(0.5 * basis.phase_vpi_v / basis.phase_gain)
    turned = np.zeros((bases.size, link.samples_per_slot), dtype=np.float32)
    turned[:, link.samples_per_slot // 2 :] = (quarter_v * bases)[:, None]
    world = PhotonWorld(config.sim.model_copy(update={"seed": seed}), keep_truth=False)
    world.set_level("signal", 2.0)
    world.play(waveform.samples, waveform.rate_hz)
    world.play_basis(turned.reshape(-1), waveform.rate_hz)
    duration_s = link.burst_slots / link.slot_rate_hz + config.bob.tagger.margin_s
    times_ps, detectors = world.tags(duration_s)
    channels = (detectors + 1).astype(np.uint8)
    tags = TimeTags(times_ps, channels, round(1e12 * duration_s))
    coins = random_bits(ReplayEntropy(seed, "coins"), times_ps.size // 2 + 8)
    receiver = receiver_settings(config)
    seen = receive_tags(
        tags, link, receiver, coins, prepared.size, bases=bases
    ).detections
    codes, fresh = prepared[seen.slots], ~slots.is_sync(prepared[seen.slots])
    sent = np.bincount(slots.intensity(prepared[~slots.is_sync(prepared)]), minlength=3)
    counts = np.bincount(slots.intensity(codes[fresh]), minlength=3)
    found = {
        f"gain_{name}": counts[k] / sent[k] for k, name in enumerate(slots.INTENSITIES)
    }
    for name, number in (("z", slots.Z), ("x", slots.X)):
        both = fresh & (seen.bases == number) & (slots.basis(codes) == number)
        wrong = both & (seen.bits != slots.bit(codes))
        found[f"qber_{name}"] = wrong.sum() / both.sum()
    return found


def outside(intervals, found):
    return {n for n, v in found.items() if not intervals[n].holds(v)}


def altered(config, table, **changes):
    """Return the bench with another truth than the parties believe in."""
    part = getattr(config.sim, table).model_copy(update=changes)
    return config.model_copy(
        update={"sim": config.sim.model_copy(update={table: part})}
    )


def lied(config, lie):
    """Return the bench with one thing other than it was planned."""
    sim = config.sim
    if lie == "a fibre 1 km longer":
        return altered(config, "channel", length_km=sim.channel.length_km + 1.0)
    if lie == "detectors 10 % less efficient":
        efficiency = tuple(0.9 * e for e in sim.detectors.efficiency)
        return altered(config, "detectors", efficiency=efficiency)
    if lie == "ten times the dark counts":
        rates = tuple(10.0 * r for r in sim.detectors.dark_rate_hz)
        return altered(config, "detectors", dark_rate_hz=rates)
    if lie == "twice the misalignment":
        wrong = 1.0 - sim.interferometer.visibility
        return altered(config, "interferometer", visibility=1.0 - 2.0 * wrong)
    # The plan counts it, so a receiver that never sleeps is none of the plan's.
    receiver = config.bob.receiver.model_copy(update={"dead_time_s": 1e-12})
    bob = config.bob.model_copy(update={"receiver": receiver})
    return altered(config.model_copy(update={"bob": bob}), "detectors", dead_time_s=0.0)


def test_the_light_is_what_was_planned():
    config, intervals = planned(*QUICK)
    assert not outside(intervals, played(config))


def test_worse_detectors_are_not_what_was_planned():
    config, intervals = planned(*QUICK)
    found = played(lied(config, "detectors 10 % less efficient"))
    assert outside(intervals, found) >= {"gain_signal", "gain_decoy"}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("lie", "seen"),
    [
        ("a fibre 1 km longer", {"gain_signal", "gain_decoy"}),
        ("detectors 10 % less efficient", {"gain_signal", "gain_decoy"}),
        ("ten times the dark counts", {"gain_vacuum"}),
        ("twice the misalignment", {"qber_z"}),
        ("no dead time", {"gain_signal"}),
    ],
)
def test_another_bench_is_not_what_was_planned(lie, seen):
    config, intervals = planned(*LONGER)
    assert not outside(intervals, played(config))
    assert seen <= outside(intervals, played(lied(config, lie)))


@pytest.mark.soak
@pytest.mark.parametrize(
    "changes",
    [
        # A dead time that ends with a slot: jitter decides.
        ("dead_time_s=40e-9",),
        ("dead_time_s=0.0", "vacuum_photons=0.0"),
        ("dead_time_s=150e-9", "length_km=15", "signal_photons=0.9"),
        ("stray_yield=3e-5", "misalignment=0.04", "gate_s=8e-9"),
        ("symbol_rate_hz=250e6", "gate_s=1.2e-9", "public_share=0.125"),
        ("length_km=10", "z_share=0.5", "efficiency=0.25"),
        # Light of a neighbour at all times takes one slot in forty by the dead time.
        ("length_km=5", "neighbour_dbm=-18", "filter_nm=0.1"),
    ],
)
def test_the_light_of_other_plans(changes):
    config, intervals = planned(*LONGER, *changes)
    for seed in range(3):
        assert not outside(intervals, played(config, seed))


def test_the_written_config_and_what_lies_beside_it(tmp_path):
    path = tmp_path / "lab.toml"
    written = write_lab_config(path, "fiber-decoy", QUICK)
    assert [p.name for p in written] == ["lab.toml", "lab-expected.json"]
    config, intervals = planned(*QUICK)
    assert load_config(path).config == config
    beside = json.loads((tmp_path / "lab-expected.json").read_text())
    for name, interval in intervals.items():
        assert beside[name]["low"] <= interval.value <= beside[name]["high"]
        assert beside[name]["value"] == interval.value
    assert intervals.keys() == found_by_run(config, RESULT).keys()


def drawn_key(config, counts, random):
    """Return the key per slot of one block, with counts as chance has them."""
    key, check = (
        Counts(
            tuple(random.poisson(c.detections).tolist()),
            tuple(random.poisson(c.errors).tolist()),
        )
        for c in counts
    )
    half = 0.5 * config.security.epsilon
    sent = config.decoy.intensities
    bounds = estimate(key, check, sent, half, config.security.bounds)
    # What the ladder needs: the check basis tells the code, the key the rest.
    rate = max(key.error_rate, check.error_rate)
    leak = round(1.14 * binary_entropy(rate) * key.total)
    ledger = key_length(key.total, bounds, Disclosed(leak, 0, 64, 27, 0), half)
    return ledger.secret_bits / config.link.block_slots


def test_key_interval_is_as_wide_as_chance_makes_it():
    config, intervals = planned("length_km=20")
    scheme = settings_of("fiber-decoy", ["length_km=20"])[0].scheme
    gains = [intervals[f"gain_{name}"].value for name in slots.INTENSITIES]
    shares = config.decoy.intensities.probabilities
    slots_left = 15 / 16 * config.link.block_slots
    counts = []
    for basis, share in (("z", scheme.z_share), ("x", 1.0 - scheme.z_share)):
        rate = intervals[f"qber_{basis}"].value
        seen = [
            slots_left * share**2 * p * g for p, g in zip(shares, gains, strict=True)
        ]
        counts.append(Means(seen, [rate * n for n in seen]))
    random = stream(3, "blocks")
    found = [drawn_key(config, counts, random) for _ in range(300)]
    interval = intervals["secret_bits_per_slot"]
    assert all(interval.holds(key) for key in found)
    # Chance alone is most of it: nothing is hidden behind a wide margin.
    assert interval.high - interval.low < 2.0 * 2.0 * 3.9 * np.std(found)


RESULT = {
    "quantum": {
        "gain": dict.fromkeys(slots.INTENSITIES, 0.0),
        "qber": {"z": 0.0, "x": 0.0},
    },
    "key": {"secret_bits_per_slot": 0.0},
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["finite=published"], "a bench has 'hoeffding'"),
        (["in_gate_share=0.9"], "have 0.5 only"),
        (["public_share=0.0"], "nearest valid value"),
        (["public_share=0.07"], "nearest valid value 0.0625"),
        (["gate_s=10e-9"], "below half a slot; nearest valid value 9.8e-09"),
        (["misalignment=0.08"], "a run ends above 8%"),
        (["block_sizes=[1e5]"], "a frame of the reconciliation needs more"),
        (["correction_efficiency=1.4"], r"codes reach 1\.1.*nearest valid value 1\.2"),
        (["channel.kind=downlink"], "a bench runs fibre"),
    ],
)
def test_what_no_photon_bench_can_run(changes, says, tmp_path):
    with pytest.raises(PlanSettingsError, match=says):
        write_lab_config(tmp_path / "lab.toml", "fiber-decoy", changes)
    assert not list(tmp_path.iterdir())


def test_what_is_outside_the_ranges_of_the_bench(tmp_path):
    with pytest.raises(ConfigError, match="vacuum_photons"):
        write_lab_config(tmp_path / "lab.toml", "fiber-decoy", ["vacuum_photons=0.15"])


def run_of(folder, changes, seed):
    """Run a plan's bench as the command line does."""
    path = folder / "lab.toml"
    write_lab_config(path, "fiber-decoy", changes)
    loaded = load_config(path).with_seed(seed)
    data = run_live(loaded, PAYLOAD, folder / "run", Silent()).data
    return loaded.config, data


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        ("length_km=20",),
        ("length_km=20", "block_sizes=[33554432]"),
        ("length_km=10", "block_sizes=[2e7]", "finite=chernoff", "z_share=0.6"),
    ],
)
def test_plan_and_key_of_whole_runs(tmp_path, changes, seed):
    config, data = run_of(tmp_path, changes, seed)
    found = found_by_run(config, data)
    intervals = planned(*changes)[1]
    assert not outside(intervals, found)
    assert data["payload"]["delivered"]
    assert data["key"]["agree"]
    assert found["secret_bits_per_slot"] > 0.0
