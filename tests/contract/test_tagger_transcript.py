"""What the time tagger's driver sends, against the maker's examples."""

import threading

import numpy as np
import pytest
import zmq

from driver.hal import TaggerChannel, TaggerConfig
from driver.time_tagger.idq_id900 import IdqId900
from driver.time_tagger.idq_link import IdqLink
from driver.transports.zmq_link import ZmqLink
from sim_backends.wire.zmq_tagger import free_ports

ANSWERS = {
    "*IDN?": "ID Quantique,ID900,1,2.4",
    "INPU2:THRE?": "+0.200V",
    "INPU2:EDGE?": "FALLING",
    "INPU2:ENAB?": "ON",
    "DELA2:VALU?": "40TB",
    "REC:STAGe?": "IDLE",
    "RAW2:ERRORS?": "0",
    "INPU2:HIRES:ERROR?": "0",
    "INPU2:COUN?": "7",
    "list": '["old:1"]',
}


class Controller:
    """Answers from a table, keeps what it was sent, and streams three tags."""

    def __init__(self):
        self.received = []
        self.ports = free_ports(6)
        self.context = zmq.Context()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        links = [self.context.socket(zmq.REP) for _ in range(2)]
        stream = self.context.socket(zmq.PAIR)
        for link, port in zip(links, (self.ports, self.ports + 1), strict=True):
            link.bind(f"tcp://127.0.0.1:{port}")
        stream.bind(f"tcp://127.0.0.1:{self.ports + 3}")
        while not self.ended.is_set():
            for link in links:
                if link.poll(5):
                    text = link.recv_string()
                    self.received.append(text)
                    link.send_string(self.reply(text))
                    if text == "REC:PLAY":
                        stream.send(np.array([5, 9, 70], dtype="<u8").tobytes())
                        stream.send(b"")
        for link in (*links, stream):
            link.close(linger=0)

    def reply(self, text):
        if text.startswith("start-stream"):
            return '{"id": "127.0.0.1:9"}'
        if text.startswith("stop --id"):
            return '{"status": {"timestamps_count": 3, "errors": []}}'
        # What settings are answered with is not documented: anything may come.
        return ANSWERS.get(text, "whatever\x07")

    def take(self):
        received, self.received = self.received, []
        return received

    def close(self):
        self.ended.set()
        self.thread.join(60.0)
        self.context.term()


@pytest.fixture
def controller():
    peer = Controller()
    options = f"datalink={peer.ports + 1}&stream={peer.ports + 2}"
    link = ZmqLink("dut", f"zmq://127.0.0.1:{peer.ports}?{options}")
    driver = IdqId900(IdqLink(link, 2.0, 2.0))
    yield peer, driver
    driver.close()
    peer.close()


def test_id900(controller):
    peer, tagger = controller
    tagger.open()
    assert peer.take() == ["*IDN?", "REC:STOP"]
    wanted = TaggerConfig({2: TaggerChannel(0.2, "falling", 40)})
    assert tagger.configure(wanted) == wanted
    assert peer.take() == [
        "REC:STOP",
        "INPU1:ENAB OFF",
        "INPU2:COUP DC;EDGE FALLING;THRE +0.200V;SELE UNSHAPED;ENAB ON",
        "DELA2:LINK INPU2;VALU 40",
        "TSCO2:FIR:LINK DELA2;:TSCO2:OPIN ONLYFIR;OPOU ONLYFIR",
        "RAW2:REF:LINK NONE;:RAW2:STOP:LINK TSCO2",
        "INPU3:ENAB OFF",
        "INPU4:ENAB OFF",
        "INPU2:THRE?",
        "DELA2:VALU?",
        "INPU2:EDGE?",
        "INPU2:ENAB?",
    ]
    tagger.start(0.02)
    assert peer.take() == [
        "REC:STOP",
        "list",
        "stop --id old:1",
        "REC:TRIG:ARM:MODE MANUal",
        "REC:ENABle ON",
        "REC:NUM 1",
        "REC:DURation 20000000000",
        "RAW2:ERRORS:CLEAR",
        "INPU2:HIRES:ERROR:CLEAR",
        f"start-stream --address 127.0.0.1 --channel 2 --stream-port {peer.ports + 3}",
        "RAW2:SEND ON",
        "REC:PLAY",
    ]
    tags = tagger.read(2.0)
    assert tags.times_ps.tolist() == [5, 9, 70]
    assert tags.channels.tolist() == [2, 2, 2]
    assert peer.take() == [
        "REC:STAGe?",
        "stop --id 127.0.0.1:9",
        "RAW2:SEND OFF",
        "RAW2:ERRORS?",
        "INPU2:HIRES:ERROR?",
    ]
    assert tagger.counts(1e-3) == {2: 7}
    assert peer.take() == [
        "INPU2:COUN:MODE CYCL",
        "INPU2:COUN:INTE 1000000",
        "INPU2:COUN:RESEt",
        "INPU2:COUN?",
    ]
    tagger.stop()
    assert peer.take() == ["REC:STOP"]
