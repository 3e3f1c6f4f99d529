"""PromQL, built from metrics that exist.

`metric(name)` answers a `Series`: a selector that knows its family in the catalogue. A name or a label that no part
declares fails here, when the board is built, and not in front of somebody at 3 a.m. as an empty panel. The functions
below cover the few shapes that boards and rules need; an expression is a plain string, so that anything else can be
written around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporter.catalogue import CATALOGUE, CatalogueError, Metric

__all__ = ["RATE_INTERVAL", "SCOPE", "Series", "highest", "increase", "metric", "quantile", "rate", "scoped", "total"]

RATE_INTERVAL = "$__rate_interval"
"""Grafana's range for `rate()`: wide enough for the scrape interval, never narrower than a pixel."""

SCOPE = {"job": "$job", "instance": "$instance"}
"""What every panel is about: the variables that each board offers."""

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """The series of one metric that satisfy all matchers; `str()` is the PromQL selector."""

    family: Metric
    suffix: str = ""
    matchers: tuple[tuple[str, str, str], ...] = ()

    def where(self, **labels: Value) -> Series:
        """Only where each label has this value, or one of these."""
        return self._matching("=", "=~", labels)

    def without(self, **labels: Value) -> Series:
        """Only where no label has this value, or one of these."""
        return self._matching("!=", "!~", labels)

    def like(self, **patterns: str) -> Series:
        """Only where each label matches the pattern (RE2, anchored), such as a Grafana variable with several values."""
        return self._matching("=~", "=~", patterns)

    def _matching(self, one: str, several: str, labels: dict[str, Value] | dict[str, str]) -> Series:
        CATALOGUE.check_labels(self.family.name, labels)
        added = []
        for label, value in labels.items():
            values = (value,) if isinstance(value, str) else value
            added.append((label, one if len(values) == 1 else several, "|".join(values)))
        return replace(self, matchers=(*self.matchers, *added))

    def __str__(self) -> str:
        pairs = ",".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        name = self.family.name + self.suffix
        return f"{name}{{{pairs}}}" if pairs else name


def metric(name: str) -> Series:
    """All series of a metric; CatalogueError if no part declares it."""
    return Series(CATALOGUE[name])


def scoped(name: str) -> Series:
    """The series that a board is about: those of its job, instance and, where the metric has one, provider."""
    series = metric(name).like(**SCOPE)
    return series.like(provider="$provider") if "provider" in series.family.labels else series


def total(series: Series, *labels: str) -> str:
    """The sum over everything but these labels."""
    return f"sum{_by(series, labels)}({series})"


def highest(series: Series, *labels: str) -> str:
    """The largest over everything but these labels."""
    return f"max{_by(series, labels)}({series})"


def rate(series: Series, *labels: str) -> str:
    """Events per second, summed over everything but these labels. Counters only."""
    return _over_time("rate", series, labels, RATE_INTERVAL)


def increase(series: Series, *labels: str, over: str = RATE_INTERVAL) -> str:
    """Events in that time, summed over everything but these labels. Counters only."""
    return _over_time("increase", series, labels, over)


def quantile(q: float, series: Series, *labels: str, over: str = RATE_INTERVAL) -> str:
    """The q-quantile of what a histogram saw in that time; linear inside a bucket, so it is an estimate."""
    if series.family.type != "histogram":
        raise CatalogueError(f"{series.family.name} is no histogram: it has no quantiles")
    buckets = replace(series, suffix="_bucket")
    return f"histogram_quantile({q:g}, sum{_by(series, labels, 'le')}(rate({buckets}[{over}])))"


def _by(series: Series, labels: tuple[str, ...], *more: str) -> str:
    """The grouping clause; nothing for no labels. CatalogueError for a label that the series has not."""
    CATALOGUE.check_labels(series.family.name, dict.fromkeys(labels))
    listed = ", ".join((*labels, *more))
    return f" by ({listed}) " if listed else ""


def _over_time(function: str, series: Series, labels: tuple[str, ...], span: str) -> str:
    if series.family.type != "counter":
        raise CatalogueError(f"{series.family.name} is a {series.family.type}: only counters have a {function}")
    return f"sum{_by(series, labels)}({function}({series}[{span}]))"
