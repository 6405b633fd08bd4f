"""Serial instruments, wires and faults: the other half of the fault matrix."""

import os

import pytest
from fault_kit import check, parameters, warm_up

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals"),
]


@pytest.fixture(scope="module", autouse=True)
def _warm():
    warm_up()


@pytest.mark.parametrize("cell", parameters(on_lines=True))
def test_a_fault_ends_as_documented_and_leaves_nothing_behind(cell):
    check(cell)
