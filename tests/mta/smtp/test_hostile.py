"""Clients that mean no good: what they try fails, costs little, and harms nobody else."""

import asyncio
import ssl
from contextlib import suppress
from ipaddress import ip_network

import pytest

from mta.delivery.limits import Rate
from mta.smtp.access import RelayDomains
from mta.smtp.rate import ClientRate

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
NOBODY = [ip_network("192.0.2.0/24")]
BEGIN = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\n"


async def talk(port, said, *, after=0.0):
    """Everything that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    if after:
        await asyncio.sleep(after)
        writer.write(b"QUIT\r\n")
    answers = b""
    with suppress(ConnectionResetError):
        while piece := await asyncio.wait_for(reader.read(65536), 10):
            answers += piece
    writer.close()
    return answers.decode()


ENDS = b"\n.\n|\r.\r|\r\n.\n|\n.\r\n|\r.\r\n|\r\n.\r|\r\n\0.\r\n|\r\n.\0\r\n|\r\r\n.\r\r\n".split(b"|")


@pytest.mark.parametrize("end", ENDS)
async def test_no_other_end_of_data_smuggles_a_second_message(start_worker, end):
    worker = await start_worker(routes=NOWHERE)
    smuggled = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<v@example.com>\r\nDATA\r\n\r\nevil\r\n"
    await talk(worker.port, BEGIN + b"DATA\r\nSubject: x\r\n\r\nhi" + end + smuggled + b".\r\nQUIT\r\n")
    senders = {message.envelope.sender for message in await worker.worker.spool.all()}
    assert "evil@example.org" not in senders


async def test_what_is_said_before_the_handshake_is_not_heard_after_it(start_worker, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    worker = await start_worker(routes=NOWHERE, tls_certificate=certificate, tls_key=key)
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(b"EHLO c\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    writer.write(b"STARTTLS\r\n" + BEGIN)
    await reader.readline()
    answer = b""
    with suppress(ssl.SSLError, ConnectionError):
        await writer.start_tls(ssl.create_default_context(cafile=str(certificate)), server_hostname="localhost")
        writer.write(b"RCPT TO:<u@example.com>\r\n")
        answer = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert answer in {b"", b"503 5.5.1 Error: send HELO first\r\n"}


async def test_a_password_is_not_taken_in_clear(start_worker, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    users = tmp_path / "users"
    users.write_text("")
    worker = await start_worker(routes=NOWHERE, tls_certificate=certificate, tls_key=key, users=users)
    answers = await talk(worker.port, b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n")
    assert "250-AUTH" not in answers
    assert "538 5.7.11" in answers


async def test_who_talks_before_the_greeting_is_sent_away(start_worker):
    worker = await start_worker(routes=NOWHERE, greeting_delay=0.2)
    assert await talk(worker.port, b"EHLO c\r\n") == "554 5.5.0 You talked before you were greeted\r\n"
    assert (await talk(worker.port, b"", after=0.4)).startswith("220 ")


async def drip(port, said, piece):
    """What is answered to a client that goes on saying `piece` every tenth of a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    reading = asyncio.create_task(reader.read())
    while not (await asyncio.wait([reading], timeout=0.1))[0]:
        writer.write(piece)
    writer.close()
    return (await reading).decode()


async def test_who_does_not_say_ehlo_in_time_is_sent_away_however_busy(start_worker):
    worker = await start_worker(routes=NOWHERE, greeting_timeout=0.45)
    assert "421 4.4.2" in await asyncio.wait_for(drip(worker.port, b"", b"NOOP\r\n"), 5)


async def test_a_byte_now_and_then_is_no_sign_of_life(start_worker):
    worker = await start_worker(routes=NOWHERE, command_timeout=0.45)
    assert "421 4.4.2" in await asyncio.wait_for(drip(worker.port, b"EHLO c\r\nMAIL FROM:<", b"a"), 5)


async def test_ten_thousand_recipients_are_too_many_and_harm_nobody(start_worker):
    worker = await start_worker(routes=NOWHERE, max_recipients=100)
    many = b"".join(b"RCPT TO:<u%d@example.com>\r\n" % number for number in range(10_000))
    answers = await talk(
        worker.port, b"EHLO c\r\nMAIL FROM:<a@example.org>\r\n" + many + b"BDAT 3 LAST\r\nx\r\nQUIT\r\n"
    )
    assert answers.count("452 4.5.3 Too many recipients") == 9_900
    assert len(worker.worker.spool) == 100


async def test_who_only_makes_mistakes_is_sent_away(start_worker):
    worker = await start_worker(routes=NOWHERE, relay_networks=NOBODY, max_errors=20)
    many = b"".join(b"RCPT TO:<u%d@example.com>\r\n" % number for number in range(500))
    answers = await talk(worker.port, b"EHLO c\r\nMAIL FROM:<a@example.org>\r\n" + many)
    assert answers.count("550 5.7.1") == 21
    assert answers.endswith("421 4.7.0 Too many errors, or commands without mail\r\n")


@pytest.mark.parametrize("line", [b"\0" * 600, b"x" * 100_000, b"MAIL FROM:<" + b"a" * 5000 + b"@example.org>"])
async def test_long_and_strange_lines_cost_an_answer(start_worker, line):
    worker = await start_worker(routes=NOWHERE)
    answers = await talk(worker.port, line + b"\r\nNOOP\r\nQUIT\r\n")
    assert [answer[:3] for answer in answers.splitlines()] == ["220", "500", "250", "221"]


async def test_nuls_in_a_message_arrive_as_they_are_or_not_at_all(start_worker):
    worker = await start_worker(routes=NOWHERE)
    content = b"Subject: x\r\n\r\na\0b\r\n"
    await talk(worker.port, BEGIN + b"DATA\r\n" + content + b".\r\nQUIT\r\n")
    (message,) = await worker.worker.spool.all()
    assert (await worker.worker.spool.read(message)).endswith(content)


@pytest.mark.parametrize(
    "header",
    [b"X: y\r\n" * 1200, b"X: " + b"y" * 990 + b"\r\n" + (b" " + b"z" * 990 + b"\r\n") * 300],
)
async def test_a_header_without_end_is_refused(start_worker, header):
    worker = await start_worker(routes=NOWHERE)
    answers = await talk(worker.port, BEGIN + b"DATA\r\n" + header + b"\r\nbody\r\n.\r\nQUIT\r\n")
    assert "552 5.6.0 The header is larger" in answers


ADDRESSES = """u@example.net u%example.net@ours.example @ours.example:u@example.net "u@example.net"@ours.example u
example.net!u u@[127.0.0.1] u@OURS.EXAMPLE@example.net u@sub.ours.example u@ours.example. <u@ours.example"""


@pytest.mark.parametrize("recipient", ADDRESSES.split())
async def test_no_form_of_address_makes_it_an_open_relay(start_worker, recipient):
    worker = await start_worker(routes=NOWHERE, relay_networks=NOBODY, relay_domains=["ours.example"])
    for sender in ("a@ours.example", "", "postmaster@localhost"):
        said = f"EHLO c\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nRCPT TO: {recipient}\r\n"
        await talk(worker.port, said.encode() + b"BDAT 3 LAST\r\nx\r\nQUIT\r\n")
    assert {message.domain for message in await worker.worker.spool.all()} <= {"ours.example"}


async def test_everybody_may_send_to_relay_domains_and_nowhere_else(start_worker):
    worker = await start_worker(routes=NOWHERE, relay_networks=NOBODY, relay_domains=["ours.example", "*.mail.example"])
    for domain, answer in [
        ("OURS.example", "250"),
        ("a.mail.example", "250"),
        ("mail.example", "550"),
        ("x.example", "550"),
    ]:
        answers = await talk(worker.port, f"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@{domain}>\r\nQUIT\r\n".encode())
        assert answers.splitlines()[-2].startswith(answer), domain


def test_a_star_means_what_is_below_and_not_what_merely_ends_alike():
    domains = RelayDomains(["*.mail.example"])
    names = ("a.mail.example", "b.a.mail.example", "amail.example", "mail.example", "")
    assert [name in domains for name in names] == [True, True, False, False, False]


async def test_a_client_connects_and_sends_no_more_often_than_it_may(start_worker):
    worker = await start_worker(
        routes=NOWHERE,
        relay_networks=NOBODY,
        relay_domains=["example.com"],
        connection_rate_per_ip="3/h",
        message_rate_per_client="2/h",
    )
    again = BEGIN.split(b"\r\n", 1)[1]
    chunk = b"BDAT 3 LAST\r\nx\r\n"
    answers = await talk(worker.port, BEGIN + chunk + again + chunk + again + b"QUIT\r\n")
    assert answers.count("OK ids=") == 2
    assert "450 4.7.1 Too many messages" in answers
    greetings = [(await talk(worker.port, b"QUIT\r\n"))[:3] for _ in range(3)]
    assert greetings == ["220", "220", "421"]


async def test_a_connection_carries_no_more_messages_than_it_may(start_worker):
    worker = await start_worker(routes=NOWHERE, max_messages_per_connection=1)
    answers = await talk(worker.port, BEGIN + b"BDAT 3 LAST\r\nx\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n")
    assert "451 4.5.3 Too many messages on one connection" in answers


def test_a_rate_gives_back_what_time_gives_back_and_forgets_who_is_quiet():
    rate = ClientRate(Rate.parse("2/s"))
    assert [rate.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert rate.take("b", 0.0)
    assert [rate.take("a", 0.5), rate.take("a", 0.6)] == [True, False]
    assert rate.take("c", 9.0)
    assert len(rate._used_up) == 1
