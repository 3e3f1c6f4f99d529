"""When a message is tried again, and in which order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from mta.events.instants import DAY, HOUR, MINUTE, SECOND
from mta.queue.message import Envelope, Message
from mta.queue.schedule import RetryPolicy, Schedule

POLICY = RetryPolicy(20 * MINUTE, 4 * HOUR, 7 * DAY)


def message(due):
    return Message("x", "a@b.example", "b.example", "b.example", Envelope("", 0, 0), due=due)


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


def test_messages_come_out_when_due_in_the_order_of_their_instants():
    schedule = Schedule()
    late, early, same = message(30), message(10), message(10)
    for each in (late, early, same):
        schedule.add(each)
    assert schedule.take_due(9, 10) == []
    assert schedule.take_due(29, 10) == [early, same]
    assert schedule.next_due() == 30


def test_no_more_are_taken_than_asked_for():
    schedule = Schedule()
    for due in range(5):
        schedule.add(message(due))
    assert len(schedule.take_due(100, 2)) == 2
    assert len(schedule) == 3
