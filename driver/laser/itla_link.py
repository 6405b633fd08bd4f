"""Session with an ITLA module: four bytes there, four bytes back.

A module answers every frame, in order. A reply that is damaged or names another
register is never taken for an answer: a read is asked again, a write is an
error, because nobody knows whether it was carried out.
"""

from __future__ import annotations

import time

from driver.byte_session import ByteSession
from driver.hal import Identity
from driver.laser.itla_frame import FRAME_BYTES, Reply, Status, parse_reply, request
from driver.laser.itla_registers import BUSY, ERRORS, Register
from driver.transports.serial_port import drain
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    InstrumentTimeout,
    WireProtocolError,
)

# How often a damaged exchange is tried.
TRIES = 3
# Silence after which nothing more is on its way, and the wait between two polls.
QUIET_S, POLL_S = 0.04, 0.01
# How long to wait for an answer to a frame, or to the rest of one.
_REPLY_S, _BYTE_S = 0.5, 0.05
_PENDING_SHIFT, _ERROR_MASK = 8, 0x0F
_LONGEST_TEXT = 256


class ItlaLink(ByteSession):
    """One module's session; safe to share between threads.

    Parameters
    ----------
    transport : ByteTransport
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    """

    def read(self, register: Register, timeout_s: float | None = None) -> int:
        """Return the sixteen bits of a register.

        Raises
        ------
        DeviceError
            If the module refuses, with its error by name.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        command = f"read {register.name}"
        with self._exchange(command, deadline):
            reply = self._ask(register, 0, deadline, write=False)
            if reply.status is Status.OK:
                return reply.data
            entry = self._refusal(reply, command, deadline)
        raise DeviceError(self.instrument, command, [entry])

    def write(
        self, register: Register, value: int, timeout_s: float | None = None
    ) -> None:
        """Write a register and return when nothing is pending any more.

        Parameters
        ----------
        register : Register
        value : int
            Sixteen bits, signed or not.
        timeout_s : float, optional
            Deadline for all of it [s].

        Raises
        ------
        DeviceError
            If the module refuses, or what it was doing failed.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        command = f"write {register.name} = {value}"
        entry = (BUSY, "")
        while entry[0] == BUSY:
            with self._exchange(command, deadline):
                reply = self._ask(register, value, deadline, write=True)
                if reply.status is Status.OK:
                    return
                if reply.status is Status.PENDING:
                    entry = self._finished(command, deadline)
                    if not entry[0]:
                        return
                    break
                # Refused because of an earlier operation: it was not carried out.
                entry = self._refusal(reply, command, deadline)
                if entry[0] == BUSY:
                    self._finished(command, deadline)
                    self._pause(command, "busy", deadline)
        raise DeviceError(self.instrument, command, [entry])

    def wait(self, flag: int, timeout_s: float | None = None) -> None:
        """Return when a flag of the NOP register is set.

        Raises
        ------
        InstrumentTimeout
            If it is not set in time.
        """
        deadline = self._deadline(timeout_s)
        command = f"wait for flag {flag:#06x}"
        with self._exchange(command, deadline):
            while not self._ask(Register.NOP, 0, deadline, write=False).data & flag:
                self._pause(command, "not set", deadline)

    def _ask_identity(self, deadline: Deadline) -> Identity:
        texts = (
            self._text(register, deadline)
            for register in (
                Register.MANUFACTURER,
                Register.MODEL,
                Register.SERIAL,
                Register.RELEASE,
            )
        )
        return Identity(*texts)

    def _check_same(self, deadline: Deadline) -> None:
        serial = self._text(Register.SERIAL, deadline)
        if self._identity is not None and serial != self._identity.serial:
            reason = f"serial number {serial!r} answers for {self._identity.serial!r}"
            raise ConnectError(self.instrument, "identify", reason)

    def _synchronise(self, deadline: Deadline) -> None:
        """Get in step with a module that may hold a part of a frame.

        A read of the NOP register is four zeros. A module that holds some bytes
        takes the first of them for the rest of a frame, finds it damaged, and
        keeps the others: single zeros, until it answers, complete them.
        """
        nop = sent = request(Register.NOP)
        zeros = 0
        self._drain(deadline)
        while not _is_nop(answer := self._transact(sent, deadline)):
            if deadline.expired:
                reason = f"no sound answer, got {answer.hex(' ') or 'nothing'}"
                if answer:
                    raise self._garbled("NOP", reason)
                raise self._late("NOP", reason, deadline)
            if answer:
                self._drain(deadline)
            holds_part = _tells_damage(answer) or 0 < zeros < FRAME_BYTES
            zeros = zeros + 1 if holds_part else 0
            sent = b"\0" if holds_part else nop
        # An answer to an earlier NOP may have been taken for this one's.
        self._drain(deadline)

    def _transact(self, data: bytes, deadline: Deadline) -> bytes:
        """Send bytes; return what comes back, up to the length of a frame."""
        self._transport.write(data, deadline)
        answer = bytearray(FRAME_BYTES)
        usual_s = _REPLY_S if len(data) == FRAME_BYTES else _BYTE_S
        wait = Deadline(min(usual_s, deadline.remaining_s()))
        return bytes(answer[: self._transport.read_into(memoryview(answer), wait)])

    def _drain(self, deadline: Deadline) -> None:
        """Drop what is late."""
        drain(self._transport, QUIET_S, deadline)

    def _text(self, register: Register, deadline: Deadline) -> str:
        """Read a text, two bytes at a time; all of it again after a bad reply."""
        for _ in range(TRIES - 1):
            try:
                return self._read_text(register, deadline)
            except WireProtocolError:
                self._drain(deadline)
        return self._read_text(register, deadline)

    def _read_text(self, register: Register, deadline: Deadline) -> str:
        head = self._once(request(register), deadline)
        if head.status is not Status.EXTENDED or head.data > _LONGEST_TEXT:
            raise self._garbled(f"read {register.name}", f"{head} is no text")
        text = b""
        while len(text) < head.data:
            reply = self._once(request(Register.EXTENDED), deadline)
            if reply.status is not Status.OK:
                raise self._garbled(f"read {register.name}", f"{reply} in a text")
            text += reply.data.to_bytes(2)
        shown = text[: head.data].rstrip(b"\0 ")
        if not shown.isascii():
            raise self._garbled(f"read {register.name}", f"{shown!r} is no text")
        return shown.decode("ascii")

    def _ask(
        self, register: Register, value: int, deadline: Deadline, *, write: bool
    ) -> Reply:
        """Exchange one frame; try again what was certainly not carried out."""
        frame = request(register, value, write=write)
        for _ in range(TRIES - 1):
            try:
                return self._once(frame, deadline)
            except _RequestDamagedError:
                continue
            except WireProtocolError:
                if write:
                    raise
                self._drain(deadline)
        return self._once(frame, deadline)

    def _once(self, frame: bytes, deadline: Deadline) -> Reply:
        """Send a frame and return the sound reply to it."""
        self._transport.take_unread()
        self._transport.write(frame, deadline)
        answer = bytearray(FRAME_BYTES)
        received = self._transport.read_into(memoryview(answer), deadline)
        if received == 0:
            raise self._late("read", "no reply", deadline)
        try:
            reply = parse_reply(bytes(answer[:received]))
        except ValueError as error:
            raise self._garbled("read", str(error)) from error
        if reply.found_damage:
            reason = "the module found a bad checksum"
            raise _RequestDamagedError(self.instrument, "read", reason)
        if reply.register != frame[1]:
            reason = f"register {reply.register:#04x} answers for {frame[1]:#04x}"
            raise self._garbled("read", reason)
        return reply

    def _finished(self, command: str, deadline: Deadline) -> tuple[int, str]:
        """Poll until nothing is pending; return the error that it ended with."""
        while True:
            data = self._ask(Register.NOP, 0, deadline, write=False).data
            if not data >> _PENDING_SHIFT:
                return _entry(data)
            self._pause(command, f"pending ({data >> _PENDING_SHIFT:#04x})", deadline)

    def _refusal(
        self, reply: Reply, command: str, deadline: Deadline
    ) -> tuple[int, str]:
        """Ask which error a module means."""
        if reply.status is not Status.EXECUTION_ERROR:
            raise self._garbled(command, f"unexpected status in {reply}")
        return _entry(self._ask(Register.NOP, 0, deadline, write=False).data)

    def _pause(self, command: str, state: str, deadline: Deadline) -> None:
        if deadline.expired:
            raise self._late(command, f"still {state}", deadline)
        time.sleep(POLL_S)

    def _late(self, command: str, what: str, deadline: Deadline) -> InstrumentTimeout:
        reason = f"{what} after {deadline.timeout_s:g} s"
        return InstrumentTimeout(self.instrument, command, reason)


class _RequestDamagedError(WireProtocolError):
    """The module saw a bad checksum and did nothing."""


def _is_nop(answer: bytes) -> bool:
    """Return whether these bytes are a sound answer to NOP."""
    try:
        reply = parse_reply(answer)
    except ValueError:
        return False
    return reply.register == Register.NOP and not reply.found_damage


def _tells_damage(answer: bytes) -> bool:
    """Return whether the module found a bad checksum."""
    try:
        return parse_reply(answer).found_damage
    except ValueError:
        return False


def _entry(nop: int) -> tuple[int, str]:
    """Return number and name of the error in the NOP register."""
    code = nop & _ERROR_MASK
    return code, ERRORS.get(code, "an error without a name")
