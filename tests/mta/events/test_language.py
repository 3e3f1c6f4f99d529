"""Small promises of the shared nouns: instants, events, receipts, metrics, errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.errors import LimitExceeded, MtascopeError, ParseError
from mta.events.event import KUMOMTA_TYPES, Event, EventType
from mta.events.instants import format_instant, from_datetime, parse_instant
from mta.events.intake import Batch, Quarantined, Receipt
from mta.events.metric import Metric


@given(st.integers(0, 4_000_000_000_000_000))
def test_an_instant_survives_being_written(instant: int) -> None:
    assert parse_instant(format_instant(instant)) == instant


def test_instants_have_six_digits_and_no_other_zone_than_utc() -> None:
    assert format_instant(0) == "1970-01-01T00:00:00.000000Z"
    assert parse_instant("2026-01-01T02:00:00.123456789+02:00") == parse_instant("2026-01-01T00:00:00.123456Z")


def test_a_time_without_a_zone_is_no_instant() -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse_instant("2026-01-01T00:00:00")
    with pytest.raises(ValueError, match="time zone"):
        from_datetime(datetime.now(UTC).replace(tzinfo=None))


def test_every_kumomta_type_has_a_name_of_ours_and_all_ours_are_used() -> None:
    assert len(KUMOMTA_TYPES) == 14
    assert set(KUMOMTA_TYPES.values()) == set(EventType)


@pytest.mark.parametrize("kind", list(EventType))
def test_an_attempt_that_ends_the_journey_is_terminal(kind: EventType) -> None:
    assert not (kind.is_attempt and kind.is_failure and kind.is_terminal) or kind is EventType.BOUNCE


def test_an_event_knows_domain_and_delay() -> None:
    event = Event(
        type=EventType.DELIVERY, time=10, created=4, node="n", mta="m", queue_id="q", recipient='"a@b"@example.com'
    )
    assert (event.recipient_domain, event.delay) == ("example.com", 6)


def test_a_batch_accounts_for_every_record_it_was_made_of() -> None:
    refused = Quarantined("s", 0, "malformed", "no", b"x", 1)
    assert Batch("tail", [(), ()], [refused], {"internal": 4}).received == 7


def test_receipts_add_up_and_say_when_they_do_not() -> None:
    both = Receipt(received=3, stored=2, quarantined=1) + Receipt(received=2, duplicates=1, ignored=1)
    assert both == Receipt(received=5, stored=2, duplicates=1, quarantined=1, ignored=1)
    assert both.adds_up
    assert not Receipt(received=1).adds_up


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "mtascope_things", "type": "counter"},
        {"name": "mtascope_things_total", "type": "gauge"},
        {"name": "mtascope_lag_ms", "type": "gauge", "unit": "ms"},
        {"name": "mtascope_lag", "type": "gauge", "unit": "seconds"},
        {"name": "mtascope_lag_seconds", "type": "histogram", "unit": "seconds"},
        {"name": "Mtascope", "type": "gauge"},
        {"name": "mtascope_things", "type": "gauge", "help": "no sentence"},
    ],
)
def test_a_metric_that_breaks_the_naming_rules_cannot_be_declared(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"mtascope|Mtascope"):
        Metric(**{"help": "A sentence.", **wrong})  # type: ignore[arg-type]


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = ParseError("is no JSON", where="log:17", remedy="look at the line")
    assert str(error) == "log:17: is no JSON (look at the line)"
    assert isinstance(LimitExceeded("too long"), MtascopeError)
    assert LimitExceeded("too long").reason == "limit"
