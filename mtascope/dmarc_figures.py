"""The figures of DMARC on the metrics page: the store's volumes, and who their senders are to us.

Nothing is looked up in DNS for it: senders are known by our own logs, signatures and bounce domains.
"""

from __future__ import annotations

from collections import defaultdict

from analytics.dmarc_figures import DmarcFigures, dmarc_figures
from analytics.dmarc_questions import own_addresses, source_traffic
from analytics.store import Store
from dmarc.senders import OwnAddress, SenderKind, ServiceMap, identify
from mta.events.instants import DAY
from mtascope.dmarc_reports import traffic_of
from mtascope.report_mailboxes import Values

__all__ = ["report_values"]

_BEFORE = 21 * DAY
_UNKNOWN = frozenset({SenderKind.UNKNOWN, SenderKind.SUSPICIOUS})
_COUNTERS = {
    "reports": "mtascope_dmarc_reports_total",
    "forged": "mtascope_dmarc_forged_reports_total",
    "quarantined": "mtascope_dmarc_quarantined_reports_total",
    "messages": "mtascope_dmarc_reported_messages_total",
    "sessions": "mtascope_dmarc_tls_sessions_total",
}
_FROM_THE_START = (
    *(("reports", kind) for kind in ("aggregate", "tls", "failure")),
    *(("forged", kind) for kind in ("aggregate", "tls", "failure")),
    *(("messages", result) for result in ("pass", "fail")),
    *(("sessions", result) for result in ("success", "failure")),
)


def report_values(store: Store) -> Values:
    """All values of now. Counters are there from the start, at 0."""
    figures = dmarc_figures(store)
    values: dict[str, dict[tuple[str, ...], float]] = {name: defaultdict(float) for name in _COUNTERS.values()}
    for (name, label), value in {**dict.fromkeys(_FROM_THE_START, 0), **figures.counters}.items():
        if name in _COUNTERS:
            values[_COUNTERS[name]][label,] += value
    return {
        **values,
        "mtascope_dmarc_duplicate_reports_total": {(): figures.counters.get(("duplicates", ""), 0)},
        "mtascope_dmarc_last_report_timestamp_seconds": {(name,): at for name, at in figures.last_report.items()},
        "mtascope_dmarc_tls_window_sessions": {(domain, result): n for (domain, result), n in figures.tls.items()},
        **_traffic_values(store, figures),
    }


def _traffic_values(store: Store, figures: DmarcFigures) -> Values:
    own = {address: OwnAddress() for address in own_addresses(store, figures.since - _BEFORE)}
    services = ServiceMap.shipped()
    messages: defaultdict[tuple[str, ...], float] = defaultdict(float)
    aligned: defaultdict[tuple[str, ...], float] = defaultdict(float)
    sources: defaultdict[tuple[str, ...], float] = defaultdict(float)
    new: dict[tuple[str, ...], float] = dict.fromkeys(((domain,) for domain in figures.domains), 0)
    for domain in figures.domains:
        known = {row["source_ip"] for row in source_traffic(store, domain, figures.since - _BEFORE, figures.since)}
        for row in source_traffic(store, domain, figures.since, figures.until):
            item = traffic_of(row)
            kind = identify(item, domain, services, own).kind
            messages[domain, kind, "pass"] += item.passed
            messages[domain, kind, "fail"] += item.failed
            aligned[domain, "dkim"] += item.dkim_aligned
            aligned[domain, "spf"] += item.spf_aligned
            sources[domain, kind] += 1
            if kind in _UNKNOWN and known and item.source_ip not in known:
                new[domain,] += item.messages
    return {
        "mtascope_dmarc_messages": messages,
        "mtascope_dmarc_aligned_messages": aligned,
        "mtascope_dmarc_sources": sources,
        "mtascope_dmarc_new_unknown_messages": new,
    }
