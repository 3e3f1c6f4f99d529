"""A class that is built quickly is the frozen dataclass that it was."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from mta.events.event import Event, EventType

FIELDS = {"type": EventType.DELIVERY, "time": 1, "node": "mx1", "mta": "postfix", "queue_id": "A", "recipient": "a@b"}


def test_every_field_is_set_to_what_was_given_or_its_default():
    event = Event(**FIELDS, size=7)
    for field in dataclasses.fields(Event):
        assert getattr(event, field.name) == {**FIELDS, "size": 7}.get(field.name, field.default)


def test_it_cannot_be_changed():
    event = Event(**FIELDS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.size = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        del event.size


def test_it_is_equal_hashes_and_copies_as_before():
    event = Event(**FIELDS)
    assert event == Event(**FIELDS) != dataclasses.replace(event, size=1)
    assert len({event, Event(**FIELDS), copy.copy(event), pickle.loads(pickle.dumps(event))}) == 1  # noqa: S301


@pytest.mark.parametrize(
    ("wrong", "said"), [({"sizes": 1}, "unexpected keyword"), ({"type": None, "x": 1}, "unexpected")]
)
def test_a_field_that_does_not_exist_is_refused(wrong, said):
    with pytest.raises(TypeError, match=said):
        Event(**{**FIELDS, **wrong})


def test_a_field_without_a_default_must_be_given():
    with pytest.raises(TypeError, match="recipient"):
        Event(**{name: value for name, value in FIELDS.items() if name != "recipient"})
