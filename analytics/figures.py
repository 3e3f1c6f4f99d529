"""The counts that answer a question, summed straight from recipients and events.

A question by dimensions that the rollup does not have reads the recipients themselves, millions of them. What each of
them counts as takes few forms (analytics/profile.py), so rows are first condensed to one a group, bucket and profile,
and only these are counted: the thirty-odd measures are computed over thousands of rows instead of millions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.dimensions import DIMENSIONS
from analytics.profile import unfolded
from analytics.rollup import COUNTED_EVENTS, MEASURES, TRIES, Measure, moments, of_one_facet

__all__ = ["Cut", "Told", "figures", "of_rollup"]


@dataclass(frozen=True, slots=True)
class Cut:
    """How rows are cut: into which dimensions and which buckets of time, and which rows count.

    `bucket` (None: one for all) and `within` are SQL with `{0}` for the instant; `where` is SQL over columns that are
    named as the dimensions.
    """

    by: Sequence[str]
    selected: Sequence[str]
    bucket: str | None
    within: str
    where: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        """All that rows need to have, whether shown or only selected by."""
        return tuple(dict.fromkeys((*self.by, *self.selected)))

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of the answer before the measures."""
        return (*(("began",) if self.bucket is not None else ()), *self.by)


@dataclass(frozen=True, slots=True)
class Told:
    """Relations of tries: `events` to be counted one by one, and `tries` that rows of recipients tell (or None)."""

    events: str
    tries: str | None = None


def figures(recipients: str, told: Told, clock: str, cut: Cut) -> str:
    """SELECT of the cut's keys and a sum for every measure, from relations of flat recipients and of what was told."""
    selects = [
        _of_recipients(recipients, at, counted, cut)
        for at, measures in moments(clock)
        for counted in of_one_facet(measures, cut.dimensions)
    ]
    selects.append(_of_events(told.events, clock, cut))
    if told.tries is not None and clock == "event":
        selects.append(_of_tries(told.tries, cut))
    named = {measure.name for _, measures in moments(clock) for measure in measures}
    sums = [
        f"coalesce(sum({measure.name}), 0)::BIGINT AS {measure.name}"
        if measure.name in named or measure.of_event
        else f"0::BIGINT AS {measure.name}"
        for measure in MEASURES
    ]
    select = f"SELECT {', '.join((*cut.keys, *sums))} FROM ({' UNION ALL BY NAME '.join(selects)})"
    return f"{select} GROUP BY ALL" if cut.keys else select


def of_rollup(cut: Cut) -> str:
    """The same from `rollup`, for cuts by its own dimensions; the clock is bound as `$clock`."""
    keys = list(cut.by)
    if cut.bucket is not None:
        keys.insert(0, f"{cut.bucket.format('bucket')} AS began")
    sums = [f"coalesce(sum({measure.name}), 0)::BIGINT AS {measure.name}" for measure in MEASURES]
    select = (
        f"SELECT {', '.join((*keys, *sums))} FROM rollup "
        f"WHERE clock = $clock::rate_clock AND {cut.within.format('bucket')} AND {cut.where}"
    )
    return f"{select} GROUP BY ALL" if keys else select


def _of_recipients(recipients: str, at: str, counted: Sequence[Measure], cut: Cut) -> str:
    keys = "".join(f", {DIMENSIONS[name].of_facet(counted[0].facet)} AS {name}" for name in cut.dimensions)
    sums = {name: sql for name, sql in TRIES.items() if any(measure.value == name for measure in counted)}
    tries = "".join(f", {sql} AS {name}" for name, sql in sums.items())
    rows = (
        f"SELECT n, profile, {at} AS moment{keys}{tries} FROM {recipients} "
        f"WHERE {at} IS NOT NULL AND {cut.within.format(at)}"
    )
    began = f"{cut.bucket.format('moment')} AS began, " if cut.bucket is not None else ""
    by, summed = "".join(f"{name}, " for name in cut.by), "".join(f", sum({name}) AS {name}" for name in sums)
    condensed = f"SELECT {began}{by}profile, sum(n) AS n{summed} FROM ({rows}) WHERE {cut.where} GROUP BY ALL"
    shown = "".join(f"{key}, " for key in cut.keys)
    carried = "".join(f", {name}" for name in sums)
    taken_apart = f"SELECT {shown}n{carried}, {unfolded()} FROM ({condensed})"
    measures = ", ".join(f"sum({measure.counted}) AS {measure.name}" for measure in counted)
    return f"SELECT {shown}{measures} FROM ({taken_apart}) GROUP BY ALL"


def _of_events(events: str, clock: str, cut: Cut) -> str:
    """Tries count at their own time; a refusal, which is no recipient, counts on both clocks at its time."""
    counted = [measure for measure in MEASURES if measure.of_event and (clock == "event" or measure.name == "rejected")]
    wanted = COUNTED_EVENTS if clock == "event" else "type = 'rejection'"
    keys = "".join(f", {DIMENSIONS[name].of_event} AS {name}" for name in cut.dimensions)
    began = f", {cut.bucket.format('time')} AS began" if cut.bucket is not None else ""
    rows = f"SELECT type, origin{began}{keys} FROM {events} WHERE ({wanted}) AND {cut.within.format('time')}"
    sums = ", ".join(f"count(*) FILTER ({measure.of_event}) AS {measure.name}" for measure in counted)
    select = f"SELECT {''.join(f'{key}, ' for key in cut.keys)}{sums} FROM ({rows}) WHERE {cut.where}"
    return f"{select} GROUP BY ALL"


def _of_tries(tries: str, cut: Cut) -> str:
    """Tries of sealed recipients that count where and as what their recipient says."""
    counted = [measure.name for measure in MEASURES if measure.of_event is not None]
    keys = "".join(f", {DIMENSIONS[name].of_recipient} AS {name}" for name in cut.dimensions)
    began = f", {cut.bucket.format('told_at')} AS began" if cut.bucket is not None else ""
    named = ", ".join(f"told_{name}" for name in counted)
    rows = f"SELECT {named}{began}{keys} FROM {tries} WHERE told_at IS NOT NULL AND {cut.within.format('told_at')}"
    sums = ", ".join(f"sum(told_{name}) AS {name}" for name in counted)
    select = f"SELECT {''.join(f'{key}, ' for key in cut.keys)}{sums} FROM ({rows}) WHERE {cut.where}"
    return f"{select} GROUP BY ALL"
