"""The laws of the exchange: what is counted, what is authenticated, what is shared.

Alice and Bob talk in this process over the real messages; the tests read the
transcript, or change it.
"""

import math
from copy import deepcopy
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from light_kit import (
    Channel,
    displaced_block,
    link_keys,
    make_alice,
    make_bob,
    plain_block,
    talk,
)

from protocols.estimation.regression import regress
from protocols.messages import wire
from protocols.privacy_amplification.toeplitz import compress
from protocols.reconciliation import multidimensional
from protocols.schemes import cv_bob
from protocols.verification.tags import TAG_BITS, tags
from scqc.core.errors import PeerError, ProtocolAbort, ScqcError
from scqc.core.rng import permutation

SIGMAS = 5.0
BLOCK = plain_block(decoder_iterations=50)


def _no_key(party):
    with pytest.raises(PeerError, match="no key before"):
        party.key()


# 2. No frame is dropped ----------------------------------------------------------


def test_lost_frames_stay_in_the_estimate_and_dropping_them_would_bias_it():
    loud = 2.0  # SNU at Bob, in every tenth frame: too much for the code
    noise = np.where(np.arange(20) % 10 == 3, loud, 0.0)
    block = displaced_block(noise)
    done = talk(block).run()
    bob, channel = done.bob, Channel(0.631, 0.85, 0.05, 0.0, 2.0)
    assert (bob.report.frames, bob.report.frames_lost) == (20, 2)
    estimate = bob.distillation.estimate
    truth = float(noise.mean())
    # Samples of unequal variance: the squares' variances add up.
    variances = channel.noise_snu + noise
    n = estimate.samples
    sigma = math.sqrt(2.0 * float(np.mean(variances**2)) / n)
    assert abs(estimate.noise_bob_snu - truth) < SIGMAS * sigma
    # The FEC's own wrong guess of a lost frame would fold its Gaussian and lower T.
    sigma_t = 2.0 * math.sqrt(float(variances.mean()) / (n * channel.v_a_snu))
    assert estimate.transmittance / channel.transmittance == pytest.approx(
        1.0, abs=SIGMAS * sigma_t / channel.gain
    )
    assert bob.report.fec_errors > 1000
    assert bob.distillation == done.alice.distillation
    # The break: post-selection on the CRC, the rest of the path unchanged.
    per_frame = block.codec.fec.n_bits // 2
    kept = np.repeat(bob._reception.crc_ok, per_frame)
    values = block.alice.symbols[kept].view(np.float32)
    dropped = regress(values, bob._symbols[kept].view(np.float32))
    biased = dropped.residual_snu - 1.0 - channel.electronic_snu
    assert abs(biased) < SIGMAS * math.sqrt(2.0 / dropped.n) * channel.noise_snu + 2e-3
    assert truth - biased > 20 * sigma


def test_alice_discloses_the_coded_bits_of_exactly_the_lost_frames():
    noise = np.where(np.arange(20) % 10 == 3, 2.0, 0.0)
    block = displaced_block(noise)
    done = talk(block).run()
    (disclosed,) = done.of(wire.FrameDisclosure)
    n_bits = block.codec.fec.n_bits
    bits = wire.unpack_bits("coded", disclosed.coded, 2 * n_bits)
    np.testing.assert_array_equal(bits.reshape(2, -1), block.alice.coded[[3, 13]])
    assert done.bob.report.payload is not None


# 4. Every disclosed bit is in the ledger -----------------------------------------


def _overrate(monkeypatch, factor):
    """Choose rates too high, so that frames need the retry and some are lost."""
    choose = cv_bob.choose_rate
    monkeypatch.setattr(cv_bob, "choose_rate", lambda *a: factor * choose(*a))


NOISY = Channel(0.9, 1.0, 0.01, 0.0, 1.2)


def _accepted(message, frames):
    flags = wire.unpack_bits("flags", message.accepted, frames)
    return flags.astype(bool)


def test_the_ledger_counts_the_bits_that_are_in_the_transcript(monkeypatch):
    _overrate(monkeypatch, 1.1)
    block = plain_block(200_000, NOISY)
    done = talk(block).run()
    ledger = done.bob.distillation.ledger
    assert done.alice.distillation.ledger == ledger
    (offer,) = done.of(wire.ReconciliationOffer)
    first, second = (
        _accepted(m, offer.n_frames) for m in done.of(wire.ReconciliationResult)
    )
    (retry,) = done.of(wire.RetrySyndromes)
    (failed,) = done.of(wire.FailedFrames)
    code, frames, kept = done.bob.code, offer.n_frames, int(second.sum())
    # The case is worth testing only if all three fates occur.
    assert 0 < first.sum() < kept < frames
    assert (ledger.frames_total, ledger.frames_kept) == (frames, kept)
    assert ledger.raw_bits == frames * code.n
    lost = frames - kept
    # Sent about frames that were then disclosed whole: they left the key.
    assert 8 * len(failed.bits) == lost * code.n == ledger.failed_bits
    per_frame = 8 * len(offer.syndromes) // frames
    assert 8 * len(offer.syndromes) == ledger.syndrome_bits + lost * per_frame
    assert 8 * len(offer.tags) == ledger.verification_bits + lost * TAG_BITS
    retried = int(np.count_nonzero(~first))
    row = 8 * len(retry.syndromes) // retried
    assert 8 * len(retry.syndromes) == ledger.revealed_bits + lost * row
    # One flag per frame, then one for each that was still open.
    assert ledger.flag_bits == frames + retried
    (report,) = done.of(wire.EstimationReport)
    rows = [*report.sums, *report.bursts]
    numbers = [x for row in rows for x in (row.xx, row.xy, row.yy)]
    assert ledger.estimation_bits == 64 * len([*numbers, *offer.deviations])
    assert ledger.leak_bits == sum(
        (
            ledger.syndrome_bits,
            ledger.revealed_bits,
            ledger.verification_bits,
            ledger.flag_bits,
            ledger.estimation_bits,
        )
    )


def test_no_accepted_frame_means_no_key(monkeypatch):
    _overrate(monkeypatch, 1.2)
    done = talk(plain_block(60_000, NOISY)).run()
    assert not done.bob.outcome.accepted.any()
    assert done.alice.key() == done.bob.key() == (b"", 0)
    (failed,) = done.of(wire.FailedFrames)
    assert 8 * len(failed.bits) == done.bob.outcome.accepted.size * done.bob.code.n


def test_key_length_is_the_ledgers_balance():
    done = talk(BLOCK).run()
    key, n_bits = done.bob.key()
    assert n_bits == done.bob.distillation.ledger.secret_bits > 0
    assert len(key) == (n_bits + 7) // 8
    assert done.alice.key() == (key, n_bits)


# 5. A key only after authentication ----------------------------------------------


REFERENCE = talk(BLOCK)
# What comes before an altered message is the same whatever it becomes.
MOMENTS = REFERENCE.moments()
LAST = len(REFERENCE.messages) - 1


def _run_with(number, data):
    changed = deepcopy(MOMENTS[number])
    with pytest.raises((PeerError, ProtocolAbort)):
        changed.run(lambda at, _, original: data if at == number else original)
    return changed


@pytest.mark.parametrize("number", range(LAST + 1))
def test_any_flipped_bit_ends_the_exchange_without_a_key(number):
    data = REFERENCE.messages[number][1]
    rng = np.random.default_rng([number, 15])
    total = 8 * len(data)
    # The head of a message holds its structure; the rest is sampled.
    chosen = {0, total - 1, *rng.integers(0, min(total, 400), 5)}
    chosen |= set(rng.integers(0, total, 5).tolist())
    for bit in chosen:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        ended = _run_with(number, bytes(changed))
        _no_key(ended.alice)
        # Only Bob's own last tag comes after he has checked everything.
        if number < LAST:
            _no_key(ended.bob)
        else:
            assert ended.bob.key() == REFERENCE.bob.key()


def _extremes(value):
    """Values of the same type that no honest party sends."""
    if isinstance(value, bytes):
        size = len(value)
        junk = [b"", value + b"\0", value[:-1], bytes(size), b"\xff" * size]
        return [*junk, b"\0\0\x7f\x7f" * (size // 4)]
    if isinstance(value, int):
        return [0, 1, value + 1, 1 << 40]
    if isinstance(value, float):
        return [0.0, -value, 1e-300, 9e29, value * 1.001]
    if isinstance(value, msgspec.Struct):
        return _variants(value)
    if isinstance(value, list):
        return [
            [],
            value * 2,
            value[:-1],
            *([v, *value[1:]] for v in _variants(value[0])),
        ]
    return []


def _variants(message):
    return [
        msgspec.structs.replace(message, **{name: other})
        for name in message.__struct_fields__
        for other in _extremes(getattr(message, name))
    ]


@pytest.mark.parametrize("number", range(LAST))
def test_extreme_values_end_the_exchange_with_a_typed_error(number):
    data = REFERENCE.messages[number][1]
    for other in _variants(wire.decode(data)):
        forged = wire.encode(other)
        if forged != data:
            ended = _run_with(number, forged)
            _no_key(ended.alice)
            _no_key(ended.bob)


def test_what_bob_said_is_authenticated_to_bob_as_well():
    """A forged message *to* Alice must stop Bob too, before he uses his key.

    Alice's tag covers what she received: else Bob would release a key counted
    from statistics that Alice made of forged data.
    """
    changed = talk(BLOCK)

    def forge(number, sender, data):
        message = wire.decode(data)
        if not isinstance(message, wire.Amplification):
            return data
        seed = bytes([message.seed[0] ^ 1]) + message.seed[1:]
        return wire.encode(wire.Amplification(message.secret_bits, seed))

    with pytest.raises(ProtocolAbort, match="authentication"):
        changed.run(forge)
    assert changed.messages[-1][0] == "alice"
    _no_key(changed.bob)
    _no_key(changed.alice)


def test_a_wrong_authentication_key_gives_no_key():
    pair = talk(BLOCK)
    pair.alice = make_alice(replace(BLOCK, keys=link_keys(4)))
    with pytest.raises(ProtocolAbort, match="authentication"):
        pair.run()
    _no_key(pair.bob)
    _no_key(pair.alice)


@pytest.mark.parametrize("number", range(LAST + 1))
def test_replayed_and_out_of_order_messages_are_refused(number):
    sender, data = REFERENCE.messages[number]
    fresh = talk(BLOCK)
    fresh.bob.start()
    receiver = fresh.alice if sender == "bob" else fresh.bob
    if number > 1:  # neither party is there yet
        with pytest.raises(PeerError, match="expected"):
            receiver.receive(data)
    ended = talk(BLOCK).run()
    receiver = ended.alice if sender == "bob" else ended.bob
    with pytest.raises((PeerError, ProtocolAbort)):
        receiver.receive(data)


def test_a_reflected_message_is_refused():
    for number, (sender, data) in enumerate(REFERENCE.messages[:-2]):
        fresh = talk(BLOCK)
        fresh.bob.start()
        receiver = fresh.bob if sender == "bob" else fresh.alice
        with pytest.raises(ScqcError):
            receiver.receive(data)
        assert number <= LAST


# 6, 7. Randomness from the entropy source; nothing shared but messages and light --


def test_bob_alone_repeats_figures_and_key_from_the_transcript():
    again = make_bob(BLOCK)
    said = again.start()
    for sender, data in REFERENCE.messages:
        if sender == "alice":
            said += again.receive(data)
    assert said == [data for sender, data in REFERENCE.messages if sender == "bob"]
    assert again.key() == REFERENCE.bob.key()
    assert again.key()[1] > 0
    assert again.distillation == REFERENCE.bob.distillation
    assert again.sample_sums == REFERENCE.bob.sample_sums


def test_the_raw_key_follows_from_bobs_samples_and_what_he_published():
    """No entropy source: u from (y, alpha), checked against every digest sent."""
    (request,) = REFERENCE.of(wire.SampleRequest)
    (sample,) = REFERENCE.of(wire.SampleDisclosure)
    (offer,) = REFERENCE.of(wire.ReconciliationOffer)
    (amplification,) = REFERENCE.of(wire.Amplification)
    burst = BLOCK.bursts[0]
    symbols = burst.symbols / burst.unit.scale
    symbols = symbols[permutation(request.permutation_seed, symbols.size)]
    alice = np.frombuffer(sample.values, "<c8")
    turn = np.vdot(symbols[: alice.size], alice)
    rest = (symbols[alice.size :] * turn / abs(turn)).astype(np.complex64)
    code = REFERENCE.bob.code
    y = rest.view(np.float32)[: offer.n_frames * code.n].copy()
    y[0::2] /= offer.deviations[0]
    y[1::2] /= offer.deviations[1]
    alpha = np.frombuffer(offer.alpha, "<i2").reshape(-1, 8)
    norm = np.frombuffer(offer.norm, "<f4")
    corner = multidimensional.llr(y, multidimensional.SideInfo(alpha, norm), 1.0, 1.0)
    words = (corner < 0.0).astype(np.uint8).reshape(offer.n_frames, code.n)
    assert wire.pack_bits(code.syndrome(words)) == offer.syndromes
    assert tags(words, offer.tag_key).tobytes() == offer.tags
    key, n_bits = REFERENCE.bob.key()
    every = np.ones(offer.n_frames, dtype=bool)
    assert compress(words[every].ravel(), amplification.seed, n_bits) == key


def test_another_entropy_source_gives_another_key_of_the_same_light():
    other = talk(BLOCK, entropy_seed=2).run()
    assert other.bob.key() == other.alice.key()
    assert other.bob.key()[0] != REFERENCE.bob.key()[0]


def test_bob_checks_alices_statistics_against_his_own_data():
    """She rebuilt his data from 16-bit rotations: 1e-4 is generous, 3e-4 is not."""
    number = next(
        i
        for i, (_, data) in enumerate(REFERENCE.messages)
        if isinstance(wire.decode(data), wire.EstimationReport)
    )
    report = wire.decode(REFERENCE.messages[number][1])
    for name in ("x0", "p0"):
        sums = [
            msgspec.structs.replace(s, yy=s.yy * 1.0003) if s.name == name else s
            for s in report.sums
        ]
        forged = wire.encode(wire.EstimationReport(sums, report.bursts))
        changed = talk(BLOCK)
        with pytest.raises(ProtocolAbort, match="must agree to 1e-4"):
            changed.run(lambda at, _, d, f=forged: f if at == number else d)
