"""A key management entity (KME) without sockets: a call comes in, an answer goes out.

The applications (SAEs) of a link's ends name each other in the path; who calls is
known from the certificate, and is never taken from the request. A SAE that asks for
new keys is the *master* of these keys: its KME takes them from the direction it sends
in, so that two masters at the two ends never reach for the same bits.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from protocols.delivery import openapi
from protocols.delivery.answers import (
    JSON_TYPE,
    Answer,
    as_answer,
    failure,
    key_container,
)
from protocols.delivery.identifiers import Identifiers, Route, UnknownKeyIdError
from protocols.delivery.requests import (
    KeyRequest,
    key_ids_of_body,
    key_ids_of_query,
    key_request_of_body,
    key_request_of_query,
    read_query,
    refused,
)
from protocols.delivery.settings import DeliverySettings, Party
from protocols.delivery.store import KeyStore
from protocols.delivery.streams import KeyStreams
from protocols.key_sink.export import KeyPosition, NotEnoughKey, UnknownKey
from scqc.core.errors import DeliveryError, KeySinkError

KEYS_PATH = "/api/v1/keys/"
STREAMS_PATH = "/api/004/v1/"
DESCRIPTION_PATH = "/openapi.json"
#: Between two lines of the log about a sink that fails [s].
LOG_PAUSE_S = 10.0
_LOG = logging.getLogger("scqc.delivery")
_METHODS = {
    "status": ("GET",),
    "enc_keys": ("GET", "POST"),
    "dec_keys": ("GET", "POST"),
}
_STREAM_CALLS = ("open_connect", "get_key", "close")


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came.

    Parameters
    ----------
    sae : str
        Who calls: the name in the certificate.
    method, target : str
        Of HTTP; the target is a path and perhaps a query.
    content_type : str
    body : bytes
    """

    sae: str
    method: str
    target: str
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)


class KeyDelivery:
    """The KME of one end.

    It may be called from several threads.

    Parameters
    ----------
    settings : DeliverySettings
    party : {"alice", "bob"}
        Which end this is.
    store : KeyStore
        The keys of this end.
    now_s : callable
        Clock of the key streams' lifetime, and of what is logged [s].
    """

    def __init__(
        self,
        settings: DeliverySettings,
        party: Party,
        store: KeyStore,
        now_s: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.here, self.there = settings.here(party), settings.there(party)
        self.store = store
        self._names = Identifiers(store.key_id_secret())
        self._streams = KeyStreams(settings, party, store, self._names, now_s)
        self._description = as_answer(openapi.description(settings))
        self._lock = threading.Lock()
        self._now_s, self._quiet_until_s = now_s, -math.inf
        self._counts: Counter[str] = Counter()
        self._forged: Counter[str] = Counter()

    def counts(self) -> dict[str, int]:
        """Return how many answers of each kind were given, and how many keys."""
        with self._lock:
            return dict(self._counts)

    def answer(self, call: Call) -> Answer:
        """Answer a call; what is wrong with it becomes the standard's error."""
        action = "other"
        try:
            self._check_caller(call.sae)
            action, do = self._route(call)
            answer = do()
        except DeliveryError as error:
            if isinstance(error, UnknownKeyIdError):
                self._note_forged(call.sae)
            answer = failure(error, getattr(error, "allow", ""))
        except NotEnoughKey:
            message = f"{self.here.kme_id} has not enough keys now; try again later"
            answer = failure(DeliveryError(503, message))
        except KeySinkError as error:
            self._log_failure(error)
            message = f"{self.here.kme_id} cannot reach its keys; its log says why"
            answer = failure(DeliveryError(503, message))
        with self._lock:
            self._counts[f"{action} {answer.status}"] += 1
            self._counts["keys"] += answer.n_keys
        return answer

    def _log_failure(self, error: KeySinkError) -> None:
        """Say what to do, once in a while: every request meets the same trouble."""
        with self._lock:
            now_s = self._now_s()
            if now_s < self._quiet_until_s:
                return
            self._quiet_until_s = now_s + LOG_PAUSE_S
        _LOG.error(
            "%s: %s; no keys until this is mended: `scqc keys check SINK` says what is "
            "wrong with the sink",
            self.here.kme_id,
            error,
        )

    def _check_caller(self, sae: str) -> None:
        if sae not in self.here.saes:
            served = "another KME" if sae in self.there.saes else "no KME here"
            raise DeliveryError(401, f"SAE {sae[:64]!r} is served by {served}")
        with self._lock:
            forged = self._forged[sae]
        if forged >= self.settings.max_forged_ids:
            raise DeliveryError(
                401,
                f"SAE {sae!r} showed {forged} unknown key_IDs; ask the operator of "
                f"{self.here.kme_id}",
            )

    def _note_forged(self, sae: str) -> None:
        with self._lock:
            self._forged[sae] += 1
            found = self._forged[sae]
        if found == self.settings.max_forged_ids:
            _LOG.error(
                "SAE %s showed %d unknown key_IDs and is refused from now on; find "
                "out why, then start `scqc keys serve` again",
                sae,
                found,
            )

    def _route(self, call: Call) -> tuple[str, Callable[[], Answer]]:
        path, _, query = call.target.partition("?")
        if path == DESCRIPTION_PATH:
            _check_method(call, ("GET",))
            return "openapi", lambda: self._description
        if path.startswith(STREAMS_PATH):
            name = path.removeprefix(STREAMS_PATH)
            if name in _STREAM_CALLS:
                _check_method(call, ("POST",))
                return name, lambda: self._streams.answer(name, call.sae, call.body)
        parts = path.removeprefix(KEYS_PATH).split("/")
        if (
            not path.startswith(KEYS_PATH)
            or len(parts) != 2
            or parts[1] not in _METHODS
        ):
            raise DeliveryError(404, "no such path; see /openapi.json")
        other, action = _decoded(parts[0]), parts[1]
        _check_method(call, _METHODS[action])
        do = {
            "status": self._status,
            "enc_keys": self._enc_keys,
            "dec_keys": self._dec_keys,
        }[action]
        return action, lambda: do(call, other, query)

    def _status(self, call: Call, slave: str, query: str) -> Answer:
        """Get status (clause 5.1): what this master could get for that slave."""
        if query:
            raise refused("query", "status takes none")
        route = self._route_to(call.sae, slave)
        limits = self.settings
        stored = 8 * self.store.available_bytes() // limits.key_size_bits
        found: dict[str, Any] = {
            "source_KME_ID": route.source_kme,
            "target_KME_ID": route.target_kme,
            "master_SAE_ID": route.master_sae,
            "slave_SAE_ID": route.slave_sae,
            "key_size": limits.key_size_bits,
            "stored_key_count": min(stored, limits.max_key_count),
            "max_key_count": limits.max_key_count,
            "max_key_per_request": limits.max_keys_per_request,
            "max_key_size": limits.max_key_size_bits,
            "min_key_size": limits.min_key_size_bits,
            "max_SAE_ID_count": 0,
        }
        return as_answer(found)

    def _enc_keys(self, call: Call, slave: str, query: str) -> Answer:
        """Get key (clause 5.2): new keys for a master."""
        route = self._route_to(call.sae, slave)
        asked = self._asked(call, query)
        keys = self.store.allocate(asked.number, asked.size_bits // 8)
        names = [self._names.key_id(key.position, route) for key in keys]
        return key_container(names, [key.bits for key in keys])

    def _asked(self, call: Call, query: str) -> KeyRequest:
        if call.method == "GET":
            return key_request_of_query(read_query(query), self.settings)
        _check_no_query(query)
        return key_request_of_body(call.body, self.settings)

    def _dec_keys(self, call: Call, master: str, query: str) -> Answer:
        """Get key with key IDs (clause 5.3): the same keys for their slave."""
        if master not in self.there.saes:
            raise refused("master_SAE_ID", f"{master[:64]!r} is at no end across")
        if call.method == "GET":
            names = key_ids_of_query(read_query(query))
        else:
            _check_no_query(query)
            names = key_ids_of_body(call.body, self.settings)
        route = self._route_from(master, call.sae)
        places = [self._place(name, route) for name in names]
        try:
            keys = self.store.fetch(places)
        except UnknownKey as error:
            gone = [n for n, at in zip(names, places, strict=True) if at == error.place]
            details = [{"key_ID": name} for name in gone]
            message = "key_ID names no key that is still here; each is delivered once"
            raise DeliveryError(400, message, details) from error
        return key_container(names, [key.bits for key in keys])

    def _place(self, name: str, route: Route) -> KeyPosition:
        try:
            return self._names.key_position(name, route)
        except UnknownKeyIdError:
            if self._is_of_another(name):
                details = [{"key_ID": name}]
                message = f"key_ID is not for SAE {route.slave_sae!r} of that master"
                raise DeliveryError(401, message, details) from None
            raise

    def _is_of_another(self, name: str) -> bool:
        """Tell a key_ID of others from one that nobody was ever given."""
        for master in self.there.saes:
            for slave in self.here.saes:
                try:
                    self._names.key_position(name, self._route_from(master, slave))
                except UnknownKeyIdError:
                    continue
                return True
        return False

    def _route_to(self, master: str, slave: str) -> Route:
        if slave not in self.there.saes:
            raise refused("slave_SAE_ID", f"{slave[:64]!r} is at no end across")
        return Route(master, slave, self.here.kme_id, self.there.kme_id)

    def _route_from(self, master: str, slave: str) -> Route:
        return Route(master, slave, self.there.kme_id, self.here.kme_id)


class _WrongMethodError(DeliveryError):
    """A path was asked in a way it does not take."""

    def __init__(self, method: str, allow: tuple[str, ...]) -> None:
        super().__init__(405, f"{method[:16]}: this path takes {' and '.join(allow)}")
        self.allow = ", ".join(allow)


def _check_method(call: Call, allowed: tuple[str, ...]) -> None:
    if call.method not in allowed:
        raise _WrongMethodError(call.method, allowed)
    kind = call.content_type.partition(";")[0].strip().lower()
    if call.method == "POST" and kind != JSON_TYPE:
        raise DeliveryError(415, f"content type {kind[:64]!r}: wanted {JSON_TYPE}")


def _check_no_query(query: str) -> None:
    if query:
        raise refused("query", "a POST takes none")


def _decoded(segment: str) -> str:
    """Return a part of a path without its percent signs."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as cause:
        raise refused("SAE_ID", "is not UTF-8") from cause
