"""How many different people, by any dimension: exact where that is affordable, else estimated with its error.

People are counted by their keyed hash. A hash is as good as a random number, so counting those of one in K and
multiplying by K is an estimate whose error is known (METRICS.md rule 10: exact within a day, else print the error).
Hashes of different key epochs do not match: across a rotation a person counts twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analytics.dimensions import DIMENSIONS, FAILURE_TRAITS
from analytics.rates import Question, ask
from analytics.relations import units
from analytics.store import Store
from mta.events.errors import SettingsError
from mta.events.instants import DAY, MINUTE

__all__ = ["Uniques", "uniques"]

_AFFORDABLE = 2_000_000
"""So many recipients are counted exactly, however long the time."""
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Uniques:
    """Different recipients of one group, to whom mail was injected.

    `error` is the half width of the 95 % interval as a share of `recipients`; 0 where they were counted one by one.
    `start` is that of the bucket, where steps were asked for.
    """

    key: Mapping[str, str]
    recipients: int
    error: float
    start: int | None = None


def uniques(store: Store, question: Question, *, affordable: int = _AFFORDABLE) -> list[Uniques]:
    """Of mail injected in that time, by dimensions of mail. SettingsError for traits of failures, which have none."""
    for name in (*question.by, *question.selection):
        if name in FAILURE_TRAITS:
            raise SettingsError(f"{name} splits failures, not people", remedy="leave it out")
    one_in = _sampling(store, question, affordable)
    conditions = ["recipient_hash IS NOT NULL", "successor IS NULL", f"recipient_hash % {one_in} = 0"]
    parameters: dict[str, Any] = dict(question.step.parameters) if question.step is not None else {}
    for bound, sign in (("since", ">="), ("until", "<")):
        if (instant := getattr(question, bound)) is not None:
            conditions.append(f"injected_at {sign} make_timestamp(${bound})")
            parameters[bound] = instant // MINUTE * MINUTE
    for number, (name, values) in enumerate(question.selection.items()):
        conditions.append(f"list_contains($where{number}, {DIMENSIONS[name].of_recipient})")
        parameters[f"where{number}"] = list(values)
    keys = [f"{DIMENSIONS[name].of_recipient} AS {name}" for name in question.by]
    if question.step is not None:
        keys.insert(0, f"{question.step.sql('injected_at')} AS began")
    rows = store.query(
        f"SELECT {', '.join((*keys, 'count(DISTINCT recipient_hash)'))} "
        f"FROM {units(store, 'cohort', question.since, question.until)} WHERE {' AND '.join(conditions)} GROUP BY ALL",
        parameters,
    )
    found = [_answer(question, row, one_in) for row in rows]
    return sorted(found, key=lambda one: (one.start or 0, -one.recipients, *one.key.values()))


def _sampling(store: Store, question: Question, affordable: int) -> int:
    """1 to count everybody, else to count one in so many."""
    if question.since is not None and (question.until or store.clock()) - question.since <= DAY:
        return 1
    [total] = ask(store, Question(by=(), since=question.since, until=question.until))
    return int(2 ** max(0, math.ceil(math.log2(max(1, total.counts["injected"]) / affordable))))


def _answer(question: Question, row: tuple[Any, ...], one_in: int) -> Uniques:
    *group, counted = row
    start = question.step.start(group.pop(0)) if question.step is not None else None
    recipients = counted * one_in
    error = _Z * math.sqrt((one_in - 1) / recipients) if recipients else 0.0
    return Uniques(dict(zip(question.by, group, strict=True)), recipients, error, start)
