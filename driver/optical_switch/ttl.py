"""A TTL shutter driven by a marker output of a waveform generator."""

from __future__ import annotations

from driver.hal import ArbitraryWaveformGenerator

# What the markers of all generators reach.
OPEN_V = 1.4
CLOSED_V = 0.0


class TtlSwitch:
    """An optical shutter that is open while its input is high.

    Parameters
    ----------
    generator : ArbitraryWaveformGenerator
        The instrument whose marker drives the shutter.
    marker : int
        Number of the marker output.
    """

    def __init__(self, generator: ArbitraryWaveformGenerator, marker: int) -> None:
        self._generator, self._marker = generator, marker
        self._open = False

    @property
    def is_open(self) -> bool:
        """What was last asked for; closed before that."""
        return self._open

    def set_open(self, is_open: bool) -> None:
        """Open the shutter (1.4 V) or close it (0 V)."""
        # Told closed first: if the command fails, light is assumed through.
        self._open = self._open or is_open
        level_v = OPEN_V if is_open else CLOSED_V
        self._generator.set_marker_level(self._marker, level_v)
        self._open = is_open
