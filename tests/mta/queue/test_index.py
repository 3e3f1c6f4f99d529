"""The packed index finds and counts what a dictionary of objects would."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.queue.index import Index, RowState
from mta.queue.message import Place

IDS = [f"{number * 0x1000003:016x}{number % 3:016x}" for number in range(40)]
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "finish", "free", "rebind"]), st.sampled_from(IDS), st.integers(0, 3)),
    max_size=120,
)


def add(index, id_, queue="example.com", **state):
    state = {"attempts": 0, "due": 7, "received_at": 5_000_000, **state}
    return index.add(id_, Place(1, 100, 60), 0, 2, queue, **state)


@given(STEPS)
def test_rows_are_found_by_id_and_counted_by_queue_whatever_comes_and_goes(steps):
    index, rows, queues, finished = Index(), {}, {}, []
    for step, id_, number in steps:
        if step == "add" and id_ not in rows:
            rows[id_], queues[id_] = add(index, id_, f"q{number}"), f"q{number}"
        elif step == "finish" and id_ in rows:
            index.finish(rows[id_])
            finished.append(rows.pop(id_))
            del queues[id_]
        elif step == "rebind" and id_ in rows:
            index.rebind(rows[id_], f"q{number}")
            queues[id_] = f"q{number}"
        elif step == "free" and finished:
            index.free(finished.pop())
    assert {id_: index.find(id_) for id_ in IDS} == {id_: rows.get(id_) for id_ in IDS}
    assert index.queues == Counter(queues.values())
    assert set(index.rows()) == set(rows.values())
    assert len(index) == len(rows)
    assert {index.id(row): index.queue(row) for row in rows.values()} == queues
    for name in ("q0", "q1"):
        assert {index.id(row) for row in index.rows_in({name})} == {id_ for id_ in queues if queues[id_] == name}


def test_a_finished_row_is_no_other_messages_before_it_is_let_go():
    index = Index()
    first = add(index, IDS[0])
    index.finish(first)
    assert index.state(first) is RowState.FINISHED
    assert add(index, IDS[1]) != first
    index.free(first)
    assert add(index, IDS[2]) == first
    with pytest.raises(ValueError, match="not finished"):
        index.free(first)


def test_the_oldest_is_the_one_that_came_first_of_those_that_wait():
    index = Index()
    rows = [add(index, IDS[0], received_at=9_000_000), add(index, IDS[1], received_at=3_500_000)]
    assert index.oldest == 3_000_000
    index.finish(rows[1])
    assert index.oldest == 9_000_000
    index.finish(rows[0])
    assert index.oldest is None


def test_what_is_no_id_is_not_found():
    assert Index().find("../../etc/passwd") is None
    assert Index().find("") is None


def test_rows_of_a_large_queue_take_less_than_70_bytes_each():
    index = Index()
    for number in range(20_000):
        add(index, f"{number * 10:016x}{0xABCDEF:016x}")
    columns = [value for value in vars(index).values() if hasattr(value, "buffer_info")]
    assert sum(column.buffer_info()[1] * column.itemsize for column in columns) / 20_000 < 70
