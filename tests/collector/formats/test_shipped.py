"""Taking the mail server's own line out of what a shipper wrapped around it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.formats.shipped import Shipped, unwrap
from collector.framing.parcels import Parcel, Shape
from mta.events.errors import ParseError

LINE = "Nov 24 00:32:02 relay-1 postfix/smtp[99]: 4BXm: to=<u@mailbox.example>, status=sent"


def opened(event: dict, sender: str = "192.0.2.7") -> Shipped:
    return unwrap(json.dumps(event).encode(), Parcel([], Shape.EVENT, sender))


FILEBEAT = {
    "@timestamp": "2026-11-24T00:32:05.000Z",
    "message": LINE,
    "host": {"name": "relay-1"},
    "log": {"offset": 4711, "file": {"path": "/var/log/mail.log", "inode": "5"}},
}


def test_filebeat_tells_host_path_and_offset():
    assert opened(FILEBEAT) == Shipped(LINE.encode(), "relay-1", "/var/log/mail.log", 4711)


def test_dotted_keys_are_fields_too():
    flat = {"message": LINE, "host.name": "relay-1", "log.file.path": "/var/log/mail.log", "log.offset": 4711}
    assert opened(flat) == opened(FILEBEAT)


def test_who_sent_it_is_the_host_when_nobody_says():
    assert opened({"message": LINE}) == Shipped(LINE.encode(), "192.0.2.7")


@pytest.mark.parametrize(
    "event",
    [
        {"syslog": {"identifier": "postfix/smtp"}, "process": {"pid": 99}},
        {"log": {"syslog": {"appname": "postfix/smtp", "procid": "99"}}},
        {"ident": "postfix/smtp", "pid": "99"},
        {"syslogtag": "postfix/smtp[99]:"},
    ],
    ids=["journald", "Filebeat syslog", "Fluent Bit", "rsyslog"],
)
def test_a_line_that_lost_its_syslog_header_gets_it_back(event):
    event |= {
        "message": "4BXm: to=<u@mailbox.example>",
        "@timestamp": "2026-11-24T00:32:02.123Z",
        "hostname": "relay-1",
    }
    line = b"2026-11-24T00:32:02.123Z relay-1 postfix/smtp[99]: 4BXm: to=<u@mailbox.example>"
    assert opened(event).line == line


def test_a_line_that_kept_its_header_is_left_as_it_is():
    assert opened({"message": LINE, "syslog": {"identifier": "postfix/smtp"}}).line == LINE.encode()


@pytest.mark.parametrize("event", [{"level": "INFO", "uuid": "x"}, {"MESSAGE": "4BXm: removed", "_PID": "1"}])
def test_an_event_without_a_text_is_itself_the_record(event):
    assert json.loads(opened(event).line) == event


SYSLOG = {
    "RFC 5424": (
        b"<22>1 2026-11-24T00:32:02.1Z relay-1 postfix/smtp 99 - - 4BXm: removed",
        b"2026-11-24T00:32:02.1Z relay-1 postfix/smtp[99]: 4BXm: removed",
    ),
    "BOM, data, no pid": (
        b'<22>1 2026-11-24T00:32:02.1Z relay-1 exim - ID1 [x@1 a="b \\"c\\" \\]"] \xef\xbb\xbf1abc <= u@x',
        b"2026-11-24T00:32:02.1Z relay-1 exim: 1abc <= u@x",
    ),
    "no text": (b"<22>1 - - exim - - -", b"- 192.0.2.7 exim: "),
    "RFC 3164": (b"<22>" + LINE.encode() + b"\r\n", LINE.encode()),
    "no priority": (LINE.encode(), LINE.encode()),
    "a record": (b'<22>Nov 24 00:32:02 relay-1 kumod: {"type":"Delivery"}', b'{"type":"Delivery"}'),
}


@pytest.mark.parametrize("case", SYSLOG)
def test_syslog_messages_become_the_lines_of_a_log(case):
    message, line = SYSLOG[case]
    assert unwrap(message, Parcel([], Shape.SYSLOG, "192.0.2.7")).line == line


@given(st.binary(max_size=100), st.sampled_from([Shape.EVENT, Shape.SYSLOG, Shape.LINE, Shape.CUT]))
def test_any_bytes_are_unwrapped_or_refused(raw, shape):
    with contextlib.suppress(ParseError):
        assert isinstance(unwrap(raw, Parcel([], shape)), Shipped)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**64) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
KEYS = (
    "message",
    "log",
    "host",
    "log.offset",
    "offset",
    "event",
    "syslogtag",
    "type",
    "id",
    "recipient",
    "body",
    "process",
)


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_whatever_is_behind_the_known_keys_is_survived(event):
    assert isinstance(opened(event), Shipped)
