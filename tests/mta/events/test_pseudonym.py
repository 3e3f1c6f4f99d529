"""Identities join what belongs together, follow nobody, and can be computed again."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from mta.events.errors import SettingsError
from mta.events.event import Event, EventType
from mta.events.pseudonym import Keyring, event_id
from mta.events.reply import SmtpReply

RING = Keyring(b"i" * 32, {1: b"a" * 32, 2: b"b" * 32})
EVENT = Event(
    type=EventType.DEFERRAL,
    time=1_780_000_000_123_456,
    node="n",
    mta="kumomta",
    queue_id="q",
    recipient="ada@example.com",
    attempt=1,
    reply=SmtpReply(421),
)


def identity(event: Event) -> bytes:
    return event_id(RING.unit_id(event.node, event.queue_id, event.recipient), event)


def test_the_same_fact_has_the_same_id_however_its_recipient_was_spelt() -> None:
    assert identity(EVENT) == identity(replace(EVENT, recipient="<ADA@Example.COM.>", peer_host="mx.example.com"))


@pytest.mark.parametrize(
    "change",
    [
        {"time": EVENT.time + 1},
        {"attempt": 2},
        {"ordinal": 1},
        {"type": EventType.BOUNCE},
        {"reply": SmtpReply(450)},
        {"recipient": "bob@example.com"},
        {"queue_id": "r"},
        {"node": "m"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_fact_has_another_id(change: dict[str, object]) -> None:
    assert identity(EVENT) != identity(replace(EVENT, **change))


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert RING.message_key("ab", "c") != RING.message_key("a", "bc")


def test_a_rotated_recipient_key_changes_who_is_followed_and_breaks_no_join() -> None:
    rotated = Keyring(RING.identity, {**RING.recipient_keys, 3: b"c" * 32})
    assert rotated.recipient_hash("ada@example.com") != RING.recipient_hash("ada@example.com")
    assert rotated.recipient_hash("ada@example.com", epoch=2) == RING.recipient_hash("ada@example.com")
    assert rotated.unit_id("n", "q", "ada@example.com") == RING.unit_id("n", "q", "ada@example.com")


def test_another_installation_has_other_pseudonyms() -> None:
    other = Keyring(b"j" * 32, RING.recipient_keys)
    assert other.unit_id("n", "q", "ada@example.com") != RING.unit_id("n", "q", "ada@example.com")


def test_sql_computes_the_same_ids_from_stored_columns() -> None:
    unit = RING.unit_id("n", "q", "ada@example.com")
    [(computed,)] = duckdb.execute(
        "SELECT substr(sha256(concat_ws('|', ?::UBIGINT, 'deferral', ?::BIGINT, 1, 421, 0)), 1, 32)", [unit, EVENT.time]
    ).fetchall()
    assert computed == event_id(unit, EVENT).hex()


def test_sql_computes_the_same_pseudonyms() -> None:
    address = "ada@example.com"
    [(computed,)] = duckdb.execute(
        "SELECT ('0x' || substr(sha256(?::BLOB || '\\x03'::BLOB || encode(?)), 1, 16))::UBIGINT",
        [RING.recipient_keys[2], f"{len(address)}:{address}"],
    ).fetchall()
    assert computed == RING.recipient_hash(address)


@pytest.mark.parametrize("ring", [(b"short", {1: b"a" * 32}), (b"i" * 32, {1: b"short"}), (b"i" * 32, {})])
def test_a_keyring_without_proper_keys_is_refused(ring: tuple[bytes, dict[int, bytes]]) -> None:
    with pytest.raises(SettingsError, match="key"):
        Keyring(*ring)
