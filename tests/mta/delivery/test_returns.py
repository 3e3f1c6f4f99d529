"""Senders are told of what was lost, if they are to be told."""

import pytest

from mta.delivery.returns import Failure, failure_notice
from mta.events.mail.delivery_report import read_delivery_report
from mta.events.mail.message import read_message
from mta.events.reply import parse_reply
from mta.queue.message import Envelope, Message

ORIGINAL = b"Subject: x\r\nMessage-ID: <m@example.org>\r\n\r\nsecret body\r\n"


@pytest.mark.parametrize(
    ("reason", "answer", "status"),
    [
        ("bounced", "550 5.1.1 No such user", "5.1.1"),
        ("bounced", "554 no", "5.0.0"),
        ("expired", "451 4.7.1 Later", "5.4.7"),
    ],
)
async def test_the_sender_hears_which_recipient_failed_and_why(start_worker, peer, reason, answer, status):
    there = await peer(RCPT=[answer if reason == "bounced" else f"always {answer}"])
    sender_host = await peer()
    routes = [{**sender_host.route, "domain": "example.org"}, there.route]
    worker = await start_worker(routes=routes, notify_senders=True, max_age=0.3)
    await worker.send(body=ORIGINAL)
    (delivered,) = await worker.until_type("Delivery")
    ((sender, recipient, notice, _),) = sender_host.mails
    assert (sender in {"", "<>", None}, recipient, delivered["sender"]) == (True, "a@example.org", "")
    for line in (
        b"Auto-Submitted: auto-replied",
        b"In-Reply-To: <m@example.org>",
        b"Final-Recipient: rfc822; u@example.com",
        b"Action: failed",
        f"Status: {status}".encode(),
        f"Diagnostic-Code: smtp; {answer}".encode(),
        b"Remote-MTA: dns; mx.peer.example",
        b"Subject: x",
    ):
        assert b"\r\n" + line + b"\r\n" in notice
    assert b"secret body" not in notice
    (said,) = read_delivery_report(read_message(notice)).recipients
    assert (said.action, str(said.status), str(said.reply)) == ("failed", status, answer)


async def test_without_being_asked_to_nobody_is_told(start_worker, peer):
    there = await peer(RCPT=["550 5.1.1 No such user"])
    worker = await start_worker(routes=[there.route])
    await worker.send()
    await worker.until_type("Bounce")
    assert worker.types() == {"Reception": 1, "Bounce": 1}


async def test_a_notice_that_cannot_be_delivered_is_kept_and_not_returned(start_worker, peer):
    there = await peer(RCPT=["always 550 5.1.1 No such user"])
    worker = await start_worker(routes=[there.route], notify_senders=True)
    await worker.send()
    await worker.until_type("Bounce", 2)
    assert worker.worker.live().dead_letters == {"bounced": 1}
    assert worker.types() == {"Reception": 2, "Bounce": 2}


def test_any_address_and_answer_stays_on_its_line():
    envelope = Envelope("a@example.org", 0, 10, message_id="<ü\r\nX: y>")
    message = Message("0" * 32, "почта@example.com", "example.com", "example.com", envelope)
    failure = Failure("bounced", parse_reply("550 5.1.1 нет\u2028" + "x" * 3000), "mx\r\nevil: x")
    notice = failure_notice(message, failure, b"Subject: \xff", hostname="mta.example", queue_id="1" * 32, now=0)
    assert notice.isascii()
    assert b"\r\nevil" not in notice
    assert b"\r\nX: y" not in notice
    assert b"Final-Recipient: utf-8; \\x{43F}" in notice
    assert max(map(len, notice.split(b"\r\n"))) < 998
