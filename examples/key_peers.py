"""Two peers that talk under keys which the link delivers.

Each peer is an application (SAE) with a certificate, and asks the KME at its end. Only
the key_ID travels between the peers. Where Python's ssl has pre-shared keys (3.13 and
newer) they open a TLS-PSK connection, whose identity is the key_ID; elsewhere a
message is one AES-256-GCM frame under a key of its own. ::

    python examples/key_peers.py CERTS listen sae-b https://localhost:8444 sae-a 5000
    python examples/key_peers.py CERTS send sae-a https://localhost:8443 sae-b 5000 "Hi"

`docs/reference/key-delivery.md` shows how the KMEs and the certificates are made.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BITS = 256
ID_BYTES, NONCE_BYTES = 36, 12
HAS_PSK = bool(getattr(ssl, "HAS_PSK", False))


class Kme:
    """What a peer asks its own end for, by ETSI GS QKD 014."""

    def __init__(self, url: str, certificates: Path, sae: str) -> None:
        self._place = urlsplit(url)
        self._tls = ssl.create_default_context(cafile=certificates / "authority.pem")
        self._tls.load_cert_chain(
            certificates / f"{sae}.pem", certificates / f"{sae}.key"
        )

    def new_key(self, slave: str) -> tuple[str, bytes]:
        """Return a fresh key and its key_ID, for us and `slave`."""
        return self._ask(f"/api/v1/keys/{slave}/enc_keys?size={KEY_BITS}")

    def key(self, master: str, key_id: str) -> bytes:
        """Return the key that `master` got with that key_ID; it is given once."""
        return self._ask(f"/api/v1/keys/{master}/dec_keys?key_ID={key_id}")[1]

    def _ask(self, path: str) -> tuple[str, bytes]:
        host, port = self._place.hostname or "", self._place.port
        link = http.client.HTTPSConnection(host, port, context=self._tls, timeout=30)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
        finally:
            link.close()
        if answer.status != 200:
            raise RuntimeError(f"KME answers {answer.status}: {found['message']}")
        return found["keys"][0]["key_ID"], base64.b64decode(found["keys"][0]["key"])


def send(kme: Kme, slave: str, port: int, message: bytes) -> None:
    """Send a message to the peer that listens on `port`."""
    key_id, key = kme.new_key(slave)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        if HAS_PSK:
            context = _psk_context(ssl.PROTOCOL_TLS_CLIENT)
            context.set_psk_client_callback(lambda hint: (key_id, key))
            with context.wrap_socket(plain) as link:
                link.sendall(message)
            return
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, message, key_id.encode())
        plain.sendall(key_id.encode() + nonce + sealed)


def receive(kme: Kme, master: str, listener: socket.socket) -> bytes:
    """Return the next message from `master`."""
    plain, _ = listener.accept()
    plain.settimeout(30)
    with plain:
        if HAS_PSK:
            context = _psk_context(ssl.PROTOCOL_TLS_SERVER)
            context.set_psk_server_callback(lambda name: kme.key(master, name or ""))
            with context.wrap_socket(plain, server_side=True) as link:
                return _all_of(link)
        frame = _all_of(plain)
    key_id = frame[:ID_BYTES]
    nonce = frame[ID_BYTES : ID_BYTES + NONCE_BYTES]
    key = kme.key(master, key_id.decode())
    return AESGCM(key).decrypt(nonce, frame[ID_BYTES + NONCE_BYTES :], key_id)


def _psk_context(protocol: int) -> ssl.SSLContext:
    """Return TLS 1.2 with pre-shared keys alone; Python has no other with them."""
    context = ssl.SSLContext(protocol)
    if protocol == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    return context


def _all_of(link: socket.socket) -> bytes:
    found = b""
    while data := link.recv(65536):
        found += data
    return found


def main(arguments: list[str]) -> None:
    """Listen for one message, or send one."""
    folder, action, sae, url, peer, port, *rest = arguments
    kme = Kme(url, Path(folder), sae)
    if action == "send":
        send(kme, peer, int(port), rest[0].encode())
        return
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        print(receive(kme, peer, listener).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
