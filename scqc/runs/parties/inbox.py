"""Messages that arrived, each on the disk before Alice can know that it did."""

from __future__ import annotations

import os
from pathlib import Path

from protocols.schemes.cv_bob import CvBob
from protocols.schemes.photon_bob import PhotonBob
from scqc.core.errors import CaptureError
from scqc.runs.parties.distil import SchemeParty
from scqc.runs.photon.process import delivered_message


class Inbox:
    """Files named by the block that brought them.

    Alice takes a message from her outbox when Bob's last word has come. If that word
    is lost she sends it again, so that it may arrive twice, and never not at all.

    Parameters
    ----------
    home : Path
        Of Bob's service; gets the folder ``inbox``.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "inbox"
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def put(self, block: str, content: bytes) -> str:
        """Write a message to the disk; return the name of its file.

        Raises
        ------
        CaptureError
            If that fails.
        """
        target = self._folder / f"{block}.bin"
        part = target.with_suffix(".part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as error:
            raise CaptureError(f"{target}: {error.strerror}") from error
        return target.name


def message_of(bob: SchemeParty) -> bytes:
    """Return the message that came with a block; empty without one.

    Parameters
    ----------
    bob : SchemeParty
        Has checked Alice's transcript.
    """
    if isinstance(bob, CvBob):
        return bob.report.payload or b""
    if isinstance(bob, PhotonBob):
        return delivered_message(bob) or b""
    return b""
