"""The reckoning at the end of a demo: do all who counted on their own agree? Pure: counts in, a table out.

Four parties counted without asking each other: the generator (what the MTA said 250 to), the simulated providers (what
they said to the MTA), the MTA's log read without the collector, and the store with its metrics. Each line of the table
is one question. Where the outsiders can know a number only within bounds (a connection died before the reply was read,
a process was killed between a reply and its record), the line says why it differs; beyond the bounds it disagrees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["CountedLog", "reckon"]

_OUTCOMES = ("in_flight", "delivered", "bounced", "expired", "admin_bounced", "suppressed", "transferred")
_UNNAMED = "other"


class CountedLog(Protocol):
    """The MTA's log by KumoMTA's record types; `local` are those records that no peer's words caused."""

    @property
    def types(self) -> Mapping[str, int]:
        """Records by type."""

    @property
    def local(self) -> Mapping[str, int]:
        """Of these, those of local origin."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One question: what an outsider counted, and what those inside counted, who must all say the same number.

    The insiders' number less the outsider's must lie between `least` and `most`; if it is not 0, `because` explains it.
    """

    what: str
    outsider: tuple[str, int]
    insiders: Mapping[str, int]
    least: int = 0
    most: int = 0
    because: str = ""

    @property
    def difference(self) -> int:
        return next(iter(self.insiders.values())) - self.outsider[1]

    @property
    def agrees(self) -> bool:
        return len(set(self.insiders.values())) == 1 and self.least <= self.difference <= self.most

    def as_dict(self) -> dict[str, Any]:
        name, count = self.outsider
        explained = self.agrees and self.difference != 0
        return {
            "what": self.what,
            "agrees": self.agrees,
            "counts": {name: count, **self.insiders},
            "difference": self.difference,
            "because": self.because if explained else None,
        }


def reckon(
    *,
    generator: Mapping[str, Any],
    providers: Mapping[str, Any],
    log: CountedLog,
    total: Mapping[str, Any],
    rates: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, float] | None = None,
    restarts: int = 0,
) -> list[dict[str, Any]]:
    """The table, a dict for each line: `what, agrees, counts{}, difference, because`.

    `generator` and `providers` are the reports of those processes; `total` is the store's answer over all mail and
    `rates` its answer by provider; `metrics` sums the event counters by `type/origin` (None: not scraped); `restarts`
    says how often a process was started anew.
    """
    sides = _Sides(generator, providers["providers"], log, total, rates, metrics, restarts)
    return [line.as_dict() for line in sides.lines()]


@dataclass(frozen=True, slots=True)
class _Sides:
    generator: Mapping[str, Any]
    providers: Mapping[str, Mapping[str, Any]]
    log: CountedLog
    total: Mapping[str, Any]
    rates: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, float] | None
    restarts: int

    def lines(self) -> Iterator[_Line]:
        yield self._injected()
        yield self._delivered()
        yield self._delivered_by_provider()
        yield self._doubles()
        yield self._deferred()
        yield self._rejected()
        yield self._returned("complaints", "Feedback", "complained", "complaint")
        yield self._returned("late_bounces", "OOB", "oob_bounced", "oob_bounce")
        yield self._expired()
        yield self._identity()

    def _injected(self) -> _Line:
        return _Line(
            "recipients that the MTA accepted",
            ("generator", self.generator["accepted"]),
            self._inside("Reception", "injected", "reception"),
            most=self.generator["unknown"],
            because="the connection died before the generator could read the reply",
        )

    def _delivered(self) -> _Line:
        taken = ("providers", self._sum("unique"))
        return _Line("recipients that providers took", taken, self._inside("Delivery", "delivered", "delivery"))

    def _delivered_by_provider(self) -> _Line:
        """One line for all: how many providers' deliveries are told differently by the two sides."""
        stored = {row["provider"]: row["delivered"] for row in self.rates}
        named = {name: stored.pop(name, 0) for name in self.providers if name != _UNNAMED}
        if _UNNAMED in self.providers:
            named[_UNNAMED] = sum(stored.values())
        differing = sum(named[name] != counts["unique"] for name, counts in self.providers.items())
        return _Line(
            "providers whose deliveries are told alike",
            ("providers", len(self.providers)),
            {"store": len(self.providers) - differing},
        )

    def _doubles(self) -> _Line:
        """A mail may reach a provider twice only if a kill fell between its reply and our record of it."""
        return _Line(
            "recipients that providers judged twice",
            ("expected", 0),
            {"providers": self._sum("doubles") + self._sum("repeats")},
            most=self.restarts * self._sum("connections_most"),
            because="the MTA was killed between a provider's last word and its own record",
        )

    def _deferred(self) -> _Line:
        refused = self._sum("connections_refused")
        return _Line(
            "attempts that providers deferred",
            ("providers", self._sum("deferred")),
            self._inside("TransientFailure", "attempt_deferrals", "deferral", remote=True),
            least=-self.restarts * self._sum("connections_most"),
            most=refused,
            because="connections refused at the greeting, or replies on their way to an MTA that was killed",
        )

    def _rejected(self) -> _Line:
        rejected = ("providers", self._sum("rejected") - self._sum("repeats"))
        inside = self._inside("Bounce", "attempt_bounces", "bounce", remote=True)
        return _Line("recipients that providers rejected", rejected, inside)

    def _returned(self, kind: str, record: str, measure: str, event: str) -> _Line:
        returned = [counts[kind] for counts in self.providers.values() if kind in counts]
        return _Line(
            f"{kind.replace('_', ' ')} that came back by mail",
            ("providers", sum(counts["sent"] for counts in returned)),
            self._inside(record, measure, event),
            most=sum(counts["unknown"] for counts in returned),
            because="the connection died before the provider could read the reply",
        )

    def _expired(self) -> _Line:
        inside = self._inside("Expiration", "expired", "expiration")
        return _Line("recipients given up after deferrals", ("log", inside.pop("log")), inside)

    def _identity(self) -> _Line:
        outcomes = sum(self.total[name] for name in _OUTCOMES)
        return _Line(
            "injected is the sum of the outcomes", ("injected", self.total["injected"]), {"outcomes": outcomes}
        )

    def _inside(self, record: str, measure: str, event: str, *, remote: bool = False) -> dict[str, int]:
        """What log, store and metrics say; with `remote`, only what a peer caused."""
        counts = {
            "log": self.log.types.get(record, 0) - (self.log.local.get(record, 0) if remote else 0),
            "store": self.total[measure],
        }
        if self.metrics is not None:
            origins = ("remote",) if remote else ("remote", "local")
            counts["metrics"] = round(sum(self.metrics.get(f"{event}/{origin}", 0) for origin in origins))
        return counts

    def _sum(self, name: str) -> int:
        return sum(int(counts[name]) for counts in self.providers.values())
