"""May this domain's policy be made stricter, and what would be lost? Written for people who do not run mail servers.

The advice rests on what reports showed, so it says how much they showed: without enough days, reporters and messages
it is "not yet", never "yes". A blocker is a sender whose mail is ours and does not pass; forwarded mail that fails is
named as a loss to be expected, not as a blocker, because nobody can fix it at the source. Unknown senders never block:
to stop those is what a policy is for; they are shown, with their volumes, so that a forgotten system is not taken for a
forger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dmarc.senders import Sender, SenderKind, SourceTraffic
from mta.events.instants import DAY

__all__ = ["Advice", "Blocker", "Coverage", "SenderSummary", "Week", "advise", "changes"]

_STEPS = ("none", "quarantine", "reject")
_FLOOR_MESSAGES = 100
_FLOOR_DAYS = 14
_FLOOR_REPORTERS = 2
_BLOCK_SHARE = 0.01
"""A sender of ours blocks when more than this share of its mail fails ..."""
_BLOCK_MESSAGES = 5
"""... and at least this many messages."""
_NEW = 7 * DAY
_CHANGE = 0.02
"""A change of the passing share that is worth a sentence."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much the reports tell about a window: days with reports, and for each reporter its number of days."""

    days: int
    reporters: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSummary:
    """One sender, all its addresses together. Volumes are whole messages."""

    kind: SenderKind
    name: str
    evidence: str
    messages: int
    passed: int
    failed: int
    dkim_aligned: int
    spf_aligned: int
    hindered: int
    addresses: tuple[str, ...]
    broken_signers: tuple[str, ...]
    new: bool
    """First seen in the last seven days of the window, while there were reports before."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that stands in the way: a stable code, whom it is about, how many messages, and a sentence."""

    code: str
    sender: str | None
    messages: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The answer. `safe`: going to `recommended` now loses no mail that we know to be ours."""

    domain: str
    policy: str | None
    recommended: str
    safe: bool
    summary: str
    messages: int
    passed: int
    would_lose: int
    """Messages of the window from our own senders, services and forwarders that the stricter policy would stop."""
    unknown: int
    """Messages from senders that we cannot name; forged, or forgotten."""
    days: int
    reporters: Mapping[str, int]
    blockers: tuple[Blocker, ...] = ()
    sources: tuple[SenderSummary, ...] = field(default=())


def advise(
    domain: str,
    policy: str | None,
    traffic: Iterable[tuple[SourceTraffic, Sender]],
    coverage: Coverage,
    until: int,
) -> Advice:
    """Judge a window that ends at `until`."""
    sources = _summaries(list(traffic), until)
    blockers = (*_thin(sources, coverage), *_failing(sources))
    current = policy if policy in _STEPS else None
    step = _STEPS[min(_STEPS.index(current) + 1, 2)] if current else "none"
    recommended = (current or "none") if blockers else step
    lost = sum(item.failed for item in sources if _is_loss(item))
    return Advice(
        domain=domain,
        policy=policy,
        recommended=recommended,
        safe=not blockers and current is not None,
        summary=_summary(domain, current, step, blockers, lost),
        messages=sum(item.messages for item in sources),
        passed=sum(item.passed for item in sources),
        would_lose=lost,
        unknown=sum(item.failed for item in sources if not _is_loss(item)),
        days=coverage.days,
        reporters=coverage.reporters,
        blockers=blockers,
        sources=tuple(sources),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """Seven days: messages, those that passed DMARC, and the policy that reporters saw last."""

    messages: float
    passed: float
    policy: str | None

    @property
    def share(self) -> float | None:
        """Of messages that passed; None below the floor."""
        return self.passed / self.messages if self.messages >= _FLOOR_MESSAGES else None


def changes(sources: Iterable[SenderSummary], this: Week, last: Week) -> list[str]:
    """What is different from the week before, in sentences; nothing is said about too little mail."""
    told = []
    if this.policy and last.policy and this.policy != last.policy:
        told.append(f"The policy went from p={last.policy} to p={this.policy}.")
    if this.share is not None and last.share is not None and abs(this.share - last.share) >= _CHANGE:
        word = "rose" if this.share > last.share else "fell"
        told.append(f"The share of mail that passes {word} from {last.share:.1%} to {this.share:.1%}.")
    if last.messages >= _FLOOR_MESSAGES and not 0.5 <= this.messages / last.messages <= 2:
        told.append(f"Volume went from {last.messages:.0f} to {this.messages:.0f} messages.")
    if last.messages and not this.messages:
        told.append("No reports about this week have come.")
    told += [
        f"New sender: {item.name} ({item.kind}), {item.messages} messages, {item.failed} fail."
        for item in sources
        if item.new and item.messages >= _BLOCK_MESSAGES
    ][:10]
    return told


def _summaries(traffic: list[tuple[SourceTraffic, Sender]], until: int) -> list[SenderSummary]:
    groups: dict[Sender, list[SourceTraffic]] = defaultdict(list)
    for item, sender in traffic:
        groups[sender].append(item)
    begin = min((item.first_day for item, _ in traffic), default=until)
    made = [_summary_of(sender, items, begin, until) for sender, items in groups.items()]
    return sorted(made, key=lambda item: (-item.messages, item.name))


def _summary_of(sender: Sender, items: Sequence[SourceTraffic], begin: int, until: int) -> SenderSummary:
    messages, passed = (round(sum(getattr(item, name) for item in items)) for name in ("messages", "passed"))
    first = min(item.first_day for item in items)
    return SenderSummary(
        kind=sender.kind,
        name=sender.name,
        evidence=sender.evidence,
        messages=messages,
        passed=passed,
        failed=messages - passed,
        dkim_aligned=round(sum(item.dkim_aligned for item in items)),
        spf_aligned=round(sum(item.spf_aligned for item in items)),
        hindered=round(sum(item.hindered for item in items)),
        addresses=tuple(sorted({item.source_ip for item in items if item.source_ip})[:100]),
        broken_signers=tuple(sorted({name for item in items for name in item.broken_signers})[:20]),
        new=first >= until - _NEW > begin,
    )


def _thin(sources: Sequence[SenderSummary], coverage: Coverage) -> Iterable[Blocker]:
    """What is missing before the reports may be trusted to show everything."""
    messages = sum(item.messages for item in sources)
    if messages < _FLOOR_MESSAGES:
        text = f"Reports show only {messages} messages; at least {_FLOOR_MESSAGES} are needed to judge."
        yield Blocker("too_few_messages", None, messages, text)
    if coverage.days < _FLOOR_DAYS:
        text = f"Reports cover only {coverage.days} days; wait until they cover {_FLOOR_DAYS}."
        yield Blocker("too_few_days", None, messages, text)
    if len(coverage.reporters) < _FLOOR_REPORTERS:
        names = ", ".join(coverage.reporters) or "nobody"
        text = f"Only {names} reports: mail to other providers is not seen at all."
        yield Blocker("too_few_reporters", None, messages, text)


def _failing(sources: Sequence[SenderSummary]) -> Iterable[Blocker]:
    for item in sources:
        ours = item.kind in (SenderKind.OWN, SenderKind.SERVICE, SenderKind.AUTHORISED)
        if ours and item.failed >= _BLOCK_MESSAGES and item.failed > _BLOCK_SHARE * item.messages:
            yield Blocker("unaligned_sender", item.name, item.failed, _remedy(item))


def _remedy(item: SenderSummary) -> str:
    names = {SenderKind.OWN: "our own mail server", SenderKind.AUTHORISED: "listed in the SPF record"}
    what = names.get(item.kind, "a service")
    text = f"{item.failed} of {item.messages} messages from {item.name} ({what}) fail DMARC and would be stopped. "
    if item.broken_signers and not item.dkim_aligned:
        return (
            text + f"Its DKIM signature does not verify: {', '.join(item.broken_signers[:3])}. Repair the key in DNS."
        )
    if not item.dkim_aligned and not item.spf_aligned:
        return text + "It neither signs with this domain nor bounces to it: set up DKIM with this domain there."
    return text + "Some of its mail is not signed with this domain: find the stream that is not, and sign it."


def _is_loss(item: SenderSummary) -> bool:
    return item.kind not in (SenderKind.SUSPICIOUS, SenderKind.UNKNOWN)


def _summary(domain: str, current: str | None, step: str, blockers: Sequence[Blocker], lost: int) -> str:
    if current is None:
        return f"No usable DMARC policy of {domain} appears in any report: publish p=none with a rua address first."
    if blockers:
        return f"Stay at p={current}: {blockers[0].text}"
    if current == "reject":
        return f"{domain} is protected: p=reject, and all known senders pass."
    cost = f" About {lost} messages of the period would have been stopped, mostly forwarded mail." if lost else ""
    return f"{domain} can go from p={current} to p={step}: all known senders pass.{cost}"
