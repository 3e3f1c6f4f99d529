"""The message is read as aiosmtpd's own loop reads it, but within bounds."""

import asyncio

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.body import Overlong, read_body

LINE_LIMIT = 40

pieces = st.lists(
    st.sampled_from(
        [b"a", b".", b"..", b"\r\n", b"\n", b"\r", b"\r\n.", b"x" * 30, b"v" * 38, b"w" * 39, b"y" * 60, b"\xff\x00"]
    ),
    max_size=25,
)


async def ours(data, limit):
    reader = asyncio.StreamReader(limit=LINE_LIMIT + 1)
    reader.feed_data(data)
    reader.feed_eof()
    return await read_body(reader, max_line=LINE_LIMIT + 1, max_bytes=limit)


async def stock(data, limit):
    """What aiosmtpd makes of it."""

    class Handler:
        content = None

        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            self.content = envelope.content
            return "250 ok"

    class Session(SMTP):
        line_length_limit = LINE_LIMIT + 1

        async def push(self, status):
            self.last = status

    handler = Handler()
    session = Session(handler, data_size_limit=limit, loop=asyncio.get_running_loop())
    session._reader = asyncio.StreamReader(limit=LINE_LIMIT + 1)
    session._reader.feed_data(data)
    session.transport = object()
    session.session = session._create_session()
    session.session.host_name = "c"
    session.envelope = session._create_envelope()
    session.envelope.rcpt_tos = ["u@example.com"]
    await session.smtp_DATA(None)
    return handler.content if handler.content is not None else session.last[:3]


@settings(max_examples=200, deadline=None)
@given(pieces)
def test_any_message_is_read_like_aiosmtpd_reads_it(parts):
    data = b"".join(parts) + b"\r\n.\r\n"

    async def both():
        return await ours(data, 100), await stock(data, 100)

    found, expected = asyncio.run(both())
    if isinstance(found, Overlong):
        assert expected == found.reply[:3] or found.cut_off
    else:
        assert found == expected


async def test_dots_are_unstuffed_and_only_a_lone_dot_ends_the_message():
    data = b"..\r\n.a\r\n\n.\n\r.\r\n. \r\n.\r\nMAIL"
    assert await ours(data, 1000) == b".\r\na\r\n\n.\n\r.\r\n \r\n"


async def test_the_rest_of_a_long_line_is_not_taken_for_the_end():
    assert (await ours(b"x" * (LINE_LIMIT + 1) + b".\r\n" + b".\r\n", 1000)).reply.startswith("500")


async def test_a_client_that_never_ends_is_cut_off_and_costs_no_memory():
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    reading = asyncio.create_task(read_body(reader, max_line=LINE_LIMIT, max_bytes=100_000))
    fed = 0
    while not reading.done():
        reader.feed_data(b"z" * 1000)
        fed += 1000
        await asyncio.sleep(0)
        assert fed < 2_000_000
    assert reading.result() == Overlong("500 5.5.2 Line too long (RFC 5321 section 4.5.3.1.6)", cut_off=True)


async def test_a_client_that_leaves_is_noticed():
    with pytest.raises(asyncio.IncompleteReadError):
        await ours(b"half a mess", 1000)
