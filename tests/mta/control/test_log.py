"""The log is whole, ordered and marked as KumoMTA marks it, whatever killed its writer."""

import asyncio
import os
import stat

import orjson
import pytest
import zstandard

from mta.control.log_segment import LogSegment, find_leftovers, segment_name
from mta.control.log_writer import LogWriter

START = 1_757_675_288_440_526


def lines(first, last):
    return [orjson.dumps({"type": "Reception", "meta": {"mtascope_seq": seq}}) for seq in range(first, last + 1)]


def is_done(path):
    return not path.stat().st_mode & 0o222


class Noted(list):
    async def __call__(self, seq):
        self.append(seq)


@pytest.fixture
def write(tmp_path):
    """Starts a writer with a clock that the test moves."""

    class Clock:
        now = START

        def __call__(self):
            return self.now

    def start(**options):
        writer = LogWriter(tmp_path, Clock(), Noted(), flush_interval=0.01, **options)
        writer.clock, writer.noted = writer._clock, writer._on_durable
        writer.start()
        return writer

    return start


def test_a_segment_is_named_after_its_utc_start_time():
    assert segment_name(START) == "20250912-110808.440526"


@pytest.mark.parametrize("form", ["zstd", "plain"])
async def test_records_are_readable_soon_after_they_came_though_the_segment_is_open(write, log_of, tmp_path, form):
    writer = write(form=form)
    for seq, line in enumerate(lines(1, 100), 1):
        writer.put(seq, line)
    while writer.noted != [100]:  # noqa: ASYNC110 - what is awaited is the effect
        await asyncio.sleep(0.01)
    assert [record["meta"]["mtascope_seq"] for record in log_of(tmp_path)] == list(range(1, 101))
    (path,) = tmp_path.iterdir()
    assert not is_done(path)
    await writer.close()
    assert is_done(path)


async def test_a_segment_is_closed_when_it_is_full_or_old(write, log_of, tmp_path):
    writer = write(segment_bytes=900, segment_duration=60.0)
    for seq, line in enumerate(lines(1, 40), 1):
        writer.put(seq, line)
        if not seq % 20:
            await asyncio.sleep(0.05)
    writer.put(41, lines(41, 41)[0])
    await asyncio.sleep(0.05)
    assert [is_done(path) for path in sorted(tmp_path.iterdir())] == [True, True, False]
    writer.clock.now += 61_000_000
    await asyncio.sleep(0.05)
    assert all(is_done(path) for path in tmp_path.iterdir())
    await writer.close()
    assert len(log_of(tmp_path)) == 41


async def test_a_segment_is_marked_done_only_after_its_last_record_was_noted(tmp_path):
    seen = []

    async def note(seq):
        seen.append((seq, [is_done(path) for path in tmp_path.iterdir()]))

    writer = LogWriter(tmp_path, lambda: START, note, flush_interval=0.01)
    writer.put(1, lines(1, 1)[0])
    writer.start()
    await writer.close()
    assert seen == [(1, [False]), (1, [False])]
    assert all(is_done(path) for path in tmp_path.iterdir())


@pytest.mark.parametrize("form", ["zstd", "plain"])
def test_after_a_kill_at_any_byte_the_last_whole_record_is_found(tmp_path, form):
    (tmp_path / "whole").mkdir()
    segment = LogSegment(tmp_path / "whole", START, form)
    sizes = [0]
    for first in (1, 4, 7):
        segment.write(lines(first, first + 2))
        segment.push()
        sizes.append(segment.path.stat().st_size)
    whole = segment.path.read_bytes()
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = folder / segment.path.name
        path.write_bytes(whole[:cut])
        found = find_leftovers(folder)
        flushed = max(number for number, size in enumerate(sizes) if size <= cut) * 3
        if form == "zstd":
            assert found.last_seq == flushed
        else:
            assert flushed <= found.last_seq <= flushed + 3
            assert path.read_bytes().count(b"\n") == found.last_seq
        found.mark_done()
        assert is_done(path)
    segment.seal()


def test_what_is_flushed_ends_at_a_line_even_in_large_batches(tmp_path):
    segment = LogSegment(tmp_path, START, "zstd")
    rows = [os.urandom(700).hex().encode() for _ in range(600)]
    segment.write(rows)
    segment.push()
    whole = segment.path.read_bytes()
    segment.seal()
    for cut in range(1000, len(whole), 9973):
        text = zstandard.ZstdDecompressor().decompressobj().decompress(whole[:cut])
        assert text == b"" or text.endswith(b"\n")


def test_a_finished_segment_is_not_looked_at(tmp_path):
    segment = LogSegment(tmp_path, START, "plain")
    segment.write(lines(1, 5))
    segment.seal()
    segment.mark_done()
    assert stat.S_IMODE(segment.path.stat().st_mode) == 0o440
    assert find_leftovers(tmp_path).last_seq == 0


def test_a_leftover_that_holds_garbage_is_no_obstacle(tmp_path):
    (tmp_path / "20250912-110808.440526").write_bytes(b"\x28\xb5\x2f\xfd garbage")
    (tmp_path / "20250912-110809.440526").write_bytes(b"no json\n")
    (tmp_path / "20250912-110810.440526").write_bytes(lines(7, 7)[0] + b"\n{}\n")
    assert find_leftovers(tmp_path).last_seq == 7


async def test_a_log_folder_that_refuses_is_waited_for_and_does_not_keep_the_worker_from_ending(tmp_path, log_of):
    folder = tmp_path / "log"
    noted = Noted()
    writer = LogWriter(folder, lambda: START, noted, flush_interval=0.01)
    folder.rmdir()
    writer.put(1, lines(1, 1)[0])
    writer.start()
    await asyncio.sleep(0.05)
    await writer.close(grace=0.05)
    assert isinstance(writer.last_error, FileNotFoundError)
    assert noted == []
