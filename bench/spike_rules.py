"""The rules that others use against bounce spikes, and how any detector is judged on a simulated world.

A rule says for each step of one series whether it fires; `incidents` turns that into incidents, which end after 30
minutes of quiet. Facts about the rules: `docs/spikes.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from spike_worlds import STEPS_PER_HOUR, STEPS_PER_WEEK, SimulatedSeries

__all__ = ["RULES", "Incident", "Verdict", "incidents", "judge"]

_QUIET = STEPS_PER_HOUR // 2
_GRACE = STEPS_PER_HOUR // 2
_LEAST_EXTRA = 20

Rule = Callable[[SimulatedSeries], list[bool]]
Incident = tuple[int, int]
"""The steps at which it was opened and closed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detector was worth on one or more worlds. Delays in minutes, None for a spike that was missed."""

    delays: list[float | None]
    false_alarms: int
    weeks: float
    repeats: int
    """Incidents beyond the first within one spike."""

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.delays + other.delays,
            self.false_alarms + other.false_alarms,
            self.weeks + other.weeks,
            self.repeats + other.repeats,
        )

    def caught_within(self, minutes: float) -> float:
        """Share of the judged spikes."""
        return sum(delay is not None and delay <= minutes for delay in self.delays) / max(1, len(self.delays))

    def median(self) -> float:
        """Median delay, a missed spike counting as endless."""
        ordered = sorted(math.inf if delay is None else delay for delay in self.delays)
        return ordered[len(ordered) // 2] if ordered else math.nan

    def false_a_week(self) -> float:
        """False alarms of the whole installation."""
        return self.false_alarms / self.weeks


def judge(series: SimulatedSeries, found: Iterable[Incident], since: int, installation: int = 30) -> Verdict:
    """Spikes of one series after step `since` against the incidents found, `installation` series making up the fleet.

    A detector that is firing already when a spike begins is credited, but the incident is a false alarm then.
    """
    opened = sorted(incident for incident in found if incident[1] > since)
    delays: list[float | None] = []
    repeats = 0
    for spike in series.spikes:
        if spike.start < since:
            continue
        within = [start for start, end in opened if start < spike.end and end > spike.start]
        repeats += max(0, len(within) - 1)
        if spike.extra >= _LEAST_EXTRA:
            delays.append((max(within[0], spike.start) - spike.start + 1) * 5.0 if within else None)
    false_alarms = sum(
        start >= since and not any(spike.start <= start < spike.end + _GRACE for spike in series.spikes)
        for start, _ in opened
    )
    weeks = (len(series.sent) - since) / STEPS_PER_WEEK
    return Verdict(delays, false_alarms, weeks / installation, repeats)


def incidents(firing: Sequence[bool]) -> list[Incident]:
    """A rule's firing steps as incidents."""
    found: list[Incident] = []
    opened, quiet = -1, 0
    for step, fires in enumerate(firing):
        quiet = 0 if fires else quiet + 1
        if fires and opened < 0:
            opened = step
        elif opened >= 0 and quiet >= _QUIET:
            found.append((opened, step))
            opened = -1
    if opened >= 0:
        found.append((opened, len(firing)))
    return found


class _Sums:
    """Counts of any span of steps."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._upto = [0, *accumulate(counts)]

    def last(self, step: int, steps: int) -> int:
        """Of the `steps` steps that end with `step`."""
        return self._upto[step + 1] - self._upto[max(0, step + 1 - steps)]

    def span(self, start: int, end: int) -> int:
        return self._upto[max(0, end)] - self._upto[max(0, start)]


def static(share: float, steps: int, floor: int) -> Rule:
    """More than a fixed share over a window."""

    def rule(series: SimulatedSeries) -> list[bool]:
        sent, bounced = _Sums(series.sent), _Sums(series.bounced)
        return [
            (n := sent.last(step, steps)) >= floor and bounced.last(step, steps) > share * n
            for step in range(len(series.sent))
        ]

    return rule


def z_score(steps: int, floor: int) -> Rule:
    """The rate of a window more than three standard deviations above its mean of a week."""

    def rule(series: SimulatedSeries) -> list[bool]:
        sent, bounced = _Sums(series.sent), _Sums(series.bounced)
        count = len(series.sent)
        rates = [bounced.last(step, steps) / max(1, sent.last(step, steps)) for step in range(count)]
        sums, squares = [0.0, *accumulate(rates)], [0.0, *accumulate(rate * rate for rate in rates)]
        firing = []
        for step in range(count):
            since = max(0, step - STEPS_PER_WEEK)
            width = max(1, step - since)
            mean = (sums[step] - sums[since]) / width
            deviation = math.sqrt(max(0.0, (squares[step] - squares[since]) / width - mean * mean))
            firing.append(sent.last(step, steps) >= floor and step > 0 and rates[step] > mean + 3 * deviation)
        return firing

    return rule


def burn_rate(series: SimulatedSeries, budget: float = 0.01) -> list[bool]:
    """SRE: 14.4 times the budget over 1 h and 5 m, or 6 times over 6 h and 30 m."""
    sent, bounced = _Sums(series.sent), _Sums(series.bounced)

    def burns(step: int, hours: int, minutes: int, times: float) -> bool:
        spans = (hours * STEPS_PER_HOUR, minutes // 5)
        return all(bounced.last(step, span) > times * budget * max(1, sent.last(step, span)) for span in spans)

    return [burns(step, 1, 5, 14.4) or burns(step, 6, 30, 6) for step in range(len(series.sent))]


def wilson(series: SimulatedSeries) -> list[bool]:
    """Wilson's 99 % lower bound of an hour above 1.5 times the hour of the week of four weeks plus a point."""
    sent, bounced = _Sums(series.sent), _Sums(series.bounced)
    firing = []
    for step in range(len(series.sent)):
        n, k = sent.last(step, STEPS_PER_HOUR), bounced.last(step, STEPS_PER_HOUR)
        if k < 5:
            firing.append(False)
            continue
        base_n = base_k = 0
        for week in range(1, 5):
            middle = step - week * STEPS_PER_WEEK
            start, end = middle - 2 * STEPS_PER_HOUR, middle + STEPS_PER_HOUR
            base_n, base_k = base_n + sent.span(start, end), base_k + bounced.span(start, end)
        firing.append(base_n > 0 and _wilson_low(k, n) > 1.5 * base_k / base_n + 0.01)
    return firing


def _wilson_low(k: int, n: int, z: float = 2.326) -> float:
    share = k / n
    middle = share + z * z / (2 * n)
    return (middle - z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)


RULES: dict[str, Rule] = {
    "static 5 % over 6 h (Lightmeter)": static(0.05, 6 * STEPS_PER_HOUR, 0),
    "static 5 % over 1 h, n >= 100": static(0.05, STEPS_PER_HOUR, 100),
    "static 10 % over 1 h, n >= 100": static(0.10, STEPS_PER_HOUR, 100),
    "z > 3, 5 min": z_score(1, 1),
    "z > 3, 15 min, n >= 100": z_score(3, 100),
    "burn rate 14.4x/6x of 1 %": burn_rate,
    "Wilson 99 % over hour of week": wilson,
}
"""By name; parameters as their users publish them."""
