"""Trace, latency and queues: what happened to this mail, how long does it take, what waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analytics import counters
from analytics.latency import latencies
from analytics.queues import waiting
from analytics.rates import Question
from analytics.reasons import top_reasons
from analytics.store import Store
from analytics.trace import trace
from mta.events.event import Event, EventType
from mta.events.instants import MINUTE, SECOND
from mta.events.intake import Batch
from mta.events.reply import EnhancedStatus, SmtpReply

START = 1_780_000_000_000_000


def reception(number: int, domain: str = "gmail.com", at: int = START) -> Event:
    return Event(
        type=EventType.RECEPTION,
        time=at,
        created=at,
        node="n",
        mta="kumomta",
        queue_id=f"q{number}",
        recipient=f"user{number}@{domain}",
        message_id=f"{number}@news.example",
    )


def ended(event: Event, kind: EventType, after: int, attempt: int = 1, text: str = "said") -> Event:
    reply = {
        EventType.DELIVERY: SmtpReply(250, None, text),
        EventType.DEFERRAL: SmtpReply(421, EnhancedStatus(4, 7, 0), text),
        EventType.BOUNCE: SmtpReply(550, EnhancedStatus(5, 1, 1), text),
    }[kind]
    return replace(event, type=kind, time=event.time + after, attempt=attempt, reply=reply, peer_host="mx.example")


def load(store: Store, *events: Event) -> None:
    store.load(Batch("test", [(event,) for event in events]))


@pytest.fixture
def told(store: Store) -> Store:
    """One mail that was deferred, delivered, and complained about; and one that is another's."""
    mail = reception(1)
    report = Event(
        type=EventType.COMPLAINT,
        time=mail.time + 10 * MINUTE,
        node="n",
        mta="kumomta",
        queue_id="report",
        recipient="fbl@news.example",
        original_recipient=mail.recipient,
        original_message_id=mail.message_id,
    )
    load(
        store,
        mail,
        ended(mail, EventType.DEFERRAL, SECOND, text="Greylisted for 300 s, user1@gmail.com from 192.0.2.7"),
        ended(mail, EventType.DELIVERY, 5 * MINUTE, attempt=2),
        report,
        reception(2),
    )
    return store


@pytest.mark.parametrize(
    "identifier", ["1@news.example", "<1@news.example>", "q1", "user1@gmail.com", "USER1@Gmail.com"]
)
def test_a_message_is_found_by_message_id_queue_id_or_recipient(told: Store, identifier: str) -> None:
    [found] = trace(told, identifier)
    assert [event.type for event in found.events] == ["reception", "deferral", "delivery", "complaint"]
    assert (found.outcome, found.complained, found.provider) == ("delivered", True, "gmail")
    assert found.queue_ids == ("q1", "report")


def test_the_reply_is_told_as_it_was_with_addresses_masked(told: Store) -> None:
    [found] = trace(told, "q1")
    assert found.events[1].text == "Greylisted for 300 s, *@gmail.com from 192.0.2.7"


def test_an_address_is_told_only_to_those_who_named_it(told: Store) -> None:
    assert trace(told, "q1")[0].recipient == "*@gmail.com"
    assert trace(told, "user1@gmail.com")[0].recipient == "user1@gmail.com"


def test_nothing_is_known_of_an_unknown_message(told: Store) -> None:
    assert trace(told, "nobody@gmail.com") == trace(told, "' OR 1=1 --") == []


def test_facts_of_the_whole_message_belong_to_the_trace(store: Store) -> None:
    whole = replace(reception(1), recipient="", mta="postfix")
    load(store, whole, ended(replace(reception(1), message_id=None, mta="postfix"), EventType.DELIVERY, SECOND))
    [found] = trace(store, "1@news.example")
    assert [event.type for event in found.events] == ["reception", "delivery"]


def test_lines_about_a_whole_message_are_no_events_of_a_provider(store: Store) -> None:
    whole = replace(reception(1), recipient="", mta="postfix")
    load(
        store, whole, replace(whole, ordinal=1), ended(replace(reception(1), mta="postfix"), EventType.DELIVERY, SECOND)
    )
    counted = counters.read(store.cursor())
    by_provider = {key: value for key, value in counted["mtascope_provider_events_total"].items() if value}
    assert by_provider == {("gmail", "delivery", "remote"): 1}
    assert sum(counted["mtascope_events_total"].values()) == 3


def test_percentiles_count_mail_in_flight_as_longer_than_anything_delivered(store: Store) -> None:
    for number in range(10):
        mail = reception(number)
        load(store, mail)
        if number < 8:
            load(store, ended(mail, EventType.DELIVERY, (number + 1) * SECOND))
    [found] = latencies(store, Question())
    assert (found.delivered, found.in_flight) == (8, 2)
    assert dict(found.all) == {"p50": 5.0, "p90": None, "p99": None}
    assert dict(found.first) == {"p50": 4.0, "p90": 8.0, "p99": 8.0}
    assert found.at_least == 3600.0  # the store's clock stands an hour after the start


def test_mail_whose_injection_is_unknown_has_no_latency(store: Store) -> None:
    unknown = ended(replace(reception(1), created=None), EventType.DELIVERY, SECOND)
    load(store, unknown)
    assert latencies(store, Question()) == []


def test_latencies_are_asked_by_dimension_and_part(store: Store) -> None:
    for number, domain in enumerate(("gmail.com", "yahoo.com", "yahoo.com")):
        mail = reception(number, domain)
        load(store, mail, ended(mail, EventType.DELIVERY, SECOND))
    by_provider = {found.key["provider"]: found.delivered for found in latencies(store, Question())}
    assert by_provider == {"yahoo": 2, "gmail": 1}
    assert [found.delivered for found in latencies(store, Question(by=(), where={"provider": ["gmail"]}))] == [1]


def test_queues_name_depth_age_and_last_reply_of_what_waits(store: Store) -> None:
    for number in range(3):
        mail = reception(number, "slow.example")
        load(store, mail)
        if number:
            load(store, ended(mail, EventType.DEFERRAL, number * SECOND, text=f"try later {number}"))
    load(store, reception(9), ended(reception(9), EventType.DELIVERY, SECOND))
    [found] = waiting(store)
    assert (found.domain, found.in_flight, found.deferred, found.oldest_s) == ("slow.example", 3, 2, 3600.0)
    assert found.reply == "421 4.7.0 try later {n}"
    assert found.bounce_class == "rate_limited"


def test_reasons_are_the_most_frequent_replies_with_their_class(store: Store) -> None:
    for number in range(5):
        mail = reception(number)
        load(store, mail, ended(mail, EventType.BOUNCE, SECOND, text=f"user{number} unknown, id abc{number}f{number}0"))
    other = reception(7)
    load(store, other, ended(other, EventType.DEFERRAL, SECOND, text="busy"))
    first, second = top_reasons(store, since=START)
    assert (first.events, first.bounce_class, first.code, first.type) == (5, "bad_mailbox", 550, "bounce")
    assert (second.events, second.bounce_class, second.text) == (1, "rate_limited", "busy")
    assert top_reasons(store, since=START + MINUTE) == []


def test_one_tenants_trace_queue_and_reasons_hold_nothing_of_another(store: Store) -> None:
    for number, tenant in enumerate(("red", "blue")):
        mail = replace(reception(number, "slow.example"), tenant=tenant, recipient="both@slow.example")
        load(store, mail, ended(mail, EventType.DEFERRAL, SECOND, text=f"busy for {tenant}"))
    assert [found.tenant for found in trace(store, "both@slow.example", tenant="red")] == ["red"]
    assert [found.in_flight for found in waiting(store, tenant="red")] == [1]
    assert [found.text for found in top_reasons(store, since=START, where={"tenant": ["red"]})] == ["busy for red"]
    assert trace(store, "q1", tenant="red") == []


def test_every_hop_is_in_the_trace_of_any_of_them(store: Store) -> None:
    first = replace(reception(1), message_id=None)
    handed = replace(first, type=EventType.TRANSFER_OUT, time=START + SECOND, successor_id="q2")
    second = replace(first, node="other", queue_id="q2", time=START + SECOND)
    load(store, first, handed, second, ended(second, EventType.DELIVERY, SECOND))
    for queue_id in ("q1", "q2"):
        assert sorted(found.outcome for found in trace(store, queue_id)) == ["delivered", "transferred"]
