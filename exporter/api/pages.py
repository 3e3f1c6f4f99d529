"""Lists as answers: a page at a time, in the format that the client asked for.

JSON is what the console and the command line read; NDJSON, CSV and Parquet are for other programs, with the same rows.
In the latter two nested objects become columns: `delivery_rate.value` is `delivery_rate_value`. The next page is named
in a `Link` header (RFC 8288), whatever the format.
"""

from __future__ import annotations

import csv
import io
import tempfile
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
import orjson
from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mta.events.errors import SettingsError

__all__ = ["FORMATS", "Format", "Paged", "as_csv", "as_ndjson", "chosen_format", "flat", "listed", "next_link"]

Format = Literal["json", "ndjson", "csv", "parquet"]
FORMATS: Mapping[Format, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
"""Formats and their media types; `Accept` chooses one where `format` does not."""


class Paged(BaseModel):
    """Which page, in which format."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100_000, description="rows at most; `Link` names the next page")] = 10_000
    cursor: Annotated[str | None, Field(max_length=512, description="from the `Link` of the page before")] = None
    format: Annotated[Format | None, Query(description="else as `Accept` says, else JSON")] = None


def listed(request: Request, rows: Sequence[dict[str, Any]], page: Paged) -> Response:
    """One page of rows that are all at hand."""
    begin = _offset(page.cursor)
    shown = rows[begin : begin + page.limit]
    headers = {}
    if begin + page.limit < len(rows):
        headers["Link"] = next_link(request, _cursor(begin + page.limit))
    wanted = chosen_format(request, page.format)
    return Response(_ENCODERS[wanted](shown), headers={"Content-Type": FORMATS[wanted], **headers})


def chosen_format(request: Request, named: Format | None) -> Format:
    """The format asked for by name, else the first of ours that `Accept` lists."""
    if named is not None:
        return named
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    return next((name for kind in accepted for name, media in FORMATS.items() if media == kind), "json")


def next_link(request: Request, cursor: str) -> str:
    """The `Link` header of a page that another one follows."""
    return f'<{request.url.include_query_params(cursor=cursor).replace(scheme="", netloc="")}>; rel="next"'


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


_ENCODERS = {"json": _as_json, "ndjson": as_ndjson, "csv": as_csv, "parquet": _as_parquet}


def _cursor(offset: int) -> str:
    return urlsafe_b64encode(str(offset).encode()).decode().rstrip("=")


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        offset = int(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise SettingsError("the cursor is none of ours", where="cursor", remedy="take it from the Link") from error
    return max(0, offset)
