"""Questions about stored DMARC reports. Volumes are messages by UTC day, reports over several days spread over them.

Only current revisions count, and no report whose carrier was found to be forged (`dmarc.daily`).
"""

from __future__ import annotations

from typing import Any

from analytics.store import Store

__all__ = [
    "coverage",
    "daily_volumes",
    "dkim_selectors",
    "own_addresses",
    "own_days",
    "published_policy",
    "source_traffic",
    "stored_reports",
    "weeks",
]

_TRAFFIC = """
WITH traffic AS (
    SELECT * FROM dmarc.daily WHERE domain = $domain AND day >= make_timestamp($since) AND day < make_timestamp($until)
), checks AS (
    SELECT t.source_ip, a.kind, a.domain, a.selector, a.result = 'pass' AS passed, sum(t.share) AS messages
    FROM traffic t JOIN dmarc.auth a ON a.report_id = t.report_id AND a.ordinal = t.ordinal
    WHERE a.domain IS NOT NULL GROUP BY ALL
), overridden AS (
    SELECT t.source_ip, sum(t.share) AS messages FROM traffic t
    WHERE NOT t.passed AND EXISTS (
        FROM dmarc.override o WHERE o.report_id = t.report_id AND o.ordinal = t.ordinal
        AND o.type IN ('forwarded', 'trusted_forwarder', 'mailing_list'))
    GROUP BY ALL
), named AS (
    SELECT source_ip,
        list(DISTINCT domain) FILTER (kind = 'dkim' AND passed) AS signers,
        list(DISTINCT domain) FILTER (kind = 'spf' AND passed) AS senders,
        list(DISTINCT domain || coalesce('/' || selector, '')) FILTER (kind = 'dkim' AND NOT passed) AS broken_signers
    FROM checks GROUP BY source_ip
)
SELECT t.source_ip, sum(t.share) AS messages,
    coalesce(sum(t.share) FILTER (t.passed), 0) AS passed,
    coalesce(sum(t.share) FILTER (t.dkim_aligned), 0) AS dkim_aligned,
    coalesce(sum(t.share) FILTER (t.spf_aligned), 0) AS spf_aligned,
    coalesce(sum(t.share) FILTER (t.disposition IN ('quarantine', 'reject')), 0) AS hindered,
    coalesce(any_value(o.messages), 0) AS forwarded,
    epoch_us(min(t.day)) AS first_day, epoch_us(max(t.day)) AS last_day,
    coalesce(any_value(n.signers), []) AS signers, coalesce(any_value(n.senders), []) AS senders,
    coalesce(any_value(n.broken_signers), []) AS broken_signers
FROM traffic t LEFT JOIN overridden o USING (source_ip) LEFT JOIN named n USING (source_ip)
WHERE t.messages > 0
GROUP BY t.source_ip ORDER BY messages DESC LIMIT $limit
"""
_TRAFFIC_COLUMNS = (
    "source_ip", "messages", "passed", "dkim_aligned", "spf_aligned", "hindered", "forwarded", "first_day", "last_day",
    "signers", "senders", "broken_signers",
)  # fmt: skip


def source_traffic(store: Store, domain: str, since: int, until: int, limit: int = 10_000) -> list[dict[str, Any]]:
    """Volumes and identities of each address that sent in the name of a policy domain, the largest first."""
    rows = store.query(_TRAFFIC, {"domain": domain, "since": since, "until": until, "limit": limit})
    return [dict(zip(_TRAFFIC_COLUMNS, row, strict=True)) for row in rows]


def coverage(store: Store, domain: str, since: int, until: int) -> dict[str, Any]:
    """How much the reports tell: days with any report, and reporters with the days on which each reported."""
    rows = store.query(
        "SELECT coalesce(r.org_name, ''), count(DISTINCT d.day) "
        "FROM dmarc.daily d JOIN dmarc.report r USING (report_id) "
        "WHERE d.domain = $domain AND d.day >= make_timestamp($since) AND d.day < make_timestamp($until) "
        "GROUP BY 1 ORDER BY 2 DESC, 1",
        {"domain": domain, "since": since, "until": until},
    )
    days = store.query(
        "SELECT count(DISTINCT day) FROM dmarc.daily "
        "WHERE domain = $domain AND day >= make_timestamp($since) AND day < make_timestamp($until)",
        {"domain": domain, "since": since, "until": until},
    )
    return {"days": days[0][0], "reporters": dict(rows)}


def published_policy(store: Store, domain: str) -> dict[str, Any]:
    """The policy in the newest report about a domain; empty where there is none."""
    rows = store.query(
        "SELECT p, sp, np, pct, adkim, aspf, testing FROM dmarc.report "
        "WHERE domain = $domain AND kind = 'aggregate' AND is_current AND mail_auth <> 'fail' "
        "ORDER BY end_at DESC NULLS LAST LIMIT 1",
        {"domain": domain},
    )
    return dict(zip(("p", "sp", "np", "pct", "adkim", "aspf", "testing"), rows[0], strict=True)) if rows else {}


def own_addresses(store: Store, since: int) -> dict[str, dict[str, Any]]:
    """The addresses that our own MTAs sent from, by their logs, with the source, pool and node that used each last."""
    rows = store.query(
        "SELECT source_ip, arg_max(source, time), arg_max(pool, time), arg_max(node, time), epoch_us(max(time)) "
        "FROM event WHERE source_ip IS NOT NULL AND time >= make_timestamp($since) GROUP BY source_ip",
        {"since": since},
    )
    return {row[0]: dict(zip(("source", "pool", "node", "last"), row[1:], strict=True)) for row in rows}


def own_days(store: Store, domain: str, addresses: list[str], since: int, until: int) -> list[dict[str, Any]]:
    """What each reporter saw of each of these addresses on each day: messages, and how many failed what."""
    names = ("source_ip", "reporter", "day", "messages", "dkim_failed", "spf_failed", "failed")
    rows = store.query(
        "SELECT d.source_ip, coalesce(r.org_name, ''), epoch_us(d.day), sum(d.share), "
        "coalesce(sum(d.share) FILTER (NOT coalesce(d.dkim_aligned, false)), 0), "
        "coalesce(sum(d.share) FILTER (NOT coalesce(d.spf_aligned, false)), 0), "
        "coalesce(sum(d.share) FILTER (NOT d.passed), 0) "
        "FROM dmarc.daily d JOIN dmarc.report r USING (report_id) WHERE d.domain = $domain AND d.messages > 0 "
        "AND d.day >= make_timestamp($since) AND d.day < make_timestamp($until) "
        "AND list_contains($addresses::VARCHAR[], d.source_ip) GROUP BY ALL ORDER BY ALL",
        {"domain": domain, "since": since, "until": until, "addresses": addresses},
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def dkim_selectors(store: Store, domain: str, since: int, limit: int = 10) -> list[str]:
    """The selectors with which mail in a domain's name was signed by it, the most used first."""
    rows = store.query(
        "SELECT a.selector FROM dmarc.auth a JOIN dmarc.record r USING (report_id, ordinal) "
        "WHERE a.kind = 'dkim' AND a.domain = $domain AND a.selector IS NOT NULL "
        "AND r.begin_at >= make_timestamp($since) "
        "GROUP BY 1 ORDER BY sum(r.messages) DESC, 1 LIMIT $limit",
        {"domain": domain, "since": since, "limit": limit},
    )
    return [row[0] for row in rows]


def weeks(store: Store, domain: str, until: int, count: int = 2) -> list[dict[str, Any]]:
    """Messages, those that passed, and the newest policy seen in each of the last weeks, the newest first."""
    rows = store.query(
        "SELECT (epoch_us(make_timestamp($until)) - epoch_us(day) - 1) // 604800000000 AS week, sum(share), "
        "coalesce(sum(share) FILTER (passed), 0), arg_max(p, d.end_at) FROM dmarc.daily d "
        "JOIN (SELECT report_id, p FROM dmarc.report) USING (report_id) WHERE d.domain = $domain "
        "AND day < make_timestamp($until) AND day >= make_timestamp($until) - to_days(7 * $count::INTEGER) GROUP BY 1",
        {"domain": domain, "until": until, "count": count},
    )
    found = {row[0]: row[1:] for row in rows}
    return [
        dict(zip(("messages", "passed", "policy"), found.get(week, (0.0, 0.0, None)), strict=True))
        for week in range(count)
    ]


def daily_volumes(store: Store, domain: str, since: int, until: int) -> list[dict[str, Any]]:
    """A domain's messages by UTC day: all, passed, aligned by each mechanism, and those that DMARC did not hinder."""
    names = ("day", "messages", "passed", "dkim_aligned", "spf_aligned", "delivered")
    rows = store.query(
        "SELECT epoch_us(day), sum(share), coalesce(sum(share) FILTER (passed), 0), "
        "coalesce(sum(share) FILTER (dkim_aligned), 0), coalesce(sum(share) FILTER (spf_aligned), 0), "
        "coalesce(sum(share) FILTER (coalesce(disposition, 'none') IN ('none', 'pass')), 0) FROM dmarc.daily "
        "WHERE domain = $domain AND day >= make_timestamp($since) AND day < make_timestamp($until) "
        "GROUP BY 1 ORDER BY 1",
        {"domain": domain, "since": since, "until": until},
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def stored_reports(store: Store, domain: str | None, auth: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest reports as they were stored, forged ones too: who sent what about which domain, and who vouches."""
    names = (
        "kind", "org_name", "reported_id", "domain", "begin", "end", "records", "messages", "passed", "outcome",
        "mail_auth", "mail_domain", "source", "revision", "is_current", "received", "warnings",
    )  # fmt: skip
    rows = store.query(
        "SELECT kind, org_name, reported_id, domain, epoch_us(begin_at), epoch_us(end_at), records, messages, passed, "
        "outcome, mail_auth, mail_domain, source, revision, is_current, epoch_us(received_at), warnings "
        "FROM dmarc.report WHERE ($domain IS NULL OR domain = $domain) AND ($auth IS NULL OR mail_auth = $auth) "
        "ORDER BY received_at DESC, report_id DESC LIMIT $limit",
        {"domain": domain, "auth": auth, "limit": limit},
    )
    return [dict(zip(names, row, strict=True)) for row in rows]
