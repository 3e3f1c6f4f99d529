"""Every metric of the suite, once: gathered from the parts that declare them, checked, and documented.

Boards, rules and the exporter name metrics only through `CATALOGUE`, so a renamed metric breaks the build of
whatever still uses the old name, instead of leaving a panel silently empty. Each part declares its metrics
beside the code that measures them; only the few that the Prometheus server itself makes are declared here.

`python -m exporter.catalogue` prints `docs/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import analytics.incidents.metrics
import analytics.metrics
import collector.metrics
import dmarc.metrics
import exporter.host
import exporter.kumomta
import mta.metrics
from analytics.rates import RATES
from analytics.ratios import Threshold
from exporter.errors import CatalogueError
from mta.events.metric import Metric

__all__ = ["CATALOGUE", "LINES", "Catalogue", "CatalogueError", "Metric", "Section", "Threshold"]

LINES: Mapping[str, Threshold] = {rate.name: rate.threshold for rate in RATES if rate.threshold is not None}
"""Where each rate stops being good, by its name: the same lines on the command line, on boards and in alerts."""

TARGET_LABELS = frozenset({"job", "instance"})
"""Labels that Prometheus puts on every series it scrapes."""

PROMETHEUS = (
    Metric("up", "gauge", "1 if the last scrape of the target succeeded, 0 if not.", foreign=True),
    Metric(
        "ALERTS",
        "gauge",
        "1 for each pending or firing alert; it carries the alert's own labels too.",
        ("alertname", "alertstate", "severity"),
        foreign=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Section:
    """The metrics of one part, with a sentence that says where they come from."""

    title: str
    source: str
    metrics: tuple[Metric, ...]


class Catalogue(Mapping[str, Metric]):
    """Metrics by name. Refuses a name declared twice, and answers a wrong name with the nearest right one."""

    def __init__(self, *sections: Section) -> None:
        self.sections = sections
        self._metrics: dict[str, Metric] = {}
        for section in sections:
            for metric in section.metrics:
                if metric.name in self._metrics:
                    raise CatalogueError(f"{metric.name} is declared twice", where=section.title)
                self._metrics[metric.name] = metric

    def __getitem__(self, name: str) -> Metric:
        """The metric of that name; CatalogueError if no part declares it."""
        try:
            return self._metrics[name]
        except KeyError:
            near = get_close_matches(name, self._metrics, n=1)
            remedy = f"did you mean {near[0]}?" if near else "declare it in the metrics.py of its part"
            raise CatalogueError(f"no part declares the metric {name!r}", remedy=remedy) from None

    def __contains__(self, name: object) -> bool:
        return name in self._metrics

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def check_labels(self, name: str, labels: Mapping[str, object]) -> None:
        """CatalogueError unless every one of these labels can be on a series of that metric."""
        metric = self[name]
        known = {*metric.labels, *TARGET_LABELS}
        if unknown := sorted(labels.keys() - known):
            raise CatalogueError(
                f"{name} has no label {', '.join(unknown)}",
                remedy=f"its labels are {', '.join(sorted(known))}",
            )

    def as_markdown(self) -> str:
        """The documentation page: one table a section, in the order of declaration."""
        return _INTRODUCTION + "\n".join(_section_page(section) for section in self.sections)


_INTRODUCTION = """\
# Metrics

<!-- Made by `make generate` from the declarations in the code; change those, not this page. -->

Every metric, by the part that declares it. All but the host's are on `/metrics` (port 2000). Prometheus adds `job`
and `instance`. Units are seconds, bytes and ratios from 0 to 1. Counters are for `rate()`; those of the store count
first-seen events and survive its restarts. Gauges with a `window` label are counted by event time, so a backfill
moves no alert: divide the sum of one `measure` by the sum of another, and never average ratios.

"""


def _section_page(section: Section) -> str:
    rows = "".join(_row(metric) for metric in section.metrics)
    head = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
    return f"## {section.title}\n\n{section.source}\n\n{head}{rows}"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    bounds = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.help}{bounds} |\n"


def _by_node(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The MTA knows nothing of its fleet; the exporter adds the node to what it collects from each worker."""
    return tuple(replace(metric, labels=("node", *metric.labels)) for metric in metrics)


CATALOGUE = Catalogue(
    Section("Deliverability", "From the store: what the logs of the whole fleet say.", analytics.metrics.METRICS),
    Section(
        "Incidents",
        "From the watch over the store: what is open, what is usual, and who was told.",
        analytics.incidents.metrics.METRICS,
    ),
    Section(
        "Bundled MTA",
        "Live facts of each bundled MTA. They start at zero with its process.",
        _by_node(mta.metrics.METRICS),
    ),
    Section("Collector", "How the log records come in.", collector.metrics.METRICS),
    Section("Report mailboxes", "How DMARC, TLS and failure reports come in.", dmarc.metrics.METRICS),
    Section(
        "Host",
        "The machine, on `/metrics/host`, under node_exporter's names; leave that page out where node_exporter runs.",
        exporter.host.METRICS,
    ),
    Section(
        "KumoMTA",
        "From `/metrics` of KumoMTA nodes, where Prometheus scrapes them. The recording rules of the group "
        "`mtascope-fleet` bring them under the names of the bundled MTA; `kumomta_queue_depth`, which some autoscalers "
        "are set to, is an alias made there and no metric of KumoMTA's.",
        exporter.kumomta.METRICS,
    ),
    Section(
        "Prometheus",
        "Made by the Prometheus server, named here because boards and rules use them.",
        PROMETHEUS,
    ),
)
"""Everything that boards and rules may name."""


if __name__ == "__main__":
    print(CATALOGUE.as_markdown(), end="")  # noqa: T201
