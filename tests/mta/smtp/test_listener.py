"""The listener takes what it should, refuses the rest with the right words, and logs each refusal."""

import asyncio
import random
import ssl
from contextlib import suppress
from ipaddress import ip_network

import aiosmtplib
import pytest

NOBODY = [ip_network("192.0.2.0/24")]
NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]


class Dialogue:
    """A client that says what it is told, line by line."""

    def __init__(self, port):
        self.port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.greeting = await self.read()
        return self

    async def __aexit__(self, *_):
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def read(self):
        lines = []
        while not lines or lines[-1][3:4] == "-":
            line = await asyncio.wait_for(self.reader.readline(), 5)
            if not line:
                return "closed"
            lines.append(line.decode().rstrip("\r\n"))
        return "\n".join(lines)

    async def say(self, *lines):
        """The last answer."""
        for line in lines:
            self.writer.write(line.encode() if isinstance(line, str) else line)
            self.writer.write(b"\r\n")
            answer = await self.read()
        return answer

    async def begin(self, recipient="u@example.com"):
        return await self.say("EHLO c.example.org", "MAIL FROM:<a@example.org>", f"RCPT TO:<{recipient}>")

    async def message(self, content):
        await self.begin()
        assert (await self.say("DATA")).startswith("354")
        self.writer.write(content + b"\r\n.\r\n")
        return await self.read()


@pytest.fixture
async def mta(start_worker):
    return lambda **settings: start_worker(**{"routes": NOWHERE, **settings})


async def test_an_accepted_message_is_answered_with_an_id_for_each_recipient_and_logged_as_received(mta):
    worker = await mta()
    answer = await worker.send(["one@example.com", "Two@EXAMPLE.net"])
    assert answer.startswith("2.0.0 OK ids=")
    ids = answer.removeprefix("2.0.0 OK ids=").split(",")
    records = await worker.until_type("Reception", 2)
    assert [record["id"] for record in records] == ids
    assert [(r["recipient"], r["queue"]) for r in records] == [
        ("one@example.com", "example.com"),
        ("Two@EXAMPLE.net", "example.net"),
    ]
    assert records[0]["headers"] == {"Message-ID": "<1@example.org>"}
    assert records[0]["session_id"] == records[1]["session_id"]
    assert records[0]["size"] == records[1]["size"] > 60


async def test_tenant_campaign_and_pool_come_from_the_header_and_name_the_queue(mta):
    worker = await mta()
    await worker.send(body=b"X-Tenant: acme\r\nX-Campaign: june\r\nX-Pool: bulk\r\n\r\nx\r\n")
    (record,) = await worker.until_type("Reception")
    assert record["queue"] == "june:acme@example.com"
    meta = {key: value for key, value in record["meta"].items() if key != "mtascope_seq"}
    assert meta == {"tenant": "acme", "campaign": "june", "pool": "bulk"}


async def test_a_client_outside_the_relay_networks_may_send_to_nobody(mta):
    worker = await mta(relay_networks=NOBODY)
    async with Dialogue(worker.port) as client:
        assert await client.begin() == "550 5.7.1 Relaying denied"
    (record,) = await worker.until_type("Rejection")
    assert (record["sender"], record["recipient"], record["id"]) == ("a@example.org", "u@example.com", "")
    assert record["response"] == {
        "code": 550,
        "enhanced_code": {"class": 5, "subject": 7, "detail": 1},
        "content": "Relaying denied",
        "command": "RCPT TO:<u@example.com>\r\n",
    }


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["MAIL FROM:<a@example.org>"], "503 5.5.1 Error: send HELO first"),
        (["EHLO c", "RCPT TO:<u@example.com>"], "503 5.5.1 Error: need MAIL command"),
        (["EHLO c", "MAIL FROM:<a@example.org>", "DATA"], "503 5.5.1 Error: need RCPT command"),
        (["EHLO c", "MAIL FROM:a b c"], "553 5.1.3 Error: malformed address"),
        (["EHLO c", "MAIL FROM:<a@example.org> SIZE=99999999999"], "552 5.3.4 Error: message size exceeds"),
        (["EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<nobody>"], "553 5.1.3 The recipient address"),
        (["EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<u@-bad-.example>"], "553 5.1.3 The recipient address"),
        (["EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<u@[127.0.0.1]>"], "553 5.1.3 The recipient address"),
        (["EHLO c", "MAIL FROM:<a@example.org>", f"RCPT TO:<{'l' * 65}@example.com>"], "553 5.1.3 The recipient"),
        (["EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<u@example.com> NOTIFY=SOON"], "501 5.5.4 NOTIFY is"),
        (["EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<u@example.com> XOPTION=1"], "555 5.5.4 RCPT TO"),
        (["EHLO c", "MAIL FROM:<a@example.org> RET=SOME"], "501 5.5.4 RET is"),
        (["HELO c", "MAIL FROM:<a@example.org> RET=FULL"], "501 5.5.4 Syntax: MAIL FROM"),
        (["XYZZY"], '500 5.5.2 Error: command "XYZZY" not recognized'),
        (["EHLO c", "MAIL FROM:<a b@example.org>"], "553 5.1.3 Error: malformed address"),
        (["EHLO c", "AUTH PLAIN AGEAYg=="], '500 5.5.2 Error: command "AUTH" not recognized'),
        (["x" * 600], "500 5.5.2 Command line too long"),
        (["EHLO " + "x" * 3000], "500 5.5.2 Command line too long"),
    ],
)
async def test_what_the_dialogue_does_not_allow_is_refused_with_an_enhanced_code(mta, lines, answer):
    worker = await mta()
    async with Dialogue(worker.port) as client:
        assert (await client.say(*lines)).startswith(answer)
        assert (await client.say("NOOP")).startswith("250 2.0.0")
    await worker.until_type("Rejection")


async def test_ehlo_offers_only_what_is_kept(mta):
    worker = await mta(max_message_bytes=5000)
    async with Dialogue(worker.port) as client:
        offered = {line[4:] for line in (await client.say("EHLO c.example.org")).split("\n")[1:]}
    assert client.greeting.startswith("220 localhost ESMTP")
    offers = "8BITMIME SMTPUTF8 PIPELINING CHUNKING DSN MT-PRIORITY ENHANCEDSTATUSCODES"
    assert offered == {"SIZE 5000", "LIMITS MAILMAX=10000 RCPTMAX=1024", *offers.split()}


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"Subject: x\n\nbare", "552 5.6.0 Message data must use CRLF"),
        (b"Subject: x\r\n\r\nsmuggled\n.\r\nMAIL FROM:<b@example.org>", "552 5.6.0 Message data must use CRLF"),
        (b"Subject: x\r\n\r\n" + b"y" * 1001, "500 5.5.2 Line too long"),
        (b"Subject: x\r\n\r\n" + b"y" * 50 * 200, "500 5.5.2 Line too long"),
        (b"\r\n" + b"line\r\n" * 1000, "552 5.3.4 The message is larger"),
        (b"X-Tenant: a@b\r\n\r\nx", "550 5.6.0 X-Tenant may hold"),
        (b"Received: x\r\n" * 51 + b"\r\nx", "554 5.4.6 Too many hops"),
    ],
)
async def test_content_that_breaks_a_rule_is_refused(mta, content, answer):
    worker = await mta(max_message_bytes=5000)
    async with Dialogue(worker.port) as client:
        assert (await client.message(content)).startswith(answer)
    assert len(worker.worker.spool) == 0


async def test_recipients_past_the_limit_are_put_off_and_the_others_kept(mta):
    worker = await mta(max_recipients=2)
    async with Dialogue(worker.port) as client:
        await client.begin()
        assert (await client.say("RCPT TO:<v@example.com>")).startswith("250 2.1.5")
        assert (await client.say("RCPT TO:<w@example.com>")).startswith("452 4.5.3")
        assert (await client.say("DATA")).startswith("354")
        client.writer.write(b"x\r\n.\r\n")
        assert (await client.read()).count(",") == 1


async def test_connections_past_the_limits_are_turned_away_and_come_in_again_later(mta):
    worker = await mta(max_connections_per_relay_ip=2)
    async with Dialogue(worker.port), Dialogue(worker.port) as second:
        assert second.greeting.startswith("220")
        async with Dialogue(worker.port) as third:
            assert third.greeting.startswith("421 4.3.2")
            assert await third.read() == "closed"
    await asyncio.sleep(0.05)
    async with Dialogue(worker.port) as again:
        assert again.greeting.startswith("220")


async def test_an_idle_client_is_told_and_cut_off(mta):
    worker = await mta(command_timeout=0.1)
    async with Dialogue(worker.port) as client:
        assert (await client.read()).startswith("421 4.4.2")
        assert await client.read() == "closed"


async def test_a_client_that_dawdles_over_its_message_is_cut_off(mta):
    worker = await mta(data_timeout=0.1)
    async with Dialogue(worker.port) as client:
        await client.begin()
        await client.say("DATA")
        assert (await client.read()).startswith("421 4.4.2")


async def test_too_little_disk_refuses_new_mail_and_keeps_delivering_the_old(mta, peer, start_worker):
    worker = await mta(retry_interval=0.2)
    await worker.send()
    await worker.until_type("TransientFailure")
    await worker.worker.stop()
    there = await peer()
    again = await start_worker(routes=[there.route], min_free_bytes=2**62)
    async with Dialogue(again.port) as client:
        assert (await client.message(b"x")) == "452 4.3.1 Insufficient system storage, try again later"
    await again.until_type("Delivery")


async def test_mail_after_starttls_says_so_in_trace_and_log(mta, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    worker = await mta(tls_certificate=certificate, tls_key=key)
    context = ssl.create_default_context(cafile=str(certificate))
    client = aiosmtplib.SMTP(hostname="localhost", port=worker.port, start_tls=True, tls_context=context, timeout=5)
    async with client:
        await client.sendmail("a@example.org", ["u@example.com"], b"Subject: x\r\n\r\nx\r\n")
    (record,) = await worker.until_type("Reception")
    assert record["tls_protocol_version"].startswith("TLSv1.")
    (message,) = await worker.worker.spool.all()
    assert b"with ESMTPS id" in await worker.worker.spool.read(message)
    assert b'tls_connections_total{direction="inbound",provider="",result="ok"' in worker.worker.metrics.exposition()


async def test_a_broken_handshake_is_counted_and_harms_nobody(mta, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    worker = await mta(tls_certificate=certificate, tls_key=key)
    async with Dialogue(worker.port) as client:
        assert (await client.say("EHLO c", "STARTTLS")).startswith("220")
        client.writer.write(b"this is no handshake\r\n" * 10)
        with suppress(ConnectionError):
            await client.reader.read()
    await asyncio.sleep(0.05)
    assert b'direction="inbound",provider="",result="failed"' in worker.worker.metrics.exposition()
    assert (await worker.send()).startswith("2.0.0 OK")
    assert worker.worker.live().inbound <= 1


async def test_internationalized_addresses_are_taken_with_smtputf8(mta):
    worker = await mta()
    async with Dialogue(worker.port) as client:
        await client.say("EHLO c", "MAIL FROM:<пример@example.org> SMTPUTF8")
        assert (await client.say("RCPT TO:<почта@пример.example>")).startswith("250")
        await client.say("DATA")
        client.writer.write("Subject: привет\r\n\r\nx\r\n.\r\n".encode())
        assert (await client.read()).startswith("250 2.0.0 OK")
    (record,) = await worker.until_type("Reception")
    assert (record["recipient"], record["queue"]) == ("почта@пример.example", "xn--e1afmkfd.example")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"EHLO \xff\xfe", b"MAIL FROM:<a@example.org>", b"RCPT TO:<\xff\xfe@example.com>"], "553 5.1.3"),
        ([b"EHLO c", b"MAIL FROM:<\xff@example.org>"], "553 5.1.3"),
        ([b"EHLO c", b"MAIL FROM:<a\x01b@example.org>"], "553 5.1.3"),
        ([b"EHLO c", b'MAIL FROM:<"a\x01b"@example.org>'], "553 5.1.3"),
        ([b"EHLO \xff", b"MAIL FROM:<a@example.org>", b"RCPT TO:<u@\x00example.com>"], "553 5.1.3"),
        ([b"\xff\xfe\x00"], "500 5.5.2"),
    ],
)
async def test_bytes_that_are_no_text_are_refused_and_can_be_logged(mta, lines, code):
    worker = await mta()
    async with Dialogue(worker.port) as client:
        assert (await client.say(*lines)).startswith(code)
        assert (await client.say("NOOP")).startswith("250")
    await worker.until_type("Rejection")


async def test_a_client_name_that_is_no_text_does_not_keep_its_mail_out(mta):
    worker = await mta()
    async with Dialogue(worker.port) as client:
        await client.say(b"EHLO \xff\xfe\x01", "MAIL FROM:<a@example.org>", "RCPT TO:<u@example.com>", "DATA")
        client.writer.write(b"Message-ID: <\xff@example.org>\r\n\r\nx\r\n.\r\n")
        assert (await client.read()).startswith("250")
    await worker.until_type("Reception")


async def test_garbage_on_the_wire_ends_nothing_but_its_own_connection(mta):
    worker = await mta()
    source = random.Random(7)
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
        writer.write(source.randbytes(3000) + b"\r\n" * 20)
        writer.write_eof()
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert (await worker.send()).startswith("2.0.0 OK")
