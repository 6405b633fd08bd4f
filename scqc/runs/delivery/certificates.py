"""A certificate authority for tests: one file per name, ECDSA P-256."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scqc.core.errors import DeliveryError

#: In the subject of every certificate made here.
MARK = "scqc test authority - not for use"
AUTHORITY = "authority"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
# Clocks of the two ends differ a little.
_EARLIER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class TestAuthority:
    """Signs certificates for tests; its own key is kept nowhere else.

    Parameters
    ----------
    key : EllipticCurvePrivateKey
    certificate : Certificate
    """

    __test__ = False  # no test case, whatever its name says
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, days: float) -> TestAuthority:
        """Return a new authority that is good for so many days [d]."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject(AUTHORITY)
        builder = _builder(name, name, key.public_key(), days).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = _key_usage(signs_certificates=True)
        builder = builder.add_extension(usage, critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    def issue(
        self, name: str, days: float, hosts: Sequence[str] = ()
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its private key, in PEM.

        Parameters
        ----------
        name : str
            Common name: a KME or a SAE.
        days : float
            How long it is good; negative: it has expired [d].
        hosts : sequence of str
            Host names and addresses of a server; none: it is a client.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject
        builder = _builder(_subject(name), issuer, key.public_key(), days)
        purpose = (
            ExtendedKeyUsageOID.SERVER_AUTH
            if hosts
            else ExtendedKeyUsageOID.CLIENT_AUTH
        )
        public = self.key.public_key()
        whose = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
        builder = (
            builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(whose, critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return _pem(builder.sign(self.key, hashes.SHA256())), _private(key)


def init_certificates(
    directory: Path,
    kmes: Sequence[str],
    saes: Sequence[str],
    hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
    days: float = 30.0,
) -> list[Path]:
    """Make a test authority, servers' and clients' certificates.

    Parameters
    ----------
    directory : Path
        Gets ``NAME.pem`` and ``NAME.key``; created with mode 0700.
    kmes, saes : sequence of str
        Names of servers and of clients.
    hosts : sequence of str
        Where the servers are reached.
    days : float
        How long all of it is good [d].

    Returns
    -------
    list of Path
        What was written, mode 0600.

    Raises
    ------
    DeliveryError
        If a name is given twice or has strange characters, or a file is there.
    """
    names = [AUTHORITY, *kmes, *saes]
    for name in names:
        if names.count(name) > 1 or not _NAME.fullmatch(name):
            raise DeliveryError(
                400,
                f"certificate name {name!r}: give each once, of letters, digits and "
                f"._-; {AUTHORITY!r} is taken",
            )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = TestAuthority.new(days)
    written = [_write(directory / f"{AUTHORITY}.pem", _pem(authority.certificate))]
    written.append(_write(directory / f"{AUTHORITY}.key", _private(authority.key)))
    for name in [*kmes, *saes]:
        certificate, key = authority.issue(name, days, hosts if name in kmes else ())
        written.append(_write(directory / f"{name}.pem", certificate))
        written.append(_write(directory / f"{name}.key", key))
    return written


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, MARK),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _EARLIER)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, text: bytes) -> Path:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as cause:
        raise DeliveryError(400, f"{path}: {cause.strerror}") from cause
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    return path
