"""No wrong bit on a laser's wire ever becomes a wrong value."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from driver.laser.itla_frame import Reply, Status, parity, parse_reply, request
from driver.laser.itla_link import ItlaLink
from driver.laser.itla_registers import Register
from scqc.core.errors import InstrumentError
from sim_backends.devices.itla_msa import ItlaModule
from sim_backends.devices.lab import Cables
from sim_backends.wire.pty_frame import FrameConversation, checksum, sealed

BYTES = st.integers(0, 255)
WORDS = st.integers(0, 0xFFFF)
BITS = st.integers(0, 31)


class Wire:
    """A transport to an emulated module that spoils chosen bits on the way."""

    instrument, is_open = "laser", True

    def __init__(self, flips=()):
        module = ItlaModule("laser", Cables(object(), {}))
        self.talk = FrameConversation(module, threading.Event())
        self.module, self.flips, self.unread = module, list(flips), b""

    def open(self, timeout_s):
        pass

    def close(self):
        pass

    def write(self, data, deadline):
        data = self.spoiled("there", data)
        self.unread += self.spoiled("back", self.talk.feed(data).data)

    def spoiled(self, way, data):
        """Flip the next bit that is due on this way, in a whole frame."""
        if len(data) == 4 and self.flips and self.flips[0][0] == way:
            bit = self.flips.pop(0)[1]
            return (int.from_bytes(data) ^ 1 << bit).to_bytes(4)
        return data

    def read_into(self, target, deadline):
        found, self.unread = self.unread[: len(target)], self.unread[len(target) :]
        target[: len(found)] = found
        return len(found)

    def take_unread(self):
        found, self.unread = self.unread, b""
        return found


@given(BYTES, WORDS, st.booleans())
def test_what_the_driver_seals_the_module_opens(register, data, write):
    frame = request(register, data, write=write)
    assert checksum(frame) == frame[0] >> 4
    assert (frame[0] & 1, frame[1], int.from_bytes(frame[2:])) == (
        int(write),
        register,
        data,
    )


@given(st.sampled_from(Status), BYTES, WORDS, st.booleans())
def test_what_the_module_seals_the_driver_opens(status, register, data, damage):
    frame = sealed(4 | 8 * damage | status, register, data)
    assert parse_reply(frame) == Reply(status, register, data, damage)


@given(st.binary(min_size=4, max_size=4), BITS)
def test_parity_finds_every_single_wrong_bit(body, bit):
    frame = bytes([parity(body) << 4 | body[0] & 0x0F]) + body[1:]
    wrong = (int.from_bytes(frame) ^ 1 << bit).to_bytes(4)
    assert wrong[0] >> 4 != parity(wrong)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["there", "back"]), BITS), max_size=3))
def test_a_read_is_right_or_an_error(flips):
    wire = Wire(flips)
    link = ItlaLink(wire, 1.0, 1.0)
    link.open()
    wire.module.registers[Register.POWER] = 0x0123
    wire.flips = list(flips)
    try:
        assert link.read(Register.POWER) == 0x0123
    except InstrumentError:
        # Three damaged exchanges in a row are given up.
        assert len(flips) == 3
    wire.flips = []
    assert link.read(Register.POWER) == 0x0123


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["there", "back"]), BITS, st.integers(0, 1350))
def test_a_write_is_carried_out_or_an_error(way, bit, centibel):
    wire = Wire()
    link = ItlaLink(wire, 1.0, 1.0)
    link.open()
    wire.flips = [(way, bit)]
    try:
        link.write(Register.POWER, centibel)
    except InstrumentError:
        assert way == "back"
    else:
        assert wire.module.registers[Register.POWER] == centibel
    # Nothing but the register that was meant has changed.
    held = dict(wire.module.registers)
    assert held.pop(Register.POWER) in (centibel, 1000)
    untouched = ItlaModule("laser", Cables(object(), {})).registers
    untouched.pop(Register.POWER)
    assert held == untouched
    link.write(Register.POWER, centibel)
    assert link.read(Register.POWER) == centibel


def test_the_property_sees_a_missing_check(monkeypatch):
    """The tests above must fail when a damaged reply is taken for an answer."""
    monkeypatch.setattr(
        "driver.laser.itla_link.parse_reply",
        lambda frame: Reply(
            Status(frame[0] & 3), frame[1], int.from_bytes(frame[2:]), False
        ),
    )
    wire = Wire()
    link = ItlaLink(wire, 1.0, 1.0)
    link.open()
    wire.flips = [("back", 3)]
    assert link.read(Register.POWER) != 1000


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(Register).filter(lambda r: r != Register.POWER), WORDS)
def test_a_late_sound_frame_is_no_answer(register, data):
    """It arrives behind the question, before the answer; its checksum is right."""
    wire = Wire()
    link = ItlaLink(wire, 1.0, 1.0)
    link.open()
    wire.module.registers[Register.POWER] = 0x0123
    to_wire, late = wire.write, [sealed(4, register, data)]

    def write(sent, deadline):
        if late:
            wire.unread += late.pop()
        to_wire(sent, deadline)

    wire.write = write
    assert link.read(Register.POWER) == 0x0123
