"""Who is behind an address that sends in a domain's name: we, a service, a forwarder, or somebody unknown.

Evidence in the order of its weight: our own MTAs' logs; who signed (a passing DKIM signature cannot be borrowed); who
owns the bounce address (SPF passed); what the address is called in reverse DNS; what the receiver said about the path.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from dmarc.alignment import is_under

__all__ = ["OwnAddress", "Sender", "SenderKind", "ServiceMap", "SourceTraffic", "identify"]


class SenderKind(StrEnum):
    """What a sender is to the domain's owner."""

    OWN = "own"
    """One of our MTAs."""
    SERVICE = "service"
    """A known service or mailbox host, presumably hired."""
    AUTHORISED = "authorised"
    """Nobody we know, but the domain's own SPF record admits its address."""
    FORWARDER = "forwarder"
    MAILING_LIST = "mailing_list"
    UNKNOWN = "unknown"
    """Something about it is authentic: it was aligned at least once, or is signed by the domain."""
    SUSPICIOUS = "suspicious"
    """Never aligned, and nothing vouches for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTraffic:
    """What reports say about one address in one window; volumes are messages, spread over days, so not whole.

    `signers` and `senders` are the domains for which DKIM and SPF passed; `broken_signers` those whose signature did
    not, with the selector after a slash.
    """

    source_ip: str | None
    messages: float
    passed: float
    dkim_aligned: float
    spf_aligned: float
    hindered: float
    forwarded: float
    first_day: int
    last_day: int
    signers: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    broken_signers: tuple[str, ...] = ()

    @property
    def failed(self) -> float:
        """Messages that did not pass DMARC."""
        return self.messages - self.passed


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of ours, with the egress source, pool and node that use it."""

    source: str | None = None
    pool: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who it is, and by which evidence we say so."""

    kind: SenderKind
    name: str
    evidence: str

    @property
    def is_ours(self) -> bool:
        """Its mail is the owner's own: what is lost of it is a loss."""
        return self.kind in (SenderKind.OWN, SenderKind.SERVICE, SenderKind.AUTHORISED)


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """Known senders by domain, for each kind of evidence."""

    by_dkim: Mapping[str, Sender]
    by_spf: Mapping[str, Sender]
    by_ptr: Mapping[str, Sender]

    @classmethod
    def shipped(cls) -> ServiceMap:
        """The map that comes with the package."""
        return cls.read(resources.files("dmarc").joinpath("data/services.csv").read_text("utf8"))

    @classmethod
    def read(cls, text: str) -> ServiceMap:
        """A table as CSV: service, kind, dkim, spf, ptr, source."""
        kinds = {
            "service": SenderKind.SERVICE,
            "mailbox": SenderKind.SERVICE,
            "forwarder": SenderKind.FORWARDER,
            "list": SenderKind.MAILING_LIST,
        }
        maps: dict[str, dict[str, Sender]] = {"dkim": {}, "spf": {}, "ptr": {}}
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        for row in csv.DictReader(lines):
            for evidence, known in maps.items():
                for name in row[evidence].split():
                    known[name] = Sender(kinds[row["kind"]], row["service"], evidence)
        return cls(maps["dkim"], maps["spf"], maps["ptr"])


def identify(
    traffic: SourceTraffic,
    domain: str,
    services: ServiceMap,
    own: Mapping[str, OwnAddress] | None = None,
    host: str | None = None,
    admitted_by: Sequence[str] = (),
) -> Sender:
    """Who `traffic` came from. `host` is the address's name in reverse DNS, where it has been looked up.

    `admitted_by` leads from the domain's SPF record through its includes to the one that lists the address.
    """
    address = (own or {}).get(traffic.source_ip or "")
    if address is not None:
        return Sender(SenderKind.OWN, address.source or address.pool or traffic.source_ip or "", "log")
    foreign = [name for name in traffic.signers if not is_under(name, domain)]
    found = (
        _lookup(services.by_dkim, foreign)
        or _lookup(services.by_spf, traffic.senders)
        or _lookup(services.by_spf, admitted_by[1:])
        or _lookup(services.by_ptr, [host] if host else [])
    )
    if found is not None:
        return found
    if admitted_by:
        return Sender(SenderKind.AUTHORISED, host or admitted_by[-1], f"SPF: {' > '.join(admitted_by)}"[:200])
    return _by_behaviour(traffic, domain, host)


def _by_behaviour(traffic: SourceTraffic, domain: str, host: str | None) -> Sender:
    name = host or traffic.source_ip or "unknown"
    if traffic.forwarded > traffic.failed / 2:
        return Sender(SenderKind.FORWARDER, name, "override")
    signed = any(is_under(signer, domain) for signer in traffic.signers)
    if signed and traffic.spf_aligned == 0:
        return Sender(SenderKind.FORWARDER, name, "our signature survived, our bounce address did not")
    if traffic.passed or signed:
        return Sender(SenderKind.UNKNOWN, name, "aligned")
    return Sender(SenderKind.SUSPICIOUS, name, "never aligned")


def _lookup(known: Mapping[str, Sender], names: Iterable[str]) -> Sender | None:
    """The sender of the first name that is known, itself or a parent of it."""
    for name in names:
        labels = name.split(".")
        for start in range(len(labels) - 1):
            found = known.get(".".join(labels[start:]))
            if found is not None:
                return found
    return None
