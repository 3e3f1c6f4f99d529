"""Since which minute a rate is higher."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analytics.incidents.changepoint import changed_at


def test_the_minute_of_a_jump_is_found():
    minutes = [(minute, 100, 1) for minute in range(30)] + [(minute, 100, 40) for minute in range(30, 36)]
    assert changed_at(minutes) == 30


def test_a_minute_without_mail_is_no_change():
    minutes = [(1, 50, 0), (2, 50, 1), (9, 20, 18), (10, 20, 19)]
    assert changed_at(minutes) == 9


def test_a_rate_that_falls_has_no_rise():
    assert changed_at([(1, 100, 50), (2, 100, 1)]) is None
    assert changed_at([]) is None


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda pair: (max(pair), min(pair)))))
def test_it_is_one_of_the_minutes_or_none(counts):
    minutes = [(minute, sent, bad) for minute, (sent, bad) in enumerate(counts)]
    assert changed_at(minutes) in {None, *range(len(minutes))}
