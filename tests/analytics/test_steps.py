"""Step counts: every outcome once, in its 5 minutes, for the provider, its tenants and its pools."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from analytics import steps
from analytics.store import Store
from mta.events.event import Event, EventType, Origin
from mta.events.instants import DAY, MINUTE
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000 // steps.STEP * steps.STEP
OK, BLOCKED, LATER = SmtpReply(250, None, "OK"), SmtpReply(554, None, "listed"), SmtpReply(421, None, "later")


def event(number: int, type: EventType = EventType.DELIVERY, **more: object) -> Event:  # noqa: A002
    reply = {EventType.BOUNCE: BLOCKED, EventType.DEFERRAL: LATER}.get(type, OK)
    base = Event(
        type=type, time=START + number * MINUTE, node="n", mta="kumomta", queue_id=f"{number:032x}",
        recipient=f"u{number}@gmail.com", created=START, attempt=1, reply=reply, tenant="acme", pool="warm",
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def load(store: Store, *events: Event) -> None:
    store.load(Batch("test", [(one,) for one in events]))


def counts(store: Store) -> dict[tuple[int, str, str], steps.StepCount]:
    return {
        ((one.step - START) // steps.STEP, one.dimension, one.value): one
        for one in steps.read(store.cursor(), START - DAY, START + DAY)
    }


def test_outcomes_count_once_for_the_provider_its_tenant_and_its_pool(store: Store) -> None:
    load(store, event(0), event(1, EventType.BOUNCE), event(2, EventType.DEFERRAL), event(6, tenant=None))
    found = counts(store)
    assert set(found) == {
        (0, "", ""), (0, "tenant", "acme"), (0, "pool", "warm"), (1, "", ""), (1, "pool", "warm"),
    }  # fmt: skip
    for key in ((0, "", ""), (0, "tenant", "acme"), (0, "pool", "warm")):
        one = found[key]
        assert (one.ended, one.failed, one.blocked, one.answered, one.deferred) == (2, 1, 1, 3, 1)


def test_a_replayed_record_counts_nothing(store: Store) -> None:
    load(store, event(0), event(1))
    load(store, event(1), event(0), event(2))
    assert counts(store)[0, "", ""].ended == 3


def test_mail_inside_the_house_and_our_own_troubles_are_no_answers_of_a_provider(store: Store) -> None:
    load(store, event(0, EventType.DEFERRAL, origin=Origin.LOCAL))
    assert counts(store) == {}


def test_a_complaint_counts_where_the_mail_that_it_is_about_counts(store: Store) -> None:
    complaint = event(
        7, EventType.COMPLAINT, recipient="u0@gmail.com", tenant=None, pool=None, original_message_id="<m@x>"
    )
    load(store, event(0, message_id="<m@x>"), complaint)
    assert counts(store)[1, "tenant", "acme"].complained == 1
    assert counts(store)[1, "", ""].complained == 1


def test_adding_rows_up_changes_no_count_and_drops_what_is_too_old(store: Store) -> None:
    old = event(1, time=START - steps.KEPT - DAY, created=START - steps.KEPT - DAY)
    load(store, event(0), old)
    load(store, event(1))
    before = counts(store)
    with store.writing() as con:
        steps.tidy(con, START - DAY, START + DAY)
    assert counts(store) == before
    rows = Counter(row[0] for row in store.query("SELECT dimension FROM step_count"))
    assert rows == {"": 1, "tenant": 1, "pool": 1}


def test_a_store_of_an_earlier_version_is_counted_from_its_events(store: Store) -> None:
    load(store, event(0), event(1, EventType.BOUNCE))
    before = counts(store)
    with store.writing() as con:
        con.execute("DELETE FROM step_count")
        steps.fill(con)
    assert counts(store) == before


@pytest.mark.parametrize("measure", steps.MEASURES)
def test_every_measure_is_a_column(store: Store, measure: str) -> None:
    assert store.query(f"SELECT {measure} FROM step_count") == []
