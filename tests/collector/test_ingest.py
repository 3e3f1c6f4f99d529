"""Loading files once: all of them, to their end, with every record accounted for."""

from __future__ import annotations

import os
import subprocess
import sys
from io import FileIO

import pytest
import zstandard

from collector.errors import SourceMissing, UnknownFormat
from collector.follower import Follower
from collector.ingest import ingest_paths, ingest_stream
from collector.settings import CollectorSettings
from mta.events.errors import MtascopeError

GARBAGE = b"garbage\n\xff\xfe\n{}\n[1]\n"


class _Busy(MtascopeError):
    temporary = True


def stored(store) -> list[str]:
    return [event.recipient for event in store.events.values()]


def test_every_line_is_in_exactly_one_count(tmp_path, store, records):
    log = (
        records(3)
        + GARBAGE
        + b"\n"
        + records(1, start=3, type="Vaporised")
        + records(1, start=4, reception_protocol="LogRecord")
        + records(2)
    )
    (tmp_path / "log").write_bytes(log)
    receipt, files = ingest_paths([str(tmp_path)], store)
    assert files == 1
    assert (receipt.received, receipt.stored, receipt.duplicates) == (12, 3, 2)
    assert (receipt.quarantined, receipt.ignored) == (5, 2)
    assert receipt.adds_up
    assert store.ignored == {"blank": 1, "log-hook": 1}
    assert sorted(item.reason for item in store.quarantined.values()) == [
        "malformed",
        "malformed",
        "malformed",
        "missing-field",
        "unknown-type",
    ]


def test_a_refused_record_is_kept_with_its_offset_and_bytes(tmp_path, store, records):
    (tmp_path / "log").write_bytes(records(1) + GARBAGE + records(1, start=1))
    ingest_paths([str(tmp_path)], store)
    first = min(store.quarantined.values(), key=lambda item: item.offset)
    assert (first.offset, first.raw, first.size, first.reason) == (len(records(1)), b"garbage", 7, "malformed")
    assert stored(store) == ["user0@mailbox.example", "user1@mailbox.example"]


def test_loading_again_changes_nothing(tmp_path, store, records):
    (tmp_path / "log").write_bytes(records(5) + GARBAGE)
    first, _ = ingest_paths([str(tmp_path)], store)
    again, _ = ingest_paths([str(tmp_path)], store)
    assert (first.stored, again.stored, again.quarantined) == (5, 0, 0)
    assert again.duplicates == again.received == first.received
    assert len(store.events) == 5


def test_a_file_and_its_compressed_copy_are_one_set_of_records(tmp_path, store, records):
    (tmp_path / "plain").write_bytes(records(5))
    (tmp_path / "compressed").write_bytes(zstandard.ZstdCompressor().compress(records(5)))
    receipt, files = ingest_paths([str(tmp_path)], store)
    assert (files, receipt.stored, receipt.duplicates) == (2, 5, 5)


def test_a_file_named_twice_is_read_once(tmp_path, store, records):
    path = tmp_path / "log"
    path.write_bytes(records(2))
    receipt, files = ingest_paths([str(path), str(tmp_path), str(tmp_path / "l*")], store)
    assert (files, receipt.received) == (1, 2)


@pytest.mark.parametrize("cut", [0, 1, 100, 590, 591, 592])
def test_a_segment_truncated_anywhere_gives_its_whole_lines_and_one_refused(tmp_path, store, records, cut):
    writer = zstandard.ZstdCompressor().compressobj()
    whole = [writer.compress(records(1, start=n)) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for n in range(3)]
    torn = writer.compress(records(1, start=3) + os.urandom(600).replace(b"\n", b"")) + writer.flush()
    path = tmp_path / "segment"
    path.write_bytes(b"".join(whole) + torn[:cut])
    receipt, _ = ingest_paths([str(path)], store)
    assert receipt.stored == 3
    assert receipt.quarantined == (cut > 0)
    assert all(item.reason == "truncated" for item in store.quarantined.values())


def test_a_damaged_segment_gives_what_stands_before_the_damage(tmp_path, store, records):
    raw = zstandard.ZstdCompressor().compress(records(3))
    (tmp_path / "a").write_bytes(raw + b"\x28\xb5\x2f\xfd" + b"\xff" * 40)
    (tmp_path / "b").write_bytes(zstandard.ZstdCompressor().compress(records(2, start=3)))
    receipt, _ = ingest_paths([str(tmp_path)], store)
    assert (receipt.stored, receipt.quarantined) == (5, 1)
    assert next(iter(store.quarantined.values())).reason == "damaged"


def test_a_last_line_of_a_file_that_may_grow_is_taken_up_again_when_it_is_followed(tmp_path, store, records):
    path = tmp_path / "log"
    path.write_bytes(records(2)[:-10])
    ingest_paths([str(path)], store)
    assert (store.receipt.stored, store.receipt.quarantined) == (1, 1)
    with path.open("ab") as log:
        log.write(records(2)[-10:])
    follower = Follower(CollectorSettings(paths=(str(path),)), store)
    follower.step()
    follower.flush()
    follower.close()
    assert follower.receipt.stored == 1
    assert stored(store) == ["user0@mailbox.example", "user1@mailbox.example"]


def test_a_file_marked_as_finished_is_not_followed_after_it_was_loaded(tmp_path, store, records):
    path = tmp_path / "log"
    path.write_bytes(records(2))
    path.chmod(0o444)
    ingest_paths([str(path)], store)
    follower = Follower(CollectorSettings(paths=(str(path),)), store)
    follower.step()
    follower.flush()
    assert follower.receipt.received == 0


@pytest.mark.parametrize("size", [1, 4, 5, 1000])
def test_batches_are_bounded_by_records_and_each_carries_how_far_it_read(tmp_path, store, records, size):
    (tmp_path / "log").write_bytes(records(10))
    ingest_paths([str(tmp_path)], store, CollectorSettings(batch_records=size))
    assert max(batch.received for batch in store.batches) == min(size, 10)
    read = 0
    for batch in store.batches:
        read += batch.received
        (checkpoint,) = batch.checkpoints
        assert checkpoint.offset == len(records(read))
    assert read == 10


def test_batches_are_bounded_by_bytes(tmp_path, store, records):
    (tmp_path / "log").write_bytes(records(10))
    ingest_paths([str(tmp_path)], store, CollectorSettings(batch_bytes=1024))
    assert max(batch.received for batch in store.batches) == 2


def test_a_record_of_many_recipients_counts_as_many(tmp_path, store, records):
    (tmp_path / "log").write_bytes(records(4, recipient=[f"u{n}@mailbox.example" for n in range(6)]))
    receipt, _ = ingest_paths([str(tmp_path)], store, CollectorSettings(batch_records=10))
    assert [batch.received for batch in store.batches] == [2, 2]
    assert (receipt.received, receipt.stored, receipt.events_stored) == (4, 4, 24)


def test_progress_tells_the_file_and_what_was_committed(tmp_path, store, records):
    for n in range(2):
        (tmp_path / f"log{n}").write_bytes(records(3, start=3 * n))
    seen = []
    settings = CollectorSettings(batch_records=3)
    ingest_paths([str(tmp_path)], store, settings, lambda *told: seen.append(told))
    assert seen == [(str(tmp_path / "log0"), 0, 0), (str(tmp_path / "log1"), 1, 3)]


def test_a_path_that_is_not_there_is_named_before_anything_is_loaded(tmp_path, store, records):
    (tmp_path / "log").write_bytes(records(1))
    with pytest.raises(SourceMissing, match="absent: no such file"):
        ingest_paths([str(tmp_path / "log"), str(tmp_path / "absent")], store)
    assert not store.batches


def test_an_unknown_format_is_refused_before_anything_is_read(tmp_path, store):
    with pytest.raises(UnknownFormat):
        ingest_paths([str(tmp_path)], store, CollectorSettings(format="sendmail"))


def test_a_store_that_refuses_for_good_passes_its_error_on(tmp_path, store, records):
    (tmp_path / "log").write_bytes(records(1))
    store.refusals = [_Busy("for a moment"), MtascopeError("for good")]
    with pytest.raises(MtascopeError, match="for good"):
        ingest_paths([str(tmp_path)], store)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_a_line_of_a_hundred_megabytes_is_quarantined_and_its_neighbours_are_kept(tmp_path, store, records, compressed):
    path = tmp_path / "log"
    size = 100 << 20
    if compressed:
        parts = [records(1), bytes(size) + b"\n", records(1, start=1)]
        path.write_bytes(b"".join(zstandard.ZstdCompressor().compress(part) for part in parts))
    else:
        with path.open("wb") as log:
            log.write(records(1))
            log.truncate(len(records(1)) + size)
            log.seek(0, os.SEEK_END)
            log.write(b"\n" + records(1, start=1))
    receipt, _ = ingest_paths([str(path)], store)
    assert (receipt.stored, receipt.quarantined) == (2, 1)
    (long,) = store.quarantined.values()
    assert (long.reason, long.size, len(long.raw)) == ("limit", size, 4096)


@pytest.mark.e2e
def test_reading_a_bomb_takes_little_memory(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(512 << 20)))
    script = (
        "import re, sys\n"
        "from collector.ingest import ingest_paths\n"
        "from collector.testing import MemoryStore\n"
        "receipt, _ = ingest_paths([sys.argv[1]], MemoryStore())\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(receipt.quarantined, peak)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, check=True, text=True, timeout=60
    )
    quarantined, peak = map(int, done.stdout.split())
    assert quarantined == 1
    assert peak < 100_000  # KiB


def test_a_pipe_is_loaded_portion_by_portion(store, records):
    reading, writing = os.pipe()
    with FileIO(reading) as raw, FileIO(writing, "wb") as out:
        out.write(records(2) + records(1, start=2)[:-1])
        out.close()
        receipt = ingest_stream(raw, "-", store)
    assert (receipt.received, receipt.stored) == (3, 3)
