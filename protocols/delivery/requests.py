"""What an application asks for by ETSI GS QKD 014, checked to the last field.

Everything that is wrong with a request is a `DeliveryError` of the status that the
standard gives it: 400, with a message and details by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Struct, UnsetType

from protocols.delivery.identifiers import UnknownKeyIdError, well_formed
from protocols.delivery.settings import DeliverySettings
from scqc.core.errors import DeliveryError

Pairs = Sequence[tuple[str, str]]
_Body = TypeVar("_Body", bound=Struct)
_MOST_FIELDS = 8


class _KeyRequestBody(Struct, forbid_unknown_fields=True):
    """Key request data format (clause 6.2)."""

    number: int = 1
    size: int | UnsetType = UNSET
    additional_slave_SAE_IDs: list[str] = []  # noqa: N815
    extension_mandatory: list[dict[str, Any]] = []
    extension_optional: list[dict[str, Any]] = []


class _KeyId(Struct, forbid_unknown_fields=True):
    key_ID: str  # noqa: N815
    key_ID_extension: Any = None  # noqa: N815


class _KeyIdsBody(Struct, forbid_unknown_fields=True):
    """Key IDs data format (clause 6.4)."""

    key_IDs: list[_KeyId]  # noqa: N815
    key_IDs_extension: Any = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """How many keys, and how long.

    Parameters
    ----------
    number : int
        [1]
    size_bits : int
        A multiple of 8 [bit].
    """

    number: int
    size_bits: int


def refused(name: str, reason: str) -> DeliveryError:
    """Return the standard's error about one field."""
    return DeliveryError(400, f"{name}: {reason}", [{name: reason}])


def read_query(text: str) -> list[tuple[str, str]]:
    """Return the fields of a query string.

    Raises
    ------
    DeliveryError
        If it is no UTF-8, too long or names a field twice.
    """
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as cause:
        raise refused("query", "is not readable") from cause
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise refused("query", "names a field twice")
    return pairs


def key_request_of_query(pairs: Pairs, limits: DeliverySettings) -> KeyRequest:
    """Read ``number`` and ``size`` of a GET.

    Raises
    ------
    DeliveryError
        If a field is unknown, no number, or out of bounds.
    """
    numbers = {"number": 1, "size": limits.key_size_bits}
    for name, text in pairs:
        if name not in numbers:
            raise refused(name[:64], "unknown; a GET takes number and size")
        # int() takes blanks, signs, underscores and digits of every script.
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise refused(name, "must be a whole number")
        numbers[name] = int(text)
    return _bounded(numbers["number"], numbers["size"], limits)


def key_request_of_body(body: bytes, limits: DeliverySettings) -> KeyRequest:
    """Read the JSON of a POST to ``enc_keys``.

    Raises
    ------
    DeliveryError
        If it is no such object, out of bounds, asks for copies for further SAEs, or
        makes an extension mandatory.
    """
    asked = decode_json(body, _KeyRequestBody)
    if asked.additional_slave_SAE_IDs:
        raise refused(
            "additional_slave_SAE_IDs", "max_SAE_ID_count is 0: one slave SAE a key"
        )
    if asked.extension_mandatory:
        details = [
            {name[:64]: "not supported"} for name in asked.extension_mandatory[0]
        ]
        message = "not all extension_mandatory parameters are supported"
        raise DeliveryError(400, message, details)
    size = limits.key_size_bits if asked.size is UNSET else asked.size
    return _bounded(asked.number, int(size), limits)


def key_ids_of_query(pairs: Pairs) -> list[str]:
    """Read the one ``key_ID`` of a GET.

    Raises
    ------
    DeliveryError
        If there is another field, or none, or no UUID.
    """
    if [name for name, _ in pairs] != ["key_ID"]:
        raise refused("key_ID", "a GET takes one key_ID and nothing else")
    return _uuids([text for _, text in pairs])


def key_ids_of_body(body: bytes, limits: DeliverySettings) -> list[str]:
    """Read the JSON of a POST to ``dec_keys``.

    Raises
    ------
    DeliveryError
        If it is no such object, or holds no, too many or the same key_IDs.
    """
    found = [one.key_ID for one in decode_json(body, _KeyIdsBody).key_IDs]
    if not 1 <= len(found) <= limits.max_keys_per_request:
        raise refused(
            "key_IDs", f"has {len(found)}, wanted 1 to {limits.max_keys_per_request}"
        )
    if len({text.lower() for text in found}) < len(found):
        raise refused("key_IDs", "names a key_ID twice")
    return _uuids(found)


def decode_json(body: bytes, kind: type[_Body]) -> _Body:
    """Return a body as the object it should be.

    Raises
    ------
    DeliveryError
        If it is no JSON of that form: not UTF-8, nested too deep, of other types.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
        raise refused("body", str(cause)[:200]) from cause


def _bounded(number: int, size_bits: int, limits: DeliverySettings) -> KeyRequest:
    if not 1 <= number <= limits.max_keys_per_request:
        raise refused(
            "number", f"is {number}, wanted 1 to {limits.max_keys_per_request}"
        )
    if size_bits % 8:
        raise refused("size", f"is {size_bits}, shall be a multiple of 8")
    if not limits.min_key_size_bits <= size_bits <= limits.max_key_size_bits:
        raise refused(
            "size",
            f"is {size_bits}, wanted {limits.min_key_size_bits} to "
            f"{limits.max_key_size_bits}",
        )
    return KeyRequest(number, size_bits)


def _uuids(texts: list[str]) -> list[str]:
    for text in texts:
        if not well_formed(text):
            raise UnknownKeyIdError(text)
    return texts
