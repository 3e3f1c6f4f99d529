"""Who serves a domain is learned from the log, kept as it was when mail was sent, and what is unknown is listed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics.domains import UnknownDomain, history, unknown_domains
from analytics.learning import remember
from analytics.rates import Question, ask
from analytics.store import Store
from mta.events.event import Event, EventType
from mta.events.instants import DAY, HOUR
from mta.events.intake import Batch
from mta.events.provider import Provider
from mta.events.reply import SmtpReply

START = 1_780_000_000_000_000
GOOGLE, MICROSOFT, NOBODY = "aspmx.l.google.com", "firm-example.mail.protection.outlook.com", "mx.little.example"


def attempt(number: int, at: int, host: str | None, domain: str = "firm.example", code: int = 250) -> Event:
    """A delivery over a host, or a deferral that reached none."""
    kind = EventType.DELIVERY if host else EventType.DEFERRAL
    return Event(
        type=kind, time=at, created=at, node="n", mta="kumomta", queue_id=f"q{number}", recipient=f"u{number}@{domain}",
        attempt=1, peer_host=host, reply=SmtpReply(code if host else 450, None, "said"),
    )  # fmt: skip


def load(store: Store, *events: Event) -> None:
    assert store.load(Batch("test", [(event,) for event in events])).adds_up


def by_provider(store: Store) -> dict[str, int]:
    return {row.key["provider"]: row.counts["injected"] for row in ask(store, Question())}


def test_a_moved_domain_keeps_what_was_true_when_mail_was_sent(store: Store) -> None:
    load(store, attempt(1, START, GOOGLE))
    load(store, attempt(2, START + DAY, MICROSOFT))
    load(store, attempt(3, START + DAY + 1, None))  # reached nobody: whoever served the domain last
    assert by_provider(store) == {"google-workspace": 1, "microsoft-365": 2}
    assert [(one.provider, one.first_seen, one.last_seen) for one in history(store, "firm.example")] == [
        ("microsoft-365", START + DAY, START + DAY),
        ("google-workspace", START, START),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_latest_known_provider_is_learned_in_whatever_order_logs_are_read(
    store_at: Callable[[Path], Store], tmp_path: Path, order: tuple[int, ...]
) -> None:
    told = [attempt(1, START, GOOGLE), attempt(2, START + HOUR, MICROSOFT), attempt(3, START + DAY, NOBODY)]
    with store_at(tmp_path / "store.duckdb") as store:
        for number in order:
            load(store, told[number])
        assert store.query("SELECT provider FROM learned_provider") == [("microsoft-365",)]
        assert {one.provider for one in history(store, "firm.example")} >= {"google-workspace", "microsoft-365"}


def test_an_attempt_without_a_host_goes_to_the_unknown_host_seen_before(store: Store) -> None:
    load(store, attempt(1, START, NOBODY))
    load(store, attempt(2, START + 1, None))
    assert by_provider(store) == {"mx:little.example": 2}


def test_what_was_learned_is_there_after_a_restart(open_store: Callable[[], Store]) -> None:
    load(open_store(), attempt(1, START, MICROSOFT))
    store = open_store()
    load(store, attempt(2, START + 1, None))
    assert by_provider(store) == {"microsoft-365": 2}


def test_the_unknown_domains_with_most_mail_are_listed_with_their_share(store: Store) -> None:
    load(
        store,
        *(attempt(n, START + n, NOBODY, "little.example") for n in range(3)),
        *(attempt(n, START + n, None, "dark.example") for n in range(3, 5)),
        *(attempt(n, START + n, GOOGLE, "gmail.com") for n in range(5, 10)),
    )
    assert unknown_domains(store) == [
        UnknownDomain("little.example", "mx:little.example", 3, 0.3),
        UnknownDomain("dark.example", "other", 2, 0.2),
    ]
    assert unknown_domains(store, since=START + 3, limit=1) == [UnknownDomain("dark.example", "other", 2, 2 / 7)]


def test_what_dns_tells_holds_for_mail_from_then_on(store: Store) -> None:
    load(store, attempt(1, START, None, "dark.example"))
    with store.writing() as con:
        told = remember(con, "dark.example", Provider("google-workspace", "google", None, "mx"), START + 1)
    store._loader._enricher.learned |= told
    load(store, attempt(2, START + 2, None, "dark.example"))
    assert by_provider(store) == {"other": 1, "google-workspace": 1}
