"""The bundled MTA: its disk, its workers, its TLS. These are live figures of processes, so counters may have rates."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.alerts.judged import BY_PROVIDER, SUITE
from dashboards.promql import metric, quantile
from dashboards.rules import Alert, Group

__all__ = ["GROUP"]

_BOARD = "/d/mtascope-infrastructure"
_NODE = f"by ({', '.join(SUITE)}, node)"
_FREE = metric("mtascope_mta_spool_free_bytes")
_STARTED = metric("mtascope_mta_start_timestamp_seconds")
_TLS = metric("mtascope_mta_tls_connections_total").where(direction="outbound")


def _tried(*results: str) -> str:
    return f"sum {BY_PROVIDER} (increase({_TLS.where(result=results)}[1h]))"


_SPOOL_FULL = Alert(
    "MtascopeSpoolFull",
    f"min {_NODE} ({_FREE}) < {thresholds.SPOOL_FREE.critical:g}",
    "critical",
    "The spool of {{ $labels.node }} has {{ $value | humanize1024 }}B left",
    "The disk of {{ $labels.node }}'s spool is nearly full; soon new mail is refused with 452 4.3.1. What was "
    "accepted stays safe and is delivered.",
    _BOARD,
    scope="machine",
    matter="disk",
)
_SPOOL_FILLING = Alert(
    "MtascopeSpoolFilling",
    f"predict_linear({_FREE}[1h], 4 * 3600) < 0\nand {_FREE} < {thresholds.SPOOL_FREE.warning:g}",
    "warning",
    "The spool of {{ $labels.node }} will be full within four hours",
    "At the pace of the last hour the spool's disk on {{ $labels.node }} runs out within four hours: mail comes in "
    "faster than it goes out.",
    _BOARD,
    lasting="15m",
    scope="machine",
    matter="disk",
)
_SYNC_SLOW = Alert(
    "MtascopeSpoolSlow",
    f"{quantile(0.99, metric('mtascope_mta_journal_sync_seconds'), *SUITE, 'node', over='10m')}"
    f" >= {thresholds.SYNC_TIME.critical:g}",
    "warning",
    "Accepting mail on {{ $labels.node }} waits {{ $value | humanizeDuration }} for the disk",
    "One fsync of the spool in a hundred takes {{ $value | humanizeDuration }} on {{ $labels.node }}. Every client "
    "waits for it before it hears 250.",
    _BOARD,
    lasting="15m",
    scope="machine",
    matter="disk",
)
_GONE = Alert(
    "MtascopeMtaGone",
    f"max {_NODE} ({_STARTED} offset 15m)\n"
    f"unless max {_NODE} ({_STARTED})\n"
    f"and on ({', '.join(SUITE)}) {metric('up').where(job='mtascope')} == 1",
    "critical",
    "The MTA {{ $labels.node }} no longer answers",
    "The suite has had no figures from the MTA {{ $labels.node }} for some minutes, though they were there a quarter "
    "of an hour ago: it stopped, or hangs. Its queue is safe on disk.",
    _BOARD,
    scope="machine",
    matter="mta",
)
_RESTARTING = Alert(
    "MtascopeMtaRestarting",
    f"max {_NODE} (changes({_STARTED}[30m])) >= 3",
    "critical",
    "The MTA {{ $labels.node }} has started {{ $value }} times in half an hour",
    "The MTA {{ $labels.node }} ends and is started again and again. Its log says why; nothing accepted is lost.",
    _BOARD,
    scope="machine",
    matter="mta",
)
_TLS_FAILING = Alert(
    "MtascopeTlsFailing",
    f"{_tried('ok')} / ({_tried('ok', 'failed')} >= {thresholds.TLS.floor}) < {thresholds.TLS.critical:g}",
    "warning",
    "Only {{ $value | humanizePercentage }} of connections to {{ $labels.provider }} end encrypted",
    "Of the connections to {{ $labels.provider }} on which TLS was tried in the last hour, "
    "{{ $value | humanizePercentage }} ended encrypted. Either their certificate or ours, "
    "a policy, or the network breaks the handshake.",
    _BOARD,
    lasting="10m",
    scope="mail",
    matter="tls",
)

GROUP = Group("mtascope-mta", (_SPOOL_FULL, _SPOOL_FILLING, _SYNC_SLOW, _GONE, _RESTARTING, _TLS_FAILING))
"""The alerts on the bundled MTA."""
