"""The safety nets: troubles that need no learning, only a look at the last hours. They stand below the detector.

A net says at every step where its trouble is present. It opens a signal when it is first present and closes it when it
has been absent for half an hour; at a provider that is in an incident already, the signal joins that one quietly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import duckdb

from analytics.incidents.incident import Signal, SignalKey
from analytics.incidents.kinds import NETS, Kind
from analytics.incidents.settings import NetSettings
from analytics.incidents.signals import SignalChange, Signals
from analytics.lifecycle import INJECTED_AT
from analytics.spikes import ChangeKind
from analytics.steps import STEP
from mta.events.instants import DAY, HOUR, MINUTE, SECOND

__all__ = ["NetFinding", "Nets", "present"]

_WEEK = 7 * DAY
_WEEKS = 4
_SILENT_FOR = (HOUR, 6 * HOUR)
"""No delivery in this long, where in each of the last weeks there were many at the same time of the week."""
_LEAST_WEEKS = 2
_USUAL_SAMPLES = 12
_REGULAR = 0.7
"""Share of the days of a month on which reports came that makes somebody a regular reporter."""
_EVERYBODY = "(all)"
"""Provider of troubles that are nobody's in particular."""


@dataclass(frozen=True, slots=True)
class NetFinding:
    """A trouble that is present: what was measured (`level`) against what is usual or allowed (`baseline`)."""

    kind: Kind
    provider: str
    level: float
    baseline: float
    numerator: int
    denominator: int
    since: int | None = None


class Nets:
    """Turns what is present at each step into signals that open and close."""

    def __init__(self, settings: NetSettings, signals: Iterable[Signal] = ()) -> None:
        self._quiet = settings.quiet_steps
        self._open: dict[SignalKey, Signal] = {one.key: one for one in signals if one.kind in NETS}
        self._absent: dict[SignalKey, int] = {}

    def observe(self, found: Iterable[NetFinding], at: int) -> list[SignalChange]:
        """What is present at the end `at` of a step; what changed by it."""
        present_now = {(one.kind, one.provider, "", ""): one for one in found}
        changes = []
        for key, finding in present_now.items():
            self._absent.pop(key, None)
            if key not in self._open:
                self._open[key] = _signal(finding, at)
                changes.append(SignalChange(ChangeKind.OPENED, self._open[key]))
        for key in [key for key in self._open if key not in present_now]:
            self._absent[key] = self._absent.get(key, 0) + 1
            if self._absent[key] >= self._quiet:
                del self._absent[key]
                changes.append(SignalChange(ChangeKind.CLOSED, replace(self._open.pop(key), closed=at)))
        return changes


def present(
    con: duckdb.DuckDBPyConnection, at: int, signals: Signals, broken: int, settings: NetSettings
) -> Iterator[NetFinding]:
    """Every trouble that is present at the end `at` of a step; `broken` recipients make the identity fail."""
    if broken:
        yield NetFinding(Kind.IDENTITY, _EVERYBODY, broken, 0, broken, 0)
    yield from _cliffs(con, at, signals, settings)
    yield from _silences(con, at, settings)
    yield from _queues(con, at, settings)
    yield from _reports(con, at, settings)


def _cliffs(con: duckdb.DuckDBPyConnection, at: int, signals: Signals, settings: NetSettings) -> Iterator[NetFinding]:
    rows = con.execute(
        "SELECT provider, sum(ended)::BIGINT, sum(blocked)::BIGINT, sum(answered)::BIGINT, sum(deferred)::BIGINT "
        "FROM step_count WHERE dimension = '' AND step >= make_timestamp($since) AND step < make_timestamp($at) "
        "GROUP BY 1 ORDER BY 1",
        {"since": at - HOUR, "at": at},
    ).fetchall()
    for provider, ended, blocked, answered, deferred in rows:
        for kind, counted, bad, limit in (
            (Kind.BLOCKS, ended, blocked, settings.blocked),
            (Kind.DEFERRALS, answered, deferred, settings.deferred),
        ):
            usual = signals.expected_rate(kind, provider) or 0.0
            if counted >= settings.least_mail and bad > max(limit, 2 * usual) * counted:
                yield NetFinding(Kind.CLIFF, provider, bad / counted, usual, bad, counted, at - HOUR)
                break


def _silences(con: duckdb.DuckDBPyConnection, at: int, settings: NetSettings) -> Iterator[NetFinding]:
    """Expected is the least of what the same hours of the last weeks brought."""
    found: set[str] = set()
    for window in _SILENT_FOR:
        spans = ", ".join(
            f"sum(delivered) FILTER (step >= make_timestamp({at - week * _WEEK - window}) "
            f"AND step < make_timestamp({at - week * _WEEK}))"
            for week in range(_WEEKS + 1)
        )
        reach = " OR ".join(
            f"(step >= make_timestamp({at - week * _WEEK - window}) AND step < make_timestamp({at - week * _WEEK}))"
            for week in range(_WEEKS + 1)
        )
        rows = con.execute(
            f"SELECT provider, {spans} FROM step_count WHERE dimension = '' AND ({reach}) GROUP BY 1 ORDER BY 1"
        ).fetchall()
        for provider, now, *weeks in rows:
            known = [int(count) for count in weeks if count is not None]
            expected = min(known, default=0)
            silent = not now and len(known) >= _LEAST_WEEKS and expected >= settings.least_mail
            if silent and provider not in found:
                found.add(provider)
                yield NetFinding(Kind.SILENCE, provider, 0.0, float(expected), 0, expected, at - window)


def _queues(con: duckdb.DuckDBPyConnection, at: int, settings: NetSettings) -> Iterator[NetFinding]:
    """Age and growth of what waits, from the samples that `sample_backlog` has kept."""
    rows = con.execute(
        f"""
        SELECT now.provider, now.in_flight, now.age_p90, usual.middle, usual.samples, before.in_flight
        FROM backlog now
        LEFT JOIN (
            SELECT provider, median(in_flight) AS middle, count(*) AS samples FROM backlog
            WHERE step >= make_timestamp($day) AND step < make_timestamp($hour) GROUP BY 1) usual USING (provider)
        LEFT JOIN backlog before ON before.provider = now.provider AND before.step = make_timestamp($at - {30 * MINUTE})
        WHERE now.step = make_timestamp($at) ORDER BY 1
        """,
        {"at": at, "hour": at - HOUR, "day": at - DAY},
    ).fetchall()
    for provider, waiting, age, middle, samples, before in rows:
        if waiting >= settings.queue_least and age > settings.queue_age_s:
            since = at - int(age * SECOND)
            yield NetFinding(Kind.QUEUE_AGE, provider, age, settings.queue_age_s, waiting, waiting, since)
        known = samples is not None and samples >= _USUAL_SAMPLES and before is not None
        if (
            known
            and waiting >= settings.backlog_least
            and waiting > before
            and waiting > settings.backlog_times * middle
        ):
            yield NetFinding(Kind.BACKLOG, provider, waiting, middle, waiting, waiting, at - HOUR)


def _reports(con: duckdb.DuckDBPyConnection, at: int, settings: NetSettings) -> Iterator[NetFinding]:
    """Reporters of DMARC by organisation, and feedback loops by provider: regular for a month, then nothing."""
    rows = con.execute(
        """
        WITH came AS (
            SELECT 'DMARC: ' || org_name AS who, received_at AS moment FROM dmarc.report
            WHERE kind = 'aggregate' AND org_name IS NOT NULL
            UNION ALL
            SELECT 'feedback loop: ' || provider, step FROM step_count WHERE dimension = '' AND complained > 0),
        days AS (
            SELECT who, count(DISTINCT moment::DATE) AS days, max(moment) AS latest, min(moment) AS first FROM came
            WHERE moment >= make_timestamp($month) AND moment < make_timestamp($at) GROUP BY 1)
        SELECT who, days, epoch_us(latest), greatest(1, date_diff('day', first, latest) + 1) AS span FROM days
        WHERE days >= 7 AND latest < make_timestamp($late) ORDER BY 1
        """,
        {"at": at, "month": at - 28 * DAY, "late": at - int(settings.reports_days * DAY)},
    ).fetchall()
    for who, days, latest, span in rows:
        if days >= _REGULAR * span:
            yield NetFinding(Kind.REPORTS, who, (at - latest) / DAY, span / days, days, span, latest)


def sample_backlog(con: duckdb.DuckDBPyConnection, at: int) -> None:
    """Keep how much waits for each provider at the end `at` of a step, and drop what is older than a week."""
    con.execute(
        "INSERT INTO backlog SELECT make_timestamp($at), provider.name, count(*), "
        f"quantile_cont(greatest(0, $at - epoch_us({INJECTED_AT})), 0.9) / 1e6 "
        "FROM unit WHERE terminal IS NULL AND direction = 'outbound' GROUP BY ALL",
        {"at": at},
    )
    con.execute("DELETE FROM backlog WHERE step < make_timestamp(?)", [at - _WEEK])


def _signal(finding: NetFinding, at: int) -> Signal:
    return Signal(
        kind=finding.kind,
        provider=finding.provider,
        dimension="",
        value="",
        began=at - STEP if finding.since is None else finding.since,
        opened=at,
        closed=None,
        level=finding.level,
        baseline=finding.baseline,
        numerator=finding.numerator,
        denominator=finding.denominator,
    )
