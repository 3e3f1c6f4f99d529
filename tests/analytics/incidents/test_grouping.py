"""Which signals are one incident, and which are two."""

from __future__ import annotations

import pytest

from analytics.causes import Cause
from analytics.incidents.casebook import Casebook
from analytics.incidents.findings import Findings, Mail
from analytics.incidents.incident import Signal
from analytics.incidents.kinds import Kind
from analytics.incidents.signals import SignalChange
from analytics.spikes import ChangeKind
from mta.events.instants import HOUR, MINUTE

T = 1_780_000_000_000_000


class Told:
    """Evidence that says what the test says: the causes at each provider."""

    def __init__(self, **causes: list[tuple[str, str]]) -> None:
        self.causes = causes

    def look(self, mail: Mail, began: int, until: int) -> Findings:
        named = dict.fromkeys(trait for provider in mail.providers for trait in self.causes.get(provider, []))
        causes = {trait: Cause(*trait, share=0.9, mail_share=0.2, excess=10.0) for trait in named}
        return Findings(list(causes.values()), causes, frozenset(causes), [], None)

    def groups(self, providers: list[str]) -> dict[str, str]:
        return {name: "google" for name in providers if name in {"gmail", "workspace"}}


def opened(provider: str, part: str = "", *, at: int = T, kind: Kind = Kind.BOUNCES) -> SignalChange:
    dimension, _, value = part.partition("=")
    signal = Signal(kind, provider, dimension, value, at - 5 * MINUTE, at, None, 0.3, 0.01, 30, 100)
    return SignalChange(ChangeKind.OPENED, signal)


def closed(change: SignalChange, at: int) -> SignalChange:
    from dataclasses import replace

    return SignalChange(ChangeKind.CLOSED, replace(change.signal, closed=at))


def test_a_provider_and_its_twelve_parts_are_one_incident():
    book = Casebook(Told())
    changes = [opened("gmail", f"tenant=t{number}") for number in range(12)]
    page = book.take([*changes, opened("gmail")], T)
    assert [told.change for told in page.told] == [ChangeKind.OPENED]
    assert page.told[0].incident.scope == {}
    assert len(book.open) == 1


def test_bounces_blocks_and_deferrals_of_one_provider_are_one_incident():
    book = Casebook(Told())
    page = book.take([opened("gmail", kind=kind) for kind in (Kind.DEFERRALS, Kind.BLOCKS, Kind.BOUNCES)], T)
    assert [told.incident.kind for told in page.told] == [Kind.BOUNCES]
    assert book.open[0].kinds == [Kind.BOUNCES, Kind.BLOCKS, Kind.DEFERRALS]


def test_a_pool_that_is_refused_at_seven_providers_is_one_incident():
    names = [f"p{number}" for number in range(7)]
    book = Casebook(Told(**{name: [("pool", "shared")] for name in names}))
    for step, name in enumerate(names):
        book.take([opened(name, at=T + step * 5 * MINUTE)], T + step * 5 * MINUTE)
    (incident,) = book.open
    assert incident.providers == names
    assert (incident.causes[0].dimension, incident.causes[0].value) == ("pool", "shared")


def test_two_tenants_in_trouble_at_one_provider_are_two_incidents():
    book = Casebook(Told())
    book.take([opened("gmail", "tenant=acme"), opened("gmail", "tenant=zeta")], T)
    assert len(book.open) == 2


def test_two_providers_with_troubles_of_their_own_are_two_incidents():
    book = Casebook(Told())
    book.take([opened("yahoo"), opened("gmx")], T)
    assert len(book.open) == 2


def test_providers_of_one_group_in_the_same_trouble_are_one_incident():
    book = Casebook(Told())
    book.take([opened("gmail", kind=Kind.DEFERRALS), opened("workspace", kind=Kind.DEFERRALS)], T)
    assert len(book.open) == 1


def test_an_incident_ends_with_its_last_signal_and_says_so_once():
    book = Casebook(Told())
    whole, part = opened("gmail"), opened("gmail", "tenant=acme")
    book.take([whole, part], T)
    assert book.take([closed(whole, T + HOUR)], T + HOUR).told == []
    (told,) = book.take([closed(part, T + 2 * HOUR)], T + 2 * HOUR).told
    assert (told.change, told.incident.closed) == (ChangeKind.CLOSED, T + 2 * HOUR)
    assert book.open == []


@pytest.mark.parametrize(("pause", "incidents"), [(30 * MINUTE, 1), (3 * HOUR, 2)])
def test_what_comes_back_within_the_hour_is_the_same_incident(pause, incidents):
    book, first = Casebook(Told()), opened("gmail")
    seen = {told.incident.id for told in book.take([first], T).told}
    book.take([closed(first, T + HOUR)], T + HOUR)
    (told,) = book.take([opened("gmail", at=T + HOUR + pause)], T + HOUR + pause).told
    assert len(seen | {told.incident.id}) == incidents
    assert told.change is (ChangeKind.RENEWED if incidents == 1 else ChangeKind.OPENED)


def test_a_restarted_book_knows_its_incidents():
    book = Casebook(Told())
    book.take([opened("gmail")], T)
    again = Casebook(Told(), incidents=book.open)
    assert again.take([opened("gmail"), opened("gmail", "pool=warm")], T + MINUTE).told == []
    assert [one.id for one in again.open] == [one.id for one in book.open]
