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
from protocols.reconciliation import cascade, ladder, multidimensional
from protocols.reconciliation.met_ldpc import ReconciliationCode
from protocols.security.decoy import binary_entropy
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
#: (error rate, bits per frame, frames) of the ladder.
LADDER_POINTS = (
    (0.01, 102_400, 30),
    (0.015, 102_400, 30),
    (0.02, 102_400, 30),
    (0.03, 102_400, 30),
    (0.05, 102_400, 30),
    (0.07, 102_400, 30),
    (0.09, 102_400, 30),
    (0.02, 20_000, 60),
    (0.05, 20_000, 60),
    (0.02, 819_200, 6),
    (0.05, 819_200, 6),
)
#: Error rates of Cascade, and its frames of 65 536 bits.
CASCADE_POINTS = ((0.003, 16), (0.005, 16), (0.01, 16), (0.015, 16), (0.03, 16))


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


def bench_ladder(
    error_rate: float, frame_bits: int, frames: int
) -> dict[str, float | str]:
    """Words, checks, decoding and reveals, at an error rate known beforehand."""
    code = ladder.plan_frames(frame_bits, error_rate, 10**9, frame_bits).code
    rng = stream(1, f"bench/ladder/{error_rate}/{frame_bits}")
    rows, iterations, retried, lost, seconds = [], [], 0, 0, 0.0
    for frame in range(-1, frames):  # frame -1 warms up
        shape = (1, code.n_bits)
        alice = rng.integers(0, 2, shape, dtype=np.uint8)
        errors = (rng.random(shape) < error_rate).astype(np.uint8)
        free = (1, code.n_bits - code.min_rows)
        information = rng.integers(0, 2, free, dtype=np.uint8)
        start = time.perf_counter()
        word = code.encode(information)
        noisy = word ^ alice ^ (alice ^ errors)
        disclosed, spent = code.min_rows, 0
        syndromes = code.checks(noisy, disclosed)
        while True:
            found = code.decode(syndromes, error_rate, 150)
            spent += int(found.iterations[0])
            upto = code.next_rows(disclosed)
            if found.converged[0] or upto == disclosed:
                break
            told = code.further_checks(word, disclosed, upto)
            more = told ^ code.further_checks(noisy, disclosed, upto)
            syndromes = np.concatenate([syndromes, more], axis=1)
            disclosed = upto
        if frame >= 0:
            seconds += time.perf_counter() - start
            rows.append(disclosed)
            iterations.append(spent)
            retried += disclosed > code.min_rows
            lost += not np.array_equal(found.errors, errors)
    limit = code.n_bits * binary_entropy(error_rate)
    return {
        "part": "ladder",
        "qber": error_rate,
        "n": code.n_bits,
        "frames": frames,
        "f_first": code.min_rows / limit,
        "fer_first": retried / frames,
        "f": float(np.mean(rows)) / limit,
        "fer": lost / frames,
        "iterations": float(np.mean(iterations)),
        "mbit_per_s": frames * code.n_bits / seconds / 1e6,
    }


def bench_cascade(error_rate: float, frames: int) -> dict[str, float | str]:
    """Cascade between two parties on one core; both parties' time is counted."""
    rng = stream(1, f"bench/cascade/{error_rate}")
    seconds = 0.0
    for n_frames in (1, frames):  # the first warms up
        plan = cascade.plan_frames(n_frames * 65_536, error_rate, 65_536)
        shape = (plan.n_frames, plan.n_bits)
        bits = rng.integers(0, 2, shape, dtype=np.uint8)
        errors = (rng.random(shape) < error_rate).astype(np.uint8)
        start = time.perf_counter()
        alice = cascade.Cascade(bits, False, plan, bytes(32))
        bob = cascade.Cascade(bits ^ errors, True, plan, bytes(32))
        while bob.n_questions:
            asked, told = bob.parities(), alice.parities()
            alice.learn(told, asked)
            bob.learn(asked, told)
        seconds = time.perf_counter() - start
    f = float(np.mean(bob.asked)) / plan.n_bits / binary_entropy(error_rate)
    lost = int(np.sum((bob.errors != errors).any(axis=1)))
    return {
        "part": "cascade",
        "qber": error_rate,
        "n": plan.n_bits,
        "frames": frames,
        "f_one_direction": f,
        "f_both_directions": 2 * f,
        "fer": lost / frames,
        "round_trips": bob.round_trips,
        "mbit_per_s": 2 * bits.size / seconds / 1e6,
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
    rows += [bench_ladder(*point) for point in LADDER_POINTS]
    rows += [bench_cascade(*point) for point in CASCADE_POINTS]
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
