"""What the metrics page shows of the stored reports: counters as kept, and windows of the last seven days of reports.

Reports come a day late and cover whole days, so a window ends with the last UTC day that is over. Domains are bounded:
the largest so many are told, by messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analytics.store import Store
from mta.events.instants import DAY

__all__ = ["WINDOW_DAYS", "DmarcFigures", "dmarc_figures", "prune_quarantine"]

WINDOW_DAYS = 7
_MOST_DOMAINS = 20

_LARGEST = (
    "SELECT domain FROM dmarc.daily WHERE day >= make_timestamp($since) AND day < make_timestamp($until) "
    "GROUP BY 1 ORDER BY sum(share) DESC, 1 LIMIT $most"
)
_RESULT_TYPES = (
    "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
    "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error",
    "sts-policy-invalid", "sts-webpki-invalid",
)  # fmt: skip
"""RFC 8460 section 4.3; anything else is `other`."""
# Policy blocks of one report (DANE, MTA-STS) see the same sessions: the largest counts, not their sum.
_TLS = """
WITH policy AS (
    SELECT report_id, p.position, p.domain, coalesce(p.policy_type, '') AS kind, p.successful
    FROM dmarc.tls_policy p JOIN dmarc.report r USING (report_id)
    WHERE r.is_current AND r.mail_auth IN ('pass', 'unknown') AND p.domain IS NOT NULL
    AND r.end_at >= make_timestamp($since) AND r.end_at < make_timestamp($until)
), told AS (
    SELECT domain, kind, 'success' AS result, sum(successful) AS sessions FROM policy GROUP BY ALL
    UNION ALL
    SELECT domain, kind, CASE WHEN list_contains($known::VARCHAR[], f.result_type) THEN f.result_type ELSE 'other' END,
        sum(f.sessions)
    FROM dmarc.tls_failure f JOIN policy USING (report_id, position) GROUP BY ALL
), largest AS (SELECT domain FROM told GROUP BY 1 ORDER BY sum(sessions) DESC, 1 LIMIT $most)
SELECT domain, result, max(sessions)::BIGINT FROM told WHERE domain IN (FROM largest) GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class DmarcFigures:
    """`since` and `until` bound the window. Counters by name and label; the rest by domain."""

    since: int
    until: int
    counters: Mapping[tuple[str, str], int]
    domains: tuple[str, ...]
    """The largest, by messages in the window."""
    last_report: Mapping[str, float]
    """Seconds: when the newest aggregate report about each domain came."""
    tls: Mapping[tuple[str, str], int]
    """Sessions by domain and result type; `success` is one."""


def dmarc_figures(store: Store) -> DmarcFigures:
    """The figures of now."""
    until = store.clock() // DAY * DAY
    since = until - WINDOW_DAYS * DAY
    window = {"since": since, "until": until}
    counters = store.query("SELECT name, label, value FROM dmarc.counter")
    domains = store.query(_LARGEST, {**window, "most": _MOST_DOMAINS})
    last = store.query(
        "SELECT domain, epoch_us(max(received_at)) / 1e6 FROM dmarc.report WHERE kind = 'aggregate' AND is_current "
        "AND mail_auth IN ('pass', 'unknown') AND domain IS NOT NULL GROUP BY 1 ORDER BY sum(messages) DESC LIMIT ?",
        [_MOST_DOMAINS],
    )
    return DmarcFigures(
        since=since,
        until=until,
        counters={(name, label): value for name, label, value in counters},
        domains=tuple(row[0] for row in domains if row[0]),
        last_report=dict(last),
        tls={
            (domain, result): count
            for domain, result, count in store.query(
                _TLS, {**window, "known": list(_RESULT_TYPES), "most": _MOST_DOMAINS}
            )
        },
    )


def prune_quarantine(store: Store, days: int) -> int:
    """Forget what was quarantined longer ago; how many. The inputs stay known, so none comes again."""
    with store.writing() as con:
        rows = con.execute(
            "DELETE FROM dmarc.quarantine WHERE received_at < make_timestamp(?)", [store.clock() - days * DAY]
        ).fetchall()
    return int(rows[0][0])
