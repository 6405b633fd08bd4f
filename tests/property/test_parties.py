"""Properties that hold for every input: round trips and monotone lengths."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from strategies_messages import messages

from dsp.decision import DecisionScale, bits_per_symbol, map_bits, soft_bits
from protocols.estimation.channel import Detector, estimate_channel, worst_case
from protocols.estimation.regression import Sums
from protocols.messages import wire
from protocols.schemes.cv_common import (
    MINIMUM_KEY_BITS,
    Distillation,
    symbols_for_a_key,
)
from protocols.security.composable import Ledger, aep_bits, hashing_bits, split_epsilon
from protocols.security.holevo import (
    Channel,
    asymptotic_rate,
    holevo_information,
)

ETA, NU, V_A = 0.85, 0.05, 2.0
psks = st.sampled_from(["qpsk", "bpsk"])
bit_arrays = npst.arrays(
    np.uint8, st.integers(1, 60).map(lambda n: 2 * n), elements=st.integers(0, 1)
)


@given(bit_arrays, psks, st.floats(0.1, 50.0), st.floats(0.01, 20.0))
def test_mapped_bits_come_back_from_soft_decisions(bits, psk, amplitude, variance):
    symbols = (amplitude * map_bits(bits, psk)).astype(np.complex64)
    assert symbols.size * bits_per_symbol(psk) == bits.size
    llr = soft_bits(symbols, DecisionScale(amplitude, variance), psk)
    np.testing.assert_array_equal(llr < 0.0, bits == 1)


@settings(max_examples=300)
@given(messages)
def test_every_message_comes_back(message):
    assert wire.decode(wire.encode(message)) == message


@given(st.lists(st.integers(0, 1), max_size=200))
def test_packed_bits_come_back(bits):
    array = np.array(bits, dtype=np.uint8)
    back = wire.unpack_bits("bits", wire.pack_bits(array), array.size)
    np.testing.assert_array_equal(back, array)


def _distillation(xi, n_symbols, leak=0.74, t=0.631, n_calibration=None):
    """A block of `n_symbols` whose estimates are exact; leak per raw bit."""
    n = 2 * n_symbols
    calibration = n_calibration or n
    gain2 = ETA * t / 2.0
    noise = 1.0 + NU + gain2 * xi
    sums = Sums(n, n * V_A, n * gain2**0.5 * V_A, n * (gain2 * V_A + noise))
    detector = Detector(ETA, NU, calibration, calibration)
    estimate = estimate_channel(sums, detector, "error-corrected")
    budget = split_epsilon(1e-10)
    worst = worst_case(estimate, budget.estimation)
    ledger = Ledger(
        raw_bits=n,
        failed_bits=0,
        syndrome_bits=int(leak * n),
        revealed_bits=0,
        verification_bits=64,
        flag_bits=1,
        estimation_bits=0,
        holevo_bits=0.5 * n * worst.holevo_bits,
        aep_bits=aep_bits(n, 0.0, budget.smoothing),
        hashing_bits=hashing_bits(0.0, budget.smoothing, budget.hashing),
        frames_total=1,
        frames_kept=1,
    )
    return Distillation(estimate, worst, ledger, budget.total)


noises = st.floats(0.0, 0.2)
sizes = st.integers(20_000, 50_000_000)


@given(noises, noises, sizes)
def test_secret_length_falls_with_noise(one, other, n):
    low, high = sorted((one, other))
    assert (
        _distillation(low, n).ledger.balance_bits
        >= _distillation(high, n).ledger.balance_bits
    )


@given(noises, st.floats(0.05, 0.95), st.floats(0.01, 0.5))
def test_the_rate_falls_with_loss(xi, t, step):
    """Against the best that coding can do, at a fixed efficiency."""
    near = asymptotic_rate(Channel(V_A, t, xi, ETA, NU), 0.95)
    far = asymptotic_rate(Channel(V_A, t * (1 - step), xi, ETA, NU), 0.95)
    # Once there is no key, "less than none" has no order.
    assert max(near, 0.0) >= max(far, 0.0) - 1e-12


@given(noises, st.integers(20_000, 10_000_000), st.floats(1.1, 50.0))
def test_secret_length_per_symbol_grows_with_the_block(xi, n, factor):
    small, large = _distillation(xi, n), _distillation(xi, int(n * factor))
    assert (
        large.ledger.balance_bits / large.ledger.raw_bits
        >= small.ledger.balance_bits / small.ledger.raw_bits - 1e-9
    )


@given(st.floats(0.1, 20.0), st.floats(0.01, 0.99), noises, st.floats(0.001, 0.2))
def test_eve_learns_more_from_more_noise(v_a, t, xi, more):
    def chi(noise):
        return holevo_information(Channel(v_a, t, noise, ETA, NU))

    assert chi(xi + more) >= chi(xi) >= 0.0


@settings(max_examples=40)
@given(st.floats(0.0, 0.08), st.floats(0.0, 0.08), st.integers(10_000, 300_000))
def test_symbols_for_a_key_grow_with_noise(one, other, n):
    low, high = sorted((one, other))
    quiet, loud = (symbols_for_a_key(_distillation(xi, n)) for xi in (low, high))
    if quiet is None:
        assert loud is None
    elif loud is not None:
        # The search stops within 2 %.
        assert quiet <= 1.03 * loud


@settings(max_examples=40)
@given(st.floats(0.0, 0.03), st.integers(10_000, 300_000))
def test_symbols_for_a_key_would_do_and_far_fewer_would_not(xi, n):
    needed = symbols_for_a_key(_distillation(xi, n))
    if needed is None:
        return
    assert _distillation(xi, int(1.02 * needed)).secret_bits >= MINIMUM_KEY_BITS
    assert _distillation(xi, int(0.9 * needed)).secret_bits == 0


def test_hopeless_noise_has_no_number_of_symbols():
    assert symbols_for_a_key(_distillation(0.5, 100_000)) is None
