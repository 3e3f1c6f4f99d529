"""What is counted and what is divided by what: every rate of METRICS.md, once, for Python and for SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics.ratios import Threshold
from analytics.rollup import MEASURE_NAMES

__all__ = ["COUNTS", "RATES", "Rate", "counts_of", "total_of"]


@dataclass(frozen=True, slots=True)
class Rate:
    """A ratio of two sums of counts. `needs_loop`: the answer is "no data" where no provider runs a feedback loop."""

    name: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...]
    threshold: Threshold | None
    meaning: str
    needs_loop: bool = False


_SENT = ("delivered", "bounced", "expired")

_ARRIVES = Threshold(0.97, 0.95, low_is_bad=True)

# Lines follow what providers and large senders publish: SES reviews an account at 5 % bounces; Gmail and Yahoo name
# 0.1 % and 0.3 % complaints. Boards and alerts take theirs from here, through the catalogue.
RATES: tuple[Rate, ...] = (
    Rate("delivery_rate", ("delivered",), _SENT, _ARRIVES, "accepted by the provider"),
    Rate("acceptance_rate", ("accepted",), _SENT, _ARRIVES, "delivered and not returned"),
    Rate("completion", _SENT, ("injected",), None, "how ripe the cohort is"),
    Rate("bounce_rate", ("bounced", "expired", "oob_bounced"), _SENT, Threshold(0.03, 0.05), "failed for good"),
    Rate("hard_bounce_rate", ("hard",), _SENT, Threshold(0.02, 0.05), "the address is the cause"),
    Rate("soft_bounce_rate", ("soft",), _SENT, Threshold(0.03, 0.05), "a passing cause that did not pass"),
    Rate("block_bounce_rate", ("block",), _SENT, Threshold(0.02, 0.05), "the provider refuses the sender"),
    Rate("undetermined_bounce_rate", ("undetermined",), _SENT, None, "no rule knows the reply"),
    Rate("oob_rate", ("oob_bounced",), ("delivered",), Threshold(0.01, 0.03), "returned after acceptance"),
    Rate("expiry_rate", ("expired",), _SENT, Threshold(0.01, 0.05), "gave up after deferrals"),
    Rate("first_attempt_delivery_rate", ("delivered_first",), _SENT, None, "delivered at once"),
    Rate("deferral_rate", ("deferred",), ("attempted",), Threshold(0.20, 0.50), "put off at least once"),
    Rate("attempt_deferral_rate", ("attempt_deferrals",), ("attempts",), Threshold(0.10, 0.25), "attempts put off"),
    Rate("complaint_rate", ("complained",), ("complainable",), Threshold(0.001, 0.003), "called spam", needs_loop=True),
    Rate("reject_rate", ("rejected",), ("injected", "rejected"), None, "refused at injection"),
)

_DERIVED: dict[str, dict[str, int]] = {
    "sent": {"delivered": 1, "bounced": 1, "expired": 1},
    "accepted": {"delivered": 1, "oob_bounced": -1},
    "targeted": {"injected": 1, "rejected": 1},
}
"""Counts that are sums of measures."""

# A late bounce belongs to its class's rate as much as one given at once (METRICS.md: each recipient once).
_WITH_LATE = {name: {name: 1, f"oob_{name}": 1} for name in ("hard", "soft", "block", "undetermined")}

_SUMS: Mapping[str, Mapping[str, int]] = {**_WITH_LATE, **_DERIVED}

COUNTS: tuple[str, ...] = (*MEASURE_NAMES, *_DERIVED)
"""Every count that an answer has."""


def counts_of(sums: Sequence[int]) -> dict[str, int]:
    """Every count of an answer, from the sums of the measures in their order."""
    counts = dict(zip(MEASURE_NAMES, sums, strict=True))
    for name in _WITH_LATE:
        counts[name] += counts[f"oob_{name}"]
    counts["sent"] = counts["delivered"] + counts["bounced"] + counts["expired"]
    counts["accepted"] = counts["delivered"] - counts["oob_bounced"]
    counts["targeted"] = counts["injected"] + counts["rejected"]
    return counts


def total_of(names: Sequence[str]) -> str:
    """SQL of the sum of counts, over columns that are the measures."""
    terms: dict[str, int] = {}
    for name in names:
        for term, sign in _SUMS.get(name, {name: 1}).items():
            terms[term] = terms.get(term, 0) + sign
    return "(" + " + ".join(f"{sign} * {term}" for term, sign in terms.items()) + ")"
