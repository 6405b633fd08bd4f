"""Delivery of keys over HTTPS: certificates, server, the process around them."""

from __future__ import annotations

from importlib.util import find_spec

from scqc.core.errors import DeliveryError

_PACKAGES = ("aiohttp", "cryptography")


def check_installed() -> None:
    """Refuse to begin without the packages that only delivery needs.

    Raises
    ------
    DeliveryError
        If one is not there; says how to get it.
    """
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    if absent:
        raise DeliveryError(
            503,
            f"delivery of keys needs {' and '.join(absent)}: "
            "`pip install 'scqc[delivery]'`",
        )
