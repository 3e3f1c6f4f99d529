"""How the store does as it grows: loading, sealing, size on disk, memory, and the questions that boards ask.

    python -m bench.bench_store [--events 1000000] [--days 14] [--copies 1] [--arrive 0] [--keep DIR]

Events are made in clear by SQL (bench/histories.py) and handed to the store where the rows of a parsed batch would be,
so the figures are those of everything after parsing: keys, dedupe, providers, classes, outcomes, figures, commit,
sealing. `--copies` repeats the sealed history backwards in time, under other identities, to ask questions of more mail
than there is time to load. `--arrive` keeps so many events a second coming while the questions are asked again.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from analytics.buckets import Step
from analytics.columns import Told
from analytics.enrich import Enricher
from analytics.identity import check
from analytics.latency import latencies
from analytics.rates import Question, ask
from analytics.reasons import top_reasons
from analytics.settings import StoreSettings
from analytics.snapshot import take_snapshot
from analytics.stager import Staged
from analytics.staging import create_clear, key
from analytics.store import Store
from analytics.trace import trace
from bench import histories
from mta.events.instants import DAY
from mta.events.intake import Batch
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy

END = 1_790_000_000_000_000 // DAY * DAY
KEYRING = Keyring(b"i" * 32, {1: b"r" * 32})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=50_000, help="events a transaction")
    parser.add_argument("--days", type=float, default=14)
    parser.add_argument("--copies", type=int, default=1, help="how often the sealed history is there")
    parser.add_argument("--arrive", type=int, default=0, help="events a second while questions are asked again")
    parser.add_argument("--seal-after", type=float, default=48, help="hours of silence after which mail is sealed")
    parser.add_argument("--keep", type=Path, help="folder to keep the store in, or to ask the one that is there")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        there = (folder / "store.duckdb").exists()
        clock = Clock(END - round(given.days * DAY))
        store = stack.enter_context(open_store(folder, clock, given.seal_after))
        if not there:
            load_all(store, clock, round(given.events / histories.EVENTS_PER_MESSAGE), given)
        clock.now = END
        report_size(store)
        report_questions(store, "at rest")
        if given.arrive:
            with arriving(store, clock, given.arrive):
                report_questions(store, f"while {given.arrive} events/s arrive")
        print(f"memory (peak) {peak_megabytes():.0f} MB")


class Clock:
    """The instant that the load has reached, microseconds."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        """Now."""
        return self.now


def open_store(folder: Path, clock: Clock, seal_after: float = 48) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    enricher = Enricher(KEYRING, provider_map(), taxonomy(), reply_classifier())
    return Store(folder / "store.duckdb", enricher, StoreSettings(seal_after_hours=seal_after), clock=clock)


def staged(store: Store, number: int, *, start: int, step: float, first: int, last: int) -> Staged:
    """A batch as the stager leaves it, its events told by SQL."""
    con = store.cursor()
    try:
        create_clear(con)
        histories.prepare(con)
        histories.tell(con, start=start, step=step, first=first, last=last)
        table = f"staging.made_{number}"
        events = key(con, KEYRING, table)
        return Staged(Batch("bench"), events, Told(), events, table)
    finally:
        con.close()


def load_all(store: Store, clock: Clock, messages: int, given: argparse.Namespace) -> None:
    start, step = END - round(given.days * DAY), given.days * DAY / messages
    portion = round(given.batch / histories.EVENTS_PER_MESSAGE)
    events, loading, keying, slowest = 0, 0.0, 0.0, 0.0
    began = time.perf_counter()
    for number, first in enumerate(range(0, messages, portion)):
        last = min(first + portion, messages)
        made = time.perf_counter()
        batch = staged(store, number, start=start, step=step, first=first, last=last)
        keying += time.perf_counter() - made
        clock.now = start + round(last * step)
        at = time.perf_counter()
        events += store.load(batch).events_stored
        took = time.perf_counter() - at
        loading, slowest = loading + took, max(slowest, took)
    print(f"{events} events in {time.perf_counter() - began:.0f} s: {events / loading:,.0f} events/s loaded and sealed")
    print(f"slowest load {slowest:.1f} s; made and keyed at {events / keying:,.0f}/s")
    clock.now = END + 3 * DAY
    at = time.perf_counter()
    parts = store.tend(thoroughly=True)
    print(f"the last days sealed in {time.perf_counter() - at:.1f} s ({sum(part.events for part in parts)} events)")
    store._con.execute("CREATE TEMP TABLE original AS FROM rollup")
    for copy in range(1, given.copies):
        repeat(store, copy, copy * round(given.days * DAY))
    store._tending.compact(END)
    store._tending.checkpoint(END)


def repeat(store: Store, copy: int, back: int) -> None:
    """The sealed history once more, so much earlier and of other people."""
    with store.writing() as con:
        names = [name for (name,) in con.execute("SELECT name FROM part WHERE name NOT LIKE 'copy%'").fetchall()]
        ids = ", ".join(f"hash({name}, {copy}) AS {name}" for name in ("unit_id", "message_key", "message_hash"))
        for name in names:
            select = (
                f"SELECT * REPLACE (injected_at - to_microseconds({back}) AS injected_at, {ids}) "
                f"FROM read_parquet('{store._parts.path(name)}')"
            )
            part = store._parts.write(con, select, f"copy{copy}")
            assert part is not None
            store._parts.enter(con, part, END)
        con.execute("INSERT INTO rollup SELECT * REPLACE (bucket - to_microseconds(?) AS bucket) FROM original", [back])
        store._sealed.refresh()


def report_size(store: Store) -> None:
    [(parts, recipients, events, in_parts)] = store.query(
        "SELECT count(*), sum(recipients)::BIGINT, sum(events)::BIGINT, sum(bytes)::BIGINT FROM part"
    )
    hot = store.query("SELECT count(*) FROM event")[0][0]
    total = events + hot
    rows = store.query("SELECT count(*) FROM rollup")[0][0]
    print(f"{total:,} events ({hot:,} hot), {recipients:,} sealed recipients in {parts} parts, {rows:,} figures")
    print(f"on disk {store.size() / total:.1f} B/event, of these parts {in_parts / total:.1f}; "
          f"identity {'holds' if check(store.cursor()).holds else 'BROKEN'}")  # fmt: skip


def report_questions(store: Store, when: str) -> None:
    week = END - 7 * DAY
    everyone = "user7@gmail.com"

    def split(*by: str, clock: str = "cohort", since: int = week) -> Callable[[], object]:
        return lambda: ask(store, Question(by=by, since=since, until=END, clock=clock))  # type: ignore[arg-type]

    questions: dict[str, Callable[[], object]] = {
        "24 h by provider in 5 minutes": lambda: ask(
            store, Question(since=END - DAY, until=END, clock="event", step=Step("5m"))
        ),
        "13 months by provider in days": lambda: ask(store, Question(since=END - 396 * DAY, step=Step("1d"))),
        "7 days by provider and tenant": split("provider", "tenant"),
        "the same on the event clock": split("provider", "tenant", clock="event"),
        "7 days by tenant and source": split("tenant", "source"),
        "7 days by domain and pool": split("domain", "pool"),
        "7 days by campaign and node": split("campaign", "node"),
        "7 days by campaign and provider, event": split("campaign", "provider", clock="event"),
        "7 days by class and provider": split("bounce_class", "provider"),
        "7 days by domain and campaign": split("domain", "campaign"),
        "latency by provider, 24 h": lambda: latencies(store, Question(since=END - DAY, until=END)),
        "latency by provider, 7 days": lambda: latencies(store, Question(since=week, until=END)),
        "reasons of the last day": lambda: top_reasons(store, since=END - DAY),
        "trace of a recipient": lambda: trace(store, everyone),
        "snapshot for /metrics": lambda: take_snapshot(store),
    }
    print(f"{when}: median and slowest of 5 after a first, and what one costs of processor time")
    for name, question in questions.items():
        times, began_cpu = [], 0.0
        for number in range(6):
            began_cpu = time.process_time() if number == 1 else began_cpu
            began = time.perf_counter()
            question()
            times.append(1000 * (time.perf_counter() - began))
        cpu = 1000 * (time.process_time() - began_cpu) / 5
        print(f"  {name:40} {statistics.median(times[1:]):8.1f} {max(times[1:]):8.1f} ms   {cpu:8.1f} ms cpu")


@contextlib.contextmanager
def arriving(store: Store, clock: Clock, rate: int) -> Iterator[None]:
    """One batch a second of new mail, in a thread of its own."""
    stop = threading.Event()
    late: list[float] = []

    def load() -> None:
        messages, number = round(rate / histories.EVENTS_PER_MESSAGE), 0
        while not stop.wait(max(0.0, 1 - (late[-1] if late else 0))):
            began, number = time.perf_counter(), number + 1
            first = 1_000_000_000 + number * messages
            begin = clock.now - first * 1_000_000 // messages
            batch = staged(store, 10_000_000 + number, start=begin, step=1e6 / messages, first=first,
                           last=first + messages)  # fmt: skip
            store.load(batch)
            clock.now += 1_000_000
            late.append(time.perf_counter() - began)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        print(f"a second's events took {statistics.median(late):.2f} s, at most {max(late):.2f} s")


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
