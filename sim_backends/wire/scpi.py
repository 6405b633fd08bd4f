"""SCPI as an instrument understands it: the header tree and parameters.

Headers are written as in the manuals, ``TRACe#:DELete[:ALL]``: upper-case
letters are the short form, brackets are optional nodes, ``#`` is a numeric
suffix (1 when left out).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sim_backends.wire.status import ScpiError

Parameter = str | memoryview
Reply = str | bytes | memoryview | list[bytes | memoryview]
Handler = Callable[[tuple[int, ...], list[Parameter]], Reply | None]

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z/]*)$")
_NODE = re.compile(r"([A-Za-z]+)(\d*)$")


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


def quantity(
    parameters: list[Parameter], index: int, default: str, *units: str
) -> tuple[float, str]:
    """Return parameter `index` as a number and the one of `units` behind it.

    Upper and lower case mean the same; without a unit it is in `default`.

    Raises
    ------
    ScpiError
        -109 if missing, -104 if no number, -131 if in another unit.
    """
    text = word(parameters, index)
    match = _QUANTITY.match(text)
    if match is None:
        raise ScpiError(-104, text[:40])
    named = {unit.upper(): unit for unit in (default, *units)}
    unit = match[2].upper() or default.upper()
    if unit not in named:
        raise ScpiError(-131, match[2][:20])
    return float(match[1]), named[unit]


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
