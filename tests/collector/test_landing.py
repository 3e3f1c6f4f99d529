"""Landing and draining: what was acknowledged is stored once, whatever happens to disk, store and process."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from collector.drain import Drain
from collector.errors import LandingBusy, LandingFailed, LandingFull
from collector.framing.parcels import Parcel, Shape, encode
from collector.landing import Landing, LandingLimits, segments
from collector.settings import CollectorSettings
from collector.testing import MemoryStore
from mta.events.errors import MtascopeError


@pytest.fixture
def landing(tmp_path):
    """Opens landings of one folder, and closes them."""
    opened: list[Landing] = []

    def make(sync=os.fdatasync, **limits) -> Landing:
        one = Landing(tmp_path / "http", LandingLimits(**{"free_bytes": 0} | limits), sync=sync)
        one.open()
        opened.append(one)
        return one

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def drain(tmp_path, store):
    """Reads all that was landed into the store."""

    def run(into: MemoryStore = store, **settings) -> Drain:
        one = Drain({"http": tmp_path / "http"}, into, CollectorSettings(**settings))
        while one.step():
            pass
        one.flush()
        one.close()
        return one

    return run


def lines(data: bytes) -> Parcel:
    return Parcel(data.splitlines(), sender="relay-1")


async def test_what_was_landed_is_stored_and_its_segment_deleted_once_complete(landing, drain, records, store):
    one = landing()
    await one.land(lines(records(5)))
    await one.land(lines(records(5, start=5)))
    drain()
    assert (store.receipt.stored, store.receipt.duplicates) == (10, 0)
    assert len(segments(one.folder)) == 1
    one.close()
    drain()
    assert store.receipt.received == 10
    assert segments(one.folder) == []


async def test_a_landed_parcel_is_on_disk_when_land_returns(landing, records, tmp_path):
    synced: list[int] = []
    parcel = lines(records(3))
    await landing(sync=synced.append).land(parcel)
    (segment,) = segments(tmp_path / "http")
    assert segment.read_bytes() == encode(parcel)
    assert len(synced) == 1


async def test_parcels_that_wait_together_cost_one_sync(landing, records):
    synced: list[int] = []
    one = landing(sync=synced.append)
    futures = [one.post(lines(records(1, start=number))) for number in range(200)]
    for future in futures:
        future.result(5)
    assert len(synced) < 100


async def test_reading_goes_on_inside_a_parcel_after_a_restart(landing, drain, records, store):
    await landing().land(lines(records(10)))
    store.refusals = [MtascopeError("gone for good")]
    with pytest.raises(MtascopeError):
        drain(batch_records=3)
    store.refusals = []
    drain(batch_records=3)
    drain(batch_records=3)
    assert (store.receipt.received, store.receipt.stored) == (10, 10)


class _Away(MtascopeError):
    temporary = True


async def test_a_store_that_is_away_for_long_costs_disk_and_afterwards_all_is_complete(
    landing, drain, records, store, tmp_path
):
    one = landing()
    store.refusals = [_Away("no store")] * 30
    running = Drain({"http": one.folder}, store, CollectorSettings(max_retry_s=0.1))
    thread = threading.Thread(target=running.run)
    thread.start()
    for number in range(20):
        await one.land(lines(records(5, start=5 * number)))
    assert store.receipt.received == 0
    async with asyncio.timeout(20):
        while store.receipt.received < 100:  # noqa: ASYNC110 - a thread makes it so
            await asyncio.sleep(0.05)
    running.stop()
    thread.join()
    assert (store.receipt.stored, store.receipt.duplicates) == (100, 0)
    assert running.receipt.adds_up


async def test_a_crash_between_commit_and_answer_stores_nothing_twice(landing, drain, records, store):
    await landing().land(lines(records(10)))
    store.lost_answers = [MtascopeError("the process died")]
    with pytest.raises(MtascopeError):
        drain(batch_records=4)
    drain()
    assert (store.receipt.stored, store.receipt.duplicates) == (10, 0)


async def test_a_segment_that_was_committed_and_not_yet_deleted_is_not_read_again(
    landing, drain, records, store, monkeypatch
):
    one = landing()
    await one.land(lines(records(2)))
    one.close()
    (segment,) = segments(one.folder)
    kept = segment.read_bytes()
    drain()
    segment.write_bytes(kept)
    segment.chmod(0o400)
    drain()
    assert store.receipt.received == 2
    assert segments(one.folder) == []


async def test_a_full_road_refuses_and_takes_more_once_the_store_has_caught_up(landing, drain, records, store):
    one = landing(capacity_bytes=20_000)
    landed = 0
    with pytest.raises(LandingFull, match="wait to be stored"):  # noqa: PT012 - which one it is does not matter
        for number in range(1000):
            await one.land(lines(records(2, start=2 * number)))
            landed += 2
    assert sum(path.stat().st_size for path in segments(one.folder)) <= 20_000
    drain()
    assert store.receipt.stored == landed > 10
    one._measured = 0.0
    await one.land(lines(records(2, start=5000)))


async def test_a_disk_that_must_keep_free_space_is_left_alone(landing, records):
    with pytest.raises(LandingFull, match="nearly full"):
        await landing(free_bytes=1 << 62).land(lines(records(1)))


async def test_parcels_beyond_the_memory_budget_are_refused(landing, records):
    one = landing(sync=lambda _: time.sleep(0.2), queue_bytes=10_000)
    first = one.post(lines(records(10)))
    with pytest.raises(LandingBusy, match="slower"):  # noqa: PT012 - which one it is does not matter
        for number in range(100):
            one.post(lines(records(5, start=10 + 5 * number)))
    assert first.result(5) is None


async def test_a_disk_that_fills_up_refuses_by_name_keeps_what_was_acknowledged_and_recovers(
    landing, drain, records, store
):
    full = False

    def sync(descriptor: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.fdatasync(descriptor)

    one = landing(sync=sync)
    await one.land(lines(records(3)))
    full = True
    with pytest.raises(LandingFull, match="No space left"):
        await one.land(lines(records(3, start=3)))
    full = False
    await one.land(lines(records(3, start=3)))
    drain()
    assert (store.receipt.stored, store.receipt.duplicates, store.receipt.quarantined) == (6, 0, 0)


@pytest.mark.parametrize("lost", range(1, 60, 7))
async def test_a_torn_end_is_cut_off_and_its_neighbours_stay(landing, drain, records, store, lost):
    one = landing()
    await one.land(lines(records(3)))
    await one.land(Parcel([b"never acknowledged" * 3]))
    one.close()
    (segment,) = segments(one.folder)
    segment.chmod(0o600)
    os.truncate(segment, segment.stat().st_size - lost)
    drain()
    two = landing()
    await two.land(lines(records(3, start=3)))
    drain()
    assert (store.receipt.stored, store.receipt.quarantined) == (6, 0)
    assert len(segments(one.folder)) == 1


async def test_a_damaged_frame_is_quarantined_and_the_next_is_read(landing, drain, records, store):
    one = landing()
    await one.land(lines(records(3)))
    await one.land(lines(records(3, start=3)))
    one.close()
    (segment,) = segments(one.folder)
    data = bytearray(segment.read_bytes())
    data[40] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(data)
    segment.chmod(0o400)
    drain()
    assert (store.receipt.stored, store.receipt.quarantined) == (3, 1)
    assert [item.reason for item in store.quarantined.values()] == ["damaged"]


async def test_two_processes_may_not_land_in_one_folder(landing, tmp_path):
    landing()
    with pytest.raises(LandingFailed, match="another process"):
        Landing(tmp_path / "http").open()


async def test_a_segment_that_is_old_is_completed_though_it_is_small(landing, drain, records, store):
    one = landing(segment_age_s=0)
    await one.land(lines(records(1)))
    for _ in range(30):
        if not segments(one.folder)[0].stat().st_mode & 0o200:
            break
        await asyncio.sleep(0.1)
    drain()
    assert segments(one.folder) == []


async def test_a_refused_record_that_is_shipped_again_is_a_duplicate(landing, drain, store):
    one = landing()
    for _ in range(2):
        await one.land(Parcel([b"not json", b"nor this"], Shape.LINE, "relay-1", "/var/log/x", 100))
    drain(format="kumomta")
    assert (store.receipt.quarantined, store.receipt.duplicates) == (2, 2)
    assert sorted(offset for _, offset in store.quarantined) == [100, 109]


async def test_a_cut_record_is_quarantined_with_the_size_it_had(landing, drain, store):
    await landing().land(Parcel([b"x" * 10], Shape.CUT, size=5_000_000))
    drain()
    (item,) = store.quarantined.values()
    assert (item.reason, item.size, item.raw) == ("limit", 5_000_000, b"x" * 10)


LANDER = """
import asyncio, sys
from pathlib import Path
from collector.framing.parcels import Parcel
from collector.landing import Landing

async def main():
    landing = Landing(Path(sys.argv[1]))
    landing.open()
    for line in sys.stdin.buffer:
        await landing.land(Parcel([line.rstrip(b"\\n")]))
        print(flush=True)

asyncio.run(main())
"""


@pytest.mark.e2e
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path, drain, records, store):
    acknowledged = 0
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", LANDER, str(tmp_path / "http")],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        for number in range(20):
            process.stdin.write(records(1, start=100 * round_ + number))
            process.stdin.flush()
            acknowledged += process.stdout.readline() == b"\n"
        process.stdin.write(records(5, start=100 * round_ + 50))
        process.stdin.flush()
        process.kill()
        process.communicate()
        drain()
    assert acknowledged == 60
    assert store.receipt.stored >= 60
    assert store.receipt.duplicates == store.receipt.quarantined == 0
