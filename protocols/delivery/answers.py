"""What a KME answers: JSON bodies of ETSI GS QKD 014."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scqc.core.errors import DeliveryError

JSON_TYPE = "application/json"
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, ready for HTTP.

    Parameters
    ----------
    status : int
        Of HTTP.
    body : bytes
        JSON; never printed, it may hold keys.
    allow : str
        Methods the path takes, with status 405.
    n_keys : int
        Keys it delivers [1].
    """

    status: int
    body: bytes = field(repr=False)
    allow: str = ""
    n_keys: int = 0


def as_answer(value: Any, n_keys: int = 0) -> Answer:
    """Return the answer 200 with a JSON body."""
    return Answer(200, _ENCODER.encode(value), n_keys=n_keys)


def key_container(names: Sequence[str], keys: Sequence[bytes]) -> Answer:
    """Return the key container (clause 6.3): key_IDs, and keys in base64."""
    rows = [
        {"key_ID": name, "key": base64.b64encode(key).decode()}
        for name, key in zip(names, keys, strict=True)
    ]
    return as_answer({"keys": rows}, n_keys=len(rows))


def failure(error: DeliveryError, allow: str = "") -> Answer:
    """Return the error (clause 6.5): a message, and details when there are any."""
    value: dict[str, Any] = {"message": error.message}
    if error.details:
        value["details"] = list(error.details)
    return Answer(error.status, _ENCODER.encode(value), allow=allow)
