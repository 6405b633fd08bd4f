"""Key files of a link: who the two programs are to each other on the network.

A file holds one party's CURVE key pair, the peer's public key and the number of
the link, which every message carries. The keys keep strangers away from the link
and its traffic from their eyes. They rest on assumptions about computing power:
no key of the quantum link depends on them, see docs/explanation/link.md.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import zmq
from zmq.utils import z85

from protocols.messages.envelope import ID_BYTES
from scqc.core.errors import ConfigError, ConfigProblem
from scqc.core.rng import EntropySource

Party = Literal["alice", "bob"]
PARTIES: tuple[Party, Party] = ("alice", "bob")
_FORMAT = 1
_KEY_CHARACTERS = 40
_ELSEWHERE = "choose another directory, or remove the old link"
_FIELDS = {"format", "party", "link", "public", "secret", "peer_public"}


@dataclass(frozen=True, slots=True)
class LinkKeyFile:
    """What one party needs to speak to the other.

    Parameters
    ----------
    party : {"alice", "bob"}
    link : bytes, 16 bytes
        The same at both ends.
    public, peer_public : bytes, 40 bytes
        CURVE keys, Z85.
    secret : bytes, 40 bytes
        Never printed.
    """

    party: Party
    link: bytes
    public: bytes
    peer_public: bytes
    secret: bytes = field(repr=False)


def write_link_files(directory: Path, entropy: EntropySource) -> list[Path]:
    """Write ``alice.link`` and ``bob.link``, mode 0600; one goes to each computer.

    Parameters
    ----------
    directory : Path
        Made with mode 0700 if it is not there.
    entropy : EntropySource
        For the number of the link; the keys are drawn by libsodium.

    Returns
    -------
    list of Path

    Raises
    ------
    ConfigError
        If a file is there already or cannot be written: a key is never replaced.
    """
    link = entropy.read(ID_BYTES)
    pairs = {party: zmq.curve_keypair() for party in PARTIES}
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = [directory / f"{party}.link" for party in PARTIES]
    # Half of an old pair and half of a new one would be of no use.
    for path in filter(Path.exists, paths):
        raise _problem(path, "file", str(path), "is there already; " + _ELSEWHERE)
    for path, party, peer in zip(paths, PARTIES, PARTIES[::-1], strict=True):
        public, secret = pairs[party]
        lines = {
            "party": party,
            "link": link.hex(),
            "public": public.decode(),
            "secret": secret.decode(),
            "peer_public": pairs[peer][0].decode(),
        }
        text = f"format = {_FORMAT}\n" + "".join(
            f"{name} = '{value}'\n" for name, value in lines.items()
        )
        _write_private(path, text)
    return paths


def read_link_file(path: Path, party: Party) -> LinkKeyFile:
    """Read the key file of a party.

    Raises
    ------
    ConfigError
        If it is absent, open to others, malformed, or the other party's.
    """
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        limit = f"unreadable ({error}); `scqc keys init-link DIR` writes both files"
        raise _problem(path, "file", str(path), limit) from error
    if os.name == "posix" and mode & 0o077:
        limit = f"lets others in, wanted 0600: chmod 600 {path}"
        raise _problem(path, "mode", f"{mode:04o}", limit)
    try:
        values = tomllib.loads(text)
        found = _key_file(values)
    except (ValueError, TypeError, AttributeError) as error:
        # No text of the file in the message: it holds a secret.
        limit = "is no key file of a link; `scqc keys init-link DIR` writes both"
        raise _problem(path, "file", str(path), limit) from error
    if found.party != party:
        limit = f"this end is {party!r}; give it {party}.link of the same directory"
        raise _problem(path, "party", found.party, limit)
    return found


def _key_file(values: dict[str, object]) -> LinkKeyFile:
    """Return what the file says.

    Raises
    ------
    ValueError
        If a field is missing, unknown or out of form.
    """
    if set(values) != _FIELDS or values["format"] != _FORMAT:
        raise ValueError("fields")
    party = next(p for p in (*PARTIES, None) if p == values["party"] or p is None)
    link = bytes.fromhex(str(values["link"]))
    keys = [str(values[name]).encode() for name in ("public", "peer_public", "secret")]
    sizes = {len(key) for key in keys}
    if party is None or len(link) != ID_BYTES or sizes != {_KEY_CHARACTERS}:
        raise ValueError("party, link or keys")
    for key in keys:
        z85.decode(key)
    if zmq.curve_public(keys[2]) != keys[0]:
        raise ValueError("public and secret key do not belong together")
    return LinkKeyFile(party, link, *keys)


def _write_private(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        limit = f"{error.strerror}; {_ELSEWHERE}"
        raise _problem(path, "file", str(path), limit) from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _problem(path: Path, key: str, value: str, limit: str) -> ConfigError:
    return ConfigError([ConfigProblem(str(path), "", key, value, limit)])
