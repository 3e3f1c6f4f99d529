"""What the store promises about transactions, restarts, privacy and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analytics import counters
from analytics.errors import SchemaTooNew, StoreBusy, StoreDamaged, StoreError, StoreFull
from analytics.identity import check
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.intake import Batch, Checkpoint, Quarantined
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000
SECRET = "margaret.hamilton"  # noqa: S105  (a name, not a password)


def reception(number: int = 0, recipient: str = f"{SECRET}@gmail.com") -> Event:
    return Event(
        type=EventType.RECEPTION,
        time=START + number,
        node="n",
        mta="kumomta",
        queue_id=f"{number:032x}",
        recipient=recipient,
        created=START + number,
        sender=f"bounce-{SECRET}=gmail.com@news.example",
        message_id=f"<{number}@news.example>",
    )


def bounce(number: int = 0) -> Event:
    text = f"5.1.1 <{SECRET}@gmail.com>: no such user {SECRET}@gmail.com"
    return replace(
        reception(number),
        type=EventType.BOUNCE,
        time=START + number + 1_000_000,
        attempt=1,
        reply=SmtpReply(550, None, text),
    )


def batch(*events: Event, **more: object) -> Batch:
    return Batch("test", [(event,) for event in events], **more)  # type: ignore[arg-type]


def test_replaying_everything_changes_no_number(store: Store) -> None:
    first = store.load(batch(*(reception(n) for n in range(20)), *(bounce(n) for n in range(20))))
    before = (store.query("SELECT * FROM rollup ORDER BY ALL"), counters.read(store.cursor()))
    second = store.load(batch(*(bounce(n) for n in range(20)), *(reception(n) for n in range(20))))
    assert (first.stored, second.stored, second.duplicates) == (40, 0, 40)
    after = counters.read(store.cursor())
    del after["mtascope_collector_records_total"], before[1]["mtascope_collector_records_total"]
    assert (store.query("SELECT * FROM rollup ORDER BY ALL"), after) == before


def test_a_record_repeated_in_one_batch_is_stored_once(store: Store) -> None:
    receipt = store.load(batch(reception(), reception(), reception()))
    assert (receipt.received, receipt.stored, receipt.duplicates) == (3, 1, 2)


def test_the_checkpoint_is_committed_with_the_records_and_survives_a_restart(open_store: Callable[[], Store]) -> None:
    open_store().load(batch(reception(), checkpoints=[Checkpoint("file:1", 4711, "/log/a", finished=True)]))
    reopened = open_store()
    assert reopened.checkpoint("file:1") == Checkpoint("file:1", 4711, "/log/a", finished=True)
    assert reopened.checkpoint("file:2") is None
    assert reopened.load(batch(reception())).duplicates == 1


def test_a_load_that_fails_halfway_keeps_nothing_of_it(store: Store) -> None:
    bad = Checkpoint("file:1", -1)  # an offset below zero fits no column: the last statement of the load fails
    with pytest.raises(StoreError):
        store.load(batch(reception(), checkpoints=[bad]))
    assert store.query("SELECT count(*) FROM event") == [(0,)]
    assert counters.read(store.cursor()) == {}
    assert store.load(batch(reception())).stored == 1


def test_quarantine_keeps_the_bytes_and_the_receipt_adds_up(store: Store) -> None:
    refused = Quarantined("file:1", 10, "malformed", "no JSON", b"\xff\x00garbage", 9)
    receipt = store.load(batch(reception(), quarantined=[refused], ignored={"internal-queue": 3}))
    assert receipt.adds_up
    assert (receipt.received, receipt.quarantined, receipt.ignored) == (5, 1, 3)
    assert store.query("SELECT reason, raw, size FROM quarantine") == [("malformed", b"\xff\x00garbage", 9)]


def test_a_refused_record_that_is_read_again_is_a_duplicate(store: Store) -> None:
    refused = [Quarantined("file:1", n, "malformed", "no JSON", b"garbage", 7) for n in range(3)]
    first = store.load(batch(quarantined=refused))
    second = store.load(batch(quarantined=[*refused, replace(refused[0], offset=99)]))
    assert (first.quarantined, second.quarantined, second.duplicates) == (3, 1, 3)
    assert second.adds_up
    assert store.query("SELECT count(*) FROM quarantine") == [(4,)]


def test_no_column_of_any_table_holds_an_address_in_clear(store: Store) -> None:
    refused = Quarantined("f", 0, "malformed", f"field rcpt <{SECRET}@gmail.com>", f'"{SECRET}@gmail.com"'.encode(), 30)
    store.load(batch(reception(), bounce(), quarantined=[refused]))
    found = store.query("SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT temporary")
    tables = [name for (name,) in found]
    assert len(tables) >= 8
    for table in tables:
        assert SECRET not in repr(store.query(f"SELECT * FROM {table}")), table


def test_a_clock_that_runs_ahead_is_clamped_and_shown(store: Store, clock: Callable[[], int]) -> None:
    day = 86_400_000_000
    store.load(batch(replace(reception(), time=clock() + day, created=clock() + day)))
    assert store.query("SELECT epoch_us(reached), ahead_us FROM watermark") == [(clock(), day)]


def test_a_second_process_is_told_that_the_store_has_an_owner(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys, duckdb; sys.path.insert(0, '.')\n"
        "from pathlib import Path; from analytics.store import _open; from analytics.settings import StoreSettings\n"
        f"_open(Path({str(store.path)!r}), StoreSettings())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert StoreBusy.__name__ in told.stderr
    assert str(store.path) in told.stderr


def test_a_store_of_a_newer_version_is_refused_by_name(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store._con.execute("INSERT INTO schema_version VALUES (999, now()::TIMESTAMP)")
    with pytest.raises(SchemaTooNew, match="999"):
        open_store()


def test_a_file_that_is_no_database_is_called_damaged(open_store: Callable[[], Store], tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreDamaged, match=r"store\.duckdb"):
        open_store()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB; needs the right to mount, which CI has."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_keeps_what_was_committed_and_is_over_when_there_is_room(
    small_disk: Path, store_at: Callable[[Path], Store]
) -> None:
    stored, number = 0, 0
    with store_at(small_disk / "store.duckdb") as store:
        with pytest.raises(StoreFull, match="no space"):  # noqa: PT012  (which load fills it is not known)
            for number in range(60):
                stored += store.load(_large(number)).events_stored
        assert StoreFull.temporary
        assert store.query("SELECT count(*) FROM event") == [(stored,)]
        subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
        stored += store.load(_large(number)).events_stored
        assert store.query("SELECT count(*) FROM event") == [(stored,)]
        assert check(store.cursor()).holds


def _large(number: int) -> Batch:
    """Two thousand events with texts that do not compress to nothing."""
    return batch(*(reception(number * 2000 + n) for n in range(2000)))


_LOADER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from conftest import Clock, make_store
from test_store import batch, bounce, reception
from mta.events.intake import Checkpoint
store = make_store(Path({path!r}), Clock())
point = store.checkpoint("file:1")
done = point.offset if point else 0
print("ready", flush=True)
for number in range(done, 400):
    events = [event for n in range(number * 10, number * 10 + 10) for event in (reception(n), bounce(n))]
    import dataclasses
    store.load(dataclasses.replace(batch(*events), checkpoints=[Checkpoint("file:1", number + 1)]))
"""


@pytest.mark.e2e
def test_kill_9_in_the_middle_of_loads_leaves_what_was_committed_and_its_checkpoint(
    tmp_path: Path, store_at: Callable[[Path], Store]
) -> None:
    path = tmp_path / "store.duckdb"
    here = Path(__file__).parent
    code = _LOADER.format(root=str(here.parents[1]), tests=str(here), path=str(path))
    for wait in (0.3, 0.55, 0.8, 0.4):
        loading = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert loading.stdout is not None
        assert loading.stdout.readline() == b"ready\n"
        time.sleep(wait)
        os.kill(loading.pid, signal.SIGKILL)
        loading.wait()
        loading.stdout.close()
        with store_at(path) as store:
            point = store.checkpoint("file:1")
            batches = point.offset if point else 0
            assert store.query("SELECT count(*) FROM event") == [(20 * batches,)]
            assert store.query("SELECT count(*) FROM unit") == [(10 * batches,)]
            assert sum(counters.read(store.cursor()).get("mtascope_events_total", {}).values()) == 20 * batches
            assert check(store.cursor()).holds
    assert batches > 0
