"""The daily report as figures: what was sent, how it went per provider, why mail failed, what to do.

What a postmaster reads in the morning. Totals, providers and domains are on the cohort clock (mail injected in the
period), so that they add up; how ripe they are is said with them. Hours are on the event clock: what happened when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from analytics.buckets import Step
from analytics.domains import UnknownDomain, unknown_domains
from analytics.incidents import journal
from analytics.incidents.incident import Incident
from analytics.latency import Latency, latencies
from analytics.queues import Waiting, waiting
from analytics.rates import Question, RateRow, ask
from analytics.reasons import Reason, top_reasons
from analytics.relations import units
from analytics.store import Store
from analytics.uniques import uniques
from mta.events.instants import DAY, MINUTE
from mta.events.taxonomy import BounceClass

__all__ = ["Compared", "NewSource", "Report", "ToDo", "build_report"]

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
class NewSource:
    """An address that DMARC reports saw sending in a domain's name for the first time."""

    domain: str
    source_ip: str
    messages: int
    passed: int


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one period; instants in microseconds."""

    since: int
    until: int
    total: RateRow
    total_before: RateRow | None
    providers: Sequence[Compared]
    reasons: Sequence[tuple[Reason, str]]
    """Why mail failed for good or was refused, each with what its class means."""
    deferrals: Sequence[tuple[Reason, str]]
    """Why mail was put off."""
    to_do: Sequence[ToDo]
    hours: Sequence[RateRow]
    domains: Sequence[RateRow]
    """The recipient domains with the most mail."""
    senders: Sequence[RateRow]
    """The sender domains with the most mail."""
    latency: Latency | None
    people: int
    """Different recipients."""
    delivered_bytes: int
    waiting: Sequence[Waiting]
    """What waits at the moment of asking, the fullest domains first."""
    incidents: Sequence[Incident]
    """Those that were open at some time in the period."""
    new_sources: Sequence[NewSource]
    unknown: Sequence[UnknownDomain]
    quarantined: int
    """Records that could not be read in the period."""
    identity_broken: int
    """By how many recipients the sums do not add up now; 0 is right."""


def build_report(store: Store, since: int, until: int, taxonomy: Mapping[str, BounceClass]) -> Report:
    """The report on mail injected in [since, until), each taken to the beginning of its minute."""
    since, until = since // MINUTE * MINUTE, until // MINUTE * MINUTE
    period = Question(since=since, until=until)
    week_before = replace(period, since=since - _WEEK, until=until - _WEEK)
    [total] = ask(store, replace(period, by=()))
    [total_before] = ask(store, replace(week_before, by=()))
    before = {row.key["provider"]: row for row in ask(store, week_before)}
    providers = [Compared(row.key["provider"], row, before.get(row.key["provider"])) for row in ask(store, period)]
    reasons = top_reasons(store, since=since, until=until, limit=200)
    put_off = [reason for reason in reasons if reason.type == "deferral"]
    failed = [reason for reason in reasons if reason.type != "deferral"]
    return Report(
        since=since,
        until=until,
        total=total,
        total_before=total_before if total_before.counts["injected"] else None,
        providers=providers,
        reasons=[(reason, _meaning(reason, taxonomy)) for reason in failed[:_TOP]],
        deferrals=[(reason, _meaning(reason, taxonomy)) for reason in put_off[:_TOP]],
        to_do=list(_to_do(providers, reasons, taxonomy)),
        hours=ask(store, replace(period, by=(), clock="event", step=Step("1h"))),
        domains=ask(store, replace(period, by=("domain",), top=_TOP)),
        senders=ask(store, replace(period, by=("sender_domain",), top=_TOP)),
        latency=next(iter(latencies(store, replace(period, by=()))), None),
        people=sum(one.recipients for one in uniques(store, replace(period, by=()))),
        delivered_bytes=_delivered_bytes(store, since, until),
        waiting=waiting(store, _TOP),
        incidents=_incidents(store, since, until),
        new_sources=_new_sources(store, since, until),
        unknown=unknown_domains(store, since, until, 5),
        quarantined=_quarantined(store, since, until),
        identity_broken=store.identity_broken,
    )


def _bounds(since: int, until: int) -> dict[str, int]:
    return {"since": since, "until": until}


def _delivered_bytes(store: Store, since: int, until: int) -> int:
    rows = store.query(
        f"SELECT coalesce(sum(n * size), 0)::BIGINT FROM {units(store, 'cohort', since, until)} "
        "WHERE injected_at >= make_timestamp($since) AND injected_at < make_timestamp($until) "
        "AND terminal_outcome = 'delivered' AND direction = 'outbound' AND successor IS NULL",
        _bounds(since, until),
    )
    return int(rows[0][0])


def _incidents(store: Store, since: int, until: int) -> list[Incident]:
    with closing(store.cursor()) as con:
        return journal.find(con, since=since, until=until)


def _new_sources(store: Store, since: int, until: int) -> list[NewSource]:
    """Of domains that reports were there of before; a domain's first report has nothing but new sources."""
    rows = store.query(
        """
        SELECT domain, source_ip, round(sum(share))::BIGINT AS messages,
               round(sum(share) FILTER (passed))::BIGINT
        FROM dmarc.daily WHERE source_ip IS NOT NULL AND domain IN (
            SELECT domain FROM dmarc.daily GROUP BY domain HAVING min(day) < make_timestamp($since)::DATE)
        GROUP BY domain, source_ip
        HAVING min(day) >= make_timestamp($since)::DATE AND min(day) < make_timestamp($until)
        ORDER BY messages DESC, domain, source_ip LIMIT 10
        """,
        _bounds(since, until),
    )
    return [NewSource(domain, address, messages, passed or 0) for domain, address, messages, passed in rows]


def _quarantined(store: Store, since: int, until: int) -> int:
    rows = store.query(
        "SELECT count(*) FROM quarantine WHERE quarantined_at >= make_timestamp($since) "
        "AND quarantined_at < make_timestamp($until)",
        _bounds(since, until),
    )
    return int(rows[0][0])


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
                cause = next((r for r in reasons if r.provider == compared.provider and _explains(r, name)), None)
                found.append(ToDo(compared.provider, name, rate.value, rate.verdict, _advice(name, cause, taxonomy)))
                break
    return found


def _explains(reason: Reason, rate: str) -> bool:
    """The reply is among those that the rate counts."""
    if rate == "deferral_rate":
        return reason.type == "deferral"
    severity = {"block_bounce_rate": "block", "hard_bounce_rate": "hard"}.get(rate, reason.severity)
    return reason.type in {"bounce", "expiration", "oob_bounce"} and reason.severity == severity


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
