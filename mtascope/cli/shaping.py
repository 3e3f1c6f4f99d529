"""`mtascope shaping`: what holds for the way out, why, and what rules have done about it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import asdict, fields
from enum import Enum
from typing import Any

import click

from mta.delivery.effects import Effect, EffectFile
from mta.delivery.ground_rules import read_egress, read_shaping
from mta.delivery.limits import Limits, Rate
from mta.delivery.resolver import DnsResolver
from mta.delivery.routing import Destination, Router
from mta.delivery.shaping import Shape
from mta.events.address import canonical_domain
from mta.events.instants import SECOND, format_instant
from mta.settings import MtaSettings
from mta.worker import WorkerPaths, system_clock
from mtascope.output import Exit, data_option, emit, json_option, say
from mtascope.settings import Settings, load_settings

__all__ = ["command"]

_config_option = click.option("--config", type=click.Path(dir_okay=False), default=None, help="Settings file.")


@click.group()
def command() -> None:
    """Check shaping files, show what holds for a domain, and see or end what rules did.

    Example: mtascope shaping show gmail.com --source ip1
    """


@command.command("check")
@data_option
@_config_option
@json_option
def check(data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """Read the shaping files of the settings; what cannot be read is named with file and line, what does nothing too.

    Example: mtascope shaping check --config /etc/mtascope/settings.toml
    """
    shaping = read_shaping(load_settings(config, data_dir).mta)
    if as_json:
        emit({"does_nothing": shaping.ignored, "providers": shaping.provider_names, "to_roll_up": shaping.to_roll_up})
    else:
        for each in shaping.ignored:
            say(f"does nothing  {each}")
        providers, domains = len(shaping.provider_names), len(shaping.to_roll_up)
        say(f"{providers} providers, {domains} domains that stand for their mail hosts")
    return Exit.REFUSED if shaping.ignored else Exit.DONE


@command.command("show")
@click.argument("domain")
@click.option(
    "--source", default=None, metavar="NAME", help="The egress source; the first of the settings unless said."
)
@data_option
@_config_option
@json_option
def show(domain: str, source: str | None, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """What holds for mail to a domain: site, provider, limits, rules, and what rules have set. Asks DNS.

    Example: mtascope shaping show gmail.com --source ip1
    """
    settings = load_settings(config, data_dir)
    name = source or next(iter(read_egress(settings.mta).sources))
    found = asyncio.run(_destination(settings.mta, canonical_domain(domain)))
    if not isinstance(found, Destination):
        say(f"{domain}: {found}")
        return Exit.MISSING
    shaping = read_shaping(settings.mta)
    if found.route is None and canonical_domain(domain) in shaping.to_roll_up:
        shaping.roll_up(canonical_domain(domain), found.site)
    shape = shaping.shape(canonical_domain(domain), found.site, found.names, name)
    effects = [each for each in _effects(settings).read() if each.path.startswith(f"{name}->{found.lane}")]
    if as_json:
        emit(_as_json(found, shape, name, effects))
    else:
        _print(found, shape, name, effects)
    return Exit.DONE


@command.command("effects")
@data_option
@_config_option
@json_option
def effects(data_dir: str | None, config: str | None, *, as_json: bool) -> None:
    """What rules did that still holds: what is suspended, given up or slowed down, since when, until when and why.

    Example: mtascope shaping effects
    """
    found = _effects(load_settings(config, data_dir)).read()
    if as_json:
        emit([_effect(each) for each in found])
    for each in () if as_json else found:
        click.echo(f"{each.id}  {_told(each)}")
    if not found and not as_json:
        say("no rule holds anything now")


@command.command("cancel")
@click.argument("effect_id", metavar="ID")
@data_option
@_config_option
@json_option
def cancel(effect_id: str, data_dir: str | None, config: str | None, *, as_json: bool) -> int:
    """End what a rule did; all workers follow within a second. The rule may do it again.

    Example: mtascope shaping cancel 7d0c0e0e-2b5f-4d0a-9b0e-0d6c8d4b8d53
    """
    cancelled = _effects(load_settings(config, data_dir)).cancel(effect_id)
    if as_json:
        emit({"id": effect_id, "cancelled": cancelled})
    else:
        say("cancelled" if cancelled else f"no effect {effect_id} holds")
    return Exit.DONE if cancelled else Exit.REFUSED


def _effects(settings: Settings) -> EffectFile:
    return EffectFile(WorkerPaths.under(settings.data).effects, system_clock)


async def _destination(settings: MtaSettings, domain: str) -> Any:
    servers = [str(each) for each in settings.nameservers]
    resolver = DnsResolver(servers, settings.nameserver_port, settings.dns_timeout, dnssec=settings.dnssec)
    return await Router(settings, resolver, system_clock, random.Random()).destination(domain)  # noqa: S311 - order only


def _print(destination: Destination, shape: Shape, source: str, effects: list[Effect]) -> None:
    click.echo(f"site      {destination.site}")
    for host in destination.hosts:
        click.echo(f"host      {host.name} {', '.join(host.addresses)} port {shape.limits.smtp_port or host.port}")
    click.echo(f"source    {source}")
    click.echo(f"provider  {shape.provider or '-'}")
    for name, value in _limits(shape.limits):
        click.echo(f"limit     {name} = {value}")
    for rule in shape.rules:
        click.echo(f"rule      {rule.origin}: {', '.join(action.kind.value for action in rule.actions)}")
    for each in effects:
        click.echo(f"now       {_told(each)}")


def _limits(limits: Limits) -> Iterator[tuple[str, Any]]:
    for field in fields(limits):
        value = getattr(limits, field.name)
        if value is not None:
            yield field.name, _value(value)


def _value(value: Any) -> Any:
    if isinstance(value, Rate):
        return f"{value.quantity}/{value.period:g}s,max_burst={value.burst}"
    return value.value if isinstance(value, Enum) else value


def _as_json(destination: Destination, shape: Shape, source: str, effects: list[Effect]) -> dict[str, Any]:
    return {
        "site": destination.site,
        "hosts": [{"name": host.name, "addresses": host.addresses, "port": host.port} for host in destination.hosts],
        "source": source,
        "provider": shape.provider,
        "limits": dict(_limits(shape.limits)),
        "rules": [rule.origin for rule in shape.rules],
        "effects": [_effect(each) for each in effects],
    }


def _effect(effect: Effect) -> dict[str, Any]:
    instants = {"since": format_instant(effect.since), "expires": format_instant(effect.expires)}
    return {**asdict(effect), "kind": effect.kind.value, **instants}


def _told(effect: Effect) -> str:
    whose = "".join(
        f" {name} {value}" for name, value in (("tenant", effect.tenant), ("campaign", effect.campaign)) if value
    )
    what = f"{effect.kind.value}{whose}" + (f" {effect.name} = {effect.value}" if effect.name else "")
    left = max(0, effect.expires - system_clock()) // SECOND
    return f"{effect.path}  {what}  {left} s more  {effect.rule}: {effect.reason}"
