"""The declaration of a metric: each part of the suite lists its own in its `metrics.py`; the exporter gathers them.

Names follow METRICS.md section 5 and the Prometheus naming rules: a prefix, a base unit, `_total` for counters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Metric", "MetricType"]

MetricType = Literal["counter", "gauge", "histogram", "info"]

_NAME = re.compile(r"[a-z][a-z0-9_]*[a-z0-9]")
_FOREIGN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_UNITS = frozenset({"", "seconds", "bytes", "ratio", "info"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. `unit` is the base unit that the name ends with (before `_total`); "" for counts.

    `help` is one sentence for people. `labels` are in the order in which values are given. `buckets` are the upper
    bounds of a histogram, without +Inf. `foreign` marks a name that another project chose (node_exporter's
    `MemTotal`): it only has to be a name that Prometheus accepts.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    foreign: bool = False

    def __post_init__(self) -> None:
        stem = self.name.removesuffix("_total")
        if not (_FOREIGN_NAME if self.foreign else _NAME).fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no metric name: lower case, digits and underscores")
        if not self.foreign and (self.type == "counter") != self.name.endswith("_total"):
            raise ValueError(f"{self.name}: counters, and only counters, end in _total")
        if self.unit not in _UNITS or not stem.endswith(self.unit):
            raise ValueError(f"{self.name}: the unit {self.unit!r} must be a base unit and end the name")
        if (self.type == "histogram") != bool(self.buckets):
            raise ValueError(f"{self.name}: a histogram, and nothing else, has buckets")
        if not self.help.endswith("."):
            raise ValueError(f"{self.name}: help must be a sentence")
