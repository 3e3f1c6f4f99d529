"""Mails that come back, as log records in KumoMTA's shape."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.feedback.mail import FeedbackMail
from mta.feedback.records import feedback, read
from mtascope.resources import bounce_phrases

RECEIVED = 1_767_225_600_250_000


def mail(body: bytes, **changes: Any) -> FeedbackMail:
    given = {
        "sender": "feedback@yahoo.example",
        "recipients": ("fbl@feedback.mtascope.test",),
        "received_at": RECEIVED,
        "peer_ip": "127.0.0.1",
        "queue_id": "q1",
    }
    return FeedbackMail(body=body, **{**given, **changes})


def report(kind: str, fields: str, original: str = "Message-ID: <1@x>\nX-Tenant: acme") -> bytes:
    return (
        f"Content-Type: multipart/report; report-type={kind}; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\n{original}\r\n\r\nbody\r\n--b--\r\n"
    ).encode()


COMPLAINT = report(
    "feedback-report", "Feedback-Type: abuse\nUser-Agent: Yahoo\nVersion: 1\nOriginal-Rcpt-To: <u@yahoo.com>"
)
BOUNCE = report(
    "delivery-status",
    "Reporting-MTA: dns; mx.example.com\n\n"
    "Original-Recipient: rfc822;ann@example.com\nFinal-Recipient: rfc822;ann@store.example.com\nAction: failed\n"
    "Status: 5.2.2\nDiagnostic-Code: smtp; 552 5.2.2 Mailbox full\n"
    "Last-Attempt-Date: Thu, 01 Jan 2026 00:00:00 +0000\n\n"
    "Final-Recipient: rfc822;ben@example.com\nAction: failed\nStatus: 5.1.1\n\n"
    "Final-Recipient: rfc822;carl@example.com\nAction: delayed\nStatus: 4.4.1",
)


def test_a_complaint_becomes_one_feedback_record() -> None:
    (record,) = feedback(mail(COMPLAINT))
    assert record == {
        "type": "Feedback",
        "sender": "feedback@yahoo.example",
        "recipient": "fbl@feedback.mtascope.test",
        "size": len(COMPLAINT),
        "response": {"code": 250, "enhanced_code": None, "content": "", "command": None},
        "peer_address": {"name": "", "addr": "127.0.0.1"},
        "timestamp": 1_767_225_600,
        "event_time": "2026-01-01T00:00:00.250000Z",
        "reception_protocol": "ESMTP",
        "feedback_report": {
            "feedback_type": "abuse",
            "user_agent": "Yahoo",
            "version": "1",
            "arrival_date": None,
            "incidents": None,
            "original_envelope_id": None,
            "original_mail_from": None,
            "reporting_mta": None,
            "source_ip": None,
            "authentication_results": [],
            "original_rcpto_to": ["u@yahoo.com"],
            "reported_domain": [],
            "reported_uri": [],
            "extensions": {},
            "original_message": "Message-ID: <1@x>\nX-Tenant: acme\n\nbody",
            "supplemental_trace": None,
        },
    }


def test_the_trace_that_the_sending_mta_left_is_recovered() -> None:
    trace = base64.b64encode(rb'{"_@_":"\\_/","recipient":"u@yahoo.com"}').decode()
    original = f"Subject: x\nX-Other: {base64.b64encode(b'{}').decode()}\nX-KumoRef: {trace[:20]}\n {trace[20:]}"
    (record,) = feedback(mail(report("feedback-report", "Feedback-Type: abuse", original)))
    assert record["feedback_report"]["supplemental_trace"] == {"_@_": "\\_/", "recipient": "u@yahoo.com"}


def test_a_long_reported_mail_is_cut_so_that_the_record_stays_one_line_that_readers_accept() -> None:
    (record,) = feedback(mail(report("feedback-report", "Feedback-Type: abuse", "Subject: x\n\n" + "é" * 500_000)))
    assert len(record["feedback_report"]["original_message"].encode()) <= 64 * 1024


def test_a_late_bounce_becomes_one_record_for_each_failed_recipient() -> None:
    bounced = mail(BOUNCE, sender="", recipients=("bounce+7@bounces.mtascope.test",))
    ann, ben = feedback(bounced)
    assert ann["type"] == ben["type"] == "OOB"
    assert ann["sender"] == "bounce+7@bounces.mtascope.test", "the address that the report was sent to"
    assert (ann["recipient"], ben["recipient"]) == ("ann@example.com", "ben@example.com")
    assert ann["peer_address"] == {"name": "mx.example.com", "addr": "127.0.0.1"}
    assert ann["response"] == {
        "code": 552,
        "enhanced_code": {"class": 5, "subject": 2, "detail": 2},
        "content": "Mailbox full",
        "command": None,
    }


def test_a_late_bounce_names_the_mail_that_it_is_about() -> None:
    assert [record["meta"] for record in feedback(mail(BOUNCE))] == [{"original_message_id": "<1@x>"}] * 2


def test_a_late_bounce_without_a_reply_is_a_bare_550() -> None:
    _, ben = feedback(mail(BOUNCE))
    assert (ben["response"]["code"], ben["response"]["content"]) == (550, "")
    assert ben["response"]["enhanced_code"] == {"class": 5, "subject": 1, "detail": 1}


def test_a_late_bounce_is_dated_by_its_last_attempt_else_by_its_arrival() -> None:
    ann, ben = feedback(mail(BOUNCE))
    assert (ann["timestamp"], ann["event_time"]) == (1_767_225_600, "2026-01-01T00:00:00.000000Z")
    assert ben["event_time"] == "2026-01-01T00:00:00.250000Z"


def test_what_the_log_writer_knows_better_is_left_to_it() -> None:
    for record in (*feedback(mail(COMPLAINT)), *feedback(mail(BOUNCE))):
        assert not {"nodeid", "id", "created", "created_time", "queue"} & set(record)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"Subject: Out of office\r\n\r\nBack on Monday.", "no-report"),
        (b"", "no-report"),
        (b"\xff\xfe\x00" * 100, "no-report"),
        (report("feedback-report", "Version: 1"), "missing-field"),
        (report("delivery-status", "Final-Recipient: rfc822;a@b\nAction: delayed"), "no-failure"),
        (b"Content-Type: multipart/x; boundary=b\n\n" + b"--b\n\n\n" * 500, "limit"),
    ],
    ids=["mail", "empty", "binary", "no-type", "delayed", "too-many-parts"],
)
def test_what_cannot_be_read_makes_no_record_and_says_why(body: bytes, reason: str) -> None:
    found = read(mail(body))
    assert (found.records, found.reason) == ((), reason)


@given(st.binary(max_size=600), st.sampled_from(["feedback-report", "delivery-status"]))
def test_no_mail_makes_it_raise(noise: bytes, kind: str) -> None:
    fields = "Feedback-Type: abuse\nFinal-Recipient: rfc822;a@b\nAction: failed\n"
    feedback(mail(noise, recipients=()))
    feedback(mail(report(kind, fields).replace(b"<1@x>", noise), recipients=()))
    feedback(mail(report(kind, fields + noise.decode("latin-1"))))


QMAIL = (
    b"From: MAILER-DAEMON@mx.example.com\r\nSubject: failure notice\r\n\r\n"
    b"Hi. This is the qmail-send program at mx.example.com.\r\n"
    b"I'm afraid I wasn't able to deliver your message to the following addresses.\r\n\r\n"
    b"<ann@example.com>:\r\nRemote host said: 550 5.1.1 user unknown\r\n\r\n"
    b"--- Below this line is a copy of the message.\r\n\r\n"
    b"Received: by a\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"
)


def test_with_phrases_a_bounce_in_words_becomes_a_record_of_the_same_shape() -> None:
    assert read(mail(QMAIL, sender="")).reason == "no-report"
    (record,) = feedback(mail(QMAIL, sender=""), bounce_phrases())
    (standard, *_) = feedback(mail(BOUNCE, sender=""))
    assert record.keys() == standard.keys()
    assert (record["type"], record["recipient"], record["meta"]) == (
        "OOB",
        "ann@example.com",
        {"original_message_id": "<1@x>"},
    )
    assert record["response"]["code"] == 550


def test_with_phrases_a_complaint_without_fields_becomes_a_feedback_record() -> None:
    body = (
        b"From: staff@hotmail.com\r\nSubject: complaint about message from 192.0.2.1\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        b"X-HmXmrOriginalRecipient: ann@hotmail.com\r\nFrom: n@sender.example\r\n\r\nhello\r\n--b--\r\n"
    )
    (record,) = feedback(mail(body), bounce_phrases())
    assert record["type"] == "Feedback"
    assert record["feedback_report"]["original_rcpto_to"] == ["ann@hotmail.com"]


def test_with_phrases_an_absence_says_that_nothing_failed() -> None:
    body = b"Subject: Out of office\r\nAuto-Submitted: auto-replied\r\nFrom: ann@example.com\r\n\r\naway\r\n"
    assert read(mail(body, sender=""), bounce_phrases()).reason == "no-failure"


def test_with_phrases_ordinary_mail_has_no_report() -> None:
    body = b"Subject: hello\r\nFrom: ann@example.com\r\n\r\nHow are you?\r\n"
    assert read(mail(body), bounce_phrases()).reason == "no-report"
