"""The two halves of an emulated Red Pitaya: what it plays, and what it records."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import StateError
from sim_backends.devices.damage import is_stale, seen_by_converter
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import Reply
from sim_backends.wire.status import ScpiError

CHANNELS = (1, 2)
CLOCK_HZ = 125e6
BUFFER_SAMPLES = 16384
TOP_CODE = 8191
#: Full scale of an input on either side of 0 V [V].
GAINS_V = {"LV": 1.0, "HV": 20.0}
_DELAY_ORIGIN = BUFFER_SAMPLES // 2


@dataclass(slots=True)
class _Output:
    """Registers of one output."""

    on: bool = False
    shape: str = "SINE"
    frequency_hz: float = 1000.0
    amplitude_v: float = 1.0
    offset_v: float = 0.0
    mode: str = "CONTINUOUS"
    cycles: float = 1
    repetitions: float = 1
    trigger: str = "INT"
    samples: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros(0, dtype=np.float32)
    )

    def codes(self) -> NDArray[np.int16]:
        """Return what the converter plays in one cycle, shape (n,), int16 [code]."""
        if not self.on or self.shape != "ARBITRARY":
            return np.zeros(0, dtype=np.int16)
        volts = self.samples * self.amplitude_v + self.offset_v
        codes = np.clip(np.rint(volts * TOP_CODE), -TOP_CODE - 1, TOP_CODE)
        return np.asarray(codes, dtype=np.int16)


class Generator:
    """Two buffers, played with the frequency of their repetition.

    Parameters
    ----------
    name : str
    cables : Cables

    Attributes
    ----------
    outputs : dict of int to _Output
    on_start : callable
        Called when something starts.
    """

    def __init__(self, name: str, cables: Cables) -> None:
        self._name, self._cables = name, cables
        self.on_start: Callable[[], None] = lambda: None
        self.outputs = {n: _Output() for n in CHANNELS}

    @property
    def is_safe(self) -> bool:
        """Whether both outputs are off and nothing is played."""
        off = not any(output.on for output in self.outputs.values())
        return off and not self._cables.is_playing(self._name)

    def reset(self) -> None:
        """``GEN:RST``: outputs off, registers as at power-on."""
        self._stop()
        self.outputs = {n: _Output() for n in CHANNELS}

    def load(self, n: int, values: NDArray[np.float32]) -> None:
        """Fill a buffer.

        Parameters
        ----------
        n : int
            The output.
        values : ndarray, shape (n_samples,), float32 [1]
            In units of the amplitude.
        """
        self._stop()
        self.outputs[n].samples = values

    def switch(self, rows: tuple[int, ...], *, on: bool) -> None:
        """Connect or disconnect outputs; they play from the next trigger on."""
        for n in rows:
            self.outputs[n].on = on
        if not on:
            self._stop()

    def pulse(self) -> None:
        """React to a rising edge on the trigger input."""
        rows = tuple(n for n, o in self.outputs.items() if o.trigger == "EXT_PE")
        if any(self.outputs[n].on for n in rows):
            self.start(rows)

    def start(self, rows: tuple[int, ...]) -> None:
        """Play on the outputs that are on.

        Raises
        ------
        ScpiError
            -221 if the two outputs have different rates, or the laboratory cannot
            use what is played.
        """
        codes = [self.outputs[n].codes() for n in CHANNELS]
        codes = [
            c if n in rows else c[:0] for n, c in zip(CHANNELS, codes, strict=True)
        ]
        n_samples = max(c.size for c in codes)
        if n_samples == 0:
            return
        lit = [o for o in self.outputs.values() if o.on]
        if len({o.frequency_hz for o in lit}) > 1:
            raise ScpiError(-221, "outputs of different rates are not emulated")
        played = np.zeros((2, n_samples), dtype=np.int16)
        for row, code in enumerate(codes):
            played[row, : code.size] = code
        # The phase accumulator counts a whole buffer, however much of it is used.
        rate_hz = lit[0].frequency_hz * BUFFER_SAMPLES
        volts = played * np.float32(1.0 / TOP_CODE)
        once = lit[0].mode == "BURST"
        try:
            self._cables.play(self._name, played, volts, rate_hz, once=once)
        except StateError as error:
            raise ScpiError(-221, error.reason) from error
        self.on_start()

    def _stop(self) -> None:
        if self._cables.is_playing(self._name):
            self._cables.stop(self._name)


class Recorder:
    """The ring of each input, filled until some samples after the trigger.

    Parameters
    ----------
    name : str
    cables : Cables
    lock : RLock
        The device's.
    faults : FaultPlan
        The device's.
    input_channel : int
        The input that the detector is plugged into.
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        lock: threading.RLock,
        faults: FaultPlan,
        input_channel: int,
    ) -> None:
        self._name, self._cables, self._lock = name, cables, lock
        self._faults = faults
        self._input_channel = input_channel
        self._generation = 0
        self._worker: threading.Thread | None = None
        self.position = self.end = 0
        self.reset()

    def reset(self) -> None:
        """``ACQ:RST``: stop, registers as at power-on."""
        self.stop()
        self.decimation, self.averaging = 1, True
        self.units, self.form = "VOLTS", "ASCII"
        self.delay, self.level_v = 0, 0.0
        self.gains = dict.fromkeys(CHANNELS, "LV")
        self.rings = {n: np.zeros(BUFFER_SAMPLES, np.int16) for n in CHANNELS}

    @property
    def rate_hz(self) -> float:
        """Sample rate [Sa/s]."""
        return CLOCK_HZ / self.decimation

    @property
    def state(self) -> str:
        """``ACQ:TRig:STAT?``: triggered once no trigger is waited for."""
        return "WAIT" if self._source != "DISABLED" else "TD"

    def start(self) -> None:
        """``ACQ:START``: write into the ring from now on."""
        self._generation += 1
        self._running, self._source, self.full = True, "DISABLED", False

    def stop(self) -> None:
        """``ACQ:STOP``: the ring keeps what it has."""
        self._generation += 1
        self._running, self._source, self.full = False, "DISABLED", False

    def join(self) -> None:
        """Wait for a record in progress."""
        if self._worker is not None:
            self._worker.join()

    def listen(self, source: str) -> None:
        """``ACQ:TRig``: wait for a trigger from `source`."""
        if source == "DISABLED" or not self._running:
            self._source = "DISABLED"
            return
        self._source = source
        if source == "NOW":
            self.triggered("NOW")

    def triggered(self, source: str) -> None:
        """See a trigger; record in a thread, so that polling is answered."""
        if not self._running or self._source != source:
            return
        self._source = "DISABLED"
        self._worker = threading.Thread(
            target=self._record,
            args=(self._generation, _DELAY_ORIGIN + self.delay, self.rate_hz),
            name=f"{self._name}-record",
            daemon=True,
        )
        self._worker.start()

    def _record(self, generation: int, n_samples: int, rate_hz: float) -> None:
        # A delay of -8192 records nothing after the trigger.
        volts = seen_by_converter(
            self._cables.record(max(n_samples, 1), rate_hz)[:n_samples], self._faults
        )
        with self._lock:
            if generation != self._generation:
                return
            # The ring is full of what was recorded before.
            stale = is_stale(self._faults)
            self.position = self.end
            for n, ring in self.rings.items():
                seen = volts if n == self._input_channel else np.zeros_like(volts)
                codes = quantise(seen, GAINS_V[self.gains[n]])
                at = (self.position + np.arange(n_samples)) % BUFFER_SAMPLES
                if not stale:
                    ring[at] = codes
            self.end = (self.position + n_samples) % BUFFER_SAMPLES
            self._running, self.full = False, True

    def data(self, n: int, first: int, count: int) -> Reply:
        """Return `count` samples of input `n` from position `first` of the ring on."""
        codes = self.rings[n][(first + np.arange(count)) % BUFFER_SAMPLES]
        if self.units == "RAW":
            values: NDArray[np.generic] = codes.astype(">i2")
        else:
            values = (codes * (GAINS_V[self.gains[n]] / (TOP_CODE + 1))).astype(">f4")
        if self.form == "BIN":
            length = str(values.nbytes)
            return [f"#{len(length)}{length}".encode(), values.tobytes()]
        return "{" + ",".join(f"{v:g}" for v in values.tolist()) + "}"


def quantise(volts: NDArray[np.float32], full_v: float) -> NDArray[np.int16]:
    """Convert to codes of 14 bits; what exceeds the range is cut.

    Parameters
    ----------
    volts : ndarray, shape (n,), float32 [V]
    full_v : float
        Full scale on either side of 0 V [V].

    Returns
    -------
    ndarray, shape (n,), int16 [code]
    """
    steps = np.rint(volts * np.float32((TOP_CODE + 1) / full_v))
    codes: NDArray[np.int16] = np.clip(steps, -TOP_CODE - 1, TOP_CODE).astype(np.int16)
    return codes
