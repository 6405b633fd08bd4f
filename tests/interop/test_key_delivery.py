"""Key delivery, asked by a public client and fuzzed from its own description."""

import base64
import json
import time
import uuid

import delivery_kit as kit
import pytest
import requests
import schemathesis
from delivery_kit import A1, B1, B2
from etsi_qkd_014_client import QKD014Client
from hypothesis import HealthCheck, settings
from schemathesis import checks

from protocols.delivery import openapi
from protocols.delivery.service import KeyDelivery
from protocols.key_sink import KeySink
from scqc.runs.delivery.certificates import init_certificates
from scqc.runs.delivery.process import open_store

# Small keys, so that the sink outlasts the fuzzing.
MORE = {
    "max_forged_ids": 1_000_000,
    "max_key_size_bits": 1024,
    "max_keys_per_request": 16,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("certificates")
    init_certificates(found, ["kme-a", "kme-b"], [A1, "sae-a2", B1, B2, "stranger"])
    kit.fill(found, 1 << 20)
    return found


@pytest.fixture(scope="module")
def served(folder):
    found = kit.certified(folder, **MORE)
    with (
        KeySink(folder / "alice.sqlite") as alice,
        KeySink(folder / "bob.sqlite") as bob,
        open_store(alice, found, "alice") as first,
        open_store(bob, found, "bob") as second,
    ):
        ends = [
            KeyDelivery(found, "alice", first, time.monotonic),
            KeyDelivery(found, "bob", second, time.monotonic),
        ]
        with kit.serving(*ends) as servers:
            yield [f"localhost:{server.address[1]}" for server in servers]


def client(host, folder, sae):
    files = (folder / f"{sae}.pem", folder / f"{sae}.key", folder / "authority.pem")
    return QKD014Client(host, *map(str, files))


def test_the_public_clients_full_flow(served, folder):
    master = client(served[0], folder, A1)
    slave = client(served[1], folder, B1)
    code, status = master.get_status(B1)
    assert code == 200
    assert (status.source_kme_id, status.target_kme_id) == ("kme-a", "kme-b")
    assert (status.master_sae_id, status.slave_sae_id) == (A1, B1)
    assert status.max_sae_id_count == 0
    code, plain = master.get_key(B1)
    assert code == 200
    code, sent = master.get_key(B1, number=5, size=512)
    assert code == 200
    names = [key.key_id for key in sent.keys]
    code, found = slave.get_key_with_key_IDs(A1, names)
    assert code == 200
    assert [(k.key_id, k.key) for k in found.keys] == [
        (k.key_id, k.key) for k in sent.keys
    ]
    assert [len(base64.b64decode(key.key)) for key in found.keys] == [64] * 5
    code, again = slave.get_key_with_key_IDs(A1, names)
    assert code == 400
    assert "once" in again.message
    assert slave.get_key_with_key_IDs(A1, [plain.keys[0].key_id])[0] == 200


def test_the_public_client_reads_our_errors(served, folder):
    master = client(served[0], folder, A1)
    thief = client(served[1], folder, B2)
    _, sent = master.get_key(B1)
    code, error = thief.get_key_with_key_IDs(A1, [sent.keys[0].key_id])
    assert code == 401
    assert error.details == [{"key_ID": sent.keys[0].key_id}]
    assert master.get_key(B1, size=13)[0] == 400
    assert master.get_key(B1, number=1000)[0] == 400
    assert master.get_key("nobody")[0] == 400
    assert master.get_key(B1, additional_slave_sae_ids=[B2])[0] == 400
    assert master.get_key(B1, extension_mandatory=[{"x": 1}])[0] == 400
    assert master.get_key(B1, extension_optional=[{"x": 1}])[0] == 200
    assert client(served[0], folder, "stranger").get_status(B1)[0] == 401
    assert thief.get_key_with_key_IDs(A1, [str(uuid.uuid4())])[0] == 400


SCHEMA = schemathesis.openapi.from_dict(
    json.loads(json.dumps(openapi.description(kit.settings(**MORE))))
)
# What a request must be is not all that makes it good: a SAE must be known, and a
# key_ID made.
UNKNOWN_NAMES = [checks.positive_data_acceptance]
FUZZING = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def call(served, folder):
    how = {
        "base_url": f"https://{served[0]}",
        "cert": (str(folder / f"{A1}.pem"), str(folder / f"{A1}.key")),
        "verify": str(folder / "authority.pem"),
    }
    with requests.Session() as session:
        yield lambda case: case.call(session=session, **how)


@SCHEMA.parametrize()
@FUZZING
def test_schemathesis_finds_no_answer_that_is_not_described(case, call):
    case.validate_response(call(case), excluded_checks=UNKNOWN_NAMES)


@SCHEMA.include(path_regex="status|enc_keys").parametrize()
@FUZZING
def test_schemathesis_finds_no_good_request_refused(case, call):
    """With a SAE that is there, what fits the description is answered with keys."""
    case.path_parameters["slave_SAE_ID"] = B1
    answer = call(case)
    case.validate_response(answer)
    if case.meta is not None and case.meta.generation.mode.is_positive:
        assert answer.status_code == 200, answer.text
