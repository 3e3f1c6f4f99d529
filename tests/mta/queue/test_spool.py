"""The spool loses nothing that it took, and hands each log record out once."""

import asyncio
import errno
import os
import shutil
import threading

import pytest

from mta.errors import SpoolError, SpoolFull, SpoolLocked
from mta.queue.spool import Spool


async def reopen(open_spool, spool, tmp_path, logged=0):
    """What a new process finds after kill -9 at this instant."""
    copy = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
    shutil.copytree(spool.folder, copy)
    return open_spool(copy, logged)


async def ids(spool):
    return [message.id for message in await spool.all()]


async def test_an_accepted_message_is_there_after_a_crash_with_its_body_and_its_record(open_spool, tools, tmp_path):
    spool = open_spool()
    envelope, messages = tools.messages(recipients=2)
    await spool.accept(envelope, messages, b"the body\r\n", [tools.record(), tools.record()])
    found = await reopen(open_spool, spool, tmp_path)
    assert await ids(found) == [message.id for message in messages]
    back = await found.find(messages[1].id)
    assert (back.recipient, back.queue, back.due, back.envelope.sender) == (
        messages[1].recipient,
        "t@example.com",
        1_000_000,
        "a@example.org",
    )
    assert await found.read(back) == b"the body\r\n"
    assert found.sent == spool.sent
    assert found.sent.seqs == [1, 2]


async def test_results_are_remembered_and_finished_messages_are_gone(open_spool, tools, tmp_path):
    spool = open_spool()
    envelope, (first, second) = tools.messages(recipients=2)
    await spool.accept(envelope, [first, second], b"x", [])
    await spool.finish(first, [tools.record("Delivery")])
    await spool.postpone(second, 5_000_000, [tools.record("TransientFailure")])
    found = await reopen(open_spool, spool, tmp_path)
    (back,) = await found.all()
    assert (back.id, back.attempts, back.due) == (second.id, 1, 5_000_000)
    assert (found.index.retrying, dict(found.domains)) == (1, {"example.com": 1})


async def test_records_that_the_log_holds_are_not_handed_out_again(open_spool, tools, tmp_path):
    spool = open_spool()
    for _ in range(5):
        await spool.record([tools.record("Rejection")])
    await spool.logged(2)
    assert (await reopen(open_spool, spool, tmp_path)).sent.seqs == [3, 4, 5]
    assert (await reopen(open_spool, spool, tmp_path, logged=4)).sent.seqs == [5]


async def test_numbers_go_on_growing_after_a_restart_even_when_every_segment_was_dropped(open_spool, tools, tmp_path):
    spool = open_spool(segment_bytes=1)
    for _ in range(3):
        await spool.record([tools.record()])
    await spool.logged(3)
    await spool.reclaim()
    found = await reopen(open_spool, spool, tmp_path)
    await found.record([tools.record()])
    assert found.sent.seqs == [4]


@pytest.mark.parametrize("kept", range(0, 1000, 7))
async def test_a_last_segment_torn_at_any_byte_keeps_every_whole_entry(open_spool, tools, tmp_path, kept):
    spool = open_spool()
    envelope, (message,) = tools.messages()
    await spool.accept(envelope, [message], b"body", [tools.record()])
    await spool.postpone(message, 7, [tools.record("TransientFailure")])
    await spool.finish(message, [tools.record("Delivery")])
    (path,) = spool.folder.glob("*.journal")
    whole = path.read_bytes()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / path.name).write_bytes(whole[: min(kept, len(whole))])
    found = open_spool(cut)
    assert found.recovery.damages == ()
    assert found.sent == spool.sent[: len(found.sent)]
    assert len(found) == (1 if 0 < len(found.sent) < 3 else 0)
    await found.record([tools.record("Rejection")])
    again = await reopen(open_spool, found, tmp_path)
    assert again.sent == found.sent
    assert again.recovery.damages == ()


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_power_cut_at_any_byte_of_the_last_segment_costs_only_what_was_not_whole(open_spool, tools, tmp_path):
    spool, states, ends = open_spool(), [], []

    async def note():
        ends.append(next(spool.folder.glob("*.journal")).stat().st_size)
        states.append({message.id: message.attempts for message in await spool.all()})

    for number in range(3):
        envelope, messages = tools.messages(recipients=2)
        await spool.accept(envelope, messages, b"body %d" % number, [tools.record()] * 2)
        await note()
        await spool.postpone(messages[0], 7, [tools.record("TransientFailure")])
        await note()
        await spool.finish(messages[1], [tools.record("Delivery")])
        await note()
    (path,) = spool.folder.glob("*.journal")
    whole, cut = path.read_bytes(), tmp_path / "cut"
    for kept in range(len(whole) + 1):
        cut.mkdir()
        (cut / path.name).write_bytes(whole[:kept])
        found = Spool(cut, outbox=lambda _seq, _line: None, sync=lambda _: None)
        recovery = found.recover(0)
        last = max((number for number, end in enumerate(ends) if end <= kept), default=None)
        assert recovery.damages == ()
        assert {message.id: message.attempts for message in await found.all()} == ({} if last is None else states[last])
        await found.close()
        shutil.rmtree(cut)


async def test_damage_in_the_middle_is_named_set_aside_and_costs_no_neighbour(open_spool, tools, tmp_path):
    spool = open_spool()
    batches = [tools.messages() for _ in range(3)]
    for envelope, messages in batches:
        await spool.accept(envelope, messages, b"body of some length", [tools.record()])
    (path,) = spool.folder.glob("*.journal")
    data = bytearray(path.read_bytes())
    place = spool.index.place(batches[1][1][0].row)
    data[place.offset + place.size - 1] ^= 0xFF
    hurt = tmp_path / "hurt"
    hurt.mkdir()
    (hurt / path.name).write_bytes(data)
    found = open_spool(hurt)
    assert await ids(found) == [batches[0][1][0].id, batches[2][1][0].id]
    (damage,) = found.recovery.damages
    assert str(hurt / path.name) in str(damage)
    assert len(list((hurt / "damaged").iterdir())) == 1


async def test_a_segment_without_a_readable_header_is_set_aside(open_spool, tools, tmp_path):
    spool = open_spool()
    await spool.record([tools.record()])
    (path,) = spool.folder.glob("*.journal")
    hurt = tmp_path / "hurt"
    hurt.mkdir()
    (hurt / path.name).write_bytes(b"\0" * 100 + path.read_bytes())
    found = open_spool(hurt)
    assert "header" in str(found.recovery.damages[0])
    await found.record([tools.record()])


async def test_everything_that_arrives_during_a_sync_shares_the_next_one(open_spool, tools):
    gate, syncs = threading.Event(), []

    def sync(fd):
        syncs.append(fd)
        gate.wait(5)

    spool = open_spool(sync=sync)
    writers = [asyncio.create_task(spool.record([tools.record()]))]
    while not syncs:  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.001)
    writers += [asyncio.create_task(spool.record([tools.record()])) for _ in range(50)]
    await asyncio.sleep(0.01)
    gate.set()
    await asyncio.gather(*writers)
    assert len(syncs) == 2


async def test_nothing_is_acknowledged_or_handed_to_the_log_before_the_sync(open_spool, tools):
    gate = threading.Event()
    spool = open_spool(sync=lambda _: gate.wait(5))
    writer = asyncio.create_task(spool.record([tools.record()]))
    await asyncio.sleep(0.05)
    assert not writer.done()
    assert spool.sent == []
    gate.set()
    await writer
    assert spool.sent.seqs == [1]


async def test_a_client_that_leaves_during_the_sync_does_not_take_its_message_along(open_spool, tools):
    gate = threading.Event()
    spool = open_spool(sync=lambda _: gate.wait(5))
    envelope, messages = tools.messages()
    writer = asyncio.create_task(spool.accept(envelope, messages, b"x", []))
    await asyncio.sleep(0.02)
    writer.cancel()
    gate.set()
    await spool.record([])
    assert await ids(spool) == [messages[0].id]


class FullDisk:
    """Refuses to sync while `full`."""

    full = False

    def __call__(self, fd):
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fdatasync(fd)


async def test_a_full_disk_refuses_new_mail_and_leaves_nothing_half_written(open_spool, tools, tmp_path):
    disk = FullDisk()
    spool = open_spool(sync=disk)
    envelope, kept = tools.messages()
    await spool.accept(envelope, kept, b"x", [tools.record()])
    disk.full = True
    refused, messages = tools.messages()
    with pytest.raises(SpoolFull):
        await spool.accept(refused, messages, b"x", [tools.record()])
    assert await ids(await reopen(open_spool, spool, tmp_path)) == [kept[0].id]


async def test_the_result_of_an_attempt_waits_for_space_instead_of_being_lost(open_spool, tools, tmp_path):
    disk = FullDisk()
    spool = open_spool(sync=disk)
    envelope, (message,) = tools.messages()
    await spool.accept(envelope, [message], b"x", [])
    disk.full = True
    finishing = asyncio.create_task(spool.finish(message, [tools.record("Delivery")]))
    await asyncio.sleep(0.05)
    assert await ids(spool) == [message.id]
    disk.full = False
    await finishing
    found = await reopen(open_spool, spool, tmp_path)
    assert (len(found), found.sent) == (0, spool.sent)


async def test_an_error_of_the_disk_ends_the_journal(open_spool, tools):
    def broken(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spool = open_spool(sync=broken)
    with pytest.raises(SpoolError, match="cannot be written"):
        await spool.record([tools.record()])
    assert spool.failed.done()
    with pytest.raises(SpoolError, match="closed"):
        await spool.record([tools.record()])


async def test_old_segments_go_when_their_mail_is_finished_and_their_records_are_logged(open_spool, tools):
    spool = open_spool(segment_bytes=2000)
    for _ in range(10):
        envelope, (message,) = tools.messages()
        await spool.accept(envelope, [message], b"x" * 900, [tools.record()])
        await spool.finish(message, [tools.record("Delivery")])
    before = spool.size
    await spool.reclaim()
    assert spool.size == before
    await spool.logged(20)
    await spool.reclaim()
    assert spool.size < 3000


async def test_an_old_message_that_holds_space_back_is_copied_forward(open_spool, tools, tmp_path):
    spool = open_spool(segment_bytes=2000)
    envelope, old = tools.messages(recipients=2)
    await spool.accept(envelope, old, b"old body", [])
    await spool.postpone(old[0], 99, [])
    for _ in range(10):
        fresh, (message,) = tools.messages(size=900)
        await spool.accept(fresh, [message], b"x" * 900, [])
        await spool.finish(message, [])
    await spool.reclaim()
    assert spool.size < 4000
    assert await spool.read(old[0]) == b"old body"
    found = await reopen(open_spool, spool, tmp_path)
    assert [(m.id, m.attempts, m.due) for m in await found.all()] == [
        (old[0].id, 1, 99),
        (old[1].id, 0, 1_000_000),
    ]
    assert await found.read(await found.find(old[1].id)) == b"old body"


async def test_a_message_under_way_is_not_copied(open_spool, tools):
    spool = open_spool(segment_bytes=500)
    envelope, (old,) = tools.messages()
    await spool.accept(envelope, [old], b"old body", [])
    assert await spool.claim(old)
    for _ in range(10):
        fresh, (message,) = tools.messages(size=900)
        await spool.accept(fresh, [message], b"x" * 900, [])
        await spool.finish(message, [])
    place = spool.index.place(old.row)
    await spool.reclaim()
    assert spool.index.place(old.row) == place


async def test_a_folder_that_cannot_be_made_is_named(open_spool, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match=r"file/spool: the spool cannot be opened.*--data"):
        open_spool(tmp_path / "file" / "spool")


async def test_a_second_worker_is_kept_out(open_spool, tmp_path):
    open_spool(tmp_path / "one")
    with pytest.raises(SpoolLocked, match="another worker"):
        open_spool(tmp_path / "one")
