"""Enough of Elasticsearch's HTTP interface for its shippers to feel at home: `_bulk`, and what they ask before it.

Filebeat 8 and 9, Fluent Bit, Vector, Logstash, rsyslog's omelasticsearch, syslog-ng and the official clients are meant.
They ask who we are, whether our licence is active, whether templates, policies and pipelines are there; all of it is
answered as if everything were set up. Paths may have any prefix, because shippers can be given one.

`_bulk` lands the sources of `create`, `index` and `update` and answers one item for each action, in order, only when
all are on disk. An item is never refused for what is in it: what cannot be read is quarantined later, whereas a shipper
would drop it. 201 does not say "new": whether it is a duplicate is found out when it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic

import orjson
from fastapi import FastAPI, Request, Response
from starlette.routing import Route

from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing
from collector.quarantine import KEPT_BYTES
from collector.settings import ElasticsearchSettings
from collector.sources.bodies import BodyRefused
from collector.sources.budget import Budget
from collector.sources.http import guarded, land_all

__all__ = ["Bulk", "create_elasticsearch", "parse_bulk"]

_UUID = "mtascope00000000000000"
_DOCUMENT = re.compile(r"/(?P<index>[^/]+)/(?:_doc|_create|_update)(?:/(?P<id>[^/]+))?$")
_HEADERS = {"X-Elastic-Product": "Elasticsearch"}
_EVENT_OVERHEAD = 64 << 10


@dataclass(slots=True)
class Bulk:
    """A decoded `_bulk` body: the sources, and the answer's items."""

    events: list[bytes] = field(default_factory=list)
    cut: list[tuple[bytes, int]] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    failed: bool = False

    def parcels(self, sender: str) -> Iterator[Parcel]:
        """What is to be landed."""
        if self.events:
            yield Parcel(self.events, Shape.EVENT, sender)
        for beginning, size in self.cut:
            yield Parcel([beginning], Shape.CUT, sender, size=size)

    def answer(self, took_ms: int) -> bytes:
        """The response body."""
        failed = b"true" if self.failed else b"false"
        return b'{"took":%d,"errors":%s,"items":[%s]}' % (took_ms, failed, b",".join(self.items))


def parse_bulk(body: bytes, limit: int) -> Bulk:
    """Read action lines and their sources. Raises BodyRefused (400) where an action cannot be read."""
    bulk = Bulk()
    lines = body.split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    rest = iter(enumerate(lines, 1))
    for number, line in rest:
        if not line.strip():
            continue
        operation, identifier = _action(number, line)
        if operation == "delete":
            bulk.items.append(_item(operation, 404, identifier, b',"result":"not_found"'))
            continue
        source = next(rest, (0, b""))[1]
        if not source.strip():
            raise BodyRefused(400, f"line {number}: the action has no source", "protocol")
        if len(source) > limit:
            bulk.cut.append((source[:KEPT_BYTES], len(source)))
        else:
            bulk.events.append(_updated(source) if operation == "update" else source)
        bulk.items.append(_item(operation, 200 if operation == "update" else 201, identifier))
    return bulk


def _action(number: int, line: bytes) -> tuple[str, str | None]:
    try:
        ((operation, meta),) = orjson.loads(line).items()
        identifier = meta.get("_id")
    except (orjson.JSONDecodeError, ValueError, AttributeError):
        raise BodyRefused(400, f"line {number}: no bulk action", "protocol") from None
    if operation not in {"create", "index", "update", "delete"}:
        raise BodyRefused(400, f"line {number}: unknown bulk action", "protocol")
    return operation, identifier if type(identifier) is str else None


def _item(operation: str, status: int, identifier: str | None, more: bytes = b"") -> bytes:
    """Short, because some shippers read answers into small buffers."""
    shown = b',"_id":%s' % orjson.dumps(identifier) if identifier is not None else b""
    return b'{"%s":{"status":%d%s%s}}' % (operation.encode(), status, shown, more)


def _updated(source: bytes) -> bytes:
    """The document inside an update, where there is one."""
    try:
        document = orjson.loads(source).get("doc")
    except (orjson.JSONDecodeError, AttributeError):
        return source
    return orjson.dumps(document) if type(document) is dict else source


def create_elasticsearch(landing: Landing, settings: ElasticsearchSettings, max_line: int) -> FastAPI:
    """The application; every answer carries the header by which clients know the product."""
    budget = Budget(settings.memory_bytes)
    limit = max_line + _EVENT_OVERHEAD

    async def bulk(request: Request, body: bytes) -> Response:
        began = monotonic()
        found = parse_bulk(body, limit)
        await land_all(landing, found.parcels(_sender(request)))
        return _json(found.answer(int(1000 * (monotonic() - began))))

    async def document(request: Request, body: bytes) -> Response:
        """One document by itself."""
        named = _DOCUMENT.search(request.url.path)
        found = parse_bulk(b'{"index":{}}\n' + body.replace(b"\n", b" "), limit)
        await land_all(landing, found.parcels(_sender(request)))
        identifier = (named and named["id"]) or _UUID
        result = {"_index": named and named["index"], "_id": identifier, "result": "created", "_version": 1}
        return _json(orjson.dumps(result), 201)

    async def ask(request: Request, body: bytes) -> Response:  # noqa: ARG001
        return _setup(request.method, request.url.path, settings.version)

    async def dispatch(request: Request) -> Response:
        path = request.url.path
        writes = request.method in {"POST", "PUT"}
        accept = bulk if writes and path.endswith("/_bulk") else document if writes and _DOCUMENT.search(path) else ask
        answer = await guarded(request, landing, settings, budget, accept, check_room=accept is not ask)
        answer.headers.update(_HEADERS)
        return answer

    methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
    app = FastAPI(title="mtascope", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.append(Route("/{path:path}", dispatch, methods=methods))
    return app


def _sender(request: Request) -> str:
    return request.client.host if request.client else ""


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _setup(method: str, path: str, version: str) -> Response:
    """What a shipper asks before it sends: everything is there and everything may be changed, to no effect."""
    if method == "HEAD":
        return Response(status_code=200)
    if method in {"PUT", "DELETE"}:
        return _json(b'{"acknowledged":true}')
    if method == "POST":
        return _json(
            b'{"error":{"type":"illegal_argument_exception","reason":"only _bulk is taken"},"status":405}', 405
        )
    for pattern, answer in _ANSWERS:
        if found := pattern.search(path):
            return _json(orjson.dumps(answer(found)))
    if path.rstrip("/").rpartition("/")[2].startswith("_"):
        return _json(b"{}")
    return _json(orjson.dumps(_info(version)))


def _info(version: str) -> dict[str, object]:
    number = {
        "number": version,
        "build_flavor": "default",
        "build_type": "tar",
        "lucene_version": "10.0.0",
        "minimum_wire_compatibility_version": "8.19.0",
        "minimum_index_compatibility_version": "8.0.0",
    }
    return {
        "name": "mtascope",
        "cluster_name": "mtascope",
        "cluster_uuid": _UUID,
        "version": number,
        "tagline": "You Know, for Search",
    }


_LICENCE = {"uid": _UUID, "type": "basic", "mode": "basic", "status": "active", "issued_to": "mtascope"}
_ANSWERS = (
    (re.compile(r"/_license$"), lambda _: {"license": _LICENCE}),
    (re.compile(r"/_xpack$"), lambda _: {"license": _LICENCE, "features": {}}),
    (
        re.compile(r"/_cluster/health(?:/.*)?$"),
        lambda _: {"cluster_name": "mtascope", "status": "green", "timed_out": False, "number_of_nodes": 1},
    ),
    (re.compile(r"/_cat/health$"), lambda _: [{"cluster": "mtascope", "status": "green"}]),
    (re.compile(r"/_nodes(?:/.*)?$"), lambda _: {"_nodes": {"total": 1, "successful": 1, "failed": 0}, "nodes": {}}),
    (re.compile(r"/_ilm/policy/([^/]+)$"), lambda found: {found[1]: {"version": 1, "policy": {"phases": {}}}}),
    (
        re.compile(r"/_index_template/([^/]+)$"),
        lambda found: {"index_templates": [{"name": found[1], "index_template": {"index_patterns": []}}]},
    ),
    (re.compile(r"/_data_stream/([^/]+)$"), lambda found: {"data_streams": [{"name": found[1], "status": "GREEN"}]}),
)  # fmt: skip
"""Questions, by the end of their path, and what is said."""
