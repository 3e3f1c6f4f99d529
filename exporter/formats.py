"""Rows as programs want them: JSON, NDJSON, CSV or Parquet, with the same content.

In CSV and Parquet nested objects become columns: `delivery_rate.value` is `delivery_rate_value`.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb
import orjson

__all__ = ["ENCODERS", "MEDIA_TYPES", "Format", "as_csv", "as_ndjson", "flat"]

Format = Literal["json", "ndjson", "csv", "parquet"]
MEDIA_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Nested objects as columns; lists as JSON text."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            columns |= {f"{name}_{inner}": held for inner, held in flat(value).items()}
        else:
            columns[name] = orjson.dumps(value).decode() if isinstance(value, list | tuple) else value
    return columns


def as_ndjson(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A JSON object a line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS) for row in rows)


def as_csv(rows: Sequence[Mapping[str, Any]], *, head: bool = True) -> bytes:
    """RFC 4180, with a header. Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = [flat(row) for row in rows]
    if columns and head:
        writer.writerow(columns[0])
    writer.writerows([_harmless(value) for value in row.values()] for row in columns)
    return out.getvalue().encode()


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return value


def _as_json(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return orjson.dumps(rows, option=orjson.OPT_NON_STR_KEYS)


def _as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Through files, because that is what the writer knows; types are those of JSON."""
    with tempfile.TemporaryDirectory(prefix="mtascope-") as folder, duckdb.connect() as con:
        source, target = Path(folder, "rows.ndjson"), Path(folder, "rows.parquet")
        source.write_bytes(as_ndjson(flat(row) for row in rows) or b"{}\n")
        con.read_json(str(source), format="newline_delimited", sample_size=-1).write_parquet(str(target))
        return target.read_bytes()


ENCODERS: Mapping[Format, Callable[[Sequence[Mapping[str, Any]]], bytes]] = {
    "json": _as_json,
    "ndjson": as_ndjson,
    "csv": as_csv,
    "parquet": _as_parquet,
}
