"""Finding a mail host of a destination that takes us: hosts in their order, the addresses of each in theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mta.control.record import internal_reply
from mta.delivery.broken_tls import BrokenTls
from mta.delivery.connection import Connection, Unreachable
from mta.delivery.lane import Way
from mta.delivery.limits import TlsMode
from mta.delivery.routing import Host
from mta.metrics import MtaMetrics
from mta.queue.message import Clock
from mta.settings import MtaSettings

__all__ = ["Connector", "ProviderLabel"]

ProviderLabel = Callable[[str, str | None], str]
"""The metric label of the provider that serves a recipient domain by an MX host."""


@dataclass(slots=True)
class Connector:
    """Opens connections."""

    settings: MtaSettings
    metrics: MtaMetrics
    broken_tls: BrokenTls
    clock: Clock
    provider_label: ProviderLabel

    async def connect(self, way: Way, domain: str) -> Connection:
        """The first host that takes us; else the refusal of the last one that said something, else the last failure."""
        refusals: list[Unreachable] = []
        for host in way.destination.hosts:
            label = self.provider_label(domain, host.name)
            for address in filter(way.source.reaches, host.addresses):
                try:
                    return await self._open(way, host, address, label)
                except Unreachable as error:
                    refusals.append(error)
        if not refusals:
            text = f"{way.source.name} has no address of the kind that {way.destination.site} wants"
            raise Unreachable(internal_reply(451, text, "4.4.4"))
        raise next((error for error in reversed(refusals) if error.hop is not None), refusals[-1])

    async def _open(self, way: Way, host: Host, address: str, label: str) -> Connection:
        """Connect to one address, with TLS unless that broke there lately."""
        endpoint = (address, host.port)

        def report(result: str, version: str) -> None:
            self.metrics.tls("outbound", label, result, version)
            if result == "failed":
                self.broken_tls.note(endpoint, self.clock())

        encrypt = way.shape.limits.enable_tls is not TlsMode.DISABLED
        encrypt = encrypt and not self.broken_tls.holds(endpoint, self.clock())
        return await Connection.open(host.name, address, host.port, self.settings, report, starttls=encrypt)
