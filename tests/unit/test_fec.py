import math

import numpy as np
import pytest

from dsp.coding import crc, qc_ldpc, row_kernels, scrambler
from dsp.coding.fec import LIFTING, Fec
from dsp.coding.frames import FrameCodec
from scqc.core.errors import PayloadError
from scqc.core.rng import ReplayEntropy


def _received(bits, raw_ber, rng):
    """Soft QPSK: one real Gaussian channel per bit, Q(1/sigma) = raw_ber."""
    low, high = 0.1, 10.0
    for _ in range(60):
        sigma = (low + high) / 2
        ber = 0.5 * math.erfc(1 / sigma / math.sqrt(2))
        low, high = (low, sigma) if ber > raw_ber else (sigma, high)
    y = 1 - 2.0 * bits + sigma * rng.standard_normal(bits.shape)
    return (2 * y / sigma**2).astype(np.float32)


@pytest.mark.parametrize("rate", ["1/3", "1/2", "2/3", "3/4", "5/6", "8/9"])
def test_codewords_satisfy_every_check(rate):
    fec = Fec(rate)
    rng = np.random.default_rng(1)
    info = rng.integers(0, 2, (2, fec.k_bits), dtype=np.uint8)
    sent = fec.encode(info)
    assert abs(fec.k_bits / fec.n_bits - fec.rate) < 1e-3
    whole = fec.code.n_columns * LIFTING
    word = np.zeros((2, whole), dtype=np.uint8)
    word[:, : fec.k_bits] = info
    word[:, 2 * LIFTING : 2 * LIFTING + fec.n_bits] = sent
    # the tail of the last column is not sent: only its own row may fail
    checks = qc_ldpc.syndrome(fec.code, word).reshape(2, fec.code.n_rows, LIFTING)
    assert not checks[:, :-1].any()
    if (fec.n_bits + 2 * LIFTING) == whole:
        assert not checks.any()


@pytest.mark.parametrize(
    ("rate", "raw_ber"), [("1/2", 3e-2), ("2/3", 3e-2), ("3/4", 1e-2), ("5/6", 1e-2)]
)
def test_decoder_delivers(rate, raw_ber):
    fec = Fec(rate)
    rng = np.random.default_rng(2)
    info = rng.integers(0, 2, (6, fec.k_bits), dtype=np.uint8)
    result = fec.decode(_received(fec.encode(info), raw_ber, rng))
    assert result.converged.all()
    np.testing.assert_array_equal(result.bits, info)
    np.testing.assert_array_equal(result.coded, fec.encode(info))


def test_wrong_sign_of_llr_fails():
    fec = Fec("1/2")
    rng = np.random.default_rng(3)
    info = rng.integers(0, 2, (1, fec.k_bits), dtype=np.uint8)
    llr = -_received(fec.encode(info), 1e-2, rng)
    assert (fec.decode(llr).bits != info).any()


@pytest.mark.parametrize("rate", ["0.95", 0.2, "1/0", "fast"])
def test_rate_outside_the_family(rate):
    with pytest.raises(PayloadError, match="code rate"):
        Fec(rate)


def test_scrambler_is_an_involution_and_frames_differ():
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2, (3, 1000), dtype=np.uint8)
    once = scrambler.scramble(bits, 7)
    np.testing.assert_array_equal(scrambler.scramble(once, 7), bits)
    assert (once != scrambler.scramble(bits, 8)).mean() > 0.3
    # ones of an m-sequence: n/2 within 6 sigma
    ones = int(scrambler.sequence(5, 100_000).sum())
    assert abs(ones - 50_000) < 6 * math.sqrt(25_000)


def test_scrambler_follows_its_recursion():
    s = scrambler.sequence(9, 500)
    np.testing.assert_array_equal(s[31:], s[:-31] ^ s[3:-28])


def test_crc_check_value():
    assert crc.append(b"123456789")[-4:].hex() == "cbf43926"
    assert crc.holds(crc.append(b"abc"))
    assert not crc.holds(b"abc")


def _codec():
    return FrameCodec(Fec("3/4"), run_id=b"run1")


def test_payload_round_trip_in_bursts():
    codec, rng = _codec(), np.random.default_rng(5)
    payload = rng.bytes(2500)
    sent = codec.build(payload, 5, ReplayEntropy(1, "filler"))
    llr = _received(sent, 1e-2, rng)
    parts = [codec.open(llr[:2], 0), codec.open(llr[2:], 2)]
    for part, true in zip(parts, (sent[:2], sent[2:]), strict=True):
        assert part.crc_ok.all()
        np.testing.assert_array_equal(part.coded, true)
    assert codec.assemble(parts) == payload


def test_lost_filler_is_harmless_and_lost_payload_is_reported():
    codec, rng = _codec(), np.random.default_rng(6)
    sent = codec.build(b"x" * 1500, 3, ReplayEntropy(1, "filler"))
    llr = _received(sent, 1e-3, rng)
    noise = rng.standard_normal(llr[0].shape).astype(np.float32)
    filler_lost = llr.copy()
    filler_lost[2] = noise
    opened = codec.open(filler_lost, 0)
    assert opened.crc_ok.tolist() == [True, True, False]
    assert codec.assemble([opened]) == b"x" * 1500
    payload_lost = llr.copy()
    payload_lost[1] = noise
    with pytest.raises(PayloadError, match="1 of 2 frames lost, first 1"):
        codec.assemble([codec.open(payload_lost, 0)])


def test_frame_of_another_run_or_place_does_not_open():
    codec, rng = _codec(), np.random.default_rng(7)
    sent = codec.build(b"", 2, ReplayEntropy(1, "filler"))
    llr = _received(sent, 1e-3, rng)
    assert not FrameCodec(Fec("3/4"), b"run2").open(llr, 0).crc_ok.any()
    assert not codec.open(llr, 1).crc_ok.any()


def test_payload_too_large_says_what_fits():
    codec = _codec()
    room = codec.payload_capacity(4)
    with pytest.raises(PayloadError, match=str(room)):
        codec.build(bytes(room + 1), 4, ReplayEntropy(1, "filler"))


def test_min_sum_row_against_the_definition():
    rng = np.random.default_rng(8)
    values = rng.normal(0, 3, (5, 33)).astype(np.float32)
    values[:, 0] = 1.5  # equal magnitudes: the second smallest is the smallest
    out = np.empty_like(values)
    row_kernels.min_sum(values, 0.8, np.empty((3, 33), np.float32), out)
    for d in range(5):
        others = np.delete(values, d, axis=0)
        expected = 0.8 * np.prod(np.sign(others), axis=0) * np.abs(others).min(axis=0)
        np.testing.assert_allclose(out[d], expected, rtol=1e-6)


@pytest.mark.parametrize("shift", [0, 1, 5, 15])
def test_gather_and_scatter_are_rotations(shift):
    rng = np.random.default_rng(9)
    belief, message = rng.standard_normal((2, 16)).astype(np.float32)
    value, back = np.empty_like(belief), np.empty_like(belief)
    row_kernels.gather(belief, shift, message, value)
    np.testing.assert_array_equal(value, np.roll(belief, -shift) - message)
    row_kernels.scatter(value, message, shift, back)
    np.testing.assert_allclose(back, belief, rtol=1e-5, atol=1e-6)
