"""What all emulated SCPI instruments share: common commands and dispatch."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import (
    Command,
    HeaderTree,
    Parameter,
    Reply,
    ScpiError,
    StatusModel,
    number,
)

# Verbs of commands that belong to whatever was done before them.
INHERITED = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A unit resolved to a command: what to do, and which verb it is."""

    command: Command
    suffixes: tuple[int, ...]
    parameters: list[Parameter]
    is_query: bool


class ScpiDevice:
    """Registers, status and header tree of one instrument; thread-safe.

    Parameters
    ----------
    name : str
        Name on the bench.
    identity : tuple of str
        Vendor, model, serial number, firmware.
    faults : FaultPlan or None
    """

    def __init__(
        self, name: str, identity: tuple[str, ...], faults: FaultPlan | None = None
    ) -> None:
        self.name = name
        self.identity = identity
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self.status = StatusModel()
        self.tree = HeaderTree()
        self._add_common()

    def resolve(
        self, path: list[str], parameters: list[Parameter], *, is_query: bool
    ) -> Call:
        """Find what a header means.

        Raises
        ------
        ScpiError
            -113 if there is no such command or query.
        """
        command, suffixes = self.tree.find(path)
        if (command.on_query if is_query else command.on_set) is None:
            raise ScpiError(-113, ":".join(path))
        return Call(command, suffixes, parameters, is_query)

    def execute(self, call: Call) -> Reply | None:
        """Carry out one call; a refusal goes to the error queue."""
        handler = call.command.on_query if call.is_query else call.command.on_set
        if handler is None:
            return None
        with self.lock:
            try:
                return handler(call.suffixes, call.parameters)
            except ScpiError as error:
                self.status.report(error)
                return None

    def reset(self) -> None:
        """``*RST``; devices extend it."""

    def shut_down(self) -> None:
        """Stop background work; called once when the server ends."""

    def status_byte(self) -> int:
        """Return the status byte, without the bit for waiting replies."""
        summary = self.status.event_status & self.status.event_enable
        return 0x20 if summary else 0

    def add(self, pattern: str, command: Command) -> None:
        """Register a command."""
        self.tree.add(pattern, command)

    def _add_common(self) -> None:
        status = self.status
        self.add(
            "*IDN", Command("identify", on_query=lambda *_: ",".join(self.identity))
        )
        self.add("*RST", Command("configure", on_set=lambda *_: self.reset()))
        self.add("*CLS", Command(INHERITED, on_set=lambda *_: status.clear()))
        self.add("*OPC", Command(INHERITED, lambda *_: self._opc(), lambda *_: "1"))
        self.add("*WAI", Command(INHERITED, on_set=lambda *_: None))
        self.add(
            "*ESR",
            Command(INHERITED, on_query=lambda *_: str(status.take_event_status())),
        )
        self.add(
            "*ESE",
            Command(INHERITED, self._set_ese, lambda *_: str(status.event_enable)),
        )
        self.add("*OPT", Command("identify", on_query=lambda *_: "0"))
        self.add("*TST", Command("identify", on_query=lambda *_: "0"))
        self.add(
            "*STB", Command(INHERITED, on_query=lambda *_: str(self.status_byte()))
        )
        self.add("SYSTem:ERRor[:NEXT]", Command(INHERITED, on_query=self._next_error))

    def _opc(self) -> None:
        self.status.event_status |= 0x01

    def _set_ese(self, _: tuple[int, ...], parameters: list[Parameter]) -> None:
        self.status.event_enable = int(number(parameters, 0, 0, 255))

    def _next_error(self, _: tuple[int, ...], _parameters: list[Parameter]) -> str:
        code, text = self.status.errors.pop()
        return f'{code},"{text}"'
