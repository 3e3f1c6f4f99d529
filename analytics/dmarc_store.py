"""Keeping DMARC, TLS and failure reports: staged as they are read, committed in one transaction with their input.

What is staged waits in files, rows by the column (see `dmarc/rows.py`), so that reading a large report costs neither
memory nor anybody's time; the store's write lock is taken only for the commit. The commit decides, over whole sets of
reports:

1. an input that was taken in before brings nothing new; a report whose key *and* content are known is a duplicate;
2. a known key with other content is a revision: both are kept, and the most trustworthy one counts
   (whose carrier passed DMARC, which came whole, which came last; so a forger replaces nothing);
3. everything else is stored, and counted in true counters.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import duckdb

from analytics.store import Store

__all__ = ["DmarcStore"]

_DETAILS = ("record", "auth", "override", "tls_policy", "tls_failure", "failure")
_TEMPORARY = ("report", "input", "quarantine")
"""Tables whose staged rows are looked at before they are stored."""
_OWN = frozenset({"revision", "is_current"})
"""Columns that the commit decides."""
_COPIED = {"domain": "r.domain", "begin_at": "r.begin_at", "end_at": "r.end_at"}
"""Columns of `record` that are the report's."""

_OBJECT_SIZE = 16 * 1024 * 1024
"""Bytes of one staged line at most; DuckDB sets aside twice as much."""

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
        self._folder = _staging_folder(store.path.parent)
        self._files: dict[str, BinaryIO] = {}
        self._columns = {table: _columns(self._con, table) for table in (*_TEMPORARY, *_DETAILS)}

    def stage(self, table: str, columns: bytes, first_id: int) -> None:
        """Rows to be stored at the next commit: a JSON object with a list for each column."""
        file = self._files.get(table)
        if file is None:
            file = self._files[table] = (self._folder / f"{table}.ndjson").open("wb")
        file.write(b'{"first_id":%d,%b\n' % (first_id, columns[1:]))

    def commit_reports(self) -> dict[str, int]:
        """Store what is staged, all or nothing; what was counted, after the commit."""
        con = self._con
        try:
            for file in self._files.values():
                file.flush()
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
        self._clear()
        self._con.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _clear(self) -> None:
        for file in self._files.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)
        self._files.clear()

    def _apply(self) -> dict[str, int]:
        con = self._con
        for table in _TEMPORARY:
            con.execute(f"CREATE OR REPLACE TEMP TABLE staged_{table} AS {self._staged(table)}")
        con.execute(_NEW_INPUTS)
        con.execute(
            "CREATE OR REPLACE TEMP TABLE new_quarantine AS SELECT * FROM staged_quarantine "
            "WHERE (input_hash, source) IN (SELECT input_hash, source FROM new_input)"
        )
        con.execute(_FRESH)
        for table in _DETAILS:
            if table in self._files:
                self._insert_details(table)
        con.execute(
            "INSERT INTO dmarc.report BY NAME SELECT *, 0 AS revision, true AS is_current FROM staged_report "
            "WHERE report_id IN (SELECT report_id FROM fresh)"
        )
        con.execute("INSERT INTO dmarc.input BY NAME FROM new_input")
        con.execute("INSERT INTO dmarc.quarantine BY NAME FROM new_quarantine")
        con.execute(_REVISIONS)
        con.execute(_COUNTERS)
        return self._counts()

    def _insert_details(self, table: str) -> None:
        copied = "".join(f", {value} AS {name}" for name, value in _COPIED.items()) if table == "record" else ""
        self._con.execute(
            f"INSERT INTO dmarc.{table} BY NAME SELECT s.*{copied} FROM ({self._staged(table)}) s "
            "JOIN staged_report r USING (report_id) WHERE report_id IN (SELECT report_id FROM fresh)"
        )

    def _staged(self, table: str) -> str:
        """A SELECT of the staged rows. Ids are staged from 0; the highest that is stored is added."""
        columns = self._columns[table]
        if table not in self._files:
            nothing = ", ".join(f"NULL::{sql_type} AS {name}" for name, sql_type in columns.items())
            return f"SELECT {nothing} LIMIT 0"
        types = ", ".join(f"{name}: '{_carried(sql_type)}[]'" for name, sql_type in columns.items())
        values = ", ".join(_value(name, sql_type) for name, sql_type in columns.items())
        path = self._files[table].name.replace("'", "''")
        return (
            f"SELECT {values} FROM read_json('{path}', format = 'newline_delimited', "
            f"maximum_object_size = {_OBJECT_SIZE}, columns = {{first_id: 'BIGINT', {types}}})"
        )

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


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns that are staged, with their types."""
    left_out = _OWN | (_COPIED.keys() if table == "record" else frozenset())
    rows = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'dmarc' AND table_name = ? "
        "ORDER BY column_index",
        [table],
    ).fetchall()
    return {name: sql_type for name, sql_type in rows if name not in left_out}


def _carried(sql_type: str) -> str:
    return "VARCHAR" if sql_type == "BLOB" else sql_type


def _value(name: str, sql_type: str) -> str:
    if name == "report_id":
        return "(SELECT coalesce(max(report_id), 0) + 1 FROM dmarc.report) + first_id + unnest(report_id) AS report_id"
    return f"from_base64(unnest({name})) AS {name}" if sql_type == "BLOB" else f"unnest({name}) AS {name}"


def _staging_folder(beside: Path) -> Path:
    """A folder for this user's files. The store has one owner, so what other processes left there is nobody's."""
    root = beside / "staging"
    root.mkdir(mode=0o700, exist_ok=True)
    mine = f"{os.getpid()}-"
    for left in root.iterdir():
        if not left.name.startswith(mine):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=mine, dir=root))
