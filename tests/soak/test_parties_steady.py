"""The two programs for an hour: memory stays, queues stay, blocks keep coming.

SCQC_SOAK_S=300 make soak AREA=parties_steady    # a shorter try
SCQC_SOAK_PACE_S=6 make soak AREA=parties_steady # a light that takes its time
"""

import json
import os

import numpy as np
import pytest

from benchmarks import steady

pytestmark = pytest.mark.soak
SECONDS = float(os.environ.get("SCQC_SOAK_S", "3600"))
PACE_S = float(os.environ.get("SCQC_SOAK_PACE_S", "0"))
LIMIT_MB_PER_H = 1.0


@pytest.mark.timeout(3 * SECONDS + 1200.0)
def test_soak_parties_steady_neither_grow_nor_fall_behind(capsys):
    found = steady.steady("dv_quick", SECONDS, PACE_S)
    slopes = {p: found.slope_mb_per_h(p) for p in ("alice", "bob")}
    at_s, waiting = np.array(found.at_s), np.array(found.waiting)
    with capsys.disabled():
        print(json.dumps({"blocks_per_s": found.blocks_per_s, "mb_per_h": slopes}))
    # Over an hour this is a slope; a shorter try only sees what was added.
    hours = min(1.0, SECONDS / 3600.0)
    for party, slope in slopes.items():
        assert slope * hours < LIMIT_MB_PER_H, (party, slope)
    late = at_s > 0.5 * at_s[-1]
    assert waiting[late].mean() < waiting[~late].mean() + 1.0
    # Blocks come as fast in the second half as in the first.
    done = np.array(found.blocks)
    middle = done[late][0]
    assert done[-1] - middle > 0.8 * (middle - done[0])
