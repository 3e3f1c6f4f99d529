"""From where mail leaves: pools of sources, and which source takes the next message. Pure.

The choice within a pool is smooth weighted round robin: weights 5 and 1 give a a a b a a, not a a a a a b. A source
that may not take a message now (its warm-up is used up, no address of the needed kind) is passed over without losing
its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mta.delivery.settings import EgressPool, EgressSource
from mta.events.errors import SettingsError

__all__ = ["Egress", "Pool", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """An identity to send from. Without addresses the system chooses; `proxy` is host and port of a PROXY server."""

    name: str
    ehlo: str
    ipv4: str | None = None
    ipv6: str | None = None
    proxy: tuple[str, int] | None = None

    def address_for(self, peer: str) -> str | None:
        """Our address for a peer's; None lets the system choose. See `reaches`."""
        return self.ipv6 if ":" in peer else self.ipv4

    def reaches(self, peer: str) -> bool:
        """Whether this source may speak to that address: with an address of one kind only, it stays in its family."""
        return not (self.ipv4 or self.ipv6) or self.address_for(peer) is not None


class Pool:
    """Sources that take turns."""

    def __init__(self, name: str, members: Iterable[tuple[Source, int]]) -> None:
        self.name = name
        self._members = [(source, weight) for source, weight in members if weight]
        self._credit = dict.fromkeys((source.name for source, _ in self._members), 0)

    def choose(self, may_send: Callable[[Source], bool] | None = None) -> Source | None:
        """The source for the next message, of those that may send it (None: all may); None if none may."""
        able = self._members
        if may_send is not None:
            able = [(source, weight) for source, weight in able if may_send(source)]
        if len(able) < 2:
            return able[0][0] if able else None
        for source, weight in able:
            self._credit[source.name] += weight
        chosen = max(able, key=lambda member: self._credit[member[0].name])[0]
        self._credit[chosen.name] -= sum(weight for _, weight in able)
        return chosen


class Egress:
    """All pools. Without any there is one source, and a pool's name is only what the log says."""

    def __init__(
        self,
        sources: Iterable[EgressSource] = (),
        pools: Iterable[EgressPool] = (),
        *,
        hostname: str = "localhost",
        default_source: str = "default",
        default_pool: str = "default",
    ) -> None:
        """Raises `SettingsError` if a pool names a source that is not there."""
        self.sources = {each.name: _source(each, hostname) for each in sources}
        if not self.sources:
            self.sources = {default_source: Source(default_source, hostname)}
        self._pools: dict[str, Pool] = {}
        self._by_campaign: dict[str, str] = {}
        self._by_tenant: dict[str, str] = {}
        for pool in pools:
            self._add(pool)
        self._is_open = not self._pools
        self._default = default_pool
        self._pools.setdefault(default_pool, Pool(default_pool, ((each, 1) for each in self.sources.values())))

    def pool_name(self, meta: Mapping[str, str]) -> str:
        """The pool of a message with those labels: what it names, else its campaign's, its tenant's, the usual one."""
        named = meta.get("pool")
        if named:
            return named
        return self._by_campaign.get(meta.get("campaign", "")) or self._by_tenant.get(
            meta.get("tenant", ""), self._default
        )

    def pool(self, name: str) -> Pool | None:
        """The pool of that name; None if there are pools, and none has it."""
        return self._pools.get(name) or (self._pools[self._default] if self._is_open else None)

    def _add(self, settings: EgressPool) -> None:
        missing = [member.name for member in settings.entries if member.name not in self.sources]
        if missing:
            raise SettingsError(f"there is no source {missing[0]}", where=f"mta.pools {settings.name}")
        members = ((self.sources[member.name], member.weight) for member in settings.entries)
        self._pools[settings.name] = Pool(settings.name, members)
        self._by_campaign |= dict.fromkeys(settings.campaigns, settings.name)
        self._by_tenant |= dict.fromkeys(settings.tenants, settings.name)


def _source(settings: EgressSource, hostname: str) -> Source:
    proxy = None
    if settings.ha_proxy_server:
        host, _, port = settings.ha_proxy_server.rpartition(":")
        proxy = (host.strip("[]"), int(port))
    return Source(
        settings.name,
        settings.ehlo_domain or hostname,
        str(settings.source_address) if settings.source_address else None,
        str(settings.source_address_v6) if settings.source_address_v6 else None,
        proxy,
    )
