"""What a domain publishes about its mail, and what is wrong with it, in words for its owner.

SPF, DKIM, DMARC, the permission for reports to go elsewhere, MTA-STS, TLS-RPT and BIMI. A resolver and a way to fetch
a web page are passed in. DNS that does not answer is said to be that, and never taken for a missing record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dmarc.authentication.dkim import read_key
from dmarc.authentication.policy import PublishedPolicy, find_policy, organisational_domain
from dmarc.authentication.spf import MOST_LOOKUPS, MOST_VOID
from dmarc.authentication.spf_tree import SpfTree, read_tree
from dmarc.authentication.tags import read_tags, records_of
from dmarc.dns import Resolver
from dmarc.errors import LookupFailed

__all__ = ["Fetch", "Finding", "Level", "Posture", "inspect", "worst_first"]

Fetch = Callable[[str], Awaitable[str | None]]
"""Gives the text of an https page; None where there is none. Bounded in size and time; raises LookupFailed."""

_TAGS = frozenset(["v", "p", "sp", "np", "adkim", "aspf", "fo", "rua", "ruf", "t", "psd", "pct", "rf", "ri"])
_OBSOLETE = frozenset({"pct", "rf", "ri"})
_POLICIES = ("none", "quarantine", "reject")
_SHORT_KEY = 2_048


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Could be better."""
    WARNING = "warning"
    """Will cost mail or protection some day."""
    PROBLEM = "problem"
    """Costs mail or protection now."""
    UNKNOWN = "unknown"
    """DNS or the web server did not answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen: about which record (spf, dkim, dmarc, ...), how bad, and a sentence with what to do."""

    subject: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Posture:
    """Everything found about a domain, and the records themselves as published."""

    domain: str
    findings: tuple[Finding, ...]
    records: dict[str, str]
    spf_lookups: int
    spf_void_lookups: int

    @property
    def worst(self) -> Level:
        """The level of the worst finding."""
        order = list(Level)[:4]
        return max((f.level for f in self.findings if f.level in order), key=order.index, default=Level.OK)


async def inspect(domain: str, resolver: Resolver, fetch: Fetch, selectors: Sequence[str] = ()) -> Posture:
    """Look at everything. `selectors` are the DKIM selectors to look at: those that reports have shown."""
    records: dict[str, str] = {}
    tree = await read_tree(domain, resolver)
    parts = await asyncio.gather(
        _guarded("dmarc", _dmarc(domain, resolver, records)),
        *(_guarded("dkim", _dkim(domain, selector, resolver, records)) for selector in selectors),
        _guarded("mta-sts", _mta_sts(domain, resolver, fetch, records)),
        _guarded("tls-rpt", _tls_rpt(domain, resolver, records)),
        _guarded("bimi", _bimi(domain, resolver, records)),
    )
    if tree.text:
        records["spf"] = tree.text
    findings = [*_spf(tree), *(finding for part in parts for finding in part)]
    if not selectors:
        findings.append(Finding("dkim", Level.NOTE, "No DKIM selector is known yet: name one, or wait for reports."))
    return Posture(domain, tuple(findings), records, tree.lookups, tree.void)


async def _guarded(subject: str, looking: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await looking
    except LookupFailed as error:
        return [Finding(subject, Level.UNKNOWN, f"Could not be looked at: {error}.")]


def _spf(tree: SpfTree) -> list[Finding]:
    def finding(level: Level, text: str) -> Finding:
        return Finding("spf", level, text)

    if tree.text is None:
        level = Level.UNKNOWN if "no answer" in tree.problems[0] else Level.PROBLEM
        return [finding(level, f"{tree.problems[0]}: receivers cannot tell who may send for this domain.")]
    found = [finding(Level.PROBLEM, f"{problem}.") for problem in tree.problems]
    if tree.lookups > MOST_LOOKUPS:
        found.append(
            finding(
                Level.PROBLEM,
                f"The record needs {tree.lookups} DNS look-ups; receivers give up after {MOST_LOOKUPS}. "
                "Remove includes of services that are no longer used, or list their networks.",
            )
        )
    elif tree.lookups > MOST_LOOKUPS - 2:
        text = f"The record needs {tree.lookups} of {MOST_LOOKUPS} DNS look-ups: another service may break it."
        found.append(finding(Level.WARNING, text))
    if tree.void > MOST_VOID:
        text = f"{tree.void} of its look-ups find nothing; receivers stop after {MOST_VOID}. Remove what is gone."
        found.append(finding(Level.PROBLEM, text))
    ending = {"+": Level.PROBLEM, "?": Level.WARNING, "": Level.WARNING}.get(tree.all_qualifier)
    if ending is not None and "redirect=" not in tree.text:
        text = f"The record ends with {tree.all_qualifier or 'no '}all, which lets everybody send: end it with ~all."
        found.append(finding(ending, text))
    return found or [finding(Level.OK, f"The record is sound and needs {tree.lookups} DNS look-ups.")]


async def _dkim(domain: str, selector: str, resolver: Resolver, records: dict[str, str]) -> list[Finding]:
    name = f"{selector}._domainkey.{domain}"
    texts = await resolver.txt(name)
    if not texts:
        return [Finding("dkim", Level.WARNING, f"Selector {selector}: no key is published; signatures with it fail.")]
    records[f"dkim:{selector}"] = texts[0]
    key = read_key(texts[0])
    if key.problem:
        return [Finding("dkim", Level.PROBLEM, f"Selector {selector}: {key.problem}.")]
    if key.bits is not None and key.bits < _SHORT_KEY:
        text = f"Selector {selector}: the RSA key has {key.bits} bits; make a new one of {_SHORT_KEY}."
        return [Finding("dkim", Level.WARNING, text)]
    if key.testing:
        text = f"Selector {selector}: the key is marked as a test (t=y); some receivers ignore it then."
        return [Finding("dkim", Level.NOTE, text)]
    return [Finding("dkim", Level.OK, f"Selector {selector}: the key is sound.")]


async def _dmarc(domain: str, resolver: Resolver, records: dict[str, str]) -> list[Finding]:
    own = records_of(await resolver.txt(f"_dmarc.{domain}"), "DMARC1")
    if len(own) > 1:
        return [Finding("dmarc", Level.PROBLEM, f"{len(own)} DMARC records: receivers ignore all of them. Keep one.")]
    policy = await find_policy(domain, resolver)
    if policy is None:
        text = f"There is no DMARC record: publish `v=DMARC1; p=none; rua=mailto:...` at _dmarc.{domain}."
        return [Finding("dmarc", Level.PROBLEM, text)]
    records["dmarc"] = policy.text
    return [*_dmarc_tags(policy, domain), *await _destinations(policy, domain, resolver)]


def _dmarc_tags(policy: PublishedPolicy, domain: str) -> list[Finding]:
    def finding(level: Level, text: str) -> Finding:
        return Finding("dmarc", level, text)

    tags = policy.tags
    found = []
    if policy.domain != domain:
        found.append(finding(Level.NOTE, f"The policy is that of {policy.domain}; {domain} has none of its own."))
    if "p" not in tags:
        found.append(finding(Level.PROBLEM, "The record has no p: without reports it counts for nothing."))
    wrong = [tag for tag in ("p", "sp", "np") if tags.get(tag, "none").lower() not in _POLICIES]
    found += [finding(Level.PROBLEM, f"{tag} is no policy: write none, quarantine or reject.") for tag in wrong]
    if unknown := sorted(tags.keys() - _TAGS):
        found.append(finding(Level.WARNING, f"Unknown: {', '.join(unknown)[:200]}. A typing error?"))
    if obsolete := sorted(tags.keys() & _OBSOLETE):
        text = f"{', '.join(obsolete)} went away with RFC 9989 and may be ignored: remove it."
        found.append(finding(Level.WARNING if tags.get("pct", "100") != "100" else Level.NOTE, text))
    if tags.get("t", "").lower() == "y":
        found.append(finding(Level.NOTE, "t=y: the policy is applied one step softer, as a test."))
    if not tags.get("rua"):
        found.append(finding(Level.PROBLEM, "No rua: nobody will tell you who sends in your name."))
    words = {
        "none": (Level.NOTE, "p=none: forged mail is delivered. See whether you may go further: `dmarc advise`."),
        "quarantine": (Level.OK, "p=quarantine: forged mail goes to the spam folder."),
        "reject": (Level.OK, "p=reject: forged mail is refused."),
    }
    return [*found, finding(*words[policy.p])]


async def _destinations(policy: PublishedPolicy, domain: str, resolver: Resolver) -> list[Finding]:
    """Whether the hosts that reports go to have agreed to take them (RFC 9990 section 4)."""
    found = []
    home = await organisational_domain(domain, resolver)
    for host in _hosts(policy.tags.get("rua", ""), policy.tags.get("ruf", "")):
        if await organisational_domain(host, resolver) == home:
            continue
        name = f"{policy.domain}._report._dmarc.{host}"
        if records_of(await resolver.txt(name), "DMARC1"):
            found.append(Finding("reports", Level.OK, f"{host} agrees to take the reports."))
        else:
            text = f"{host} does not agree to take the reports, so they are not sent: publish `v=DMARC1` at {name}."
            found.append(Finding("reports", Level.PROBLEM, text))
    return found


def _hosts(*destinations: str) -> list[str]:
    uris = [uri.strip() for text in destinations for uri in text.split(",")]
    hosts = (uri.partition("!")[0].rpartition("@")[2].lower() for uri in uris if uri.lower().startswith("mailto:"))
    return list(dict.fromkeys(host for host in hosts if host))[:10]


async def _mta_sts(domain: str, resolver: Resolver, fetch: Fetch, records: dict[str, str]) -> list[Finding]:
    """RFC 8461."""
    texts = records_of(await resolver.txt(f"_mta-sts.{domain}"), "STSv1")
    if not texts:
        text = "No MTA-STS: others may be tricked into sending you mail in clear. It is worth having."
        return [Finding("mta-sts", Level.NOTE, text)]
    records["mta-sts"] = texts[0]
    page = await fetch(f"https://mta-sts.{domain}/.well-known/mta-sts.txt")
    if page is None:
        return [
            Finding("mta-sts", Level.PROBLEM, f"The record is there, the policy is not: https://mta-sts.{domain}/...")
        ]
    records["mta-sts-policy"] = page
    lines = [line.partition(":") for line in page.splitlines()]
    keys = {key.strip().lower(): value.strip() for key, _, value in lines}
    patterns = [value.strip().lower() for key, _, value in lines if key.strip().lower() == "mx"]
    if keys.get("version") != "STSv1" or keys.get("mode") not in ("enforce", "testing", "none"):
        return [Finding("mta-sts", Level.PROBLEM, "The policy cannot be read: version and mode are needed.")]
    hosts = [host for host in await resolver.mx(domain) if host]
    missing = [host for host in hosts if not any(_covers(pattern, host) for pattern in patterns)]
    if missing and keys["mode"] != "none":
        level = Level.PROBLEM if keys["mode"] == "enforce" else Level.WARNING
        text = f"The policy leaves out {', '.join(missing[:5])}: mail to them is refused under enforce."
        return [Finding("mta-sts", level, text)]
    return [Finding("mta-sts", Level.OK if keys["mode"] == "enforce" else Level.NOTE, f"The mode is {keys['mode']}.")]


def _covers(pattern: str, host: str) -> bool:
    """RFC 8461 section 4.1: a star stands for one label."""
    return host == pattern or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


async def _tls_rpt(domain: str, resolver: Resolver, records: dict[str, str]) -> list[Finding]:
    """RFC 8460 section 3."""
    texts = records_of(await resolver.txt(f"_smtp._tls.{domain}"), "TLSRPTv1")
    if not texts:
        text = f"No TLS reports are asked for: publish `v=TLSRPTv1; rua=mailto:...` at _smtp._tls.{domain}."
        return [Finding("tls-rpt", Level.NOTE, text)]
    records["tls-rpt"] = texts[0]
    if len(texts) > 1 or not read_tags(texts[0]).get("rua"):
        return [Finding("tls-rpt", Level.PROBLEM, "One record with a rua is needed; this one counts for nothing.")]
    return [Finding("tls-rpt", Level.OK, "TLS reports are asked for.")]


async def _bimi(domain: str, resolver: Resolver, records: dict[str, str]) -> list[Finding]:
    texts = records_of(await resolver.txt(f"default._bimi.{domain}"), "BIMI1")
    if not texts:
        return []
    records["bimi"] = texts[0]
    tags = read_tags(texts[0])
    if not tags.get("l", "").lower().startswith("https://"):
        return [Finding("bimi", Level.WARNING, "The BIMI record names no logo at an https address.")]
    policy = await find_policy(domain, resolver)
    if policy is None or policy.p == "none":
        return [Finding("bimi", Level.WARNING, "A logo is shown only with a policy of quarantine or reject.")]
    if not tags.get("a"):
        return [Finding("bimi", Level.NOTE, "Without a mark certificate (a=) most providers show no logo.")]
    return [Finding("bimi", Level.OK, "The logo's record is sound.")]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """For showing: what costs mail first."""
    order = (Level.PROBLEM, Level.WARNING, Level.UNKNOWN, Level.NOTE, Level.OK)
    return sorted(findings, key=lambda finding: order.index(finding.level))
