"""Which mailbox provider decides about a recipient's mail (METRICS.md section 4).

The recipient's domain tells for consumer brands; for everybody else the host that the connection went to tells, and the
log knows it, so no DNS is asked. A filter in front of the mailboxes (Mimecast, Proofpoint, ...) is the one that decides
and therefore is the provider. The map is two tables: what names belong to a provider, and what is known about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mta.events.address import canonical_domain
from mta.events.errors import SettingsError
from mta.events.tables import read_table

__all__ = ["OTHER", "UNNAMED", "Evidence", "Provider", "ProviderMap"]

Evidence = Literal["domain", "mx", "mx-domain", "none"]
"""Why: the recipient's domain, the MX host, the registrable domain of an unknown MX host, or nothing at all."""

OTHER = "other"
"""The name and label of everybody whom the map does not know."""

UNNAMED = "mx:"
"""How the names begin of providers that only their MX host tells."""

_CACHE = 65_536
_KINDS = ("domain", "domain_suffix", "moving_domain", "mx_suffix")

# Second-level labels under which country registries sell names: enough to name an unknown host.
_REGISTRY_LABELS = frozenset({"ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "mil", "ne", "net", "or", "org"})


@dataclass(frozen=True, slots=True)
class Provider:
    """Who decides: its name, the group it belongs to, the gateway if it is one, and the evidence."""

    name: str
    group: str
    gateway: str | None = None
    evidence: Evidence = "none"


@dataclass(frozen=True, slots=True)
class _Traits:
    """What the second table says of a provider; an operator's own provider has these defaults."""

    group: str
    gateway: bool = False
    feedback_loop: bool = False
    labelled: bool = False


class ProviderMap:
    """Domains and MX suffixes to providers. Immutable once built; look-ups are cached and never raise."""

    def __init__(self, names: dict[str, dict[str, str]], traits: dict[str, _Traits]) -> None:
        self._by_kind = names
        self._traits = traits
        self._cached = lru_cache(maxsize=_CACHE)(self._find)

    @classmethod
    def from_csv(cls, rows: bytes, groups: bytes) -> ProviderMap:
        """Build from `provider,kind,value` rows and `provider,group,gateway,feedback_loop,labelled` rows.

        Kinds: `domain` (exactly that recipient domain), `domain_suffix` (it and all below), `mx_suffix` (the MX
        host, on a label boundary, longest wins), `moving_domain` (like `domain`, but a known MX host wins, because
        its mail is changing hands). A later row for the same value wins, so an operator's rows go behind ours.
        SettingsError names a wrong line.
        """
        by_kind: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        for line, row in read_table(rows, ("provider", "kind", "value"), where="provider map"):
            if row["kind"] not in by_kind or not row["provider"] or not row["value"]:
                raise SettingsError(
                    f"{row['kind']!r} is no kind of name, or a cell is empty",
                    where=f"provider map line {line}",
                    remedy=f"kinds are {', '.join(_KINDS)}",
                )
            _claim(by_kind, row["kind"], canonical_domain(row["value"].lstrip(".")), row["provider"])
        return cls(by_kind, _read_traits(groups))

    def lookup(self, domain: str, mx_host: str | None = None) -> Provider:
        """Who decides about mail for `domain`; `mx_host` is the host that was (or would be) connected to.

        An unknown MX host names its registrable domain (`mx:example.net`); without any evidence the name is `other`.
        """
        return self._cached(domain, mx_host)

    @property
    def names(self) -> tuple[str, ...]:
        """Every provider of the map, sorted."""
        return tuple(
            sorted({name for names in self._by_kind.values() for name in names.values()} | self._traits.keys())
        )

    @property
    def labelled(self) -> tuple[str, ...]:
        """The providers that have a metric label of their own, in the order of the table."""
        return tuple(name for name, traits in self._traits.items() if traits.labelled)

    def label(self, name: str) -> str:
        """The metric label of a provider: its name if it has one of its own, else `other`."""
        traits = self._traits.get(name)
        return name if traits is not None and traits.labelled else OTHER

    def group(self, name: str) -> str:
        """The group of a provider; a provider without one is its own group, unknown MX domains are `other`."""
        traits = self._traits.get(name)
        if traits is not None:
            return traits.group
        return OTHER if name.startswith(UNNAMED) else name

    def runs_feedback_loop(self, name: str) -> bool:
        """Whether complaints about mail to this provider come back one by one; if not, a complaint rate is no data."""
        traits = self._traits.get(name)
        return traits is not None and traits.feedback_loop

    def _find(self, domain: str, mx_host: str | None) -> Provider:
        wanted = canonical_domain(domain)
        if name := self._by_kind["domain"].get(wanted) or _by_suffix(self._by_kind["domain_suffix"], wanted):
            return self._provider(name, "domain")
        host = canonical_domain(mx_host) if mx_host else ""
        if name := _by_suffix(self._by_kind["mx_suffix"], host):
            return self._provider(name, "mx")
        if name := self._by_kind["moving_domain"].get(wanted):
            return self._provider(name, "domain")
        if registrable := _registrable_domain(host):
            return Provider(f"mx:{registrable}", OTHER, None, "mx-domain")
        return Provider(OTHER, OTHER)

    def _provider(self, name: str, evidence: Evidence) -> Provider:
        traits = self._traits.get(name) or _Traits(name)
        return Provider(name, traits.group, name if traits.gateway else None, evidence)


def _claim(by_kind: dict[str, dict[str, str]], kind: str, value: str, provider: str) -> None:
    """A recipient domain has one owner, whichever of the kinds says so; MX hosts are another name space."""
    if kind != "mx_suffix":
        for other in _KINDS[:3]:
            by_kind[other].pop(value, None)
    by_kind[kind][value] = provider


def _read_traits(groups: bytes) -> dict[str, _Traits]:
    columns = ("provider", "group", "gateway", "feedback_loop", "labelled")
    traits: dict[str, _Traits] = {}
    for line, row in read_table(groups, columns, where="provider groups"):
        flags = [row[name] for name in columns[2:]]
        if not set(flags) <= {"yes", "no"}:
            raise SettingsError("write yes or no", where=f"provider groups line {line}")
        traits[row["provider"]] = _Traits(row["group"] or row["provider"], *(flag == "yes" for flag in flags))
    return traits


def _by_suffix(table: dict[str, str], host: str) -> str | None:
    """The entry of the longest suffix of `host` that ends on a label boundary."""
    while host:
        if host in table:
            return table[host]
        host = host.partition(".")[2]
    return None


def _registrable_domain(host: str) -> str:
    """`example.co.uk` of `mx1.example.co.uk`; "" for an address, an address literal or a single label."""
    labels = host.split(".")
    if len(labels) < 2 or labels[-1].isdigit() or "[" in host or ":" in host or not all(labels):
        return ""
    under_registry = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _REGISTRY_LABELS
    return ".".join(labels[-3 if under_registry else -2 :])
