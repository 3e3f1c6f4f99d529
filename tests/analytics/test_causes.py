"""Causes: who carries the excess is named, who merely carries the mail is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.causes import Tally, rank_causes, shares


def test_the_tenant_with_the_excess_is_the_cause():
    found = rank_causes(
        [
            Tally("tenant", "acme", 1000, 10, 100, 40),
            Tally("tenant", "zeta", 9000, 90, 900, 9),
            Tally("source", "ip1", 10_000, 100, 1000, 49),
        ]
    )
    assert [(cause.dimension, cause.value) for cause in found] == [("tenant", "acme")]
    assert found[0].share > 0.95
    assert found[0].mail_share == pytest.approx(0.1)
    assert found[0].excess == pytest.approx(39, abs=1)


def test_a_newcomer_that_bounces_is_the_cause():
    found = rank_causes([Tally("campaign", "old", 5000, 50, 500, 5), Tally("campaign", "bad-list", 0, 0, 200, 90)])
    assert [cause.value for cause in found] == ["bad-list"]


def test_a_rise_everywhere_has_no_cause_among_the_senders():
    found = rank_causes([Tally("tenant", name, 1000, 10, 100, 30) for name in ("a", "b", "c")])
    assert found == []


def test_one_that_always_bounces_much_is_not_blamed():
    (cause,) = rank_causes([Tally("source", "bad", 5000, 500, 500, 50), Tally("source", "new", 5000, 50, 500, 100)])
    assert cause.value == "new"


def test_a_fall_of_the_rate_has_no_cause():
    assert rank_causes([Tally("tenant", "a", 1000, 500, 1000, 1), Tally("tenant", "b", 1000, 500, 1000, 1)]) == []


counts = st.integers(0, 10**6)


@given(st.lists(st.tuples(counts, counts, counts, counts), min_size=1, max_size=8))
def test_shares_of_a_dimension_add_up(rows):
    tallies = [
        Tally("tenant", str(number), before, min(before, bounced_before), sent, min(sent, bounced))
        for number, (before, bounced_before, sent, bounced) in enumerate(rows)
    ]
    causes = shares(tallies)
    assert not causes or sum(cause.share for cause in causes) == pytest.approx(1.0)
    assert all(0 <= cause.share <= 1 for cause in rank_causes(tallies))
