"""Mutual TLS: who may connect, and whose certificate it is."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from protocols.delivery.settings import KmeSettings
from scqc.core.errors import ConfigError, ConfigProblem, DeliveryError


def server_context(kme: KmeSettings) -> ssl.SSLContext:
    """Return the TLS settings of a KME: 1.2 or newer, and a client certificate.

    Nothing is resumed: every connection shows its certificate, so that one that has
    expired ends with the connection it was shown on.

    Raises
    ------
    ConfigError
        If a file is missing.
    DeliveryError
        If one is unreadable, the certificate is not good today, or the private key
        is open to others.
    """
    _require_files(kme)
    mode = Path(kme.private_key_file).stat().st_mode & 0o777
    if mode & 0o077:
        raise DeliveryError(
            503,
            f"private key {kme.private_key_file}: mode {mode:04o} lets others in, "
            "wanted 0600",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    try:
        context.load_cert_chain(kme.certificate_file, kme.private_key_file)
        context.load_verify_locations(kme.authority_file)
    except (ssl.SSLError, OSError) as cause:
        raise DeliveryError(503, f"certificates of {kme.kme_id}: {cause}") from cause
    _require_good(kme)
    return context


def _require_files(kme: KmeSettings) -> None:
    files = {
        "certificate_file": kme.certificate_file,
        "private_key_file": kme.private_key_file,
        "authority_file": kme.authority_file,
    }
    limit = (
        f"no such file, for {kme.kme_id}; `scqc keys init-certs` makes some for tests"
    )
    problems = [
        ConfigProblem("lab config", "delivery", key, repr(name), limit)
        for key, name in files.items()
        if not name or not Path(name).is_file()
    ]
    if problems:
        raise ConfigError(problems)


def _require_good(kme: KmeSettings) -> None:
    """Refuse a certificate of our own that every application would turn away."""
    path = Path(kme.certificate_file)
    try:
        # The first one is the server's, what follows signed it.
        own = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise DeliveryError(503, f"certificate {path}: {cause}") from cause
    begin, end, now = (
        own.not_valid_before_utc,
        own.not_valid_after_utc,
        datetime.now(UTC),
    )
    if begin <= now < end:
        return
    what = f"expired {end}" if now >= end else f"is good from {begin} only"
    raise DeliveryError(
        503,
        f"certificate {path} of {kme.kme_id} {what}; now it is {now:%Y-%m-%d %H:%M} "
        "UTC: look at the clock, or get a new one from its authority and start again "
        "(for tests `scqc keys init-certs` in a new folder)",
    )


def sae_of(certificate: Mapping[str, Any] | None) -> str:
    """Return the SAE a verified client certificate is for: its common name.

    The common name, because that is where the makers of key management entities look,
    and exactly one, because of two names one would be ignored.

    Parameters
    ----------
    certificate : mapping
        As `ssl.SSLSocket.getpeercert` returns it.

    Raises
    ------
    DeliveryError
        If there is no certificate, or no single common name.
    """
    names = [
        value
        for part in (certificate or {}).get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    if len(names) != 1 or not names[0]:
        raise DeliveryError(401, f"certificate has {len(names)} common names, wants 1")
    return str(names[0])


def expiry_s(certificate: Mapping[str, Any] | None) -> float:
    """Return when a client certificate ends [s since 1970]; 0 without one."""
    found = (certificate or {}).get("notAfter")
    return ssl.cert_time_to_seconds(found) if found else 0.0


def check_unexpired(expiry: float) -> None:
    """Refuse a certificate that ended while its connection was kept open.

    Parameters
    ----------
    expiry : float
        [s since 1970]

    Raises
    ------
    DeliveryError
        If it has.
    """
    if time.time() >= expiry:
        raise DeliveryError(401, "the certificate has expired; connect with a new one")
