"""The suite watching itself: who watches the mail must not fail in silence."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.alerts.judged import BY_SUITE, SUITE
from dashboards.promql import metric
from dashboards.rules import Alert, Group

__all__ = ["GROUP"]

_DELIVERY_BOARD = "/d/mtascope-delivery"
_BOARD = "/d/mtascope-infrastructure"

_DOWN = Alert(
    "MtascopeDown",
    f"{metric('up').where(job='mtascope')} == 0\nor absent({metric('up').where(job='mtascope')})",
    "critical",
    "mtascope cannot be scraped{{ with $labels.instance }} at {{ . }}{{ end }}",
    "{{ with $labels.instance }}The metrics endpoint of {{ . }} has not answered{{ else }}Prometheus has had no "
    "target of the job mtascope{{ end }} for two minutes. Mail flows on without it, but nothing watches it.",
    _BOARD,
    lasting="2m",
    scope="suite",
    matter="suite",
)
_INJECTED_TODAY = metric("mtascope_window_recipients").where(window="1d", measure="injected")
_WATERMARK_STALE = Alert(
    "MtascopeWatermarkStale",
    f"time() - max {BY_SUITE} ({metric('mtascope_watermark_timestamp_seconds')})"
    f" > {thresholds.STALENESS.critical:g}\n"
    f"and sum {BY_SUITE} ({_INJECTED_TODAY}) >= {thresholds.STEADY_FLEET}",
    "critical",
    "{{ $labels.instance }} has seen no new records for {{ $value | humanizeDuration }}",
    "The newest record of any node is {{ $value | humanizeDuration }} old: no mail flows, or its records do not reach "
    "the store. Until then no alert on mail can fire.",
    _DELIVERY_BOARD,
    scope="suite",
    matter="ingest",
)
_IDENTITY_BROKEN = Alert(
    "MtascopeIdentityBroken",
    f"abs({metric('mtascope_identity_broken_recipients')}) >= {thresholds.IDENTITY.critical:g}",
    "critical",
    "The counts of {{ $labels.instance }} do not add up",
    "{{ $value }} recipients are in no outcome or in two: injected is not the sum of the others. Rates of this suite "
    "may be wrong by that much.",
    _DELIVERY_BOARD,
    scope="suite",
    matter="identity",
)
_SNAPSHOT_STALE = Alert(
    "MtascopeSnapshotStale",
    f"time() - {metric('mtascope_snapshot_timestamp_seconds')} >= {thresholds.SNAPSHOT.critical:g}",
    "critical",
    "The figures of {{ $labels.instance }} are {{ $value | humanizeDuration }} old",
    "The metrics page answers, but what it shows was computed {{ $value | humanizeDuration }} ago: the store is busy, "
    "stuck or out of disk. Verdicts on mail are old ones until it moves again.",
    _BOARD,
    lasting="2m",
    scope="suite",
    matter="suite",
)
_SOURCE_FAILING = Alert(
    "MtascopeSourceFailing",
    f"{metric('mtascope_source_success')} == 0",
    "warning",
    "{{ $labels.instance }} shows no figures of {{ $labels.source }}",
    "The part {{ $labels.source }} could not be read at the last scrapes; its series are missing from the page, the "
    "others are right.",
    _BOARD,
    scope="suite",
    matter="suite",
)
_TOO_MANY_SERIES = Alert(
    "MtascopeTooManySeries",
    f"{metric('mtascope_series')} >= {thresholds.SERIES.critical:g}",
    "info",
    "{{ $labels.instance }} shows {{ $value }} series",
    "{{ $value }} series on one page is more than a fleet needs. Labels are bounded, so this grows with nodes and "
    "providers: the catalogue names who has how many.",
    _BOARD,
    lasting="30m",
    scope="suite",
    matter="series",
)

_WATCH_STALE = Alert(
    "MtascopeWatchStale",
    f"time() - {metric('mtascope_watch_judged_timestamp_seconds')} >= {thresholds.WATCH.critical:g}\n"
    f"and {metric('mtascope_watch_judged_timestamp_seconds')} > 0\n"
    f"and on ({', '.join(SUITE)}) sum {BY_SUITE} ({_INJECTED_TODAY}) >= {thresholds.STEADY_FLEET}",
    "warning",
    "The watch for spikes of {{ $labels.instance }} is {{ $value | humanizeDuration }} behind",
    "No five-minute step has been judged for {{ $value | humanizeDuration }}, though mail flows: the detector opens no "
    "incident until it does. Alerts on fixed lines still work.",
    _BOARD,
    scope="suite",
    matter="watch",
)
_NOTIFICATIONS_STUCK = Alert(
    "MtascopeNotificationsStuck",
    f"{metric('mtascope_notifications_waiting')} >= {thresholds.NOTIFICATIONS.warning:g}",
    "warning",
    "{{ $value }} notifications wait for {{ $labels.channel }}",
    "The channel {{ $labels.channel }} has not taken {{ $value }} notifications of incidents for half an hour. They "
    "are kept and tried again for three days.",
    _BOARD,
    lasting="30m",
    scope="suite",
    matter="watch",
)
_MAILBOX_DOWN = Alert(
    "MtascopeReportMailboxDown",
    f"{metric('mtascope_dmarc_mailbox_up')} == 0",
    "warning",
    "The report mailbox {{ $labels.mailbox }} cannot be read",
    "DMARC and TLS reports in {{ $labels.mailbox }} have not been fetched for half an hour. They stay there; other "
    "mailboxes are read.",
    _BOARD,
    lasting="30m",
    scope="suite",
    matter="reports",
)

GROUP = Group(
    "mtascope-suite",
    (
        _DOWN,
        _WATERMARK_STALE,
        _IDENTITY_BROKEN,
        _SNAPSHOT_STALE,
        _SOURCE_FAILING,
        _TOO_MANY_SERIES,
        _WATCH_STALE,
        _NOTIFICATIONS_STUCK,
        _MAILBOX_DOWN,
    ),
)
"""The alerts on the suite."""
