"""How long what is kept: texts of replies, mails, figures, quarantine; each by a setting of its own.

Texts go first: what was particular to one failure (its parameters) is written out of a sealed part when the youngest
mail in it is old enough; class, code and template stay. Mails go by whole parts. What is older than the mails that are
kept is taken for known when it is read again, so an old log cannot count twice what has been forgotten. Figures stay
longer than mails, and counters stay for ever (promise 10).

Nothing here changes an answer about a time that is still kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from analytics.lifecycle import OUTCOMES
from analytics.parts import Parts
from analytics.settings import StoreSettings
from mta.events.instants import DAY

__all__ = ["Expired", "expire", "kept_since"]

_GONE = "gone"
"""The name under which recipients of deleted parts stay counted for the identity."""
_TEXTLESS = "* REPLACE (list_transform(events, lambda e: struct_update(e, parameters := NULL::VARCHAR[])) AS events)"


@dataclass(frozen=True, slots=True)
class Expired:
    """What one run forgot: parts that lost their texts, parts deleted and their recipients, rows of the tables."""

    texts: int
    parts: int
    recipients: int
    figures: int
    quarantined: int


def expire(con: duckdb.DuckDBPyConnection, parts: Parts, settings: StoreSettings, now: int) -> Expired:
    """Forget what is old enough, inside the caller's transaction. At most one part loses its texts at a time."""
    deleted, recipients = _delete_mails(con, parts, now - settings.keep_mails_days * DAY)
    return Expired(
        texts=_forget_texts(con, parts, now - settings.keep_texts_days * DAY, now),
        parts=deleted,
        recipients=recipients,
        figures=_delete_figures(con, now - settings.keep_figures_days * DAY),
        quarantined=_deleted(con, "quarantine", "quarantined_at", now - settings.keep_quarantine_days * DAY),
    )


def kept_since(con: duckdb.DuckDBPyConnection, what: str) -> int | None:
    """The instant before which `what` has been forgotten; None if nothing of it was."""
    rows = con.execute("SELECT epoch_us(since) FROM kept_since WHERE what = ?", [what]).fetchall()
    return rows[0][0] if rows else None


def _forget_texts(con: duckdb.DuckDBPyConnection, parts: Parts, before: int, now: int) -> int:
    rows = con.execute(
        "SELECT name FROM part WHERE damage IS NULL AND last_moment < make_timestamp(?) "
        "AND name NOT IN (SELECT name FROM part_without_texts) ORDER BY last_moment LIMIT 1",
        [before],
    ).fetchall()
    for (name,) in rows:
        part = parts.rewrite(con, [name], _TEXTLESS, now)
        con.execute("DELETE FROM part_without_texts WHERE name = ?", [name])
        if part is not None:
            con.execute("INSERT INTO part_without_texts VALUES (?)", [part.name])
    return len(rows)


def _delete_mails(con: duckdb.DuckDBPyConnection, parts: Parts, before: int) -> tuple[int, int]:
    rows = con.execute("SELECT name, recipients FROM part WHERE last_moment < make_timestamp(?)", [before]).fetchall()
    for name, _ in rows:
        con.execute(
            "INSERT INTO part_outcome SELECT ?, outcome, recipients FROM part_outcome WHERE name = ?", [_GONE, name]
        )
        parts.remove(con, name)
        con.execute("DELETE FROM part_without_texts WHERE name = ?", [name])
    if rows:
        _remember(con, "mails", before)
        _deleted(con, "feedback", "time", before)
    return len(rows), sum(recipients for _, recipients in rows)


def _delete_figures(con: duckdb.DuckDBPyConnection, before: int) -> int:
    """The identity is about what is kept: recipients of forgotten figures are taken out of the other side, too."""
    old = "clock = 'cohort' AND bucket < make_timestamp(?)"
    for outcome in OUTCOMES:
        con.execute(
            f"INSERT INTO part_outcome SELECT ?, ?, -sum({outcome})::BIGINT FROM rollup WHERE {old} "
            "HAVING count(*) > 0",
            [_GONE, outcome, before],
        )
    deleted = _deleted(con, "rollup", "bucket", before)
    if deleted:
        _remember(con, "figures", before)
    return deleted


def _deleted(con: duckdb.DuckDBPyConnection, table: str, column: str, before: int) -> int:
    return int(con.execute(f"DELETE FROM {table} WHERE {column} < make_timestamp(?)", [before]).fetchall()[0][0])


def _remember(con: duckdb.DuckDBPyConnection, what: str, since: int) -> None:
    con.execute(
        "INSERT INTO kept_since VALUES (?, make_timestamp(?)) ON CONFLICT (what) DO UPDATE SET "
        "since = greatest(kept_since.since, excluded.since)",
        [what, since],
    )
