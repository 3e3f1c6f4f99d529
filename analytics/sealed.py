"""What loading must know of sealed history: what came before, and the recipients that new facts are about.

Sealed rows never change. A late event or report for a sealed recipient *revives* it: its row is taken back (a row with
the weight -1 goes to `correction`) and the recipient stands in `unit` again, where the merge finds it as if it had
never left; sealing takes it out again later, under the next `version`. So the figures move by what the late fact
changes, and by nothing else.

All of this happens only for facts that are older than the newest sealed one; today's mail never reads a part.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from analytics.journeys import unpacked, unpacked_events
from analytics.lifecycle import FACTS, hash_of_message_id, merged
from analytics.parts import Parts
from analytics.recipients import COLUMNS, structured
from analytics.retention import kept_since
from mta.events.instants import DAY, MINUTE

__all__ = ["Sealed"]

_REACH = 30 * DAY
"""How far from a late fact the rest of its message is looked for: twice what the longest queues keep mail."""


_LATE = 4
"""How many restatement windows back a report's send is looked for."""


class Sealed:
    """Looks into the parts on behalf of the loader, on its connection and in its transaction."""

    def __init__(self, con: duckdb.DuckDBPyConnection, parts: Parts) -> None:
        self._con = con
        self._parts = parts
        self.columns: Mapping[str, str] = dict(
            con.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'event' AND NOT internal "
                "AND schema_name = 'main' ORDER BY column_index"
            ).fetchall()
        )
        """Columns of the table `event` and their types."""
        self.refresh()

    def refresh(self) -> None:
        """Read again how far history is sealed; after each sealing, and after a transaction was undone."""
        self.reaches = self._parts.sealed_to(self._con)
        """The newest instant of sealed history in microseconds; None where nothing is sealed."""
        self.forgot = kept_since(self._con, "mails")
        """The instant before which mail has been forgotten; None where none was."""

    def forget_known(self) -> None:
        """Take out of `keyed` (the loader's new events) what a part holds already, and what was kept and forgotten."""
        con = self._con
        if self.forgot is not None:
            con.execute("DELETE FROM keyed WHERE time < ?", [self.forgot])
        if self.reaches is None:
            return
        low, high = con.execute("SELECT min(time), max(time) FROM keyed WHERE time <= ?", [self.reaches]).fetchall()[0]
        rows = self._parts.relation(con, low, high + 1) if low is not None else None
        if rows is None:
            return
        same = f"message_key IN (SELECT message_key FROM keyed WHERE time <= {self.reaches})"
        con.execute(
            "DELETE FROM keyed WHERE event_id IN "
            f"(SELECT event_id FROM ({unpacked_events(rows, self.columns, f'len(events) > 0 AND {same}')}))"
        )

    def revive(self, relation: str) -> None:
        """Bring back into `unit` and `message` what rows of `relation` (unit rows) are about and a part holds."""
        con = self._con
        if self.reaches is None:
            return
        con.execute(
            "CREATE OR REPLACE TEMP TABLE missed AS SELECT unit_id, min(message_key) AS message_key, "
            f"min(least(created_at, first_event_at)) AS since FROM {relation} WHERE coalesce("
            f"least(created_at, first_event_at) <= make_timestamp({self.reaches}), true) GROUP BY unit_id"
        )
        if not con.execute("SELECT count(*) FROM missed").fetchall()[0][0]:
            return
        con.execute(
            "DELETE FROM missed WHERE unit_id IN "
            "(SELECT unit_id FROM unit WHERE unit_id IN (SELECT unit_id FROM missed))"
        )
        wanted, since = con.execute("SELECT count(*), epoch_us(min(since)) FROM missed").fetchall()[0]
        rows = self._parts.relation(con, None if since is None else since - _REACH, None) if wanted else None
        if rows is not None:
            self._bring_back(rows)

    def _bring_back(self, rows: str) -> None:
        con = self._con
        found = " UNION ".join(
            f"{unpacked(rows, ', kind, version')} WHERE {column} IN (SELECT {column} FROM missed) AND kind <> 'loose'"
            for column in ("unit_id", "message_key")
        )
        con.execute(f"CREATE OR REPLACE TEMP TABLE found AS {found}")
        con.execute(
            "CREATE OR REPLACE TEMP TABLE revived AS SELECT * FROM found WHERE kind = 'recipient' AND n = 1 "
            "AND unit_id NOT IN (SELECT unit_id FROM unit WHERE unit_id IN (SELECT unit_id FROM found)) "
            "QUALIFY row_number() OVER (PARTITION BY unit_id ORDER BY version DESC) = 1"
        )
        flat = ", ".join(column.name for column in COLUMNS)
        names = ", ".join(fact.name for fact in FACTS)
        con.execute(
            f"INSERT INTO correction (n, version, profile, {flat}) SELECT -1, version, profile, {flat} FROM revived"
        )
        con.execute(
            f"INSERT INTO unit (unit_id, profile, {names}) "
            f"SELECT unit_id, profile, {names} FROM ({structured('revived')})"
        )
        messages = structured("(SELECT * FROM found WHERE kind = 'message')")
        con.execute(
            f"INSERT INTO message (unit_id, {names}) SELECT unit_id, {names} FROM ({merged(messages)}) "
            "WHERE message_key NOT IN (SELECT message_key FROM message WHERE message_key IN "
            "(SELECT message_key FROM found))"
        )

    def find_sends(self, restate: int) -> bool:
        """Make `attributed` of reports that found no send in `unit` and were not sought here yet; False if of none.

        The same ladder as among recent mail: the unit that the return path names, the Message-ID, the newest delivery
        to the recipient. `restate` (microseconds) is how long a report may change the figures of its send; an older
        send is still named with the report (`late`), but its figures stay.
        """
        con = self._con
        since, wanted = con.execute(
            "SELECT epoch_us(min(time)), count(*) FROM feedback WHERE unit_id IS NULL AND NOT coalesce(sought, false)"
        ).fetchall()[0]
        if not wanted:
            return False
        rows = self._parts.relation(con, since - _LATE * restate, None)
        if rows is not None:
            con.execute(_FIND_SENDS.format(rows=rows), {"restate": restate, "tolerance": 5 * MINUTE})
            con.execute(
                "UPDATE feedback SET unit_id = a.unit_id, matched_by = 'late' FROM attributed a "
                "WHERE feedback.event_id = a.event_id AND a.late"
            )
            con.execute("DELETE FROM attributed WHERE late")
        con.execute("UPDATE feedback SET sought = true WHERE unit_id IS NULL AND NOT coalesce(sought, false)")
        return rows is not None


_ENDED = "make_timestamp(epoch_us(injected_at) + terminal_moment)"
_FIND_SENDS = f"""
    CREATE OR REPLACE TEMP TABLE attributed AS
    WITH pending AS (
        SELECT * FROM feedback WHERE unit_id IS NULL AND NOT coalesce(sought, false)
    ), send AS (
        SELECT unit_id, message_hash, recipient_hash, terminal_outcome, {_ENDED} AS ended FROM {{rows}}
        WHERE n = 1 AND kind = 'recipient'
          AND (unit_id IN (SELECT original_unit FROM pending WHERE original_unit IS NOT NULL)
            OR message_hash IN (SELECT {hash_of_message_id("original_message_id")} FROM pending
                                WHERE original_message_id IS NOT NULL)
            OR recipient_hash IN (SELECT recipient_hash FROM pending WHERE recipient_hash IS NOT NULL
                                  AND original_message_id IS NULL AND original_unit IS NULL))
    ), candidates AS (
        SELECT p.event_id, s.unit_id, 'token' AS matched_by, 0 AS rank, s.ended
        FROM pending p JOIN send s ON s.unit_id = p.original_unit
        UNION ALL
        SELECT p.event_id, s.unit_id, 'message_id', 1, s.ended
        FROM pending p JOIN send s ON s.message_hash = {hash_of_message_id("p.original_message_id")}
        WHERE p.original_unit IS NULL AND (p.recipient_hash IS NULL OR s.recipient_hash = p.recipient_hash)
        UNION ALL
        SELECT p.event_id, s.unit_id, 'recipient', 2, s.ended
        FROM pending p JOIN send s ON s.recipient_hash = p.recipient_hash
        WHERE p.original_unit IS NULL AND p.original_message_id IS NULL AND s.terminal_outcome = 'delivered'
          AND s.ended <= p.time + to_microseconds($tolerance) AND s.ended >= p.time - to_microseconds($restate)
    )
    SELECT p.event_id, p.time, p.type, p.bounce_class, p.severity, p.template_id, c.unit_id, c.matched_by,
           coalesce(c.ended < p.time - to_microseconds($restate), false) AS late
    FROM pending p JOIN candidates c USING (event_id)
    QUALIFY row_number() OVER (PARTITION BY p.event_id ORDER BY c.rank, c.ended DESC, c.unit_id) = 1
"""
