"""Mails that come back, in the layouts of many programs and languages, and ordinary mail beside them."""

import base64
import html
import json
import quopri
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.errors import LimitExceeded
from mta.events.instants import format_instant
from mta.events.mail.bounce import BounceKind, BounceReport, read_bounce
from mta.events.mail.bounce_class import classify_recipient
from mta.events.mail.bounce_phrases import BouncePhrases
from mtascope.resources import bounce_phrases, reply_classifier

MAILS = Path(__file__).parents[3] / "data" / "mail"
GOLDEN = json.loads((MAILS / "reports.json").read_text())
REPORTS = sorted((MAILS / "reports").glob("*.eml"))
ORDINARY = sorted((MAILS / "ordinary").glob("*.eml"))


def facts(report: BounceReport) -> list[dict[str, object]]:
    return [
        {
            key: value
            for key, value in {
                "kind": str(each.kind),
                "recipient": each.address,
                "action": each.action,
                "status": None if each.status is None else str(each.status),
                "code": each.code,
                "class": classify_recipient(each, report, reply_classifier()).name,
                "remote_mta": each.remote_mta,
                "reporting_mta": report.reporting_mta,
                "original_message_id": report.original_message_id,
                "feedback_type": report.feedback_type,
                "source_ip": report.source_ip,
                "arrival": None if report.arrival_date is None else format_instant(report.arrival_date),
            }.items()
            if value is not None
        }
        for each in report.recipients
    ]


def outcome(report: BounceReport) -> list[tuple[str, str | None]]:
    return [(str(each.kind), each.address) for each in report.recipients]


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_report_tells_who_failed_and_why(path, phrases):
    assert facts(read_bounce(path.read_bytes(), phrases)) == GOLDEN[path.name]


@pytest.mark.parametrize("path", ORDINARY, ids=lambda path: path.stem)
def test_ordinary_mail_is_never_a_bounce(path, phrases):
    assert read_bounce(path.read_bytes(), phrases) == BounceReport(kind=BounceKind.NONE)


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["crlf", "bare-cr"])
@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_line_ends_do_not_matter(path, line_end, phrases):
    mail = path.read_bytes()
    assert outcome(read_bounce(mail.replace(b"\n", line_end), phrases)) == outcome(read_bounce(mail, phrases))


@pytest.mark.parametrize("path", [*REPORTS, *ORDINARY], ids=lambda path: path.stem)
def test_blank_lines_before_the_header_do_not_matter(path, phrases):
    mail = path.read_bytes()
    assert read_bounce(b"\n \n" + mail, phrases) == read_bounce(mail, phrases)


@pytest.mark.parametrize("path", ORDINARY, ids=lambda path: path.stem)
def test_an_answer_that_quotes_a_report_is_no_report(path, phrases):
    """Every ordinary mail stays one with a whole bounce quoted below its words."""
    quoted = b"".join(b"> " + line for line in (MAILS / "reports/qmail.eml").read_bytes().splitlines(keepends=True))
    assert read_bounce(path.read_bytes() + b"\n" + quoted, phrases).kind is BounceKind.NONE


@pytest.mark.parametrize("charset", ["utf-8", "no-such-charset", "punycode", "zlib", "utf-16", "\u20ac"])
def test_a_charset_that_is_wrong_hides_no_recipient(charset, phrases):
    mail = (
        "From: MAILER-DAEMON@mx.example\nSubject: failure notice\nContent-Type: text/plain; charset="
        + charset
        + "\n\nI wasn't able to deliver your message.\n\n<ada@customer.example>:\n550 user unknown\n"
    )
    read = read_bounce(mail.encode(), phrases)
    assert charset == "utf-16" or outcome(read) == [("bounce", "ada@customer.example")]


WORDS = ["qmail", "exim", "sendmail-words", "gmail", "yahoo", "domino", "exim-delayed"]


def in_base64(words: str) -> str:
    return "Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(words.encode()).decode()


def in_quoted_printable(words: str) -> str:
    return "Content-Transfer-Encoding: quoted-printable\n\n" + quopri.encodestring(words.encode()).decode()


def in_soft_breaks_with_blanks(words: str) -> str:
    return in_quoted_printable(words).replace("=\n", "=  \n")


def as_html(words: str) -> str:
    return "Content-Type: text/html\n\n<html><body>" + html.escape(words).replace("\n", "<br>\n") + "</body></html>"


def wrapped(words: str) -> str:
    lines = [
        textwrap.wrap(line, 60, subsequent_indent=line[: len(line) - len(line.lstrip())]) or [""]
        for line in words.split("\n")
    ]
    return "\n" + "\n".join(line for group in lines for line in group)


@pytest.mark.parametrize("form", [in_base64, in_quoted_printable, in_soft_breaks_with_blanks, as_html, wrapped])
@pytest.mark.parametrize("name", WORDS)
def test_the_form_of_the_words_does_not_matter(name, form, phrases):
    mail = (MAILS / f"reports/{name}.eml").read_text()
    head, _, words = mail.partition("\n\n")
    said = words.partition("Return-Path:")[0]
    assert outcome(read_bounce(f"{head}\n{form(said)}".encode(), phrases)) == outcome(
        read_bounce(mail.encode(), phrases)
    )


def test_a_report_about_one_address_twice_counts_it_once(phrases):
    mail = (MAILS / "reports/qmail.eml").read_text()
    block = mail[mail.index("<ada@customer.example>:") : mail.index("<ben@accounts.example>:")]
    doubled = mail.replace(block, block + block)
    assert outcome(read_bounce(doubled.encode(), phrases)) == [
        ("bounce", "ada@customer.example"),
        ("bounce", "ben@accounts.example"),
    ]


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("failed", "5.1.1", "bounce"),
        ("Failed (unknown user)", "5.1.1", "bounce"),
        ("delayed", "4.4.1", "delayed"),
        ("delivered", "2.0.0", "delivered"),
        ("relayed", "2.0.0", "delivered"),
        ("expanded", "2.0.0", "delivered"),
        ("", "4.0.0", "delayed"),
        ("", "", "bounce"),
    ],
)
def test_the_action_field_decides_the_kind(action, status, kind, phrases):
    mail = (
        'From: MAILER-DAEMON@a.example\nContent-Type: multipart/report; boundary="b"\n\n--b\n'
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a.example\n\n"
        f"Final-Recipient: rfc822; <u@b.example>\nAction: {action}\nStatus: {status}\n--b--\n"
    )
    assert outcome(read_bounce(mail.encode(), phrases)) == [(kind, "u@b.example")]


def test_blocks_that_run_together_or_are_torn_apart_are_read_alike(phrases):
    fields = ["Final-Recipient: rfc822; u@b.example", "Action: failed", "Status: 5.1.1", ""]
    fields += ["Final-Recipient: rfc822; v@b.example", "Action: failed", "Status: 5.2.2", ""]
    head = 'From: <>\nContent-Type: multipart/report; boundary="b"\n\n--b\nContent-Type: message/delivery-status\n\n'
    together = "\n".join(line for line in fields if line)
    apart = "\n\n".join(fields)
    expected = [("bounce", "u@b.example"), ("bounce", "v@b.example")]
    for text in ("\n".join(fields), together, apart):
        assert outcome(read_bounce(f"{head}{text}\n--b--\n".encode(), phrases)) == expected


STATUS = b'Content-Type: multipart/report; boundary="b"\n\n--b\nContent-Type: message/delivery-status\n\n'
HOSTILE = {
    "2 MB of report fields": STATUS + b"Final-Recipient: rfc822; u@b.example\nAction: failed\n\n" * 40_000,
    "10,000 parts": b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * 10_000,
    "nested 200 deep": b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (depth, depth) for depth in range(200)
    ),
    "100,000 header fields": b"X-A: b\n" * 100_000 + b"\nbody",
    "a header of 8 MB": b"Subject: " + b"a" * 8_000_000 + b"\n\nbody",
    "40 MB": b"Subject: Undelivered\n\n" + b"x" * 40_000_000,
}
COSTLY = {
    "a status of blank lines": STATUS + b"\n" * 1_000_000,
    "a status of 5,000 recipients": STATUS
    + b"".join(b"Final-Recipient: rfc822; u%d@b.example\nAction: failed\nStatus: 5.1.1\n\n" % n for n in range(5_000)),
    "one line of at signs": b"From: MAILER-DAEMON@a.example\nSubject: failure notice\n\n" + b"@" * 3_000_000,
    "one line of address": b"From: MAILER-DAEMON@a.example\nSubject: failure notice\n\n" + b"a" * 3_000_000 + b"@b.c",
    "200,000 addresses": b"From: MAILER-DAEMON@a.example\nSubject: failure notice\n\nundeliverable\n"
    + b"".join(b"u%d@b.example\n" % number for number in range(200_000)),
    "200,000 addresses in a line": b"From: MAILER-DAEMON@a.example\nSubject: failure notice\n\nundeliverable "
    + b"".join(b"u%d@b.example " % number for number in range(200_000)),
    "unclosed tags": b"From: MAILER-DAEMON@a.example\nContent-Type: text/html\n\nundeliverable" + b"<p" * 1_500_000,
    "unclosed styles": b"From: MAILER-DAEMON@a.example\nContent-Type: text/html\n\n" + b"<style>" * 400_000,
    "quoted strings": b"From: MAILER-DAEMON@a.example\nSubject: failure notice\n\n" + b'"' * 3_000_000 + b"@b.c",
    "encoded words": b"Subject: " + b"=?utf-8?B?w7w=?= " * 12_000 + b"\nFrom: MAILER-DAEMON\n\nundeliverable",
    "folded recipients": b"From: MAILER-DAEMON\nX-Failed-Recipients: "
    + b"u@b.example,\n " * 10_000
    + b"\n\nundeliverable",
    "reports in reports": b"".join(
        b"From: MAILER-DAEMON\nSubject: failure notice\nContent-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
        b"Content-Type: message/rfc822\n\n" % (depth, depth)
        for depth in range(20_000)
    ),
    "JSON of brackets": b"From: a@b.example\n\n{" + b'{"a":[' * 500_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_mail_beyond_the_limits_is_refused_at_once_with_a_reason(name, phrases):
    start = time.process_time()
    with pytest.raises(LimitExceeded, match=r"limit|more than"):
        read_bounce(HOSTILE[name], phrases)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", COSTLY)
def test_a_mail_made_to_be_slow_is_read_in_bounded_time(name, phrases):
    start = time.process_time()
    read_bounce(COSTLY[name], phrases)
    assert time.process_time() - start < 1


@given(st.binary(max_size=400), st.sampled_from(REPORTS), st.integers(0, 3_000))
def test_damage_anywhere_raises_nothing_but_a_named_error(damage: bytes, path: Path, at: int):
    mail = path.read_bytes()
    damaged = mail[:at] + damage + mail[at + len(damage) :]
    report = read_bounce(damaged, bounce_phrases())
    for each in report.recipients:
        classify_recipient(each, report, reply_classifier())


@given(st.text(max_size=2_000))
def test_any_text_is_at_most_an_ordinary_mail(text: str):
    assert read_bounce(b"From: a@b.example\n\n" + text.encode(), bounce_phrases()).kind is not BounceKind.BOUNCE


def test_phrases_are_folded_once_when_read(phrases):
    assert isinstance(phrases, BouncePhrases)
    assert all(each == each.lower() for each in phrases.subject_bounce)
