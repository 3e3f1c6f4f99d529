"""Lists as answers: a page at a time, in the format that the client asked for.

JSON is what the console and the command line read; the other formats (exporter/formats.py) are for programs. The next
page is named in a `Link` header (RFC 8288), whatever the format; `Accept` chooses the format where `format` does not.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from exporter.formats import ENCODERS, MEDIA_TYPES, Format
from mta.events.errors import SettingsError

__all__ = ["Paged", "listed", "page_of"]


class Paged(BaseModel):
    """Which page, in which format."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100_000, description="rows at most; `Link` names the next page")] = 10_000
    cursor: Annotated[str | None, Field(max_length=512, description="from the `Link` of the page before")] = None
    format: Annotated[Format | None, Query(description="else as `Accept` says, else JSON")] = None


def listed(
    request: Request,
    found: Sequence[Any],
    page: Paged,
    rows: Callable[[Sequence[Any]], Sequence[Mapping[str, Any]]] | None = None,
) -> Response:
    """One page of what was found, all of which is at hand; `rows` makes rows of it, only of what is shown."""
    begin = _offset(page.cursor)
    shown = found[begin : begin + page.limit]
    following = _cursor(begin + page.limit) if begin + page.limit < len(found) else None
    return page_of(request, shown if rows is None else rows(shown), page.format, following)


def page_of(
    request: Request, rows: Sequence[Mapping[str, Any]], named: Format | None, following: str | None
) -> Response:
    """These rows in the format asked for; `following` is the cursor of the page that comes next, if one does."""
    wanted = _chosen_format(request, named)
    headers = {"Link": _next_link(request, following)} if following is not None else {}
    return Response(ENCODERS[wanted](rows), headers={"Content-Type": MEDIA_TYPES[wanted], **headers})


def _chosen_format(request: Request, named: Format | None) -> Format:
    """The format asked for by name, else the first of ours that `Accept` lists."""
    if named is not None:
        return named
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    return next((name for kind in accepted for name, media in MEDIA_TYPES.items() if media == kind), "json")


def _next_link(request: Request, cursor: str) -> str:
    """The `Link` header of a page that another one follows."""
    return f'<{request.url.include_query_params(cursor=cursor).replace(scheme="", netloc="")}>; rel="next"'


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
