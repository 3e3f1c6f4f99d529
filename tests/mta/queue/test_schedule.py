"""When a message is tried again, and in which order."""

import random
from array import array

from hypothesis import given
from hypothesis import strategies as st

from mta.events.instants import DAY, HOUR, MINUTE, SECOND
from mta.queue.schedule import RetryPolicy, Schedule

POLICY = RetryPolicy(20 * MINUTE, 4 * HOUR, 7 * DAY)


def test_the_wait_doubles_up_to_the_longest_interval():
    waits = [POLICY.delay(attempts, random.Random(1)) // MINUTE for attempts in range(1, 8)]
    expected = [20, 40, 80, 160, 240, 240, 240]
    assert all(abs(wait - want) <= 1 for wait, want in zip(waits, expected, strict=True))


@given(st.integers(1, 10_000), st.integers())
def test_jitter_stays_within_a_fortieth_and_half_a_minute(attempts, seed):
    base = min(20 * MINUTE * 2 ** (attempts - 1), 4 * HOUR)
    assert abs(POLICY.delay(attempts, random.Random(seed)) - base) <= 30 * SECOND


def test_the_same_seed_gives_the_same_schedule():
    assert POLICY.delay(3, random.Random(5)) == POLICY.delay(3, random.Random(5))


def schedule_of(*dues):
    """A schedule of rows 0, 1, 2, ... that are due then."""
    schedule = Schedule(array("Q", dues))
    for row in range(len(dues)):
        schedule.add(row)
    return schedule


def test_rows_come_out_when_due_in_the_order_of_their_instants():
    schedule = schedule_of(30, 10, 10)
    assert list(schedule.take_due(9, 10)) == []
    assert list(schedule.take_due(29, 10)) == [1, 2]
    assert schedule.next_due() == 30


def test_no_more_are_taken_than_asked_for():
    schedule = schedule_of(*range(5))
    assert list(schedule.take_due(100, 2)) == [0, 1]
    assert len(schedule) == 3


@given(
    st.lists(st.integers(0, 5 * SECOND), max_size=30),
    st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 9)), max_size=30),
)
def test_the_schedule_hands_out_what_a_sorted_list_would(dues, steps):
    schedule, waiting, now = schedule_of(*dues), sorted(range(len(dues)), key=dues.__getitem__), 0
    for passed, limit in steps:
        now += passed
        due = [row for row in waiting if dues[row] <= now][:limit]
        assert list(schedule.take_due(now, limit)) == due
        waiting = [row for row in waiting if row not in due]
        assert schedule.next_due() == (dues[waiting[0]] if waiting else None)
