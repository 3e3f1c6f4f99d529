"""Choosing a dialect by name, and finding out by looking."""

from __future__ import annotations

import json

import pytest

from collector.errors import UnknownFormat
from collector.formats.context import Context
from collector.formats.registry import format_names, open_parser
from mta.events.errors import ParseError

RECORD = json.dumps({"type": "Delivery", "id": "1", "recipient": "a@b.example", "timestamp": 1}).encode()


@pytest.mark.parametrize("name", ["auto", "kumomta", "mtascope"])
def test_a_record_is_read_under_each_name_of_its_dialect(name):
    (event,) = open_parser(name, Context("mx1"))(RECORD)
    assert (event.recipient, event.node) == ("a@b.example", "mx1")
    assert name in format_names()


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(UnknownFormat, match=r"one of auto, kumomta, .*mtascope"):
        open_parser("sendmail")


def test_a_line_of_no_known_dialect_is_refused_as_such():
    with pytest.raises(ParseError) as refusal:
        open_parser("auto")(b"Jan  1 00:00:00 mx1 something[1]: else")
    assert refusal.value.reason == "unknown-format"


def test_a_garbled_line_in_a_known_log_is_refused_by_its_dialect():
    parse = open_parser("auto")
    parse(RECORD)
    with pytest.raises(ParseError) as refusal:
        parse(RECORD[:-1])
    assert refusal.value.reason == "malformed"


def test_a_log_that_begins_with_garbage_is_recognised_afterwards():
    parse = open_parser("auto")
    with pytest.raises(ParseError):
        parse(b"# header")
    assert parse(RECORD)
