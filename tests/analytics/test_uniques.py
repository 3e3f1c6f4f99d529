"""People are counted once however much mail they get: exactly within a day, else with an error that holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analytics.buckets import Step
from analytics.rates import Question
from analytics.store import Store
from analytics.uniques import uniques
from mta.events.errors import SettingsError
from mta.events.event import Event, EventType
from mta.events.instants import DAY, HOUR
from mta.events.intake import Batch

START = 1_780_000_000_000_000 // DAY * DAY


@pytest.fixture
def send(store: Store) -> Callable[..., None]:
    def send(*mails: tuple[str, int]) -> None:
        common: dict[str, Any] = {"type": EventType.RECEPTION, "node": "n", "mta": "kumomta"}
        events = [
            Event(recipient=person, time=at, created=at, queue_id=f"{person}{at}", **common) for person, at in mails
        ]
        store.load(Batch("test", [(event,) for event in events]))

    return send


def test_a_person_counts_once_a_group_and_once_a_day(store: Store, send: Callable[..., None]) -> None:
    send(("a@gmail.com", START), ("a@gmail.com", START + HOUR), ("a@gmail.com", START + DAY), ("b@gmail.com", START))
    [found] = uniques(store, Question(since=START, until=START + 2 * DAY))
    assert (found.key, found.recipients, found.error) == ({"provider": "gmail"}, 2, 0.0)
    assert [one.recipients for one in uniques(store, Question(by=(), step=Step("1d")))] == [2, 1]


def test_an_estimate_says_how_far_off_it_may_be(store: Store, send: Callable[..., None]) -> None:
    send(*((f"u{n}@gmail.com", START + n) for n in range(4000)))
    [found] = uniques(store, Question(by=()), affordable=500)
    assert 0.05 < found.error < 0.1
    assert found.recipients == pytest.approx(4000, rel=2 * found.error)
    [exact] = uniques(store, Question(by=(), since=START, until=START + HOUR), affordable=500)
    assert (exact.recipients, exact.error) == (4000, 0.0)


def test_failures_have_no_people_of_their_own(store: Store) -> None:
    with pytest.raises(SettingsError, match="bounce_class"):
        uniques(store, Question(by=("bounce_class",)))
