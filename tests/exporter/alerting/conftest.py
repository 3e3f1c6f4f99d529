"""An empty store whose clock the test sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analytics.enrich import Enricher
from analytics.store import Store
from mta.events.pseudonym import Keyring
from mtascope.resources import provider_map, reply_classifier, taxonomy


class Clock:
    def __init__(self) -> None:
        self.now = time.time_ns() // 1000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []

    def open_again() -> Store:
        for store in opened:
            store.close()
        enricher = Enricher(Keyring(b"i" * 32, {1: b"r" * 32}), provider_map(), taxonomy(), reply_classifier())
        opened[:] = [Store(tmp_path / "store.duckdb", enricher, clock=clock)]
        return opened[0]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()
