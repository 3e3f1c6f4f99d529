"""From the counts of a step to the signals that open and close in it: a detector for each kind over all series. Pure.

A series is a provider, or one tenant or pool at a provider. A provider stands before its parts and has a budget of
false alarms of its own. A part that is the only one of its provider says what the provider says and is not watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from analytics.incidents.incident import Signal
from analytics.incidents.kinds import SPIKES, Kind, settings_of
from analytics.spikes import STEP_SECONDS, Change, ChangeKind, SpikeDetector, SpikeSettings
from analytics.steps import STEP, StepCount
from mta.events.instants import HOUR

__all__ = ["FINE", "SignalChange", "Signals"]

_DAY_STEPS = 86_400 // STEP_SECONDS
_HOUR_STEPS = 3_600 // STEP_SECONDS
FINE = 6
"""Of the hours of a long past, every sixth is learnt step by step, with its scatter: that is what costs time."""


@dataclass(frozen=True, slots=True)
class SignalChange:
    """A signal opened, was renewed (it doubled, or lasts another day) or closed."""

    change: ChangeKind
    signal: Signal


class Signals:
    """Feed it every step once, in order; steps without mail may be left out."""

    def __init__(self, settings: SpikeSettings | None = None, most_series: int = 5_000) -> None:
        given = settings or SpikeSettings()
        self._detectors = {kind: SpikeDetector(settings_of(kind, given), tiers=2) for kind in SPIKES}
        self._most = most_series
        self._parts: dict[tuple[str, str], list[str]] = {}
        self._days: dict[str, _RunningDay] = {}

    def observe(self, step: int, counts: Sequence[StepCount]) -> list[SignalChange]:
        """Judge the step that began at `step` microseconds. Of one series there is at most one count."""
        number = step // STEP
        seen: set[str] = set()
        changes: list[SignalChange] = []
        for one in self._watched(counts):
            name = _name(one)
            seen.add(name)
            for kind, counted, bad in self._measured(name, number, one):
                changes += self._observe(kind, name, number, counted, bad)
        for kind, detector in self._detectors.items():
            for name in detector.troubled():
                if name not in seen:  # an incident also ends when no mail comes any more
                    changes += self._observe(kind, name, number, 0, 0)
        return changes

    def teach(self, counts: Iterable[StepCount]) -> None:
        """Learn a past, in order, without judging it: as `steps.read_past` gives it with `FINE`."""
        for hour, of_hour in groupby(counts, key=lambda one: one.step // HOUR):
            series: dict[str, list[StepCount]] = {}
            for one in self._watched(list(of_hour)):
                series.setdefault(_name(one), []).append(one)
            for name, steps in series.items():
                self._teach(name, hour, steps)

    def restate(self, counts: Sequence[StepCount]) -> None:
        """Counts of steps of the last hours, as they are now: late mail is learnt, and opens nothing."""
        for one in self._watched(counts):
            for kind, spike in SPIKES.items():
                if kind is not Kind.COMPLAINTS:
                    counted, bad = spike.counted(one), spike.bad(one)
                    self._detectors[kind].restate(_name(one), one.step // STEP, counted, bad)

    def expected_rate(self, kind: Kind, provider: str) -> float | None:
        """The rate that is usual at this hour for all mail of a provider; None while it is not known."""
        expectation = self._detectors[kind].expectation(_series(provider, "", ""))
        return None if expectation is None else expectation.rate

    def __len__(self) -> int:
        return max(len(detector) for detector in self._detectors.values())

    def state(self) -> dict[str, Any]:
        """Everything that was learnt, as JSON has it."""
        return {
            "detectors": {kind.value: detector.state() for kind, detector in self._detectors.items()},
            "parts": [[*key, values] for key, values in self._parts.items()],
            "days": {name: day.state() for name, day in self._days.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told."""
        for kind, detector in self._detectors.items():
            detector.restore(state["detectors"][kind.value])
        self._parts = {(provider, dimension): values for provider, dimension, values in state["parts"]}
        self._days = {name: _RunningDay.restored(told) for name, told in state["days"].items()}

    def _watched(self, counts: Sequence[StepCount]) -> Iterator[StepCount]:
        for one in counts:
            if one.dimension:
                values = self._parts.setdefault((one.provider, one.dimension), [])
                if one.value not in values and len(values) < 2:
                    values.append(one.value)
                if len(values) < 2 or (len(self) >= self._most and _name(one) not in self._days):
                    continue
            yield one

    def _measured(self, name: str, number: int, one: StepCount, width: int = 1) -> Iterator[tuple[Kind, int, int]]:
        """What each kind counts of a step, or of `width` of them together.

        Complaints come hours after the mail: they are of the mean of a day.
        """
        day = self._days.setdefault(name, _RunningDay())
        day.add(number, one.delivered, one.complained)
        for kind, spike in SPIKES.items():
            if kind is not Kind.COMPLAINTS:
                yield kind, spike.counted(one), spike.bad(one)
            elif day.complained:
                yield kind, max(one.complained, width * day.mean()), one.complained

    def _observe(self, kind: Kind, name: str, number: int, counted: int, bad: int) -> list[SignalChange]:
        tier = 0 if name.endswith("\t\t") else 1
        change = self._detectors[kind].observe(name, number, counted, bad, tier)
        return [] if change is None else [SignalChange(change.kind, _signal(kind, change))]

    def _teach(self, name: str, hour: int, steps: list[StepCount]) -> None:
        measured: dict[Kind, list[tuple[int, int, int]]] = {}
        width = 1 if hour % FINE == 0 else _HOUR_STEPS
        for one in steps:
            number = one.step // STEP
            for kind, counted, bad in self._measured(name, number, one, width):
                measured.setdefault(kind, []).append((number, counted, bad))
        tier = 1 if steps[0].dimension else 0
        for kind, taught in measured.items():
            self._detectors[kind].teach(name, hour, taught, tier, thorough=hour % FINE == 0)


class _RunningDay:
    """Deliveries of a series in the last day, and whether anybody ever complained."""

    __slots__ = ("_steps", "_total", "complained")

    def __init__(self) -> None:
        self._steps: deque[tuple[int, int]] = deque()
        self._total = 0
        self.complained = False

    def add(self, number: int, delivered: int, complained: int) -> None:
        """The counts of the next step."""
        self._steps.append((number, delivered))
        self._total += delivered
        self.complained = self.complained or complained > 0
        while self._steps[0][0] <= number - _DAY_STEPS:
            self._total -= self._steps.popleft()[1]

    def mean(self) -> int:
        """Deliveries of a mean step since the oldest one that is remembered."""
        span = max(_HOUR_STEPS, self._steps[-1][0] - self._steps[0][0] + 1)
        return round(self._total / span)

    def state(self) -> list[Any]:
        return [list(self._steps), self._total, self.complained]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> _RunningDay:
        day = cls()
        steps, day._total, day.complained = state
        day._steps = deque((number, delivered) for number, delivered in steps)
        return day


def _series(provider: str, dimension: str, value: str) -> str:
    return f"{provider}\t{dimension}\t{value}"


def _name(one: StepCount) -> str:
    return _series(one.provider, one.dimension, one.value)


def _signal(kind: Kind, change: Change) -> Signal:
    provider, dimension, value = change.series.split("\t", 2)
    return Signal(
        kind=kind,
        provider=provider,
        dimension=dimension,
        value=value,
        began=change.began * STEP,
        opened=(change.opened + 1) * STEP,
        closed=(change.step + 1) * STEP if change.kind is ChangeKind.CLOSED else None,
        level=change.level,
        baseline=change.baseline,
        numerator=change.bounced,
        denominator=change.sent,
    )
