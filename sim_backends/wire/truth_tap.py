"""What really happened, for tests: played waveforms and the world's truth."""

from __future__ import annotations

import contextlib
import io
import socket
import threading

import numpy as np
from numpy.typing import NDArray

from sim_backends.devices.lab import Cables, CountedLight


class TruthTap:
    """Sends what was played and what became of it; no driver knows of this.

    Every connection gets everything so far and is then closed. With a recorded
    light that is a run of ``.npy`` arrays, the waveforms, shape (2, n), int16
    [code]. With a counted light it is one ``.npz`` file: the waveforms as
    ``played/0``, ``played/1``, ..., and for every acquisition the arrays of the
    world's truth as ``truth/0/name``, ``truth/1/name``, ....
    """

    def __init__(self, cables: Cables) -> None:
        self._cables = cables
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="tap", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where tests connect."""
        return f"tcp://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Stop serving."""
        self._closing = True
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._port), timeout=1.0),
        ):
            pass
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._closing:
                    return
                with contextlib.suppress(OSError):
                    if isinstance(self._cables.light, CountedLight):
                        connection.sendall(self._archive())
                    else:
                        for codes in list(self._cables.played):
                            file = io.BytesIO()
                            np.save(file, codes)
                            connection.sendall(file.getbuffer())

    def _archive(self) -> memoryview:
        """Return waveforms and truth as one ``.npz`` file."""
        with self._cables.lock:
            played = list(self._cables.played)
            truth = list(getattr(self._cables.light, "truth", []))
        arrays: dict[str, NDArray[np.generic]] = {
            f"played/{i}": codes for i, codes in enumerate(played)
        }
        for i, record in enumerate(truth):
            arrays |= {f"truth/{i}/{name}": array for name, array in record.items()}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getbuffer()
