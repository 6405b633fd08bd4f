"""Coding and post-processing figures: ``python -m benchmarks.reconciliation``.

Every figure is measured with random words through the whole path of the part
it names, on one core.
"""

import argparse
import json
import math
import time

import numpy as np

from benchmarks.table import print_table
from dsp.coding.fec import Fec
from dsp.coding.frames import FrameCodec
from protocols import verification
from protocols.authentication.polynomial_hash import PolynomialHash
from protocols.privacy_amplification import toeplitz
from protocols.reconciliation import multidimensional
from protocols.reconciliation.met_ldpc import ReconciliationCode
from scqc.core.rng import SystemEntropy, stream

#: (rate, raw bit error rate) of the classical code.
FEC_POINTS = (
    ("1/2", 1e-2),
    ("1/2", 3e-2),
    ("2/3", 3e-2),
    ("3/4", 1e-2),
    ("5/6", 1e-2),
    ("8/9", 1e-2),
)
#: (rate, efficiency, circulant size, frames) of the reconciliation code.
RECONCILIATION_POINTS = (
    (0.1, 0.92, 2560, 10),
    (0.2, 0.89, 2560, 10),
    (0.2557, 0.86, 1024, 40),
    (0.2557, 0.91, 2560, 20),
)


def _noise_for(raw_ber: float) -> float:
    """Noise of a unit-amplitude bit with that error rate, by bisection."""
    low, high = 0.05, 20.0
    for _ in range(80):
        sigma = (low + high) / 2
        if 0.5 * math.erfc(1 / sigma / math.sqrt(2)) > raw_ber:
            high = sigma
        else:
            low = sigma
    return low


def bench_fec(rate: str, raw_ber: float, frames: int = 60) -> dict[str, float | str]:
    """Frames through encoder, soft channel and decoder."""
    codec = FrameCodec(Fec(rate))
    rng = stream(1, f"bench/fec/{rate}/{raw_ber}")
    sent = codec.build(b"", frames, SystemEntropy())
    sigma = _noise_for(raw_ber)
    y = 1 - 2.0 * sent + sigma * rng.standard_normal(sent.shape)
    llr = (2 * y / sigma**2).astype(np.float32)
    codec.open(llr[:1], 0)
    start = time.perf_counter()
    opened = codec.open(llr, 0)
    seconds = time.perf_counter() - start
    wrong = opened.crc_ok & (opened.coded != sent).any(axis=1)
    return {
        "part": "fec",
        "rate": rate,
        "raw_ber": raw_ber,
        "frames": frames,
        "frames_lost": int(np.sum(~opened.crc_ok)),
        "wrong_past_crc": int(wrong.sum()),
        "iterations": float(opened.iterations.mean()),
        "coded_mbit_per_s": sent.size / seconds / 1e6,
    }


def bench_reconciliation(
    rate: float, beta: float, size: int, frames: int
) -> dict[str, float | str]:
    """Rotation, syndrome, soft values, decoding, tags and retry, frame by frame."""
    code = ReconciliationCode(rate, size)
    rng = stream(1, f"bench/reconciliation/{rate}/{beta}/{size}")
    snr = 4 ** (code.rate / beta) - 1
    kappa = math.sqrt(snr) / (1 + snr)
    sigma2 = 1 - kappa**2 * (1 + snr)
    lost, retried, iterations, seconds = 0, 0, [], 0.0
    for frame in range(-1, frames):  # frame -1 warms up
        x = rng.standard_normal(code.n, dtype=np.float32)
        y = math.sqrt(snr) * x + rng.standard_normal(code.n, dtype=np.float32)
        u = rng.integers(0, 2, (1, code.n), dtype=np.uint8)
        key = rng.bytes(16)
        start = time.perf_counter()
        side = multidimensional.encode(y.astype(np.float32), u[0])
        checks, tag = code.syndrome(u), verification.tags(u, key)
        llr = multidimensional.llr(x, side, kappa, sigma2)[None]
        found = code.decode(llr, checks, 100)
        again = not np.array_equal(verification.tags(found.words, key), tag)
        words = found.words
        if again:
            more = code.retry_syndrome(u)
            words = code.decode_again(llr, checks, more, 200).words
        good = np.array_equal(verification.tags(words, key), tag)
        if frame >= 0:
            seconds += time.perf_counter() - start
            retried += again
            lost += not good
            iterations.append(int(found.iterations[0]))
            if good and not np.array_equal(words, u):
                raise SystemExit("a wrong word passed verification")
    return {
        "part": "reconciliation",
        "rate": code.rate,
        "beta": beta,
        "snr": snr,
        "n": code.n,
        "frames": frames,
        "fer_first": retried / frames,
        "fer": lost / frames,
        "iterations": float(np.mean(iterations)),
        "raw_mbit_per_s": frames * code.n / seconds / 1e6,
    }


def bench_privacy(n: int) -> dict[str, float | str]:
    """Toeplitz hash to a tenth of the input."""
    rng = stream(1, f"bench/privacy/{n}")
    bits = rng.integers(0, 2, n, dtype=np.uint8)
    seed = rng.integers(0, 2, n - 1, dtype=np.uint8)
    start = time.perf_counter()
    toeplitz.hash_bits(bits, seed, n // 10)
    seconds = time.perf_counter() - start
    return {"part": "privacy amplification", "n": n, "mbit_per_s": n / seconds / 1e6}


def bench_hash(n_bytes: int = 32_000_000) -> dict[str, float | str]:
    """Polynomial hash of verification and authentication."""
    function = PolynomialHash(bytes(range(16)))
    function.digest(bytes(100))
    message = bytes(n_bytes)
    start = time.perf_counter()
    function.digest(message)
    seconds = time.perf_counter() - start
    return {"part": "hash", "n": n_bytes, "mbyte_per_s": n_bytes / seconds / 1e6}


def measure() -> list[dict[str, float | str]]:
    """Return all figures."""
    rows = [bench_fec(*point) for point in FEC_POINTS]
    rows += [bench_reconciliation(*point) for point in RECONCILIATION_POINTS]
    rows += [bench_privacy(n) for n in (1_000_000, 10_000_000)]
    return [*rows, bench_hash()]


def main() -> None:
    """Print a table, or one JSON object with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    as_json = parser.parse_args().json
    rows = measure()
    if as_json:
        print(json.dumps({"schema_version": 1, "rows": rows}))
        return
    for part in dict.fromkeys(str(row["part"]) for row in rows):
        print_table(part, [row for row in rows if row["part"] == part])


if __name__ == "__main__":
    main()
