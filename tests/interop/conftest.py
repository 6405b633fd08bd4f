"""Programs of other projects; collected only where they are installed."""

from importlib.util import find_spec

import pytest

PACKAGES = ("qcodes", "pymeasure", "etsi_qkd_014_client", "schemathesis")
collect_ignore_glob = (
    []
    if all(find_spec(name) for name in PACKAGES)
    # Ours are tested without them: see `make interop`.
    else ["test_*.py"]
)


def visa_resource(endpoint):
    """Return what pyvisa calls ``tcp://h:p`` or ``hislip://h:p/hislip0``."""
    scheme, _, rest = endpoint.partition("://")
    host, _, port = rest.removesuffix("/hislip0").rpartition(":")
    if scheme == "hislip":
        return f"TCPIP::{host}::hislip0,{port}::INSTR"
    return f"TCPIP::{host}::{port}::SOCKET"


@pytest.fixture
def resource():
    return visa_resource
