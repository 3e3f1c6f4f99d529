"""Bounce spikes and surges of deferrals in the stored mail, with their causes.

An incident is a function of the stored counts: the detector is fed the history in order and decides each step from its
past, so asking twice, after a restart, or "what would have fired last month", gives the same answer and nothing has to
be kept. It watches each provider, each pool and each tenant at a provider. A provider stands for its parts: what they
show at the same time is the same incident, and is named among the causes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from analytics.causes import Cause, Tally, rank_causes
from analytics.spikes import STEP_SECONDS, Change, ChangeKind, SpikeDetector, SpikeSettings
from analytics.store import Store
from mta.events.instants import DAY, HOUR, SECOND

__all__ = ["Incident", "find_incidents"]

_STEP = STEP_SECONDS * SECOND
_HISTORY = 28 * DAY
"""How much mail before the time asked for teaches what is normal."""
_BEFORE = DAY
"""What a cause is compared with."""
_SAME = HOUR
"""Incidents of a provider and of its parts that are no further apart are one."""
_PARTS = ("tenant", "pool")
_CAUSES = ("tenant", "campaign", "source", "pool", "sender_domain", "domain", "node", "tls_version")
"""Dimensions of causes; of several that say the same, the first is named first."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is watched: events that `counted` selects, of which those are bad that `bad` selects (SQL over `event`)."""

    name: str
    counted: str
    bad: str


_KINDS = (
    _Kind("bounce_spike", "type IN ('delivery', 'bounce', 'expiration')", "type <> 'delivery'"),
    _Kind("deferral_surge", "type IN ('delivery', 'bounce', 'deferral') AND origin = 'remote'", "type = 'deferral'"),
)
_BY_NAME = {kind.name: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class Incident:
    """A rise of a rate at a provider, or in the part of its mail that `scope` names.

    `kind` is `bounce_spike` (recipients that bounced or expired, of those that ended) or `deferral_surge` (attempts put
    off, of those that the provider answered).

    Instants are microseconds: it began, as far as can be told, at `began`; the decisions fell at `opened` and `closed`
    (None while it lasts), the ends of 5-minute steps. `level` and `baseline` are rates; `numerator` of `denominator`
    were bad while it lasted.
    """

    id: str
    kind: str
    provider: str
    scope: dict[str, str]
    began: int
    opened: int
    closed: int | None
    level: float
    baseline: float
    numerator: int
    denominator: int
    causes: list[Cause] = field(default_factory=list)


def find_incidents(
    store: Store, *, since: int, until: int | None = None, settings: SpikeSettings | None = None
) -> list[Incident]:
    """Incidents that were open at some time in [`since`, `until`), the latest first; without `until`, up to now.

    The step that is still running is left out: its counts would look like a lull.
    """
    now = store.clock() if until is None else until
    end = now // _STEP * _STEP
    watched = settings or SpikeSettings()
    # One budget of false alarms for all kinds: each is asked for more.
    watched = watched.model_copy(update={"threshold": watched.threshold + math.log(len(_KINDS))})
    found: list[Incident] = []
    for kind in _KINDS:
        found += _merged(_replay(kind, _counts(store, kind, since - _HISTORY, end), watched))
    wanted = [one for one in found if one.closed is None or one.closed > since]
    return [replace(one, causes=_causes(store, one, end)) for one in sorted(wanted, key=lambda one: -one.opened)]


Row = tuple[int, str, str, int, int]
"""Step, provider, part (`tenant=acme`; empty for the provider), counted, bad."""


def _counts(store: Store, kind: _Kind, since: int, until: int) -> list[Row]:
    """Outbound mail on the event clock, in order of steps, a provider before its parts."""
    sets = ", ".join(f"(step, provider, {part})" for part in _PARTS)
    rows = store.query(
        f"""
        SELECT epoch_us(time) // {_STEP} AS step, provider, tenant, pool, grouping(tenant), grouping(pool),
               count(*), count(*) FILTER ({kind.bad})
        FROM event
        WHERE time >= make_timestamp($since) AND time < make_timestamp($until) AND direction = 'outbound'
          AND {kind.counted}
        GROUP BY GROUPING SETS ((step, provider), {sets})
        ORDER BY step, provider, tenant NULLS FIRST, pool NULLS FIRST
        """,
        {"since": max(0, since), "until": until},
    )
    counted = []
    for step, provider, tenant, pool, no_tenant, no_pool, sent, bounced in rows:
        value = tenant if not no_tenant else pool
        if no_tenant and no_pool:
            counted.append((step, provider, "", sent, bounced))
        elif value:
            counted.append((step, provider, f"{'pool' if no_tenant else 'tenant'}={value}", sent, bounced))
    return counted


def _replay(kind: _Kind, rows: Sequence[Row], settings: SpikeSettings) -> list[Incident]:
    """Feed the detector; incidents in the order in which they were opened."""
    detector = SpikeDetector(settings)
    alone = _only_parts(rows)
    found: dict[tuple[str, int], Incident] = {}
    for step, provider, part, sent, bounced in rows:
        if (provider, part.partition("=")[0]) in alone:
            continue
        change = detector.observe(f"{provider}\t{part}", step, sent, bounced)
        if change is not None:
            found[change.series, change.opened] = _incident(kind, provider, part, change)
    return list(found.values())


def _only_parts(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """(provider, dimension) where the provider has one part only, which says what the provider says already."""
    values: dict[tuple[str, str], set[str]] = {}
    for _, provider, part, _, _ in rows:
        dimension, _, value = part.partition("=")
        if dimension:
            values.setdefault((provider, dimension), set()).add(value)
    return {key for key, parts in values.items() if len(parts) == 1}


def _incident(kind: _Kind, provider: str, part: str, change: Change) -> Incident:
    dimension, _, value = part.partition("=")
    key = f"{kind.name}\t{provider}\t{part}\t{change.opened}"
    return Incident(
        id=hashlib.blake2b(key.encode(), digest_size=8).hexdigest(),
        kind=kind.name,
        provider=provider,
        scope={dimension: value} if dimension else {},
        began=change.began * _STEP,
        opened=(change.opened + 1) * _STEP,
        closed=(change.step + 1) * _STEP if change.kind is ChangeKind.CLOSED else None,
        level=change.level,
        baseline=change.baseline,
        numerator=change.bounced,
        denominator=change.sent,
    )


def _merged(found: Iterable[Incident]) -> Iterator[Incident]:
    """One incident for a provider and its parts, or for parts that overlap where the provider itself shows nothing."""
    for _, group in groupby(sorted(found, key=lambda one: one.provider), key=lambda one: one.provider):
        kept: list[Incident] = []
        for one in sorted(group, key=lambda one: (bool(one.scope), one.opened)):
            if not one.scope or not any(_together(one, other) for other in kept):
                kept.append(one)
        yield from kept


def _together(one: Incident, other: Incident) -> bool:
    ends = [float("inf") if incident.closed is None else incident.closed for incident in (one, other)]
    return one.began <= ends[1] + _SAME and other.began <= ends[0] + _SAME


def _causes(store: Store, incident: Incident, end: int) -> list[Cause]:
    until = end if incident.closed is None else incident.closed
    causes = rank_causes(_tallies(store, incident, until))
    if not causes:
        return []
    replies = _replies(store, incident, until, causes)
    return [replace(cause, reply=replies.get(cause.dimension)) for cause in causes]


def _tallies(store: Store, incident: Incident, until: int) -> list[Tally]:
    """Counts of the day before and of the incident, by each dimension of causes."""
    columns = ", ".join(f"coalesce({name}, '') AS {name}" for name in _CAUSES)
    flags = ", ".join(f"grouping({name})" for name in _CAUSES)
    bad = _BY_NAME[incident.kind].bad
    rows = store.query(
        f"""
        WITH mail AS (SELECT {columns}, time >= make_timestamp($began) AS since, {bad} AS bad FROM event
                      WHERE {_mail_of(incident)})
        SELECT {", ".join(_CAUSES)}, {flags},
               count(*) FILTER (NOT since), count(*) FILTER (NOT since AND bad),
               count(*) FILTER (since), count(*) FILTER (since AND bad)
        FROM mail GROUP BY GROUPING SETS ({", ".join(f"({name})" for name in _CAUSES)})
        """,
        _bounds(incident, until, incident.began - _BEFORE) | {"began": incident.began},
    )
    width = len(_CAUSES)
    tallies = []
    for row in rows:
        place = row[width : 2 * width].index(0)
        if row[place]:
            tallies.append(Tally(_CAUSES[place], row[place], *row[2 * width :]))
    return sorted(tallies, key=lambda tally: (_CAUSES.index(tally.dimension), tally.value))


def _replies(store: Store, incident: Incident, until: int, causes: Sequence[Cause]) -> dict[str, str]:
    """The most frequent reply to the mail of each cause, by dimension."""
    replies = {}
    for cause in causes:
        rows = store.query(
            f"""
            SELECT code, enhanced, text, count(*) AS bounces
            FROM event JOIN reply_template ON reply_template.id = event.template_id
            WHERE {_mail_of(incident)} AND {_BY_NAME[incident.kind].bad} AND {cause.dimension} = $value
            GROUP BY ALL ORDER BY bounces DESC, text LIMIT 1
            """,
            _bounds(incident, until, incident.began) | {"value": cause.value},
        )
        for code, enhanced, text, _ in rows:
            replies[cause.dimension] = " ".join(str(part) for part in (code, enhanced, text) if part)
    return replies


def _mail_of(incident: Incident) -> str:
    """Condition on events: the mail that the incident is about, within `_bounds`."""
    scope = "".join(f" AND {name} = $scope" for name in incident.scope)
    return (
        "time >= make_timestamp($from) AND time < make_timestamp($until) AND direction = 'outbound' "
        f"AND provider = $provider AND {_BY_NAME[incident.kind].counted}{scope}"
    )


def _bounds(incident: Incident, until: int, since: int) -> dict[str, object]:
    bounds: dict[str, object] = {"from": max(0, since), "until": until, "provider": incident.provider}
    for value in incident.scope.values():
        bounds["scope"] = value
    return bounds
