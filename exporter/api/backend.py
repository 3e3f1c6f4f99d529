"""What the routes ask, passed in by whoever runs the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from analytics.incidents.settings import WatchSettings
from analytics.store import Store
from exporter.prometheus import MetricsPage

__all__ = ["Backend"]


@dataclass(frozen=True, slots=True)
class Backend:
    """The store, the metrics page, the state of the parts, and what is done on request."""

    store: Store
    page: MetricsPage
    status: Callable[[], dict[str, Any]]
    ingest: Callable[[list[str], str], dict[str, Any]]
    back_up: Callable[[str], dict[str, Any]]
    erase: Callable[[str], dict[str, Any]]
    report: Callable[[int, int], dict[str, Any]]
    dmarc_ingest: Callable[[list[str], dict[str, Any] | None], dict[str, Any]]
    dmarc_advice: Callable[[str, int, int | None, bool], dict[str, Any]]
    dmarc_posture: Callable[[str, list[str]], dict[str, Any]]
    incidents: WatchSettings = field(default_factory=WatchSettings)
    bounce_groups: Mapping[str, str] = field(default_factory=dict)
    """The group of each bounce class, for advice on incidents."""
