"""A store on a fresh file, and events to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from analytics.enrich import Enricher
from analytics.settings import StoreSettings
from analytics.store import Store
from mta.events.event import EventType
from mta.events.pseudonym import Keyring
from mta.events.reply import SmtpReply
from mtascope.resources import provider_map, taxonomy

START = 1_780_000_000_000_000  # 2026-05-28, a whole minute


@dataclass(frozen=True, slots=True)
class Verdict:
    bounce_class: str
    group: str
    severity: str
    rule: str


class CodeJudge:
    """Classes by plain code: the reply classifier has its own tests, these need a class that is easy to recount."""

    def classify(
        self,
        reply: SmtpReply,
        *,
        provider: str | None = None,
        peer: str | None = None,
        type: EventType | None = None,  # noqa: A002
        phase: str | None = None,
    ) -> Verdict:
        name = {421: "rate_limited", 452: "mailbox_full", 550: "bad_mailbox", 554: "ip_blocklisted"}.get(
            reply.code or 0, "unknown"
        )
        known = taxonomy()[name]
        return Verdict(name, known.group, known.severity, "code")


class Clock:
    """An instant that the test sets."""

    def __init__(self) -> None:
        self.now = START + 3_600_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_store(path: Path, clock: Callable[[], int], settings: StoreSettings | None = None) -> Store:
    keyring = Keyring(b"i" * 32, {1: b"r" * 32})
    return Store(path, Enricher(keyring, provider_map(), taxonomy(), CodeJudge()), settings, clock=clock)


@pytest.fixture(scope="session")
def store_at() -> Callable[[Path], Store]:
    """A store at a path, with a clock that stands still."""
    return lambda path: make_store(path, Clock())


@pytest.fixture(scope="session")
def hasty_store_at() -> Callable[..., Store]:
    """A store that seals, when told to tend, whatever has ended, a few recipients at a time."""

    def open_hasty(path: Path, recipients: int = 7) -> Store:
        settings = StoreSettings(seal_after_hours=0, seal_recipients=recipients, queue_lifetime_days=0.02)
        return make_store(path, lambda: START + 30 * 86_400_000_000, settings)

    return open_hasty


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Store]]:
    """Opens the same file again and again, as restarts do."""
    opened: list[Store] = []

    def open_again() -> Store:
        for store in opened:
            store.close()
        opened.clear()
        opened.append(make_store(tmp_path / "store.duckdb", clock))
        return opened[0]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()
