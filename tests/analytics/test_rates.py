"""Rates say what was divided by what, and judge only where there is volume."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics.buckets import STEPS, Step
from analytics.dimensions import DIMENSIONS
from analytics.rates import RATES, Question, ask
from analytics.ratios import Threshold, floor_of, ratio, wilson
from analytics.store import Store
from mta.events.errors import SettingsError
from mta.events.event import Event, EventType
from mta.events.instants import DAY, HOUR, MINUTE, from_datetime
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000 // MINUTE * MINUTE
COMPLAINTS = Threshold(0.001, 0.003)


def mail(number: int, domain: str, kind: EventType = EventType.DELIVERY, code: int = 250) -> list[Event]:
    received = Event(
        type=EventType.RECEPTION,
        time=START + number,
        node="n",
        mta="kumomta",
        queue_id=f"{domain}{number}",
        recipient=f"u{number}@{domain}",
        created=START + number,
        tenant="red" if number % 2 else "blue",
    )
    ended = replace(received, type=kind, time=START + HOUR + number, attempt=1, reply=SmtpReply(code, None, "said"))
    return [received, ended]


def load(store: Store, *events: Event) -> None:
    assert store.load(Batch("test", [(event,) for event in events])).adds_up


def test_wilson_of_nothing_in_n_ends_near_the_rule_of_three() -> None:
    low, high = wilson(0, 1000)
    assert low == 0
    assert high == pytest.approx(3.84 / 1003.84, rel=1e-3)


@pytest.mark.parametrize(("line", "floor"), [(0.03, 34), (0.001, 1000), (0.05, 20)])
def test_the_floor_is_where_a_single_event_cannot_cross_the_line(line: float, floor: int) -> None:
    assert floor_of(Threshold(line, 2 * line)) == floor


@pytest.mark.parametrize(
    ("num", "den", "verdict"),
    [
        (0, 0, "no_data"),
        (None, 5000, "no_data"),
        (1, 999, "insufficient"),  # one complaint would already be above 0.1 %
        (0, 1000, "good"),
        (4, 1200, "insufficient"),  # above the line, but by fewer than five events
        (5, 4000, "warning"),
        (12, 4000, "bad"),
    ],
)
def test_a_verdict_needs_volume(num: int | None, den: int, verdict: str) -> None:
    assert ratio(num, den, COMPLAINTS).verdict == verdict


def test_a_provider_without_a_feedback_loop_has_no_complaint_rate_rather_than_zero(store: Store) -> None:
    load(store, *(event for n in range(50) for event in mail(n, "gmail.com") + mail(n, "yahoo.com")))
    rates = {row.key["provider"]: row.rates["complaint_rate"] for row in ask(store, Question())}
    assert (rates["gmail"].value, rates["gmail"].verdict) == (None, "no_data")
    assert (rates["yahoo"].num, rates["yahoo"].den, rates["yahoo"].value) == (0, 50, 0.0)


def test_in_flight_stays_out_of_the_denominator_and_is_shown(store: Store) -> None:
    events = [event for n in range(10) for event in mail(n, "gmail.com")]
    load(store, *events[:-2], events[-2])  # the last one has only been received
    [row] = ask(store, Question())
    assert (row.counts["injected"], row.counts["in_flight"], row.counts["sent"]) == (10, 1, 9)
    assert row.rates["delivery_rate"].value == 1.0
    assert row.rates["completion"].value == 0.9


def test_the_two_clocks_put_a_delivery_where_it_was_sent_or_where_it_happened(store: Store) -> None:
    load(store, *mail(0, "gmail.com"))
    sent_then = Question(by=(), since=START, until=START + MINUTE)
    [cohort] = ask(store, sent_then)
    [event] = ask(store, replace(sent_then, clock="event"))
    [later] = ask(store, replace(sent_then, clock="event", since=START + HOUR, until=START + HOUR + MINUTE))
    assert (cohort.counts["injected"], cohort.counts["delivered"]) == (1, 1)
    assert (event.counts["injected"], event.counts["delivered"]) == (1, 0)
    assert (later.counts["injected"], later.counts["delivered"]) == (0, 1)


@pytest.mark.parametrize("view", ["event", "cohort"])
def test_figures_of_the_rollup_and_of_the_recipients_are_the_same(store: Store, view: str) -> None:
    kinds = (EventType.DELIVERY, EventType.BOUNCE, EventType.DEFERRAL)
    load(store, *(event for n in range(90) for event in mail(n, "outlook.com", kinds[n % 3], (250, 550, 421)[n % 3])))
    rolled = ask(store, Question(by=("provider",), clock=view))  # type: ignore[arg-type]
    split = ask(store, Question(by=("provider", "tenant"), clock=view))  # type: ignore[arg-type]
    for name, value in rolled[0].counts.items():
        assert value == sum(row.counts[name] for row in split), name


def test_where_selects_and_is_never_read_as_sql(store: Store) -> None:
    load(store, *(event for n in range(10) for event in mail(n, "gmail.com")))
    [red] = ask(store, Question(by=(), where={"tenant": ["red"]}))
    [none] = ask(store, Question(by=(), where={"tenant": ["red' OR 1=1; DROP TABLE event; --"]}))
    assert (red.counts["injected"], none.counts["injected"]) == (5, 0)
    assert store.query("SELECT count(*) FROM event") == [(20,)]


def test_a_trait_of_failures_splits_what_failed_and_not_what_it_is_divided_by(store: Store) -> None:
    kinds = [(EventType.DELIVERY, 250)] * 90 + [(EventType.BOUNCE, 550)] * 6 + [(EventType.BOUNCE, 554)] * 4
    load(store, *(event for n, kind in enumerate(kinds) for event in mail(n, "gmail.com", *kind)))
    for clock in ("cohort", "event"):
        rows = {row.key["bounce_class"]: row for row in ask(store, Question(by=("bounce_class",), clock=clock))}  # type: ignore[arg-type]
        assert {name: row.counts["bounced"] for name, row in rows.items()} == {
            "": 0,
            "bad_mailbox": 6,
            "ip_blocklisted": 4,
        }
        rate = rows["bad_mailbox"].rates["bounce_rate"]
        assert (rate.num, rate.den) == (6, 100)
    [chosen] = ask(store, Question(by=(), where={"bounce_class": ["ip_blocklisted"]}))
    assert (chosen.counts["bounced"], chosen.rates["block_bounce_rate"].den) == (4, 100)


def test_a_deferral_counts_under_what_deferred_it_and_the_end_under_what_ended_it(store: Store) -> None:
    received, bounced = mail(0, "gmail.com", EventType.BOUNCE, 550)
    put_off = replace(
        bounced, type=EventType.DEFERRAL, time=START + MINUTE, reply=SmtpReply(421, None, "come back in 5 minutes")
    )
    load(store, received, put_off, replace(bounced, attempt=2))
    by_reply = {row.key["reply"]: row.counts for row in ask(store, Question(by=("reply",)))}
    assert set(by_reply) == {"", "come back in {n} minutes", "said"}
    assert [by_reply["come back in {n} minutes"][name] for name in ("deferred", "bounced")] == [1, 0]
    assert [by_reply["said"][name] for name in ("deferred", "bounced")] == [0, 1]


@pytest.mark.parametrize("view", ["event", "cohort"])
def test_every_two_dimensions_add_up_to_the_whole(store: Store, view: str) -> None:
    kinds = ((EventType.DELIVERY, 250), (EventType.BOUNCE, 550), (EventType.DEFERRAL, 421))
    load(store, *(event for n in range(30) for event in mail(n, ("gmail.com", "b.example")[n % 2], *kinds[n % 3])))
    [whole] = ask(store, Question(by=(), clock=view))  # type: ignore[arg-type]
    for pair in zip(DIMENSIONS, [*DIMENSIONS][3:] + [*DIMENSIONS][:3], strict=True):
        rows = ask(store, Question(by=pair, clock=view))  # type: ignore[arg-type]
        for name, value in whole.counts.items():
            assert (pair, name, sum(row.counts[name] for row in rows)) == (pair, name, value)


def test_days_begin_at_midnight_of_their_zone_and_last_as_long_as_they_last(store: Store) -> None:
    last_sunday_of_october = datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Berlin"))
    begin = from_datetime(last_sunday_of_october)
    hours = [begin - HOUR, begin, begin + 24 * HOUR, begin + 25 * HOUR]  # the day has 25
    load(store, *(replace(mail(n, "gmail.com")[0], time=at, created=at) for n, at in enumerate(hours)))
    rows = ask(store, Question(by=(), step=Step("1d", "Europe/Berlin")))
    assert [row.counts["injected"] for row in rows] == [1, 2, 1]
    assert [(row.start, row.end) for row in rows][1] == (begin, begin + 25 * HOUR)
    assert [row.counts["injected"] for row in ask(store, Question(by=(), step=Step("1mo", "Asia/Kathmandu")))] == [4]
    assert [row.counts["injected"] for row in ask(store, Question(by=(), step=Step("6h")))] == [2, 2]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("view", ["event", "cohort"])
def test_steps_cut_figures_of_recipients_as_those_of_the_rollup(store: Store, view: str, name: str) -> None:
    load(store, *(event for n in range(6) for event in mail(n * 20 * MINUTE, "gmail.com")))
    question = Question(by=("provider",), clock=view, step=Step(name, "Asia/Kolkata"))  # type: ignore[arg-type]
    split = ask(store, replace(question, by=("provider", "tenant")))
    for row in ask(store, question):
        parts = [part for part in split if part.start == row.start]
        assert sum(part.counts["delivered"] for part in parts) == row.counts["delivered"]
        assert sum(part.counts["attempts"] for part in parts) == row.counts["attempts"]


@pytest.mark.parametrize(("step", "zone"), [("7m", "UTC"), ("1d", "Mars/Olympus"), ("1d", "../../etc/passwd")])
def test_a_step_or_zone_that_is_none_is_refused(step: str, zone: str) -> None:
    with pytest.raises(SettingsError, match=r"is no (step|time zone)"):
        Step(step, zone)


def test_a_cohort_is_ripe_when_nearly_all_has_ended_or_nothing_more_is_expected(store: Store, clock: Any) -> None:
    events = [event for n in range(10) for event in mail(n, "gmail.com")]
    load(store, *events[:-1])
    minutes = Question(by=(), step=Step("1m"))
    assert [row.ripe for row in ask(store, minutes)] == [False]
    clock.now = START + 8 * DAY  # longer than a queue keeps mail
    assert [row.ripe for row in ask(store, minutes)] == [True]
    assert [row.ripe for row in ask(store, replace(minutes, clock="event"))] == [None, None]


def test_an_unknown_dimension_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(SettingsError, match=r"'colour' is no dimension.*provider"):
        Question(by=("colour",))


def test_every_rate_is_made_of_counts_that_exist(store: Store) -> None:
    load(store, *mail(0, "gmail.com"))
    [row] = ask(store, Question())
    for rate in RATES:
        assert {*rate.numerator, *rate.denominator} <= set(row.counts)


@pytest.mark.parametrize("by", [("provider",), ("tenant",)], ids=["of the rollup", "of recipients"])
def test_the_largest_groups_of_the_whole_time_are_kept_in_every_step(store: Store, by: tuple[str, ...]) -> None:
    load(store, *(event for n in range(9) for event in mail(n, "gmail.com")), *mail(0, "yahoo.com"), *mail(2, "web.de"))
    rows = ask(store, Question(by=by, clock="event", step=Step("1h"), top=1))
    assert {row.key[by[0]] for row in rows} == {"gmail" if by == ("provider",) else "blue"}
    assert len(rows) == 2  # injected in one hour, delivered in the next
