"""The daily report as figures: what was sent, how it went per provider, why mail failed, what to do.

What a postmaster reads in the morning. Everything is on the cohort clock (mail injected in the period), so that the
totals add up; how ripe they are is said with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analytics.rates import Question, RateRow, ask
from analytics.reasons import Reason, top_reasons
from analytics.store import Store
from mta.events.instants import DAY
from mta.events.taxonomy import BounceClass

__all__ = ["Compared", "Report", "ToDo", "build_report"]

_WEEK = 7 * DAY
_TOP = 10


@dataclass(frozen=True, slots=True)
class Compared:
    """A provider in the period, and in the period of the same length a week before (None: no mail then)."""

    provider: str
    now: RateRow
    before: RateRow | None


@dataclass(frozen=True, slots=True)
class ToDo:
    """Something to act on: which provider, what is wrong, how bad, and what its class asks for."""

    provider: str
    rate: str
    value: float
    verdict: str
    advice: str


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one period; instants in microseconds."""

    since: int
    until: int
    total: RateRow
    total_before: RateRow | None
    providers: Sequence[Compared]
    reasons: Sequence[tuple[Reason, str]]
    """Each with what its class means."""
    to_do: Sequence[ToDo]


def build_report(store: Store, since: int, until: int, taxonomy: Mapping[str, BounceClass]) -> Report:
    """The report on mail injected in [since, until)."""
    period = Question(since=since, until=until)
    week_before = replace(period, since=since - _WEEK, until=until - _WEEK)
    [total] = ask(store, replace(period, by=()))
    [total_before] = ask(store, replace(week_before, by=()))
    before = {row.key["provider"]: row for row in ask(store, week_before)}
    providers = [Compared(row.key["provider"], row, before.get(row.key["provider"])) for row in ask(store, period)]
    reasons = [reason for reason in top_reasons(store, since=since, limit=200) if reason.first_seen < until]
    return Report(
        since=since,
        until=until,
        total=total,
        total_before=total_before if total_before.counts["injected"] else None,
        providers=providers,
        reasons=[(reason, _meaning(reason, taxonomy)) for reason in reasons[:_TOP]],
        to_do=list(_to_do(providers, reasons, taxonomy)),
    )


def _meaning(reason: Reason, taxonomy: Mapping[str, BounceClass]) -> str:
    known = taxonomy.get(reason.bounce_class)
    return known.meaning if known is not None else ""


_WATCHED = ("block_bounce_rate", "hard_bounce_rate", "complaint_rate", "deferral_rate", "delivery_rate")


def _to_do(providers: Sequence[Compared], reasons: Sequence[Reason], taxonomy: Mapping[str, BounceClass]) -> list[ToDo]:
    """One line for each provider with a rate beyond its line: the first of the watched ones, with its main cause."""
    found = []
    for compared in providers:
        for name in _WATCHED:
            rate = compared.now.rates[name]
            if rate.verdict in {"warning", "bad"} and rate.value is not None:
                cause = next((reason for reason in reasons if reason.provider == compared.provider), None)
                found.append(ToDo(compared.provider, name, rate.value, rate.verdict, _advice(name, cause, taxonomy)))
                break
    return found


_FIRST_STEPS = {
    "block_bounce_rate": "The provider refuses the sender: look at the replies, then at its postmaster page.",
    "hard_bounce_rate": "Addresses that do not exist: find the list they came from and stop sending to it.",
    "complaint_rate": "Recipients call it spam: make leaving easy, and stop the campaign that draws complaints.",
    "deferral_rate": "The provider asks to slow down: lower the rate to it until the deferrals end.",
    "delivery_rate": "Less than usual arrives: look at the replies below.",
}


def _advice(rate: str, cause: Reason | None, taxonomy: Mapping[str, BounceClass]) -> str:
    step = _FIRST_STEPS[rate]
    if cause is None or cause.bounce_class not in taxonomy:
        return step
    known = taxonomy[cause.bounce_class]
    return f"{step} Mostly {known.name.replace('_', ' ')} ({known.meaning.lower()}); at fault: {known.fault}."
