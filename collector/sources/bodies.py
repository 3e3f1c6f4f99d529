"""Reading a request's body within bounds, and cutting it into records."""

from __future__ import annotations

import asyncio
import base64
import hmac
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import orjson
from pydantic import SecretStr
from starlette.requests import ClientDisconnect, Request

from collector.framing.compression import Decoder, Zstd
from collector.framing.lines import Lines, LineSplitter, Rest
from collector.framing.parcels import Parcel, Shape
from collector.quarantine import KEPT_BYTES
from collector.sources.budget import Reservation
from mta.events.errors import MtascopeError, ParseError

__all__ = ["BodyLimits", "BodyRefused", "is_authorised", "line_parcels", "read_body", "record_parcels"]

_STEP = 256 << 10
_SLOW = 10
"""A body may take this many times the longest pause in it."""


class BodyRefused(MtascopeError):
    """A body that will not be accepted: the HTTP status that says so, and the reason for counters."""

    def __init__(self, status: int, what: str, reason: str) -> None:
        super().__init__(what)
        self.status = status
        self.reason = reason


class BodyLimits:
    """Bytes of a body as it came and once inflated, and the longest silence in it."""

    def __init__(self, size: int, stall_s: float) -> None:
        self.size = size
        self.stall_s = stall_s


def is_authorised(request: Request, tokens: Sequence[SecretStr]) -> bool:
    """One of the tokens was given: as a bearer token, as an API key, or as the password of anybody."""
    if not tokens:
        return True
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    given = [value.strip()]
    if scheme.lower() in {"basic", "apikey"}:
        try:
            decoded = base64.b64decode(value, validate=True).decode()
        except ValueError:  # no base64, or no text in it
            return False
        given = [decoded, decoded.partition(":")[2]]
    elif scheme.lower() != "bearer":
        return False
    return any(
        hmac.compare_digest(one.encode(), token.get_secret_value().encode()) for one in given for token in tokens
    )


async def read_body(request: Request, limits: BodyLimits, reservation: Reservation) -> bytes:
    """The body, inflated. Raises BodyRefused, and LandingBusy when the budget is spent."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.size:
        raise BodyRefused(413, f"a body of {declared} bytes, at most {limits.size} are taken", "limit")
    reservation.grow(min(int(declared), limits.size) if declared.isdigit() else 0)
    inflate = _inflater(request.headers.get("content-encoding", ""))
    body = bytearray()
    try:
        async for chunk in _chunks(request, limits.stall_s):
            for piece in inflate(chunk):
                body += piece
                if len(body) > limits.size:
                    raise BodyRefused(413, f"more than {limits.size} bytes in a body, once inflated", "limit")
                reservation.grow(max(0, len(body) - reservation.size))
        for piece in inflate(b""):
            body += piece
    except (ParseError, zlib.error) as error:
        raise BodyRefused(400, f"the body cannot be inflated: {error}", "protocol") from None
    except ClientDisconnect:
        raise BodyRefused(400, "the sender went away", "protocol") from None
    return bytes(body)


async def _chunks(request: Request, stall_s: float) -> AsyncIterator[bytes]:
    """The body's chunks; each must come in time, and so must all of them together."""
    stream = request.stream()
    clock = asyncio.get_running_loop().time
    deadline = clock() + _SLOW * stall_s
    while True:
        try:
            async with asyncio.timeout_at(min(clock() + stall_s, deadline)):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise BodyRefused(408, "the body did not come in time", "timeout") from None
        if chunk is None:
            return
        yield chunk


class _Inflater:
    """Inflates step by step; called with b"" at the end, it insists on having seen the end of the stream."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        if not chunk:
            if self._decoder.inside or self._decoder.unread:
                raise ParseError("it ends in the middle", reason="damaged")
            return
        self._decoder.feed(chunk)
        while piece := self._decoder.read():
            yield piece


class _Zlib:
    """gzip or zlib, by their first bytes; several gzip members in a row."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(wbits=47)

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        if not chunk and not self._engine.eof:
            raise ParseError("it ends in the middle", reason="damaged")
        full = False
        while chunk or full:
            if self._engine.eof:
                self._engine = zlib.decompressobj(wbits=47)
            piece = self._engine.decompress(chunk, _STEP)
            yield piece
            full = len(piece) == _STEP and not self._engine.eof  # there may be more without more input
            chunk = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail


def _plain(chunk: bytes) -> Iterator[bytes]:
    yield chunk


def _inflater(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """Gives what a chunk inflates to, in pieces. Raises BodyRefused."""
    match encoding.strip().lower():
        case "" | "identity":
            return _plain
        case "gzip" | "x-gzip" | "deflate":
            return _Zlib()
        case "zstd":
            return _Inflater(Zstd())
        case other:
            raise BodyRefused(415, f"Content-Encoding {other[:32]!r}: use gzip, zstd or none", "protocol")


def record_parcels(
    body: bytes, limit: int, *, sender: str, path: str = "", offset: int | None = None
) -> Iterator[Parcel]:
    """A body of records: a JSON array of them, one object in any layout, or one to a line."""
    start = body.lstrip()[:1]
    if start == b"[" and (records := _array(body)) is not None:
        yield from _within(records, limit, sender)
    elif start == b"{" and (record := _one_object(body)) is not None:
        yield from _within([record], limit, sender)
    else:
        yield from line_parcels(body, limit, sender=sender, path=path, offset=offset)


def line_parcels(
    body: bytes, limit: int, *, sender: str, path: str = "", offset: int | None = None
) -> Iterator[Parcel]:
    """A body of lines; the last one needs no LF. What is longer than `limit` is cut, and says so."""
    splitter = LineSplitter(limit=limit, keep=KEPT_BYTES)
    for piece in (*splitter.feed(body), *splitter.rest("the body ends")):
        at = None if offset is None else offset + piece.offset
        if isinstance(piece, Lines):
            yield Parcel(piece.lines, Shape.LINE, sender, path, at)
        elif isinstance(piece, Rest):
            yield Parcel([piece.raw], Shape.LINE, sender, path, at)
        else:
            yield Parcel([piece.raw], Shape.CUT, sender, path, at, piece.size)


def _array(body: bytes) -> list[bytes] | None:
    """Each element of a JSON array as a record; None if it is none, or one that cannot be read."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return [value.encode() if type(value) is str else orjson.dumps(value) for value in values]


def _one_object(body: bytes) -> bytes | None:
    """A single object that is spread over several lines; None for anything that lines will do for."""
    stripped = body.strip()
    if b"\n" not in stripped:
        return None
    try:
        value = orjson.loads(stripped)
    except orjson.JSONDecodeError:
        return None
    return orjson.dumps(value)


def _within(records: list[bytes], limit: int, sender: str) -> Iterator[Parcel]:
    """One parcel, and one for each record that is longer than the limit."""
    yield Parcel([record for record in records if len(record) <= limit], Shape.LINE, sender)
    for record in records:
        if len(record) > limit:
            yield Parcel([record[:KEPT_BYTES]], Shape.CUT, sender, size=len(record))
