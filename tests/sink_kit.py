"""Key sinks and blocks of key, as several tests need them."""

import numpy as np

from protocols.key_sink import KEY_PURPOSE, PoolKey
from scqc.core.records import KeyBlock

TO_BOB, TO_ALICE = "alice-to-bob", "bob-to-alice"


def packed(number, n_bits):
    bits = np.random.default_rng(number).integers(0, 2, n_bits, dtype=np.uint8)
    return np.packbits(bits).tobytes()


def key_block(number, n_bits=1024, *, simulated=False, run="run", what=""):
    return KeyBlock(
        identifier=f"{run}/{number}{what}",
        bits=packed(number, n_bits),
        n_bits=n_bits,
        epsilon=1e-10,
        simulated=simulated,
        provenance={"run_uuid": run, "block": str(number)},
    )


def pool_key(number, purpose=KEY_PURPOSE, direction=TO_BOB, n_bits=1024, **kind):
    block = key_block(number, n_bits, what=f"/{purpose}/{direction}", **kind)
    return PoolKey(block, purpose, direction)
