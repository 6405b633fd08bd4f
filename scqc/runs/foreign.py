"""Captures that other programs made: import, and estimation from known symbols.

A foreign capture is plain ``.npy`` files with a JSON of what a receiver is told.
The frame layout is data, so the same receiver reads it.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from dsp.pipeline import ReceivedBurst, receive_burst
from dsp.settings import FrameLayout, ReceiverSettings, ZadoffChuPreamble
from protocols.estimation.channel import Detector, estimate_channel
from protocols.estimation.regression import Sums, regress
from protocols.security.holevo import asymptotic_rate
from scqc.core.errors import CaptureError
from scqc.core.provenance import new_run_uuid
from scqc.core.records import Trace
from scqc.core.settings import Settings
from scqc.runs.progress import Progress
from scqc.runs.report_data import equality, pilot_plots, record_plots
from scqc.runs.result import Result
from scqc.runs.summary import interval_entries
from scqc.store.capture_format import CaptureHeader
from scqc.store.capture_writer import CaptureWriter
from scqc.store.results import write_result
from scqc.store.sealed_reader import Capture

MAX_FILE_BYTES = 1 << 33
# Blocks for the leave-block-out rotation.
N_BLOCKS = 16


class ForeignCapture(Settings):
    """``receiver_knows.json``: what came with a foreign capture."""

    symbols: int = Field(ge=256, le=10**9)
    adc_rate: float = Field(gt=0.0)
    dac_rate: float = Field(gt=0.0)
    symbol_rate: float = Field(gt=0.0)
    frequency_shift: float
    pilot_frequencies: tuple[float, float]
    roll_off: float = Field(gt=0.0, le=1.0)
    zc_root: int = Field(ge=1)
    zc_length: int = Field(ge=31)
    zc_rate: float = Field(gt=0.0)
    eta: float = Field(gt=0.0, le=1.0)
    va: float = Field(gt=0.0)
    scale_v_per_code: float = Field(gt=0.0)
    units: str = ""


def import_foreign_npy(directory: Path, out: Path) -> None:
    """Turn a folder of ``.npy`` records into a capture.

    Parameters
    ----------
    directory : Path
        Holds ``signal.npy``, ``shot.npy``, ``electronic.npy`` (int16 codes of one
        channel) and ``receiver_knows.json``.
    out : Path
        Capture to write; must not exist.

    Raises
    ------
    CaptureError
        If a file is missing, of another kind, or says something impossible.
    """
    told = _read_told(directory / "receiver_knows.json")
    layout = _layout(told, directory / "receiver_knows.json")
    header = CaptureHeader(
        config_toml=json.dumps({"foreign": told.model_dump()}),
        run_uuid=new_run_uuid(),
        layout_json=layout.model_dump_json(),
    )
    records = {
        kind: _read_codes(directory / f"{kind}.npy")
        for kind in ("signal", "shot", "electronic")
    }
    with CaptureWriter(out, header, 1) as writer:
        for kind, codes in records.items():
            trace = Trace(
                codes[np.newaxis], (told.scale_v_per_code,), (0.0,), told.adc_rate
            )
            writer.add_trace(0, kind, trace)  # type: ignore[arg-type]


def estimate_foreign(
    opened: Capture, symbols: Path, folder: Path, progress: Progress
) -> Result:
    """Estimate T and xi of a capture from Alice's known symbols.

    Parameters
    ----------
    opened : Capture
    symbols : Path
        Alice's symbols, ``.npy``, complex64 [sqrt(SNU)].
    folder : Path
    progress : Progress

    Raises
    ------
    CaptureError
        If the capture is not a foreign one, or the symbols do not fit it.
    SignalError
        If the receiver finds no frame.
    """
    from scqc.runs.receive import burst_records
    from scqc.runs.report import write_report

    told = _told_of(opened)
    layout = FrameLayout.model_validate_json(opened.header.layout_json)
    alice = _read_symbols(symbols, layout.symbols)
    progress.stage("receiver", 1)
    received = receive_burst(burst_records(opened, 0), layout, _receiver(told, layout))
    progress.advance()
    bob = align(received, alice)
    sums = {
        "x": regress(alice.real.copy(), bob.real.copy()),
        "p": regress(alice.imag.copy(), bob.imag.copy()),
    }
    result = Result(
        _data(received, sums, told),
        _verdict(sums, received),
        {"residual": bob[:: max(1, bob.size // 4000)], "equality": equality(sums)}
        | pilot_plots([received])
        | record_plots(opened, received, layout),
    )
    write_result(folder / "result.json", result.as_json())
    progress.stage("report")
    write_report(folder / "report.html", result)
    return result


def align(
    received: ReceivedBurst, alice: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Scale to SNU and turn to Alice's axes, leave-block-out.

    The preamble of a foreign frame is sent before the pilots, so the pilots'
    phase is only known up to a constant. It is taken from the disclosed symbols
    of the *other* blocks, never from the block it is applied to.

    Parameters
    ----------
    received : ReceivedBurst
    alice : ndarray, shape (n,), complex64 [sqrt(SNU)]

    Returns
    -------
    ndarray, shape (n,), complex64 [sqrt(SNU)]
    """
    bob = received.symbols * np.float32(1.0 / received.unit.scale)
    edges = np.linspace(0, alice.size, N_BLOCKS + 1).astype(int)
    spans = list(pairwise(edges))
    partial = np.array([np.vdot(bob[a:b], alice[a:b]) for a, b in spans])
    whole = partial.sum()
    for own, (a, b) in zip(partial, spans, strict=True):
        other = whole - own
        bob[a:b] *= np.complex64(other / abs(other))
    return bob


def _receiver(told: ForeignCapture, layout: FrameLayout) -> ReceiverSettings:
    """Choose receiver settings from the layout alone."""
    spacing_hz = abs(told.pilot_frequencies[1] - told.pilot_frequencies[0])
    edge_hz = 0.5 * told.symbol_rate * (1.0 + told.roll_off)
    guard_hz = min(abs(f - told.frequency_shift) - edge_hz for f in layout.pilots_hz)
    # Pass band and transition, equally wide, must end before the neighbour; as wide
    # as that allows, because wider filters are sampled more often and the smoother
    # then loses less between two samples (1e-4 SNU at Bob for 10 kHz at 100 MBaud).
    bandwidth_hz = 0.9 * min(spacing_hz, guard_hz)
    top_hz = 0.5 * told.adc_rate
    centre_hz = 0.5 * (top_hz - max(layout.pilots_hz))
    return ReceiverSettings(
        beat_hz=centre_hz,
        beat_search_hz=0.45 * (top_hz - max(layout.pilots_hz)),
        pilot_bandwidth_hz=0.5 * bandwidth_hz,
        combine_pilots=True,
        acquisition_samples=1 << 21,
    )


def _data(
    received: ReceivedBurst, sums: dict[str, Sums], told: ForeignCapture
) -> dict[str, Any]:
    unit, report = received.unit, received.report
    detector = Detector(told.eta, unit.electronic_snu, unit.n_shot, unit.n_electronic)
    whole = estimate_channel(sums["x"] + sums["p"], detector, "none")
    quantum: dict[str, Any] = {
        "snr": {name: s.snr for name, s in sums.items()},
        "snr_pooled": (sums["x"] + sums["p"]).snr,
        "snr_sigma": (sums["x"] + sums["p"]).snr_sigma,
        "v_a_snu": whole.v_a_snu,
        "electronic_snu": unit.electronic_snu,
        "asymptotic_rate_beta_0.95": asymptotic_rate(whole.channel(), 0.95),
        **interval_entries(whole),
        "quadratures": {
            name: interval_entries(estimate_channel(s, detector, "none"))
            for name, s in sums.items()
        },
    }
    return {
        "quantum": quantum,
        "receiver": {
            "first_symbol_sample": report.lock.first_symbol_sample,
            "beat_hz": report.lock.pilots_hz[0] - told.pilot_frequencies[0],
            # How much faster the transmitter's clock runs than the receiver's.
            "clock_ppm": report.clock_ppm,
            "sync_ratio": report.lock.sync_ratio,
            "pilot_snr_db": report.lock.pilot_snr_db,
            "phase_residual_rad2": report.lock.phase_noise.smoothed_rad2,
        },
    }


def _verdict(sums: dict[str, Sums], received: ReceivedBurst) -> str:
    n = sums["x"].n + sums["p"].n
    return (
        f"Estimated from {n} disclosed quadratures; the interval on xi is set by "
        f"{received.unit.n_shot} calibration samples. No key is made from disclosed "
        "symbols."
    )


def _layout(told: ForeignCapture, path: Path) -> FrameLayout:
    """Say in our terms what the frame looks like; `path` is for the message."""
    try:
        return FrameLayout(
            symbol_rate_hz=told.symbol_rate,
            centre_hz=told.frequency_shift,
            roll_off=told.roll_off,
            pilots_hz=told.pilot_frequencies,
            symbols=told.symbols,
            preamble=ZadoffChuPreamble(
                root=told.zc_root,
                length=told.zc_length,
                rate_hz=told.zc_rate,
                # Symbols follow the preamble; the first pulse peaks in the middle
                # of its interval of generator samples.
                first_symbol_s=told.zc_length / told.zc_rate
                + (round(told.dac_rate / told.symbol_rate) // 2) / told.dac_rate,
            ),
        )
    except ValidationError as error:
        raise CaptureError(f"{path}: {error.errors()[0]['msg']}") from error


def _read_told(path: Path) -> ForeignCapture:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error
    try:
        return ForeignCapture.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CaptureError(f"{path}: {where}: {first['msg']}") from error


def _told_of(opened: Capture) -> ForeignCapture:
    try:
        told = json.loads(opened.header.config_toml)["foreign"]
        return ForeignCapture.model_validate(told)
    except (ValueError, KeyError, TypeError) as error:
        raise CaptureError(
            f"{opened.path}: is no imported capture; --symbols is for those made by "
            "`scqc import foreign-npy`"
        ) from error


def _load(path: Path) -> NDArray[np.generic]:
    """Read a ``.npy`` file without ever unpickling."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CaptureError(
                f"{path}: {path.stat().st_size} bytes, limit {MAX_FILE_BYTES}"
            )
        array: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise CaptureError(f"{path}: is no plain .npy file: {error}") from error
    return array


def _read_codes(path: Path) -> NDArray[np.int16]:
    array = _load(path)
    if array.dtype != np.int16 or array.ndim != 1 or array.size < 1000:
        raise CaptureError(
            f"{path}: {array.dtype} of shape {array.shape}, must be int16 codes of one "
            "channel, at least 1000"
        )
    return array.astype(np.int16)


def _read_symbols(path: Path, n: int) -> NDArray[np.complex64]:
    array = _load(path)
    if array.dtype.kind != "c" or array.shape != (n,):
        raise CaptureError(
            f"{path}: {array.dtype} of shape {array.shape}, must be {n} complex symbols"
        )
    if not np.all(np.isfinite(array)):
        raise CaptureError(f"{path}: contains values that are not finite")
    return array.astype(np.complex64)
