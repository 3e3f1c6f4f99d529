"""Mail that was sealed is answered for, found, revived and told apart from repetitions like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analytics import relations
from analytics.identity import check
from analytics.latency import latencies
from analytics.rates import Question, ask
from analytics.reasons import top_reasons
from analytics.store import Store
from analytics.trace import trace
from mta.events.event import Event, EventType
from mta.events.instants import DAY, HOUR, MINUTE
from mta.events.intake import Batch
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000


def mail(number: int, end: EventType = EventType.DELIVERY) -> list[Event]:
    """Received, put off once, ended."""
    at = START + number * MINUTE
    first = Event(
        type=EventType.RECEPTION, time=at, node="n", mta="kumomta", queue_id=f"{number:032x}", created=at,
        recipient=f"user{number}@gmail.com", sender="bounce@news.example", message_id=f"{number}@news.example",
        tenant="red", campaign="spring", source="ip1", pool="p", size=1000 + number,
    )  # fmt: skip
    later = SmtpReply(421, None, "4.7.0 try again in 300 seconds")
    put_off = replace(first, type=EventType.DEFERRAL, time=at + 3_141_592, attempt=1, reply=later, peer_host="mx.gmail")
    told = SmtpReply(250, None, "ok") if end is EventType.DELIVERY else SmtpReply(550, None, "no such user")
    return [first, put_off, replace(put_off, type=end, time=at + 9_999_999, attempt=2, reply=told)]


MAILS = [event for n in range(20) for event in mail(n, EventType.BOUNCE if n % 5 == 0 else EventType.DELIVERY)]


def batch(events: list[Event]) -> Batch:
    return Batch("test", [(event,) for event in events])


@pytest.fixture
def sealed(hasty_store_at: Callable[[Path], Store], tmp_path: Path) -> Iterator[Store]:
    """A store in which all mails but the last are sealed."""
    with hasty_store_at(tmp_path / "store.duckdb") as store:
        store.load(batch(MAILS))
        store.tend(thoroughly=True)
        assert store.query("SELECT count(*) FROM unit") == [(1,)]
        yield store


def everything(store: Store) -> list[object]:
    """What boards and people ask, about all of it."""
    questions = [Question(by=("provider",)), Question(by=("tenant", "domain"), clock="event"),
                 Question(by=("bounce_class", "pool"))]  # fmt: skip
    return [
        *(ask(store, question) for question in questions),
        latencies(store, Question(by=("campaign",))),
        top_reasons(store, since=START),
    ]


def test_sealing_changes_no_answer(
    hasty_store_at: Callable[[Path], Store], store_at: Callable[[Path], Store], tmp_path: Path
) -> None:
    with hasty_store_at(tmp_path / "a" / "store.duckdb") as store:
        store.load(batch(MAILS))
        before = everything(store)
        assert len(store.tend(thoroughly=True)) == 3
        assert everything(store) == before
        assert check(store.cursor()).holds


def test_every_column_of_an_event_comes_back_but_those_that_are_said_to_be_left_out(
    hasty_store_at: Callable[[Path], Store], tmp_path: Path
) -> None:
    gone = {"queue_id", "message_id", "loaded_at", "template_id", "parameters"}
    with hasty_store_at(tmp_path / "store.duckdb") as store:
        store.load(batch(MAILS))
        kept = ", ".join(name for name in store.event_columns if name not in gone)
        failed = "CASE WHEN bounce_class IS NOT NULL THEN {} END"
        asked = (
            f"SELECT {kept}, {failed.format('template_id')}, {failed.format('parameters')} "
            f"FROM {relations.events(store)} ORDER BY event_id"
        )
        before = store.query(asked)
        store.tend(thoroughly=True)
        assert store.query("SELECT count(*) FROM event") == [(3,)]
        assert store.query(asked) == before


def test_a_replay_of_sealed_mail_stores_nothing(sealed: Store) -> None:
    before = everything(sealed)
    receipt = sealed.load(batch(MAILS))
    assert (receipt.stored, receipt.duplicates) == (0, len(MAILS))
    assert everything(sealed) == before


@pytest.mark.parametrize("wanted", ["3@news.example", "user3@gmail.com", f"{3:032x}"])
def test_sealed_mail_is_found_by_message_id_recipient_and_queue_id(sealed: Store, wanted: str) -> None:
    [found] = trace(sealed, wanted)
    assert [event.type for event in found.events] == ["reception", "deferral", "delivery"]
    assert found.events[1].text == "4.7.0 try again in 300 seconds"
    assert (found.outcome, found.tenant) == ("delivered", "red")
    assert wanted in (found.message_id, found.recipient, *found.queue_ids)


def test_a_complaint_about_sealed_mail_is_attributed_and_counts_at_its_send(sealed: Store) -> None:
    before = ask(sealed, Question())[0].counts
    complaint = Event(
        type=EventType.COMPLAINT, time=START + 5 * HOUR, node="n", mta="kumomta", queue_id="report",
        recipient="fbl@x.example", original_recipient="user3@gmail.com", original_message_id="3@news.example",
    )  # fmt: skip
    for _ in range(2):
        sealed.load(batch([complaint]))
        sealed.tend(thoroughly=True)
        after = ask(sealed, Question())[0].counts
        assert (before["complained"], after["complained"]) == (0, 1)
        assert after["delivered"] == before["delivered"]
        assert check(sealed.cursor()).holds
    [found] = trace(sealed, "user3@gmail.com")
    assert found.complained
    assert found.events[-1].type == "complaint"


def test_a_report_after_the_window_names_its_send_but_leaves_its_figures(sealed: Store) -> None:
    late = Event(
        type=EventType.OOB_BOUNCE, time=START + 20 * DAY, node="n", mta="kumomta", queue_id="report",
        recipient="b@x.example", original_recipient="user3@gmail.com", original_message_id="3@news.example",
        reply=SmtpReply(550, None, "gone"),
    )  # fmt: skip
    sealed.load(batch([late]))
    sealed.tend()
    assert sealed.query("SELECT matched_by, unit_id IS NOT NULL FROM feedback") == [("late", True)]
    assert ask(sealed, Question())[0].counts["oob_bounced"] == 0


def test_an_event_that_comes_weeks_late_changes_its_recipient_and_nobody_else(sealed: Store) -> None:
    before = ask(sealed, Question())[0].counts
    first = replace(mail(3)[1], time=START + 3 * MINUTE + 1_000_000)
    sealed.load(batch([first]))
    assert ask(sealed, Question())[0].counts == {
        **before, "attempts": before["attempts"] + 1, "attempt_deferrals": before["attempt_deferrals"] + 1,
    }  # fmt: skip
    sealed.tend(thoroughly=True)
    assert check(sealed.cursor()).holds
    assert len(trace(sealed, "user3@gmail.com")[0].events) == 4
