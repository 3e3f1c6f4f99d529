"""Every rate of METRICS.md: what is divided by what, and the question `by what, since when, on which clock`.

Counts come from `rollup` when only its dimensions are asked for, else from the units themselves; both are the same sum
(analytics/rollup.py), which a test holds against a plain recount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from analytics import dispersion
from analytics.buckets import Step
from analytics.definitions import COUNTS, RATES, Rate, counts_of
from analytics.dimensions import DIMENSIONS, FAILURE_TRAITS, ROLLED
from analytics.figures import Cut, figures, of_rollup
from analytics.ratios import Ratio, ratio
from analytics.relations import Clock, told, units
from analytics.store import Store
from mta.events.errors import SettingsError
from mta.events.frozen import quickly_built
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
    top: int | None = None
    """Only so many groups: those with the most mail in the whole of that time."""

    def __post_init__(self) -> None:
        for name in (*self.by, *(self.where or {})):
            if name not in DIMENSIONS:
                raise SettingsError(f"{name!r} is no dimension", remedy="one of " + ", ".join(DIMENSIONS))

    @property
    def selection(self) -> dict[str, Sequence[str]]:
        """`where` with what holds unless it says otherwise."""
        return {"direction": ("outbound",), **(self.where or {})}


class Rates(Mapping[str, Ratio]):
    """The ratios of a row by their names, each computed when it is asked for: most answers show a few of them."""

    __slots__ = ("_counts", "_phi", "_whole")

    def __init__(self, counts: Mapping[str, int], whole: Mapping[str, int], phi: Callable[[Rate, int], float]) -> None:
        self._counts = counts
        self._whole = whole
        self._phi = phi

    def __getitem__(self, name: str) -> Ratio:
        rate = _BY_NAME[name]
        den = sum([self._whole[part] for part in rate.denominator])
        num = sum([self._counts[part] for part in rate.numerator])
        return ratio(None if rate.needs_loop and den == 0 else num, den, rate.threshold, self._phi(rate, den))

    def __iter__(self) -> Iterator[str]:
        return iter(_BY_NAME)

    def __len__(self) -> int:
        return len(_BY_NAME)


_BY_NAME = {rate.name: rate for rate in RATES}


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
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
    whole = _sums(store, _unsplit(question)) if _split_by_failure(question) else None
    rows = _Rows(store, question)
    answer = [
        rows.build(group, counts, counts if whole is None else whole[_unsplit_group(question, group)])
        for group, counts in found.items()
    ]
    return sorted(answer, key=_order)


def _order(row: RateRow) -> tuple[Any, ...]:
    counts = row.counts
    failed = counts["bounced"] + counts["expired"] + counts["attempt_deferrals"]
    return (row.start or 0, -counts["injected"], -failed, *row.key.values())


Group = tuple[Any, ...]
"""The bucket, if steps were asked for, then the values of `by`."""


def _sums(store: Store, question: Question) -> dict[Group, dict[str, int]]:
    sql, parameters = _select(store, question)
    keys = len(question.by) + (question.step is not None)
    return {row[:keys]: counts_of(row[keys:]) for row in store.query(sql, parameters) if not keys or any(row[keys:])}


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
        sql = of_rollup(cut)
        parameters["clock"] = question.clock
    else:
        recipients = units(store, question.clock, question.since, question.until)
        tries = told(store, question.clock, question.since, question.until, cut.dimensions)
        sql = figures(recipients, tries, question.clock, cut)
    return (_largest(sql, question) if question.by and question.top is not None else sql), parameters


def _largest(sql: str, question: Question) -> str:
    """The rows of the `top` groups only."""
    keys = ", ".join(question.by)
    return (
        f"WITH answer AS MATERIALIZED ({sql}) SELECT * FROM answer SEMI JOIN (SELECT {keys} FROM answer GROUP BY ALL "
        f"ORDER BY sum(injected) DESC, sum(attempts) DESC, {keys} LIMIT {int(question.top or 0)}) USING ({keys})"
    )


def _split_by_failure(question: Question) -> bool:
    return any(name in FAILURE_TRAITS for name in (*question.by, *question.selection))


def _unsplit(question: Question) -> Question:
    """The same mail whatever became of it: what a rate by a trait of failures is divided by."""
    by = tuple(name for name in question.by if name not in FAILURE_TRAITS)
    where = {name: values for name, values in question.selection.items() if name not in FAILURE_TRAITS}
    return replace(question, by=by, where=where, top=None)


def _unsplit_group(question: Question, group: Group) -> Group:
    buckets = len(group) - len(question.by)
    kept = (value for name, value in zip(question.by, group[buckets:], strict=True) if name not in FAILURE_TRAITS)
    return (*group[:buckets], *kept)


class _Rows:
    """Builds the rows of one answer; what they share is worked out once."""

    def __init__(self, store: Store, question: Question) -> None:
        self._question = question
        self._spread = dispersion.read(store)
        self._expected_until = store.clock() - store.queue_lifetime
        self._buckets: dict[Any, tuple[int, int]] = {}
        chosen = question.selection.get("provider", ())
        self._provider = chosen[0] if len(chosen) == 1 else None

    def build(self, group: Group, counts: Mapping[str, int], whole: Mapping[str, int]) -> RateRow:
        """The row of a group; `whole` are the counts that it is divided by."""
        question, start, end = self._question, None, self._question.until
        if question.step is not None:
            start, end = self._span(question.step, group[0])
            group = group[1:]
        key = dict(zip(question.by, group, strict=True))
        return RateRow(
            key=key,
            counts=counts,
            rates=Rates(counts, whole, partial(self._spread.phi, key.get("provider") or self._provider)),
            start=start,
            end=end if question.step is not None else None,
            ripe=self._is_ripe(whole, end) if question.clock == "cohort" else None,
        )

    def _span(self, step: Step, bucket: Any) -> tuple[int, int]:
        if bucket not in self._buckets:
            self._buckets[bucket] = (step.start(bucket), step.end(bucket))
        return self._buckets[bucket]

    def _is_ripe(self, counts: Mapping[str, int], end: int | None) -> bool:
        """Nearly all of it has ended, or what has not is older than a queue keeps mail."""
        if end is not None and end < self._expected_until:
            return True
        return counts["in_flight"] <= (1 - _RIPE) * counts["injected"]
