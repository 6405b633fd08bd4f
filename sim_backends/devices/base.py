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
    number,
)
from sim_backends.wire.status import (
    OPERATION_COMPLETE,
    RegisterGroup,
    ScpiError,
    StatusModel,
)

# Verbs of commands that belong to whatever was done before them.
INHERITED = ""
_POLL_S = 0.01


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

    Attributes
    ----------
    line_end : bytes
        What ends a reply.
    """

    line_end = b"\n"

    def __init__(
        self, name: str, identity: tuple[str, ...], faults: FaultPlan | None = None
    ) -> None:
        self.name = name
        self.identity = identity
        self.faults = faults or FaultPlan(name)
        self.lock = threading.RLock()
        self.idle = threading.Condition(self.lock)
        self.closing = threading.Event()
        self._completes = False
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

    def reboot(self) -> None:
        """Start anew, as after a power failure; devices that keep settings differ."""
        self.reset()
        self.status.power_on()

    def shut_down(self) -> None:
        """Stop background work; called once when the server ends."""

    @property
    def is_busy(self) -> bool:
        """Whether an operation goes on that ``*OPC`` waits for."""
        return False

    def status_byte(self, *, message_available: bool = False) -> int:
        """Return the status byte; what waits to be read is known to the wire."""
        with self.lock:
            self._settle()
            return self.status.byte(message_available=message_available)

    def add(self, pattern: str, command: Command) -> None:
        """Register a command."""
        self.tree.add(pattern, command)

    def _add_common(self) -> None:
        status = self.status
        self.add(
            "*IDN", Command("identify", on_query=lambda *_: ",".join(self.identity))
        )
        self.add("*RST", Command("configure", on_set=lambda *_: self.reset()))
        self.add("*CLS", Command(INHERITED, on_set=lambda *_: self._clear()))
        self.add("*OPC", Command(INHERITED, self._opc, self._wait_done))
        self.add("*WAI", Command(INHERITED, on_set=lambda *_: self._wait()))
        self.add("*ESR", Command(INHERITED, on_query=self._take_event_status))
        self._add_register("*ESE", status, "event_enable", 255)
        self._add_register("*SRE", status, "service_enable", 255)
        self.add("*OPT", Command("identify", on_query=lambda *_: "0"))
        self.add("*TST", Command("identify", on_query=lambda *_: "0"))
        self.add(
            "*STB", Command(INHERITED, on_query=lambda *_: str(self.status_byte()))
        )
        self.add("SYSTem:ERRor[:NEXT]", Command(INHERITED, on_query=self._next_error))
        self.add(
            "SYSTem:ERRor:COUNt",
            Command(INHERITED, on_query=lambda *_: str(len(status.errors))),
        )
        self.add("SYSTem:VERSion", Command("identify", on_query=lambda *_: "1999.0"))
        self.add("STATus:PRESet", Command(INHERITED, on_set=self._preset))
        self._add_group("STATus:OPERation", status.operation)
        self._add_group("STATus:QUEStionable", status.questionable)

    def _add_group(self, head: str, group: RegisterGroup) -> None:
        """Register the five registers of a status group."""
        self.add(
            f"{head}[:EVENt]",
            Command(INHERITED, on_query=lambda *_: str(group.take_event())),
        )
        self.add(
            f"{head}:CONDition",
            Command(INHERITED, on_query=lambda *_: str(group.condition)),
        )
        self._add_register(f"{head}:ENABle", group, "enable", 0x7FFF)
        self._add_register(f"{head}:PTRansition", group, "positive", 0x7FFF)
        self._add_register(f"{head}:NTRansition", group, "negative", 0x7FFF)

    def _add_register(self, pattern: str, owner: object, name: str, top: int) -> None:
        """Register a command that sets and reads an enable register or a filter."""

        def on_set(_: tuple[int, ...], parameters: list[Parameter]) -> None:
            setattr(owner, name, int(number(parameters, 0, 0, top)))

        self.add(
            pattern,
            Command(INHERITED, on_set, lambda *_: str(getattr(owner, name))),
        )

    def _preset(self, _: tuple[int, ...], _parameters: list[Parameter]) -> None:
        self.status.operation.preset()
        self.status.questionable.preset()

    def _opc(self, _: tuple[int, ...], _parameters: list[Parameter]) -> None:
        self._completes = True
        self._settle()

    def _settle(self) -> None:
        """Set the event that ``*OPC`` asked for, once nothing goes on any more."""
        if self._completes and not self.is_busy:
            self._completes = False
            self.status.event_status |= OPERATION_COMPLETE

    def _take_event_status(self, _: tuple[int, ...], _given: list[Parameter]) -> str:
        self._settle()
        return str(self.status.take_event_status())

    def _clear(self) -> None:
        """``*CLS`` also forgets an ``*OPC`` under way (IEEE 488.2, 10.3)."""
        self._completes = False
        self.status.clear()

    def _wait_done(self, _: tuple[int, ...], _parameters: list[Parameter]) -> str:
        self._wait()
        return "1"

    def _wait(self) -> None:
        """Wait until nothing goes on; others may talk to the device meanwhile."""
        while self.is_busy and not self.closing.is_set():
            self.idle.wait(_POLL_S)

    def _next_error(self, _: tuple[int, ...], _parameters: list[Parameter]) -> str:
        code, text = self.status.errors.pop()
        return f'{code},"{text}"'
