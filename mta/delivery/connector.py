"""Finding a mail host of a destination that takes us: hosts in their order, the addresses of each in theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from mta.control.record import internal_reply
from mta.delivery.connection import Connection
from mta.delivery.endpoint_memory import EndpointMemory
from mta.delivery.errors import Unreachable
from mta.delivery.lane import Way
from mta.delivery.opening import Credentials, Target
from mta.delivery.routing import Host
from mta.delivery.tls import Demand, TlsOutcome, TlsPolicy, TrustRoots, tls_policy
from mta.events.instants import MINUTE, SECOND
from mta.metrics import MtaMetrics
from mta.queue.message import Clock

__all__ = ["Connector", "ProviderLabel"]

_DEAD_FOR = 5 * MINUTE

ProviderLabel = Callable[[str, str | None], str]
"""The metric label of the provider that serves a recipient domain by an MX host."""


@dataclass(slots=True)
class Connector:
    """Opens connections. `credentials` are those of smarthosts, by the domain of their route."""

    metrics: MtaMetrics
    clock: Clock
    roots: TrustRoots
    credentials: Mapping[str, Credentials]
    provider_label: ProviderLabel
    broken_tls: EndpointMemory = field(default_factory=EndpointMemory)
    unreachable: EndpointMemory = field(default_factory=EndpointMemory)

    async def connect(self, way: Way, domain: str) -> Connection:
        """The first host that takes us; else the refusal of the last one that said something, else the last failure."""
        refusals: list[Unreachable] = []
        for host, address in self._in_order(way):
            try:
                return await self._open(way, host, address, domain)
            except Unreachable as error:
                refusals.append(error)
                if not error.answered:
                    self.unreachable.note((address, host.port), self.clock(), _DEAD_FOR)
        if not refusals:
            text = f"{way.source.name} has no address of the kind that {way.destination.site} wants"
            raise Unreachable(internal_reply(451, text, "4.4.4"))
        raise next((error for error in reversed(refusals) if error.hop is not None), refusals[-1])

    def _in_order(self, way: Way) -> list[tuple[Host, str]]:
        """All addresses in the order of their hosts; those where nobody answered lately come last."""
        found = [(h, address) for h in self._hosts(way) for address in h.addresses if way.source.reaches(address)]
        now = self.clock()
        return sorted(found, key=lambda each: self.unreachable.holds((each[1], each[0].port), now))

    @staticmethod
    def _hosts(way: Way) -> Iterable[Host]:
        """The hosts; at another port, if the limits name one for those of MX records. TLSA records are for one port."""
        port = way.shape.limits.smtp_port
        if port is None or way.destination.route is not None:
            return way.destination.hosts
        return (host if host.port == port else replace(host, port=port, tlsa=None) for host in way.destination.hosts)

    async def _open(self, way: Way, host: Host, address: str, domain: str) -> Connection:
        """Connect to one address, with TLS as is asked; where that is opportunistic, not if it broke there lately."""
        endpoint, limits, route = (address, host.port), way.shape.limits, way.destination.route
        label = self.provider_label(domain, host.name)
        policy = tls_policy(limits, way.destination, host, domain)
        if policy.demand is Demand.OPPORTUNISTIC and self.broken_tls.holds(endpoint, self.clock()):
            policy = replace(policy, demand=Demand.NONE)

        def report(asked: TlsPolicy, outcome: TlsOutcome) -> None:
            self.metrics.tls("outbound", label, outcome.result, outcome.version)
            if asked.origin:
                self.metrics.tls_policy(asked.origin, outcome.failure or "success")
            if outcome.result == "failed":
                self.broken_tls.note(endpoint, self.clock(), int(limits.remember_broken_tls * SECOND))

        credentials = self.credentials.get(route.domain) if route else None
        target = Target(host.name, address, host.port, way.source, limits, policy, credentials)
        return await Connection.open(target, self.roots, self.clock, report)
