"""key_IDs: both ends find the same bits, and nobody else's."""

import dataclasses
import uuid

import delivery_kit as kit
import pytest

from protocols.delivery import identifiers
from protocols.delivery.identifiers import (
    Identifiers,
    Route,
    StreamPosition,
    UnknownKeyIdError,
    well_formed,
)
from protocols.key_sink.export import KeyPosition
from scqc.core.errors import DeliveryError

ROUTE = Route("sae-a", "sae-b", "kme-a", "kme-b")
CORNERS = [
    KeyPosition(tag, first, size)
    for tag in (0, 0x12_3456_789A, (1 << 40) - 1)
    for first in (0, 1, (1 << 24) - 1)
    for size in (1, 32, 8192)
]


@pytest.mark.parametrize("position", CORNERS, ids=str)
def test_the_other_end_finds_the_position(position):
    here, there = Identifiers(kit.SECRET), Identifiers(kit.SECRET)
    name = here.key_id(position, ROUTE)
    assert there.key_position(name, ROUTE) == position
    assert there.key_position(name.upper(), ROUTE) == position
    parsed = uuid.UUID(name)
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)


@pytest.mark.parametrize("power", range(16))
def test_the_other_end_finds_the_chunks(power):
    names = Identifiers(kit.SECRET)
    for chunk in (1, 24, 8192):
        place = StreamPosition(KeyPosition(5, 9, chunk << power), chunk)
        found = names.stream_position(names.stream_id(place, ROUTE), ROUTE)
        assert found == place
        assert found.n_chunks == 1 << power


@pytest.mark.parametrize("bit", range(128))
def test_no_bit_can_be_changed(bit):
    """A change gets through once in 2**45, if it changes what the check covers."""
    names = Identifiers(kit.SECRET)
    name = names.key_id(KeyPosition(3, 1000, 32), ROUTE)
    changed = str(uuid.UUID(int=uuid.UUID(name).int ^ 1 << bit))
    with pytest.raises(UnknownKeyIdError):
        names.key_position(changed, ROUTE)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Route)])
def test_every_name_of_the_route_is_bound(field):
    names = Identifiers(kit.SECRET)
    name = names.key_id(KeyPosition(3, 1000, 32), ROUTE)
    other = dataclasses.replace(ROUTE, **{field: "someone-else"})
    with pytest.raises(UnknownKeyIdError):
        names.key_position(name, other)


def test_names_cannot_be_cut_differently():
    assert Route("ab", "c", "d", "e").encoded() != Route("a", "bc", "d", "e").encoded()


def test_another_secret_and_another_kind_are_refused():
    names, others = Identifiers(kit.SECRET), Identifiers(bytes(32))
    name = names.key_id(KeyPosition(3, 0, 32), ROUTE)
    with pytest.raises(UnknownKeyIdError):
        others.key_position(name, ROUTE)
    with pytest.raises(UnknownKeyIdError):
        names.stream_position(name, ROUTE)


def test_without_the_check_the_binding_is_gone(monkeypatch):
    """What the tests above would let through if nothing were checked."""
    monkeypatch.setattr(Identifiers, "_check", lambda *_: 0)
    names = Identifiers(kit.SECRET)
    name = names.key_id(KeyPosition(3, 1000, 32), ROUTE)
    other = dataclasses.replace(ROUTE, slave_sae="someone-else")
    assert names.key_position(name, other) == KeyPosition(3, 1000, 32)


@pytest.mark.parametrize(
    "position",
    [
        KeyPosition(1 << 40, 0, 32),
        KeyPosition(-1, 0, 32),
        KeyPosition(0, 1 << 24, 32),
        KeyPosition(0, 0, 8193),
        KeyPosition(0, 0, 0),
    ],
    ids=str,
)
def test_a_position_that_does_not_fit_is_refused(position):
    with pytest.raises(DeliveryError, match="bits"):
        Identifiers(kit.SECRET).key_id(position, ROUTE)


def test_a_number_of_chunks_that_cannot_be_named_is_refused():
    for count in (3, 1 << 16):
        place = StreamPosition(KeyPosition(0, 0, 8 * count), 8)
        with pytest.raises(DeliveryError, match="chunks"):
            Identifiers(kit.SECRET).stream_id(place, ROUTE)


# A fixed name: tests that run side by side must be the same tests.
NAME = str(uuid.UUID(int=0x8D1F))


@pytest.mark.parametrize("text", ["", "x", "{" + NAME + "}", "0" * 32, NAME + " "])
def test_only_the_standards_spelling_is_well_formed(text):
    assert not well_formed(text)
    with pytest.raises(UnknownKeyIdError):
        Identifiers(kit.SECRET).key_position(text, ROUTE)


def test_the_widths_fill_a_uuid_of_version_8():
    """122 bits are free (RFC 9562, section 5.8); the docs promise 45 and 41."""
    assert identifiers.KEY_CHECK_WIDTH == 45
    assert identifiers.STREAM_CHECK_WIDTH == 41


def test_the_secret_is_neither_short_nor_shown():
    with pytest.raises(DeliveryError, match="16"):
        Identifiers(b"short")
    assert kit.SECRET.hex() not in repr(Identifiers(kit.SECRET))
