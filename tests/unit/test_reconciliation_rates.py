import math

import numpy as np
import pytest

from protocols.reconciliation import multidimensional as md
from protocols.reconciliation import rates
from protocols.reconciliation.met_ldpc import ReconciliationCode
from scqc.core.errors import ProtocolAbort


def test_rate_keeps_below_capacity_and_rises_with_snr():
    chosen = [rates.choose_rate(snr) for snr in (0.17, 0.3, 0.51, 0.8, 1.5)]
    assert chosen == sorted(chosen)
    for rate, snr in zip(chosen, (0.17, 0.3, 0.51, 0.8, 1.5), strict=True):
        assert rate < 0.95 * rates.capacity(snr)
    # the default bench of the project: C = 0.2973, efficiency about 0.90
    assert chosen[2] == pytest.approx(0.905 * 0.5 * math.log2(1.51), rel=0.01)


def test_margin_and_wanted_efficiency():
    assert rates.choose_rate(0.51, 0.01) < rates.choose_rate(0.51)
    assert rates.choose_rate(0.51, beta=0.5) == 0.5 * rates.capacity(0.51)
    assert rates.choose_rate(5.0) == 0.5


@pytest.mark.parametrize(("snr", "sigma"), [(0.1, 0.0), (0.5, 0.2), (-0.1, 0.0)])
def test_too_low_snr(snr, sigma):
    with pytest.raises(ProtocolAbort, match="reconciliation: SNR"):
        rates.choose_rate(snr, sigma)


def test_unknown_size():
    with pytest.raises(ProtocolAbort, match="size 77"):
        rates.efficiency(0.5, 77)


@pytest.mark.parametrize("snr", [0.2, 0.51, 1.0])
def test_small_frames_work_at_their_measured_efficiency(snr):
    rng = np.random.default_rng(1)
    code = ReconciliationCode(rates.choose_rate(snr, size=256), 256)
    x = rng.standard_normal(6 * code.n).astype(np.float32)
    y = (math.sqrt(snr) * x + rng.standard_normal(x.size)).astype(np.float32)
    kappa = math.sqrt(snr) / (1 + snr)
    u = rng.integers(0, 2, (6, code.n), dtype=np.uint8)
    side = md.encode(y, u.reshape(-1))
    llr = md.llr(x, side, kappa, 1 - kappa**2 * (1 + snr)).reshape(u.shape)
    checks = code.syndrome(u)
    found = code.decode(llr, checks).words
    again = code.decode_again(llr, checks, code.retry_syndrome(u)).words
    right = (found == u).all(axis=1) | (again == u).all(axis=1)
    # at most one in twenty is lost; P(3 or more of 6) < 0.003
    assert right.sum() >= 4
