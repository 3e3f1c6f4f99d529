"""Events of one input are completed by what earlier lines told of their message."""

from __future__ import annotations

import pytest

from collector.formats.context import Context
from collector.formats.registry import open_parser
from collector.lookback import LookBack
from mta.events.instants import SECOND, parse_instant

NOW = parse_instant("2026-11-24T12:00:00Z")
CLIENT = "smtpd[1]: 7EE668039: client=app.example[192.0.2.1]"
MESSAGE_ID = "cleanup[1]: 7EE668039: message-id=<a@b.example>"
ACTIVE = "qmgr[1]: 7EE668039: from=<s@b.example>, size=536, nrcpt=1 (queue active)"
DEFERRED = (
    "smtp[1]: 7EE668039: to=<r@c.example>, relay=mx.c.example[192.0.2.9]:25, delay=2, delays=0/0/1/1, dsn=4.2.0, "
    "status=deferred (host mx.c.example[192.0.2.9] said: 450 4.2.0 later (in reply to RCPT TO command))"
)
SENT = (
    "smtp[1]: 7EE668039: to=<r@c.example>, relay=mx.c.example[192.0.2.9]:25, delay=9, dsn=2.0.0, status=sent (250 ok)"
)
EXPIRED = "qmgr[1]: 7EE668039: from=<s@b.example>, status=expired, returned to sender"
REJECTED = (
    "cleanup[1]: 7EE668039: milter-reject: END-OF-MESSAGE from app.example[192.0.2.1]: 5.7.1 no; from=<s@b.example> "
    "to=<r@c.example> proto=ESMTP helo=<x>"
)


def seen(*bodies: str, at: str = "10:00:0") -> list:
    parse, look_back = open_parser("postfix", Context(now=lambda: NOW)), LookBack()
    lines = [f"Nov  4 {at}{number} mx1 postfix/{body}".encode() for number, body in enumerate(bodies)]
    outcomes = [parse(line) for line in lines]
    events = [event for outcome in outcomes if isinstance(outcome, tuple) for event in outcome]
    return [*look_back.complete(events), *look_back.rest()]


def test_a_message_that_many_lines_tell_of_is_one_reception_with_all_they_told():
    (reception,) = seen(CLIENT, MESSAGE_ID, ACTIVE)
    assert (reception.sender, reception.size, reception.message_id) == ("s@b.example", 536, "a@b.example")
    assert (reception.peer_ip, reception.time) == ("192.0.2.1", parse_instant("2026-11-04T10:00:00Z"))


def test_a_retry_is_no_second_reception():
    assert [e.type for e in seen(CLIENT, ACTIVE, DEFERRED, ACTIVE, SENT)] == ["reception", "deferral", "delivery"]


def test_a_log_that_begins_in_mid_life_has_no_reception_but_its_facts():
    (delivery,) = seen(ACTIVE, SENT)
    assert (delivery.sender, delivery.size, delivery.attempt, delivery.delay) == ("s@b.example", 536, None, 9 * SECOND)


def test_attempts_are_counted_where_the_message_begins_in_the_log():
    assert [e.attempt for e in seen(CLIENT, ACTIVE, DEFERRED, DEFERRED, SENT)] == [None, 1, 2, 3]


def test_a_message_that_is_refused_in_the_end_was_not_received():
    assert [e.type for e in seen(CLIENT, MESSAGE_ID, REJECTED)] == ["rejection"]


def test_a_message_that_expires_expires_for_each_recipient_who_waits_with_the_last_reply():
    *_, expiration = seen(CLIENT, ACTIVE, DEFERRED, EXPIRED)
    assert (expiration.type, expiration.recipient, expiration.reply.code) == ("expiration", "r@c.example", 450)


def test_a_queue_id_that_is_used_again_is_another_message():
    first, *_, third, last = seen(CLIENT, ACTIVE, SENT, CLIENT, ACTIVE.replace("536", "77"), SENT)
    assert (first.size, third.size, last.size, last.attempt) == (536, 77, 77, 1)


@pytest.mark.parametrize("bodies", [(CLIENT,), (MESSAGE_ID,), (CLIENT, MESSAGE_ID)])
def test_a_reception_of_which_no_more_is_told_comes_at_the_end(bodies):
    assert [e.type for e in seen(*bodies)] == ["reception"]


def test_exim_has_the_delay_from_the_arrival_of_the_message():
    parse, look_back = open_parser("exim", Context(zone=None)), LookBack()
    lines = (
        b"2026-11-04 10:00:00 +0000 1t8aBc-0002Xy-1k <= s@b.example U=root P=local S=77 id=a@b.example",
        b'2026-11-04 10:00:05 +0000 1t8aBc-0002Xy-1k => r@c.example R=r T=t H=mx.c.example [192.0.2.9] C="250 ok"',
    )
    _, delivery = look_back.complete(event for line in lines for event in parse(line))
    assert (delivery.delay, delivery.size, delivery.message_id) == (5 * SECOND, 77, "a@b.example")
