"""A stand-in for the maker's package of Spectrum cards.

Registers, numbers and calls are those of the package's public source. Its card
records zeros, or, in a stream, a ramp that shows whether samples are missing.
"""

import sys
import types
from contextlib import contextmanager

import numpy as np

NUMBERS = {
    "SPC_REC_STD_SINGLE": 0x1,
    "SPC_REC_FIFO_SINGLE": 0x10,
    "SPC_CARDMODE": 9500,
    "SPC_CHENABLE": 11000,
    "SPC_AMP0": 30010,
    "SPC_AMP1": 30110,
    "SPC_50OHM0": 30030,
    "SPC_50OHM1": 30130,
    "SPC_CLOCKMODE": 20200,
    "SPC_CM_INTPLL": 1,
    "SPC_SAMPLERATE": 20000,
    "SPC_MEMSIZE": 10000,
    "SPC_POSTTRIGGER": 10100,
    "SPC_LOOPS": 10020,
    "SPC_TRIG_ORMASK": 40410,
    "SPC_TRIG_ANDMASK": 40430,
    "SPC_TMASK_SOFTWARE": 1,
    "SPC_TMASK_EXT0": 2,
    "SPC_TRIG_EXT0_MODE": 40510,
    "SPC_TRIG_EXT0_LEVEL0": 42320,
    "SPC_TM_POS": 1,
    "SPC_TIMEOUT": 295130,
    "SPC_MIINST_MAXADCLOCK": 1140,
    "M2CMD_CARD_ENABLETRIGGER": 0x8,
    "M2CMD_CARD_WAITREADY": 0x4000,
    "M2CMD_DATA_STARTDMA": 0x10000,
    "M2CMD_DATA_WAITDMA": 0x20000,
    "M2CMD_DATA_STOPDMA": 0x40000,
    "M2STAT_DATA_OVERRUN": 0x400,
}
FULL_CODE, N_CHANNELS, MAX_RATE_HZ = 32767, 4, 500_000_000
OVERRUN, WAITREADY, WAITDMA = 0x400, 0x4000, 0x20000


class SpcmException(Exception):  # noqa: N818
    pass


class SpcmTimeout(Exception):  # noqa: N818
    pass


class Card:
    """One card; `steps` holds what it does while it is waited for."""

    def __init__(self, place):
        self.place, self.opened = place, False
        self.registers = {1140: MAX_RATE_HZ}
        self.running, self.overrun, self.silent = False, False, False
        self.written, self.starts = [], 0
        self.ring = None

    def _check(self):
        if not self.opened:
            raise SpcmException("The card is closed")

    def open(self):
        if not self.place.startswith("/dev/spcm"):
            raise SpcmException("No card found")
        self.opened = True
        return self

    def close(self):
        self.opened = False

    def drv_version(self):
        return {"major": 7, "minor": 0, "build": 1}

    def product_name(self):
        return "M4i.4451-x8"

    def sn(self):
        return 4711

    def num_channels(self):
        return N_CHANNELS

    def max_sample_value(self):
        return FULL_CODE

    def status(self):
        self._check()
        return OVERRUN if self.overrun else 0

    def set_i(self, register, value):
        self._check()
        self.written.append((register, value))
        self.registers[register] = value

    def get_i(self, register):
        self._check()
        return self.registers[register]

    def start(self, *flags):
        self.running, self.overrun = True, False
        self.starts += 1

    def stop(self, *flags):
        self._check()
        self.running = False

    def cmd(self, *flags):
        external = self.registers.get(40410) == 2
        if flags[0] == WAITREADY and external:
            raise SpcmTimeout("A card timeout occured")
        if flags[0] == WAITDMA and self.ring is not None:
            self.ring.fill()


class DataTransfer:
    """A buffer; in a stream, a ring that holds a ramp."""

    def __init__(self, card):
        self.card = card
        mask = card.registers[11000]
        self.n_channels = bin(mask).count("1")
        self.notify = 0

    def allocate_buffer(self, n_samples):
        # Interleaved, as the card delivers it.
        flat = np.full(n_samples * self.n_channels, 9999, np.int16)
        self.buffer = flat.reshape((self.n_channels, -1), order="F")
        self.n_samples = n_samples

    def start_buffer_transfer(self, *flags, notify_samples=None):
        if notify_samples is None:
            self.buffer[:] = 0
            return
        self.notify, self.card.ring = notify_samples, self
        self.at, self.held, self.next = 0, 0, 0

    def fill(self):
        """Let the card record one block, into what is free of the ring."""
        if self.card.silent:
            raise SpcmTimeout("A card timeout occured")
        if self.held + self.notify > self.n_samples:
            self.card.overrun = True
            raise SpcmException("FIFO hardware overrun")
        begin = (self.at + self.held) % self.n_samples
        ramp = (self.next + np.arange(self.notify)) % 30000
        for row in range(self.n_channels):
            self.buffer[row, begin : begin + self.notify] = ramp + 100 * row
        self.held, self.next = self.held + self.notify, self.next + self.notify

    def avail_user_len(self):
        return self.held

    def avail_user_pos(self):
        return self.at

    def avail_card_len(self, n_samples):
        # What was given back may be overwritten at any time.
        self.buffer[:, self.at : self.at + n_samples] = 9999
        self.at = (self.at + n_samples) % self.n_samples
        self.held -= n_samples


@contextmanager
def installed():
    """Put the package where it is imported from; yield the cards that are made."""
    package, cards = types.ModuleType("spcm"), []

    def card(place):
        cards.append(Card(place))
        return cards[-1]

    package.Card, package.DataTransfer = card, DataTransfer
    package.SpcmException, package.SpcmTimeout = SpcmException, SpcmTimeout
    for name, number in NUMBERS.items():
        setattr(package, name, number)
    before = sys.modules.get("spcm")
    sys.modules["spcm"] = package
    try:
        yield cards
    finally:
        if before is None:
            del sys.modules["spcm"]
        else:
            sys.modules["spcm"] = before
