"""A recorded PTU file, opened like an instrument: ``file://path.ptu``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from driver.hal import Identity
from driver.interlock import Interlocked
from scqc.core.clock import Deadline
from scqc.core.errors import (
    CaptureError,
    ConnectError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)

if TYPE_CHECKING:
    from scqc.store.ptu import PtuHeader

_FILE = "file://"
_PS_PER_MS = 10**9
Block = tuple["PtuHeader", NDArray[np.int64], NDArray[np.uint8], int]


def parse_file(instrument: str, resource: str) -> Path:
    """Return the path in ``file://path``; it need not exist yet.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    rest = resource.removeprefix(_FILE)
    if rest == resource or not rest or rest.endswith("/"):
        expected = "expected file:///folder/name.ptu, or file://name.ptu"
        raise RangeError(instrument, resource, expected)
    return Path(rest)


class PtuLink(Interlocked):
    """Gives the tags of a file in order of time, a stretch at a time, each once.

    Opened anew, it goes on where it was: no tag is given twice.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``file://path``.
    open_timeout_s, io_timeout_s : float
        Deadlines for opening and for reading a stretch [s].
    """

    def __init__(
        self,
        instrument: str,
        resource: str,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
    ) -> None:
        self.instrument, self.io_timeout_s = instrument, io_timeout_s
        self._path = parse_file(instrument, resource)
        self._identity: Identity | None = None
        self._blocks: Iterator[Block] | None = None
        self._position_ps = self._end_ps = 0
        self._drop()

    def _drop(self) -> None:
        """Forget what was read ahead."""
        self._times_ps = np.zeros(0, dtype=np.int64)
        self._inputs = np.zeros(0, dtype=np.uint8)
        self._read_ps, self._is_read = 0, False

    @property
    def identity(self) -> Identity:
        """What recorded the file."""
        if self._identity is None:
            raise ConnectError(self.instrument, "identify", "the file was never opened")
        return self._identity

    def open(self) -> Identity:
        """Open the file and read what it says of itself.

        Raises
        ------
        ConnectError
            If it cannot be read, or is no T2 file.
        """
        self.permit("open")
        self.close()
        # What reads files is loaded by who reads one.
        from scqc.store.ptu import read_header, read_ptu_blocks

        try:
            with self._path.open("rb") as file:
                header = read_header(file, self._path)
        except (OSError, CaptureError) as error:
            action = f"open {self._path}"
            raise ConnectError(self.instrument, action, f"{error}") from error
        self._blocks = read_ptu_blocks(self._path)
        self._end_ps = _end_ps(header)
        self._identity = _identity(header)
        return self._identity

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._blocks = None
        self._drop()

    def check(self, action: str) -> None:
        """Check that the file is open.

        Raises
        ------
        StateError
            If it is closed.
        """
        self.permit(action)
        if self._blocks is None:
            raise StateError(self.instrument, action, "the file is closed")

    def take(
        self, duration_ps: int, delays_ps: Mapping[int, int], most_ps: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return the tags of the next stretch and go on behind it.

        Parameters
        ----------
        duration_ps : int
            Length of the stretch [ps].
        delays_ps : mapping of int to int
            Of the inputs wanted; added to their tags [ps].
        most_ps : int
            Largest delay there is [ps].

        Returns
        -------
        tuple
            Times since the begin of the stretch, shape (n,), int64 [ps], in order,
            and inputs, shape (n,), uint8 [1].

        Raises
        ------
        StateError
            If the file ends before the stretch does; then nothing is taken.
        InstrumentTimeout, WireProtocolError
        """
        self.check("start")
        begin_ps = self._position_ps
        stop_ps = begin_ps + duration_ps
        if not 0 < self._end_ps < stop_ps:
            self._read_until(stop_ps, begin_ps - most_ps)
        end_ps = self._end_ps or self._read_ps
        if self._is_read or self._end_ps:
            self._check_end(stop_ps, end_ps)
        table = np.full(256, -1, dtype=np.int64)
        table[list(delays_ps)] = list(delays_ps.values())
        delays = table[self._inputs]
        times = self._times_ps + delays
        chosen = (delays >= 0) & (times >= begin_ps) & (times < stop_ps)
        times, inputs = times[chosen] - begin_ps, self._inputs[chosen]
        order = np.argsort(times, kind="stable")
        self._position_ps = stop_ps
        return times[order], inputs[order]

    def _check_end(self, stop_ps: int, end_ps: int) -> None:
        if stop_ps > end_ps:
            reason = (
                f"the file ends at {1e-12 * end_ps:g} s, "
                f"{1e-12 * (end_ps - self._position_ps):g} s are left and "
                f"{1e-12 * (stop_ps - self._position_ps):g} s asked for"
            )
            raise StateError(self.instrument, f"read {self._path}", reason)

    def _read_until(self, stop_ps: int, keep_ps: int) -> None:
        """Read on until a tag at `stop_ps` or the end; drop tags before `keep_ps`."""
        deadline = Deadline(self.io_timeout_s)
        parts = [_since(keep_ps, self._times_ps, self._inputs)]
        while self._read_ps < stop_ps and not self._is_read:
            if deadline.expired:
                # What was read is kept: asked again, it goes on from here.
                self._keep(parts)
                reason = f"not done within {self.io_timeout_s:g} s"
                raise InstrumentTimeout(self.instrument, "read", reason)
            block = self._next_block()
            if block is None:
                self._is_read = True
                break
            _, times, inputs, _ = block
            self._read_ps = max(self._read_ps, int(times.max(initial=0)))
            parts.append(_since(keep_ps, times, inputs))
        self._keep(parts)

    def _keep(self, parts: list[tuple[NDArray[np.int64], NDArray[np.uint8]]]) -> None:
        self._times_ps = np.concatenate([times for times, _ in parts])
        self._inputs = np.concatenate([inputs for _, inputs in parts])

    def _next_block(self) -> Block | None:
        if self._blocks is None:
            raise StateError(self.instrument, "read", "the file is closed")
        try:
            return next(self._blocks, None)
        except CaptureError as error:
            # Nothing behind the damage can be trusted.
            self.close()
            raise WireProtocolError(self.instrument, "read", f"{error}") from error


def _since(
    begin_ps: int, times_ps: NDArray[np.int64], inputs: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the tags at and behind a time."""
    if not times_ps.size or times_ps.min() >= begin_ps:
        return times_ps, inputs
    kept = times_ps >= begin_ps
    return times_ps[kept], inputs[kept]


def _end_ps(header: PtuHeader) -> int:
    """Return when the recording ended [ps]; 0 if the file does not say."""
    stopped_ms = header.values.get("TTResult_StopAfter", 0)
    stopped_ps = stopped_ms * _PS_PER_MS if isinstance(stopped_ms, int) else 0
    known = [ps for ps in (stopped_ps, header.duration_ps) if ps > 0]
    return min(known, default=0)


def _identity(header: PtuHeader) -> Identity:
    """Return who recorded the file, as far as it says."""
    said = {name: str(value) for name, value in header.values.items()}
    return Identity(
        "PicoQuant",
        said.get("HW_Type", f"T2 {header.record_type:#010x}"),
        said.get("HW_SerialNo", said.get("File_GUID", "")),
        said.get("CreatorSW_Version", ""),
    )
