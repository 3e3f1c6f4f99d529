"""Mails to signed return paths: believed because of the signature, or only counted."""

from __future__ import annotations

import pytest

from mta.events.instants import DAY
from mta.events.pseudonym import Keyring
from mta.events.return_path import ReturnPaths
from mta.feedback.mail import FeedbackMail
from mta.feedback.reader import FeedbackReader
from mtascope.resources import bounce_phrases

NOW = 1_767_225_600_000_000
PATHS = ReturnPaths(Keyring(b"i" * 32, {1: b"a" * 32}))
DOMAIN = "bounces.example.com"
GENUINE = PATHS.make(0x1234, DOMAIN, NOW)
READER = FeedbackReader(bounce_phrases(), PATHS, frozenset({DOMAIN}))


def mail(body: str, *recipients: str, at: int = NOW) -> FeedbackMail:
    return FeedbackMail("", recipients, body.replace("\n", "\r\n").encode(), at, "127.0.0.1", "q1")


def bounce(recipient: str = "ann@example.org", status: str = "5.1.1") -> str:
    return (
        "From: MAILER-DAEMON@mx.example.org\nSubject: Undelivered Mail Returned to Sender\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nYour message could not be delivered.\n"
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n"
        f"Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\n--b--\n"
    )


def complaint(original_sender: str) -> str:
    return (
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        "--b\nContent-Type: message/feedback-report\n\n"
        f"Feedback-Type: abuse\nUser-Agent: FBL/1\nVersion: 1\nOriginal-Mail-From: <{original_sender}>\n"
        "--b\nContent-Type: message/rfc822\n\nSubject: x\n\nbody\n--b--\n"
    )


def test_a_bounce_to_a_signed_return_path_names_its_unit() -> None:
    reading = READER(mail(bounce(), GENUINE))
    (record,) = reading.records
    assert (record["type"], record["meta"]["mtascope_unit"]) == ("OOB", "0000000000001234")
    assert reading.result == "bounce"


def test_a_bounce_that_names_nobody_counts_when_its_address_tells_whom_it_is_about() -> None:
    (record,) = READER(mail(bounce(recipient=""), GENUINE)).records
    assert (record["recipient"], record["meta"]["mtascope_unit"]) == (GENUINE, "0000000000001234")


@pytest.mark.parametrize("local", ["b-" + "a" * 32, "news", "b-short", GENUINE.partition("@")[0][:-1] + "!"])
def test_a_bounce_to_a_forged_return_path_is_counted_and_makes_no_record(local: str) -> None:
    reading = READER(mail(bounce(), f"{local}@{DOMAIN}"))
    assert (reading.records, reading.result) == ((), "forged")


def test_a_bounce_that_comes_too_late_is_counted_and_makes_no_record() -> None:
    reading = READER(mail(bounce(), GENUINE, at=NOW + 40 * DAY))
    assert (reading.records, reading.result) == ((), "expired")


def test_one_genuine_address_is_enough() -> None:
    reading = READER(mail(bounce(), f"b-{'a' * 32}@{DOMAIN}", GENUINE))
    assert reading.records[0]["meta"]["mtascope_unit"] == "0000000000001234"


def test_an_answer_to_a_return_path_is_no_bounce() -> None:
    body = "From: ann@example.org\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away.\n"
    assert READER(mail(body, GENUINE)).records == ()


def test_a_redacted_complaint_is_known_by_the_return_path_that_it_quotes() -> None:
    (record,) = READER(mail(complaint(GENUINE), "fbl@feedback.example.com")).records
    assert record["meta"]["mtascope_unit"] == "0000000000001234"


def test_a_complaint_that_quotes_a_forged_return_path_names_no_unit() -> None:
    (record,) = READER(mail(complaint(f"b-{'a' * 32}@{DOMAIN}"), "fbl@feedback.example.com")).records
    assert "mtascope_unit" not in record.get("meta", {})


def test_mail_to_other_feedback_domains_is_read_as_before() -> None:
    (record,) = READER(mail(bounce(), "bounce@feedback.example.com")).records
    assert (record["type"], record["meta"]) == ("OOB", {})
