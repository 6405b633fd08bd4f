"""Emulated ITLA laser module: registers, pending operations, an output bit."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.optics.levers import Emission

OK, ERROR, EXTENDED, PENDING = range(4)
NOT_IMPLEMENTED, NOT_WRITABLE, OUT_OF_RANGE, BUSY = 1, 2, 3, 4
END_OF_TEXT, FAILED, OUTPUT_IS_ON = 6, 8, 9

NOP, AEA, RESENA, FTF = 0x00, 0x0B, 0x32, 0x62
CHANNEL, PWR, GRID, FCF1, FCF2 = 0x30, 0x31, 0x34, 0x35, 0x36
CHANNEL_HIGH, FCF3 = 0x65, 0x67
LF1, LF2, OOP, LF3 = 0x40, 0x41, 0x42, 0x68
TEXTS = {
    0x01: "CW ITLA",
    0x02: "SCQC",
    0x03: "ITLA-C-BAND",
    0x04: "SIM-000001",
    0x05: "01-JAN-2024",
    0x06: "PV:01.3.0:FV:1.0",
}
IMPOSTOR = "ITLA-L-BAND"
MODEL = 0x03
#: Power-on values: 193.1 THz on a grid of 50 GHz, 10 dBm.
POWER_ON = {
    CHANNEL: 1,
    PWR: 1000,
    RESENA: 0,
    0x33: 0,
    GRID: 500,
    FCF1: 193,
    FCF2: 1000,
    FTF: 0,
    CHANNEL_HIGH: 0,
    FCF3: 0,
}
#: Fine range 6 GHz, 0 to 13.5 dBm, 191.5 to 196.25 THz, a grid of 6.25 GHz at least.
FIXED = {
    0x0D: 0,
    0x20: 0,
    0x21: 0,
    0x43: 2500,
    0x4F: 6000,
    0x50: 0,
    0x51: 1350,
    0x52: 191,
    0x53: 5000,
    0x54: 196,
    0x55: 2500,
    0x56: 63,
}
LOWEST_MHZ, HIGHEST_MHZ = 191_500_000, 196_250_000
SENA = 0x0008
READY = 0x0010
DARK_CENTIBEL = -6000
ONLY_DARK = (FCF1, FCF2, FCF3, GRID)
MOVES_LIGHT = (CHANNEL, CHANNEL_HIGH, FTF, PWR)
# Real modules need that long to come up, to be enabled, and to move.
WARM_S, ENABLE_S, MOVE_S = 5.0, 5.0, 1.0
HOP_MHZ = 62_000


class ItlaModule:
    """The module's registers; its light goes to the fibres, from port 1.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    settle_scale : float
        How long it takes to settle, over what a real one takes [1].
    clock : callable
        Returns the time [s].
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        settle_scale: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._cables = name, cables
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self._scale, self._clock = settle_scale, clock
        self._error = 0
        self._text = b""
        self._hop_mhz = 0
        self._done_s: float | None = None
        self._start_up()

    @property
    def is_safe(self) -> bool:
        """Whether no light leaves it."""
        return not self._emits

    def access(
        self, register: int, data: int, *, write: bool
    ) -> tuple[str, int, int | None]:
        """Carry out one request; return verb, status and data; None is no answer."""
        with self.lock:
            self._advance()
            verb = _verb(register, write=write)
            if self.faults.take_data(verb, "reboot"):
                self._start_up()
                return verb, OK, None
            if self.faults.take_data(verb, "execution-error"):
                return verb, *self._refuse(FAILED)
            if write:
                return verb, *self._write(verb, register, data)
            return verb, *self._read(register)

    def _start_up(self) -> None:
        self.registers = dict(POWER_ON)
        self._emits = False
        self._done_s = None
        self._ready_s = self._clock() + WARM_S * self._scale
        self._shine()

    def _read(self, register: int) -> tuple[int, int]:
        if register == NOP:
            return OK, self._nop()
        if register == AEA:
            return self._next_of_text()
        if register in TEXTS:
            swapped = register == MODEL and self.faults.take_data(
                "identify", "wrong-identity"
            )
            text = IMPOSTOR if swapped else TEXTS[register]
            self._text = text.encode() + b"\0"
            return EXTENDED, len(self._text)
        actual_mhz = self._frequency_mhz() + self._hop_mhz
        found = {
            **FIXED,
            **self.registers,
            LF1: actual_mhz // 1_000_000,
            LF2: actual_mhz % 1_000_000 // 100,
            LF3: actual_mhz % 100,
            OOP: self.registers[PWR] if self._emits else DARK_CENTIBEL & 0xFFFF,
        }
        if register not in found:
            return self._refuse(NOT_IMPLEMENTED)
        return OK, found[register]

    def _write(self, verb: str, register: int, data: int) -> tuple[int, int]:
        if register == RESENA:
            return self._enable(verb, data)
        refusal = self._why_not(register, data)
        if refusal:
            return self._refuse(refusal)
        changes = self.registers[register] != data
        if changes and self.faults.take_data(verb, "not-taken"):
            return OK, data
        self.registers[register] = data
        if self._emits and register in MOVES_LIGHT:
            return self._begin(verb, MOVE_S)
        if self.faults.take_data(verb, "pending-forever"):
            self._done_s = math.inf
            return PENDING, 0x0100
        return OK, data

    def _why_not(self, register: int, data: int) -> int:
        """Return the error that a write meets; 0 if it meets none."""
        if register in FIXED or register in TEXTS or register in (LF1, LF2, LF3, OOP):
            return NOT_WRITABLE
        if register not in self.registers:
            return NOT_IMPLEMENTED
        if self._done_s is not None:
            return BUSY
        if self._emits and register in ONLY_DARK:
            return OUTPUT_IS_ON
        if register == PWR and not FIXED[0x50] <= _signed(data) <= FIXED[0x51]:
            return OUT_OF_RANGE
        if register == FTF and abs(_signed(data)) > FIXED[0x4F]:
            return OUT_OF_RANGE
        return 0

    def _enable(self, verb: str, data: int) -> tuple[int, int]:
        """Write ResEna: light on takes time, light off does not."""
        if data & 0x0003:
            self._start_up()
            return OK, data
        if not data & SENA:
            if not self.faults.take_data(verb, "not-taken"):
                self.registers[RESENA], self._done_s = 0, None
                self._emits = False
                self._shine()
            return OK, data
        if self._done_s is not None:
            return self._refuse(BUSY)
        if not LOWEST_MHZ <= self._frequency_mhz() <= HIGHEST_MHZ:
            return self._refuse(OUT_OF_RANGE)
        if self._clock() < self._ready_s:
            return self._refuse(FAILED)
        if self.faults.take_data(verb, "not-taken"):
            return OK, data
        self.registers[RESENA] = SENA
        hops = self.faults.take_data(verb, "mode-hop")
        self._hop_mhz = HOP_MHZ if hops else 0
        return self._begin(verb, ENABLE_S)

    def _begin(self, verb: str, duration_s: float) -> tuple[int, int]:
        """Begin an operation that ends later."""
        forever = self.faults.take_data(verb, "pending-forever")
        after_s = math.inf if forever else duration_s * self._scale
        self._done_s = self._clock() + after_s
        return PENDING, 0x0100

    def _advance(self) -> None:
        """End what has been going on long enough."""
        if self._done_s is not None and self._clock() >= self._done_s:
            self._done_s = None
            self._emits = bool(self.registers[RESENA] & SENA)
            self._shine()

    def _shine(self) -> None:
        frequency_hz = 1e6 * (self._frequency_mhz() + self._hop_mhz)
        power_dbm = _signed(self.registers[PWR]) / 100.0
        emission = Emission(self._emits, power_dbm, frequency_hz)
        self._cables.optics.set_laser(self.name, 1, emission)

    def _frequency_mhz(self) -> int:
        r = self.registers
        channel = r[CHANNEL] + (r[CHANNEL_HIGH] << 16)
        first_mhz = 1_000_000 * r[FCF1] + 100 * r[FCF2] + _signed(r[FCF3])
        return first_mhz + (channel - 1) * 100 * _signed(r[GRID]) + _signed(r[FTF])

    def _nop(self) -> int:
        error, self._error = self._error, 0
        ready = READY if self._clock() >= self._ready_s else 0
        pending = 0x0100 if self._done_s is not None else 0
        return pending | ready | error

    def _next_of_text(self) -> tuple[int, int]:
        if not self._text:
            return self._refuse(END_OF_TEXT)
        word, self._text = self._text[:2], self._text[2:]
        return OK, int.from_bytes(word.ljust(2, b"\0"))

    def _refuse(self, error: int) -> tuple[int, int]:
        self._error = error
        return ERROR, 0


def _signed(data: int) -> int:
    return data - 0x10000 if data & 0x8000 else data


def _verb(register: int, *, write: bool) -> str:
    if register == NOP:
        return "wait"
    if register == RESENA and write:
        return "switch"
    if register == AEA or register in TEXTS:
        return "identify"
    return "configure" if write else "fetch"
