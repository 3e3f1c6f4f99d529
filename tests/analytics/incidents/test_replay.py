"""Incidents in the store: one for one trouble, with who carries it and what it was told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analytics.incidents.replay import replay
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.instants import DAY, HOUR, MINUTE
from mta.events.intake import Batch
from mta.events.reply import EnhancedStatus, SmtpReply

START = 1_780_000_000_000_000 // (5 * MINUTE) * (5 * MINUTE)
SPIKE = START + DAY
DELIVERED, REFUSED = SmtpReply(250, None, "OK"), SmtpReply(554, EnhancedStatus(5, 7, 1), "listed by example.org")
PUT_OFF = SmtpReply(421, EnhancedStatus(4, 7, 28), "unusual rate")


def outcome(number: int, at: int, tenant: str, domain: str, *, refused: bool) -> Event:
    return Event(
        type=EventType.BOUNCE if refused else EventType.DELIVERY,
        time=at,
        created=at - MINUTE,
        node="n",
        mta="kumomta",
        queue_id=f"q{number}",
        recipient=f"user{number}@{domain}",
        sender=f"news@{tenant}.example",
        tenant=tenant,
        pool="warm",
        source="ip1",
        attempt=1,
        reply=REFUSED if refused else DELIVERED,
        peer_host="mx.example",
    )


def history(troubled: tuple[str, ...], hours: int = 27) -> list[Event]:
    """A mail a second or so to gmail from two tenants; from `SPIKE` for an hour, mail of `troubled` is refused."""
    events = []
    for step in range(hours * 12):
        at = START + step * 5 * MINUTE
        for place in range(20):
            tenant = "acme" if place % 4 == 0 else "zeta"
            trouble = tenant in troubled and SPIKE <= at < SPIKE + HOUR
            refused = trouble or (step * 20 + place) % 97 == 0
            events.append(outcome(len(events), at + place * 10_000_000, tenant, "gmail.com", refused=refused))
    return events


@pytest.fixture
def told(store: Store, clock):
    def told(*troubled: str, hours: int = 27):
        clock.now = START + hours * HOUR
        store.load(Batch("test", [(event,) for event in history(troubled, hours)]))
        return replay(store, since=START)

    return told


def test_a_tenant_in_trouble_is_one_incident_with_the_tenant_named(told):
    (found,) = told("acme")
    assert (found.kind, found.provider) == ("bounce_spike", "gmail")
    assert found.began == SPIKE
    assert SPIKE < found.opened <= SPIKE + 15 * MINUTE
    assert found.closed is not None
    assert found.closed <= SPIKE + 2 * HOUR
    assert (found.causes[0].dimension, found.causes[0].value) == ("tenant", "acme")
    assert found.causes[0].share > 0.9
    assert "listed by" in found.replies[0].text


def test_trouble_of_all_is_one_incident_of_the_provider_without_culprit(told):
    (found,) = told("acme", "zeta")
    assert found.scope == {}
    assert [(cause.dimension, cause.value) for cause in found.causes] == [("provider", "gmail")]


def test_quiet_mail_has_no_incidents(told):
    assert told() == []


def test_what_lasts_is_open(told):
    (found,) = told("acme", hours=25)
    assert found.closed is None


def test_deferrals_are_an_incident_of_their_own_kind(store, clock):
    clock.now = START + 27 * HOUR
    events = [
        replace(event, type=EventType.DEFERRAL, reply=PUT_OFF) if event.type is EventType.BOUNCE else event
        for event in history(("acme", "zeta"))
    ]
    store.load(Batch("test", [(event,) for event in events]))
    (found,) = replay(store, since=START)
    assert (found.kind, found.provider) == ("deferral_surge", "gmail")


def test_the_past_is_judged_as_it_was_then(told, store):
    (found,) = told("acme")
    (then,) = replay(store, since=START, until=SPIKE + 30 * MINUTE)
    assert then.closed is None
    assert (then.id, then.opened) == (found.id, found.opened)
    assert replay(store, since=found.closed + 1) == []
