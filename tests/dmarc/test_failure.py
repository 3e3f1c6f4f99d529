"""Failure reports: the standard form, the dialects, and nothing of the failed message but its name."""

from __future__ import annotations

from dmarc.carrier import MailAuth, judge_carrier
from dmarc.deviation import Deviation
from dmarc.reports import Outcome, ReportKind
from mta.events.instants import parse_instant

STANDARD = b"""From: reports@receiver.example
To: ruf@example.com
Subject: FW: failed
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

This is an authentication failure report.
--b
Content-Type: message/feedback-report

Feedback-Type: auth-failure
User-Agent: R/1.0
Version: 1
Original-Mail-From: <bounce@example.com>
Original-Rcpt-To: <someone@receiver.example>
Arrival-Date: Thu, 8 Mar 2012 14:00:00 -0400
Source-IP: 192.0.2.1
Source-Port: 4711
Reported-Domain: Example.COM
Auth-Failure: dmarc
Identity-Alignment: dkim, SPF
Delivery-Result: reject
Incidents: 3
DKIM-Domain: example.org
DKIM-Selector: S1
Authentication-Results: receiver.example; dmarc=fail header.from=example.com
--b
Content-Type: message/rfc822

From: Boss <boss@example.com>
To: someone@receiver.example
Subject: secret
Message-ID: <abc@example.com>

private words
--b--
"""

PLAIN = b"""From: no-reply@node.example.net
Content-Type: multipart/report; boundary="b"

--b
Content-Type: text/plain

A message claiming to be from you has failed the published DMARC policy for your domain.

  Sender Domain: example.com
  Sender IP Address: 203.0.113.68
  Received date: Mon, 07 Apr 2025 23:16:09 +0200
  SPF Alignment: no
  DKIM Alignment: no
  DMARC Results: None, Accept

------ This is a copy of the headers that were received before the error was detected.

Received: from [203.0.113.68]
From: <user@example.com>
Message-Id: <134117F8@example.com>

--b--
"""


def test_the_standard_form_gives_its_fields(read_one):
    found = read_one(STANDARD)
    report = found.report
    assert (found.kind, found.outcome) == (ReportKind.FAILURE, Outcome.OK)
    assert (report.reported_domain, report.auth_failure, report.delivery_result) == ("example.com", "dmarc", "reject")
    assert (report.source_ip, report.source_port, report.align_failed) == ("192.0.2.1", 4711, ("dkim", "spf"))
    assert (report.messages, report.dkim_domain, report.dkim_selector) == (3, "example.org", "s1")
    assert report.arrived == parse_instant("2012-03-08T14:00:00-04:00")
    assert (report.original_message_id, report.original_from_domain) == ("abc@example.com", "example.com")


def test_nothing_of_the_failed_message_but_its_name_is_kept(read_one):
    text = repr(read_one(STANDARD).report)
    assert "private words" not in text
    assert "secret" not in text
    assert "Boss" not in text


def test_an_encoded_report_part_is_decoded(read_one):
    import base64

    head, rest = STANDARD.split(b"Content-Type: message/feedback-report\n\n")
    fields, tail = rest.split(b"--b\n", 1)
    part = b"Content-Type: message/feedback-report\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(fields)
    assert read_one(head + part + b"--b\n" + tail).report.reported_domain == "example.com"


def test_the_plain_text_dialect_is_understood(read_one):
    found = read_one(PLAIN)
    report = found.report
    assert (found.kind, found.outcome) == (ReportKind.FAILURE, Outcome.OK)
    assert (report.reported_domain, report.source_ip, report.align_failed) == (
        "example.com",
        "203.0.113.68",
        ("spf", "dkim"),
    )
    assert (report.delivery_result, report.org_name) == ("delivered", "node.example.net")
    assert report.original_message_id == "134117F8@example.com"
    assert Deviation.PLAIN_TEXT in found.deviations


def test_a_complaint_is_told_from_an_authentication_failure(read_one):
    found = read_one(STANDARD.replace(b"Feedback-Type: auth-failure", b"Feedback-Type: abuse"))
    assert found.report.feedback_type == "abuse"
    assert Deviation.FEEDBACK_TYPE in found.deviations


def test_only_a_trusted_host_vouches_for_the_carrier(read_one):
    forged = b"Authentication-Results: evil.example; dmarc=pass\n"
    own = b"Authentication-Results: mx.ours.example 1; spf=fail (dmarc=pass); dmarc=fail (p=reject) header.from=x\n"
    carrier = read_one(forged + own + STANDARD).carrier
    assert judge_carrier(carrier, {"mx.ours.example"}) is MailAuth.FAIL
    assert judge_carrier(carrier, {"evil.example"}) is MailAuth.PASS
    assert judge_carrier(carrier, set()) is MailAuth.UNKNOWN
    assert judge_carrier(None, {"mx.ours.example"}) is MailAuth.UNKNOWN
