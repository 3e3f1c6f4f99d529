"""Messages in chunks (RFC 3030) come to the same as after DATA, and the limits hold for them."""

import asyncio

import pytest

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
BEGIN = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\n"
CONTENT = b"Subject: x\r\n\r\n.dots\r\n.\r\n..\r\nend\r\n"


async def talk(port, said):
    """The codes of all answers after those to BEGIN, everything sent at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(BEGIN + said + b"QUIT\r\n")
    answers = (await asyncio.wait_for(reader.read(), 10)).decode().splitlines()
    writer.close()
    answers = [line for line in answers if line[3:4] != "-"]
    return [line[:3] for line in answers[4:]], answers


def chunks(*parts):
    last = len(parts) - 1
    return b"".join(
        b"BDAT %d%s\r\n%s" % (len(part), b" LAST" if number == last else b"", part) for number, part in enumerate(parts)
    )


@pytest.mark.parametrize("parts", [[CONTENT], [CONTENT[:9], CONTENT[9:20], CONTENT[20:]], [CONTENT, b""]])
async def test_a_message_in_chunks_is_kept_byte_for_byte(start_worker, parts):
    worker = await start_worker(routes=NOWHERE)
    codes, _ = await talk(worker.port, chunks(*parts))
    assert codes == ["250"] * len(parts) + ["221"]
    (message,) = await worker.worker.spool.all()
    assert (await worker.worker.spool.read(message)).endswith(CONTENT)


async def test_two_messages_follow_each_other_in_one_breath(start_worker):
    worker = await start_worker(routes=NOWHERE)
    again = BEGIN.split(b"\r\n", 1)[1]
    codes, _ = await talk(worker.port, chunks(CONTENT) + again + chunks(b"two\r\n"))
    assert codes == ["250", "250", "250", "250", "221"]
    assert len(worker.worker.spool) == 2


async def test_a_chunk_is_read_whole_even_when_it_is_refused(start_worker):
    worker = await start_worker(routes=NOWHERE, max_message_bytes=5000)
    codes, _ = await talk(worker.port, chunks(b"x" * 4000 + b"\r\n", b"NOOP\r\n" * 300, b"y\r\n") + b"NOOP\r\n")
    assert codes == ["250", "552", "503", "250", "221"]
    assert len(worker.worker.spool) == 0


async def test_data_after_chunks_and_chunks_without_recipients_are_refused(start_worker):
    worker = await start_worker(routes=NOWHERE)
    assert (await talk(worker.port, b"BDAT 3\r\nabcDATA\r\n"))[0] == ["250", "503", "221"]
    assert (await talk(worker.port, b"RSET\r\nBDAT 6 LAST\r\nNOOP\r\n"))[0] == ["250", "503", "221"]


@pytest.mark.parametrize("argument", [b"", b"x", b"-1", b"10 LAST LAST", b"1" * 30])
async def test_a_chunk_of_no_known_size_ends_the_connection(start_worker, argument):
    worker = await start_worker(routes=NOWHERE)
    codes, _ = await talk(worker.port, b"BDAT " + argument + b"\r\nMAIL FROM:<evil@example.org>\r\n")
    assert codes == ["501", "421"]


async def test_an_endless_chunk_is_cut_off(start_worker):
    worker = await start_worker(routes=NOWHERE, max_message_bytes=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(BEGIN + b"BDAT 999999999999 LAST\r\n" + b"x" * 4 * 64 * 1024)
    answers = await asyncio.wait_for(reader.read(), 10)
    assert answers.endswith(b"552 5.3.4 The message is larger than this system takes\r\n")
    writer.close()


async def test_bare_line_ends_are_refused_in_chunks_too(start_worker):
    worker = await start_worker(routes=NOWHERE)
    codes, _ = await talk(worker.port, chunks(b"Subject: x\r\n\r\nsmuggled\n.\nMAIL FROM:<b@example.org>\r\n"))
    assert codes == ["552", "221"]


async def test_what_the_sender_asked_for_waits_with_the_message(start_worker):
    worker = await start_worker(routes=NOWHERE)
    said = (
        b"RSET\r\nMAIL FROM:<a@example.org> RET=HDRS SIZE=20 ENVID=e+2B1 MT-PRIORITY=4\r\n"
        b"RCPT TO:<u@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;U@example.com\r\n"
        b"RCPT TO:<v@example.com>\r\nRCPT TO:<w@example.com> NOTIFY=NEVER\r\n"
    )
    codes, _ = await talk(worker.port, said + chunks(CONTENT))
    assert codes == ["250"] * 6 + ["221"]
    messages = {message.recipient[0]: message for message in await worker.worker.spool.all()}
    envelope = messages["u"].envelope
    assert (envelope.ret, envelope.envid, envelope.priority) == ("HDRS", "e+2B1", 4)
    assert {name: (m.notify, m.orcpt) for name, m in messages.items()} == {
        "u": ("SUCCESS,FAILURE", "rfc822;U@example.com"),
        "v": ("", ""),
        "w": ("NEVER", ""),
    }
