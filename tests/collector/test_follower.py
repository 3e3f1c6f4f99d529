"""Following folders: everything once, whatever happens to the files and the process."""

from __future__ import annotations

import dataclasses
import os
import random
import tempfile
import threading
import time
from pathlib import Path

import pytest
import zstandard

from collector.follower import Follower
from collector.settings import CollectorSettings
from collector.testing import MemoryStore
from mta.events.errors import MtascopeError


class _Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class _Busy(MtascopeError):
    temporary = True


@pytest.fixture
def follower():
    """Makes followers of a folder, and closes them."""
    made: list[Follower] = []

    def make(*paths: Path, store: MemoryStore, monotonic=time.monotonic, **settings) -> Follower:
        settings = CollectorSettings(paths=tuple(map(str, paths)), **settings)
        made.append(Follower(settings, store, monotonic=monotonic))
        return made[-1]

    yield make
    for one in made:
        one.close()


def drain(one: Follower) -> None:
    """Let it read everything there is now, and hand it over."""
    while one.step():
        pass
    one.flush()


def finish(path: Path) -> None:
    path.chmod(0o444)


def recipients(store: MemoryStore) -> list[str]:
    return [event.recipient for event in store.events.values()]


def expected(count: int) -> list[str]:
    return [f"user{n}@mailbox.example" for n in range(count)]


def test_records_of_a_growing_file_arrive_as_they_are_written(tmp_path, store, records, follower):
    path = tmp_path / "20260101-000000"
    one = follower(tmp_path, store=store)
    path.write_bytes(records(2))
    drain(one)
    assert recipients(store) == expected(2)
    with path.open("ab") as log:
        log.write(records(3, start=2))
    drain(one)
    assert recipients(store) == expected(5)
    assert one.receipt.adds_up
    assert one.receipt.duplicates == 0


def test_a_line_without_its_end_waits_in_a_file_that_may_grow(tmp_path, store, records, follower):
    path = tmp_path / "log"
    line = records(1)
    path.write_bytes(line[:-10])
    one = follower(tmp_path, store=store)
    drain(one)
    assert store.receipt.received == 0
    with path.open("ab") as log:
        log.write(line[-10:])
    drain(one)
    assert (store.receipt.stored, store.receipt.quarantined) == (1, 0)


def test_a_cut_off_last_line_of_a_finished_file_is_quarantined_with_its_bytes(tmp_path, store, records, follower):
    path = tmp_path / "log"
    path.write_bytes(records(2)[:-10])
    finish(path)
    drain(follower(tmp_path, store=store))
    (cut,) = store.quarantined.values()
    assert (cut.reason, cut.raw) == ("truncated", records(1, start=1)[:-10])
    assert cut.offset == len(records(1))
    assert store.receipt.stored == 1


def test_a_whole_last_line_without_lf_of_a_finished_file_is_a_record(tmp_path, store, records, follower):
    path = tmp_path / "log"
    path.write_bytes(records(2)[:-1])
    finish(path)
    drain(follower(tmp_path, store=store))
    assert (store.receipt.stored, store.receipt.quarantined) == (2, 0)


def test_a_finished_file_is_never_read_again(tmp_path, store, records, follower):
    path = tmp_path / "log"
    path.write_bytes(records(2))
    finish(path)
    drain(follower(tmp_path, store=store))
    again = follower(tmp_path, store=store)
    drain(again)
    assert again.receipt.received == 0
    assert again.health.files_finished == 1


def test_an_open_zstd_segment_is_read_up_to_its_last_flush(tmp_path, store, records, follower):
    path = tmp_path / "segment"
    writer = zstandard.ZstdCompressor().compressobj()
    one = follower(tmp_path, store=store)
    with path.open("wb", buffering=0) as log:
        for n in range(5):
            log.write(writer.compress(records(1, start=n)))
            log.write(writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
            drain(one)
            assert recipients(store) == expected(n + 1)
        log.write(writer.flush())
    finish(path)
    drain(one)
    assert store.receipt.received == 5
    assert next(iter(store.checkpoints.values())).finished


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_growth_in_random_pieces_gives_the_same_records(tmp_path, store, records, follower, compressed):
    data = records(300)
    stored = zstandard.ZstdCompressor().compress(data) if compressed else data
    chance = random.Random(7)
    one = follower(tmp_path, store=store, batch_records=70)
    path = tmp_path / "log"
    position = 0
    with path.open("wb", buffering=0) as log:
        while position < len(stored):
            size = chance.choice([1, 7, 100, 1000]) if compressed else chance.choice([1, 300, 5000])
            log.write(stored[position : position + size])
            position += size
            if chance.random() < 0.3:
                one.step()
    finish(path)
    drain(one)
    assert recipients(store) == expected(300)
    assert (one.receipt.received, one.receipt.duplicates, one.receipt.quarantined) == (300, 0, 0)


def test_a_renamed_file_goes_on_where_it_was(tmp_path, store, records, follower):
    path = tmp_path / "mail.log"
    path.write_bytes(records(2))
    one = follower(tmp_path, store=store)
    drain(one)
    renamed = path.rename(tmp_path / "mail.log.1")
    with renamed.open("ab") as log:
        log.write(records(1, start=2))
    path.write_bytes(records(2, start=3))
    drain(one)
    assert sorted(recipients(store)) == expected(5)
    assert store.receipt.received == 5


def test_a_file_emptied_and_written_anew_is_a_new_source(tmp_path, store, records, follower):
    path = tmp_path / "mail.log"
    path.write_bytes(records(3))
    one = follower(tmp_path, store=store)
    drain(one)
    path.write_bytes(records(5, start=3))  # the same inode, longer than before
    drain(one)
    drain(one)
    assert recipients(store) == expected(8)
    assert len(store.checkpoints) == 2


def test_a_deleted_file_is_read_until_its_writer_falls_silent(tmp_path, store, records, follower):
    clock = _Clock()
    path = tmp_path / "log"
    path.write_bytes(records(1))
    one = follower(tmp_path, store=store, monotonic=clock)
    drain(one)
    with path.open("ab", buffering=0) as log:
        log.write(records(1, start=1))
        path.unlink()
        drain(one)
        log.write(records(1, start=2) + b"cut off")
        drain(one)
    assert recipients(store) == expected(3)
    assert (one.health.files_open, store.receipt.quarantined) == (1, 0)
    clock.seconds += 61
    drain(one)
    assert [item.raw for item in store.quarantined.values()] == [b"cut off"]
    assert one.health.files_open == 0


def test_a_file_that_was_missed_in_one_look_goes_on_where_it_was(tmp_path, store, records, follower):
    clock = _Clock()
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    path.write_bytes(records(1) + records(1, start=1)[:50])
    one = follower(path.parent, store=store, monotonic=clock)
    drain(one)
    away = path.rename(tmp_path / "elsewhere")
    drain(one)
    clock.seconds += 61
    drain(one)
    assert one.health.files_open == 0
    away.rename(path)
    with path.open("ab") as log:
        log.write(records(1, start=1)[50:])
    drain(one)
    assert recipients(store) == expected(2)
    assert store.receipt.received == 2


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_a_restart_at_any_moment_stores_each_record_once(tmp_path, store, records, follower, compressed):
    data = records(100)
    path = tmp_path / "log"
    path.write_bytes(zstandard.ZstdCompressor().compress(data) if compressed else data)
    for _ in range(11):
        store.lost_answers = [KeyboardInterrupt("killed between commit and answer")]
        with pytest.raises(KeyboardInterrupt):
            drain(follower(tmp_path, store=store, batch_records=9))
    store.lost_answers = []
    drain(follower(tmp_path, store=store, batch_records=9))
    assert recipients(store) == expected(100)
    assert (store.receipt.received, store.receipt.duplicates) == (100, 0)


def test_many_files_are_read_in_the_order_they_were_written_with_few_open(tmp_path, store, records, follower):
    for n in (3, 1, 0, 2):
        (tmp_path / f"2026010{n}-000000").write_bytes(records(2, start=2 * n))
    one = follower(tmp_path, store=store, max_open_files=1)
    drain(one)
    drain(one)
    assert recipients(store) == expected(8)
    assert one.health.files_open == 1


def test_a_quiet_file_is_closed_and_opened_again_when_it_grows(tmp_path, store, records, follower):
    clock = _Clock()
    path = tmp_path / "segment"
    writer = zstandard.ZstdCompressor().compressobj()
    path.write_bytes(writer.compress(records(2)) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    one = follower(tmp_path, store=store, monotonic=clock, idle_close_s=60)
    drain(one)
    clock.seconds += 61
    one.step()
    assert one.health.files_open == 0
    with path.open("ab") as log:
        log.write(writer.compress(records(1, start=2)) + writer.flush())
    drain(one)
    assert recipients(store) == expected(3)
    assert store.receipt.received == 3


def test_names_that_begin_with_a_dot_are_left_alone(tmp_path, store, records, follower):
    (tmp_path / ".checkpoint").write_bytes(records(1))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "log").write_bytes(records(1))
    drain(follower(tmp_path, store=store))
    assert store.receipt.received == 0


def test_a_store_that_refuses_for_a_moment_is_asked_again(tmp_path, store, records, follower):
    (tmp_path / "log").write_bytes(records(3))
    store.refusals = [_Busy("checkpointing")]
    one = follower(tmp_path, store=store)
    drain(one)
    assert store.receipt.stored == 3
    assert one.health.last_error_text == "checkpointing"


def test_a_store_that_refuses_for_good_ends_the_run(tmp_path, store, records, follower):
    (tmp_path / "log").write_bytes(records(3))
    store.refusals = [MtascopeError("written by a newer version")]
    with pytest.raises(MtascopeError, match="newer version"):
        drain(follower(tmp_path, store=store))


def test_stopping_while_the_store_refuses_ends_the_run_and_loses_nothing(tmp_path, store, records, follower):
    (tmp_path / "log").write_bytes(records(3))
    one = follower(tmp_path, store=store, batch_age_s=0.01)
    store.refusals = [_Busy("full")] * 1000
    thread = threading.Thread(target=one.run)
    thread.start()
    while not one.health.last_error:
        pass
    one.stop()
    thread.join(5)
    assert not thread.is_alive()
    store.refusals = []
    drain(follower(tmp_path, store=store))
    assert recipients(store) == expected(3)


def test_a_young_batch_waits_and_an_old_one_does_not(tmp_path, store, records, follower):
    clock = _Clock()
    (tmp_path / "log").write_bytes(records(1))
    one = follower(tmp_path, store=store, monotonic=clock)
    one.step()
    assert not store.batches
    clock.seconds += 1
    one.step()
    assert store.receipt.stored == 1


def test_a_missing_folder_is_reported_and_its_neighbours_are_followed(tmp_path, store, records, follower):
    (tmp_path / "log").write_bytes(records(1))
    one = follower(tmp_path / "absent", tmp_path, store=store)
    drain(one)
    assert store.receipt.stored == 1
    assert "absent: no such file or folder" in one.health.last_error_text


def test_a_file_that_gives_nothing_new_causes_no_batch(tmp_path, store, records, follower):
    path = tmp_path / "log"
    path.write_bytes(records(1))
    one = follower(tmp_path, store=store)
    drain(one)
    with path.open("ab") as log:
        log.write(records(1)[:20])
    drain(one)
    assert len(store.batches) == 1


def test_a_file_of_which_all_is_read_but_not_all_decoded_is_not_left_behind(tmp_path, store, records, follower):
    large = records(50, padding="x" * 900_000)
    path = tmp_path / "segment"
    path.write_bytes(zstandard.ZstdCompressor().compress(large))
    assert path.stat().st_size < 200_000
    drain(follower(tmp_path, store=store))
    assert recipients(store) == expected(50)


def test_the_cut_off_line_of_a_file_that_was_emptied_is_quarantined(tmp_path, store, records, follower):
    path = tmp_path / "mail.log"
    path.write_bytes(records(1) + b'{"cut')
    one = follower(tmp_path, store=store)
    drain(one)
    path.write_bytes(records(1, start=1))  # the same inode, shorter than before
    drain(one)
    drain(one)
    assert recipients(store) == expected(2)
    assert [item.raw for item in store.quarantined.values()] == [b'{"cut']


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_a_file_that_ends_before_its_checkpoint_is_read_from_its_beginning(
    tmp_path, store, records, follower, compressed
):
    path = tmp_path / "log"
    encode = zstandard.ZstdCompressor().compress if compressed else bytes
    path.write_bytes(encode(records(3)))
    drain(follower(tmp_path, store=store))
    (checkpoint,) = store.checkpoints.values()
    store.checkpoints[checkpoint.source] = dataclasses.replace(checkpoint, offset=10_000_000)
    one = follower(tmp_path, store=store)
    drain(one)
    assert (one.receipt.duplicates, len(store.events)) == (3, 3)


def test_a_restarted_collector_reads_only_what_it_has_not_committed(tmp_path, store, records, follower):
    path = tmp_path / "log"
    path.write_bytes(records(100))
    drain(follower(tmp_path, store=store))
    with path.open("ab") as log:
        log.write(records(1, start=100))
    one = follower(tmp_path, store=store)
    drain(one)
    assert one.receipt.received == 1


@pytest.fixture
def open_to_all():
    """A folder that users other than root can get into, and for the test's while we are such a user."""
    nobody = 65_534
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        if os.geteuid() == 0:
            os.seteuid(nobody)
        try:
            yield Path(name)
        finally:
            if os.getuid() == 0:
                os.seteuid(0)


def test_a_file_that_may_not_be_read_is_named_and_its_neighbours_are_followed(open_to_all, store, records, follower):
    (open_to_all / "a").write_bytes(records(1))
    (open_to_all / "a").chmod(0)
    (open_to_all / "b").write_bytes(records(1))
    one = follower(open_to_all, store=store)
    drain(one)
    assert store.receipt.stored == 1
    assert "permission denied" in one.health.last_error_text


def test_the_backlog_is_what_is_stored_and_not_read(tmp_path, store, records, follower):
    one = follower(tmp_path, store=store, max_open_files=1)
    (tmp_path / "a").write_bytes(records(40, padding="x" * 900_000))
    (tmp_path / "b").write_bytes(records(2))
    one.step()
    stored = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert (tmp_path / "b").stat().st_size < one.health.backlog_bytes < stored
    drain(one)
    drain(one)
    assert one.health.backlog_bytes == 0
