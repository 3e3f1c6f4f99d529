"""TLS answers: is mail encrypted on its way, by which policy, with which versions, and at whom does it fail."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.panels import Query, bars, graph, verdict
from dashboards.promql import SCOPE, Series, increase, metric, rate, scoped
from dashboards.rates import Share

__all__ = ["TLS", "share_of_tries", "success_by_provider"]

_MEANING = "connections that ended encrypted / connections where TLS was tried"


def share_of_tries(direction: str, span: str) -> Share:
    """Encrypted connections of those where TLS was tried, in that time."""
    tried = metric("mtascope_mta_tls_connections_total").like(**SCOPE).where(direction=direction)

    def ended(*results: str) -> str:
        return increase(tried.where(result=results), over=span)

    whole = ended("ok", "failed")
    return Share(_or_none(ended("ok"), whole), whole, ended("failed"), thresholds.TLS, _MEANING)


def _or_none(part: str, whole: str) -> str:
    """The part, or 0 where only the whole was counted: a counter that never moved has no series yet."""
    return f"({part} or 0 * {whole})"


def success_by_provider(connections: Series) -> str:
    """The share of tries that ended encrypted, by provider, at each moment."""
    tried = rate(connections.where(result=("ok", "failed")), "provider")
    return f"{_or_none(rate(connections.where(result='ok'), 'provider'), tried)} / ({tried} > 0)"


def _outbound() -> Series:
    return scoped("mtascope_mta_tls_connections_total").where(direction="outbound")


def _policies() -> Series:
    return metric("mtascope_mta_tls_policy_sessions_total").like(**SCOPE)


def _success(title: str, direction: str, span: str) -> stat.Panel:
    return verdict(title, f"Do {direction} connections end encrypted?", share_of_tries(direction, span))


def _by_provider() -> timeseries.Panel:
    return graph(
        "TLS success per provider",
        f"At whom does it fail, and since when? Outbound {_MEANING}.",
        [Query(success_by_provider(_outbound()), "{{provider}}")],
        unit="percentunit",
        line=thresholds.TLS,
    )


def _in_clear() -> bargauge.Panel:
    return bars(
        "In the clear, last day",
        "To whom does mail still go unencrypted? Connections to providers that offer no TLS.",
        Query(f"topk(15, {increase(_outbound().where(result='not_offered'), 'provider', over='1d')})", "{{provider}}"),
    )


def _failed() -> bargauge.Panel:
    return bars(
        "Failed handshakes, last day",
        "Whose TLS is broken? Connections on which the handshake or the check of the certificate failed.",
        Query(f"topk(15, {increase(_outbound().where(result='failed'), 'provider', over='1d')})", "{{provider}}"),
    )


def _versions() -> timeseries.Panel:
    encrypted = rate(_outbound().where(result="ok"), "tls_version")
    return graph(
        "Outbound TLS versions",
        "Who still speaks old TLS? Encrypted connections per minute by version.",
        [Query(f"{encrypted} * 60", "{{tls_version}}")],
        stacked=True,
    )


def _by_policy() -> timeseries.Panel:
    return graph(
        "Sessions per minute by policy",
        "Whose promise held or broke? Outbound sessions under MTA-STS, DANE or no policy, by result in the words of "
        "TLS reports (RFC 8460).",
        [Query(f"{rate(_policies(), 'policy', 'result')} * 60", "{{policy}}: {{result}}")],
        stacked=True,
    )


def _policy_failures() -> bargauge.Panel:
    return bars(
        "Policy failures, last day",
        "Which promise was broken? Sessions that a policy forbade to go on, by policy and failure.",
        Query(increase(_policies().without(result="success"), "policy", "result", over="1d"), "{{policy}}: {{result}}"),
    )


_NOW = Row(
    "Is mail encrypted?",
    (
        (6, _success("Outbound, last hour", "outbound", "1h")),
        (6, _success("Outbound, last day", "outbound", "1d")),
        (6, _success("Inbound, last hour", "inbound", "1h")),
        (6, _success("Inbound, last day", "inbound", "1d")),
    ),
    height=4,
)
_WHOM = Row("At whom not?", ((12, _by_provider()), (6, _failed()), (6, _in_clear())))
_HOW = Row("How", ((8, _versions()), (8, _by_policy()), (8, _policy_failures())))

TLS = Board(
    uid="mtascope-tls",
    title="Mail / TLS",
    description="Is mail encrypted on its way, by which policy, and at whom does it fail?",
    rows=(_NOW, _WHOM, _HOW),
    tags=("mail",),
    by_window=False,
)
