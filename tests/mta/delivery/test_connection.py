"""One connection against servers that answer pipelined commands rightly, wrongly and not at all."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.delivery.connection import Connection, Mail
from mta.delivery.egress import Source
from mta.delivery.errors import Unreachable
from mta.delivery.limits import Limits
from mta.delivery.opening import Target
from mta.delivery.tls import Demand, TlsPolicy, TrustRoots

MAIL = Mail("a@example.org", "u@example.com", b"Subject: x\r\n\r\nx\r\n")
QUICK = dict.fromkeys(("banner", "ehlo", "mail_from", "rcpt_to", "data", "data_dot"), 0.3)
PATIENT = Limits(1, 100, connect_timeout=2, **{f"{name}_timeout": seconds for name, seconds in QUICK.items()})
PLAIN = TlsPolicy(Demand.NONE)


class Server:
    """Says the greeting and EHLO answer, then `script`: what it waits for, what it says then. None hangs up."""

    def __init__(self, script, offers=("PIPELINING",)):
        self.script, self.offers, self.heard = script, offers, b""
        self.opened, self.done = [], []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for connection in self.opened:
            connection._dialogue.close()
        await asyncio.wait_for(asyncio.gather(*(done.wait() for done in self.done)), 5)
        self.server.close()
        await asyncio.sleep(0)

    async def serve(self, reader, writer):
        self.done.append(asyncio.Event())
        try:
            await self.talk(reader, writer)
        finally:
            writer.transport.abort()
            self.done[-1].set()

    async def talk(self, reader, writer):
        writer.write(b"220 here\r\n")
        await reader.readline()
        lines = ["250-here", *(f"250-{offer}" for offer in self.offers), "250 HELP"]
        writer.write("".join(f"{line}\r\n" for line in lines).encode())
        for wait_for, say in self.script:
            heard = b""
            while wait_for not in heard:
                heard += (piece := await reader.read(4096))
                if not piece:
                    break
            self.heard += heard
            if say is None:
                return
            writer.write(say)
        self.heard += await reader.read()

    async def connect(self):
        target = Target("mx.example", "127.0.0.1", self.port, Source("here", "mta.example"), PATIENT, PLAIN)
        self.opened.append(await Connection.open(target, TrustRoots(), lambda: 0))
        return self.opened[-1]


ENVELOPE = b"DATA\r\n"
DOT = b"\r\n.\r\n"


async def test_the_envelope_goes_out_in_one_piece_where_pipelining_is_offered():
    async with Server([(ENVELOPE, b"250 a\r\n250 b\r\n354 go\r\n"), (DOT, b"250 2.0.0 taken\r\n")]) as there:
        connection = await there.connect()
        outcome = await connection.deliver(MAIL)
    assert (str(outcome.reply), outcome.usable) == ("250 2.0.0 taken", True)
    assert there.heard == b"MAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n" + MAIL.body + b".\r\n"


async def test_without_pipelining_each_command_waits_for_its_answer():
    script = [(b"MAIL", b"250 a\r\n"), (b"RCPT", b"250 b\r\n"), (ENVELOPE, b"354 go\r\n"), (DOT, b"250 taken\r\n")]
    async with Server(script, offers=()) as there:
        outcome = await (await there.connect()).deliver(MAIL)
    assert str(outcome.reply) == "250 taken"


async def test_a_peer_that_wants_the_body_though_it_refused_the_recipient_gets_an_empty_one():
    script = [(ENVELOPE, b"250 a\r\n550 5.1.1 no\r\n354 go\r\n"), (b".\r\n", b"554 no recipients\r\n")]
    async with Server([*script, (ENVELOPE, b"250 r\r\n250 a\r\n250 b\r\n354 go\r\n"), (DOT, b"250 ok\r\n")]) as there:
        connection = await there.connect()
        refused = await connection.deliver(MAIL)
        taken = await connection.deliver(MAIL)
    assert (str(refused.reply), refused.reply.command) == ("550 5.1.1 no", "RCPT TO:<u@example.com>")
    assert (refused.usable, str(taken.reply)) == (True, "250 ok")
    assert b"DATA\r\n.\r\nRSET\r\nMAIL" in there.heard


async def test_a_peer_that_wants_the_body_of_a_message_without_a_sender_gets_nothing_more():
    async with Server([(ENVELOPE, b"451 4.7.1 later\r\n250 b\r\n354 go\r\n"), (b".\r\n", b"250 ok\r\n")]) as there:
        connection = await there.connect()
        outcome = await connection.deliver(MAIL)
        assert (str(outcome.reply), outcome.usable) == ("451 4.7.1 later", False)
        await asyncio.sleep(0.05)
    assert there.heard.endswith(b"DATA\r\n")


@pytest.mark.parametrize(
    ("answers", "reply"),
    [
        (b"421 4.3.2 closing\r\n", "421 4.3.2 closing"),
        (b"250 a\r\n421 4.7.0 enough\r\n", "421 4.7.0 enough"),
        (b"250 a\r\n250 b\r\n", "451 4.4.2 KumoMTA internal: no answer to DATA in time"),
        (b"250 a\r\nnonsense\r\n", "451 4.5.0 KumoMTA internal: answer to RCPT TO is no SMTP: nonsense"),
        (b"250 a\r\n" + b"250-x\r\n" * 20_000, "451 4.5.0 KumoMTA internal: answer to RCPT TO is no SMTP: an endless"),
        (b"250 a\r\n199 huh\r\n354 go\r\n", "451 4.5.0 KumoMTA internal: unexpected answer 199 huh to RCPT TO"),
    ],
)
async def test_an_answer_in_the_middle_that_is_none_ends_the_connection(answers, reply):
    async with Server([(ENVELOPE, answers)]) as there:
        connection = await there.connect()
        outcome = await connection.deliver(MAIL)
    assert str(outcome.reply).startswith(reply)
    assert (outcome.usable, outcome.stale, connection.is_open) == (False, False, False)


async def test_a_hang_up_before_the_first_answer_is_stale_only_on_a_connection_that_was_used():
    taken = [(ENVELOPE, b"250 a\r\n250 b\r\n354 go\r\n"), (DOT, b"250 taken\r\n")]
    async with Server([(ENVELOPE, None)]) as fresh, Server([*taken, (ENVELOPE, None)]) as used:
        assert not (await (await fresh.connect()).deliver(MAIL)).stale
        connection = await used.connect()
        await connection.deliver(MAIL)
        assert (await connection.deliver(MAIL)).stale


async def test_a_hang_up_after_the_body_is_never_stale():
    taken = [(ENVELOPE, b"250 a\r\n250 b\r\n354 go\r\n"), (DOT, b"250 taken\r\n")]
    async with Server([*taken, *taken[:1], (DOT, None)]) as there:
        connection = await there.connect()
        await connection.deliver(MAIL)
        outcome = await connection.deliver(MAIL)
    assert (outcome.stale, outcome.reply.code) == (False, 451)


async def test_what_a_peer_says_unasked_ends_the_connection_before_it_costs_an_attempt():
    taken = [(ENVELOPE, b"250 a\r\n250 b\r\n354 go\r\n"), (DOT, b"250 taken\r\n421 4.4.2 idle\r\n")]
    async with Server(taken) as there:
        connection = await there.connect()
        await connection.deliver(MAIL)
        await asyncio.sleep(0.05)
        assert not connection.is_open


async def test_nobody_there_is_unreachable():
    async with Server([]) as there:
        pass
    with pytest.raises(Unreachable, match=r"cannot connect to mx\.example"):
        await there.connect()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b"\r\n.", b"\xff"]), max_size=8).map(b"".join))
def test_any_body_arrives_as_it_was_but_for_its_last_line_end(body):
    async def run():
        script = [(ENVELOPE, b"250 a\r\n250 b\r\n354 go\r\n"), (b".\r\n", b"250 taken\r\n")]
        async with Server(script, offers=("PIPELINING", "8BITMIME")) as there:
            connection = await there.connect()
            await connection.deliver(Mail("a@example.org", "u@example.com", body))
        return there.heard.partition(ENVELOPE)[2]

    wire = asyncio.run(run())
    assert wire.endswith(b".\r\n")
    lines = wire[:-3].split(b"\r\n")
    assert b"." not in lines, "nothing but the end looks like the end"
    unstuffed = b"\r\n".join(line.removeprefix(b".") for line in lines)
    assert unstuffed in {body, body + b"\r\n"}
