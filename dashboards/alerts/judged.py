"""How a share of mail is judged: recorded once by provider and window, then compared with its line and its own past.

Verdicts compare event-time window gauges, never the rate of a counter: a backfill of old logs moves counters but no
window, and so wakes nobody. What is usual is what the suite exports as the baseline of this hour of the week; without
four weeks of history it is the last day without its last hour, and without that, an ordinary provider's share.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.promql import metric
from dashboards.rates import Rate
from dashboards.rules import Record
from dashboards.thresholds import MIN_EVENTS

__all__ = ["BY_PROVIDER", "BY_SUITE", "SPIKE_FACTOR", "SUITE", "Judged", "judged", "looked_up"]

SPIKE_FACTOR = 3
"""So many times its own past makes a share a spike."""

SUITE = ("job", "instance")
BY_SUITE = f"by ({', '.join(SUITE)})"
BY_PROVIDER = f"by ({', '.join(SUITE)}, provider)"
_PROVIDER = (*SUITE, "provider")
_SAME_PROVIDER = f"on ({', '.join(_PROVIDER)})"
_HERE = ",".join(f"{label}=%q" for label in _PROVIDER)


@dataclass(frozen=True, slots=True)
class Judged:
    """The recorded series under the verdicts on one rate, by provider and window."""

    rate: Rate
    signal: str
    """The label of the exported baseline."""
    part: Record
    whole: Record
    ratio: Record
    baseline: Record

    @property
    def records(self) -> tuple[Record, ...]:
        """In the order in which they depend on each other."""
        return self.part, self.whole, self.ratio, self.baseline

    def above(self, bound: float, window: str) -> str:
        """At or over the bound, on enough mail for a verdict."""
        return (
            f"{self.ratio.where(window=window)} >= {bound:g}\n"
            f"and {self.whole.where(window=window)} >= {self.rate.line.floor}\n"
            f"and {self.part.where(window=window)} >= {MIN_EVENTS}"
        )

    def spike(self, window: str) -> str:
        """High in itself, on enough mail, and not what this provider's past makes normal."""
        ratio, line = self.ratio.where(window=window), self.rate.line
        provider = f"min by ({', '.join(_PROVIDER)})"
        weeks = metric("mtascope_baseline_upper_ratio").where(signal=self.signal)
        past = f"({provider} ({weeks}) or {provider} ({self.baseline}) or 0 * {provider} ({ratio}) + {line.usual:g})"
        high = self.above(line.critical, window).replace("\n", "\n  ")
        return f"(\n  {high}\n)\nunless {_SAME_PROVIDER} (\n  {ratio} <= {_SAME_PROVIDER} {SPIKE_FACTOR} * {past}\n)"

    def numbers(self, window: str) -> str:
        """What a reader asks first, as alert template: of how many, and what is normal."""
        volume = looked_up(f'{self.whole}{{{_HERE},window="{window}"}}', "humanize", *_PROVIDER)
        normal = looked_up(f"min({self.baseline}{{{_HERE}}})", "humanizePercentage", *_PROVIDER)
        return f"of {volume} in the last {window}; its own past: {normal}"


def looked_up(pattern: str, form: str, *labels: str) -> str:
    """A template that fills labels of the alert into the pattern and shows the value of that query, if it has one."""
    query = f"printf `{pattern}` {' '.join(f'$labels.{label}' for label in labels)} | query"
    return f"{{{{ with {query} }}}}{{{{ . | first | value | {form} }}}}{{{{ else }}}}unknown{{{{ end }}}}"


def judged(rate: Rate, stem: str, signal: str) -> Judged:
    """The records of a rate; `stem` names them, `signal` is the label of its exported baseline."""
    share = rate.over(None, *_PROVIDER, "window")
    level = f"provider_window:mtascope_{stem}"
    part = Record(f"{level}_part:sum", share.part)
    whole = Record(f"{level}_whole:sum", share.whole)
    ratio = Record(f"{level}:ratio", f"{part} / ({whole} > 0)")
    baseline = Record(f"{level}:baseline_ratio", f"{_past(part)}\n/ ({_past(whole)} >= {rate.line.floor})")
    return Judged(rate, signal, part, whole, ratio, baseline)


def _past(record: Record) -> str:
    """Six hours and a day without their last hour: what is normal, untouched by what is happening now."""
    return f'({record}{{window=~"6h|1d"}} - {_SAME_PROVIDER} group_left () {record.where(window="1h")})'
