"""SPF (RFC 7208): whether a host may send in the name of an envelope sender.

Ten mechanisms and modifiers at most may look something up (section 4.6.4), and two look-ups may find nothing; what
needs more is a permerror, as every receiver judges it. Nothing here waits for more than those look-ups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dmarc.dns import Resolver
from dmarc.errors import LookupFailed
from dmarc.reports import Result
from mta.events.errors import ParseError

__all__ = ["MOST_LOOKUPS", "MOST_VOID", "SpfFault", "SpfQuestion", "Term", "check_host", "read_spf", "spf_records"]

MOST_LOOKUPS = 10
MOST_VOID = 2
_MOST_TERMS = 200
_MOST_HOSTS = 10
"""MX or PTR names that are followed (section 4.6.4)."""
_TERM = re.compile(
    r"([+?~-]?)([A-Za-z][A-Za-z0-9._-]*)(?:([:=])([^\s/]*(?:/(?=[^\d/])[^\s/]*)*))?((?:/{1,2}\d{1,3}){0,2})"
)
_MACRO = re.compile(r"%(?:\{([slodiphcrtvSLODIPHCRTV])(\d{0,3})([rR]?)([.+,/_=-]*)\}|([%_-]))")
_RESULTS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
_LOOKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_MECHANISMS = _LOOKING - {"redirect"} | {"all", "ip4", "ip6"}

Address = IPv4Address | IPv6Address


class SpfFault(ParseError):
    """Why a record cannot be evaluated: a permerror."""

    def __init__(self, what: str) -> None:
        super().__init__(what, reason="permerror")


@dataclass(frozen=True, slots=True)
class Term:
    """One directive or modifier: `qualifier` is what a match means, `name` in lower case."""

    qualifier: str
    name: str
    value: str
    lengths: str
    """Prefix lengths as written: `/24`, `/24//64`."""
    is_modifier: bool

    @property
    def looks_up(self) -> bool:
        """Whether it counts against the ten."""
        return self.name in _LOOKING


@dataclass(frozen=True, slots=True)
class SpfQuestion:
    """Who connected, and in whose name: `sender` is the envelope sender, or postmaster at the HELO name for <>."""

    address: Address
    sender: str
    helo: str


@dataclass(slots=True)
class _Budget:
    lookups: int = MOST_LOOKUPS
    void: int = MOST_VOID

    def spend(self) -> None:
        self.lookups -= 1
        if self.lookups < 0:
            raise SpfFault("more than ten look-ups")

    def found(self, answer: tuple[str, ...]) -> tuple[str, ...]:
        if not answer:
            self.void -= 1
            if self.void < 0:
                raise SpfFault("more than two look-ups find nothing")
        return answer


def spf_records(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The SPF records among TXT records."""
    return tuple(text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 "))


def read_spf(text: str) -> tuple[Term, ...]:
    """The terms of a record. Raises SpfFault for what is no SPF."""
    words = text.split()[1:]
    if len(words) > _MOST_TERMS:
        raise SpfFault(f"more than {_MOST_TERMS} terms")
    terms = []
    for word in words:
        found = _TERM.fullmatch(word)
        if found is None:
            raise SpfFault(f"{word[:60]!r} is no term of SPF")
        qualifier, name, sign, value, lengths = found.groups()
        is_modifier = sign == "="
        if not is_modifier and name.lower() not in _MECHANISMS:
            raise SpfFault(f"{word[:60]!r} is no term of SPF")
        terms.append(Term(qualifier or "+", name.lower(), value or "", lengths or "", is_modifier))
    return tuple(terms)


async def check_host(question: SpfQuestion, resolver: Resolver) -> tuple[Result, str]:
    """The result for the sender's domain, and a word why where it is not plain. Raises nothing."""
    domain = question.sender.rpartition("@")[2].lower()
    if "." not in domain:
        return Result.NONE, ""
    try:
        return await _evaluate(domain, question, resolver, _Budget()), ""
    except SpfFault as fault:
        return Result.PERMERROR, str(fault)
    except LookupFailed as error:
        return Result.TEMPERROR, str(error)


async def _evaluate(domain: str, question: SpfQuestion, resolver: Resolver, budget: _Budget) -> Result:
    records = spf_records(await resolver.txt(domain))
    if not records:
        return Result.NONE
    if len(records) > 1:
        raise SpfFault(f"{domain} has several SPF records")
    redirect = None
    for term in read_spf(records[0]):
        if term.is_modifier:
            redirect = term if term.name == "redirect" else redirect
        elif await _matches(term, domain, question, resolver, budget):
            return _RESULTS[term.qualifier]
    if redirect is None:
        return Result.NEUTRAL
    budget.spend()
    result = await _evaluate(_expanded(redirect.value, domain, question), question, resolver, budget)
    if result is Result.NONE:
        raise SpfFault("redirect leads to no SPF record")
    return result


async def _matches(term: Term, domain: str, question: SpfQuestion, resolver: Resolver, budget: _Budget) -> bool:
    if term.looks_up:
        budget.spend()
    target = _expanded(term.value, domain, question) if term.value else domain
    match term.name:
        case "all" | "ip4" | "ip6":
            return term.name == "all" or _in_network(question.address, term)
        case "include":
            result = await _evaluate(target, question, resolver, budget)
            if result is Result.NONE:
                raise SpfFault(f"include:{target} has no SPF record")
            return result is Result.PASS
        case "mx":
            return await _is_mx(target, term, question, resolver, budget)
        case "ptr":
            return await _is_named(target, question, resolver, budget)
        case _:
            found = budget.found(await resolver.addresses(target))
            if term.name == "exists":
                return any(":" not in address for address in found)
            return _among(found, term, question)


async def _is_mx(target: str, term: Term, question: SpfQuestion, resolver: Resolver, budget: _Budget) -> bool:
    hosts = budget.found(await resolver.mx(target))
    if len(hosts) > _MOST_HOSTS:
        raise SpfFault(f"{target} has more than ten mail hosts")
    return any([_among(await resolver.addresses(host), term, question) for host in hosts if host])


async def _is_named(target: str, question: SpfQuestion, resolver: Resolver, budget: _Budget) -> bool:
    """`ptr`: names that lead back to the address; failures mean no match (section 5.5)."""
    try:
        names = budget.found(await resolver.names(str(question.address)))
    except LookupFailed:
        return False
    for name in names[:_MOST_HOSTS]:
        if name == target or name.endswith(f".{target}"):
            try:
                if str(question.address) in await resolver.addresses(name):
                    return True
            except LookupFailed:
                continue
    return False


def _in_network(address: Address, term: Term) -> bool:
    try:
        network = ip_network(f"{term.value}{term.lengths}", strict=False)
    except ValueError as error:
        raise SpfFault(f"{term.name}:{term.value}{term.lengths} is no network") from error
    if isinstance(network, IPv4Network) != (term.name == "ip4"):
        raise SpfFault(f"{term.name}:{term.value}{term.lengths} is of the other family")
    return _holds(network, address)


def _among(addresses: tuple[str, ...], term: Term, question: SpfQuestion) -> bool:
    four, six = _lengths(term.lengths)
    for text in addresses:
        found = ip_address(text)
        network = ip_network(f"{text}/{four if isinstance(found, IPv4Address) else six}", strict=False)
        if _holds(network, question.address):
            return True
    return False


def _lengths(text: str) -> tuple[int, int]:
    """Of IPv4 and IPv6 (`/24//64`)."""
    four, _, six = text.partition("//")
    lengths = int(four.strip("/") or 32), int(six or 128)
    if lengths[0] > 32 or lengths[1] > 128:
        raise SpfFault(f"{text} is no prefix length")
    return lengths


def _holds(network: IPv4Network | IPv6Network, address: Address) -> bool:
    return address.version == network.version and address in network


def _expanded(text: str, domain: str, question: SpfQuestion) -> str:
    """Macros (section 7)."""

    def one(found: re.Match[str]) -> str:
        if found[5]:
            return {"%": "%", "_": " ", "-": "%20"}[found[5]]
        value = _macro(found[1].lower(), domain, question)
        parts = re.split(f"[{re.escape(found[4] or '.')}]", value)
        parts = parts[::-1] if found[3] else parts
        return ".".join(parts[-int(found[2]) :] if found[2] and int(found[2]) else parts)

    return _MACRO.sub(one, text)[-253:].lower().rstrip(".")


def _macro(letter: str, domain: str, question: SpfQuestion) -> str:
    local, _, sender_domain = question.sender.rpartition("@")
    address = question.address
    dotted = str(address) if isinstance(address, IPv4Address) else ".".join(address.exploded.replace(":", ""))
    return {
        "s": question.sender,
        "l": local or "postmaster",
        "o": sender_domain,
        "d": domain,
        "i": dotted,
        "p": "unknown",
        "v": "in-addr" if isinstance(address, IPv4Address) else "ip6",
        "h": question.helo,
    }.get(letter, "unknown")
