"""Limits that workers share: never passed, shared fairly, and given back by a worker that is killed."""

import multiprocessing
import os
import signal
import time
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.delivery.limit_table import LimitTable, Ration
from mta.delivery.limits import Rate
from mta.errors import LimitTableError


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def tables(tmp_path):
    """Tables of several workers over one file and one clock."""
    clock, opened = Clock(), []

    def join():
        opened.append(LimitTable(tmp_path / "limits", clock))
        return opened[-1]

    join.clock = clock
    yield join
    for table in opened:
        table.close()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    clock, folder = Clock(), tmp_path_factory.mktemp("limits")
    return clock, [LimitTable(folder, clock) for _ in range(2)]


@settings(max_examples=60)
@given(
    st.integers(1, 200),
    st.sampled_from([1.0, 7.0, 60.0]),
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 0.2)), max_size=150),
    st.integers(0, 10**9),
)
def test_no_period_of_a_rate_sees_more_than_five_percent_over_it(two_workers, quantity, period, asked, name):
    clock, tables = two_workers
    rate, taken = Rate.parse(f"{quantity}/{int(period)}s"), []
    for worker, pause in asked:
        clock.now += pause
        while (wait := tables[worker].take_turn([(str(name), rate)])) > 0:
            clock.now += wait
        taken.append(clock.now)
    for first, start in enumerate(taken):
        inside = bisect_left(taken, start + period - 1e-6) - first
        assert inside <= quantity * 1.05


def test_a_burst_is_what_the_file_says(tables):
    table, rate = tables(), Rate.parse("10/s,max_burst=4")
    assert [table.take_turn([("a", rate)]) > 0 for _ in range(5)] == [False, False, False, False, True]


def test_a_turn_is_taken_of_all_rates_or_of_none(tables):
    table = tables()
    slow, quick = ("slow", Rate.parse("1/min")), ("quick", Rate.parse("100/s"))
    assert table.take_turn([slow, quick]) == 0
    tables.clock.now += 1
    assert table.take_turn([slow, quick]) > 50
    assert table.until_turn([quick]) == 0
    assert table.take_turn([quick]) == 0


def test_a_rate_that_was_made_quicker_is_not_held_back_by_what_it_was(tables):
    table = tables()
    assert table.take_turn([("a", Rate.parse("1/d"))]) == 0
    assert table.take_turn([("a", Rate.parse("100/s"))]) == 0


def test_connections_are_counted_over_all_workers(tables):
    one, two = tables(), tables()
    rations = [Ration("site", 3), Ration("provider", 4)]
    holds = [table.hold(rations) for table in (one, two, one)]
    assert all(holds)
    assert two.hold(rations) is None
    assert one.hold([Ration("other site", 3), Ration("provider", 4)])
    assert one.hold([Ration("other site", 3), Ration("provider", 4)]) is None, "the provider's are used up"
    holds[0].give_back()
    holds[0].give_back()
    assert one.held("site") == two.held("site") == 2


def test_a_worker_that_wants_connections_gets_its_share(tables):
    one, two = tables(), tables()
    rations = [Ration("site", 4)]
    holds = [one.hold(rations) for _ in range(4)]
    assert not any(hold.should_yield for hold in holds)
    for number in (3, 2):
        tables.clock.now += 0.2
        assert two.hold(rations) is None
        assert holds[number].should_yield
        holds[number].give_back()
        assert one.hold(rations, has_some=True) is None, "what was made free is for the other"
        assert two.hold(rations)
    assert two.hold(rations) is None
    tables.clock.now += 0.2
    assert not holds[0].should_yield, "now each has its share"


def test_a_site_of_a_provider_does_not_starve_its_other_sites(tables):
    table = tables()
    large, small = ([Ration(site, 9), Ration("provider", 2)] for site in ("large", "small"))
    holds = [table.hold(large), table.hold(large, has_some=True)]
    assert table.hold(small) is None
    tables.clock.now += 0.2
    assert holds[0].should_yield
    holds[0].give_back()
    assert table.hold(large, has_some=True) is None, "what was made free is for the other"
    assert table.hold(small)
    tables.clock.now += 0.2
    assert not holds[1].should_yield


def test_sites_of_a_provider_take_turns_when_it_takes_one_connection(tables):
    table = tables()
    large, small = ([Ration(site, 9), Ration("provider", 1)] for site in ("large", "small"))
    hold = table.hold(large)
    for _ in range(3):
        tables.clock.now += 1
        assert table.hold(small) is None
    assert hold.should_yield
    hold.give_back()
    assert table.hold(small)


def test_workers_take_turns_when_there_are_fewer_connections_than_workers(tables):
    one, two = tables(), tables()
    hold = one.hold([Ration("site", 1)])
    assert two.hold([Ration("site", 1)]) is None
    assert not hold.should_yield
    tables.clock.now += 2.5
    assert not hold.should_yield, "the other asked long ago and may have given up"
    tables.clock.now += 0.2
    assert two.hold([Ration("site", 1)]) is None
    assert hold.should_yield


def test_what_a_worker_held_that_was_killed_is_free_at_once(tmp_path):
    table = LimitTable(tmp_path)
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def hold_and_hang():
        other = LimitTable(tmp_path)
        assert other.hold([Ration("site", 2)])
        assert other.hold([Ration("site", 2)])
        ready.set()
        time.sleep(60)

    worker = context.Process(target=hold_and_hang)
    worker.start()
    assert ready.wait(10)
    assert table.hold([Ration("site", 2)]) is None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert table.hold([Ration("site", 2)])
    assert table.held("site") == 1
    table.close()


def test_many_busy_keys_do_not_disturb_each_other(tables):
    table, rate = tables(), Rate.parse("1/h")
    assert all(table.take_turn([(f"key {number}", rate)]) == 0 for number in range(4000))
    assert all(table.until_turn([(f"key {number}", rate)]) > 0 for number in range(4000))


def test_more_workers_than_the_table_has_columns_are_refused(tables):
    for _ in range(32):
        tables()
    with pytest.raises(LimitTableError, match="32 workers"):
        tables()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LimitTableError, match="file"):
        LimitTable(tmp_path / "file")
