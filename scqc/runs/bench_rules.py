"""What must hold between the tables of a lab config."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scqc.core.errors import ConfigProblem
from scqc.runs import shared_rules
from scqc.runs.config_problems import shown
from scqc.runs.partial_config import NOTHING_BROKEN, Broken
from scqc.runs.shared_rules import Found, Needs

if TYPE_CHECKING:
    from scqc.runs.cv_config import CvConfig

#: Signals the scheme needs: the role of the instrument, and whether its port
#: is a marker.
SIGNALS = {
    "tx.i": ("awg", False),
    "tx.q": ("awg", False),
    "rx.rf": ("digitizer", False),
    "switch.signal": ("awg", True),
    "switch.lo": ("awg", True),
}
_BITS_PER_SYMBOL = {"qpsk": 2, "bpsk": 1}
_BOTH_ARMS_DB = 3.01


def check(
    file: str, config: CvConfig, broken: Broken = NOTHING_BROKEN
) -> list[ConfigProblem]:
    """Return everything that is wrong between the tables; empty when all is well.

    Parameters
    ----------
    file : str
        Named in the problems.
    config : CvConfig
    broken : Broken
        What was left out of it, and must not be missed.
    """
    rules = (
        partial(_bench, broken=broken),
        _rates,
        _frequencies,
        _amount_of_data,
        _safety,
        _virtual_laboratory,
    )
    return [
        ConfigProblem(file, table, key, shown(value), limit)
        for rule in rules
        for table, key, value, limit in rule(config)
    ]


def _bench(config: CvConfig, broken: Broken) -> Found:
    roles = {"awg": 1, "digitizer": 1}
    yield from shared_rules.check(config, Needs(SIGNALS, SIGNALS, roles, broken))


def _rates(config: CvConfig) -> Found:
    symbol_rate_hz = config.link.symbol_rate_hz
    for table, rate_hz in (
        ("alice.transmitter", config.alice.transmitter.rate_hz),
        ("bob.digitizer", config.bob.digitizer.rate_hz),
    ):
        ratio = rate_hz / symbol_rate_hz
        if ratio < 2.0 or abs(ratio - round(ratio)) > 1e-9 * ratio:
            yield (
                table,
                "rate_hz",
                rate_hz,
                f"must be a whole multiple (2 or more) of link.symbol_rate_hz = "
                f"{symbol_rate_hz:g}",
            )


def _frequencies(config: CvConfig) -> Found:
    """Everything played or read must lie below half the sample rate."""
    link, receiver = config.link, config.bob.receiver
    half_band_hz = 0.5 * link.symbol_rate_hz * (1.0 + link.roll_off)
    low_hz, high_hz = link.centre_hz - half_band_hz, link.centre_hz + half_band_hz
    tx_limit_hz = 0.5 * config.alice.transmitter.rate_hz
    rx_limit_hz = 0.5 * config.bob.digitizer.rate_hz
    lines = [
        ("centre_hz", link.centre_hz, low_hz, high_hz),
        *(("pilots_hz", pilot_hz, pilot_hz, pilot_hz) for pilot_hz in link.pilots_hz),
    ]
    for key, value, first_hz, last_hz in lines:
        if max(abs(first_hz), abs(last_hz)) >= tx_limit_hz:
            yield (
                "link",
                key,
                value,
                f"reaches {first_hz:g} to {last_hz:g} Hz, the transmitter "
                f"{-tx_limit_hz:g} to {tx_limit_hz:g} Hz",
            )
        if (
            receiver.beat_hz + first_hz <= 0
            or receiver.beat_hz + last_hz >= rx_limit_hz
        ):
            yield (
                "link",
                key,
                value,
                f"arrives at {receiver.beat_hz + first_hz:g} to "
                f"{receiver.beat_hz + last_hz:g} Hz behind the beat of "
                f"{receiver.beat_hz:g} Hz, the digitiser reads 0 to {rx_limit_hz:g} Hz",
            )
    for pilot_hz in link.pilots_hz:
        if low_hz < pilot_hz < high_hz:
            limit = f"lies inside the signal band {low_hz:g} to {high_hz:g} Hz"
            yield "link", "pilots_hz", pilot_hz, limit
    if link.pilots_hz[0] == link.pilots_hz[1]:
        yield "link", "pilots_hz", link.pilots_hz[0], "the two pilots must differ"


def total_symbols(config: CvConfig) -> int:
    """Return how many symbols a run of this config sends [symbols]."""
    if config.classical.psk == "none":
        return config.link.bursts * config.link.burst_symbols
    # The code tables are loaded only when they are needed.
    from dsp.coding.fec import Fec

    frame = Fec(config.classical.fec_rate).n_bits
    per_burst = config.classical.frames_per_burst * frame
    return config.link.bursts * per_burst // _BITS_PER_SYMBOL[config.classical.psk]


def _amount_of_data(config: CvConfig) -> Found:
    disclosed, total = config.security.disclosed_symbols, total_symbols(config)
    if disclosed >= total:
        yield (
            "security",
            "disclosed_symbols",
            disclosed,
            f"must leave symbols for a key; the run sends {total}",
        )


def _safety(config: CvConfig) -> Found:
    power_dbm = config.alice.transmitter.full_scale_launch_dbm + _BOTH_ARMS_DB
    if power_dbm > config.safety.max_launch_dbm:
        yield (
            "safety",
            "max_launch_dbm",
            config.safety.max_launch_dbm,
            f"both arms of the modulator fully on launch {power_dbm:.2f} dBm",
        )


def _virtual_laboratory(config: CvConfig) -> Found:
    if config.sim is None:
        return
    link, channel = config.link, config.sim.channel
    half_band_hz = 0.5 * link.symbol_rate_hz * (1.0 + link.roll_off)
    reach_hz = abs(channel.noise_band_centre_hz - link.centre_hz) + half_band_hz
    if channel.excess_noise_snu > 0.0 and reach_hz > 0.5 * channel.noise_band_width_hz:
        yield (
            "sim.channel",
            "noise_band_width_hz",
            channel.noise_band_width_hz,
            f"the injected noise must fill the signal band, {2 * reach_hz:g} Hz "
            "around its centre",
        )
