"""A mail that takes several of our servers on its way is one mail, whichever log is read first."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import relations
from analytics.identity import check
from analytics.rates import Question, ask
from analytics.rollup import MEASURE_NAMES, ROLLED, contributions, summed
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.instants import HOUR, MINUTE, SECOND
from mta.events.intake import Batch
from mta.events.pseudonym import event_id
from mta.events.reply import SmtpReply, next_queue_id

START = 1_780_000_000_000_000 // MINUTE * MINUTE


def hop(
    number: int, node: str, at: int, *, end: EventType | None, deferrals: int = 0, names_next: str = ""
) -> list[Event]:
    """What one server tells of a mail: it came in, was put off or not, and left or not."""
    received = Event(
        type=EventType.RECEPTION,
        time=at,
        created=at,
        node=node,
        mta="postfix",
        queue_id=f"{node}{number}",
        recipient=f"u{number}@gmail.com",
        message_id=f"{number}@news.example",
        tenant="red" if node == "a" else None,
    )
    events = [received]
    for attempt in range(1, deferrals + 1):
        reply = SmtpReply(421, None, "later")
        events.append(
            replace(received, type=EventType.DEFERRAL, time=at + attempt * SECOND, attempt=attempt, reply=reply)
        )
    if end is not None:
        code = 550 if end is EventType.BOUNCE else 250
        events.append(replace(received, type=end, time=at + MINUTE, attempt=deferrals + 1,
                              reply=SmtpReply(code, None, "said"), successor_id=names_next or None))  # fmt: skip
    return events


def load(store: Store, *events: Event) -> None:
    assert store.load(Batch("test", [(event,) for event in events])).adds_up
    assert store.identity_broken == 0


def total(store: Store, clock: str = "cohort") -> dict[str, int]:
    [row] = ask(store, Question(by=(), clock=clock))  # type: ignore[arg-type]
    return dict(row.counts)


@pytest.mark.parametrize("late", [False, True], ids=["in order", "the second hop first"])
@pytest.mark.parametrize("named", ["", "b1"], ids=["by Message-ID", "by queue id"])
def test_a_transferred_mail_counts_once_with_the_end_it_came_to(store: Store, named: str, *, late: bool) -> None:
    first = hop(1, "a", START, end=EventType.TRANSFER_OUT, names_next=named)
    second = hop(1, "b", START + 2 * MINUTE, end=EventType.DELIVERY)
    if named:
        first = [replace(event, message_id=None) for event in first]
    for events in (second, first) if late else (first, second):
        load(store, *events)
    for clock in ("cohort", "event"):
        found = total(store, clock)
        assert (found["injected"], found["delivered"], found["transferred"]) == (1, 1, 0)
    [row] = ask(store, Question(by=("tenant",), since=START, until=START + MINUTE))
    assert (row.key["tenant"], row.counts["delivered"]) == ("red", 1)


def test_a_transfer_whose_next_hop_tells_nothing_stays_one(store: Store) -> None:
    load(store, *hop(1, "a", START, end=EventType.TRANSFER_OUT))
    load(store, *hop(2, "b", START, end=EventType.DELIVERY))
    found = total(store)
    assert (found["injected"], found["delivered"], found["transferred"]) == (2, 1, 1)


def test_deferrals_and_reports_of_an_earlier_hop_are_the_mails_own(store: Store) -> None:
    load(store, *hop(1, "a", START, end=EventType.TRANSFER_OUT, deferrals=2))
    complaint = Event(type=EventType.COMPLAINT, time=START + HOUR, node="a", mta="postfix", queue_id="fbl",
                      recipient="fbl@news.example", original_recipient="u1@gmail.com",
                      original_message_id="1@news.example")  # fmt: skip
    load(store, complaint)
    load(store, *hop(1, "b", START + 2 * MINUTE, end=EventType.DELIVERY))
    found = total(store)
    assert (found["injected"], found["deferred"], found["complained"], found["attempt_deferrals"]) == (1, 1, 1, 2)
    assert found["delivered_first"] == 0


def test_a_delivery_to_a_network_of_ours_hands_the_mail_on(store_at: Callable[[Path], Store], tmp_path: Path) -> None:
    with store_at(tmp_path / "own.duckdb") as store:
        store._loader._enricher.own_networks = (ip_network("10.0.0.0/8"),)
        relayed = [
            replace(event, peer_ip="10.1.2.3") for event in hop(1, "a", START, end=EventType.DELIVERY, deferrals=1)
        ]
        load(store, *relayed)
        assert total(store)["transferred"] == 1
        assert total(store)["deferred"] == 0  # our own relay was busy; no provider said so
        assert total(store)["deferred_locally"] == 1
        load(store, *hop(1, "b", START + 2 * MINUTE, end=EventType.BOUNCE))
        found = total(store)
        assert (found["injected"], found["transferred"], found["bounced"]) == (1, 0, 1)


def test_telling_later_which_networks_are_ours_repeats_no_event() -> None:
    [*_, delivery] = hop(1, "a", START, end=EventType.DELIVERY)
    assert event_id(7, delivery) == event_id(7, replace(delivery, type=EventType.TRANSFER_OUT))
    assert event_id(7, delivery) != event_id(7, replace(delivery, type=EventType.BOUNCE))


@pytest.mark.parametrize(
    ("text", "queue_id"),
    [
        ("2.0.0 Ok: queued as 4F1c2D3e5", "4F1c2D3e5"),
        ("2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 1C0FA8A2", "1C0FA8A2"),
        ("OK id=1rKq2x-0001Ab-3c", "1rKq2x-0001Ab-3c"),
        ("OK ids=d7ef132b5d7711eea8c8000c29c33806", "d7ef132b5d7711eea8c8000c29c33806"),
        ("Message Queued (5D5A8D6B-1C9E-4A1B-8F1D-1.1)", "5D5A8D6B-1C9E-4A1B-8F1D-1.1"),
        ("new id is d7ef132b5d77", "d7ef132b5d77"),
        ("2.0.0 w4B1c2D3012345 Message accepted for delivery", "w4B1c2D3012345"),
        ("OK, thank you", None),
    ],
)
def test_the_next_hop_is_named_in_the_reply_to_the_message(text: str, queue_id: str | None) -> None:
    assert next_queue_id(text) == queue_id


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_way_through_the_fleet_in_any_order_is_counted_once(
    seed: int, tmp_path_factory: pytest.TempPathFactory, store_at: Callable[[Path], Store]
) -> None:
    rng = random.Random(seed)
    events: list[Event] = []
    expected = {"injected": 0, "delivered": 0, "bounced": 0, "in_flight": 0, "transferred": 0, "deferred": 0}
    for number in range(12):
        nodes = rng.sample("abcd", rng.randrange(1, 5))
        last = rng.choice((EventType.DELIVERY, EventType.BOUNCE, EventType.TRANSFER_OUT, None))
        at, deferred = START + rng.randrange(100) * SECOND, False
        for place, node in enumerate(nodes):
            ends = last if place == len(nodes) - 1 else EventType.TRANSFER_OUT
            deferrals = rng.choice((0, 0, 2))
            deferred |= deferrals > 0
            following = f"{nodes[place + 1]}{number}" if place + 1 < len(nodes) and rng.random() < 0.5 else ""
            events += hop(number, node, at, end=ends, deferrals=deferrals, names_next=following)
            at += rng.randrange(1, 120) * SECOND
        name = {EventType.DELIVERY: "delivered", EventType.BOUNCE: "bounced", EventType.TRANSFER_OUT: "transferred"}
        expected["injected"] += 1
        expected[name[last] if last else "in_flight"] += 1
        expected["deferred"] += deferred
    arriving = events + rng.choices(events, k=10)
    rng.shuffle(arriving)
    with store_at(Path(tmp_path_factory.mktemp("hops")) / "store.duckdb") as store:
        while arriving:
            size = rng.randrange(1, 40)
            load(store, *arriving[:size])
            arriving = arriving[size:]
        found = total(store)
        assert {name: found[name] for name in expected} == expected
        assert check(store.cursor()).holds
        columns = ", ".join(("clock", "bucket", *ROLLED, *MEASURE_NAMES))
        rolled = store.query(summed(f"SELECT {columns} FROM rollup") + " ORDER BY ALL")
        assert rolled == store.query(
            summed(contributions(relations.units(store), relations.events(store))) + " ORDER BY ALL"
        )
