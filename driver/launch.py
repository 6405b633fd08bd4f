"""The launch power limit, kept by the drivers whatever the program asks for.

What the instrument layer knows is its own set-points, and the loss the config
states. Two bounds follow; nothing that would exceed the limit is sent.

- With a laser on the bench (``tx.laser``): its power, less the attenuation of
  ``tx.attenuator`` and the known insertion loss, all modulators open.
- With a generator that drives the two arms of a modulator (``tx.i``, ``tx.q``)
  whose full transmission is known: the most that the peaks of its waveform let
  through, and, behind an attenuator, by how much that is set below the value the
  transmission was measured at.

A laser counts as on once it has a power, whether it emits or not, and a set-point
that may or may not have been taken as the worse of the two. Every instrument
begins, and comes back, in its safe state: dark, largest attenuation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from driver.hal import ArbitraryWaveformGenerator, Instrument
from driver.hal_light import Attenuator, AttenuatorConfig, Laser, LaserConfig
from scqc.core.errors import RangeError
from scqc.core.records import Waveform

_DARK_DBM = -math.inf
# Sums of decibels are exact to this.
_ROUNDING_DB = 1e-6


@dataclass(frozen=True, slots=True)
class DrivenLaunch:
    """What a modulator's arms launch when a generator drives them.

    Parameters
    ----------
    full_scale_dbm : float
        Launch power with one arm fully on [dBm].
    v_pi_v : float
        Half-wave voltage of an arm [V].
    driver_gain : float
        Voltage gain between generator and modulator [1].
    attenuation_db : float or None
        Of ``tx.attenuator`` when that was so [dB]; None without one.
    """

    full_scale_dbm: float
    v_pi_v: float
    driver_gain: float
    attenuation_db: float | None = None

    def launch_dbm(self, peaks_v: Mapping[int, float]) -> float:
        """Return the most that such peaks let through [dBm].

        Parameters
        ----------
        peaks_v : mapping of int to float
            Largest voltage of each arm's channel, without its sign [V].
        """
        half_turns = [
            min(1.0, abs(peak_v) * self.driver_gain / self.v_pi_v)
            for peak_v in peaks_v.values()
        ]
        open_arms = sum(math.sin(0.5 * math.pi * x) ** 2 for x in half_turns)
        if not open_arms > 0.0:
            return _DARK_DBM
        return self.full_scale_dbm + 10.0 * math.log10(open_arms)


class LaunchLimit:
    """Follows the set-points of one bench and refuses what launches too much.

    Parameters
    ----------
    limit_dbm : float
        ``safety.max_launch_dbm`` [dBm].
    insertion_db : float
        Known loss between laser and fibre, without the attenuator [dB].
    driven : DrivenLaunch or None
    """

    def __init__(
        self,
        limit_dbm: float,
        insertion_db: float = 0.0,
        driven: DrivenLaunch | None = None,
    ) -> None:
        self._limit_dbm, self._insertion_db = limit_dbm, insertion_db
        self._driven = driven
        self._laser_dbm = _DARK_DBM
        self._attenuation_db: float | None = None
        # Launch of the loaded waveform with the attenuation as measured [dBm].
        self._driven_dbm = _DARK_DBM

    def attach(
        self, instruments: Mapping[str, Instrument], wiring: Mapping[str, str]
    ) -> None:
        """Put the checks in front of the drivers that make or pass the light.

        Their methods are shadowed on the instances, so that every caller, the
        driver itself included, goes through the check.

        Parameters
        ----------
        instruments : mapping of str to Instrument
            Open, in their safe states.
        wiring : mapping of str to str
        """

        def wired(signal: str) -> Instrument | None:
            return instruments.get(wiring.get(signal, "").partition(":")[0])

        laser, attenuator = wired("tx.laser"), wired("tx.attenuator")
        if isinstance(laser, Laser):
            _shadow(laser, "configure", self._around_laser(laser))
            _shadow(laser, "safe_state", self._after(self._laser_is_dark))
        if isinstance(attenuator, Attenuator):
            largest = attenuator

            def closed() -> None:
                self._attenuation_db = largest.attenuation_range_db[1]

            closed()
            _shadow(attenuator, "set_attenuation", self._around_attenuator(attenuator))
            _shadow(attenuator, "safe_state", self._after(closed))
        generator = wired("tx.i")
        if self._driven is not None and isinstance(
            generator, ArbitraryWaveformGenerator
        ):
            arms = [wiring[s].partition(":")[2] for s in ("tx.i", "tx.q")]
            channels = tuple(int(port) for port in arms)
            around = self._around_upload(generator, channels)
            _shadow(generator, "upload", around)
            _shadow(generator, "upload_segments", around)

    def _laser_is_dark(self) -> None:
        self._laser_dbm = _DARK_DBM

    def _around_laser(self, laser: Laser) -> Callable[..., Any]:
        def configure(call: Callable[..., Any], config: LaserConfig) -> Any:
            power_dbm = config.power_dbm
            self._check(
                laser.name,
                f"power {power_dbm:g} dBm",
                self._from_laser_dbm(power_dbm, self._attenuation_db),
            )
            self._laser_dbm = max(self._laser_dbm, power_dbm)
            taken = call(config)
            self._laser_dbm = float(taken.power_dbm)
            return taken

        return configure

    def _around_attenuator(self, attenuator: Attenuator) -> Callable[..., Any]:
        def set_attenuation(call: Callable[..., Any], config: AttenuatorConfig) -> Any:
            wanted_db = config.attenuation_db
            what = f"attenuation {wanted_db:g} dB"
            self._check(
                attenuator.name, what, self._from_laser_dbm(self._laser_dbm, wanted_db)
            )
            self._check(
                attenuator.name, what, self._from_drive_dbm(self._driven_dbm, wanted_db)
            )
            known = self._attenuation_db
            self._attenuation_db = wanted_db if known is None else min(known, wanted_db)
            taken = call(config)
            self._attenuation_db = float(taken.attenuation_db)
            return taken

        return set_attenuation

    def _around_upload(
        self, generator: ArbitraryWaveformGenerator, channels: tuple[int, ...]
    ) -> Callable[..., Any]:
        def upload(call: Callable[..., Any], given: Waveform | list[Waveform]) -> Any:
            segments = [given] if isinstance(given, Waveform) else list(given)
            peaks_v = {
                n: max(_peak_v(segment, n) for segment in segments) for n in channels
            }
            driven = self._driven
            launch_dbm = driven.launch_dbm(peaks_v) if driven else _DARK_DBM
            peak_v = max(peaks_v.values())
            self._check(
                generator.name,
                f"waveform of {peak_v:.3g} V",
                self._from_drive_dbm(launch_dbm, self._attenuation_db),
            )
            self._driven_dbm = launch_dbm
            return call(given)

        return upload

    @staticmethod
    def _after(note: Callable[[], None]) -> Callable[..., Any]:
        def safe_state(call: Callable[..., Any], timeout_s: float) -> Any:
            result = call(timeout_s)
            note()
            return result

        return safe_state

    def _from_laser_dbm(self, power_dbm: float, attenuation_db: float | None) -> float:
        """Return the launch power, all modulators open [dBm]."""
        return power_dbm - (attenuation_db or 0.0) - self._insertion_db

    def _from_drive_dbm(self, launch_dbm: float, attenuation_db: float | None) -> float:
        """Return the launch power of a waveform at this attenuation [dBm]."""
        driven = self._driven
        if driven is None or driven.attenuation_db is None or attenuation_db is None:
            return launch_dbm
        return launch_dbm + driven.attenuation_db - attenuation_db

    def _check(self, instrument: str, what: str, launch_dbm: float) -> None:
        """Refuse what launches more than the limit; nothing was sent."""
        # Written so that a power that is no number is refused too.
        if not launch_dbm <= self._limit_dbm + _ROUNDING_DB:
            limit = f"safety.max_launch_dbm is {self._limit_dbm:g}"
            raise RangeError(
                instrument, what, f"may launch {launch_dbm:.2f} dBm, {limit}"
            )


def _peak_v(waveform: Waveform, channel: int) -> float:
    """Return the largest voltage of a channel, without its sign [V]."""
    row = waveform.samples[channel - 1]
    return float(max(np.max(row), -np.min(row))) if row.size else 0.0


def _shadow(instrument: Instrument, method: str, around: Callable[..., Any]) -> None:
    """Let `around` decide about every call of a method of this instance."""
    original = getattr(instrument, method)

    def checked(*arguments: Any, **named: Any) -> Any:
        return around(original, *arguments, *named.values())

    setattr(instrument, method, checked)
