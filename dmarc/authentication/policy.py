"""Finding DMARC policies: RFC 9989's tree walk, at most eight queries, in place of a list of public suffixes."""

from __future__ import annotations

from dataclasses import dataclass

from dmarc.authentication.tags import read_tags, records_of
from dmarc.dns import Resolver

__all__ = ["PublishedPolicy", "find_policy", "organisational_domain"]

_MOST_QUERIES = 8
_FROM_LABELS = 7
"""Labels at which the walk goes on after its first step, for names that are longer (section 4.10)."""
_STEPS = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """A DMARC record and where it stands. `tags` are as published."""

    domain: str
    tags: dict[str, str]
    text: str = ""

    @property
    def p(self) -> str:
        """The policy; one that cannot be read is none (section 4.7)."""
        value = self.tags.get("p", "none").lower()
        return value if value in _STEPS else "none"

    def strict(self, mechanism: str) -> bool:
        """Whether `adkim` or `aspf` wants the very same domain."""
        return self.tags.get(mechanism, "r").lower() == "s"


async def find_policy(domain: str, resolver: Resolver) -> PublishedPolicy | None:
    """The policy that holds for mail from a domain: its own, else that of its organisational domain. LookupFailed."""
    found = await _walk(domain, resolver)
    if found and found[0].domain == domain:
        return found[0]
    top = _organisation(domain, found)
    return next((policy for policy in found if policy.domain == top), None)


async def organisational_domain(domain: str, resolver: Resolver) -> str:
    """The domain with which others must agree to be aligned with this one; LookupFailed."""
    return _organisation(domain, await _walk(domain, resolver))


async def _walk(domain: str, resolver: Resolver) -> list[PublishedPolicy]:
    """Every record from the domain upwards, in that order."""
    found: list[PublishedPolicy] = []
    for name in _names(domain):
        records = records_of(await resolver.txt(f"_dmarc.{name}"), "DMARC1")
        if len(records) == 1:
            policy = PublishedPolicy(name, read_tags(records[0]), records[0])
            found.append(policy)
            if policy.tags.get("psd", "").lower() in ("y", "n"):
                break
    return found


def _names(domain: str) -> list[str]:
    labels = domain.split(".")
    above = labels[1:] if len(labels) <= _FROM_LABELS + 1 else labels[-_FROM_LABELS:]
    return [domain, *(".".join(above[start:]) for start in range(len(above)))][:_MOST_QUERIES]


def _organisation(domain: str, found: list[PublishedPolicy]) -> str:
    """Section 4.10.2."""
    for policy in found:
        kind = policy.tags.get("psd", "").lower()
        if kind == "n":
            return policy.domain
        if kind == "y" and policy.domain != domain:
            below = domain.removesuffix(f".{policy.domain}").split(".")[-1]
            return f"{below}.{policy.domain}"
    return found[-1].domain if found else domain
