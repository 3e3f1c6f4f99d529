"""The fast road of MAIL and RCPT comes to the same as aiosmtpd's own."""

import asyncio
import socket

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.session import Bounds, Session

PIECES = """MAIL|mail|RCPT| | FROM:|from:| TO:|to: |<a@example.org>|<b@EXAMPLE.com>|<>|<|>|a.b+c=d@example.org|\t
<"a b"@example.org>|<a..b@example.org>|<@relay:u@example.com>|<u@[192.0.2.1]>| SIZE=10| size=20| SIZE=99999
 BODY=7BIT| BODY=8BITMIME| SMTPUTF8| X=1| NOTIFY=NEVER"""
WORDS = st.sampled_from([piece for row in PIECES.split("\n") for piece in row.split("|")])
MAIL = st.builds("MAIL FROM:{}{}".format, WORDS, st.lists(WORDS, max_size=2).map("".join))
RCPT = st.builds("RCPT TO:{}{}".format, WORDS, st.lists(WORDS, max_size=1).map("".join))
LINES = st.lists(st.one_of(MAIL, RCPT, st.lists(WORDS, max_size=5).map("".join), st.just("RSET")), max_size=6)


class Everybody:
    """Takes every recipient, and notes what it was told."""

    def __init__(self):
        self.seen = []
        self.offers_login = False

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        return ["250 ok"]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        return self.answer_recipient(server, envelope, address)

    def refuse_sender(self, server):
        return None

    def answer_recipient(self, server, envelope, address):
        envelope.rcpt_tos.append(address)
        self.seen.append((envelope.mail_from, envelope.mail_options[:], envelope.smtp_utf8, address))
        return "250 2.1.5 OK"

    def opened(self, session):
        return True

    def closed(self, session):
        pass

    def refused(self, session, reply):
        pass


async def codes(session, lines):
    """The codes that a session over a real socket answers, all lines sent at once."""
    server = await asyncio.get_running_loop().create_server(lambda: session, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write("".join(f"{line}\r\n" for line in ["EHLO c", *lines, "QUIT"]).encode())
    answers = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    server.close()
    return [line[:3] for line in answers.decode().splitlines()]


@settings(max_examples=150, deadline=None)
@given(LINES)
def test_any_dialogue_has_the_outcome_that_it_has_with_aiosmtpd(lines):
    async def both():
        loop = asyncio.get_running_loop()
        options = {"data_size_limit": 5000, "hostname": "mta", "loop": loop}
        ours, theirs = Everybody(), Everybody()
        answers = await codes(Session(ours, ours, bounds=Bounds(1000, 5), **options), lines)
        expected = await codes(SMTP(theirs, enable_SMTPUTF8=True, **options), lines)
        return (answers, ours.seen), (expected, theirs.seen)

    (answers, seen), (expected, theirs) = asyncio.run(both())
    differing = next((pair for pair in zip(answers, expected, strict=False) if pair[0] != pair[1]), None)
    assert differing is None or differing[0] == "553", "only a malformed address may be refused where aiosmtpd goes on"
    if differing is None:
        assert seen == theirs


@pytest.mark.parametrize(
    "line",
    ["MAIL FROM:<a@example.org>", "mail from: <a@example.org> size=10 BODY=8BITMIME", "MAIL FROM:<>"],
)
async def test_plain_envelopes_are_answered_without_the_full_grammar(line, monkeypatch):
    asked = []

    class Watched(Session):
        def _getaddr(self, arg):
            asked.append(arg)
            return super()._getaddr(arg)

    policy = Everybody()
    session = Watched(policy, policy, bounds=Bounds(1000, 5), hostname="m", loop=asyncio.get_running_loop())
    assert await codes(session, [line, "RCPT TO:<u@example.com>"]) == ["220", "250", "250", "250", "221"]
    assert asked == []
    assert [seen[3] for seen in policy.seen] == ["u@example.com"]


async def test_a_client_that_reads_no_answers_is_not_listened_to():
    policy = Everybody()
    session = Session(policy, policy, bounds=Bounds(1000, 5), hostname="m", loop=asyncio.get_running_loop())
    server = await asyncio.get_running_loop().create_server(lambda: session, "127.0.0.1", 0)
    for listening in server.sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(server.sockets[0].getsockname())
    _, writer = await asyncio.open_connection(sock=client, limit=1)
    writer.transport.pause_reading()
    writer.write(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\n" + b"RCPT TO:<u@example.com>\r\n" * 500_000)
    await asyncio.sleep(0.3)
    held = len(policy.seen)
    await asyncio.sleep(0.1)
    assert held == len(policy.seen) < 500_000
    writer.transport.abort()
    server.close()
    await asyncio.sleep(0)
