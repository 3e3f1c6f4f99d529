"""Joining the reader of DMARC reports with the store that keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from analytics.dmarc_questions import (
    coverage,
    dkim_selectors,
    own_addresses,
    own_days,
    published_policy,
    source_traffic,
    weeks,
)
from analytics.store import Store
from dmarc.advisor import Coverage, Week, advise, changes
from dmarc.lookups import look_up
from dmarc.networks import NetworkNames
from dmarc.own_failures import OwnDay, failing_streams
from dmarc.posture import inspect, worst_first
from dmarc.senders import OwnAddress, Sender, SenderKind, ServiceMap, SourceTraffic, identify
from dmarc.settings import DmarcSettings
from mta.events.address import canonical_domain
from mta.events.instants import DAY, format_instant
from mtascope.dns import fetch_policy, resolver_of
from mtascope.settings import Settings

__all__ = ["advice_answer", "identified", "posture_answer", "traffic_of"]

_SELECTORS_SEEN = 30 * DAY
_MOST_FAILURES = 50
_MOST_LOOKED_UP = 100
"""Addresses, the largest senders first, whose names are asked for."""
_UNNAMED = frozenset({SenderKind.UNKNOWN, SenderKind.SUSPICIOUS, SenderKind.FORWARDER})


def advice_answer(
    store: Store, settings: Settings, domain: str, days: int, until: int | None = None, *, dns: bool = False
) -> dict[str, Any]:
    """Whether the policy of a domain may be made stricter, by `days` of reports: what `dmarc advise --json` prints.

    With `dns`, senders that nothing else names are looked up: in the domain's SPF record and by their addresses.
    """
    name = canonical_domain(domain)
    end = _next_midnight(store.clock() if until is None else until)
    begin = end - days * DAY
    own = {
        address: OwnAddress(used["source"], used["pool"], used["node"])
        for address, used in own_addresses(store, begin).items()
    }
    traffic = [traffic_of(row) for row in source_traffic(store, name, begin, end)]
    senders = identified(traffic, name, own, settings.dmarc, dns=dns)
    advice = advise(
        name,
        published_policy(store, name).get("p"),
        list(zip(traffic, senders, strict=True)),
        Coverage(**coverage(store, name, begin, end)),
        end,
    )
    failing = failing_streams((OwnDay(**row) for row in own_days(store, name, list(own), begin, end)), own)
    this_week, last_week = (Week(**week) for week in weeks(store, name, end))
    return asdict(advice) | {
        "own_failures": [asdict(failure) for failure in failing[:_MOST_FAILURES]],
        "changes": changes(advice.sources, this_week, last_week),
        "since": format_instant(begin),
        "until": format_instant(end),
    }


def posture_answer(store: Store, settings: Settings, domain: str, selectors: Sequence[str] = ()) -> dict[str, Any]:
    """What a domain publishes, and what is wrong with it: what `dmarc posture --json` prints.

    Without `selectors`, those are looked at with which reports say that the domain has signed.
    """
    name = canonical_domain(domain)
    wanted = selectors or dkim_selectors(store, name, store.clock() - _SELECTORS_SEEN)
    found = asyncio.run(inspect(name, resolver_of(settings.dmarc), fetch_policy, wanted))
    return {
        "domain": name,
        "worst": found.worst,
        "findings": [asdict(finding) for finding in worst_first(found.findings)],
        "records": found.records,
        "spf_lookups": found.spf_lookups,
        "spf_void_lookups": found.spf_void_lookups,
    }


def identified(
    traffic: Sequence[SourceTraffic],
    domain: str,
    own: Mapping[str, OwnAddress],
    settings: DmarcSettings,
    *,
    dns: bool,
) -> list[Sender]:
    """Who each of the senders is."""
    services = ServiceMap.shipped()
    senders = [identify(item, domain, services, own) for item in traffic]
    unnamed = [item for item, sender in zip(traffic, senders, strict=True) if sender.kind in _UNNAMED]
    if not dns or not unnamed:
        return senders
    addresses = [item.source_ip for item in unnamed if item.source_ip][:_MOST_LOOKED_UP]
    facts = asyncio.run(look_up(domain, addresses, resolver_of(settings)))
    networks = NetworkNames(settings.network_database) if settings.network_database else None
    return [
        sender
        if sender.kind not in _UNNAMED
        else identify(
            item,
            domain,
            services,
            own,
            facts.hosts.get(item.source_ip or "") or (networks.name(item.source_ip or "") if networks else None),
            facts.spf.admitting(item.source_ip or ""),
        )
        for item, sender in zip(traffic, senders, strict=True)
    ]


def traffic_of(row: dict[str, Any]) -> SourceTraffic:
    """A row of `source_traffic` as this part knows it."""
    lists = {name: tuple(sorted(row[name])) for name in ("signers", "senders", "broken_signers")}
    return SourceTraffic(**(row | lists))


def _next_midnight(moment: int) -> int:
    return -(-moment // DAY) * DAY
