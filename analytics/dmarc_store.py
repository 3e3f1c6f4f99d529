"""Keeping DMARC, TLS and failure reports: staged as they are read, committed in one transaction with their input.

What is staged waits in files (`analytics/dmarc_staging.py`), so that reading a large report costs neither memory nor
anybody's time; the store's write lock is taken only for the commit. The commit decides, over whole sets of
reports:

1. an input that was taken in before brings nothing new; a report whose key *and* content are known is a duplicate;
2. a known key with other content is a revision: both are kept, and the most trustworthy one counts
   (whose carrier passed DMARC, which came whole, which came last; so a forger replaces nothing);
3. everything else is stored, and counted in true counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

from analytics.dmarc_staging import StagedRows
from analytics.store import Store

__all__ = ["DmarcStore"]

_DETAILS = ("record", "auth", "override", "tls_policy", "tls_failure", "failure")
_TEMPORARY = ("report", "input", "quarantine")
"""Tables whose staged rows are looked at before they are stored."""
_OWN = frozenset({"revision", "is_current"})
"""Columns that the commit decides."""
_COPIED = {"domain": "r.domain", "begin_at": "r.begin_at", "end_at": "r.end_at"}
"""Columns of `record` that are the report's."""

_RANK = (
    "CASE mail_auth WHEN 'pass' THEN 0 WHEN 'unknown' THEN 1 WHEN 'none' THEN 2 ELSE 3 END, "
    "CASE outcome WHEN 'ok' THEN 0 ELSE 1 END, received_at DESC, report_id DESC"
)
_FRESH = """
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT s.report_id, s.report_key, s.kind, s.domain, s.mail_auth, s.records, s.messages, s.passed
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
WITH believed AS (FROM fresh WHERE mail_auth IN ('pass', 'unknown'))
SELECT name, label, sum(value) FROM (
    SELECT 'reports' AS name, kind AS label, count(*) AS value FROM fresh GROUP BY kind
    UNION ALL SELECT 'messages', 'pass', sum(passed) FROM believed WHERE kind = 'aggregate'
    UNION ALL SELECT 'messages', 'fail', sum(messages - passed) FROM believed WHERE kind = 'aggregate'
    UNION ALL SELECT 'sessions', 'success', sum(passed) FROM believed WHERE kind = 'tls'
    UNION ALL SELECT 'sessions', 'failure', sum(messages - passed) FROM believed WHERE kind = 'tls'
    UNION ALL SELECT 'forged', kind, count(*) FROM fresh WHERE mail_auth IN ('fail', 'none') GROUP BY kind
    UNION ALL SELECT 'quarantined', reason, count(*) FROM new_quarantine GROUP BY reason
    UNION ALL SELECT 'duplicates', '', (SELECT count(*) FROM staged_report) - (SELECT count(*) FROM fresh)
) WHERE value > 0 GROUP BY ALL
ON CONFLICT (name, label) DO UPDATE SET value = counter.value + excluded.value
"""


class DmarcStore:
    """The reports' corner of the store. Each object is for one user; several may be at work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._con = store.cursor()
        self._staged = StagedRows(store.path.parent, _columns(self._con))
        with store.alone():
            self._drop_strays()

    def stage(self, table: str, columns: bytes, first_id: int) -> None:
        """Rows to be stored at the next commit: a JSON object with a list for each column."""
        self._staged.add(table, columns, first_id)

    def commit_reports(self) -> dict[str, int]:
        """Store what is staged, all or nothing; what was counted, after the commit."""
        try:
            self._staged.flush()
            with self._store.alone(), self._memory_given_back():
                try:
                    self._judge()
                    self._store_slices()
                    with self._transaction():
                        return self._apply()
                except BaseException:
                    with suppress(duckdb.Error):
                        self._drop_strays()
                    raise
        finally:
            self._staged.clear()

    def close(self) -> None:
        """Give the connection back; what is staged and not committed is forgotten."""
        self._staged.close()
        self._con.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._con.begin()
        try:
            yield
            self._con.commit()
        except BaseException:
            with suppress(duckdb.TransactionException):
                self._con.rollback()
            raise

    @contextmanager
    def _memory_given_back(self) -> Iterator[None]:
        """A slice's memory goes back to the system after each, so that a report may have any number of slices."""
        self._con.execute("SET allocator_bulk_deallocation_flush_threshold = '1MB'")
        try:
            yield
        finally:
            with suppress(duckdb.Error):
                self._con.execute("RESET allocator_bulk_deallocation_flush_threshold")

    def _judge(self) -> None:
        """Make temporary tables of what is new; nothing is stored yet."""
        con = self._con
        for table in _TEMPORARY:
            con.execute(f"CREATE OR REPLACE TEMP TABLE staged_{table} AS {self._staged.select(table)}")
        con.execute(_NEW_INPUTS)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE new_quarantine AS SELECT * FROM staged_quarantine "
            "WHERE (input_hash, source) IN (SELECT input_hash, source FROM new_input)"
        )
        con.execute(_FRESH)

    def _store_slices(self) -> None:
        """Tables with more staged than one slice, each slice in a transaction of its own, to bound memory.

        Until their report is stored they are strays, which no question sees and which the next user removes.
        """
        for table in _DETAILS:
            slices = self._staged.selects(table)
            if len(slices) > 1:
                for select in slices:
                    self._insert_details(table, select)

    def _apply(self) -> dict[str, int]:
        con = self._con
        for table in _DETAILS:
            slices = self._staged.selects(table)
            if len(slices) == 1:
                self._insert_details(table, slices[0])
        con.execute(
            "INSERT INTO dmarc.report BY NAME SELECT *, 0 AS revision, true AS is_current FROM staged_report "
            "WHERE report_id IN (SELECT report_id FROM fresh)"
        )
        con.execute("INSERT INTO dmarc.input BY NAME FROM new_input")
        con.execute("INSERT INTO dmarc.quarantine BY NAME FROM new_quarantine")
        con.execute(_REVISIONS)
        con.execute(_COUNTERS)
        return self._counts()

    def _insert_details(self, table: str, select: str) -> None:
        copied = "".join(f", {value} AS {name}" for name, value in _COPIED.items()) if table == "record" else ""
        self._con.execute(
            f"INSERT INTO dmarc.{table} BY NAME SELECT s.*{copied} FROM ({select}) s "
            "JOIN staged_report r USING (report_id) WHERE report_id IN (SELECT report_id FROM fresh)"
        )

    def _drop_strays(self) -> None:
        """Details without their report: a commit was killed between its slices and its end."""
        [(highest,)] = self._con.execute("SELECT coalesce(max(report_id), 0) FROM dmarc.report").fetchall()
        for table in _DETAILS:
            self._con.execute(f"DELETE FROM dmarc.{table} WHERE report_id > ?", [highest])

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


def _columns(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The columns that are staged of each table, with their types."""
    rows = con.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'dmarc' "
        "ORDER BY table_name, column_index"
    ).fetchall()
    columns: dict[str, dict[str, str]] = {table: {} for table in (*_TEMPORARY, *_DETAILS)}
    for table, name, sql_type in rows:
        if table in columns and name not in (_OWN | _COPIED.keys() if table == "record" else _OWN):
            columns[table][name] = sql_type
    return columns
