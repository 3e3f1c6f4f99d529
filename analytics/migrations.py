"""Bringing a database file to the schema of this code: forwards only, a step a version, each in a transaction.

A store that a newer version wrote is refused rather than guessed at. To change the schema, append a step; a step that
has been released is never edited.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import duckdb

from analytics import steps
from analytics.errors import SchemaTooNew
from analytics.lifecycle import FACTS, create_unit_tables, hash_of_message_id, merged, projection
from analytics.profile import PROFILE
from analytics.recipients import COLUMNS, of_unit
from analytics.rollup import create_rollup_table

__all__ = ["SCHEMA", "migrate"]

Step = Callable[[duckdb.DuckDBPyConnection], None]


def _script(name: str) -> Step:
    """A step that runs `analytics/schema/<name>`."""

    def run(con: duckdb.DuckDBPyConnection) -> None:
        con.execute(resources.files("analytics").joinpath(f"schema/{name}").read_text("utf8"))

    return run


def _first(con: duckdb.DuckDBPyConnection) -> None:
    """Schema 1. The tables of units and figures are written by the code that defines their columns."""
    _script("0001_first.sql")(con)
    con.execute(create_unit_tables())
    con.execute(create_rollup_table())


def _incidents(con: duckdb.DuckDBPyConnection) -> None:
    """Schema 3. The watch over a store that is there already begins with what that store holds."""
    _script("0003_incidents.sql")(con)
    steps.fill(con)


def _hops(con: duckdb.DuckDBPyConnection) -> None:
    """Schema 5. What stored events tell of the new columns is filled in; a new store has them from the beginning."""
    _script("0005_hops.sql")(con)
    for table in ("unit", "message"):
        for fact in FACTS:
            con.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {fact.name} {fact.sql_type}")
        for failure in ("terminal", "last_deferral", "oob"):
            con.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {failure}.template UBIGINT")
    con.execute(
        "UPDATE unit SET deferred_at = told.deferred_at, held_up_at = told.held_up_at, source_ip = told.source_ip FROM "
        f"({merged(projection('event'))}) told WHERE told.unit_id = unit.unit_id"
    )


def _parts(con: duckdb.DuckDBPyConnection) -> None:
    """Schema 6. Recipients that are taken back wait in `correction`, which has the columns of a flat row."""
    _script("0006_parts.sql")(con)
    columns = ", ".join(f"{column.name} {column.sql_type}" for column in COLUMNS)
    con.execute(
        f"CREATE TABLE correction (n TINYINT NOT NULL, version UTINYINT NOT NULL, profile UINTEGER NOT NULL, {columns})"
    )
    con.execute("ALTER TABLE unit ADD COLUMN profile UINTEGER")
    for table in ("unit", "message"):
        con.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS message_hash UBIGINT")
        con.execute(f"UPDATE {table} SET message_hash = {hash_of_message_id('message_id')} WHERE message_hash IS NULL")
    con.execute(f"UPDATE unit SET profile = {of_unit(PROFILE)}")


STEPS: tuple[Step, ...] = (
    _first,
    _script("0002_dmarc.sql"),
    _incidents,
    _script("0004_suppression.sql"),
    _hops,
    _parts,
    _script("0007_providers.sql"),
    _script("0008_dmarc_trust.sql"),
    _script("0009_retention.sql"),
)
"""Step n brings the schema from n to n + 1."""

SCHEMA = len(STEPS)
"""The schema version that this code reads and writes."""


def migrate(con: duckdb.DuckDBPyConnection, path: Path, now: int) -> None:
    """Take the steps that the file has not taken yet. SchemaTooNew names both versions."""
    [(exists,)] = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'schema_version'").fetchall()
    version = con.execute("SELECT max(version) FROM schema_version").fetchall()[0][0] if exists else 0
    if version > SCHEMA:
        raise SchemaTooNew(
            f"the store has schema {version}, this version knows {SCHEMA}",
            where=str(path),
            remedy="run the newer mtascope that wrote it",
        )
    for number in range(version, SCHEMA):
        con.begin()
        STEPS[number](con)
        con.execute("INSERT INTO schema_version VALUES (?, make_timestamp(?))", [number + 1, now])
        con.commit()
