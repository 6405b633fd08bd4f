"""Metrics for Prometheus: what is counted, and a small server that tells it.

Needs the extra ``metrics``; nothing of it is imported before somebody sets an address.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

from scqc.core.errors import ConfigError, ConfigProblem
from scqc.core.settings import ADDRESS


def check_address(option: str, address: str) -> None:
    """Refuse what is no address, by the rule of the settings that hold one.

    Parameters
    ----------
    option : str
        Where it was given, for the message.
    address : str

    Raises
    ------
    ConfigError
        If it is neither empty nor a host and a port.
    """
    if re.fullmatch(ADDRESS, address) is None:
        limit = "write HOST:PORT, an IPv6 address in brackets; empty for none"
        raise ConfigError([ConfigProblem("command line", "", option, address, limit)])


def check_installed(table: str, address: str) -> None:
    """Refuse an address for metrics without the package that writes them.

    Parameters
    ----------
    table : str
        Where the address stands, for the message.
    address : str

    Raises
    ------
    ConfigError
        If it is not there; says how to get it.
    """
    if find_spec("prometheus_client") is None:
        limit = "metrics need prometheus_client: `pip install 'scqc[metrics]'`"
        raise ConfigError(
            [ConfigProblem("lab config", table, "metrics", address, limit)]
        )
