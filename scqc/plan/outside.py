"""Points outside a model must not cost those inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from scqc.core.errors import ModelRangeError, ProtocolAbort

Found = TypeVar("Found")
#: How models and security code say that they have no answer.
NO_ANSWER = (ModelRangeError, ProtocolAbort)


def answered(
    evaluate: Callable[[slice], Found], n: int
) -> Iterator[tuple[slice, Found]]:
    """Evaluate points together, halves apart where there is no answer for all.

    Parameters
    ----------
    evaluate : callable
        Of the points of a slice; may raise `NO_ANSWER`.
    n : int
        Points.

    Yields
    ------
    tuple of slice and object
        What was found, part by part; points without an answer are in none.
    """
    waiting = [slice(0, n)]
    while waiting:
        part = waiting.pop()
        try:
            found = evaluate(part)
        except NO_ANSWER:
            middle = (part.start + part.stop) // 2
            if middle > part.start:
                waiting += [slice(middle, part.stop), slice(part.start, middle)]
        else:
            yield part, found


@contextmanager
def in_degrees() -> Iterator[None]:
    """Say angles as settings have them, where a model refuses one in radians.

    Raises
    ------
    ModelRangeError
        With value and range in degrees.
    """
    try:
        yield
    except ModelRangeError as error:
        if "[rad]" not in error.quantity:
            raise
        low, high = (math.degrees(limit) for limit in error.limits)
        raise ModelRangeError(
            error.quantity.replace("[rad]", "[deg]"),
            math.degrees(error.value),
            (low, high),
            error.why,
        ) from error
