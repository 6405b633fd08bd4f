"""Red Pitaya STEMlab 125-14: waveform generator and digitiser on one link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from driver.hal import AwgConfig, DigitizerConfig, Identity, Snapshot
from driver.redpitaya.acquisition import Acquisition
from driver.redpitaya.generator import OFF, Generator
from driver.redpitaya.limits import AMPLITUDE_VPP, MODEL
from driver.restoring import require_same
from driver.scpi.link import ScpiLink
from scqc.core.errors import ConnectError, RangeError
from scqc.core.records import Trace, Waveform


class RedPitayaStemlab:
    """Driver for the roles `ArbitraryWaveformGenerator` and `Digitizer`.

    Parameters
    ----------
    link : ScpiLink
    """

    granularity = 1
    minimum_samples = 1
    amplitude_range_vpp = AMPLITUDE_VPP

    def __init__(self, link: ScpiLink) -> None:
        self._link = link
        self.name = link.instrument
        self._generator = Generator(link)
        self._acquisition = Acquisition(link)

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        return self._link.identity

    def open(self) -> Identity:
        """Connect, make sure which board it is, and switch the outputs off.

        Raises
        ------
        ConnectError
            If it is another board than a STEMlab 125-14.
        """
        identity = self._link.open()
        board = self._link.query("SYST:BRD:Name?")
        if MODEL not in board:
            reason = f"{board[:40]!r} is no STEMlab {MODEL}"
            raise ConnectError(self.name, "SYST:BRD:Name?", reason)
        self._link.write("*CLS")
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the instrument still answers."""
        self._link.query("*IDN?", idempotent=True)

    def safe_state(self, timeout_s: float) -> None:
        """Switch the outputs off and stop recording, within `timeout_s` [s]."""
        self._generator.forget()
        self._acquisition.forget()
        with self._link.batch(timeout_s) as batch:
            batch += [*OFF, "GEN:RST", "ACQ:STOP"]

    def snapshot(self) -> Snapshot:
        """Return the settings of both halves as JSON values."""
        generator = self._generator.snapshot()
        return {
            **generator,
            "loaded_samples": self._generator.loaded_samples,
            "generator": generator,
            "digitizer": self._acquisition.snapshot(),
        }

    @overload
    def configure(self, config: AwgConfig) -> AwgConfig: ...

    @overload
    def configure(self, config: DigitizerConfig) -> DigitizerConfig: ...

    def configure(
        self, config: AwgConfig | DigitizerConfig
    ) -> AwgConfig | DigitizerConfig:
        """Set up the half that `config` is for; return what the device took.

        The digitiser takes the more sensitive of its two ranges that holds the one
        asked for; the jumpers on the board must stand the same way.

        Raises
        ------
        RangeError
            If a value is outside the limits; nothing is sent.
        DeviceError
            If the device refuses, or does not take a value.
        """
        if isinstance(config, AwgConfig):
            return self._generator.configure(config)
        return self._acquisition.configure(config)

    def restore(self) -> None:
        """Set what was configured last, read it back and compare, both halves.

        Raises
        ------
        DeviceError
            With every set-point that is not what it was.
        """
        for half in (self._generator, self._acquisition):
            config = half.config
            if config is not None:
                require_same(self.name, config, self.configure(config))

    def upload(self, waveform: Waveform) -> None:
        """Load a waveform, shape (2, n), float32 [V]; nothing is played yet.

        Raises
        ------
        RangeError
            If length, rate or a voltage is outside the limits; nothing is sent.
        StateError
            If the generator is not configured.
        """
        self._generator.upload([waveform])

    def upload_segments(self, segments: Sequence[Waveform]) -> None:
        """Load waveforms, each shape (2, n_i), float32 [V], to be played in a row.

        Raises
        ------
        RangeError
            If there are none, one is outside the limits, or all together are longer
            than the buffer; nothing is sent.
        StateError
            If the generator is not configured.
        """
        self._generator.upload(segments)

    def start(self) -> None:
        """Play what was uploaded once, from its first sample, now or when triggered.

        Raises
        ------
        StateError
            If no waveform is loaded.
        """
        self._generator.start()

    def stop(self) -> None:
        """Stop playing; the waveform stays loaded."""
        self._generator.stop()

    def set_marker_level(self, marker: int, level_v: float) -> None:
        """Refuse: the board has no markers.

        Raises
        ------
        RangeError
            Always.
        """
        raise RangeError(
            self.name, f"marker {marker}", f"STEMlab {MODEL} has no markers"
        )

    def arm(self) -> None:
        """Get ready to record; an earlier record is forgotten.

        With a waveform loaded, the external trigger is the start of the own
        generator, which needs no cable; otherwise it is the trigger input.
        """
        own = self._generator.loaded_samples > 0
        self._acquisition.arm(own_generator=own)

    def wait(self, timeout_s: float) -> None:
        """Return when the record is complete.

        Raises
        ------
        InstrumentTimeout
            If it is not complete after `timeout_s` [s].
        StateError
            If the digitiser is not armed.
        """
        self._acquisition.wait(timeout_s)

    def fetch(self, timeout_s: float) -> Trace:
        """Read the completed record.

        Raises
        ------
        StateError
            If no record is complete.
        WireProtocolError
            If the reply has another length than was recorded, or codes that the
            converter does not have.
        """
        return self._acquisition.fetch(timeout_s)

    def abort(self) -> None:
        """Stop recording."""
        self._acquisition.abort()
