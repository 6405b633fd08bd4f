"""The name of a block, and the files of its folder."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

#: What Alice prepared; raw key material, as are Bob's bases and samples.
ALICE_NAME = "alice.scqc"
#: What Bob's modulator was set to.
BOB_NAME = "bob.scqc"
CAPTURE_NAME = "capture.h5"
TRANSCRIPT_NAME = "transcript.scqc"
RESULT_NAME = "result.json"
RECEIVED_NAME = "payload.received"


@dataclass(frozen=True, slots=True)
class BlockName:
    """What both ends call a block; no key is ever made twice under one name.

    Parameters
    ----------
    run_uuid : str
    number : int
        Within the run [1].
    """

    run_uuid: str
    number: int = 0

    @property
    def link(self) -> str:
        """Name of run and block, as the tags have it."""
        return f"{self.run_uuid}/{self.number}"


def later_run(run_uuid: str, number: int) -> str:
    """Return the run that block `number` of a continuous run is stored as.

    Captures of the CV scheme are runs of one block each; the first is the run itself.
    """
    if number == 0:
        return run_uuid
    return str(uuid.uuid5(uuid.UUID(run_uuid), str(number)))
