"""What the stored events say about an incident: who carries the excess, what providers answered, since which minute.

Reads the events from a day before the incident on. The dimensions of causes are listed once, in the order in which
those that say the same are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from analytics.causes import Cause, Tally, explaining, rank_causes, shares
from analytics.incidents.changepoint import changed_at
from analytics.incidents.incident import ReplyExcess
from analytics.incidents.kinds import SPIKES, Kind
from analytics.relations import events
from analytics.store import Store
from mta.events.instants import DAY, HOUR, MINUTE

__all__ = ["CAUSES", "Evidence", "Findings", "Mail", "StoredEvidence"]

_COLUMNS = {
    "tenant": "tenant",
    "campaign": "campaign",
    "source": "coalesce(source_ip, source)",
    "pool": "pool",
    "sender_domain": "sender_domain",
    "domain": "domain",
    "node": "node",
    "tls_version": "tls_version",
}
"""Dimension of causes to SQL over an event."""
CAUSES = tuple(_COLUMNS)
_OF_UNIT = {
    "tenant": "tenant.name", "campaign": "campaign.name", "source": "source.name", "pool": "pool.name",
    "sender_domain": "sender_domain", "domain": "domain", "node": "node", "tls_version": "NULL",
}  # fmt: skip
"""The same over a unit: a complaint is an event about another mail."""
_BEFORE = DAY
"""What mail is compared with."""
_VALUES = 300
"""Values of a dimension that are looked at, those with most bounces; the rest counts as one that is never named."""
_REPLIES = 3
_HINT = 1.0
"""Nats from which a value counts as a trait: enough to join an open incident that it explains, not to open one."""


@dataclass(frozen=True, slots=True)
class Mail:
    """What an incident is about: mail to these providers, by what its kind counts, in the part that `scope` names."""

    kind: Kind
    providers: tuple[str, ...]
    scope: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """`causes` ranked, `traits` all values that may explain the excess, `changed` the minute of the change.

    `shares` has every value that was looked at.
    """

    causes: list[Cause] = field(default_factory=list)
    shares: dict[tuple[str, str], Cause] = field(default_factory=dict)
    traits: frozenset[tuple[str, str]] = frozenset()
    replies: list[ReplyExcess] = field(default_factory=list)
    changed: int | None = None


class Evidence(Protocol):
    """Where findings come from."""

    def look(self, mail: Mail, began: int, until: int) -> Findings:
        """What is different about `mail` in [`began`, `until`)."""

    def groups(self, providers: Sequence[str]) -> dict[str, str]:
        """The group (google, microsoft, ...) that each provider belongs to, where it is known."""


class StoredEvidence:
    """Findings from the store's events."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self, mail: Mail, began: int, until: int) -> Findings:
        """The minute of the change first: what went well before it must not speak for anybody after it."""
        if mail.kind not in SPIKES:
            return Findings()
        changed = self._changed(mail, began, until, ())
        began = changed if changed is not None and changed > began - HOUR else began
        tallies = self._tallies(mail, began, until)
        causes = rank_causes(tallies)
        return Findings(
            causes or self._providers(mail, began, until),
            {(cause.dimension, cause.value): cause for cause in shares(tallies)},
            frozenset((cause.dimension, cause.value) for cause in explaining(tallies, certainty=_HINT)),
            self._replies(mail, began, until),
            self._changed(mail, began, until, causes),
        )

    def groups(self, providers: Sequence[str]) -> dict[str, str]:
        """By the newest rows of the figures."""
        rows = self._store.query(
            "SELECT provider, max(provider_group) FROM rollup WHERE list_contains($names, provider) GROUP BY 1",
            {"names": list(providers)},
        )
        return dict(rows)

    def _mail(self, mail: Mail, began: int, until: int, *, everywhere: bool = False) -> str:
        return _mail(events(self._store, max(0, began - _BEFORE), until), mail, everywhere=everywhere)

    def _tallies(self, mail: Mail, began: int, until: int) -> list[Tally]:
        """Counts of the day before and since, by each dimension of causes."""
        sets = ", ".join(f"({name})" for name in CAUSES)
        place = " ".join(f"WHEN grouping({name}) = 0 THEN {number}" for number, name in enumerate(CAUSES))
        value = " ".join(f"WHEN grouping({name}) = 0 THEN {name}" for name in CAUSES)
        rows = self._store.query(
            f"""
            WITH mail AS ({self._mail(mail, began, until)}),
            counted AS (
                SELECT CASE {place} END AS place, CASE {value} END AS value,
                       count(*) FILTER (NOT since) AS sent_before, count(*) FILTER (NOT since AND bad) AS bad_before,
                       count(*) FILTER (since) AS sent, count(*) FILTER (since AND bad) AS bad
                FROM mail GROUP BY GROUPING SETS ({sets})),
            ranked AS (
                SELECT *, row_number() OVER (PARTITION BY place ORDER BY bad DESC, sent DESC, value) <= {_VALUES} AS top
                FROM counted)
            SELECT place, CASE WHEN top THEN value ELSE '' END AS value, sum(sent_before)::BIGINT,
                   sum(bad_before)::BIGINT, sum(sent)::BIGINT, sum(bad)::BIGINT
            FROM ranked GROUP BY 1, 2 ORDER BY 1, 2
            """,
            _bounds(mail, began, until),
        )
        return [Tally(CAUSES[place], value, *counts) for place, value, *counts in rows]

    def _providers(self, mail: Mail, began: int, until: int) -> list[Cause]:
        """Where nobody of ours stands out: the providers themselves, of all mail, in the order in which they showed."""
        everything = self._mail(mail, began, until, everywhere=True)
        rows = self._store.query(
            "SELECT provider, count(*) FILTER (NOT since), count(*) FILTER (NOT since AND bad), "
            f"count(*) FILTER (since), count(*) FILTER (since AND bad) FROM ({everything}) "
            "GROUP BY 1 ORDER BY 1",
            _bounds(mail, began, until, everywhere=True),
        )
        found = shares(Tally("provider", provider, *counts) for provider, *counts in rows)
        named = [cause for cause in found if cause.value in mail.providers]
        return sorted(named, key=lambda cause: mail.providers.index(cause.value))

    def _replies(self, mail: Mail, began: int, until: int) -> list[ReplyExcess]:
        """The replies that were heard most beyond what is usual."""
        rows = self._store.query(
            f"""
            WITH mail AS ({self._mail(mail, began, until)}), size AS (
                SELECT count(*) FILTER (since) / greatest(1, count(*) FILTER (NOT since)) AS growth FROM mail),
            heard AS (
                SELECT template_id, code, enhanced, any_value(bounce_class) AS class,
                       count(*) FILTER (since) AS now, count(*) FILTER (NOT since) AS before
                FROM mail WHERE bad AND template_id IS NOT NULL GROUP BY ALL),
            more AS (SELECT *, greatest(0, now - before * growth) AS excess FROM heard, size)
            SELECT code, enhanced, text, class, excess, excess / sum(excess) OVER () AS share, before = 0
            FROM more JOIN reply_template ON reply_template.id = template_id
            WHERE excess > 0 ORDER BY excess DESC, text LIMIT {_REPLIES}
            """,
            _bounds(mail, began, until),
        )
        return [
            ReplyExcess(
                " ".join(str(part) for part in (code, enhanced, text) if part), bounce_class, excess, share, new
            )
            for code, enhanced, text, bounce_class, excess, share, new in rows
        ]

    def _changed(self, mail: Mail, began: int, until: int, causes: Sequence[Cause]) -> int | None:
        """The minute of the change, in the mail of the best cause: it is seen most clearly there."""
        bounds = _bounds(mail, began, until)
        of_cause = ""
        if causes:
            of_cause, bounds["cause"] = f"AND {causes[0].dimension} = $cause", causes[0].value
        bounds["from"] = max(0, began - HOUR)
        rows = self._store.query(
            f"SELECT epoch_us(time) // {MINUTE}, count(*), count(*) FILTER (bad) "
            f"FROM ({self._mail(mail, began, until)}) WHERE true {of_cause} GROUP BY 1 ORDER BY 1",
            bounds,
        )
        minute = changed_at(rows)
        return None if minute is None else minute * MINUTE


def _mail(events: str, mail: Mail, *, everywhere: bool) -> str:
    """SELECT of the mail among `events`: its dimensions, when, whether it went wrong, whether since the change."""
    spike = SPIKES[mail.kind]
    scope = "".join(f" AND {name} = $scope_{name}" for name, _ in mail.scope)
    where = "time >= make_timestamp($from) AND time < make_timestamp($until) AND direction = 'outbound'"
    where += "" if everywhere else " AND list_contains($providers, {})"
    columns = ", ".join(f"coalesce({sql}, '') AS {name}" for name, sql in _COLUMNS.items())
    failure = "template_id, code, enhanced, bounce_class"
    selected = (
        f"SELECT {columns}, provider, time, {spike.bad_events} AS bad, {failure} FROM {events} told "
        f"WHERE {where.format('provider')} AND {spike.counted_events}"
    )
    if mail.kind is Kind.COMPLAINTS:
        columns = ", ".join(f"coalesce({sql}, '') AS {name}" for name, sql in _OF_UNIT.items())
        selected += (
            f" UNION ALL SELECT {columns}, provider.name, time, true, NULL, NULL, NULL, NULL "
            f"FROM feedback JOIN unit USING (unit_id) WHERE {where.format('provider.name')} AND type = 'complaint'"
        )
    return f"SELECT *, time >= make_timestamp($began) AS since FROM ({selected}) WHERE true{scope}"


def _bounds(mail: Mail, began: int, until: int, *, everywhere: bool = False) -> dict[str, object]:
    bounds: dict[str, object] = {"from": max(0, began - _BEFORE), "began": began, "until": until}
    bounds |= {f"scope_{name}": value for name, value in mail.scope}
    return bounds if everywhere else bounds | {"providers": list(mail.providers)}
