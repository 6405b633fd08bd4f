"""Both services and what delivers their keys, killed again and again.

    python tests/parties_killed_kit.py FOLDER TRIALS SEED [MUTANT]

Everything is real but the light and the scheme: services, link, distillation around
the scheme, sinks, delivery. A block's light is a moment of sleep, and both parties
of the scheme know the same key for each name of a block; what they say is a padded
message and the tags. A warm process forks the programs, kills one of them at a random
moment and starts it anew. What was used for what is written down at each use, in files
that survive: the tests read them.
"""

import contextlib
import gc
import hashlib
import json
import os
import random
import resource
import signal
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from protocols.key_sink.export import ExportStore, NotEnoughKey, UnknownKey
from protocols.key_sink.resync import Resync
from protocols.key_sink.sink import KeySink
from protocols.messages.light import BlockTaken, Done
from protocols.messages.photon import Detections, DirectWord, Reveal
from protocols.messages.wire import TranscriptTag
from protocols.schemes.party import Party
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE, PublicChannel
from scqc.core.errors import PeerError, ScqcError
from scqc.core.rng import SystemEntropy
from scqc.runs.lab_config import load_config
from scqc.runs.parties import alice_service, bob_service
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.control import tell
from scqc.runs.parties.curve import write_link_files
from scqc.runs.parties.distil import (
    AliceDistiller,
    BobDistiller,
    Store,
)
from scqc.runs.parties.programs import serve_party
from scqc.runs.parties.service import Place
from scqc.runs.parties.status import Status
from scqc.runs.photon.pads import JournaledPads
from scqc.runs.sinks import open_sink
from sim_backends.wire.zmq_tagger import free_ports

CONFIG = Path(__file__).parents[1] / "lab_configs/dv_quick.toml"
SENDS = {"alice": ALICE_TO_BOB, "bob": BOB_TO_ALICE}
OTHER = {"alice": "bob", "bob": "alice"}
PROGRAMS = ("alice", "bob", "deliver-alice", "deliver-bob")
LIGHT_S, KEY_BITS, KEY_BYTES = 0.03, 2048, 8
#: Who is not back, nor in a typed fault, so long after a program was started is lost.
LOST_S = 60.0
#: Pairs of ends that live side by side, so that waiting costs no time.
PAIRS = 3


# The shortest scheme --------------------------------------------------------------


def key_of(name):
    """The key of a block, for whoever knows its name."""
    return hashlib.shake_256(name.link.encode()).digest(KEY_BITS // 8)


class ToyAlice(Party):
    def __init__(self, name, payload, pads, keys, opening):
        ways = (ALICE_TO_BOB, BOB_TO_ALICE)
        channel = PublicChannel(name.link, keys, opening)
        super().__init__("alice", channel, ways, Detections)
        self.name, self.payload, self._pads = name, payload, pads
        self._key, self._secret_bits = key_of(name), KEY_BITS
        self.epsilon, self.delivered = 1e-10, False

    def _answers(self, message):
        if isinstance(message, TranscriptTag):
            self.delivered = True
            return
        ranges, cipher = [], b""
        if self.payload:
            with using(f"message {self.name.link}"):
                pad = self._pads.spend(8 * len(self.payload))
            ranges, cipher = pad.ranges, xor(self.payload, pad.bits)
        self._expected = (TranscriptTag,)
        yield DirectWord((0, 0, 0), 8 * len(self.payload), ranges)
        yield Reveal(cipher)
        yield self._tag()


class ToyBob(Party):
    def __init__(self, name, pads, keys, opening):
        ways = (BOB_TO_ALICE, ALICE_TO_BOB)
        channel = PublicChannel(name.link, keys, opening)
        super().__init__("bob", channel, ways, DirectWord)
        self.name, self._pads, self.payload = name, pads, b""
        self._key, self._secret_bits = key_of(name), KEY_BITS
        self.epsilon = 1e-10

    def start(self):
        return [self._transcript.send(Detections(1, 0, b"", b""))]

    def _answers(self, message):
        if isinstance(message, DirectWord):
            self._ranges, self._expected = message.pads, (Reveal,)
        elif isinstance(message, Reveal):
            self._cipher, self._expected = message.checks, (TranscriptTag,)
        else:
            if self._ranges:
                with using(f"message {self.name.link}"):
                    pad = self._pads.follow(self._ranges)
                self.payload = xor(self._cipher, pad.bits)
            yield self._tag()


def xor(text, bits):
    packed = bits_to_bytes(bits)
    return bytes(a ^ b for a, b in zip(text, packed, strict=True))


def bits_to_bytes(bits):
    return int("".join(map(str, bits.tolist())), 2).to_bytes(len(bits) // 8, "big")


class ToyLight:
    """Alice's generator, which is nowhere."""

    def prepare(self):
        return

    def take(self, block):
        return

    def rest(self):
        return

    def answer(self, message):
        return Done()


class ToyAliceScheme:
    n_bursts = 1

    def __init__(self, config, sink, journal, session, link):
        self.pads = JournaledPads(config, sink, journal, "alice")

    def prepare(self, name, payload, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "alice.scqc").write_bytes(payload)
        return SimpleNamespace(close=lambda: None)

    def light(self, half, recovery):
        return ToyLight()

    def party(self, name, record, n_bursts, keys, opening):
        payload = (record / "alice.scqc").read_bytes()
        return ToyAlice(name, payload, self.pads, keys, opening)


class ToyBobLight:
    def __init__(self, loaded, station, talk, session):
        self._talk = talk

    def acquire(self):
        return

    def capture(self, name, n_bursts, folder, progress):
        folder.mkdir(parents=True, exist_ok=True)
        time.sleep(LIGHT_S)
        self._talk.ask(BlockTaken(n_bursts), Done)
        return folder / "capture.h5"


class ToyBobScheme:
    def __init__(self, config, sink, journal, session, link):
        self.pads = JournaledPads(config, sink, journal, "bob")

    def party(self, received, keys, opening):
        return ToyBob(received.name, self.pads, keys, opening)


def toy_distil(self, captured, asker, told):
    """Stand in for `BobService._distil_photon`: there are no tags to be counted."""
    received = SimpleNamespace(name=captured.name, n_bursts=1)
    self._key(captured, received, asker, told[2])
    quantum = {"qber": {"z": 0.0, "x": 0.0}, "gain": {"signal": 0.0}}
    data = {"quantum": quantum, "key": {"secret_bits": KEY_BITS}}
    return SimpleNamespace(data=data)


@contextlib.contextmanager
def toy_station(config, party, served, journal):
    bench = SimpleNamespace(names=["toy"], instrument=lambda name: None)
    yield SimpleNamespace(bench=bench, recovery=None, half=lambda party: None)


# What is written down -------------------------------------------------------------


class Witness:
    """Lines that survive the kill of who wrote them: a write is one system call."""

    def __init__(self, path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o600)

    def say(self, *words):
        os.write(self._file, ("\t".join(map(str, words)) + "\n").encode())


PURPOSE = threading.local()


@contextlib.contextmanager
def using(purpose):
    """Say what the bits that are spent from here on are for."""
    before, PURPOSE.text = getattr(PURPOSE, "text", "?"), purpose
    try:
        yield
    finally:
        PURPOSE.text = before


def watch_uses(witness, party):
    """Write down every bit that this program spends in step, and what for."""
    for name in ("spend", "follow"):
        original = getattr(KeySink, name)

        def spending(self, purpose, *rest, original=original, **options):
            spent, at = original(self, purpose, *rest, **options), 0
            text = "".join(map(str, spent.bits.tolist()))
            for identifier, start, count in spent.ranges:
                bits = text[at : at + count]
                witness.say("used", identifier, start, bits, PURPOSE.text)
                at += count
            return spent

        setattr(KeySink, name, spending)
    purposes = {
        (Resync, "tag_keys"): lambda self, theirs: (
            "greeting " + " ".join(sorted((self._mine.nonce.hex(), nonce_of(theirs))))
        ),
        (BobDistiller, "distil"): lambda self, name, *_: f"tags {name.link}",
        (AliceDistiller, "_start"): lambda self, start, *_: (
            f"tags {BlockName(start.run_uuid, start.block).link}"
        ),
    }
    for (kind, name), purpose in purposes.items():
        original = getattr(kind, name)

        def named(self, *rest, original=original, purpose=purpose):
            with using(purpose(self, *rest)):
                return original(self, *rest)

        setattr(kind, name, named)
    enter = Status.enter

    def entering(self, state, why=""):
        witness.say("state", time.monotonic(), state, why.replace("\n", " "))
        enter(self, state, why)

    Status.enter = entering


def nonce_of(theirs):
    import msgspec

    return msgspec.msgpack.decode(theirs)[1].hex()


# Programs -------------------------------------------------------------------------


def serve(lab, party):
    witness = Witness(lab.folder / f"{party}.used")
    watch_uses(witness, party)
    place = Place(lab.loaded, lab.home(party), None, str(uuid.uuid4()))
    try:
        serve_party(place, party)
        witness.say("ended")
    except ScqcError as error:
        witness.say("state", time.monotonic(), "fault", type(error).__name__, error)
        raise


def deliver(lab, party):
    """Give keys out, and fetch what the other end gave out, until killed."""
    witness = Witness(lab.folder / f"{party}.given")
    known = lab.lines(f"{party}.given", "fetched", "refused")
    done = {tuple(line[1:4]) for line in known}
    heard, now_s = lab.folder / f"{OTHER[party]}.given", time.monotonic
    with open_sink(lab.loaded.config, lab.home(party), party) as sink:
        ways = SENDS[party], SENDS[OTHER[party]]
        store, offset = ExportStore(sink, *ways, allow_simulated=True), 0
        waiting = []
        while not lab.over.exists():
            with contextlib.suppress(NotEnoughKey):
                for key in store.allocate(2, KEY_BYTES):
                    witness.say("given", *place_of(key), key.bits.hex(), now_s())
            lines, offset = read_from(heard, offset)
            waiting += [tuple(x[1:4]) for x in lines if x[0] == "given"]
            for place in [p for p in waiting if p not in done]:
                fetch(store, place, done, witness)
            waiting = [p for p in waiting if p not in done]
            time.sleep(0.04)
        store.close()


def place_of(key):
    at = key.position
    return at.block_tag, at.first_byte, at.n_bytes


def fetch(store, place, done, witness):
    from protocols.key_sink.export import KeyPosition

    witness.say("asking", *place)
    try:
        (key,) = store.fetch([KeyPosition(*map(int, place))])
    except NotEnoughKey:
        witness.say("later", *place)
        return
    except UnknownKey as error:
        witness.say("refused", *place, error)
    else:
        witness.say("fetched", *place, key.bits.hex(), time.monotonic())
    done.add(place)


def read_from(path, offset):
    """Return the whole lines after `offset`, and where they end."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    lines = [line.split("\t") for line in whole.decode().splitlines()]
    return lines, offset + len(whole)


# Trials ---------------------------------------------------------------------------


@dataclass
class Trial:
    victim: str
    back_s: float
    why: str


class Lab:
    """The homes of one pair, and its running programs."""

    def __init__(self, folder):
        self.folder, self.over = folder, folder / "over"
        folder.mkdir(parents=True)
        port = free_ports(1)
        text = CONFIG.read_text().replace(
            "start_pad_bits = 65_536", "start_pad_bits = 65_536\nmessage_share = 0.05"
        )
        head, mark, sim = text.partition("\n[sim]\n")
        link = f'\n[peer]\naddress = "tcp://127.0.0.1:{port}"\nkeep_blocks = 3\n'
        (folder / "lab.toml").write_text(head + link + mark + sim)
        self.loaded = load_config(folder / "lab.toml")
        write_link_files(folder / "links", SystemEntropy())
        for party in SENDS:
            keys = self.home(party) / "keys"
            keys.mkdir(mode=0o700, parents=True)
            (folder / "links" / f"{party}.link").rename(keys / f"{party}.link")
            with open_sink(self.loaded.config, self.home(party), party):
                # Begins with the start key of its seed.
                pass
        self.running, self.trials, self.due_s = {}, [], 0.0
        self.victim, self.begun_s, self.messages = None, 0.0, 0
        self._read, self.pause_s = {}, (0.0, 0.15)

    def home(self, party):
        return self.folder / party

    def lines(self, name, *kinds):
        lines, _ = read_from(self.folder / name, 0)
        return [line for line in lines if not kinds or line[0] in kinds]

    def start(self, program):
        """Fork a program; it does not return."""
        child = os.fork()
        if child:
            self.running[program] = child
            return
        try:
            log = self.folder / f"{program}.log"
            err = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.dup2(err, 2)
            _, _, party = program.rpartition("-")
            (deliver if program.startswith("deliver") else serve)(self, party)
        except ScqcError as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(3)
        except BaseException:  # noqa: BLE001
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def kill(self, program):
        process = self.running.pop(program)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    def since(self, begun_s, name):
        """Return the lines of a file that are younger."""
        lines, self._read[name] = read_from(self.folder / name, self._read.get(name, 0))
        found = []
        for line in lines:
            if line[0] == "state":
                found += [line[2:]] if float(line[1]) >= begun_s else []
            elif line[0] in ("given", "fetched"):
                found += [["running"]] if float(line[5]) >= begun_s else []
        return found

    def back(self):
        """Say whether, since the last start, everybody runs again or is in a fault."""
        _, _, party = self.victim.rpartition("-")
        names = [f"{p}.used" for p in SENDS]
        if self.victim.startswith("deliver"):
            names = [f"{party}.given"]
        for name in names:
            for line in self.since(self.begun_s, name):
                if line[0] in ("running", "fault"):
                    self.seen[name] = line
        return len(self.seen) == len(names)

    def kill_one(self, victim):
        self.kill(victim)
        self.seen, self.victim = {}, victim
        self.begun_s = time.monotonic()
        self.start(victim)

    def message(self):
        """Give Alice a message that nobody else gives."""
        path = self.folder / f"{self.messages:06d}.msg"
        path.write_bytes(f"message {self.messages:06d}".encode())
        with contextlib.suppress(PeerError):
            tell(self.home("alice"), "message", path=str(path))
            self.messages += 1

    def step(self, chance, victims, trials):
        """Do what is due; return whether there is more to come."""
        now_s = time.monotonic()
        for program, process in list(self.running.items()):
            if os.waitpid(process, os.WNOHANG)[0]:
                # It ended by itself: whatever it is, the checks will see.
                del self.running[program]
                self.trials.append(Trial(program, LOST_S, "ended by itself"))
                return False
        if self.victim is not None:
            back = self.back()
            if not back and now_s - self.begun_s < LOST_S:
                return True
            why = " ".join(" ".join(line) for line in self.seen.values())
            self.trials.append(Trial(self.victim, now_s - self.begun_s, why))
            self.victim, self.due_s = None, now_s + chance.uniform(*self.pause_s)
            if chance.random() < 0.3:
                self.message()
        if len(self.trials) >= trials:
            return False
        if now_s >= self.due_s:
            self.kill_one(chance.choice(victims))
        return True

    def finish(self):
        """Let the ends come to rest, and end."""
        end_s = time.monotonic() + LOST_S
        wanted = self.messages and self.home("alice") / "outbox"
        while wanted and any(wanted.iterdir()) and time.monotonic() < end_s:
            time.sleep(0.05)
        codes = {}
        for program in ("bob", "alice", "deliver-alice", "deliver-bob"):
            if not program.startswith("deliver"):
                with contextlib.suppress(PeerError):
                    tell(self.home(program), "end")
            elif not self.over.exists():
                # What was given out last is fetched yet.
                time.sleep(0.3)
                self.over.touch()
            if program in self.running:
                process = self.running.pop(program)
                codes[program] = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return codes


class Undone(Exception):  # noqa: N818
    """Takes a transaction back."""


def late_lease(self, missing, n_bytes):
    """Hand a lease out, and write it down later."""
    if any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
        raise NotEnoughKey("the lease before is not written down yet")
    with contextlib.suppress(Undone), self._sink.db.transaction():
        lease = LEASE(self, missing, n_bytes)
        raise Undone
    threading.Timer(0.15, LEASE, (self, missing, n_bytes)).start()
    return lease


def early_key(self, name, party, tags, *, confirmed):
    """Use a key before the peer can have it."""
    count = KEEP(self, name, party, tags, confirmed=True)
    if not confirmed:
        time.sleep(0.1)
    return count


LEASE, KEEP = ExportStore._lease, Store.keep
#: Who is killed with which step broken.
MUTANTS = {
    "": PROGRAMS,
    "late-lease": ("deliver-alice",),
    "early-key": ("alice",),
}


def main(folder, trials, seed, mutant=""):
    alice_service.scheme_alice = ToyAliceScheme
    alice_service.open_own_station = bob_service.open_own_station = toy_station
    bob_service.scheme_bob, bob_service.bob_light = ToyBobScheme, ToyBobLight
    bob_service.BobService._distil_photon = toy_distil
    bob_service.message_of = lambda bob: bob.payload
    if mutant == "late-lease":
        ExportStore._lease = late_lease
    if mutant == "early-key":
        Store.keep = early_key
    # Locked memory would be copied whole into each program.
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 16, limit))
    gc.collect()
    gc.freeze()
    chance, folder = random.Random(seed), Path(folder)
    labs = [Lab(folder / f"pair{n}") for n in range(min(PAIRS, trials))]
    share = -(-trials // len(labs))
    for lab in labs:
        if mutant == "late-lease":
            lab.pause_s = (0.0, 0.01)
        for program in PROGRAMS:
            lab.start(program)
    report, active = [], list(labs)
    while active:
        for lab in list(active):
            if not lab.step(chance, MUTANTS[mutant], share):
                active.remove(lab)
                codes, trials_of = lab.finish(), [vars(t) for t in lab.trials]
                home = str(lab.folder)
                report.append({"home": home, "codes": codes, "trials": trials_of})
        time.sleep(0.02)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime + own.ru_utime + own.ru_stime
    (folder / "report.json").write_text(json.dumps({"cpu_s": cpu_s, "pairs": report}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
