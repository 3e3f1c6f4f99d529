"""Every rate of METRICS.md: what is divided by what, and the question `by what, since when, on which clock`.

Counts come from `rollup` when only its dimensions are asked for, else from the units themselves; both are the same sum
(analytics/rollup.py), which a test holds against a plain recount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analytics.ratios import Ratio, Threshold, ratio
from analytics.rollup import DIMENSIONS, MEASURE_NAMES, ROLLED, contributions
from analytics.store import Store
from mta.events.errors import SettingsError
from mta.events.instants import MINUTE

__all__ = ["COUNTS", "RATES", "Clock", "Question", "Rate", "RateRow", "ask"]

Clock = Literal["event", "cohort"]


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

COUNTS: tuple[str, ...] = (*(name for name in MEASURE_NAMES if name not in _WITH_LATE), *_WITH_LATE, *_DERIVED)
"""Every count that an answer has."""


@dataclass(frozen=True, slots=True)
class Question:
    """By which dimensions, over [`since`, `until`) on which clock, about which part of the mail.

    Instants are microseconds, taken to the beginning of their minute; None leaves that side open. `where` maps a
    dimension to the values wanted. Rates are about outbound mail unless `where` names a direction. Unknown dimensions
    raise SettingsError.
    """

    by: tuple[str, ...] = ("provider",)
    since: int | None = None
    until: int | None = None
    clock: Clock = "cohort"
    where: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        for name in (*self.by, *(self.where or {})):
            if name not in DIMENSIONS:
                raise SettingsError(f"{name!r} is no dimension", remedy="one of " + ", ".join(DIMENSIONS))


@dataclass(frozen=True, slots=True)
class RateRow:
    """One group: its key, every count, every ratio."""

    key: Mapping[str, str]
    counts: Mapping[str, int]
    rates: Mapping[str, Ratio]


def ask(store: Store, question: Question) -> list[RateRow]:
    """Answer with one row a group, the largest first; without `by` one row, else none where nothing was counted."""
    sql, parameters = _select(question)
    found = [_row(question.by, values) for values in store.query(sql, parameters)]
    rows = [row for row in found if not question.by or any(row.counts.values())]
    return sorted(rows, key=lambda row: (-row.counts["injected"], tuple(row.key.values())))


def _select(question: Question) -> tuple[str, dict[str, Any]]:
    where = dict(question.where or {})
    where.setdefault("direction", ("outbound",))
    dimensions = tuple(dict.fromkeys((*question.by, *where)))
    rolled = set(dimensions) <= set(ROLLED)
    relation = "rollup" if rolled else f"({contributions('unit', 'event', dimensions)})"
    parameters: dict[str, Any] = {"clock": question.clock}
    conditions = ["clock = $clock::rate_clock"]
    for bound, sign in (("since", ">="), ("until", "<")):
        if (instant := getattr(question, bound)) is not None:
            conditions.append(f"bucket {sign} make_timestamp(${bound})")
            parameters[bound] = instant // MINUTE * MINUTE
    for number, (name, values) in enumerate(where.items()):
        conditions.append(f"list_contains($where{number}, {name})")
        parameters[f"where{number}"] = list(values)
    keys = ", ".join(question.by)
    sums = ", ".join(f"coalesce(sum({name}), 0)::BIGINT" for name in MEASURE_NAMES)
    select = (
        f"SELECT {', '.join(part for part in (keys, sums) if part)} FROM {relation} WHERE {' AND '.join(conditions)}"
    )
    return (f"{select} GROUP BY {keys}" if keys else select), parameters


def _row(by: Sequence[str], values: Sequence[Any]) -> RateRow:
    key = dict(zip(by, values, strict=False))
    measured = dict(zip(MEASURE_NAMES, values[len(by) :], strict=True))
    counts = dict(measured)
    for name, terms in (*_WITH_LATE.items(), *_DERIVED.items()):
        counts[name] = sum(sign * measured[term] for term, sign in terms.items())
    return RateRow(key, {name: counts[name] for name in COUNTS}, {rate.name: _ratio(rate, counts) for rate in RATES})


def _ratio(rate: Rate, counts: Mapping[str, int]) -> Ratio:
    den = sum(counts[name] for name in rate.denominator)
    num = sum(counts[name] for name in rate.numerator)
    return ratio(None if rate.needs_loop and den == 0 else num, den, rate.threshold)
