"""How a run says where it is."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars


class Progress(Protocol):
    """Told by the functions of a run; shows it, or does not."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` steps, None when their number is unknown."""
        ...

    def advance(self, n: int = 1) -> None:
        """Finish `n` steps of the stage."""
        ...

    def note(self, text: str) -> None:
        """Say something worth a line of its own."""
        ...


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage: nothing to show."""

    def advance(self, n: int = 1) -> None:
        """Finish `n` steps: nothing to show."""

    def note(self, text: str) -> None:
        """Say something: nobody listens."""


class OnTerminal:
    """One bar per stage on a terminal; a context manager.

    Nothing is drawn when the console is no terminal.

    Parameters
    ----------
    console : Console
        Of standard error, so that standard output stays for the result.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._total: int | None = None

    def __enter__(self) -> OnTerminal:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing; a stage that an error ended stays as it was."""
        if error is None:
            self._finish()
        self._bars.stop()

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` steps, None when their number is unknown."""
        self._finish()
        self._task, self._total = self._bars.add_task(name, total=total), total

    def advance(self, n: int = 1) -> None:
        """Finish `n` steps of the stage."""
        if self._task is not None:
            self._bars.advance(self._task, n)

    def note(self, text: str) -> None:
        """Print a line above the bars; nothing when there is no terminal."""
        if not self._bars.disable:
            self._bars.console.print(text, markup=False, highlight=False)

    def _finish(self) -> None:
        """Fill the bar of the stage that is over."""
        if self._task is not None:
            total = self._total or 1
            self._bars.update(self._task, total=total, completed=total)
            self._bars.stop_task(self._task)
            self._task = None
