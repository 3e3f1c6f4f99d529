"""The live watch: opened once, told once, whatever is killed, late or silenced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from analytics.incidents import journal
from analytics.incidents.journal import Silence
from analytics.incidents.kinds import Kind
from analytics.incidents.settings import WatchSettings
from analytics.incidents.watch import Watch
from analytics.steps import STEP
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.instants import DAY, HOUR, MINUTE
from mta.events.intake import Batch
from mta.events.reply import EnhancedStatus, SmtpReply

START = 1_780_000_000_000_000 // HOUR * HOUR
SPIKE = START + 10 * HOUR + 10 * MINUTE
DELIVERED = SmtpReply(250, None, "OK")
REFUSED = SmtpReply(554, EnhancedStatus(5, 7, 1), "listed by example.org")


def mail(since: int, until: int, *, troubled: tuple[str, ...] = (), domain: str = "gmail.com") -> Iterator[Event]:
    """Twenty outcomes in 5 minutes from two tenants; from `SPIKE` for an hour, mail of `troubled` is refused."""
    for step in range(since // STEP, until // STEP):
        random = Random(f"{domain}/{step}")
        for place in range(20):
            at = step * STEP + place * 14_000_000
            tenant = "acme" if place % 4 == 0 else "zeta"
            refused = (tenant in troubled and SPIKE <= at < SPIKE + HOUR) or random.random() < 0.01
            yield Event(
                type=EventType.BOUNCE if refused else EventType.DELIVERY,
                time=at,
                created=at - MINUTE,
                node="n",
                mta="kumomta",
                queue_id=f"{domain}{step}/{place}",
                recipient=f"user{step}.{place}@{domain}",
                sender=f"news@{tenant}.example",
                tenant=tenant,
                pool="warm",
                attempt=1,
                reply=REFUSED if refused else DELIVERED,
                peer_host="mx.example",
            )


def load(store: Store, events: Iterator[Event]) -> None:
    store.load(Batch("test", [(event,) for event in events]))


@pytest.fixture
def watch_over(clock) -> Callable[..., Watch]:
    """A watch over a store; its steps are complete as soon as they are over."""

    def watch_over(store: Store, **settings: object) -> Watch:
        given = WatchSettings.model_validate({"grace_s": 0, "patience_s": 1, **settings})
        return Watch(store, given, {"ip_blocklisted": "reputation"}, channels=("hook",))

    return watch_over


def incidents(store, **chosen):
    return journal.find(store.cursor(), **chosen)


def told(store):
    rows = store.query("SELECT incident_id, change, channel FROM notification ORDER BY written_at, id")
    return [(change, channel) for _, change, channel in rows]


@pytest.fixture
def troubled_store(store, clock):
    """A day of quiet mail, then an hour in which all mail is refused, up to half an hour into it."""
    load(store, mail(START, SPIKE + 30 * MINUTE, troubled=("acme", "zeta")))
    clock.now = SPIKE + 30 * MINUTE
    return store


def live(watch, store, clock, until, troubled=("acme", "zeta")):
    """Let mail come and time pass, half an hour at a time."""
    while clock.now < until:
        then = min(until, clock.now + 30 * MINUTE)
        load(store, mail(clock.now, then, troubled=troubled))
        clock.now = then
        watch.run_once()


def test_trouble_is_one_incident_that_is_told_when_it_opens_and_when_it_ends(troubled_store, clock, watch_over):
    watch = watch_over(troubled_store)
    watch.run_once()
    (incident,) = incidents(troubled_store, only_open=True)
    assert (incident.kind, incident.provider, incident.began) == (Kind.BOUNCES, "gmail", SPIKE)
    assert SPIKE < incident.opened <= SPIKE + 10 * MINUTE
    assert [reply.bounce_class for reply in incident.replies] == ["ip_blocklisted"]
    assert "removal" in incident.advice[0]
    live(watch, troubled_store, clock, SPIKE + 3 * HOUR)
    (ended,) = incidents(troubled_store)
    assert ended.id == incident.id
    assert SPIKE + HOUR < ended.closed < SPIKE + 3 * HOUR
    assert told(troubled_store) == [("opened", "hook"), ("closed", "hook")]


def test_a_restart_at_any_step_opens_nothing_twice_and_ends_what_was_open(open_store, clock, watch_over):
    store = open_store()
    load(store, mail(START, SPIKE, troubled=("zeta", "acme")))
    clock.now = SPIKE
    watch_over(store).run_once()
    while clock.now < SPIKE + 2 * HOUR:
        load(store, mail(clock.now, clock.now + 30 * MINUTE, troubled=("zeta", "acme")))
        clock.now += 30 * MINUTE
        while watch_over(store).run_once(
            most_steps=1
        ):  # a new watch for every step, and none is closed: all are killed
            pass
    store = open_store()
    (incident,) = incidents(store)
    assert incident.closed is not None
    assert told(store) == [("opened", "hook"), ("closed", "hook")]


def test_a_watch_that_was_closed_in_order_goes_on_where_it_was(troubled_store, watch_over):
    first = watch_over(troubled_store)
    assert first.run_once() > 100
    first.close()
    assert watch_over(troubled_store).run_once() == 0


def test_a_backfill_of_an_old_trouble_is_kept_and_told_to_nobody(store, clock, watch_over):
    load(store, mail(START, SPIKE + 4 * HOUR, troubled=("acme", "zeta")))
    clock.now = SPIKE + 20 * HOUR
    load(store, mail(SPIKE + 4 * HOUR, clock.now))
    watch_over(store).run_once()
    (incident,) = incidents(store)
    assert incident.closed is not None
    assert told(store) == []


def test_late_mail_opens_nothing(store, clock, watch_over):
    watch = watch_over(store, nets={"least_mail": 10_000})
    load(store, mail(START, SPIKE + 30 * MINUTE))
    clock.now = SPIKE + 30 * MINUTE
    watch.run_once()
    load(store, mail(SPIKE - 10 * MINUTE, SPIKE + 25 * MINUTE, troubled=("acme", "zeta"), domain="googlemail.com"))
    live(watch, store, clock, SPIKE + 90 * MINUTE, troubled=())
    assert incidents(store) == []


def test_a_step_waits_for_a_node_that_lags_until_patience_ends(store, clock, watch_over):
    clock.now = START + HOUR
    load(store, mail(START, START + HOUR))
    watch = watch_over(store, patience_s=600)
    watch.run_once()
    clock.now += STEP + MINUTE
    assert watch.run_once() == 0
    clock.now += 10 * MINUTE
    assert watch.run_once() == 2


def test_a_silence_tells_nobody_until_it_ends(troubled_store, clock, watch_over):
    watch = watch_over(troubled_store)
    silence = Silence("s", SPIKE, SPIKE + 40 * MINUTE, "anna", "known", provider="gmail")
    with troubled_store.writing() as con:
        journal.add_silence(con, silence)
    watch.run_once()
    assert len(incidents(troubled_store, only_open=True)) == 1
    assert told(troubled_store) == []
    live(watch, troubled_store, clock, SPIKE + 45 * MINUTE)
    assert told(troubled_store) == [("opened", "hook")]


def test_what_lasts_is_told_again_after_a_day_unless_somebody_takes_care_of_it(troubled_store, clock, watch_over):
    watch = watch_over(troubled_store)
    watch.run_once()
    (incident,) = incidents(troubled_store)
    with troubled_store.writing() as con:
        con.execute("UPDATE incident SET told_at = told_at - INTERVAL 1 DAY")
        assert journal.acknowledge(con, incident.id, "anna", clock.now)
        assert not journal.acknowledge(con, "nobody", "anna", clock.now)
    again = watch_over(troubled_store)
    live(again, troubled_store, clock, clock.now + 2 * STEP)
    assert told(troubled_store) == [("opened", "hook")]
    with troubled_store.writing() as con:
        con.execute("UPDATE incident SET acknowledged_at = NULL")
    live(again, troubled_store, clock, clock.now + 2 * STEP)
    assert told(troubled_store) == [("opened", "hook"), ("renewed", "hook")]


def test_silence_at_a_provider_is_an_incident_of_its_own(store, clock, watch_over):
    """Nothing is delivered in an hour that brought 240 deliveries in each of the weeks before."""
    for week in range(3):
        load(store, mail(START + week * 7 * DAY, START + week * 7 * DAY + 6 * HOUR))
    clock.now = START + 21 * DAY + 2 * HOUR
    load(store, mail(START + 21 * DAY, clock.now))
    watch = watch_over(store, nets={"least_mail": 100})
    watch.run_once()
    assert incidents(store, only_open=True) == []
    clock.now += 65 * MINUTE
    watch.run_once()
    (incident,) = incidents(store, only_open=True)
    assert (incident.kind, incident.provider) == (Kind.SILENCE, "gmail")
    live(watch, store, clock, clock.now + HOUR)
    assert incidents(store, only_open=True) == []
    assert told(store) == [("opened", "hook"), ("closed", "hook")]


def test_a_provider_that_blocks_a_tenth_is_a_cliff_before_anything_is_learnt(store, clock, watch_over):
    clock.now = START + HOUR
    load(store, mail(SPIKE, SPIKE + HOUR, troubled=("acme",)))
    clock.now = SPIKE // HOUR * HOUR + HOUR
    watch_over(store, nets={"least_mail": 100}).run_once()
    (incident,) = incidents(store, only_open=True)
    assert incident.kind is Kind.CLIFF


def test_a_broken_identity_is_an_incident(store, clock, watch_over):
    load(store, mail(START, START + HOUR))
    clock.now = START + HOUR
    store._loader.identity_broken = 3
    watch_over(store).run_once()
    (incident,) = incidents(store, only_open=True)
    assert (incident.kind, incident.numerator) == (Kind.IDENTITY, 3)
    assert "fault of mtascope" in incident.advice[0]
