"""What every dialect of lines promises: golden outcomes, nothing but ParseError, the same in whatever pieces."""

from __future__ import annotations

import json
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
