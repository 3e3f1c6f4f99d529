"""The tables of incidents: what is open, what was, who is to be told, what is silenced.

Each call is a statement or a few on the connection that is passed in: the caller decides what becomes durable together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import orjson

from analytics.causes import Cause
from analytics.incidents.incident import Incident, ReplyExcess, Signal
from analytics.incidents.kinds import Kind
from mta.events.instants import format_instant

__all__ = [
    "Notification",
    "Silence",
    "acknowledge",
    "acknowledged",
    "add_silence",
    "as_json",
    "due_notifications",
    "end_silence",
    "find",
    "keep",
    "notify",
    "put_off",
    "sent",
    "silences",
    "waiting",
]

_PLAIN = ("id", "kind", "provider", "level", "baseline", "numerator", "denominator")
_INSTANTS = ("began", "opened", "closed", "told_at", "acknowledged_at")
_FINDINGS = ("causes", "replies", "advice")
_FOR_EVER = 2**53


@dataclass(frozen=True, slots=True)
class Silence:
    """From `since` until `until`, incidents that match all that is given tell nobody. None matches everything."""

    id: str
    since: int
    until: int
    author: str
    reason: str
    kind: str | None = None
    provider: str | None = None
    tenant: str | None = None
    pool: str | None = None

    def covers(self, incident: Incident, now: int) -> bool:
        """Whether this incident is silenced now."""
        parts = incident.scope | {cause.dimension: cause.value for cause in incident.causes}
        wanted = {"tenant": self.tenant, "pool": self.pool}
        return (
            self.since <= now < self.until
            and self.kind in {None, *incident.kinds}
            and self.provider in {None, *incident.providers}
            and all(value is None or parts.get(name) == value for name, value in wanted.items())
        )


@dataclass(frozen=True, slots=True)
class Notification:
    """A change of an incident that `channel` has not heard of yet; `body` is the incident as JSON, as of the change."""

    id: str
    incident_id: str
    channel: str
    change: str
    written_at: int
    due_at: int
    attempts: int
    last_error: str | None
    body: str


def keep(con: duckdb.DuckDBPyConnection, incidents: Iterable[Incident]) -> None:
    """Insert these incidents, or replace what is kept of them. Who acknowledged them stays."""
    for incident in incidents:
        row = _row(incident)
        changes = ", ".join(f"{name} = excluded.{name}" for name in row if name != "id")
        values = ", ".join(f"make_timestamp(${name})" if name in _INSTANTS else f"${name}" for name in row)
        con.execute(
            f"INSERT INTO incident ({', '.join(row)}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {changes}", row
        )


def find(
    con: duckdb.DuckDBPyConnection, *, since: int = 0, until: int = _FOR_EVER, only_open: bool = False, key: str = ""
) -> list[Incident]:
    """Incidents that were open at some time in [`since`, `until`), the latest first; `key` selects one by its id."""
    instants = ", ".join(f"epoch_us({name}) AS {name}" for name in _INSTANTS)
    rows = con.execute(
        f"SELECT {', '.join(_PLAIN)}, {instants}, acknowledged_by, scope, signals, findings FROM incident "
        "WHERE opened < make_timestamp($until) AND (closed IS NULL OR closed > make_timestamp($since)) "
        "AND (NOT $only_open OR closed IS NULL) AND $key IN ('', id) ORDER BY opened DESC, id",
        {"since": since, "until": until, "only_open": only_open, "key": key},
    ).fetchall()
    names = (*_PLAIN, *_INSTANTS, "acknowledged_by", "scope", "signals", "findings")
    return [_incident(dict(zip(names, row, strict=True))) for row in rows]


def acknowledge(con: duckdb.DuckDBPyConnection, key: str, author: str, now: int) -> bool:
    """Note that somebody takes care of an incident; False where there is none of that id."""
    return bool(
        con.execute(
            "UPDATE incident SET acknowledged_at = make_timestamp(?), acknowledged_by = ? WHERE id = ? RETURNING id",
            [now, author, key],
        ).fetchall()
    )


def acknowledged(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, str]]:
    """When and by whom each incident that is acknowledged was."""
    rows = con.execute(
        "SELECT id, epoch_us(acknowledged_at), acknowledged_by FROM incident WHERE acknowledged_at IS NOT NULL"
    ).fetchall()
    return {key: (at, author) for key, at, author in rows}


def add_silence(con: duckdb.DuckDBPyConnection, silence: Silence) -> None:
    """Keep a silence."""
    con.execute(
        "INSERT INTO silence VALUES ($id, $kind, $provider, $tenant, $pool, make_timestamp($since), "
        "make_timestamp($until), $author, $reason)",
        asdict(silence),
    )


def end_silence(con: duckdb.DuckDBPyConnection, key: str, now: int) -> bool:
    """Let a silence end now; False where none of that id lasts."""
    return bool(
        con.execute(
            "UPDATE silence SET until = make_timestamp($now) WHERE id = $key AND until > make_timestamp($now) "
            "RETURNING id",
            {"now": now, "key": key},
        ).fetchall()
    )


def silences(con: duckdb.DuckDBPyConnection, now: int) -> list[Silence]:
    """Those that last or are still to come, the one that ends first first."""
    rows = con.execute(
        "SELECT id, epoch_us(since), epoch_us(until), author, reason, kind, provider, tenant, pool FROM silence "
        "WHERE until > make_timestamp(?) ORDER BY until, id",
        [now],
    ).fetchall()
    return [Silence(*row) for row in rows]


def notify(con: duckdb.DuckDBPyConnection, incident: Incident, change: str, channels: Iterable[str], now: int) -> None:
    """Write down what every channel is to be told. The same change of an incident is written down once."""
    body = orjson.dumps(as_json(incident)).decode()
    told = incident.told_at or now
    for channel in channels:
        con.execute(
            "INSERT INTO notification VALUES (?, ?, ?, ?, make_timestamp(?), make_timestamp(?), 0, NULL, ?) "
            "ON CONFLICT DO NOTHING",
            [f"{incident.id}/{change}/{told}/{channel}", incident.id, channel, change, now, now, body],
        )


def due_notifications(con: duckdb.DuckDBPyConnection, now: int, limit: int = 100) -> list[Notification]:
    """What is to be sent now, the oldest first; a later change of an incident waits for its earlier ones."""
    rows: list[Any] = con.execute(
        "SELECT id, incident_id, channel, change, epoch_us(written_at), epoch_us(due_at), attempts, last_error, body "
        "FROM notification QUALIFY row_number() OVER (PARTITION BY incident_id, channel ORDER BY written_at, id) = 1 "
        "AND due_at <= make_timestamp(?) ORDER BY written_at, id LIMIT ?",
        [now, limit],
    ).fetchall()
    return [Notification(*row) for row in rows]


def waiting(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Notifications that wait, by channel."""
    return dict(con.execute("SELECT channel, count(*) FROM notification GROUP BY 1").fetchall())


def sent(con: duckdb.DuckDBPyConnection, notification: Notification) -> None:
    """The other side has taken it."""
    con.execute("DELETE FROM notification WHERE id = ?", [notification.id])


def put_off(con: duckdb.DuckDBPyConnection, notification: Notification, until: int, error: str) -> None:
    """It could not be sent; try again at `until`."""
    con.execute(
        "UPDATE notification SET attempts = attempts + 1, due_at = make_timestamp(?), last_error = ? WHERE id = ?",
        [until, error, notification.id],
    )


def as_json(incident: Incident) -> dict[str, Any]:
    """An incident as the API, the command line and every notification show it."""
    content = asdict(incident)
    signals = [_stamped(signal) for signal in content.pop("signals")]
    return _stamped(content) | {"providers": incident.providers, "kinds": incident.kinds, "signals": signals}


def _stamped(content: dict[str, Any]) -> dict[str, Any]:
    return {
        name: format_instant(value) if name in _INSTANTS and value is not None else value
        for name, value in content.items()
    }


def _row(incident: Incident) -> dict[str, Any]:
    content = asdict(incident)
    findings = {name: content[name] for name in _FINDINGS}
    return {
        **{name: content[name] for name in (*_PLAIN, *_INSTANTS) if not name.startswith("acknowledged")},
        "scope": orjson.dumps(incident.scope).decode(),
        "signals": orjson.dumps(content["signals"]).decode(),
        "findings": orjson.dumps(findings).decode(),
    }


def _incident(row: dict[str, Any]) -> Incident:
    findings = orjson.loads(row.pop("findings"))
    signals = [Signal(**{**signal, "kind": Kind(signal["kind"])}) for signal in orjson.loads(row.pop("signals"))]
    return Incident(
        **{**row, "kind": Kind(row["kind"]), "scope": orjson.loads(row["scope"])},
        causes=[Cause(**cause) for cause in findings["causes"]],
        replies=[ReplyExcess(**reply) for reply in findings["replies"]],
        advice=findings["advice"],
        signals=signals,
    )
