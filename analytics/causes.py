"""What changed when bounces rose: which tenant, campaign, source or domain carries the excess, and what it was told.

Pure: counts before and since in, a ranking out. The excess of a value is its bounces beyond what it would have had at
the rate of before; its share is of the excess of its whole dimension, so shares of one dimension add up to 1. A value
explains a rise when it carries much more of the excess than of the mail: one tenant with a tenth of the mail and all of
the excess is a cause, the only source through which everything goes is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Cause", "Tally", "rank_causes"]

_LEAST_SHARE = 0.5
"""A value that carries less of the excess explains too little."""
_PSEUDO_MAILS = 50.0
"""Mails for which the rate of the whole counts in the rate of a value before."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Terminal outcomes with one value of one dimension, before the change and since."""

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
    reply: str | None = None


def rank_causes(tallies: Iterable[Tally], limit: int = 5) -> list[Cause]:
    """The values that explain the excess, the best first: at most one of each dimension, none if nothing stands out.

    Ranked by the information that the value gives about where the excess is: its share times the logarithm of share
    over share of mail. Where several say the same, as a tenant with one campaign, the order of `tallies` decides.
    """
    dimensions: dict[str, list[Tally]] = {}
    for tally in tallies:
        dimensions.setdefault(tally.dimension, []).append(tally)
    found = [best for group in dimensions.values() if (best := _best(group)) is not None]
    return sorted(found, key=lambda cause: -round(_information(cause), 2))[:limit]


def _best(group: list[Tally]) -> Cause | None:
    causes = _causes(group)
    best = max(causes, key=_information, default=None)
    if best is None or best.share < _LEAST_SHARE or best.share < 1.2 * best.mail_share:
        return None
    return best


def _causes(group: list[Tally]) -> list[Cause]:
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


def _information(cause: Cause) -> float:
    if cause.share <= 0.0 or cause.mail_share <= 0.0:
        return 0.0
    return cause.share * math.log(cause.share / cause.mail_share)
