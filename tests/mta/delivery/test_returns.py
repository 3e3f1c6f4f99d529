"""Senders are told of what was lost, if they are to be told."""

import pytest

from mta.delivery.notice import Action, Report, is_wanted, notice
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
    report = Report(Action.FAILED, parse_reply("550 5.1.1 нет\u2028" + "x" * 3000), "mx\r\nevil: x")
    told = notice(message, report, b"Subject: \xff", hostname="mta.example", queue_id="1" * 32, now=0)
    assert told.isascii()
    assert b"\r\nevil" not in told
    assert b"\r\nX: y" not in told
    assert b"Final-Recipient: utf-8; \\x{43F}" in told
    assert max(map(len, told.split(b"\r\n"))) < 998


def asking(message="", **options):
    """A message whose sender asked for that."""
    shared = {name: options.pop(name) for name in ("ret", "envid") if name in options}
    envelope = Envelope("a@example.org", 0, 10, **shared)
    return Message("0" * 32, "u@example.com", "example.com", "example.com", envelope, **options)


def test_a_report_names_the_transaction_and_the_recipient_as_the_sender_knows_them():
    message = asking(envid="Q+2B1", orcpt="rfc822;Bob+2Bx@Example.com", ret="FULL")
    report = Report(Action.FAILED, parse_reply("550 5.1.1 No"), "mx.example")
    told = notice(message, report, ORIGINAL, hostname="mta.example", queue_id="1" * 32, now=0)
    assert b"Original-Envelope-Id: Q+1\r\n" in told
    assert b"Original-Recipient: rfc822; Bob+x@Example.com\r\nFinal-Recipient: rfc822; u@example.com\r\n" in told
    assert b"Content-Type: message/rfc822\r\n\r\n" + ORIGINAL in told
    (said,) = read_delivery_report(read_message(told)).recipients
    assert (said.action, str(said.status)) == ("failed", "5.1.1")


@pytest.mark.parametrize(
    ("action", "word", "status"), [(Action.DELAYED, "delayed", "4"), (Action.RELAYED, "relayed", "2")]
)
def test_a_status_is_of_the_class_of_what_happened(action, word, status):
    reply = parse_reply("250 2.1.5 ok" if action is Action.RELAYED else "451 4.7.1 later")
    told = notice(asking(ret="FULL"), Report(action, reply), ORIGINAL, hostname="m", queue_id="1" * 32, now=0)
    (said,) = read_delivery_report(read_message(told)).recipients
    assert (said.action, str(said.status)[0]) == (word, status)
    assert b"secret body" not in told


@pytest.mark.parametrize(
    ("notify", "told_of"),
    [("", {"FAILED"}), ("NEVER", set()), ("SUCCESS,DELAY", {"RELAYED", "DELAYED"}), ("FAILURE", {"FAILED"})],
)
def test_a_sender_is_told_of_what_it_asked_for_and_else_of_failures(notify, told_of):
    assert {action.name for action in Action if is_wanted(action, notify, usual=True)} == told_of
    if not notify:
        assert not is_wanted(Action.FAILED, notify, usual=False)


@pytest.mark.parametrize("offers", [True, False])
async def test_a_wish_for_reports_is_handed_on_or_answered_by_us(start_worker, peer, offers):
    there, home = await peer({"dsn": offers}), await peer()
    worker = await start_worker(routes=[{**home.route, "domain": "example.org"}, there.route])
    await worker.send(
        mail_options=["RET=HDRS", "ENVID=e1"],
        rcpt_options=["NOTIFY=SUCCESS", "ORCPT=rfc822;U@example.com"],
        body=ORIGINAL,
    )
    await worker.until_type("Delivery", 1 if offers else 2)
    assert there.asked == (
        [["RET=HDRS", "ENVID=E1"], ["NOTIFY=SUCCESS", "ORCPT=RFC822;U@EXAMPLE.COM"]] if offers else []
    )
    assert len(home.mails) == (0 if offers else 1)
    if not offers:
        told = home.mails[0][2]
        assert b"Action: relayed" in told
        assert b"Original-Envelope-Id: e1" in told


async def test_who_wants_no_report_gets_none_even_where_senders_are_told(start_worker, peer):
    there = await peer(RCPT=["550 5.1.1 No such user"])
    worker = await start_worker(routes=[there.route], notify_senders=True)
    await worker.send(rcpt_options=["NOTIFY=NEVER"])
    await worker.until_type("Bounce")
    assert worker.types() == {"Reception": 1, "Bounce": 1}


async def test_the_sender_of_a_delayed_message_hears_of_it_once_if_it_wants_to(start_worker, peer):
    there, home = await peer(RCPT=["always 451 4.7.1 Later"]), await peer()
    routes = [{**home.route, "domain": "example.org"}, there.route]
    worker = await start_worker(routes=routes, delay_notice=0.1)
    await worker.send(rcpt_options=["NOTIFY=DELAY"])
    await worker.send("v@example.com")
    await worker.until_type("Delivery")
    await worker.until_type("TransientFailure", 8)
    ((_, _, told, _),) = home.mails
    assert b"Action: delayed" in told
    assert b"Will-Retry-Until: " in told
