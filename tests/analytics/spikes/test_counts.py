"""Counts as text: what is read, what is refused, and what a `t` means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.spikes.counts import MAX_LINE, Counts, CountsReader, StepClock
from mta.events.errors import LimitExceeded, ParseError

HOUR = 1_767_225_600
"""2026-01-01T00:00:00Z."""


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"t":"2026-01-01T00:00:00Z","series":"gmail","sent":10,"bounced":1}'],
        [b"t,series,sent,bounced\n", b"2026-01-01T00:00:00Z,gmail,10,1\n"],
        [b"2026-01-01T00:00:00Z,gmail,10,1\r\n"],
        [b"\xef\xbb\xbfbounced,sent,series,t\n", b'1,10,"gmail",2026-01-01T00:00:00Z\n'],
    ],
    ids=["ndjson", "csv", "csv without heading", "csv in another order"],
)  # fmt: skip
def test_both_formats_say_the_same(lines):
    reader = CountsReader()
    found = [counts for line in lines if (counts := reader.read(line)) is not None]
    assert found == [Counts("2026-01-01T00:00:00Z", "gmail", 10, 1)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"t":1,"series":"gmail","sent":10}', "bounced"),
        (b'{"t":1,"series":"gmail","sent":10,"bounced":11}', "11 bounced of 10"),
        (b'{"t":1,"series":"gmail","sent":-1,"bounced":0}', "sent"),
        (b'{"t":1,"series":"gmail","sent":1.5,"bounced":0}', "sent"),
        (b'{"t":1,"series":"gmail","sent":true,"bounced":0}', "sent"),
        (b'{"t":null,"series":"gmail","sent":1,"bounced":0}', "t"),
        (b'{"t":1,"series":"","sent":1,"bounced":0}', "series"),
        (b"{nonsense", "JSON"),
        (b"1,gmail,10", "3 columns"),
        (b"1,gmail,ten,1", "'ten' is no count"),
        (b"1,\xff\xfe,10,1", "UTF-8"),
    ],
)
def test_a_wrong_row_is_refused_by_name(line, what):
    with pytest.raises(ParseError, match=what):
        CountsReader().read(line)


def test_an_endless_line_is_refused():
    with pytest.raises(LimitExceeded):
        CountsReader().read(b"x" * (MAX_LINE + 1))


@given(st.binary(max_size=200))
def test_no_line_does_worse_than_be_refused(line):
    try:
        counts = CountsReader().read(line)
        if counts is not None:
            StepClock().step(counts.t)
    except ParseError:
        pass


@pytest.mark.parametrize(
    "t",
    [HOUR, HOUR * 1.0, HOUR * 10**3, HOUR * 10**6, HOUR * 10**9, "2026-01-01T00:00:00Z", "2026-01-01 01:00:00+01:00",
     "2026-01-01T00:00:00"],
)  # fmt: skip
def test_a_time_is_read_in_any_common_unit(t):
    clock = StepClock()
    assert clock.knows(t)
    assert clock.step(t) == HOUR // 300


@pytest.mark.parametrize("times", [(0, 300, 600), (0, 5, 10), (0, 1, 2)], ids=["seconds", "minutes", "steps"])
def test_small_numbers_count_what_the_first_gap_says(times):
    clock = StepClock()
    assert [clock.knows(t) for t in times] == [False, True, True]
    assert [clock.step(t) for t in times] == [0, 1, 2]


def test_what_is_no_time_is_refused():
    with pytest.raises(ParseError, match="yesterday"):
        StepClock().step("yesterday")
