"""A report shows no symbol that the key is made of."""

import numpy as np
from light_kit import displaced_block, plain_block, talk

from protocols.messages import wire
from protocols.reconciliation import multidimensional
from scqc.core.rng import permutation


def disclosed(done):
    """Return the order of symbols, and how many of them Alice disclosed."""
    (request,) = done.of(wire.SampleRequest)
    return permutation(request.permutation_seed, request.n_symbols), request.n_sample


def test_figures_draw_from_the_disclosed_symbols_alone():
    done = talk(displaced_block(np.zeros(20))).run()
    order, m = disclosed(done)
    n = min(m, 1000)
    displaced, residual = done.bob.disclosed_sample(n)
    own = np.sort(order[:n])
    received = np.concatenate([b.symbols / b.unit.scale for b in done.bob._bursts])
    np.testing.assert_array_equal(residual, done.bob._symbols[own])
    np.testing.assert_allclose(displaced, received[own], rtol=1e-6)
    assert displaced.shape == residual.shape == (n,)
    assert not np.isin(residual, done.bob._symbols[order[m:]]).any()


def test_asking_for_more_than_was_disclosed_gives_no_more():
    done = talk(plain_block()).run()
    order, m = disclosed(done)
    _, residual = done.bob.disclosed_sample(order.size)
    assert residual.size == m


def test_a_key_symbol_in_a_figure_would_give_its_raw_bits():
    """Why: public side information and Bob's value are the raw key."""
    done = talk(plain_block()).run()
    order, m = disclosed(done)
    (offer,) = done.of(wire.ReconciliationOffer)
    seen = done.bob._symbols[order[m:]].view(np.float32).copy()
    words = done.bob._words.ravel()
    values = seen[: words.size]
    values[0::2] /= np.float32(offer.deviations[0])
    values[1::2] /= np.float32(offer.deviations[1])
    ratios = multidimensional.llr(values, done.bob._side, 1.0, 1e-3)
    guessed = (ratios < 0.0).astype(np.uint8)
    assert np.mean(guessed == words) > 0.99
