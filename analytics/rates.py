"""Every rate of METRICS.md: what is divided by what, and the question `by what, since when, on which clock`.

Counts come from `rollup` when only its dimensions are asked for, else from the units themselves; both are the same sum
(analytics/rollup.py), which a test holds against a plain recount.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from analytics import dispersion
from analytics.buckets import Step
from analytics.definitions import COUNTS, RATES, Rate, counts_of
from analytics.dimensions import DIMENSIONS, FAILURE_TRAITS, ROLLED
from analytics.figures import Cut, figures, of_rollup
from analytics.ratios import Ratio, ratio
from analytics.relations import Clock, events, units
from analytics.store import Store
from mta.events.errors import SettingsError
from mta.events.instants import MINUTE

__all__ = ["COUNTS", "RATES", "Clock", "Question", "Rate", "RateRow", "ask"]

_RIPE = 0.995
"""A cohort of which this share has ended is ripe."""


@dataclass(frozen=True, slots=True)
class Question:
    """By which dimensions, over [`since`, `until`) on which clock, in which steps, about which part of the mail.

    Instants are microseconds, taken to the beginning of their minute; None leaves that side open. `where` maps a
    dimension to the values wanted. Rates are about outbound mail unless `where` names a direction. Unknown dimensions
    raise SettingsError. Buckets of minutes are there for the last days only: older figures are kept by five minutes.
    """

    by: tuple[str, ...] = ("provider",)
    since: int | None = None
    until: int | None = None
    clock: Clock = "cohort"
    where: Mapping[str, Sequence[str]] | None = None
    step: Step | None = None

    def __post_init__(self) -> None:
        for name in (*self.by, *(self.where or {})):
            if name not in DIMENSIONS:
                raise SettingsError(f"{name!r} is no dimension", remedy="one of " + ", ".join(DIMENSIONS))

    @property
    def selection(self) -> dict[str, Sequence[str]]:
        """`where` with what holds unless it says otherwise."""
        return {"direction": ("outbound",), **(self.where or {})}


@dataclass(frozen=True, slots=True)
class RateRow:
    """One group: its key, every count, every ratio.

    `start` and `end` are those of its bucket, where steps were asked for. `ripe` says that what is still to come cannot
    change the row's rates by much (METRICS.md rule 2); None on the event clock, where nothing ripens.
    """

    key: Mapping[str, str]
    counts: Mapping[str, int]
    rates: Mapping[str, Ratio]
    start: int | None = None
    end: int | None = None
    ripe: bool | None = None


def ask(store: Store, question: Question) -> list[RateRow]:
    """Answer with one row a group, the largest first within its bucket; without `by` and steps one row in any case."""
    found = _sums(store, question)
    whole = _sums(store, _unsplit(question)) if _split_by_failure(question) else found
    spread = dispersion.read(store)
    rows = [_row(store, question, group, counts, whole[_unsplit_group(question, group)], spread)
            for group, counts in found.items()]  # fmt: skip
    if question.by or question.step is not None:
        rows = [row for row in rows if any(row.counts.values())]
    return sorted(rows, key=lambda row: (row.start or 0, -row.counts["injected"], -_failed(row), *row.key.values()))


Group = tuple[Any, ...]
"""The bucket, if steps were asked for, then the values of `by`."""


def _sums(store: Store, question: Question) -> dict[Group, dict[str, int]]:
    sql, parameters = _select(store, question)
    keys = len(question.by) + (question.step is not None)
    return {row[:keys]: counts_of(row[keys:]) for row in store.query(sql, parameters)}


def _select(store: Store, question: Question) -> tuple[str, dict[str, Any]]:
    selection = question.selection
    parameters: dict[str, Any] = {}
    within = []
    for bound, sign in (("since", ">="), ("until", "<")):
        if (instant := getattr(question, bound)) is not None:
            within.append(f"{{0}} {sign} make_timestamp(${bound})")
            parameters[bound] = instant // MINUTE * MINUTE
    where = []
    for number, (name, values) in enumerate(selection.items()):
        where.append(f"list_contains($where{number}, {name})")
        parameters[f"where{number}"] = list(values)
    if question.step is not None:
        parameters |= question.step.parameters
    cut = Cut(
        by=question.by,
        selected=tuple(selection),
        bucket=question.step.sql("{0}") if question.step is not None else None,
        within=" AND ".join(within) or "true",
        where=" AND ".join(where) or "true",
    )
    if set(cut.dimensions) <= set(ROLLED):
        return of_rollup(cut), {"clock": question.clock, **parameters}
    recipients = units(store, question.clock, question.since, question.until)
    return figures(recipients, events(store, question.since, question.until), question.clock, cut), parameters


def _split_by_failure(question: Question) -> bool:
    return any(name in FAILURE_TRAITS for name in (*question.by, *question.selection))


def _unsplit(question: Question) -> Question:
    """The same mail whatever became of it: what a rate by a trait of failures is divided by."""
    by = tuple(name for name in question.by if name not in FAILURE_TRAITS)
    where = {name: values for name, values in question.selection.items() if name not in FAILURE_TRAITS}
    return replace(question, by=by, where=where)


def _unsplit_group(question: Question, group: Group) -> Group:
    buckets = len(group) - len(question.by)
    kept = (value for name, value in zip(question.by, group[buckets:], strict=True) if name not in FAILURE_TRAITS)
    return (*group[:buckets], *kept)


def _row(
    store: Store,
    question: Question,
    group: Group,
    counts: Mapping[str, int],
    whole: Mapping[str, int],
    spread: dispersion.Dispersion,
) -> RateRow:
    step, buckets = question.step, len(group) - len(question.by)
    end = step.end(group[0]) if step is not None else question.until
    key = dict(zip(question.by, group[buckets:], strict=True))
    provider = key.get("provider") or _only_provider(question)
    return RateRow(
        key=key,
        counts=counts,
        rates={rate.name: _ratio(rate, counts, whole, partial(spread.phi, provider, rate)) for rate in RATES},
        start=step.start(group[0]) if step is not None else None,
        end=end if step is not None else None,
        ripe=_is_ripe(store, whole, end) if question.clock == "cohort" else None,
    )


def _is_ripe(store: Store, counts: Mapping[str, int], end: int | None) -> bool:
    """Nearly all of it has ended, or what has not is older than a queue keeps mail."""
    if end is not None and store.clock() - end > store.queue_lifetime:
        return True
    return counts["in_flight"] <= (1 - _RIPE) * counts["injected"]


def _failed(row: RateRow) -> int:
    return row.counts["bounced"] + row.counts["expired"] + row.counts["attempt_deferrals"]


def _only_provider(question: Question) -> str | None:
    chosen = question.selection.get("provider", ())
    return chosen[0] if len(chosen) == 1 else None


def _ratio(rate: Rate, counts: Mapping[str, int], whole: Mapping[str, int], phi: Callable[[int], float]) -> Ratio:
    den = sum(whole[name] for name in rate.denominator)
    num = sum(counts[name] for name in rate.numerator)
    return ratio(None if rate.needs_loop and den == 0 else num, den, rate.threshold, phi(den))
