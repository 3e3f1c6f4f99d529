"""From failures to entries of the suppression list, inside the transaction that stores the failures.

Every failure of a class that the policy names is a *strike*; when a recipient has as many as its rule wants, within the
rule's days and from different mails, it becomes an entry. A delivery wipes a recipient's strikes out. Strikes come from
events that are stored for the first time, so replaying logs changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb

from analytics.settings import SuppressionRule, SuppressionSettings
from mta.events.instants import DAY
from mta.events.pseudonym import Keyring

__all__ = ["COLUMNS", "REASONS", "Suppressor", "merge_entries"]

COLUMNS = (
    "recipient_hash, key_epoch, tenant, reason, bounce_class, domain, added_at, expires_at, source_event, note, address"
)
"""Columns of the table `suppression`."""

REASONS: Mapping[str, str] = {"complaint": "complaint", "unsubscribe_request": "unsubscribe"}
"""What an entry's reason is, by bounce class; otherwise `bounce`. People give `manual`, `import` or their own."""

_STRIKE = "recipient_hash, key_epoch, tenant, bounce_class, domain, unit_id, time, event_id"


class Suppressor:
    """Applies a policy through the loader's connection. `changed`: the list is not what was published last."""

    def __init__(self, settings: SuppressionSettings, keyring: Keyring) -> None:
        self.settings = settings
        self.changed = True
        self._keyring = keyring
        self._classes = {name for rule in settings.rules for name in rule.classes}

    def note_failures(self, con: duckdb.DuckDBPyConnection) -> None:
        """Count the failed recipients in `fresh`, and wipe out the strikes of those that were delivered to.

        What failed with us (no connection, no route) says nothing of a recipient, but that a domain does not exist.
        """
        if con.execute("SELECT 1 FROM suppression_strike LIMIT 1").fetchall():
            con.execute(
                "DELETE FROM suppression_strike USING fresh f WHERE f.type = 'delivery' "
                "AND f.recipient_hash = suppression_strike.recipient_hash AND f.time > suppression_strike.time"
            )
        self._strike(
            con,
            "SELECT recipient_hash, tenant, bounce_class, domain, unit_id, time, event_id FROM fresh "
            "WHERE type IN ('bounce', 'expiration') AND direction = 'outbound' AND recipient_hash IS NOT NULL "
            "AND (origin = 'remote' OR type = 'expiration' OR bounce_class = 'bad_domain')",
        )

    def note_reports(self, con: duckdb.DuckDBPyConnection) -> None:
        """Count the reports in `attributed`, each for the recipient of the send that it was found to be about."""
        types = _listed(self.settings.complaint_types)
        self._strike(
            con,
            "SELECT u.recipient_hash, u.tenant.name AS tenant, a.bounce_class, u.domain, u.unit_id, a.time, "
            "a.event_id FROM attributed a JOIN unit u USING (unit_id) LEFT JOIN event e ON e.event_id = a.event_id "
            f"WHERE u.recipient_hash IS NOT NULL AND a.matched_by IN ({_listed(self.settings.reports_matched_by)}) "
            f"AND (a.type <> 'complaint' OR coalesce(e.feedback_type, '') IN ({types}))",
        )

    def decide(self, con: duckdb.DuckDBPyConnection, now: int) -> None:
        """Make entries of recipients that have enough strikes; drop strikes that are used up or too old to count."""
        if not con.execute("SELECT 1 FROM suppression_strike LIMIT 1").fetchall():
            return
        decided: set[str] = set()
        for rule in self.settings.rules:
            classes = set(rule.classes) - decided
            decided |= classes
            if classes:
                self._decide(con, rule, _listed(classes), now)

    def _decide(self, con: duckdb.DuckDBPyConnection, rule: SuppressionRule, classes: str, now: int) -> None:
        tenant = "tenant" if rule.scope == "tenant" else "''"
        reasons = " ".join(f"WHEN '{name}' THEN '{reason}'" for name, reason in REASONS.items())
        expires = f"max(time) + to_microseconds({round(rule.expires_days * DAY)})" if rule.expires_days else "NULL"
        con.execute(
            "CREATE OR REPLACE TEMP TABLE struck AS "
            f"SELECT recipient_hash, max(key_epoch) AS key_epoch, {tenant} AS tenant, "
            f"CASE arg_max(bounce_class, time) {reasons} ELSE 'bounce' END AS reason, "
            "arg_max(bounce_class, time) AS bounce_class, arg_max(domain, time) AS domain, "
            f"make_timestamp($now) AS added_at, ({expires})::TIMESTAMP AS expires_at, "
            "arg_max(event_id, time) AS source_event, NULL::VARCHAR AS note, NULL::VARCHAR AS address "
            "FROM (SELECT *, max(time) OVER (PARTITION BY recipient_hash) AS newest FROM suppression_strike "
            f"WHERE bounce_class IN ({classes})) WHERE time >= newest - to_microseconds($within) "
            "GROUP BY ALL HAVING count(DISTINCT unit_id) >= $times",
            {"now": now, "within": round(rule.within_days * DAY), "times": rule.times},
        )
        merge_entries(con, f"SELECT {COLUMNS} FROM struck WHERE expires_at IS NULL OR expires_at > added_at")
        con.execute(
            f"DELETE FROM suppression_strike WHERE bounce_class IN ({classes}) AND (recipient_hash IN "
            "(SELECT recipient_hash FROM struck) OR time < make_timestamp($now) - to_microseconds($within))",
            {"now": now, "within": round(rule.within_days * DAY)},
        )
        self.changed = True

    def _strike(self, con: duckdb.DuckDBPyConnection, select: str) -> None:
        if self._classes:
            con.execute(
                f"INSERT INTO suppression_strike ({_STRIKE}) SELECT recipient_hash, {self._keyring.epoch}, "
                f"coalesce(tenant, ''), bounce_class, domain, unit_id, time, event_id FROM ({select}) "
                f"WHERE bounce_class IN ({_listed(self._classes)})"
            )


def merge_entries(con: duckdb.DuckDBPyConnection, select: str) -> int:
    """Put rows of `COLUMNS` on the list; how many are new or changed. What lasts longer stays."""
    longer = "(excluded.expires_at IS NULL OR excluded.expires_at > suppression.expires_at)"
    changes = ", ".join(
        f"{name} = CASE WHEN {longer} THEN excluded.{name} ELSE suppression.{name} END"
        for name in ("reason", "bounce_class", "added_at", "expires_at", "source_event", "note")
    )
    return int(
        con.execute(
            f"INSERT INTO suppression ({COLUMNS}) {select} "
            "QUALIFY row_number() OVER (PARTITION BY recipient_hash, tenant "
            "ORDER BY expires_at DESC NULLS FIRST, added_at) = 1 "
            f"ON CONFLICT (recipient_hash, tenant) DO UPDATE SET {changes}, "
            "address = coalesce(excluded.address, suppression.address) "
            "WHERE suppression.expires_at IS NOT NULL OR excluded.address IS NOT NULL"
        ).fetchall()[0][0]
    )


def _listed(names: Iterable[str]) -> str:
    """SQL: the names as literals."""
    quoted = (name.replace("'", "''") for name in sorted(names))
    return ", ".join(f"'{name}'" for name in quoted)
