"""DMARC answers: who sends in our domains' names, does it authenticate, and what do TLS reports say.

Reports come once a day and speak of the day before, so everything here is about the last seven days of them.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.panels import Query, bars, graph, number
from dashboards.promql import SCOPE, Series, highest, increase, metric, rate, total

__all__ = ["DMARC"]


def _here(name: str) -> Series:
    return metric(name).like(**SCOPE)


def _messages() -> Series:
    return _here("mtascope_dmarc_messages")


def _share(part: str, whole: str) -> str:
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


# Is our name safe?


def _pass_rate() -> stat.Panel:
    return number(
        "DMARC pass",
        "Does mail in our names authenticate? Messages that passed / messages in reports, all domains together.",
        _share(total(_messages().where(result="pass")), total(_messages())),
        unit="percentunit",
        line=thresholds.DMARC_PASS,
        sparkline=False,
    )


def _reported() -> stat.Panel:
    return number("Messages reported", "How much mail do receivers tell of? The last seven days.", total(_messages()))


def _unknown() -> stat.Panel:
    return number(
        "From new unknown senders",
        "Does somebody new use our name? Messages from unknown sources that were not seen in the three weeks before.",
        total(_here("mtascope_dmarc_new_unknown_messages")),
        line=thresholds.NEW_SENDERS,
    )


def _last_report() -> stat.Panel:
    return number(
        "Last report, ago",
        "Do reports still come? Time since the newest aggregate report about any domain.",
        f"time() - {highest(_here('mtascope_dmarc_last_report_timestamp_seconds'))}",
        unit="s",
        line=thresholds.REPORTS,
        sparkline=False,
    )


def _forged() -> stat.Panel:
    return number(
        "Forged reports, last week",
        "Does somebody lie to us? Reports whose mail is not from whom it says; they are kept out of all figures.",
        increase(_here("mtascope_dmarc_forged_reports_total"), over="1w"),
        sparkline=False,
    )


def _tls_success() -> stat.Panel:
    sessions = _here("mtascope_dmarc_tls_window_sessions")
    return number(
        "TLS sessions to us that worked",
        "Can others send to us encrypted? Successful sessions / sessions, as their TLS reports say.",
        _share(total(sessions.where(result="success")), total(sessions)),
        unit="percentunit",
        line=thresholds.TLS,
        sparkline=False,
    )


# Which domain, which sender


def _by_domain() -> timeseries.Panel:
    passed, every = total(_messages().where(result="pass"), "domain"), total(_messages(), "domain")
    return graph(
        "DMARC pass by domain",
        "Which domain has trouble, and since when? Messages that passed / messages reported, seven days each.",
        [Query(_share(passed, every), "{{domain}}")],
        unit="percentunit",
        line=thresholds.DMARC_PASS,
    )


def _failing() -> bargauge.Panel:
    failing = total(_messages().without(result="pass"), "domain", "sender_kind")
    return bars(
        "Failing messages by domain and sender",
        "Whose mail fails? Our own servers, a known service, a forwarder or somebody unknown.",
        Query(f"topk(15, {failing} > 0)", "{{domain}}: {{sender_kind}}"),
    )


def _by_sender() -> timeseries.Panel:
    return graph(
        "Messages by kind of sender",
        "Who sends in our names? What the source is to us, all domains together.",
        [Query(total(_messages(), "sender_kind"), "{{sender_kind}}")],
        stacked=True,
    )


def _aligned() -> timeseries.Panel:
    aligned = total(_here("mtascope_dmarc_aligned_messages"), "mechanism")
    return graph(
        "Alignment by mechanism",
        "Which of SPF and DKIM carries us? Messages that aligned by each / messages reported.",
        [Query(f"{aligned} / on () group_left () ({total(_messages())} > 0)", "{{mechanism}}")],
        unit="percentunit",
    )


def _sources() -> bargauge.Panel:
    return bars(
        "Sources by domain and kind",
        "From how many addresses is it sent?",
        Query(
            f"topk(15, {total(_here('mtascope_dmarc_sources'), 'domain', 'sender_kind')} > 0)",
            "{{domain}}: {{sender_kind}}",
        ),
    )


def _tls_failures() -> bargauge.Panel:
    failed = _here("mtascope_dmarc_tls_window_sessions").without(result="success")
    return bars(
        "TLS failures towards us",
        "Why could others not send encrypted? In the words of TLS reports.",
        Query(f"topk(15, {total(failed, 'domain', 'result')} > 0)", "{{domain}}: {{result}}"),
    )


# The reports themselves


def _received() -> timeseries.Panel:
    return graph(
        "Reports per hour",
        "How many reports come in, of which kind?",
        [Query(f"{rate(_here('mtascope_dmarc_reports_total'), 'kind')} * 3600", "{{kind}}")],
        stacked=True,
    )


def _unread() -> timeseries.Panel:
    return graph(
        "Reports that could not be read, per hour",
        "Is anything lost? They are kept with their reason; duplicates are harmless.",
        [
            Query(f"{rate(_here('mtascope_dmarc_quarantined_reports_total'), 'reason')} * 3600", "{{reason}}"),
            Query(f"{rate(_here('mtascope_dmarc_duplicate_reports_total'))} * 3600", "came again"),
        ],
        stacked=True,
    )


def _mailboxes() -> timeseries.Panel:
    looked = highest(_here("mtascope_dmarc_mailbox_last_look_timestamp_seconds"), "mailbox")
    return graph(
        "Mailboxes last emptied, ago",
        "Is every report mailbox read?",
        [Query(f"time() - {looked}", "{{mailbox}}")],
        unit="s",
        line=thresholds.STALENESS,
    )


DMARC = Board(
    uid="mtascope-dmarc",
    title="Mail / DMARC",
    description="Who sends in our domains' names, does it authenticate, and what do TLS reports say?",
    rows=(
        Row(
            "Is our name safe?",
            (
                (4, _pass_rate()),
                (4, _reported()),
                (4, _unknown()),
                (4, _last_report()),
                (4, _forged()),
                (4, _tls_success()),
            ),
            height=4,
        ),
        Row(
            "Which domain, which sender",
            (
                (12, _by_domain()),
                (12, _failing()),
                (12, _by_sender()),
                (12, _aligned()),
                (12, _sources()),
                (12, _tls_failures()),
            ),
        ),
        Row("The reports themselves", ((8, _received()), (8, _unread()), (8, _mailboxes()))),
    ),
    tags=("mail", "dmarc"),
    by_provider=False,
    by_window=False,
    since="now-7d",
)
