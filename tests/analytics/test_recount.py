"""Every count, by every dimension and on both clocks, equals a plain recount of what happened.

The mails are made up here as stories (who, through which servers, with which end), counted by the definitions of
docs/rates.md over plain Python lists, and told to the store as shuffled, repeated events. Nothing of the store's code
is used to count.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.buckets import Step
from analytics.dimensions import DIMENSIONS
from analytics.rates import Question, ask
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.instants import HOUR, MINUTE, SECOND
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000 // HOUR * HOUR
PROVIDERS = {"gmail.com": "gmail", "outlook.com": "microsoft-consumer", "yahoo.com": "yahoo", "web.de": "web.de"}
GROUPS = {"gmail": "google", "microsoft-consumer": "microsoft", "yahoo": "yahoo", "web.de": "united-internet"}
CLASSES = {
    421: ("rate_limited", "soft"),
    452: ("mailbox_full", "soft"),
    550: ("bad_mailbox", "hard"),
    554: ("ip_blocklisted", "block"),
}
TEXTS = {421: "slow down", 452: "full", 550: "no such user", 554: "listed"}
ENDS = {EventType.DELIVERY: "delivered", EventType.BOUNCE: "bounced", EventType.TRANSFER_OUT: "transferred"}


LAST = ((EventType.DELIVERY,) * 3) + (EventType.BOUNCE, EventType.TRANSFER_OUT, None)


@dataclass
class Hop:
    """What one server did with a mail: when it came, the codes that put it off, how it left."""

    node: str
    came: int
    put_off: list[tuple[int, int]] = field(default_factory=list)
    end: tuple[int, EventType, int] | None = None


@dataclass
class Mail:
    number: int
    traits: dict[str, str]
    hops: list[Hop]
    returned: int | None = None
    complained: int | None = None


def stories(rng: random.Random) -> list[Mail]:
    mails = []
    for number in range(25):
        domain = rng.choice([*PROVIDERS])
        traits = {"domain": domain, "provider": PROVIDERS[domain], "provider_group": GROUPS[PROVIDERS[domain]],
                  "direction": "outbound", "gateway": "", "mta": rng.choice(("kumomta", "postfix"))}  # fmt: skip
        traits |= {name: rng.choice(("x", "y", "")) for name in ("tenant", "campaign", "source", "pool", "dkim_domain")}
        traits["sender_domain"] = rng.choice(("a.example", "b.example"))
        traits["source_ip"] = rng.choice(("192.0.2.1", "192.0.2.2"))
        mail, at = Mail(number, traits, []), START + rng.randrange(3 * HOUR)
        nodes = rng.sample("abc", rng.choice((1, 1, 2, 3)))
        for place, node in enumerate(nodes):
            hop = Hop(node, at)
            for _ in range(rng.choice((0, 0, 1, 2))):
                at += rng.randrange(1, 20 * MINUTE)
                hop.put_off.append((at, rng.choice((421, 452))))
            at += rng.randrange(1, 20 * MINUTE)
            last = place == len(nodes) - 1
            kind = rng.choice(LAST) if last else EventType.TRANSFER_OUT
            if kind is not None:
                hop.end = (at, kind, rng.choice((550, 554)) if kind is EventType.BOUNCE else 250)
            mail.hops.append(hop)
            at += rng.randrange(1, 30 * SECOND)
        if mail.hops[-1].end and mail.hops[-1].end[1] is EventType.DELIVERY:
            mail.returned = at + rng.randrange(HOUR) if rng.random() < 0.2 else None
            mail.complained = at + rng.randrange(HOUR) if rng.random() < 0.2 else None
        mails.append(mail)
    return mails


def told(mail: Mail) -> Iterator[Event]:
    """The mail as the logs of its servers tell it."""
    names = ("tenant", "campaign", "source", "pool", "dkim_domain", "source_ip")
    recipient = f"u{mail.number}@{mail.traits['domain']}"
    for hop in mail.hops:
        common: dict[str, Any] = {
            "node": hop.node, "mta": mail.traits["mta"], "queue_id": f"{hop.node}{mail.number}", "created": hop.came,
            "recipient": recipient, "sender": f"s@{mail.traits['sender_domain']}",
            "message_id": f"{mail.number}@x.example",
            **{name: mail.traits[name] or None for name in names},
        }  # fmt: skip
        yield Event(type=EventType.RECEPTION, time=hop.came, **common)
        for attempt, (at, code) in enumerate(hop.put_off, start=1):
            yield Event(
                type=EventType.DEFERRAL, time=at, attempt=attempt, reply=SmtpReply(code, None, TEXTS[code]), **common
            )
        if hop.end:
            at, kind, code = hop.end
            attempt = None if kind is EventType.TRANSFER_OUT else len(hop.put_off) + 1
            yield Event(
                type=kind, time=at, attempt=attempt, reply=SmtpReply(code, None, TEXTS.get(code, "ok")), **common
            )
    for kind, at in ((EventType.OOB_BOUNCE, mail.returned), (EventType.COMPLAINT, mail.complained)):
        if at is not None:
            yield Event(
                type=kind, time=at, node="a", mta="postfix", queue_id=f"{kind}{mail.number}", recipient=recipient,
                original_recipient=recipient, original_message_id=f"{mail.number}@x.example",
                reply=SmtpReply(550, None, TEXTS[550]),
            )  # fmt: skip


def failure(code: int | None) -> dict[str, str]:
    """The traits of a failure."""
    name, severity = CLASSES[code] if code is not None else ("", "")
    return {"bounce_class": name, "severity": severity, "reply": TEXTS[code] if code is not None else ""}


def counted(mail: Mail, clock: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """(instant, count, traits) of everything that a mail counts as, by the definitions."""
    began, own = mail.hops[0].came, {**mail.traits, "node": mail.hops[-1].node, **failure(None)}
    for at, name, traits in happened(mail, own):
        if name != "in_flight" or clock == "cohort":
            yield (began if clock == "cohort" else at), name, traits
    # Tries are counted where and when they were made; on the cohort clock all of a server stand under its last reply,
    # and a mail's servers know of each other's.
    for place, hop in enumerate(mail.hops):
        here, so_far = own | {"node": hop.node}, [one for earlier in mail.hops[: place + 1] for one in earlier.put_off]
        for at, code in hop.put_off:
            said = failure(max(so_far)[1] if clock == "cohort" else code)
            yield (began if clock == "cohort" else at), "attempt_deferrals", here | said


def happened(mail: Mail, own: dict[str, str]) -> Iterator[tuple[int, str, dict[str, str]]]:
    """What happened to the recipient, each at its own instant."""
    began, end = mail.hops[0].came, mail.hops[-1].end
    deferrals = [one for hop in mail.hops for one in hop.put_off]
    tries = [at for at, _ in deferrals] + ([end[0]] if end and end[1] is not EventType.TRANSFER_OUT else [])
    yield began, "injected", own
    if end is None:
        yield began, "in_flight", own
    else:
        failed = own | failure(end[2] if end[1] is EventType.BOUNCE else None)
        yield end[0], ENDS[end[1]], failed
        if end[1] is EventType.BOUNCE:
            yield end[0], CLASSES[end[2]][1], failed
    if tries:
        yield min(tries), "attempted", own
    if deferrals:
        yield min(tries), "deferred", own | failure(max(deferrals)[1])
    if mail.returned is not None:
        yield mail.returned, "oob_bounced", own | failure(550)
        yield mail.returned, "hard", own | failure(550)
    if mail.complained is not None:
        yield mail.complained, "complained", own


COUNTED = (
    "injected", "in_flight", "delivered", "bounced", "transferred", "hard", "soft", "block", "attempted",
    "deferred", "oob_bounced", "complained", "attempt_deferrals",
)  # fmt: skip


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_dimension_on_both_clocks_equals_a_plain_recount(
    seed: int, tmp_path_factory: pytest.TempPathFactory, store_at: Callable[[Path], Store]
) -> None:
    with store_at(Path(tmp_path_factory.mktemp("recount")) / "store.duckdb") as store:
        tell_and_recount(store, random.Random(seed))


@pytest.mark.soak
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_dimension_equals_a_plain_recount_of_many_histories(
    seed: int, tmp_path_factory: pytest.TempPathFactory, store_at: Callable[[Path], Store]
) -> None:
    with store_at(Path(tmp_path_factory.mktemp("recount")) / "store.duckdb") as store:
        tell_and_recount(store, random.Random(seed))


def tell_and_recount(store: Store, rng: random.Random) -> None:
    mails = stories(rng)
    arriving = [event for mail in mails for event in told(mail)]
    arriving += rng.choices(arriving, k=30)
    rng.shuffle(arriving)
    while arriving:
        size = rng.randrange(1, 120)
        assert store.load(Batch("test", [(event,) for event in arriving[:size]])).adds_up
        arriving = arriving[size:]
    for clock in ("cohort", "event"):
        facts = [fact for mail in mails for fact in counted(mail, clock)]
        for name in DIMENSIONS:
            assert (clock, name, answered(store, clock, name)) == (clock, name, recounted(facts, name))


def recounted(facts: list[tuple[int, str, dict[str, str]]], name: str) -> dict[tuple[int, str], dict[str, int]]:
    sums: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for at, count, traits in facts:
        sums[at // HOUR * HOUR, traits[name]][count] += 1
    return {key: dict(found) for key, found in sums.items()}


def answered(store: Store, clock: str, name: str) -> dict[tuple[int, str], dict[str, int]]:
    rows = ask(store, Question(by=(name,), clock=clock, step=Step("1h")))  # type: ignore[arg-type]
    found = {
        (row.start or 0, row.key[name]): {one: row.counts[one] for one in COUNTED if row.counts[one]} for row in rows
    }
    return {key: counts for key, counts in found.items() if counts}
