"""Replies are taken apart as they come, and say to what they answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.events.reply import EnhancedStatus, SmtpReply, parse_reply


@pytest.mark.parametrize(
    ("line", "code", "enhanced", "text"),
    [
        ("550 5.1.1 No such user", 550, "5.1.1", "No such user"),
        ("550-5.1.1 No such\r\n550 5.1.1 user", 550, "5.1.1", "No such user"),
        ("421 Try later", 421, None, "Try later"),
        ("4.7.1 greylisted", None, "4.7.1", "greylisted"),
        ("452", 452, None, ""),
        ("no code at all", None, None, "no code at all"),
        ("250 2.0.0 OK 1234 x.y.z", 250, "2.0.0", "OK 1234 x.y.z"),
        ("554 5.7.1.9 is no status", 554, None, "5.7.1.9 is no status"),
        ("550 192.0.2.1 listed", 550, None, "192.0.2.1 listed"),
        ("5500 messages", None, None, "5500 messages"),
        ("", None, None, ""),
    ],
)
def test_a_reply_is_taken_apart(line: str, code: int | None, enhanced: str | None, text: str) -> None:
    reply = parse_reply(line)
    assert (reply.code, str(reply.enhanced) if reply.enhanced else None, reply.text) == (code, enhanced, text)


@pytest.mark.parametrize(
    ("command", "phase"),
    [
        ("MAIL FROM:<a@example.com>", "mail"),
        ("rcpt to:<b@example.com>", "rcpt"),
        ("DATA", "data"),
        (".", "dot"),
        ("BDAT 100 LAST", "dot"),
        ("EHLO x", "ehlo"),
        ("STARTTLS", "starttls"),
        ("FROB", "unknown"),
        ("   ", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_command_tells_the_phase(command: str | None, phase: str) -> None:
    assert SmtpReply(550, command=command).phase == phase


def test_what_parses_prints_again() -> None:
    assert str(parse_reply("550 5.1.1 No such user")) == "550 5.1.1 No such user"


@given(st.text(max_size=200))
def test_any_text_is_a_reply(text: str) -> None:
    reply = parse_reply(text)
    assert reply.code is None or 200 <= reply.code <= 599


@pytest.mark.parametrize("parts", [(3, 1, 1), (5, 1000, 0), (5, 0, -1)])
def test_a_status_outside_the_standard_is_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="RFC 3463"):
        EnhancedStatus(*parts)
