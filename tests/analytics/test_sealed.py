"""Mail that was sealed is answered for, found, revived and told apart from repetitions like any other."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analytics import relations
from analytics.buckets import Step
from analytics.care import back_up, erase, restore
from analytics.identity import check
from analytics.latency import latencies
from analytics.rates import Question, ask
from analytics.reasons import top_reasons
from analytics.snapshot import take_snapshot
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
    before, waited = ask(sealed, Question())[0].counts, latencies(sealed, Question())
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
        assert latencies(sealed, Question()) == waited
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


def test_a_backup_holds_the_parts_and_comes_back_whole(
    sealed: Store, tmp_path: Path, hasty_store_at: Callable[[Path], Store]
) -> None:
    before = everything(sealed)
    back_up(sealed, tmp_path / "backup.tar", {})
    place = tmp_path / "new"
    names = {"store.duckdb": place / "store.duckdb"}
    folder = place / "store.duckdb.parts"
    restore(tmp_path / "backup.tar", lambda name: names.get(name) or folder / name.removeprefix("parts/"))
    with hasty_store_at(place / "store.duckdb") as again:
        assert everything(again) == before
        assert again.verify() == []
        assert check(again.cursor()).holds


def test_a_person_is_erased_from_sealed_mail_too_and_the_figures_stay(sealed: Store) -> None:
    before = everything(sealed)
    erased = erase(sealed, "user3@gmail.com")
    assert (erased.events, erased.recipients) == (3, 1)
    assert trace(sealed, "user3@gmail.com") == []
    assert len(trace(sealed, "user4@gmail.com")) == 1
    assert everything(sealed) == before
    assert sealed.load(batch(MAILS)).stored == 0
    assert trace(sealed, "user3@gmail.com") == []


@pytest.mark.parametrize("harm", ["gone", "cut", "flipped"])
def test_a_damaged_part_is_named_with_what_is_lost_and_all_else_goes_on(sealed: Store, harm: str) -> None:
    damaged, *_ = sealed.part_files()
    whole = damaged.read_bytes()
    [(recipients, events)] = sealed.query("SELECT recipients, events FROM part WHERE name = ?", [damaged.name])
    by_provider = ask(sealed, Question())
    if harm == "gone":
        damaged.unlink()
    else:
        damaged.write_bytes(whole[:100] if harm == "cut" else whole[:100] + b"?" + whole[101:])
    [found] = sealed.verify()
    assert (found.name, found.recipients, found.events) == (damaged.name, recipients, events)
    assert found.days == "2026-05-28"
    assert ask(sealed, Question()) == by_provider
    [row] = ask(sealed, Question(by=("tenant",)))
    assert row.counts["injected"] == 20 - recipients
    damaged.write_bytes(whole)
    assert sealed.verify() == []
    assert ask(sealed, Question(by=("tenant",)))[0].counts["injected"] == 20


def test_a_part_that_cannot_be_read_is_found_by_the_first_question_that_reads_it(sealed: Store) -> None:
    damaged, *_ = sealed.part_files()
    [(recipients,)] = sealed.query("SELECT recipients FROM part WHERE name = ?", [damaged.name])
    damaged.write_bytes(damaged.read_bytes()[:-50])
    assert ask(sealed, Question(by=("tenant",)))[0].counts["injected"] == 20 - recipients
    assert sealed.query("SELECT count(*) FROM part WHERE damage IS NOT NULL") == [(1,)]


def test_texts_go_first_and_mails_later_and_no_replay_brings_them_back(
    hasty_store_at: Callable[[Path], Store], tmp_path: Path
) -> None:
    with hasty_store_at(tmp_path / "store.duckdb") as store:
        store.load(batch(MAILS))
        store.tend(thoroughly=True)
        asked = f"SELECT count(*), count(parameters) FROM {relations.events(store)} WHERE bounce_class IS NOT NULL"
        [(failures, texts)] = store.query(asked)
        assert 0 < texts <= failures
        figures = ask(store, Question())
        now, store.clock = store.clock(), lambda: START + 45 * DAY
        for _ in range(4):
            store.tend(thoroughly=True)
        [(hot,)] = store.query("SELECT count(parameters) FROM event WHERE bounce_class IS NOT NULL")
        assert store.query(asked) == [(failures, hot)]
        assert top_reasons(store, since=START)
        store.clock = lambda: now + 500 * DAY
        store.tend(thoroughly=True)
        assert store.part_files() == []
        assert ask(store, Question())[0].counts == figures[0].counts
        assert check(store.cursor()).holds
        assert store.load(batch(MAILS[:3])).duplicates == 3
        store.clock = lambda: now + 1300 * DAY
        store.tend(thoroughly=True)
        assert ask(store, Question()) == []
        assert check(store.cursor()).holds


def test_a_file_that_no_ledger_row_names_is_deleted_at_the_next_start(
    hasty_store_at: Callable[[Path], Store], tmp_path: Path
) -> None:
    path = tmp_path / "store.duckdb"
    with hasty_store_at(path) as store:
        store.load(batch(MAILS))
        store.tend(thoroughly=True)
        kept = store.part_files()
    leftovers = [kept[0].with_name("2026-05-28-000000000000.parquet"), kept[0].with_name(".half.parquet")]
    for leftover in leftovers:
        leftover.write_bytes(b"written, but not yet named")
    with hasty_store_at(path) as store:
        assert store.part_files() == kept
        assert not any(leftover.exists() for leftover in leftovers)


_SEALER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from conftest import START, make_store
from test_sealed import batch, mail
from analytics.settings import StoreSettings
settings = StoreSettings(seal_after_hours=0, seal_recipients=40)
with make_store(Path({path!r}), lambda: START + 30 * 86_400_000_000, settings) as store:
    print("ready", flush=True)
    for number in range(10_000):
        store.load(batch([event for n in range(number * 30, number * 30 + 30) for event in mail(n)]))
        print(number, flush=True)
        store.tend(thoroughly=True)
"""


def _kill_while_sealing(path: Path, wait: float) -> int:
    """The number of the last batch that was acknowledged before the kill."""
    here = Path(__file__).parent
    code = _SEALER.format(root=str(here.parents[1]), tests=str(here), path=str(path))
    sealing = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert sealing.stdout is not None
    assert sealing.stdout.readline() == b"ready\n"
    time.sleep(wait)
    os.kill(sealing.pid, signal.SIGKILL)
    told = sealing.stdout.read().split()
    sealing.wait()
    sealing.stdout.close()
    return int(told[-1]) if told else -1


def _survives_kills(path: Path, kills: int, hasty_store_at: Callable[[Path], Store]) -> None:
    rng, parts = random.Random(kills), 0
    for _ in range(kills):
        last = _kill_while_sealing(path, rng.uniform(0.3, 2.0))
        with hasty_store_at(path) as store:
            [(events, ids)] = store.query(f"SELECT count(*), count(DISTINCT event_id) FROM {relations.events(store)}")
            assert events == ids
            assert events >= 90 * (last + 1)
            assert store.verify() == []
            assert {file.name for file in store.parts.files()} == {file.name for file in store.part_files()}
            assert check(store.cursor()).holds
            assert ask(store, Question(by=("tenant",)))[0].counts["injected"] * 3 == events
            parts = max(parts, len(store.part_files()))
    assert parts > 0


@pytest.mark.e2e
def test_kill_9_at_random_instants_of_sealing_loses_nothing_and_doubles_nothing(
    tmp_path: Path, hasty_store_at: Callable[[Path], Store]
) -> None:
    _survives_kills(tmp_path / "store.duckdb", 4, hasty_store_at)


@pytest.mark.soak
def test_forty_kills_of_a_sealing_store_lose_nothing(tmp_path: Path, hasty_store_at: Callable[[Path], Store]) -> None:
    _survives_kills(tmp_path / "store.duckdb", 40, hasty_store_at)


def test_figures_grow_coarser_with_age_and_keep_their_sums(
    hasty_store_at: Callable[[Path], Store], tmp_path: Path
) -> None:
    with hasty_store_at(tmp_path / "store.duckdb") as store:
        store.load(batch(MAILS))
        day = Question(by=("provider",), step=Step("1d", "Asia/Kathmandu"))
        before, fine = ask(store, day), store.query("SELECT count(*) FROM rollup")
        for days in (4, 50):
            store._tending.compact(START + days * DAY)
            assert ask(store, day) == before
            coarse = store.query("SELECT count(*) FROM rollup")
            assert coarse < fine
            fine = coarse
        assert check(store.cursor()).holds


def test_many_small_parts_of_a_day_become_one_and_answer_the_same(
    hasty_store_at: Callable[..., Store], tmp_path: Path
) -> None:
    with hasty_store_at(tmp_path / "store.duckdb", recipients=200) as store:
        for number in range(20):
            store.load(batch(mail(number)))
            store.tend(thoroughly=True)
        assert 0 < len(store.part_files()) < 12
        assert store.query("SELECT sum(recipients) FROM part") == [(19,)]
        assert ask(store, Question(by=("tenant",)))[0].counts["injected"] == 20
        assert len(trace(store, "user7@gmail.com")[0].events) == 3
        assert store.verify() == []
        assert check(store.cursor()).holds
        store.tend()
        assert {file.name for file in store.parts.files()} == {file.name for file in store.part_files()}


def test_mail_that_was_silent_for_longer_than_a_queue_keeps_it_is_unaccounted_and_not_in_flight(
    hasty_store_at: Callable[..., Store], tmp_path: Path
) -> None:
    with hasty_store_at(tmp_path / "store.duckdb") as store:
        store.load(batch([*mail(0)[:2], *mail(300)[:2]]))
        store.clock = lambda: START + 301 * MINUTE
        for _ in range(2):
            snapshot = take_snapshot(store)
            assert (snapshot.unaccounted, sum(snapshot.in_flight.values())) == (1, 1)
            assert snapshot.identity.holds
            assert snapshot.store_events == 4
            store.tend(thoroughly=True)
        assert store.query("SELECT count(*) FROM unit") == [(1,)]
        store.load(batch(mail(0)))
        assert take_snapshot(store).unaccounted == 0
        assert ask(store, Question())[0].counts["delivered"] == 1
