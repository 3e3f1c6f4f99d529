"""Whatever comes in whichever order, every recipient has one outcome and every figure equals a plain recount."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import relations
from analytics.identity import check
from analytics.rates import Question, ask
from analytics.rollup import MEASURE_NAMES, ROLLED, contributions, summed
from analytics.store import Store
from mta.events.event import Event, EventType, Origin
from mta.events.instants import MINUTE
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000
DOMAINS = ("gmail.com", "outlook.com", "yahoo.com", "acme.example")
SEVERITY = {421: "soft", 452: "soft", 550: "hard", 554: "block"}


def history(rng: random.Random, messages: int) -> list[Event]:
    """The events of some messages, in order: injection, tries, an end or none, late reports."""
    events: list[Event] = []
    for number in range(messages):
        events.extend(_journey(rng, f"{number:032x}", f"user{number % 7}.{number}@{rng.choice(DOMAINS)}"))
    return events


def _journey(rng: random.Random, queue_id: str, recipient: str) -> list[Event]:
    begin = START + rng.randrange(0, 50) * MINUTE + rng.randrange(MINUTE)
    common: dict[str, Any] = {
        "node": rng.choice(("a", "b")),
        "mta": "kumomta",
        "queue_id": queue_id,
        "recipient": recipient,
        "created": begin,
        "tenant": rng.choice(("red", "blue", None)),
        "message_id": f"<{queue_id}@example.test>",
    }
    if rng.random() < 0.3:
        return _told_of_the_message(common) + _tries(rng, begin, {**common, "created": None, "message_id": None})
    events = [] if rng.random() < 0.1 else [Event(type=EventType.RECEPTION, time=begin, **common)]
    return events + _tries(rng, begin, common)


def _told_of_the_message(common: dict[str, Any]) -> list[Event]:
    """As Postfix and Exim log: sender and Message-ID once, on a line without a recipient."""
    whole = {**common, "recipient": ""}
    return [Event(type=EventType.RECEPTION, time=common["created"], **whole)]


def _tries(rng: random.Random, begin: int, common: dict[str, Any]) -> list[Event]:
    queue_id, recipient = common["queue_id"], common["recipient"]
    events: list[Event] = []
    at, attempt = begin, 0
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        at += rng.randrange(1, 20 * MINUTE)
        attempt += 1
        origin = rng.choice((Origin.REMOTE, Origin.REMOTE, Origin.LOCAL))
        reply = SmtpReply(rng.choice((421, 452)), None, "try later")
        events.append(Event(type=EventType.DEFERRAL, time=at, attempt=attempt, origin=origin, reply=reply, **common))
    at += rng.randrange(1, 20 * MINUTE)
    end = rng.choice((None, *(EventType.DELIVERY,) * 5, EventType.BOUNCE, EventType.EXPIRATION, EventType.ADMIN_BOUNCE))
    if end is EventType.DELIVERY:
        reply = SmtpReply(250, None, "ok")
        events.append(Event(type=end, time=at, attempt=attempt + 1, reply=reply, **common))
        if rng.random() < 0.2:
            events.append(_report(rng, EventType.COMPLAINT, at, queue_id, recipient))
        if rng.random() < 0.2:
            events.append(_report(rng, EventType.OOB_BOUNCE, at, queue_id, recipient))
    elif end is EventType.BOUNCE:
        reply = SmtpReply(rng.choice((550, 554)), None, "no")
        events.append(Event(type=end, time=at, attempt=attempt + 1, reply=reply, **common))
    elif end is not None:
        reply = SmtpReply(551, None, "gave up")
        events.append(Event(type=end, time=at, origin=Origin.LOCAL, reply=reply, **common))
    return events


def _report(rng: random.Random, kind: EventType, after: int, queue_id: str, recipient: str) -> Event:
    return Event(
        type=kind,
        time=after + rng.randrange(1, 3 * 60 * MINUTE),
        node="a",
        mta="kumomta",
        queue_id=f"report-{kind}-{queue_id}",
        recipient="fbl@example.test" if kind is EventType.COMPLAINT else recipient,
        original_recipient=recipient,
        original_message_id=f"<{queue_id}@example.test>",
        reply=SmtpReply(550, None, "mailbox unknown"),
    )


def recount(events: list[Event]) -> dict[str, Counter[str]]:
    """The definitions of METRICS.md once more, over plain lists: counts by domain, cohort clock."""
    units: dict[tuple[str, str, str], list[Event]] = {}
    reports: dict[str, set[EventType]] = {}
    for event in (event for event in events if event.recipient):
        if event.type in {EventType.COMPLAINT, EventType.OOB_BOUNCE}:
            reports.setdefault(event.original_message_id or "", set()).add(event.type)
        else:
            units.setdefault((event.node, event.queue_id, event.recipient), []).append(event)
    counts: dict[str, Counter[str]] = {}
    for facts in units.values():
        count = counts.setdefault(facts[0].recipient_domain, Counter())
        message_id = f"<{facts[0].queue_id}@example.test>"
        _recount_unit(count, sorted(facts, key=lambda event: event.time), reports.get(message_id, set()))
    return counts


def _recount_unit(count: Counter[str], facts: list[Event], reports: set[EventType]) -> None:
    ends = {
        EventType.DELIVERY: "delivered",
        EventType.BOUNCE: "bounced",
        EventType.EXPIRATION: "expired",
        EventType.ADMIN_BOUNCE: "admin_bounced",
    }
    end = next((fact for fact in facts if fact.type in ends), None)
    remote = [fact for fact in facts if fact.origin is Origin.REMOTE and fact.type.is_attempt]
    deferrals = [fact for fact in facts if fact.type is EventType.DEFERRAL]
    count["injected"] += 1
    count[ends[end.type] if end else "in_flight"] += 1
    count["attempted"] += bool(remote)
    count["attempts"] += len(remote)
    count["deferred"] += any(fact.type is EventType.DEFERRAL for fact in remote)
    if end is None or end.type is EventType.ADMIN_BOUNCE:
        return
    count["sent"] += 1
    if end.type is EventType.DELIVERY:
        count["delivered_first"] += end.attempt == 1
        count["oob_bounced"] += EventType.OOB_BOUNCE in reports
        count["hard"] += EventType.OOB_BOUNCE in reports
        count["complained"] += EventType.COMPLAINT in reports
    else:
        decided = deferrals[-1] if end.type is EventType.EXPIRATION and deferrals else end
        code = decided.reply.code if decided.reply and decided.reply.code else 0
        count[SEVERITY.get(code, "undetermined")] += 1


def answered(store: Store, clock: str) -> dict[str, dict[str, int]]:
    question = Question(by=("domain",), clock=clock)  # type: ignore[arg-type]
    return {row.key["domain"]: dict(row.counts) for row in ask(store, question)}


def rebuilt(store: Store) -> list[tuple[Any, ...]]:
    return store.query(summed(contributions(relations.units(store), relations.events(store))) + " ORDER BY ALL")


def rolled(store: Store) -> list[tuple[Any, ...]]:
    columns = ", ".join(("clock", "bucket", *ROLLED, *MEASURE_NAMES))
    return store.query(summed(f"SELECT {columns} FROM rollup") + " ORDER BY ALL")


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_order_repetition_and_batching_gives_the_figures_of_a_plain_recount(
    seed: int, tmp_path_factory: pytest.TempPathFactory, store_at: Callable[[Path], Store]
) -> None:
    with store_at(Path(tmp_path_factory.mktemp("any")) / "store.duckdb") as store:
        _load_and_recount(store, random.Random(seed), tend=0.0)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_sealing_at_random_moments_changes_no_figure(
    seed: int, tmp_path_factory: pytest.TempPathFactory, hasty_store_at: Callable[[Path], Store]
) -> None:
    with hasty_store_at(Path(tmp_path_factory.mktemp("sealed")) / "store.duckdb") as store:
        _load_and_recount(store, random.Random(seed), tend=0.5)
        assert store.query("SELECT count(*) FROM part")[0][0] > 0


def _load_and_recount(store: Store, rng: random.Random, tend: float) -> None:
    told = history(rng, 30)
    arriving = told + rng.choices(told, k=20)
    rng.shuffle(arriving)
    while arriving:
        size = rng.randrange(1, 60)
        batch, arriving = arriving[:size], arriving[size:]
        receipt = store.load(Batch("test", [(event,) for event in batch]))
        assert receipt.adds_up
        assert store.identity_broken == 0
        if rng.random() < tend:
            store.tend(thoroughly=True)
            assert check(store.cursor()).holds
    store.tend(thoroughly=tend > 0)
    expected = recount(told)
    for clock in ("cohort", "event"):
        found = answered(store, clock)
        for domain, count in expected.items():
            for name, value in count.items():
                if clock == "cohort" or name != "in_flight":
                    assert (clock, domain, name, found[domain][name]) == (clock, domain, name, value)
    assert check(store.cursor()).holds
    assert rolled(store) == rebuilt(store)
    assert store.query(f"SELECT count(*), count(DISTINCT event_id) FROM {relations.events(store)}") == [
        (len(told), len(told))
    ]
