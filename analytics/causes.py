"""What changed when bounces rose: which tenant, campaign, source or domain carries the excess.

Pure: counts before and since in, a ranking out. The excess of a value is its bounces beyond what it would have had at
the rate of before; its share is of the excess of its whole dimension, so shares of one dimension add up to 1. A value
explains a rise when it carries much more of the excess than of the mail: one tenant with a tenth of the mail and all of
the excess is a cause, the only source through which everything goes is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Cause", "Tally", "explaining", "rank_causes", "shares"]

_LEAST_SHARE = 0.5
"""A value that carries less of the excess explains too little."""
_LEAST_LIFT = 1.2
"""A value whose share of the excess is not this many times its share of the mail merely carries the mail."""
_CERTAIN = 5.0
"""Nats by which the excess must speak for the value rather than for mail at random: there are many values to choose."""
_PSEUDO_MAILS = 50.0
"""Mails for which the rate of the whole counts in the rate of a value before."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Terminal outcomes with one value of one dimension, before the change and since. The value "" is never named."""

    dimension: str
    value: str
    sent_before: int
    bounced_before: int
    sent: int
    bounced: int


@dataclass(frozen=True, slots=True)
class Cause:
    """`share` of the excess bounces (0 to 1) have this value, `mail_share` of the mail. `excess` counts recipients."""

    dimension: str
    value: str
    share: float
    mail_share: float
    excess: float

    @property
    def information(self) -> float:
        """What the value tells about where the excess is, in nats: its share times the logarithm of the lift."""
        if self.share <= 0.0 or self.mail_share <= 0.0:
            return 0.0
        return self.share * math.log(self.share / self.mail_share)

    @property
    def certainty(self) -> float:
        """How much likelier this share of the excess is if the value is the cause than by chance, in nats."""
        if self.share <= self.mail_share or self.mail_share <= 0.0:
            return 0.0
        total = self.excess / self.share
        rest = (1 - self.share) * math.log((1 - self.share) / (1 - self.mail_share)) if self.share < 1.0 else 0.0
        return total * (self.information + rest)


def rank_causes(tallies: Iterable[Tally], limit: int = 5) -> list[Cause]:
    """The values that explain the excess, the best first: at most one of each dimension, none if nothing stands out.

    Ranked by information. Where several say the same, as a tenant with one campaign, the order of `tallies` decides.
    """
    best: dict[str, Cause] = {}
    for cause in explaining(tallies):
        if cause.dimension not in best or cause.information > best[cause.dimension].information:
            best[cause.dimension] = cause
    return sorted(best.values(), key=lambda cause: -round(cause.information, 2))[:limit]


def explaining(tallies: Iterable[Tally], certainty: float = _CERTAIN) -> list[Cause]:
    """Every value that carries most of the excess of its dimension, and much more of it than of the mail.

    With less `certainty` a small excess, too, may be asked whether it fits what is known from elsewhere.
    """
    return [
        cause
        for cause in shares(tallies)
        if cause.value
        and cause.share >= _LEAST_SHARE
        and cause.share >= _LEAST_LIFT * cause.mail_share
        and cause.certainty >= certainty
    ]


def shares(tallies: Iterable[Tally]) -> list[Cause]:
    """Every value with its share of the excess, in the order of `tallies`; nothing where a dimension has no excess."""
    dimensions: dict[str, list[Tally]] = {}
    for tally in tallies:
        dimensions.setdefault(tally.dimension, []).append(tally)
    return [cause for group in dimensions.values() for cause in _of_dimension(group)]


def _of_dimension(group: list[Tally]) -> list[Cause]:
    sent_before, sent = sum(tally.sent_before for tally in group), sum(tally.sent for tally in group)
    rate = sum(tally.bounced_before for tally in group) / sent_before if sent_before else 0.0
    excess: Mapping[str, float] = {tally.value: max(0.0, _excess(tally, rate)) for tally in group}
    total = sum(excess.values())
    if total <= 0.0 or not sent:
        return []
    return [
        Cause(tally.dimension, tally.value, excess[tally.value] / total, tally.sent / sent, excess[tally.value])
        for tally in group
    ]


def _excess(tally: Tally, rate: float) -> float:
    usual = (tally.bounced_before + rate * _PSEUDO_MAILS) / (tally.sent_before + _PSEUDO_MAILS)
    return tally.bounced - usual * tally.sent
