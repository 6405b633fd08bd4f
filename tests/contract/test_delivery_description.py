"""The OpenAPI description says what the KME does: bounds, fields, statuses."""

import json
from pathlib import Path

import delivery_kit as kit
import pytest
from delivery_kit import A1, B1

from protocols.delivery import openapi

DOCUMENT = Path(__file__).parents[2] / "docs/reference/key-delivery.openapi.json"
LIMITS = kit.settings()
TEXT = openapi.description(LIMITS)
SCHEMAS = TEXT["components"]["schemas"]
TYPES = {"object": dict, "array": list, "string": str, "integer": int}


def faults(value, schema, where="value"):
    """Yield what is wrong with a value by the few words of JSON schema we use."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if "type" not in schema:
        return
    if not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool):
        yield f"{where} is no {schema['type']}"
        return
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in set(schema.get("required", ())) - set(value):
            yield f"{where}.{name} is missing"
        for name, one in value.items():
            if name in known:
                yield from faults(one, known[name], f"{where}.{name}")
            elif schema.get("additionalProperties", True) is False:
                yield f"{where}.{name} is not described"
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{where} has {len(value)} items"
        for one in value:
            yield from faults(one, schema.get("items", {}), f"{where}[]")
    if isinstance(value, int):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        if not least <= value <= most or value % schema.get("multipleOf", 1):
            yield f"{where} is {value}"


def path_of(action):
    """Return the described path of an action, and one to ask for."""
    found = next(path for path in TEXT["paths"] if path.endswith(f"/{action}"))
    real = found.replace("{slave_SAE_ID}", B1).replace("{master_SAE_ID}", A1)
    return found, real


def test_the_copy_in_the_docs_is_this_one():
    assert json.loads(DOCUMENT.read_text()) == TEXT


def asked(ends, sae, method, action, body=None, query=""):
    """Ask, and check the answer against what is described for it."""
    described, real = path_of(action)
    status, found = ends.ask(sae, method, real + query, body)
    operation = TEXT["paths"][described][method.lower()]
    assert str(status) in operation["responses"], (action, status)
    content = operation["responses"][str(status)]["content"]["application/json"]
    assert list(faults(found, content["schema"])) == []
    return status, found


def test_answers_are_as_described():
    ends = kit.fake_ends(1 << 14)
    assert asked(ends, A1, "GET", "status")[0] == 200
    _, sent = asked(ends, A1, "POST", "enc_keys", {})
    name = sent["keys"][0]["key_ID"]
    ids = {"key_IDs": [{"key_ID": name}]}
    assert asked(ends, B1, "POST", "dec_keys", ids)[0] == 200
    assert asked(ends, B1, "POST", "dec_keys", ids)[0] == 400
    assert asked(ends, "sae-b2", "GET", "dec_keys", query=f"?key_ID={name}")[0] == 401
    _, there = asked(
        ends, A1, "POST", "open_connect", {"source": A1, "destination": B1}
    )
    named = {"key_stream_id": there["key_stream_id"]}
    assert asked(ends, A1, "POST", "get_key", named)[1]["status"] == 0
    assert asked(ends, B1, "POST", "get_key", named)[1]["status"] == 3
    assert asked(ends, A1, "POST", "close", named)[1]["status"] == 0
    assert asked(ends, A1, "GET", "openapi.json")[1] == TEXT
    ends.alice.store.at = 1 << 14
    assert asked(ends, A1, "GET", "enc_keys")[0] == 503
    assert asked(ends, A1, "POST", "enc_keys", b"[")[0] == 400


EDGES = [
    ("number", -1),
    ("number", 0),
    ("number", 1),
    ("number", LIMITS.max_keys_per_request),
    ("number", LIMITS.max_keys_per_request + 1),
    ("number", "1"),
    ("size", LIMITS.min_key_size_bits - 8),
    ("size", LIMITS.min_key_size_bits),
    ("size", LIMITS.min_key_size_bits + 1),
    ("size", LIMITS.max_key_size_bits),
    ("size", LIMITS.max_key_size_bits + 8),
    ("additional_slave_SAE_IDs", []),
    ("additional_slave_SAE_IDs", ["sae-b2"]),
    ("extension_mandatory", [{}]),
    ("extension_optional", [{"x": 1}]),
    ("extension_optional", {}),
    ("something", 1),
]


@pytest.mark.parametrize(("name", "value"), EDGES)
def test_what_is_described_as_good_is_taken_and_nothing_else(name, value):
    body = {name: value}
    good = not list(faults(body, SCHEMAS["KeyRequest"]))
    status, _ = asked(kit.fake_ends(1 << 18), A1, "POST", "enc_keys", body)
    assert status == (200 if good else 400)


def test_the_description_has_no_dangling_reference():
    def walk(value):
        if isinstance(value, dict):
            if "$ref" in value:
                assert value["$ref"].rpartition("/")[2] in SCHEMAS
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(TEXT)
