"""Status reporting, from the tables of IEEE 488.2 and SCPI-99."""

import threading
import time

import pytest

from sim_backends.devices.base import ScpiDevice
from sim_backends.wire.scpi import Command
from sim_backends.wire.status import (
    QUEUE_LENGTH,
    ErrorQueue,
    RegisterGroup,
    ScpiError,
    StatusModel,
)


class Talker(ScpiDevice):
    """A device with one overlapped operation; messages are given as units."""

    def __init__(self):
        super().__init__("dut", ("V", "M", "1", "0"))
        self.busy = False
        self.add("BAD", Command("configure", on_set=self._refuse))

    @property
    def is_busy(self):
        return self.busy

    def _refuse(self, *_):
        raise ScpiError(-222, "5 not in 0..1")

    def send(self, header, *parameters):
        path = [header] if header.startswith("*") else header.split(":")
        call = self.resolve(
            [w.rstrip("?") for w in path],
            list(parameters),
            is_query=header.endswith("?"),
        )
        return self.execute(call)


# SCPI-99 volume 2, 21.8.2: the class of an error, its codes and its event bit.
@pytest.mark.parametrize(
    ("codes", "bit"),
    [
        ((-100, -113, -199), 0x20),
        ((-200, -222, -299), 0x10),
        ((-300, -350, -399), 0x08),
        ((-400, -410, -499), 0x04),
        ((-500, -599), 0x80),
        ((-600, -699), 0x40),
        ((-700, -799), 0x02),
        ((-800, -899), 0x01),
        ((1, 32767), 0x08),
    ],
)
def test_error_classes(codes, bit):
    for code in codes:
        status = StatusModel()
        status.clear()
        status.report(ScpiError(code))
        assert status.take_event_status() == bit
        assert status.take_event_status() == 0


def test_queue_overflow_is_a_device_error_and_keeps_the_oldest():
    status = StatusModel()
    status.clear()
    for _ in range(QUEUE_LENGTH):
        status.report(ScpiError(-113))
    assert status.take_event_status() == 0x20
    status.report(ScpiError(-113))
    assert status.take_event_status() == 0x28
    assert len(status.errors) == QUEUE_LENGTH
    codes = [status.errors.pop()[0] for _ in range(QUEUE_LENGTH + 1)]
    assert codes == [-113] * (QUEUE_LENGTH - 1) + [-350, 0]


def test_standard_texts():
    queue = ErrorQueue()
    for code in (-102, -113, -222, -224, -350, -410, -420):
        queue.push(code)
    assert [queue.pop()[1] for _ in range(7)] == [
        "Syntax error",
        "Undefined header",
        "Data out of range",
        "Illegal parameter value",
        "Queue overflow",
        "Query INTERRUPTED",
        "Query UNTERMINATED",
    ]
    assert queue.pop() == (0, "No error")


def test_status_byte():
    """IEEE 488.2, 11.2 and SCPI-99, 20.1: bits 2, 3, 4, 5 and 7, summed up in 6."""
    status = StatusModel()
    status.clear()
    assert status.byte() == 0
    assert status.byte(message_available=True) == 0x10
    status.report(ScpiError(-113))
    assert status.byte() == 0x04
    status.event_enable = 0x20
    assert status.byte() == 0x24
    status.service_enable = 0x20
    assert status.byte() == 0x64
    # Bit 6 of the enable register means nothing.
    status.service_enable = 0x40
    assert status.byte() == 0x24
    status.questionable.enable = status.operation.enable = 0x1
    status.questionable.update(1)
    status.operation.update(1)
    assert status.byte() == 0xAC


def test_transitions_make_events():
    group = RegisterGroup()
    group.update(0b01)
    group.update(0b00)
    assert group.take_event() == 0b01
    assert group.take_event() == 0
    group.positive, group.negative = 0, 0b11
    group.update(0b11)
    assert group.event == 0
    group.update(0b01)
    assert group.event == 0b10
    group.preset()
    assert (group.positive, group.negative, group.enable) == (0x7FFF, 0, 0)


def test_registers_over_the_wire():
    device = Talker()
    assert device.send("*ESR?") == "128"  # power on
    device.send("*ESE", "48")
    device.send("*SRE", "32")
    device.send("BAD")
    assert (device.send("*ESE?"), device.send("*SRE?")) == ("48", "32")
    assert device.send("*STB?") == str(0x64)
    assert device.send("SYSTem:ERRor:COUNt?") == "1"
    assert device.send("SYST:ERR?").startswith('-222,"Data out of range')
    assert device.send("*ESR?") == "16"
    device.send("*ESE", "256")
    assert device.send("SYST:ERR?").startswith("-222,")
    device.send("*CLS")
    device.send("STAT:OPER:ENAB", "8")
    device.status.operation.update(8)
    assert device.send("STATus:OPERation:CONDition?") == "8"
    assert device.send("*STB?") == str(0x80)
    assert device.send("STAT:OPER?") == "8"
    assert device.send("STAT:OPER:EVEN?") == "0"
    device.send("*CLS")
    assert device.send("STAT:OPER:ENAB?") == "8"
    device.send("STAT:PRES")
    assert device.send("STAT:OPER:ENAB?") == "0"


def test_opc_comes_when_the_operation_is_complete():
    device = Talker()
    device.send("*CLS")
    device.busy = True
    device.send("*OPC")
    assert device.send("*ESR?") == "0"
    device.busy = False
    assert device.send("*ESR?") == "1"
    device.busy = True
    device.send("*OPC")
    device.send("*CLS")
    device.busy = False
    assert device.send("*ESR?") == "0"


def test_opc_query_waits_and_lets_others_talk():
    device = Talker()
    device.busy = True
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(device.send("*OPC?")))
    waiting.start()
    assert device.send("*IDN?") == "V,M,1,0"
    time.sleep(0.05)
    assert replies == []
    device.busy = False
    waiting.join(60.0)
    assert replies == ["1"]


def test_closing_ends_the_wait():
    device = Talker()
    device.busy = True
    waiting = threading.Thread(target=device.send, args=("*WAI",))
    waiting.start()
    device.closing.set()
    waiting.join(60.0)
    assert not waiting.is_alive()


def test_a_reboot_forgets_what_was_enabled():
    device = Talker()
    device.send("*ESE", "48")
    device.send("BAD")
    device.reboot()
    assert device.send("*ESR?") == "128"
    assert device.send("*ESE?") == "0"
    assert device.send("SYST:ERR?").startswith("0,")
