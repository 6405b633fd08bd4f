"""Bob's frames under the ladder of codes: Alice's words with his errors on them.

Her words are published masked by her bits. With his own bits taken off they are
codewords with his errors on them; their checks, first those of the code and then those
that she tells of frames that failed, say where the errors are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.reconciliation.ladder import LadderCode
from protocols.settings import PhotonSecuritySettings

# A rate of zero would make every check a certainty.
_LOWEST_ERROR_RATE = 1e-3


class NoisyWords:
    """The frames of one block.

    Parameters
    ----------
    code : LadderCode
    published : ndarray, shape (n_frames, n), uint8 [bit]
        Codewords XOR Alice's bits.
    own : ndarray, shape (n_frames * n,), uint8 [bit]
        What Bob detected. Never printed.

    Attributes
    ----------
    errors : ndarray, shape (n_frames, n), uint8 [bit]
        Where his bits differ from hers, as found so far; changed in place.
    decoded : ndarray, shape (n_frames,), bool
        Frames whose errors satisfy all checks known; changed in place.
    rows : ndarray, shape (n_frames,), int64 [1]
        Checks known of each frame; changed in place.
    iterations : ndarray, shape (n_frames,), int64 [1]
        Of the decoder, all rounds; changed in place.
    """

    def __init__(
        self, code: LadderCode, published: NDArray[np.uint8], own: NDArray[np.uint8]
    ) -> None:
        frames, n = published.shape
        self._code, self._told_rows = code, code.min_rows
        self._words = published ^ own.reshape(frames, n)
        self._syndromes = [
            row.copy() for row in code.checks(self._words, code.min_rows)
        ]
        self.errors = np.zeros((frames, n), dtype=np.uint8)
        self.decoded = np.zeros(frames, dtype=np.bool_)
        self.rows = np.full(frames, code.min_rows, dtype=np.int64)
        self.iterations = np.zeros(frames, dtype=np.int64)

    @property
    def next_checks(self) -> int:
        """Checks of a frame that the next round tells [1]; 0 if all are told."""
        return self._code.next_rows(self._told_rows) - self._told_rows

    @property
    def all_told(self) -> bool:
        """Whether the code has no further checks."""
        return self.next_checks == 0

    def decode(
        self,
        frames: NDArray[np.int64],
        error_rate: float,
        settings: PhotonSecuritySettings,
    ) -> None:
        """Look for the errors of `frames` with all checks known of them.

        Parameters
        ----------
        frames : ndarray, shape (n,), int64 [1]
        error_rate : float
            Expected share of errors [1].
        settings : PhotonSecuritySettings
        """
        found = self._code.decode(
            np.stack([self._syndromes[f] for f in frames]),
            max(error_rate, _LOWEST_ERROR_RATE),
            settings.decoder_iterations,
            settings.threads,
        )
        self.iterations[frames] += found.iterations
        self.decoded[frames] = found.converged
        self.errors[frames] = found.errors

    def learn(self, frames: NDArray[np.int64], told: NDArray[np.uint8]) -> None:
        """Take further checks of Alice's codewords.

        Parameters
        ----------
        frames : ndarray, shape (n,), int64 [1]
        told : ndarray, shape (n * next_checks,), uint8 [bit]
        """
        upto = self._told_rows + self.next_checks
        # Alice tells checks of her codeword; ours are those of word plus errors.
        ours = self._code.further_checks(self._words[frames], self._told_rows, upto)
        more = told.reshape(ours.shape) ^ ours
        for row, frame in enumerate(frames):
            # Further checks only append.
            self._syndromes[frame] = np.concatenate([self._syndromes[frame], more[row]])
        self._told_rows = upto
        self.rows[frames] = upto

    def doubtful(self, wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which decoded frames further checks could still put right.

        Only those that know all checks told so far; short frames have words of few
        bits that all known checks allow.

        Parameters
        ----------
        wrong : ndarray, shape (n_frames,), bool
            Frames that decoded to another word than hers.

        Returns
        -------
        ndarray, shape (n_frames,), bool
        """
        if self.all_told:
            return np.zeros_like(wrong)
        latest: NDArray[np.bool_] = self.rows == self._told_rows
        return self.decoded & wrong & latest

    def information(self) -> NDArray[np.uint8]:
        """Return the information bits of the corrected words.

        Returns
        -------
        ndarray, shape (n_frames, k), uint8 [bit]
        """
        return self._code.information(self._words ^ self.errors)
