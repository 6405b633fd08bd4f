"""The emulator's own SCPI parser: headers, message rules, status, errors."""

import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_backends.devices.base import ScpiDevice
from sim_backends.wire.scpi import (
    Command,
    HeaderTree,
    quantity,
)
from sim_backends.wire.splitter import (
    BadStreamError,
    EndOfStreamError,
    UnitReader,
)
from sim_backends.wire.status import QUEUE_LENGTH, ErrorQueue, ScpiError


class Pipe:
    """Stands in for a connection: hands out the bytes in pieces."""

    def __init__(self, data, piece):
        self.data, self.piece = data, piece

    def recv(self, size):
        size = min(size, self.piece)
        out, self.data = self.data[:size], self.data[size:]
        return out

    def recv_into(self, target):
        out = self.recv(len(target))
        target[: len(out)] = out
        return len(out)


def units(data, piece=1 << 20):
    reader, found = UnitReader(Pipe(data, piece)), []
    with pytest.raises(EndOfStreamError):  # noqa: PT012
        while True:
            found.append(reader.next_unit())
    return [
        (
            u.header,
            [p if isinstance(p, str) else bytes(p) for p in u.parameters],
            u.ends_message,
        )
        for u in found
    ]


def test_semicolons_and_line_feeds():
    assert units(b"*CLS;:VOLT1 0.5;OFFS 0, 3\n:FREQ?\n") == [
        ("*CLS", [], False),
        (":VOLT1", ["0.5"], False),
        ("OFFS", ["0", "3"], True),
        (":FREQ?", [], True),
    ]


def test_strings_hide_separators():
    assert units(b"MMEM:CDIR \"a;b\nc,#3\",'x;y'\n") == [
        ("MMEM:CDIR", ['"a;b\nc,#3"', "'x;y'"], True)
    ]


def test_hexadecimal_numbers_are_no_blocks():
    assert units(b"REG #H1F,#B01\n") == [("REG", ["#H1F", "#B01"], True)]


def test_indefinite_block_ends_with_the_line():
    assert units(b"TRAC #0a;b,c\n*OPC?\n") == [
        ("TRAC", [b"a;b,c"], True),
        ("*OPC?", [], True),
    ]


@pytest.mark.parametrize("data", [b"A #9000000x\n1", b"A #9999999999"])
def test_bad_block_lengths(data):
    with pytest.raises((BadStreamError, EndOfStreamError)):
        UnitReader(Pipe(data, 1000)).next_unit()


@settings(deadline=None)
@given(
    blocks=st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    piece=st.integers(1, 50),
)
def test_blocks_survive_any_fragmentation(blocks, piece):
    data = b""
    for block in blocks:
        length = str(len(block)).encode()
        data += b":TRAC1:DATA 1,0,#%d%s%s;*OPC?\n" % (len(length), length, block)
    expected = []
    for block in blocks:
        expected += [(":TRAC1:DATA", ["1", "0", block], False), ("*OPC?", [], True)]
    assert units(data, piece) == expected


def tree_with(*patterns):
    tree = HeaderTree()
    for pattern in patterns:
        tree.add(pattern, Command(pattern))
    return tree


@pytest.mark.parametrize(
    ("header", "suffixes"),
    [
        ("VOLT", (1,)),
        ("VOLT2", (2,)),
        ("voltage2:level:imm:ampl", (2,)),
        ("VOLTAGE:AMPLITUDE", (1,)),
    ],
)
def test_spellings_of_one_header(header, suffixes):
    tree = tree_with("VOLTage#[:LEVel][:IMMediate][:AMPLitude]", "VOLTage#:OFFSet")
    command, found = tree.find(header.split(":"))
    assert command.verb.endswith("[:AMPLitude]")
    assert found == suffixes


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("VOLTA", -113),
        ("VOLT:OFFSE", -113),
        ("FREQ2:RAST", -114),
        ("FREQ", -113),
        ("", -113),
        ("1", -113),
    ],
)
def test_wrong_headers(header, code):
    tree = tree_with("VOLTage#", "VOLTage#:OFFSet", "FREQuency:RASTer")
    with pytest.raises(ScpiError) as caught:
        tree.find(header.split(":"))
    assert caught.value.code == code


def test_error_queue_is_bounded():
    queue = ErrorQueue()
    for _ in range(QUEUE_LENGTH + 5):
        queue.push(-113)
    codes = [queue.pop()[0] for _ in range(QUEUE_LENGTH + 1)]
    assert codes == [-113] * (QUEUE_LENGTH - 1) + [-350, 0]


def test_path_rules_over_a_socket():
    """After ``:A:B x`` a bare ``C`` means ``:A:C``; ``*`` commands change nothing."""
    from sim_backends.wire.tcp_scpi import ScpiServer

    seen = []
    device = ScpiDevice("dut", ("V", "M", "1", "0"))
    for name in ("MARKer#:SAMPle:LOW", "MARKer#:SAMPle:HIGH", "LOW"):
        device.add(
            name,
            Command("configure", lambda s, p, name=name: seen.append((name, s, p[0]))),
        )
    server = ScpiServer(device)
    with socket.create_connection(("127.0.0.1", server.port), 2.0) as link:
        link.sendall(b":MARK2:SAMP:LOW 0;*CLS;HIGH 1\nLOW 2;:LOW 3;*OPC?;*IDN?\n")
        with link.makefile("rb") as replies:
            assert replies.readline() == b"1;V,M,1,0\n"
            link.sendall(b"HIGH 1;:SYST:ERR?\n*ESR?\n*ESR?\nBAD?;\n:SYST:ERR?\n")
            assert replies.readline().startswith(b"-113,")
            assert replies.readline() == b"32\n"
            assert replies.readline() == b"0\n"
            assert replies.readline().startswith(b"-113,")
    server.close()
    assert seen == [
        ("MARKer#:SAMPle:LOW", (2,), "0"),
        ("MARKer#:SAMPle:HIGH", (2,), "1"),
        ("LOW", (), "2"),
        ("LOW", (), "3"),
    ]


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_converter_codes(bits):
    from sim_backends.devices.keysight_infiniium import quantise

    step_v = 1.0 / 2**bits
    volts = np.array([0.0, step_v, -step_v, 0.6, -0.6, 0.4999 * step_v], np.float32)
    codes = quantise(volts, 1.0, bits)
    one, half = 1 << (16 - bits), 1 << (bits - 1)
    assert codes.tolist() == [0, one, -one, (half - 1) * one, -half * one, 0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1550.12nm", (1550.12, "nm")),
        ("6.0 dBm", (6.0, "dBm")),
        ("-1.5E-1 DBM", (-0.15, "dBm")),
        ("+.5", (0.5, "m")),
        ("2e3M", (2000.0, "m")),
        ("50 NM/S", (50.0, "nm/s")),
    ],
)
def test_quantities(text, found):
    assert quantity([text], 0, "m", "nm", "dBm", "nm/s") == found


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], -109),
        (["1 parsec"], -131),
        (["nm"], -104),
        (["1,2"], -104),
        (["nan"], -104),
    ],
)
def test_quantities_that_are_none(given, code):
    with pytest.raises(ScpiError) as caught:
        quantity(given, 0, "m", "nm")
    assert caught.value.code == code


def test_a_header_without_a_number_is_both_outputs_of_the_board():
    from sim_backends.devices.lab import Cables
    from sim_backends.devices.redpitaya_stemlab import RedPitayaStemlab

    class NoLight:
        def play(self, *_):
            """Nothing."""

        stop = set_level = play

    board = RedPitayaStemlab("board", Cables(NoLight(), {}))

    def send(header, *parameters):
        is_query = header.endswith("?")
        path = header.rstrip("?").split(":")
        return board.execute(board.resolve(path, list(parameters), is_query=is_query))

    send("OUTPUT2:STATE", "ON")
    assert [send(f"OUTPUT{n}:STATE?") for n in (1, 2)] == ["0", "1"]
    send("OUTPUT:STATE", "ON")
    assert [send(f"OUTPUT{n}:STATE?") for n in (1, 2)] == ["1", "1"]
    send("OUTPUT3:STATE", "ON")
    assert board.status.errors.pop()[0] == -114
