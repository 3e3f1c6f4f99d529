"""An incident, and the signals that it is made of. Values only.

A *signal* is one series that shows trouble: a kind, at a provider, in all of its mail or that of one tenant or pool. An
*incident* is one trouble: every signal that the same cause explains.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from analytics.causes import Cause
from analytics.incidents.kinds import SPIKES, Kind

__all__ = ["Incident", "ReplyExcess", "Signal", "SignalKey", "incident_id"]

SignalKey = tuple[Kind, str, str, str]
"""Kind, provider, dimension and value of the part ("" and "" for all mail)."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Trouble in one series.

    Instants are microseconds: it began, as far as can be told, at `began`; the decisions fell at `opened` and `closed`
    (None while it lasts), the ends of 5-minute steps. `level` and `baseline` are what was seen and what is usual: rates
    for spikes, and for the safety nets what their kind measures. `numerator` of `denominator` were bad while it lasted.
    """

    kind: Kind
    provider: str
    dimension: str
    value: str
    began: int
    opened: int
    closed: int | None
    level: float
    baseline: float
    numerator: int
    denominator: int

    @property
    def key(self) -> SignalKey:
        """Of its series."""
        return (self.kind, self.provider, self.dimension, self.value)

    @property
    def scope(self) -> dict[str, str]:
        """The part of the provider's mail; empty for all of it."""
        return {self.dimension: self.value} if self.dimension else {}


@dataclass(frozen=True, slots=True)
class ReplyExcess:
    """What providers said: `excess` times more than usual, `share` of all excess, `new` if it was not heard before."""

    text: str
    bounce_class: str | None
    excess: float
    share: float
    new: bool


@dataclass(frozen=True, slots=True)
class Incident:
    """One trouble. What is said of rates is that of its first signal; `providers` are all at which it shows.

    `began` is to the minute where the events tell it. `causes` are ranked; the provider itself is one where none of our
    side stands out. `advice` says what to do.
    """

    id: str
    kind: Kind
    provider: str
    scope: dict[str, str]
    began: int
    opened: int
    closed: int | None
    level: float
    baseline: float
    numerator: int
    denominator: int
    causes: list[Cause] = field(default_factory=list)
    replies: list[ReplyExcess] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    told_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None

    @property
    def providers(self) -> list[str]:
        """Where it shows, its first provider first."""
        return list(dict.fromkeys(signal.provider for signal in self.signals))

    @property
    def kinds(self) -> list[Kind]:
        """How it shows, its first kind first."""
        return list(dict.fromkeys(signal.kind for signal in self.signals))

    def with_signal(self, signal: Signal) -> Incident:
        """The same incident with a signal added or brought up to date; it ends with the last of those that decide.

        A safety net looks back for an hour: it does not prolong what the detector has seen end.
        """
        signals = {one.key: one for one in self.signals} | {signal.key: signal}
        deciding = [one.closed for one in signals.values() if one.kind in SPIKES] or [
            one.closed for one in signals.values()
        ]
        closed = None if None in deciding else max(end for end in deciding if end is not None)
        first = next(iter(signals.values()))
        return replace(
            self,
            signals=[one if closed is None or one.closed else replace(one, closed=closed) for one in signals.values()],
            scope=first.scope if all(one.dimension for one in signals.values()) else {},
            closed=closed,
            level=first.level,
            numerator=first.numerator,
            denominator=first.denominator,
        )


def incident_id(signal: Signal) -> str:
    """The id of the incident that this signal opens: a function of the signal, so that a replay finds the same."""
    key = "\t".join((*signal.key, str(signal.opened)))
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
