"""Delivery reports (RFC 3464)."""

from __future__ import annotations

import pytest

from mta.events.errors import LimitExceeded, ParseError
from mta.events.instants import parse_instant
from mta.events.mail.delivery_report import DeliveryReport, ReportedRecipient, read_delivery_report
from mta.events.mail.message import read_message
from mta.events.mail.report import NamedMta
from mta.events.reply import EnhancedStatus, SmtpReply


def report(status: str) -> bytes:
    return (
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\n\r\nSorry.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\n{status}\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@x>\r\n--b--\r\n"
    ).encode()


def read(mail: bytes) -> DeliveryReport:
    return read_delivery_report(read_message(mail))


TWO = """\
Reporting-MTA: dns; mx.example.com
Original-Envelope-Id: QQ314159
Arrival-Date: Fri, 08 Jul 1994 14:00:00 -0400
Received-From-MTA: dns; out.example.net

Original-Recipient: rfc822;Ann@example.com
Final-Recipient: rfc822; <ann@store.example.com>
Action: Failed
Status: 5.1.1 (no such mailbox)
Remote-MTA: dns; store.example.com
Diagnostic-Code: smtp; 550 5.1.1 User unknown;
 try another
Last-Attempt-Date: Fri, 08 Jul 1994 14:00:05 -0400

Final-Recipient: rfc822;ben@example.com
Action: delayed
Status: 4.4.7
Will-Retry-Until: Sat, 09 Jul 1994 14:00:00 -0400
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_mail_and_each_recipient_are_read(line_end: str) -> None:
    found = read(report(TWO.replace("\n", line_end)))
    assert found == DeliveryReport(
        reporting_mta=NamedMta("dns", "mx.example.com"),
        original_envelope_id="QQ314159",
        received_from_mta=NamedMta("dns", "out.example.net"),
        arrival_date=parse_instant("1994-07-08T18:00:00Z"),
        original_message=b"Message-ID: <1@x>",
        recipients=(
            ReportedRecipient(
                final_recipient="ann@store.example.com",
                original_recipient="Ann@example.com",
                action="failed",
                status=EnhancedStatus(5, 1, 1),
                remote_mta=NamedMta("dns", "store.example.com"),
                diagnostic_type="smtp",
                diagnostic="550 5.1.1 User unknown; try another",
                last_attempt=parse_instant("1994-07-08T18:00:05Z"),
            ),
            ReportedRecipient(
                final_recipient="ben@example.com",
                action="delayed",
                status=EnhancedStatus(4, 4, 7),
                will_retry_until=parse_instant("1994-07-09T18:00:00Z"),
            ),
        ),
    )


def test_an_smtp_diagnostic_is_a_reply_and_another_is_none() -> None:
    ann, ben = read(report(TWO)).recipients
    assert ann.reply == SmtpReply(550, EnhancedStatus(5, 1, 1), "User unknown; try another")
    assert ben.reply is None


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (b"Subject: Undeliverable\n\nno machine-readable part", "no-report"),
        (report("Reporting-MTA: dns; mx.example.com"), "missing-field"),
        (report(""), "missing-field"),
    ],
)
def test_what_is_no_report_says_why(mail: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        read(mail)
    assert caught.value.reason == reason


def test_a_report_about_too_many_recipients_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="recipients"):
        read(report("Reporting-MTA: dns; x\n\n" + "Final-Recipient: rfc822;a@b\nAction: failed\n\n" * 1_200))
