"""Rates of thermal-loss channels against tables that other programs computed.

The tables were made with covariance matrices and numerical eigenvalues, before
these modules existed and without them, and printed to nine digits.
"""

import numpy as np
import pytest

from protocols.security import closed_forms
from protocols.security.cv_rates import Link, Receiver, rates

FINITE = """\
0.9   0       0       4    hom RR .95 1  0   1.10081693  0.240227938 0.805548146
0.5   0.001   0       4    het RR .95 .6 .1  0.651926841 0.427690151 0.191640348
0.99  0.2     0       10   hom RR .95 1  0   1.72051315  0.188504599 1.44598289
0.99  1       1       100  hom DR .98 1  0   2.54373142  1.23249088  1.26036592
0.999 20.0629 20.0629 1000 hom DR 1   1  0   2.33028524  2.10876373  0.221521503
0.999 20.0629 0       1000 hom RR 1   1  0   4.95454207  3.13512856  1.81941351
0.1   0       0       5    het RR .98 .5 .1  0.162271429 0.133000889 0.0260251109
0.8   0.05    0.1     20   hom RR .95 .8 .05 1.77546683  1.16320961  0.52348388
"""
#: Environment [photons], greatest loss [dB]: reverse warm, direct warm, reverse cold
#: homodyne and heterodyne.
LOSSES = """\
1120.9  4.67e-7  0.001581 0.000755 0.000745
219.8   1.21e-5  0.00804  0.00384  0.00379
61.18   1.55e-4  0.02864  0.01376  0.01359
43.56   3.03e-4  0.04004  0.01929  0.01906
27.54   7.48e-4  0.06274  0.03040  0.03005
20.06   0.001391 0.08530  0.04157  0.04111
8.997   0.006527 0.18246  0.09113  0.09039
5.681   0.01544  0.27710  0.14190  0.14111
0.2463  1.48530  1.95684  1.98088  2.02629
0.00778 10.5979  2.92234  10.6583  10.6883
4.864   0.02054  0.31775  0.16451  0.16378
14.66   0.00256  0.11527  0.05660  0.05603
0.4311  0.82766  1.60331  1.32733  1.35588
"""


@pytest.mark.parametrize("row", FINITE.splitlines())
def test_finite_modulation(row):
    t, hot, warm, v_m, detector, rec, *rest = row.split()
    beta, eta, noise, information, holevo, key = map(float, rest)
    detection = {"hom": "homodyne", "het": "heterodyne"}[detector]
    link = Link(
        float(t),
        float(v_m),
        environment_snu=2 * float(hot) + 1,
        source_snu=2 * float(warm) + 1,
    )
    # The table refers heterodyne noise to the whole light.
    receiver = Receiver(eta, noise / (2 if detector == "het" else 1), detection)
    found = rates(link, receiver, "reverse" if rec == "RR" else "direct")
    # Nine digits are printed, of numbers up to five.
    assert found.information_bits == pytest.approx(information, abs=1e-8)
    assert found.holevo_bits == pytest.approx(holevo, abs=1e-8)
    assert found.key_bits(beta) == pytest.approx(key, abs=1e-8)


def test_greatest_losses():
    photons, *columns = np.loadtxt(LOSSES.splitlines(), unpack=True)
    w = 2 * photons + 1
    limits = (
        closed_forms.greatest_loss(w, w),
        closed_forms.greatest_loss(w, w, direction="direct"),
        closed_forms.greatest_loss(w, np.ones_like(w)),
        closed_forms.greatest_loss(w, np.ones_like(w), "heterodyne"),
    )
    for losses, printed in zip(limits, columns, strict=True):
        found_db = -10 * np.log10(1 - losses)
        # Three digits (0.33 %) of twice-squared photons of four (0.02 %).
        np.testing.assert_allclose(found_db, printed, rtol=4e-3)


def test_the_hot_laws_by_hand():
    assert pytest.approx(0.5413, abs=5e-5) == closed_forms.REVERSE_WARM
    assert pytest.approx(0.3895, abs=1e-4) == closed_forms.REVERSE_VACUUM
    assert pytest.approx(0.8165, abs=5e-5) == closed_forms.DIRECT_HOMODYNE
    # 300 GHz and 296 K: 0.0014, 0.042 and 0.085 dB of total loss.
    w = 2 * 20.0629 + 1
    for direction, warm, db in (
        ("reverse", True, 0.0014),
        ("reverse", False, 0.042),
        ("direct", True, 0.085),
    ):
        loss = closed_forms.hot_loss_law(w, warm_source=warm, direction=direction)
        assert -10 * np.log10(1 - loss) == pytest.approx(db, rel=0.03)
