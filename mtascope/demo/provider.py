"""One simulated mailbox provider without its sockets: it judges mails, words its replies, and counts what it did.

Counts are in recipients, because that is the unit of every number in mtascope (one reply after the dot speaks for all
recipients of the mail). `attempts = accepted + deferred + rejected + unfinished` holds at every moment.

A mail of the demo that comes again after its fate was sealed (the sender was killed before it could note the reply)
meets the same fate again, and is counted as a double or a repeat. So both sides' accounts can be compared exactly.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from typing import Any

from mtascope.demo.campaigns import BOUNCES_DOMAIN
from mtascope.demo.chance import draw, token
from mtascope.demo.feedback_mails import Taken
from mtascope.demo.feedback_sender import FeedbackKind
from mtascope.demo.providers import Behaviour, Profile, judge
from mtascope.demo.scenario import Phase, Scenario

__all__ = ["DEMO_ID", "DEMO_POOL", "Counts", "Provider", "Stage"]

DEMO_ID = "X-Mtascope-Demo-Id"
"""Header that identifies a mail of the demo, so that one delivered twice is noticed."""
DEMO_POOL = "X-Mtascope-Demo-Pool"
"""Header that names the sending pool: it stands for the source address, which on loopback is always the same."""

_NOT_OURS = Behaviour(
    name="not-our-domain", share=0, reply="550 5.7.1 <{recipient}>: Relay access denied: no such domain here"
)
_BREAKS_EVERY = 4
"""Of a flaky provider's TLS handshakes every fourth breaks off, the second one first."""
_NO_POOL_IP = "192.0.2.1"
_HEAD_LIMIT = 64 * 1024
_DEFERRED_LIMIT, _REJECTED_LIMIT, _SEEN_LIMIT = 200_000, 50_000, 250_000
_ID_LINE = re.compile(rb"^X-Mtascope-Demo-Id:[ \t]*(\S{1,200})", re.MULTILINE | re.IGNORECASE)
_POOL_LINE = re.compile(rb"^X-Mtascope-Demo-Pool:[ \t]*(\S{1,200})", re.MULTILINE | re.IGNORECASE)


@dataclass(slots=True)
class Counts:
    """What a provider has done since it started. All in recipients, but for connections and TLS."""

    connections: int = 0
    connections_refused: int = 0
    """Sent away with `busy` because too many were open; nobody's recipient was judged."""
    connections_most: int = 0
    """The most that were open at once: no more replies can have been on their way at any instant."""
    tls_started: int = 0
    tls_established: int = 0
    attempts: int = 0
    accepted: int = 0
    """250 after the final dot, doubles included."""
    doubles: int = 0
    """Of these, the ones accepted before under the same id and recipient."""
    deferred: int = 0
    """Answered 4yz."""
    rejected: int = 0
    """Answered 5yz, repeats included."""
    repeats: int = 0
    """Of these, the ones that had been rejected before: the sender did not know any more."""
    behaviours: Counter[str] = field(default_factory=Counter)

    def snapshot(self) -> dict[str, Any]:
        """All of them, with `unique` (accepted without doubles) and `unfinished` (attempts not answered so far)."""
        return {
            **asdict(self),
            "behaviours": dict(self.behaviours),
            "unique": self.accepted - self.doubles,
            "unfinished": self.attempts - self.accepted - self.deferred - self.rejected,
        }


class _Seen:
    """Remembers what was accepted, in two generations so that memory stays bounded: at least the last 250,000 units."""

    def __init__(self, limit: int = _SEEN_LIMIT) -> None:
        self._limit = limit
        self._young: set[int] = set()
        self._old: set[int] = set()

    def __contains__(self, unit: tuple[str, str]) -> bool:
        key = hash(unit)
        return key in self._young or key in self._old

    def add(self, unit: tuple[str, str]) -> bool:
        """Remember the unit; True if it was known."""
        known = unit in self
        self._young.add(hash(unit))
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, set()
        return known


@dataclass(frozen=True, slots=True)
class Stage:
    """What all providers of a run have in common."""

    seed: int
    scenario: Scenario
    now: Callable[[], tuple[Phase, ...]]
    """The phases of the scenario that are active at this moment."""
    clock: Callable[[], float]
    """Seconds since the epoch."""
    pools: Mapping[str, str] = field(default_factory=dict)
    """Address of each sending pool."""
    feedback: Callable[[FeedbackKind, Taken], None] | None = None
    """Takes what a provider returns by mail; None where nobody would take it."""


class Provider:
    """A provider's judgement, words, memory and counts."""

    def __init__(self, profile: Profile, stage: Stage) -> None:
        self.profile = profile
        self.counts = Counts()
        self._stage = stage
        self._seen = _Seen()
        self._deferred: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._rejected: OrderedDict[tuple[str, str], Behaviour] = OrderedDict()

    def at_rcpt(self, sender: str, recipient: str) -> str | None:
        """Judge one recipient: the words of the refusal, or None where the mail may be sent on to the dot."""
        self.counts.attempts += 1
        if recipient.rpartition("@")[2].lower() not in self.profile.domains:
            return self._refuse([(sender, recipient)], _NOT_OURS, None)
        if (_identity(sender), recipient) in self._seen:
            return None
        struck = self._judge(sender, recipient, "rcpt", None)
        if struck is None or struck.phase == "dot":
            return None
        return self._refuse([(sender, recipient)], struck, None)

    def at_dot(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """Judge the whole mail: one reply for all its recipients, and the first one struck decides."""
        head = content[:_HEAD_LIMIT].partition(b"\r\n\r\n")[0]
        pool = _value(_POOL_LINE, head)
        identity = _value(_ID_LINE, head) or _identity(sender)
        units = [(sender, recipient) for recipient in recipients]
        for unit in units:
            if (identity, unit[1]) in self._seen:
                continue
            struck = self._judge(*unit, "dot", pool)
            if struck is not None and struck.phase == "dot":
                return self._refuse(units, struck, pool)
        for unit in units:
            self._accept(unit, identity, head, pool)
        return self._words(self.profile.accepted, units[0], pool, identity)

    def busy(self) -> str:
        """The words for one connection too many."""
        self.counts.connections_refused += 1
        return self._words(self.profile.busy, ("", ""), None)

    def banner(self) -> str:
        """The greeting of the next connection, without its code."""
        self.counts.connections += 1
        return self._words(self.profile.banner, ("", str(self.counts.connections)), None)

    def breaks_handshake(self) -> bool:
        """Whether the TLS handshake that begins now will fail."""
        self.counts.tls_started += 1
        return self.profile.starttls == "flaky" and self.counts.tls_started % _BREAKS_EVERY == 2

    def latency(self, *about: object) -> float:
        """Seconds that this provider thinks before it answers."""
        low, high = self.profile.latency_ms
        return (low + draw(self._stage.seed, self.profile.name, "latency", *about) ** 2 * (high - low)) / 1000

    def visited(self, open_now: int) -> None:
        """A connection was opened; so many are open now."""
        self.counts.connections_most = max(self.counts.connections_most, open_now)

    def _judge(self, sender: str, recipient: str, at: str, pool: str | None) -> Behaviour | None:
        if (known := self._rejected.get((sender, recipient))) is not None:
            return known
        return judge(
            self.profile,
            self._stage.seed,
            sender,
            recipient,
            attempt=self._deferred.get((sender, recipient), 0) + 1,
            overlay=self._stage.scenario.overlay(self.profile.name, at, pool, self._stage.now()),
        )

    def _refuse(self, units: Sequence[tuple[str, str]], struck: Behaviour, pool: str | None) -> str:
        self.counts.behaviours[struck.name] += len(units)
        for unit in units:
            if struck.code < 500:
                self._defer(unit)
            else:
                self._reject(unit, struck)
        return self._words(struck.reply, units[0], pool)

    def _defer(self, unit: tuple[str, str]) -> None:
        self.counts.deferred += 1
        self._deferred[unit] = self._deferred.pop(unit, 0) + 1
        if len(self._deferred) > _DEFERRED_LIMIT:
            self._deferred.popitem(last=False)

    def _reject(self, unit: tuple[str, str], struck: Behaviour) -> None:
        self.counts.rejected += 1
        self.counts.repeats += unit in self._rejected
        self._deferred.pop(unit, None)
        if _identity(unit[0]):
            self._rejected[unit] = struck
        if len(self._rejected) > _REJECTED_LIMIT:
            self._rejected.popitem(last=False)

    def _accept(self, unit: tuple[str, str], identity: str, head: bytes, pool: str | None) -> None:
        self.counts.accepted += 1
        double = bool(identity) and self._seen.add((identity, unit[1]))
        self.counts.doubles += double
        self._deferred.pop(unit, None)
        if self._stage.feedback is not None and not double:
            self._return_by_mail(unit, head, pool)

    def _return_by_mail(self, unit: tuple[str, str], head: bytes, pool: str | None) -> None:
        """Complaints and late bounces: a mail gets at most one of them."""
        sender, recipient = unit
        where = draw(self._stage.seed, self.profile.name, "feedback", sender, recipient)
        complaints = self._complaint_share(pool)
        kind: FeedbackKind = "complaints" if where < complaints else "late_bounces"
        if where >= complaints + self.profile.late_bounce_share or self._stage.feedback is None:
            return
        mail = Taken(
            provider=self.profile.name,
            host=self.profile.domains[recipient.rpartition("@")[2].lower()],
            sender=sender,
            recipient=recipient,
            source_ip=self._stage.pools.get(pool or "", _NO_POOL_IP),
            at=self._stage.clock(),
            head=head,
            token=token(self._stage.seed, self.profile.name, sender, recipient),
        )
        self._stage.feedback(kind, mail)

    def _complaint_share(self, pool: str | None) -> float:
        """What the scenario says, at a provider that runs a loop; elsewhere nobody can complain."""
        if not self.profile.complaint_share:
            return 0.0
        stirred = self._stage.scenario.complaint_share(self.profile.name, pool, self._stage.now())
        return max(self.profile.complaint_share, stirred)

    def _words(self, template: str, unit: tuple[str, str], pool: str | None, identity: str = "") -> str:
        now = self._stage.clock()
        sender, recipient = unit
        return template.format(
            recipient=recipient,
            domain=recipient.rpartition("@")[2],
            ip=self._stage.pools.get(pool or "", _NO_POOL_IP),
            token=token(self.profile.name, sender, recipient),
            id=identity,
            time=int(now),
            date=formatdate(now, usegmt=True).removesuffix(" GMT"),
        )


def _identity(sender: str) -> str:
    """The id that a mail of the demo bears in its envelope sender (`bounce+ID@...`); "" for anybody else's mail."""
    local, _, domain = sender.rpartition("@")
    return local.removeprefix("bounce+") if domain == BOUNCES_DOMAIN and local.startswith("bounce+") else ""


def _value(line: re.Pattern[bytes], head: bytes) -> str | None:
    found = line.search(head)
    return found[1].decode("ascii", "replace") if found else None
