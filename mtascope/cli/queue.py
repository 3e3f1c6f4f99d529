"""`mtascope queue`: what waits in the bundled MTA, and what is ordered about it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click
import httpx

from mta.events.address import canonical_domain
from mta.events.errors import SettingsError
from mta.events.instants import SECOND, format_instant
from mta.queue.orders import Criteria, Order, OrderKind, Orders
from mta.settings import seconds
from mta.worker import WorkerPaths
from mtascope.client import call_socket
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.settings import Settings, load_settings

__all__ = ["command"]

_DAY = "1d"
_ENDINGS = {OrderKind.SUSPEND: "held back", OrderKind.BOUNCE: "given up", OrderKind.SUSPEND_READY: "held back"}

_config = click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file (TOML or JSON).")
_Command = Callable[..., Any]


def _selection(function: _Command) -> _Command:
    """Which mail is meant, as options."""
    for option in (
        click.option("--everything", is_flag=True, help="All that waits; needed when nothing else is said."),
        click.option("--queue", "queues", multiple=True, help="A queue by its name, campaign:tenant@domain."),
        click.option("--campaign", default=None, help="Mail of this campaign."),
        click.option("--tenant", default=None, help="Mail of this tenant."),
        click.option("--domain", default=None, help="Mail to this domain."),
    ):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """What waits in the bundled MTA: look at it, hold it back, give it up, put it elsewhere.

    Orders are for all workers of the data directory and outlast restarts, until they end by themselves or are ended.

    Example: mtascope queue suspend --domain example.net --reason "blocked" --for 1h
    """


@command.command("list")
@data_option
@_config
@json_option
def list_(data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """The queues of all workers that run, the fullest first.

    Example: mtascope queue list
    """
    queues: Counter[str] = Counter()
    for worker in _workers(load_settings(config, data_dir)):
        queues.update(worker("GET", "/api/admin/queues/v1"))
    if as_json:
        emit({"queues": dict(queues.most_common()), "messages": queues.total()})
        return
    for name, count in queues.most_common():
        click.echo(f"{count:>9,}  {name}")


@command.command()
@click.argument("queue_id")
@click.option("--body", is_flag=True, help="The message itself, too.")
@data_option
@_config
@json_option
def show(queue_id: str, data_dir: str | None, config: str | None, *, body: bool, as_json: bool) -> None:
    """A waiting message, by the id that it was accepted with.

    Example: mtascope queue show 858dcbbae79a11f1ad22fd2402aec403
    """
    del as_json  # it is JSON either way
    asked = f"/api/admin/inspect-message/v1?id={queue_id}&want_body={str(body).lower()}"
    for worker in _workers(load_settings(config, data_dir)):
        found = worker("GET", asked, missing=None)
        if found is not None:
            emit(found)
            return
    say(f"no message {queue_id} waits here")
    raise SystemExit(Exit.REFUSED)


def _order_command(name: str, kind: OrderKind, text: str) -> None:
    @command.command(name, help=f"{text}\n\nExample: mtascope queue {name} --tenant acme --reason 'a mistake'")
    @_selection
    @click.option("--reason", required=True, help="Why; it is shown to others and logged.")
    @click.option("--for", "duration", default=_DAY, show_default=True, help="How long the order stands: 30m, 2h, 7d.")
    @data_option
    @_config
    @json_option
    def give(reason: str, duration: str, data_dir: str | None, config: str | None,
             *, as_json: bool, **asked: Any) -> None:  # fmt: skip
        orders = _orders(load_settings(config, data_dir))
        expires = time.time_ns() // 1000 + int(_duration(duration) * SECOND)
        order = orders.give(kind, _criteria(**asked), reason, expires)
        if as_json:
            emit(_shown(order))
        else:
            say(f"{_ENDINGS[kind]} until {format_instant(expires)}: order {order.id}")


_order_command("suspend", OrderKind.SUSPEND, "Hold mail back: what waits, and what comes while the order stands.")
_order_command("bounce", OrderKind.BOUNCE, "Give mail up: what waits, and what comes while the order stands.")


@command.command()
@data_option
@_config
@json_option
def orders(data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """The orders that stand.

    Example: mtascope queue orders
    """
    held, now = _orders(load_settings(config, data_dir)), time.time_ns() // 1000
    held.refresh(now)
    standing = [order for kind in OrderKind for order in held.standing(kind, now)]
    if as_json:
        emit({"orders": [_shown(order) for order in standing]})
        return
    for order in standing:
        meant = {key: value for key, value in _shown(order)["criteria"].items() if value} or order.way or "everything"
        click.echo(f"{order.id}  {order.kind.value:15}  until {format_instant(order.expires)}  {meant}  {order.reason}")


@command.command()
@click.argument("order_id")
@data_option
@_config
@json_option
def resume(order_id: str, data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """End an order.

    Example: mtascope queue resume 3f0e6f0e-8f4e-4a57-9d33-2f6f3b9a52c1
    """
    held = _orders(load_settings(config, data_dir))
    ended = any(held.cancel(order_id, kind) for kind in OrderKind)
    if as_json:
        emit({"ended": ended})
    elif not ended:
        say(f"there is no order {order_id}")
    raise SystemExit(Exit.DONE if ended else Exit.REFUSED)


@command.command()
@_selection
@click.option("--reason", required=True, help="Why; it is logged.")
@click.option("--to-tenant", default=None, help="The new tenant; '' for none.")
@click.option("--to-campaign", default=None, help="The new campaign; '' for none.")
@click.option("--to-domain", "to_routing_domain", default=None, help="Send it where mail to this domain goes.")
@data_option
@_config
@json_option
def rebind(reason: str, to_tenant: str | None, to_campaign: str | None, to_routing_domain: str | None,
           data_dir: str | None, config: str | None, *, as_json: bool, **asked: Any) -> None:  # fmt: skip
    """Put waiting mail into other queues.

    Example: mtascope queue rebind --domain example.net --to-domain backup.example.net --reason "their MX is down"
    """
    meant = _criteria(**asked)
    parts = {"tenant": to_tenant, "campaign": to_campaign, "routing_domain": to_routing_domain}
    wanted = {
        "reason": reason,
        "data": {name: value for name, value in parts.items() if value is not None},
        "domain": meant.domain,
        "tenant": meant.tenant,
        "campaign": meant.campaign,
        "queue_names": list(meant.queue_names),
    }
    workers = _workers(load_settings(config, data_dir))
    count = sum(worker("POST", "/api/admin/rebind/v1", wanted)["rebound"] for worker in workers)
    if as_json:
        emit({"rebound": count})
    else:
        say(f"{count} messages are in other queues now")


# What the commands ask


def _criteria(
    domain: str | None, tenant: str | None, campaign: str | None, queues: tuple[str, ...], *, everything: bool
) -> Criteria:
    if not (domain or tenant or campaign or queues or everything):
        raise click.UsageError("say which mail is meant (--domain, --tenant, --campaign, --queue), or --everything")
    return Criteria(canonical_domain(domain) if domain else None, tenant, campaign, queues)


def _duration(text: str) -> float:
    try:
        return float(seconds(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from error


def _orders(settings: Settings) -> Orders:
    return Orders(WorkerPaths.under(settings.data).orders)


def _shown(order: Order) -> dict[str, Any]:
    criteria = order.criteria
    return {
        "id": order.id,
        "kind": order.kind.value,
        "criteria": {
            "domain": criteria.domain,
            "tenant": criteria.tenant,
            "campaign": criteria.campaign,
            "queue_names": list(criteria.queue_names),
            "name": order.way,
        },
        "reason": order.reason,
        "expires": format_instant(order.expires),
    }


_Worker = Callable[..., Any]


def _workers(settings: Settings) -> Iterator[_Worker]:
    """Something to ask each running worker with: method, path, body."""
    sockets = sorted(settings.folder.run.glob("mta-*.sock"))
    if not sockets:
        raise SettingsError("no MTA worker runs here", where=str(settings.data), remedy="check --data")
    for path in sockets:

        def ask(method: str, url: str, body: Any = None, *, path: Any = path, **otherwise: Any) -> Any:
            try:
                return call_socket(path, method, url, body)
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.NOT_FOUND and "missing" in otherwise:
                    return otherwise["missing"]
                raise SettingsError(error.response.text.removeprefix("Error: "), where=str(path)) from error

        yield ask
