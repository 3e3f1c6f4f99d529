"""What every dialect of lines promises: golden outcomes, nothing but ParseError, the same in whatever pieces."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.formats.context import Context
from collector.formats.registry import DIALECTS, open_parser
from collector.framing.lines import Lines, LineSplitter, Rest
from mta.events.errors import ParseError
from mta.events.instants import parse_instant

DATA = Path(__file__).parents[2] / "data"
SAMPLES = {
    f"{name}/{path.stem}": path
    for name in (dialect.name for dialect in DIALECTS)
    if name != "kumomta"
    for path in sorted((DATA / name).glob("*.json"))
}
NAMES = sorted({name.partition("/")[0] for name in SAMPLES})
NOW = parse_instant("2026-11-24T12:00:00Z")


def context() -> Context:
    return Context("here", now=lambda: NOW)


def sample(name: str) -> list[dict]:
    return json.loads(SAMPLES[name].read_text())


def as_log(records: list[dict]) -> bytes:
    return b"".join(record["line"].encode() + b"\n" for record in records)


def outcomes(told, dialect: str, pieces: list[bytes]) -> list:
    """What a stream in these pieces gives, read as the collector reads it."""
    splitter, parse = LineSplitter(), open_parser(dialect, context())
    found = [piece for chunk in pieces for piece in splitter.feed(chunk)]
    found += splitter.rest("the end")
    lines = [line for piece in found for line in (piece.lines if isinstance(piece, Lines) else [piece.raw])]
    assert all(isinstance(piece, Lines | Rest) for piece in found)
    return [told(parse, line) for line in lines]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_line_of_a_sample_gives_its_golden_outcome(told, name):
    parse = open_parser(name.partition("/")[0], context())
    for record in sample(name):
        assert told(parse, record["line"].encode()) == record["gives"], record["line"]


@pytest.mark.parametrize("name", SAMPLES)
def test_auto_recognises_the_dialect_of_a_sample(told, name):
    parse = open_parser("auto", context())
    wanted = [record for record in sample(name) if isinstance(record["gives"], list)]
    found = [told(parse, record["line"].encode()) for record in sample(name)]
    assert [one for one in found if isinstance(one, list)] == [record["gives"] for record in wanted]


def test_auto_reads_dialects_that_take_turns_in_one_log(told):
    logs = [(name, sample(name)) for name in SAMPLES]
    parse = open_parser("auto", context())
    for name, records in logs:
        for record in records:
            outcome = told(parse, record["line"].encode())
            assert outcome == record["gives"] or not isinstance(record["gives"], list), name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_cut_at_every_byte_reads_the_same(told, name):
    dialect = name.partition("/")[0]
    log = as_log(sample(name)[:6])
    whole = outcomes(told, dialect, [log])
    for cut in range(0, len(log), 1 + len(log) // 300):
        assert outcomes(told, dialect, [log[:cut], log[cut:]]) == whole


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_ends_at_any_byte_gives_outcomes_or_refusals(told, name):
    lines = [record["line"].encode() for record in sample(name)]
    for line in lines[:12]:
        parse = open_parser(name.partition("/")[0], context())
        for end in range(len(line)):
            told(parse, line[:end])


@pytest.mark.parametrize("dialect", NAMES)
@given(data=st.data())
def test_any_bytes_give_events_a_kind_or_a_refusal(told, dialect, data):
    lines = [record["line"].encode() for name in SAMPLES if name.startswith(dialect) for record in sample(name)]
    parse = open_parser(dialect, context())
    for _ in range(4):
        line = bytearray(data.draw(st.sampled_from(lines)))
        start = data.draw(st.integers(0, len(line)))
        line[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
        told(parse, bytes(line))
    told(parse, data.draw(st.binary()))


@pytest.mark.parametrize("dialect", NAMES)
@given(line=st.binary(max_size=200))
def test_recognising_never_fails(dialect, line):
    assert {known.name: known for known in DIALECTS}[dialect].recognises(line) in {True, False}


@pytest.mark.parametrize("dialect", NAMES)
def test_a_line_of_no_dialect_is_refused(dialect):
    with pytest.raises(ParseError):
        open_parser(dialect, context())(b"\x00\x01 lorem ipsum")


HOSTILE = [
    ("postfix", "Nov  4 13:35:23 mx1 postfix/smtp[1]: 7EE668039: to=<a>, relay=x, delay=1, ", "a=b, "),
    ("postfix", "Nov  4 13:35:23 mx1 postfix/smtp[1]: 7EE668039: to=<", ">, to=<"),
    (
        "postfix",
        "Nov  4 13:35:23 mx1 postfix/smtp[1]: 7EE668039: to=<a>, relay=, delay=1, status=bounced (host a[1] said: 550-",
        " ",
    ),
    ("postfix", "Nov  4 13:35:23 mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from a[1]: 550 x; from=<", "to=<a>, "),
    ("postfix", "<22>1 2026-11-04T13:35:23.250Z mx2 postfix/smtp 36 - [", "a"),
    ("exim", "2026-11-04 13:35:21 1t8aBc-00000002Xyz-0001 => ", "; "),
    ("exim", "2026-11-04 13:35:21 1t8aBc-00000002Xyz-0001 ** a@b ", '"'),
    ("haraka", "2026-11-24T01:19:12.728Z [NOTICE] [30324FE4.1.1] [outbound] delivered file=", 'x="'),
    ("powermta", "d,", '"'),
]


@pytest.mark.parametrize(("dialect", "beginning", "filling"), HOSTILE)
def test_a_line_that_is_made_to_be_slow_is_read_in_time(told, dialect, beginning, filling):
    line = (beginning + filling * (100_000 // len(filling)) + " status=sent (").encode()
    began = time.perf_counter()
    told(open_parser(dialect, context()), line)
    assert time.perf_counter() - began < 1
