"""What reports of others say about our domains: who uses them, whether it authenticates, whether reports still come."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.alerts.judged import SUITE
from dashboards.promql import metric
from dashboards.rules import Alert, Group

__all__ = ["GROUP"]

_BOARD = "/d/mtascope-dmarc"
_BY_DOMAIN = f"by ({', '.join(SUITE)}, domain)"
_MESSAGES = metric("mtascope_dmarc_messages")
_LAST = metric("mtascope_dmarc_last_report_timestamp_seconds")
_TLS = metric("mtascope_dmarc_tls_window_sessions")

_NEW_SENDER = Alert(
    "MtascopeDmarcNewSender",
    f"sum {_BY_DOMAIN} ({metric('mtascope_dmarc_new_unknown_messages')}) >= {thresholds.NEW_SENDERS.critical:g}",
    "warning",
    "Somebody new sends as {{ $labels.domain }}",
    "Receivers report {{ $value | humanize }} messages in the name of {{ $labels.domain }} from sources that are "
    "unknown and were not seen in the three weeks before: a service that somebody ordered, or abuse. "
    "`mtascope dmarc advise` lists them.",
    _BOARD,
    lasting="15m",
    scope="mail",
    matter="dmarc",
)
_PASS_DROPPED = Alert(
    "MtascopeDmarcPassDropped",
    f"sum {_BY_DOMAIN} ({_MESSAGES.where(result='pass')})\n"
    f"/ (sum {_BY_DOMAIN} ({_MESSAGES}) >= {thresholds.DMARC_VOLUME}) < {thresholds.DMARC_PASS.critical:g}\n"
    f"and sum {_BY_DOMAIN} ({_MESSAGES.where(result='pass')} offset 7d)\n"
    f"/ (sum {_BY_DOMAIN} ({_MESSAGES} offset 7d) > 0) >= {thresholds.DMARC_PASS.critical:g}",
    "warning",
    "Only {{ $value | humanizePercentage }} of mail as {{ $labels.domain }} passes DMARC",
    "Of the messages that receivers reported for {{ $labels.domain }}, {{ $value | humanizePercentage }} passed, and "
    "it was better a week ago. A key, a DNS record or a sender changed.",
    _BOARD,
    lasting="60m",
    scope="mail",
    matter="dmarc",
)
_STOPPED = Alert(
    "MtascopeDmarcReportsStopped",
    f"time() - {_LAST} >= {thresholds.REPORTS.critical:g}\nand time() - {_LAST} < 30 * 86400",
    "warning",
    "No report about {{ $labels.domain }} for {{ $value | humanizeDuration }}",
    "Reports about {{ $labels.domain }} came, and have stopped for {{ $value | humanizeDuration }}: the rua address, "
    "its mailbox or the domain's record is broken, or the domain sends no more.",
    _BOARD,
    lasting="60m",
    scope="mail",
    matter="reports",
)
_FORGED = Alert(
    "MtascopeDmarcForgedReport",
    f"sum by ({', '.join(SUITE)}) (increase({metric('mtascope_dmarc_forged_reports_total')}[1d])) >= 1",
    "info",
    "{{ $value | humanize }} reports were forged",
    "Mails with reports did not come from whom they name. They are kept, and kept out of every figure and advice.",
    _BOARD,
    lasting="1m",
    scope="mail",
    matter="reports",
)
_TLS_FAILURES = Alert(
    "MtascopeTlsReportFailures",
    f"sum {_BY_DOMAIN} ({_TLS.without(result='success')})\n"
    f"/ (sum {_BY_DOMAIN} ({_TLS}) >= {thresholds.TLS.floor}) >= {1 - thresholds.TLS.critical:g}",
    "warning",
    "{{ $value | humanizePercentage }} of TLS sessions to {{ $labels.domain }} fail",
    "Others report that {{ $value | humanizePercentage }} of their TLS sessions to {{ $labels.domain }} failed within "
    "a week. With an enforced policy that is mail which does not reach us.",
    _BOARD,
    lasting="60m",
    scope="mail",
    matter="tls",
)

GROUP = Group("mtascope-dmarc", (_NEW_SENDER, _PASS_DROPPED, _STOPPED, _FORGED, _TLS_FAILURES))
"""The alerts on what reports say."""
