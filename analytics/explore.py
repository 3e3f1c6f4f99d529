"""Questions in SQL, from people: one SELECT over the views of analytics/views.py, and nothing else.

The text is parsed before it runs: it must be a single SELECT that names only those views, its own CTEs, and table
functions that read nothing. It runs in a read-only transaction, for a limited time, and answers a limited number of
rows. So it can neither read a file nor another table, nor write anything.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import orjson

from analytics.errors import QueryRefused, QueryTooLong
from analytics.store import Store
from analytics.views import VIEWS, definitions

__all__ = ["Table", "check", "explore"]

_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
_REFUSED_FUNCTIONS = frozenset(
    {"current_setting", "getenv", "getvariable", "nextval", "currval", "setseed", "write_log"}
)
_CTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class Table:
    """An answer: names and SQL types of its columns, its rows, and whether there were more than it may hold."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: bool


def explore(store: Store, sql: str, *, limit: int = 10_000, seconds: float = 30.0) -> Table:
    """The first `limit` rows of a SELECT. Raises QueryRefused, QueryTooLong, StoreError."""
    con = store.cursor()
    try:
        check(con, sql)
        for name, select in definitions(store).items():
            con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {store.bound(con, select)}")
        con.execute("BEGIN TRANSACTION READ ONLY")
        with _limited(con, seconds):
            result = con.execute(sql)
            rows = result.fetchmany(limit + 1)
        names, types = zip(*((column[0], str(column[1])) for column in result.description or ()), strict=True)
        return Table(names, types, rows[:limit], cut=len(rows) > limit)
    except duckdb.InterruptException as error:
        raise QueryTooLong(f"took longer than {seconds:g} s", remedy="ask about less time or fewer columns") from error
    except duckdb.Error as error:
        raise QueryRefused(str(error).partition("\n")[0], remedy="see docs/sql.md for the columns") from error
    finally:
        con.close()


def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """QueryRefused unless the text is one SELECT over the views."""
    if len(sql) > _LONGEST:
        raise QueryRefused("the text is too long", remedy=f"at most {_LONGEST} characters")
    [(text,)] = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    parsed = orjson.loads(text)
    if parsed["error"]:
        raise QueryRefused(parsed["error_message"], remedy="write one SELECT")
    if len(parsed["statements"]) != 1:
        raise QueryRefused("several statements", remedy="write one SELECT")
    stored = {row[0].lower() for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    nodes = list(_nodes(parsed["statements"]))
    own = {name for node in nodes for name in _ctes(node)}
    for name in own:
        if not _CTE.fullmatch(name) or name in stored or name in VIEWS:
            raise QueryRefused(f"{name[:64]!r} cannot name a part of the query", remedy="choose another name")
    for node in nodes:
        _check_node(node, own)


def _check_node(node: dict[str, Any], own: set[str]) -> None:
    kind = node.get("type")
    if kind == "BASE_TABLE":
        name = str(node["table_name"]).lower()
        if node.get("schema_name") or node.get("catalog_name") or name not in own | VIEWS.keys():
            raise QueryRefused(f"there is no view {node['table_name'][:64]!r}", remedy="ask " + ", ".join(VIEWS))
    elif kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in _TABLE_FUNCTIONS:
            raise QueryRefused(f"{name[:64]!r} is no source of rows here", remedy="ask " + ", ".join(VIEWS))
    elif kind == "SHOW_REF":
        raise QueryRefused("only SELECT is answered", remedy="docs/sql.md has the columns")
    if str(node.get("function_name", "")).lower() in _REFUSED_FUNCTIONS:
        raise QueryRefused(f"{node['function_name']!r} is not answered here")


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _ctes(node: dict[str, Any]) -> list[str]:
    listed = node.get("cte_map")
    return [str(entry["key"]).lower() for entry in listed["map"]] if isinstance(listed, dict) else []


class _limited:  # noqa: N801  (reads as a word where it is used)
    """Interrupts what a connection does after some seconds."""

    def __init__(self, con: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._timer = threading.Timer(seconds, con.interrupt)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
