"""Keeping DMARC, TLS and failure reports: staged as they are read, committed in one transaction with their input.

Staging happens in temporary tables of a connection of its own, so that reading a large report holds up nobody; the
store's write lock is taken only for the commit. The commit decides, over whole sets of reports:

1. an input that was taken in before brings nothing new; a report whose key *and* content are known is a duplicate;
2. a known key with other content is a revision: both are kept, and the most trustworthy one counts
   (whose carrier passed DMARC, which came whole, which came last; so a forger replaces nothing);
3. everything else is stored, and counted in true counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import duckdb

from analytics.store import Store

__all__ = ["DmarcStore"]

_DETAILS = ("record", "auth", "override", "tls_policy", "tls_failure", "failure")
_STAGED = ("report", *_DETAILS, "input", "quarantine")
_ID_BLOCK = 1_000
"""The increment of the sequence."""
_COPIED = ("domain", "begin_at", "end_at")
"""Columns of `record` that are the report's."""

_RANK = (
    "CASE mail_auth WHEN 'pass' THEN 0 WHEN 'unknown' THEN 1 WHEN 'none' THEN 2 ELSE 3 END, "
    "CASE outcome WHEN 'ok' THEN 0 ELSE 1 END, received_at DESC, report_id DESC"
)
_FRESH = """
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT s.report_id, s.report_key, s.kind, s.domain, s.records, s.messages, s.passed
FROM staged_report s
WHERE NOT EXISTS (FROM dmarc.report r WHERE r.report_key = s.report_key AND r.content_hash = s.content_hash)
QUALIFY row_number() OVER (PARTITION BY s.report_key, s.content_hash ORDER BY s.report_id) = 1
"""
_NEW_INPUTS = """
CREATE OR REPLACE TEMP TABLE new_input AS
SELECT * FROM staged_input s WHERE NOT EXISTS (FROM dmarc.input i WHERE i.input_hash = s.input_hash)
QUALIFY row_number() OVER (PARTITION BY input_hash) = 1
"""
_REVISIONS = f"""
UPDATE dmarc.report SET revision = n.revision, is_current = n.best = 1
FROM (
    SELECT report_id, row_number() OVER (PARTITION BY report_key ORDER BY report_id) - 1 AS revision,
        row_number() OVER (PARTITION BY report_key ORDER BY {_RANK}) AS best
    FROM dmarc.report WHERE report_key IN (SELECT report_key FROM fresh)
) n
WHERE report.report_id = n.report_id AND (report.revision <> n.revision OR report.is_current <> (n.best = 1))
"""
_COUNTERS = """
INSERT INTO dmarc.counter
SELECT name, label, sum(value) FROM (
    SELECT 'reports' AS name, kind AS label, count(*) AS value FROM fresh GROUP BY kind
    UNION ALL SELECT 'messages', 'pass', sum(passed) FROM fresh WHERE kind = 'aggregate'
    UNION ALL SELECT 'messages', 'fail', sum(messages - passed) FROM fresh WHERE kind = 'aggregate'
    UNION ALL SELECT 'sessions', 'success', sum(passed) FROM fresh WHERE kind = 'tls'
    UNION ALL SELECT 'sessions', 'failure', sum(messages - passed) FROM fresh WHERE kind = 'tls'
    UNION ALL SELECT 'quarantined', reason, count(*) FROM new_quarantine GROUP BY reason
    UNION ALL SELECT 'duplicates', '', (SELECT count(*) FROM staged_report) - (SELECT count(*) FROM fresh)
) WHERE value > 0 GROUP BY ALL
ON CONFLICT (name, label) DO UPDATE SET value = counter.value + excluded.value
"""


class DmarcStore:
    """The reports' corner of the store. Each object is for one user; several may be at work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._con = con = store.cursor()
        self._ids = iter(range(0))
        for table in _STAGED:
            con.execute(f"CREATE OR REPLACE TEMP TABLE staged_{table} AS FROM dmarc.{table} LIMIT 0")
        for column in _COPIED:
            con.execute(f"ALTER TABLE staged_record DROP COLUMN {column}")
        self._appenders = {table: con.appender(f"staged_{table}") for table in _STAGED}

    def next_report_id(self) -> int:
        """An id that no other report has or will have."""
        found = next(self._ids, None)
        if found is None:
            start: int = self._con.execute("SELECT nextval('dmarc.report_block')").fetchall()[0][0]
            self._ids = iter(range(start, start + _ID_BLOCK))
            found = next(self._ids)
        return found

    def stage(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows to be stored at the next commit, in the order of the table's columns."""
        append = self._appenders[table].append_row
        for row in rows:
            append(*row)

    def drop(self, report_id: int) -> None:
        """Forget what was staged of a report."""
        self._flush()
        for table in ("report", *_DETAILS):
            self._con.execute(f"DELETE FROM staged_{table} WHERE report_id = ?", [report_id])

    def commit_reports(self) -> dict[str, int]:
        """Store what is staged, all or nothing; what was counted, after the commit."""
        self._flush()
        con = self._con
        with self._store.alone():
            con.begin()
            try:
                counts = self._apply()
                con.commit()
            except BaseException:
                with suppress(duckdb.TransactionException):
                    con.rollback()
                raise
            finally:
                self._clear()
        return counts

    def close(self) -> None:
        """Give the connection back; what is staged and not committed is forgotten."""
        self._con.close()

    def _flush(self) -> None:
        for appender in self._appenders.values():
            appender.flush()

    def _clear(self) -> None:
        for table in _STAGED:
            self._con.execute(f"TRUNCATE staged_{table}")

    def _apply(self) -> dict[str, int]:
        con = self._con
        con.execute(_NEW_INPUTS)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE new_quarantine AS SELECT * FROM staged_quarantine "
            "WHERE (input_hash, source) IN (SELECT input_hash, source FROM new_input)"
        )
        con.execute(_FRESH)
        con.execute("INSERT INTO dmarc.report FROM staged_report WHERE report_id IN (SELECT report_id FROM fresh)")
        con.execute(
            "INSERT INTO dmarc.record SELECT s.*, r.domain, r.begin_at, r.end_at FROM staged_record s "
            "JOIN staged_report r USING (report_id) WHERE report_id IN (SELECT report_id FROM fresh)"
        )
        for table in _DETAILS[1:]:
            con.execute(
                f"INSERT INTO dmarc.{table} FROM staged_{table} WHERE report_id IN (SELECT report_id FROM fresh)"
            )
        con.execute("INSERT INTO dmarc.input FROM new_input")
        con.execute("INSERT INTO dmarc.quarantine FROM new_quarantine")
        con.execute(_REVISIONS)
        con.execute(_COUNTERS)
        return self._counts()

    def _counts(self) -> dict[str, int]:
        row = self._con.execute(
            "SELECT (SELECT count(*) FROM staged_input), count(*), "
            "(SELECT count(*) FROM staged_report) - count(*), "
            "(SELECT count(*) FROM dmarc.report WHERE revision > 0 AND report_id IN (SELECT report_id FROM fresh)), "
            "(SELECT count(*) FROM staged_quarantine), "
            "coalesce(sum(records), 0)::BIGINT, coalesce(sum(messages), 0)::BIGINT FROM fresh"
        ).fetchall()[0]
        names = ("mails", "reports", "duplicates", "revisions", "quarantined", "records", "messages")
        return dict(zip(names, row, strict=True))
