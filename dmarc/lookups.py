"""What DNS says about senders: the domain's SPF tree and the names of addresses. Never while reading; all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmarc.authentication.spf_tree import SpfTree, read_tree
from dmarc.dns import Resolver
from dmarc.errors import LookupFailed

__all__ = ["SenderFacts", "look_up"]


@dataclass(frozen=True, slots=True)
class SenderFacts:
    """`hosts`: the name of each address that has one which leads back to it."""

    spf: SpfTree
    hosts: Mapping[str, str]


async def look_up(domain: str, addresses: Sequence[str], resolver: Resolver) -> SenderFacts:
    """Everything at once; what DNS does not answer is left out."""
    spf, *names = await asyncio.gather(
        read_tree(domain, resolver), *(_host(address, resolver) for address in addresses)
    )
    hosts = {address: name for address, name in zip(addresses, names, strict=True) if isinstance(name, str)}
    return SenderFacts(spf if isinstance(spf, SpfTree) else SpfTree(domain, None), hosts)


async def _host(address: str, resolver: Resolver) -> str | None:
    """A name counts only if it leads back: anybody can call his address anything."""
    try:
        for name in (await resolver.names(address))[:3]:
            if address in await resolver.addresses(name):
                return name
    except LookupFailed:
        return None
    return None
