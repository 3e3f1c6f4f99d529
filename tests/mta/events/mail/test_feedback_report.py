"""Feedback reports (RFC 5965)."""

from __future__ import annotations

import pytest

from mta.events.errors import ParseError
from mta.events.instants import parse_instant
from mta.events.mail.feedback_report import FeedbackReport, read_feedback_report
from mta.events.mail.message import read_message
from mta.events.mail.report import NamedMta


def report(fields: str, enclosed: str = "message/rfc822", original: str = "Subject: hi\n\nbody") -> bytes:
    return (
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nSomebody complained.\n"
        f"--b\nContent-Type: message/feedback-report\n\n{fields}\n"
        f"--b\nContent-Type: {enclosed}\n\n{original}\n--b--\n"
    ).encode()


def read(mail: bytes) -> FeedbackReport:
    return read_feedback_report(read_message(mail))


FULL = """\
Feedback-Type: Abuse
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <bounce+7@bounces.example>
Original-Rcpt-To: <user@example.com>
Original-Rcpt-To: other@example.com
Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT
Reporting-MTA: dns; mail.example.com
Source-IP: 192.0.2.1
Authentication-Results: mail.example.com;
  spf=fail smtp.mail=somespammer@example.com
Reported-Domain: example.net
Reported-Uri: http://example.net/earn_money.html
Reported-Uri: mailto:user@example.com
Removal-Recipient: user@example.com
Incidents: 3
"""


def test_every_field_of_the_standard_is_read() -> None:
    found = read(report(FULL))
    assert found == FeedbackReport(
        feedback_type="abuse",
        user_agent="SomeGenerator/1.0",
        version="1",
        arrival_date=parse_instant("2005-03-08T18:00:00Z"),
        incidents=3,
        original_mail_from="bounce+7@bounces.example",
        original_rcpt_to=("user@example.com", "other@example.com"),
        source_ip="192.0.2.1",
        reporting_mta=NamedMta("dns", "mail.example.com"),
        authentication_results=("mail.example.com;  spf=fail smtp.mail=somespammer@example.com",),
        reported_domain=("example.net",),
        reported_uri=("http://example.net/earn_money.html", "mailto:user@example.com"),
        extensions={"removal-recipient": ("user@example.com",)},
        original_message=b"Subject: hi\n\nbody",
    )


def test_a_header_alone_may_be_enclosed() -> None:
    found = read(report("Feedback-Type: abuse", "text/rfc822-headers", "Message-ID: <1@x>"))
    assert found.original_message == b"Message-ID: <1@x>"


def test_the_old_name_of_the_arrival_date_is_understood() -> None:
    found = read(report("Feedback-Type: abuse\nReceived-Date: Thu, 29 Apr 2009 00:00:00 -0000 (EST)"))
    assert found.arrival_date == parse_instant("2009-04-29T00:00:00Z")


@pytest.mark.parametrize("date", ["yesterday", "Thu, 8 Mar 2005 14:00:00", "Thu, 99 Mar 2005 14:00:00 +0000"])
def test_a_date_that_names_no_instant_is_none(date: str) -> None:
    assert read(report(f"Feedback-Type: abuse\nArrival-Date: {date}")).arrival_date is None


@pytest.mark.parametrize("incidents", ["many", "-1", "9" * 30, "²"])
def test_a_count_that_is_none_is_none(incidents: str) -> None:
    assert read(report(f"Feedback-Type: abuse\nIncidents: {incidents}")).incidents is None


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (b"Subject: hello\n\nJust a mail.", "no-report"),
        (b"", "no-report"),
        (report("Version: 1"), "missing-field"),
    ],
)
def test_what_is_no_report_says_why(mail: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        read(mail)
    assert caught.value.reason == reason
