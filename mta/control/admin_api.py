"""The part of the HTTP API that takes mail and changes queues, in KumoMTA's shapes.

On the unix socket, which lies in a folder of ours alone, nobody is asked who he is; on TCP every request needs the
token. Errors are plain text that begins with `Error: `, as KumoMTA's are.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64decode
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeVar

from fastapi import APIRouter, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError, field_validator

from mta.control.idempotency import Answers, request_id
from mta.control.record import Hop
from mta.errors import InjectionRefused
from mta.events.address import canonical_domain
from mta.events.instants import SECOND, format_instant
from mta.queue.index import Index
from mta.queue.message import Clock, Message
from mta.queue.naming import QueueName, is_label
from mta.queue.orders import Criteria, Order, OrderKind, Orders
from mta.settings import Seconds
from mta.smtp.injection import InjectionRequest, Recipient, render

__all__ = ["Inject", "Queues", "admin_router"]

Inject = Callable[[str, str, bytes, Hop, str], Awaitable[str]]
"""Takes sender, recipient, message, client and which part of a request it is; the spool id when the message is durable,
or `InjectionRefused`."""

_Body = Callable[[Request], Awaitable[bytes]]
"""Reads a request's body; refuses who may not ask."""

_Model = TypeVar("_Model", bound=BaseModel)

_AT_ONCE = 500
_DEFAULT_DURATION = 300.0


class Queues(Protocol):
    """What is ordered about the waiting mail."""

    orders: Orders

    def obey(self, order: Order) -> None:
        """Apply a new order to what waits."""

    def reconsider(self) -> None:
        """An order has ended."""

    async def rebind(self, criteria: Criteria, change: Callable[[QueueName], QueueName], reason: str) -> int:
        """Put waiting messages into other queues; how many."""


class Waiting(Protocol):
    """The waiting mail."""

    @property
    def index(self) -> Index:
        """What waits, and in which queues."""

    requests: set[str]
    """Parts of requests with an idempotency key that were accepted."""

    async def find(self, queue_id: str) -> Message | None:
        """The message of that id, if it waits."""

    async def read(self, message: Message) -> bytes:
        """The body of a message."""

    async def in_queue(self, name: str, limit: int) -> list[Message]:
        """The first messages of a queue."""


class _Selection(BaseModel):
    """KumoMTA's criteria; with none set, everything is meant."""

    model_config = ConfigDict(extra="forbid")

    reason: str
    domain: str | None = None
    tenant: str | None = None
    campaign: str | None = None
    routing_domain: str | None = None
    queue_names: tuple[str, ...] = ()
    suppress_logging: bool = False
    """Taken and not kept: every message has its record."""

    def criteria(self) -> Criteria:
        """Which messages are meant."""
        domain = canonical_domain(self.domain) if self.domain else None
        return Criteria(domain, self.tenant, self.campaign, self.queue_names, self.routing_domain)


class _Lasting(BaseModel):
    """How long an order stands: for `duration`, or until `expires`."""

    model_config = ConfigDict(extra="forbid")

    duration: Seconds = _DEFAULT_DURATION
    expires: AwareDatetime | None = None

    def end(self, now: int) -> int:
        """The instant at which it ends."""
        return int(self.expires.timestamp() * SECOND) if self.expires else now + int(self.duration * SECOND)


class OrderRequest(_Selection, _Lasting):
    """What is to be held back or given up, and for how long."""


class ReadyOrderRequest(_Lasting):
    """Which way out is to be held back."""

    name: str
    reason: str


class RebindRequest(_Selection):
    """Which messages are to be in another queue: `data` says `queue`, or some of its parts; "" takes a part away."""

    data: dict[Literal["queue", "tenant", "campaign", "routing_domain"], str]
    always_flush: bool = False
    trigger_rebind_event: bool = False

    @field_validator("data")
    @classmethod
    def _labels(cls, value: dict[str, str]) -> dict[str, str]:
        for name in ("tenant", "campaign"):
            if value.get(name) and not is_label(value[name]):
                raise ValueError(f"{name} may hold letters, digits, dot, dash and underscore, at most 64")
        return value

    def change(self, queue: QueueName) -> QueueName:
        """The queue that messages of `queue` are to be in."""
        if "queue" in self.data:
            wanted = QueueName.parse(self.data["queue"])
            return replace(wanted, domain=canonical_domain(wanted.domain) or queue.domain)
        parts: dict[str, Any] = {name: value or None for name, value in self.data.items()}
        return replace(queue, **parts)


class CancelRequest(BaseModel):
    """Which order is to end."""

    model_config = ConfigDict(extra="forbid")

    id: str


def admin_router(
    inject: Inject,
    queues: Queues,
    waiting: Waiting,
    clock: Clock,
    *,
    answers: Answers,
    body_limit: int,
    token: str | None,
) -> APIRouter:
    """All routes; with a `token` each wants it, as a bearer token or as the password of Basic authentication."""
    router = APIRouter()

    async def body(request: Request) -> bytes:
        if token is not None and not _knows(request, token):
            raise HTTPException(401, "Error: a valid token is needed", {"WWW-Authenticate": "Bearer"})
        data = bytearray()
        async for piece in request.stream():
            data += piece
            if len(data) > body_limit:
                raise HTTPException(413, f"Error: the request is larger than {body_limit} bytes")
        return bytes(data)

    @router.post("/api/inject/v1")
    async def inject_v1(request: Request) -> dict[str, Any]:
        data, key = await body(request), request.headers.get("idempotency-key", "")
        wanted = _parse(InjectionRequest, data)
        if not key:
            return await _inject(wanted, inject, _client(request))
        return await _inject_once(request_id(key), data, answers, waiting, inject, wanted, _client(request))

    for kind in OrderKind:
        _add_orders(router, kind, queues, clock, body)

    @router.post("/api/admin/rebind/v1")
    async def rebind(request: Request) -> dict[str, Any]:
        wanted = _parse(RebindRequest, await body(request))
        return {"rebound": await queues.rebind(wanted.criteria(), wanted.change, wanted.reason)}

    _add_inspection(router, waiting, clock, body)
    return router


def _add_inspection(router: APIRouter, waiting: Waiting, clock: Clock, body: _Body) -> None:
    @router.get("/api/admin/inspect-message/v1")
    async def inspect_message(request: Request, id: str, *, want_body: bool = False) -> dict[str, Any]:  # noqa: A002
        await body(request)
        message = await waiting.find(id)
        if message is None:
            raise HTTPException(404, f"Error: no message {id} waits here")
        content = {"data": (await waiting.read(message)).decode("utf8", "replace")} if want_body else {}
        return {"id": message.id, "message": _shown(message) | content}

    @router.get("/api/admin/inspect-sched-q/v1")
    async def inspect_queue(request: Request, queue_name: str, limit: int = 100) -> dict[str, Any]:
        await body(request)
        number = waiting.index.queues.get(queue_name, 0)
        messages = await waiting.in_queue(queue_name, max(0, min(limit, 10_000)))
        shown = [{"id": message.id, "message": _shown(message)} for message in messages]
        return {"queue_name": queue_name, "num_scheduled": number, "messages": shown, "now": format_instant(clock())}

    @router.get("/api/admin/queues/v1")
    async def list_queues(request: Request) -> dict[str, int]:
        await body(request)
        return waiting.index.queues


def _add_orders(router: APIRouter, kind: OrderKind, queues: Queues, clock: Clock, body: _Body) -> None:
    path = f"/api/admin/{kind.value}/v1"

    @router.post(path)
    async def give(request: Request) -> dict[str, Any]:
        data, now = await body(request), clock()
        if kind is OrderKind.SUSPEND_READY:
            ready = _parse(ReadyOrderRequest, data)
            order = queues.orders.give(kind, Criteria(), ready.reason, ready.end(now), way=ready.name)
        else:
            wanted = _parse(OrderRequest, data)
            order = queues.orders.give(kind, wanted.criteria(), wanted.reason, wanted.end(now))
        queues.obey(order)
        return {"id": order.id}

    @router.get(path)
    async def show(request: Request) -> list[dict[str, Any]]:
        await body(request)
        now = clock()
        return [_order(order, now) for order in queues.orders.standing(kind, now)]

    @router.delete(path)
    async def cancel(request: Request) -> dict[str, Any]:
        wanted = _parse(CancelRequest, await body(request))
        if not queues.orders.cancel(wanted.id, kind):
            raise HTTPException(404, f"Error: no such order: {wanted.id}")
        queues.reconsider()
        return {}


async def _inject_once(
    name: str,
    data: bytes,
    answers: Answers,
    waiting: Waiting,
    inject: Inject,
    wanted: InjectionRequest,
    client: Hop,
) -> dict[str, Any]:
    """What was answered to a request of that name, or what is now."""
    async with answers.lock(name):
        try:
            said = answers.find(name, data)
        except ValueError as error:
            raise HTTPException(422, f"Error: {error}") from error
        if said is None:
            said = await _inject(wanted, inject, client, name, waiting.requests)
            await asyncio.to_thread(answers.keep, name, data, said)
            waiting.requests.difference_update(_parts(name, len(wanted.recipients)))
    return said


def _parts(name: str, count: int) -> list[str]:
    """What the messages of a request carry to tell which of its recipients they are for."""
    return [f"{name}/{number}" if name else "" for number in range(count)]


async def _inject(
    request: InjectionRequest, inject: Inject, client: Hop, name: str = "", done: AbstractSet[str] = frozenset()
) -> dict[str, Any]:
    """Every recipient for itself: what is wrong with one harms no other. Parts that are `done` are not done again."""

    async def one(recipient: Recipient, part: str) -> str | None:
        if part in done:
            return None
        try:
            await inject(request.envelope_sender, recipient.email, render(request, recipient), client, part)
        except (InjectionRefused, ValueError, LookupError) as error:
            return f"{recipient.email}: {error}"
        return None

    errors: list[tuple[str, str]] = []
    parts = _parts(name, len(request.recipients))
    for first in range(0, len(request.recipients), _AT_ONCE):
        group = request.recipients[first : first + _AT_ONCE]
        said = await asyncio.gather(*map(one, group, parts[first : first + _AT_ONCE]))
        errors += [(recipient.email, error) for recipient, error in zip(group, said, strict=True) if error]
    return {
        "success_count": len(request.recipients) - len(errors),
        "fail_count": len(errors),
        "failed_recipients": [recipient for recipient, _ in errors],
        "errors": [error for _, error in errors],
    }


def _parse(model: type[_Model], data: bytes) -> _Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(422, f"Error: {where}: {first['msg']}") from error


def _knows(request: Request, token: str) -> bool:
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            said = b64decode(said, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
    return hmac.compare_digest(said.strip().encode(), token.encode())


def _client(request: Request) -> Hop:
    return Hop("", request.client.host if request.client and request.client.host else "127.0.0.1")


def _shown(message: Message) -> dict[str, Any]:
    return {
        "sender": message.envelope.sender,
        "recipient": message.recipient,
        "queue": message.queue,
        "meta": dict(message.envelope.meta),
        "due": format_instant(message.due),
        "num_attempts": message.attempts,
    }


def _order(order: Order, now: int) -> dict[str, Any]:
    criteria = order.criteria
    return {
        "id": order.id,
        "domain": criteria.domain,
        "tenant": criteria.tenant,
        "campaign": criteria.campaign,
        "queue_names": list(criteria.queue_names),
        "routing_domain": criteria.routing_domain,
        **({"name": order.way} if order.way else {}),
        "reason": order.reason,
        "duration": max(0, order.expires - now) / SECOND,
    }
