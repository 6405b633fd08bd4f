"""SCPI as an instrument understands it: header tree, status, error queue.

Headers are written as in the manuals, ``TRACe#:DELete[:ALL]``: upper-case
letters are the short form, brackets are optional nodes, ``#`` is a numeric
suffix (1 when left out).
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Parameter = str | memoryview
Reply = str | bytes | memoryview | list[bytes | memoryview]
Handler = Callable[[tuple[int, ...], list[Parameter]], Reply | None]

QUEUE_LENGTH = 30
MESSAGES = {
    0: "No error",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -222: "Data out of range",
    -223: "Too much data",
    -224: "Illegal parameter value",
    -230: "Data corrupt or stale",
    -221: "Settings conflict",
    -256: "File name not found",
    -350: "Queue overflow",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
}
_NODE = re.compile(r"([A-Za-z]+)(\d*)$")


class ScpiError(Exception):
    """A command the instrument refuses, with its standard code."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


@dataclass(slots=True)
class Command:
    """What a header does, the verb that faults name it by, and its handlers."""

    verb: str
    on_set: Handler | None = None
    on_query: Handler | None = None


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    numeric: bool = False
    command: Command | None = None


class HeaderTree:
    """Finds the command of a header, in short or long form."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, pattern: str, command: Command) -> None:
        """Register `command` under every spelling that `pattern` allows."""
        for path in _expand(pattern):
            node = self._root
            for mnemonic in path:
                numeric = mnemonic.endswith("#")
                word = mnemonic.rstrip("#")
                short = "".join(c for c in word if not c.islower())
                child = node.children.get(short) or _Node(numeric=numeric)
                child.numeric = child.numeric or numeric
                node.children[short] = node.children[word.upper()] = child
                node = child
            node.command = command

    def find(self, path: list[str]) -> tuple[Command, tuple[int, ...]]:
        """Return the command of `path` and its numeric suffixes.

        Raises
        ------
        ScpiError
            -113 for an unknown header, -114 for a suffix where none belongs.
        """
        node = self._root
        suffixes = []
        for word in path:
            match = _NODE.match(word)
            name = word.upper() if match is None else match[1].upper()
            if name not in node.children:
                raise ScpiError(-113, ":".join(path))
            node = node.children[name]
            digits = "" if match is None else match[2]
            if node.numeric:
                suffixes.append(int(digits or 1))
            elif digits:
                raise ScpiError(-114, ":".join(path))
        if node.command is None:
            raise ScpiError(-113, ":".join(path))
        return node.command, tuple(suffixes)


def _expand(pattern: str) -> list[list[str]]:
    """Return every path that `pattern` allows, as lists of mnemonics."""
    if pattern.startswith("*"):
        return [[pattern]]
    parts = re.findall(r"\[:?([^\]]+)\]|([^:\[\]]+)", pattern)
    choices = [[[optional], []] if optional else [[must]] for optional, must in parts]
    return [list(itertools.chain(*pick)) for pick in itertools.product(*choices)]


class ErrorQueue:
    """Bounded first-in first-out; the last place tells of an overflow."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, str]] = deque()

    def push(self, code: int, detail: str = "") -> None:
        """Add an entry; a full queue keeps -350 instead."""
        text = MESSAGES.get(code, "Device-specific error")
        if detail:
            text = f"{text};{detail}"
        if len(self._entries) >= QUEUE_LENGTH:
            self._entries[-1] = (-350, MESSAGES[-350])
        else:
            self._entries.append((code, text))

    def pop(self) -> tuple[int, str]:
        """Return the oldest entry, or 0."""
        return self._entries.popleft() if self._entries else (0, MESSAGES[0])

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()


class StatusModel:
    """Standard event status and the error queue behind it."""

    def __init__(self) -> None:
        self.errors = ErrorQueue()
        self.event_status = 0x80  # power on
        self.event_enable = 0

    def report(self, error: ScpiError) -> None:
        """Queue an error and set its event bit."""
        self.errors.push(error.code, error.detail)
        bit = {1: 0x20, 2: 0x10, 3: 0x08, 4: 0x04}.get(-error.code // 100, 0x08)
        self.event_status |= bit

    def clear(self) -> None:
        """``*CLS``."""
        self.errors.clear()
        self.event_status = 0

    def take_event_status(self) -> int:
        """``*ESR?``: reading clears."""
        value, self.event_status = self.event_status, 0
        return value


def number(parameters: list[Parameter], index: int, low: float, high: float) -> float:
    """Return parameter `index` as a number within limits.

    Raises
    ------
    ScpiError
        -109 if missing, -104 if no number, -222 if outside the limits.
    """
    value = word(parameters, index)
    try:
        result = float(value)
    except ValueError as error:
        raise ScpiError(-104, value[:40]) from error
    if not low <= result <= high:
        raise ScpiError(-222, f"{result:g} not in {low:g}..{high:g}")
    return result


def word(parameters: list[Parameter], index: int) -> str:
    """Return parameter `index` as text.

    Raises
    ------
    ScpiError
        -109 if missing, -104 if it is a block.
    """
    if index >= len(parameters):
        raise ScpiError(-109)
    value = parameters[index]
    if not isinstance(value, str):
        raise ScpiError(-104, "unexpected block")
    return value


def switch(parameters: list[Parameter], index: int) -> bool:
    """Return parameter `index` as a truth value (ON, OFF, 1, 0)."""
    value = word(parameters, index).upper()
    if value not in {"ON", "OFF", "1", "0"}:
        raise ScpiError(-224, value[:40])
    return value in {"ON", "1"}


def choice(parameters: list[Parameter], index: int, *names: str) -> str:
    """Return the short form of the one of `names` that parameter `index` spells."""
    value = word(parameters, index).upper()
    for name in names:
        short = "".join(c for c in name if not c.islower())
        if value in {short, name.upper()}:
            return short
    raise ScpiError(-224, value[:40])
