"""Unknown domains are looked up one by one, at most once a day, and never twice at once; an operator knows better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from analytics.rates import Question, ask
from analytics.store import Store
from mta.events.errors import SettingsError
from mta.events.event import Event, EventType
from mta.events.instants import DAY
from mta.events.intake import Batch
from mta.events.reply import SmtpReply
from mtascope.opened_store import open_store
from mtascope.resources import provider_map
from mtascope.settings import load_settings
from mtascope.upkeep import DomainLookup

START = 1_780_000_000_000_000


class Zone:
    """A DNS of three domains that counts who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, domain: str) -> tuple[Sequence[str], int]:
        self.asked.append(domain)
        hosts = {"firm.example": ["aspmx.l.google.com"], "small.example": ["mx.little.example"]}
        return hosts.get(domain, []), 3600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(load_settings(None, tmp_path / "var")) as opened:
        opened.clock = lambda: START
        put_off(opened, 0)
        yield opened


def put_off(store: Store, first: int) -> None:
    """Mail to three domains that reaches nobody."""
    events = [
        Event(type=EventType.DEFERRAL, time=START - 1, created=START - 1, node="n", mta="kumomta", attempt=1,
              queue_id=f"q{first + n}", recipient=f"u@{domain}", reply=SmtpReply(450, None, "no answer"))
        for n, domain in enumerate(("firm.example", "small.example", "none.example"))
    ]  # fmt: skip
    store.load(Batch("test", [(event,) for event in events]))


def providers(store: Store) -> dict[str, int]:
    return {row.key["provider"]: row.counts["injected"] for row in ask(store, Question())}


def test_what_dns_tells_names_the_provider_of_mail_from_then_on(store: Store) -> None:
    zone, waits = Zone(), []
    lookup = DomainLookup(store, provider_map(), zone, per_minute=30)
    assert lookup.look(lambda seconds: bool(waits.append(seconds))) == 3
    assert waits == [2.0, 2.0, 2.0]  # a bounded rate
    assert providers(store) == {"other": 3}  # what was true when it was sent
    put_off(store, 10)
    assert providers(store) == {"other": 4, "google-workspace": 1, "mx:little.example": 1}


def test_each_domain_is_asked_for_at_most_once_a_day(store: Store) -> None:
    zone = Zone()
    lookup = DomainLookup(store, provider_map(), zone, per_minute=30)
    for _ in range(3):
        lookup.look(lambda _: False)
    assert sorted(zone.asked) == ["firm.example", "none.example", "small.example"]
    store.clock = lambda: START + DAY - 2
    lookup.look(lambda _: False)
    assert len(zone.asked) == 3


def test_a_stop_ends_the_round(store: Store) -> None:
    assert DomainLookup(store, provider_map(), Zone(), per_minute=30).look(lambda _: True) == 1


def test_an_operators_rows_win_over_ours(tmp_path: Path) -> None:
    names, groups = tmp_path / "names.csv", tmp_path / "groups.csv"
    names.write_text("provider,kind,value\nour-partner,domain,gmail.com\nour-partner,mx_suffix,little.example\n")
    groups.write_text("provider,group,gateway,feedback_loop,labelled\nour-partner,partners,no,yes,yes\n")
    known = provider_map(names, groups)
    assert known.lookup("gmail.com").name == "our-partner"
    assert known.lookup("firm.example", "mx.little.example").group == "partners"
    assert known.runs_feedback_loop("our-partner")
    assert known.lookup("yahoo.com").name == "yahoo"


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("provider,kind,value\nx,host,y.example\n")
    with pytest.raises(SettingsError, match="'host' is no kind of name"):
        provider_map(names)
    with pytest.raises(SettingsError, match="cannot be read"):
        provider_map(tmp_path / "absent.csv")
