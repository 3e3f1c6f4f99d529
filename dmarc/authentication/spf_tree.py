"""A domain's SPF record with everything that it includes: what it costs to evaluate, and whose networks it admits.

Evaluation (`dmarc/authentication/spf.py`) ends at the first match; this looks at all of it, as the owner of the record
has to: a mail from the last include costs every look-up before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from dmarc.authentication.spf import SpfFault, Term, read_spf, spf_records
from dmarc.dns import Resolver
from dmarc.errors import LookupFailed

__all__ = ["SpfTree", "read_tree"]

_DEEPEST = 10
_MOST_NODES = 60

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class SpfTree:
    """A record and the trees below it. `text` is None where there is no record.

    `lookups` and `void` are of the whole tree, in the worst case. `networks` are what this record itself admits.
    """

    domain: str
    text: str | None
    lookups: int = 0
    void: int = 0
    networks: tuple[Network, ...] = ()
    includes: tuple[SpfTree, ...] = ()
    problems: tuple[str, ...] = ()
    all_qualifier: str = ""
    """What becomes of everybody else: `-`, `~`, `?`, `+`, or "" where the record does not say."""

    def walk(self) -> Iterator[SpfTree]:
        """This record and all below it."""
        yield self
        for tree in self.includes:
            yield from tree.walk()

    def admitting(self, address: str) -> tuple[str, ...]:
        """The path of domains to the record that admits an address: the domain, its include, ...; () for none."""
        try:
            found = ip_network(address)
        except ValueError:
            return ()
        if any(network.version == found.version and found.subnet_of(network) for network in self.networks):  # type: ignore[arg-type]
            return (self.domain,)
        for tree in self.includes:
            path = tree.admitting(address)
            if path:
                return (self.domain, *path)
        return ()


async def read_tree(domain: str, resolver: Resolver) -> SpfTree:
    """The whole tree. A part that DNS gave no answer for is a problem of its record, no error."""
    return await _Reader(resolver).tree(domain, 0)


class _Reader:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._left = _MOST_NODES

    async def tree(self, domain: str, depth: int) -> SpfTree:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return SpfTree(domain, None, problems=(f"{domain} is included too deep, or in a circle",))
        try:
            texts = await self._resolver.txt(domain)
        except LookupFailed:
            return SpfTree(domain, None, problems=(f"DNS gives no answer about {domain}",))
        records = spf_records(texts)
        if len(records) != 1:
            what = f"{domain} has {len(records)} SPF records" if records else f"{domain} has no SPF record"
            return SpfTree(domain, None, void=int(not texts), problems=(what,))
        try:
            terms = read_spf(records[0])
        except SpfFault as fault:
            return SpfTree(domain, records[0], problems=(f"{domain}: {fault}",))
        return await self._of_terms(domain, records[0], terms, depth)

    async def _of_terms(self, domain: str, text: str, terms: tuple[Term, ...], depth: int) -> SpfTree:
        lookups = void = 0
        networks: list[Network] = []
        includes: list[SpfTree] = []
        problems: list[str] = []
        for term in terms:
            lookups += term.looks_up
            target = term.value or domain
            if term.name in ("include", "redirect") and "%" not in target:
                includes.append(await self.tree(target.lower().rstrip("."), depth + 1))
            elif term.name in ("a", "mx") and "%" not in target:
                found, nothing = await self._hosts(term.name, target)
                networks += _prefixed(found, term.lengths)
                void += nothing
            elif term.name in ("ip4", "ip6"):
                networks += _literal(term, domain, problems)
            elif term.name == "ptr":
                problems.append(f"{domain} uses ptr, which is slow and not to be used (RFC 7208 section 5.5)")
        return SpfTree(
            domain,
            text,
            lookups + sum(tree.lookups for tree in includes),
            void + sum(tree.void for tree in includes),
            tuple(networks),
            tuple(includes),
            (*problems, *(problem for tree in includes for problem in tree.problems)),
            next((term.qualifier for term in terms if term.name == "all"), ""),
        )

    async def _hosts(self, kind: str, target: str) -> tuple[tuple[str, ...], int]:
        """Addresses, and how many look-ups of the mechanism found nothing."""
        try:
            if kind == "a":
                found = await self._resolver.addresses(target)
                return found, int(not found)
            hosts = await self._resolver.mx(target)
            addresses = [await self._resolver.addresses(host) for host in hosts[:10] if host]
        except LookupFailed:
            return (), 0
        return tuple(address for some in addresses for address in some), int(not hosts)


def _literal(term: Term, domain: str, problems: list[str]) -> list[Network]:
    try:
        return [ip_network(f"{term.value}{term.lengths}", strict=False)]
    except ValueError:
        problems.append(f"{domain}: {term.name}:{term.value}{term.lengths} is no network")
        return []


def _prefixed(addresses: tuple[str, ...], lengths: str) -> list[Network]:
    four, _, six = lengths.partition("//")
    wanted = {4: four.strip("/") or "32", 6: six or "128"}
    found = []
    for address in addresses:
        version = 6 if ":" in address else 4
        try:
            found.append(ip_network(f"{address}/{wanted[version]}", strict=False))
        except ValueError:
            continue
    return found
