"""A stand-in for the maker's package of the Swabian Time Tagger.

Names and meanings are those of the package's public documentation; a tagger of it
fires like the regular tags of `local_kit`, with what a test adds to it.
"""

import sys
import types
from contextlib import contextmanager

import numpy as np

CHANNEL_UNUSED = -134217728
BOOTED_PS = 123_456_789_012


class Tagger:
    def __init__(self, serial, tags):
        self.serial, self.tags = serial, tags
        self.levels, self.delays, self.overflows = {}, {}, 0
        self.freed, self.calls = False, []
        # Events of other kinds: time [ps], kind, input, missed.
        self.events, self.now_ps = [], BOOTED_PS

    def _check(self):
        if self.freed:
            raise RuntimeError("The Time Tagger was freed")

    def getSerial(self):  # noqa: N802
        self._check()
        return self.serial

    def getModel(self):  # noqa: N802
        return "Time Tagger Ultra"

    def getFirmwareVersion(self):  # noqa: N802
        return "TT-Ultra, FW 3"

    def setTriggerLevel(self, channel, voltage):  # noqa: N802
        self._check()
        self.calls.append(("setTriggerLevel", channel, voltage))
        self.levels[channel] = voltage

    def getTriggerLevel(self, channel):  # noqa: N802
        return self.levels[channel]

    def setInputDelay(self, channel, delay):  # noqa: N802
        self.calls.append(("setInputDelay", channel, delay))
        self.delays[channel] = delay

    def getInputDelay(self, channel):  # noqa: N802
        return self.delays[channel]

    def getInvertedChannel(self, channel):  # noqa: N802
        return -channel if channel < 9 else CHANNEL_UNUSED

    def getOverflows(self):  # noqa: N802
        return self.overflows

    def clearOverflows(self):  # noqa: N802
        self.overflows = 0

    def recorded(self, channels, duration_ps):
        """Return times, numbers, kinds and missed counts, in order of time."""
        times, numbers = [], []
        for number in channels:
            fired = self.tags.times_ps[self.tags.channels == abs(number)]
            delayed = fired + self.delays.get(number, 0)
            times.append(delayed[delayed < duration_ps])
            numbers.append(np.full(times[-1].size, number, np.int32))
        others = np.array(self.events, dtype=np.int64).reshape(-1, 4)
        times = np.concatenate([*times, others[:, 0]])
        numbers = np.concatenate([*numbers, others[:, 2].astype(np.int32)])
        none = np.zeros(times.size - len(others), np.int64)
        kinds = np.concatenate([none, others[:, 1]]).astype(np.uint8)
        missed = np.concatenate([none, others[:, 3]]).astype(np.uint16)
        order = np.argsort(times, kind="stable")
        return times[order], numbers[order], kinds[order], missed[order]


class Buffer:
    def __init__(self, start_ps, times, numbers, kinds, missed):
        self.tStart = start_ps
        self._found = times + start_ps, numbers, kinds, missed
        self.size = times.size
        self.hasOverflows = bool(np.any((kinds == 2) | (kinds == 4)))

    def getTimestamps(self):  # noqa: N802
        return self._found[0]

    def getChannels(self):  # noqa: N802
        return self._found[1]

    def getEventTypes(self):  # noqa: N802
        return self._found[2]

    def getMissedEvents(self):  # noqa: N802
        return self._found[3]


class TimeTagStream:
    """Gives its tags in three parts, and then has ended."""

    def __init__(self, tagger, n_max_events, channels):
        self.tagger, self.channels = tagger, channels
        self.left = None
        tagger.calls.append(("TimeTagStream", tuple(channels)))

    def startFor(self, capture_duration):  # noqa: N802
        found = self.tagger.recorded(self.channels, capture_duration)
        self.parts = list(zip(*(np.array_split(one, 3) for one in found), strict=True))
        self.start_ps = self.tagger.now_ps
        self.tagger.now_ps += capture_duration

    def isRunning(self):  # noqa: N802
        return len(self.parts) > 1 or self.tagger.overflows < 0

    def getData(self):  # noqa: N802
        part = self.parts.pop(0) if self.parts else [np.zeros(0, np.int64)] * 4
        return Buffer(self.start_ps, *part)

    def stop(self):
        self.tagger.calls.append(("stop",))


class Countrate:
    def __init__(self, tagger, channels):
        self.tagger, self.channels = tagger, channels

    def startFor(self, capture_duration):  # noqa: N802
        _, numbers, _, _ = self.tagger.recorded(self.channels, capture_duration)
        self.totals = [int(np.sum(numbers == n)) for n in self.channels]

    def waitUntilFinished(self, timeout=-1):  # noqa: N802
        return self.tagger.overflows >= 0

    def getCountsTotal(self):  # noqa: N802
        return np.array(self.totals)


@contextmanager
def installed(tags, serials=("2138000XIR",)):
    """Put the package where it is imported from; yield the taggers by serial."""
    taggers = {serial: Tagger(serial, tags) for serial in serials}
    package = types.ModuleType("Swabian.TimeTagger")

    def create(serial=""):
        if serial not in {"", *taggers}:
            raise RuntimeError("No Time Tagger with this serial number")
        tagger = taggers[serial or serials[0]]
        tagger.freed = False
        return tagger

    def free(tagger):
        tagger.freed = True

    package.createTimeTagger, package.freeTimeTagger = create, free
    package.TimeTagStream, package.Countrate = TimeTagStream, Countrate
    package.CHANNEL_UNUSED = CHANNEL_UNUSED
    parent = types.ModuleType("Swabian")
    parent.TimeTagger = package
    before = {name: sys.modules.get(name) for name in ("Swabian", "Swabian.TimeTagger")}
    sys.modules.update({"Swabian": parent, "Swabian.TimeTagger": package})
    try:
        yield taggers
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
