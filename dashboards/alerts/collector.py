"""The way of the logs: lag, failures, room, clocks."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.alerts.judged import BY_SUITE, SUITE
from dashboards.promql import metric
from dashboards.rules import Alert, Group

__all__ = ["GROUP"]

_BOARD = "/d/mtascope-infrastructure"
_BY_ROAD = f"by ({', '.join(SUITE)}, road)"

_BEHIND = Alert(
    "MtascopeCollectorBehind",
    f"{metric('mtascope_collector_lag_seconds')} >= {thresholds.LAG.critical:g}",
    "warning",
    "The collector is {{ $value | humanizeDuration }} behind",
    "Records are stored {{ $value | humanizeDuration }} after they were written. Figures of the last minutes are "
    "incomplete until it has caught up; nothing is lost.",
    _BOARD,
    lasting="10m",
    scope="suite",
    matter="ingest",
)
_FAILING = Alert(
    "MtascopeCollectorFailing",
    f"time() - {metric('mtascope_collector_last_error_timestamp_seconds')} < 300\n"
    f"and {metric('mtascope_collector_last_error_timestamp_seconds')} > 0",
    "warning",
    "The collector of {{ $labels.instance }} keeps failing",
    "For a quarter of an hour there has been an error in every five minutes: a file that cannot be read, a store that "
    "refuses, a sender that breaks off. The process's log names it.",
    _BOARD,
    lasting="15m",
    scope="suite",
    matter="ingest",
)
_LANDING_FULL = Alert(
    "MtascopeLandingFull",
    f"sum {_BY_ROAD} ({metric('mtascope_collector_landing_bytes')})\n"
    f"/ (sum {_BY_ROAD} ({metric('mtascope_collector_landing_capacity_bytes')}) > 0)"
    f" >= {thresholds.LANDING.critical:g}",
    "critical",
    "The {{ $labels.road }} road is {{ $value | humanizePercentage }} full",
    "What came over {{ $labels.road }} waits on disk for the store and fills {{ $value | humanizePercentage }} of its "
    "room. At 100 % senders are pushed back; what comes by UDP is lost then.",
    _BOARD,
    scope="suite",
    matter="ingest",
)
_CLOCK_AHEAD = Alert(
    "MtascopeClockAhead",
    f"{metric('mtascope_clock_ahead_seconds')} >= {thresholds.CLOCK.critical:g}",
    "warning",
    "The clock of {{ $labels.node }} runs {{ $value | humanizeDuration }} ahead",
    "Records of {{ $labels.node }} came from the future. They are kept, but land in the wrong minute; set its clock "
    "(chrony, ntpd), or its time zone where the log writes local time.",
    _BOARD,
    lasting="10m",
    scope="suite",
    matter="clock",
)
_QUARANTINED = metric("mtascope_quarantined_records")
_QUARANTINE_GROWING = Alert(
    "MtascopeQuarantineGrowing",
    f"sum {BY_SUITE} ({_QUARANTINED})\n"
    f"- (sum {BY_SUITE} ({_QUARANTINED} offset 15m)\n"
    # an empty quarantine has no series: what the suite showed at that time counts as 0
    f"   or 0 * sum {BY_SUITE} ({metric('mtascope_snapshot_timestamp_seconds')} offset 15m))"
    f" >= {thresholds.MIN_EVENTS}",
    "warning",
    "{{ $labels.instance }} cannot read part of its input",
    "{{ $value }} records went to quarantine within 15 minutes. They are kept, but count nowhere until they are loaded "
    "again: a node may have begun to write another format.",
    _BOARD,
    scope="suite",
    matter="quarantine",
)

GROUP = Group("mtascope-collector", (_BEHIND, _FAILING, _LANDING_FULL, _CLOCK_AHEAD, _QUARANTINE_GROWING))
"""The alerts on the way of the logs."""
