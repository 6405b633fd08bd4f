"""The OpenAPI description of the interface, made from the settings."""

from __future__ import annotations

from typing import Any

from protocols.delivery.settings import DeliverySettings

Json = dict[str, Any]
_UUID = {"type": "string", "format": "uuid"}
_NAME = {"type": "string", "minLength": 1}


def description(settings: DeliverySettings) -> Json:
    """Return the description of a KME with these limits."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "scqc key delivery",
            "description": "ETSI GS QKD 014 V1.1.1, and ETSI GS QKD 004 as JSON. "
            "Every call needs a client certificate whose common name is the SAE.",
            "version": "1.1.1",
        },
        "paths": {
            "/api/v1/keys/{slave_SAE_ID}/status": {"get": _status()},
            "/api/v1/keys/{slave_SAE_ID}/enc_keys": _enc_keys(settings),
            "/api/v1/keys/{master_SAE_ID}/dec_keys": _dec_keys(settings),
            "/api/004/v1/open_connect": {"post": _stream("OpenConnect", "Opened")},
            "/api/004/v1/get_key": {"post": _stream("GetKey", "Chunk")},
            "/api/004/v1/close": {"post": _stream("Close", "Closed")},
            "/openapi.json": {"get": _operation("this description", "AnyObject")},
        },
        "components": {"schemas": _schemas(settings)},
    }


def _status() -> Json:
    found = _operation("Get status", "Status")
    return {**found, "parameters": [_sae("slave_SAE_ID")]}


def _enc_keys(settings: DeliverySettings) -> Json:
    request = _schemas(settings)["KeyRequest"]["properties"]
    query = [_query(name, request[name]) for name in ("number", "size")]
    parameters = [_sae("slave_SAE_ID")]
    get = _operation("Get key", "KeyContainer")
    post = _operation("Get key", "KeyContainer", "KeyRequest")
    return {
        "get": {**get, "parameters": parameters + query},
        "post": {**post, "parameters": parameters},
    }


def _dec_keys(settings: DeliverySettings) -> Json:
    parameters = [_sae("master_SAE_ID")]
    query = {**_query("key_ID", _UUID), "required": True}
    get = _operation("Get key with key IDs", "KeyContainer")
    post = _operation("Get key with key IDs", "KeyContainer", "KeyIDs")
    return {
        "get": {**get, "parameters": [*parameters, query]},
        "post": {**post, "parameters": parameters},
    }


def _stream(request: str, answer: str) -> Json:
    return _operation("ETSI GS QKD 004", answer, request)


def _operation(summary: str, answer: str, request: str = "") -> Json:
    errors = {
        "400": "malformed, or out of bounds",
        "401": "not for this SAE",
        "503": "not enough keys, or none can be reached",
    }
    if request:
        errors |= {"413": "the body is too long", "415": "the body is no JSON"}
    found: Json = {
        "summary": summary,
        "responses": {
            "200": _content("done", answer),
            **{code: _content(text, "Error") for code, text in errors.items()},
        },
    }
    if request:
        found["requestBody"] = {**_content("", request), "required": True}
        del found["requestBody"]["description"]
    return found


def _content(text: str, schema: str) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "description": text,
        "content": {"application/json": {"schema": reference}},
    }


def _sae(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": _NAME}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _object(properties: Json, required: tuple[str, ...] = ()) -> Json:
    found: Json = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**found, "required": list(required)} if required else found


def _whole(least: int, most: int, **more: Any) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most, **more}


def _schemas(settings: DeliverySettings) -> Json:
    return {**_key_schemas(settings), **_stream_schemas()}


def _key_schemas(settings: DeliverySettings) -> Json:
    most = settings.max_keys_per_request
    names = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
    numbers = (
        *("key_size", "stored_key_count", "max_key_count", "max_key_per_request"),
        *("max_key_size", "min_key_size", "max_SAE_ID_count"),
    )
    status = {name: _NAME for name in names}
    status |= {name: {"type": "integer", "minimum": 0} for name in numbers}
    size = _whole(settings.min_key_size_bits, settings.max_key_size_bits, multipleOf=8)
    request: Json = {
        "number": _whole(1, most, default=1),
        "size": {**size, "default": settings.key_size_bits},
        "additional_slave_SAE_IDs": _empty({"type": "string"}),
        "extension_mandatory": _empty({"type": "object"}),
        "extension_optional": {"type": "array", "items": {"type": "object"}},
    }
    asked = _object({"key_ID": _UUID, "key_ID_extension": {}}, ("key_ID",))
    ids = {
        "type": "array",
        "items": asked,
        "minItems": 1,
        "maxItems": most,
        "uniqueItems": True,
    }
    key = _object({"key_ID": _UUID, "key": {"type": "string"}}, ("key_ID", "key"))
    details = {"type": "array", "items": {"type": "object"}}
    return {
        "AnyObject": {"type": "object"},
        "Status": _object(status, (*names, *numbers)),
        "KeyRequest": _object(request),
        "KeyIDs": _object({"key_IDs": ids, "key_IDs_extension": {}}, ("key_IDs",)),
        "KeyContainer": _object({"keys": {"type": "array", "items": key}}, ("keys",)),
        "Error": _object(
            {"message": {"type": "string"}, "details": details}, ("message",)
        ),
    }


def _empty(items: Json) -> Json:
    return {"type": "array", "items": items, "maxItems": 0}


def _stream_schemas() -> Json:
    numbers = ("Key_chunk_size", "Max_bps", "Min_bps", "Jitter", "Priority")
    whole = {"type": "integer", "format": "int64"}
    qos: Json = {name: whole for name in (*numbers, "Timeout", "TTL")}
    qos["Metadata_mimetype"] = {"type": "string"}
    status = _whole(0, 8)
    text = {"type": "string"}
    opening = {"source": text, "destination": text, "key_stream_id": text}
    asked = {"key_stream_id": text, "index": whole, "metadata_size": whole}
    chunk = {"status": status, "index": whole, "key_buffer": text}
    chunk |= {"metadata_size": whole, "metadata_buffer": text}
    name = {"qos": {"$ref": "#/components/schemas/Qos"}}
    return {
        "Qos": _object(qos),
        "OpenConnect": _object({**opening, **name}, ("source", "destination")),
        "Opened": _object({"status": status, "key_stream_id": text, **name}),
        "GetKey": _object(asked, ("key_stream_id",)),
        "Chunk": _object(chunk, ("status",)),
        "Close": _object({"key_stream_id": text}, ("key_stream_id",)),
        "Closed": _object({"status": status}, ("status",)),
    }
