"""The words of an optical switch, as the lab config gives them."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints, model_validator

from scqc.core.settings import Settings

Word = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$")]
Terminator = Annotated[str, StringConstraints(pattern=r"^(\r|\n|\r\n)$")]


class SwitchCommands(Settings):
    """What a switch is told, and what it answers to the query.

    Every command ends with `terminator`, and so does every line of a reply.
    """

    open: Word = "OPEN"
    close: Word = "CLOSE"
    query: Word = "STATE?"
    open_reply: Word = "OPEN"
    closed_reply: Word = "CLOSED"
    terminator: Terminator = "\r\n"

    @model_validator(mode="after")
    def _differ(self) -> SwitchCommands:
        if self.open_reply == self.closed_reply:
            raise ValueError(
                f"open_reply and closed_reply are both {self.open_reply!r}"
            )
        if len({self.open, self.close, self.query}) != 3:
            raise ValueError("open, close and query must differ from one another")
        return self
