"""Delivery Overview answers: is our mail arriving, where is it not, since when, and may I trust these figures."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries

from dashboards import rates, thresholds
from dashboards.board import Board, Row
from dashboards.flow import TERMINAL, latency, per_minute, terminal
from dashboards.panels import Column, Query, bars, graph, number, provider_table, verdict
from dashboards.promql import highest, metric, quantile, scoped, total
from dashboards.rates import Rate, Share

__all__ = ["DELIVERY_OVERVIEW"]

LIFE_CYCLE = (
    "injected",
    "in_flight",
    "delivered",
    "bounced",
    "expired",
    "admin_bounced",
    "suppressed",
    "transferred",
)
_ISP_BOARD = "/d/mtascope-isp?var-provider=${__value.raw}&${datasource:queryparam}&${__url_time_range}"


def _share(rate: Rate, *labels: str, window: str = "$window") -> Share:
    return rate.over(window, *labels, select=scoped)


def _sent(*labels: str) -> str:
    return total(scoped("mtascope_window_recipients").where(window="$window", measure="sent"), *labels)


# Are we fine?


def _processed() -> stat.Panel:
    return number(
        "Messages processed per minute",
        "How much mail is moving? Recipients that reached an outcome: delivered, bounced, expired, cancelled or "
        "transferred, at the rate at which their records arrive here.",
        per_minute(terminal()),
    )


def _delivery_success() -> stat.Panel:
    return verdict(
        "Delivery success",
        "Does mail that we finished with arrive? Mail still in the queue is not counted: see In flight.",
        _share(rates.DELIVERY),
    )


def _bounces() -> stat.Panel:
    return verdict("Bounces", "How much mail comes back?", _share(rates.BOUNCE))


def _complaints() -> stat.Panel:
    return verdict(
        "Complaints, last day",
        "Do people call it spam? Providers block above 0.3 %. Always over one day, whatever the window: complaints "
        "trickle in.",
        _share(rates.COMPLAINT, window="1d"),
    )


def _deferrals() -> stat.Panel:
    return verdict(
        "Attempts deferred",
        "Are providers slowing us down? The first sign of trouble: it moves before bounces do.",
        _share(rates.DEFERRAL),
    )


def _volume() -> stat.Panel:
    return number(
        "Recipients with an outcome",
        "How much volume is behind the rates? The denominator of delivery and bounce rate in the window.",
        _sent(),
    )


# Can I trust it?


def _in_flight() -> stat.Panel:
    return number("In flight", "Who still waits for an outcome?", total(scoped("mtascope_in_flight_recipients")))


def _oldest() -> stat.Panel:
    return number(
        "Oldest in flight",
        "How long has the longest wait lasted? The age of the oldest recipient without an outcome.",
        highest(scoped("mtascope_queue_oldest_age_seconds")),
        unit="s",
        line=thresholds.QUEUE_AGE,
    )


def _staleness() -> stat.Panel:
    return number(
        "Data is behind by",
        "May I trust this page? Time between now and the newest record of any node. Large: no mail flows, or its "
        "records do not reach us.",
        f"time() - {highest(scoped('mtascope_watermark_timestamp_seconds'))}",
        unit="s",
        line=thresholds.STALENESS,
    )


def _identity() -> stat.Panel:
    return number(
        "Counting identity",
        "Do the figures add up? Injected = in flight + delivered + bounced + expired + cancelled + suppressed + "
        "transferred; the number is how many recipients break it.",
        f"sum(abs({scoped('mtascope_identity_broken_recipients')}))",
        line=thresholds.IDENTITY,
        names={"0": "holds"},
        sparkline=False,
    )


def _quarantined() -> stat.Panel:
    taken = scoped("mtascope_snapshot_timestamp_seconds")  # an empty quarantine has no series: show 0, not "no data"
    return number(
        "Quarantined records",
        "Is there input that we could not read? It is kept with its reason and can be loaded again.",
        f"{total(scoped('mtascope_quarantined_records'))} or 0 * {total(taken)}",
        line=thresholds.QUARANTINED,
    )


def _firing() -> stat.Panel:
    firing = metric("ALERTS").where(alertstate="firing").like(alertname="Mtascope.+")
    return number(
        "Alerts firing",
        "Does anything need me now? Alerts of this suite in the Prometheus server that feeds this board.",
        f"count({firing}) or vector(0)",
        line=thresholds.FIRING,
        names={"0": "none"},
        sparkline=False,
    )


# Since when, where and why


def _outcomes() -> timeseries.Panel:
    return graph(
        "Outcomes per minute",
        "What happens to our mail? Recipients by outcome, at the rate at which their records arrive.",
        [Query(per_minute(terminal(), "type"), "{{type}}")],
        stacked=True,
        outcomes=TERMINAL,
    )


def _delivery_by_provider() -> timeseries.Panel:
    share = _share(rates.DELIVERY, "provider")
    return graph(
        "Delivery rate by provider",
        "Who is not taking our mail? Each point covers the window before it; the dashed lines are those of the "
        f"verdicts. Computed as {share.meaning}.",
        [Query(share.value, "{{provider}}")],
        unit="percentunit",
        line=share.line,
    )


def _failures_by_cause() -> timeseries.Panel:
    return graph(
        "Failures per minute by cause",
        "Why does mail fail? Failed attempts, bounces, late bounces and complaints by kind of cause.",
        [Query(per_minute(scoped("mtascope_failures_total"), "bounce_group"), "{{bounce_group}}")],
        stacked=True,
    )


def _time_to_delivery() -> timeseries.Panel:
    return graph(
        "Time to delivery",
        "How long does mail take? From injection to the provider's final 2xx, for what was delivered in the moment; "
        "this is time to acceptance, not to the inbox.",
        latency(),
        unit="s",
    )


# By provider


def _providers() -> table.Panel:
    columns = (
        Column("With an outcome", _sent("provider")),
        Column("Delivered", _share(rates.DELIVERY, "provider").value, "percentunit"),
        Column("Bounced", _share(rates.BOUNCE, "provider").value, "percentunit"),
        Column("Attempts deferred", _share(rates.DEFERRAL, "provider").value, "percentunit"),
        Column("Complained (1d)", _share(rates.COMPLAINT, "provider", window="1d").value, "percentunit"),
        Column("p90 latency", quantile(0.9, scoped("mtascope_delivery_latency_seconds"), "provider"), "s"),
        Column("Bounce verdict", _graded(_share(rates.BOUNCE, "provider")), verdict=True),
    )
    return provider_table(
        "Providers",
        "Which provider needs attention? Rates over the window, beside the volume they rest on; the verdict is given "
        "only where that volume allows one. A name leads to that provider's board.",
        columns,
        link=_ISP_BOARD,
    )


def _graded(share: Share) -> str:
    """0 fine, 1 watch, 2 bad; nothing without a verdict."""
    crossed = (f"(({share.judged}) >= bool {bound:g})" for bound in (share.line.warning, share.line.critical))
    return " + ".join(crossed)


def _life_cycle() -> bargauge.Panel:
    return bars(
        "Where every recipient stands",
        "Where is all the mail we ever took? Each recipient is in exactly one bar besides injected, which is the sum "
        "of the others.",
        Query(total(scoped("mtascope_recipients"), "outcome"), "{{outcome}}"),
        outcomes=LIFE_CYCLE,
    )


_FINE = Row(
    "Are we fine?",
    (
        (4, _processed()),
        (4, _delivery_success()),
        (4, _bounces()),
        (4, _complaints()),
        (4, _deferrals()),
        (4, _volume()),
    ),
    height=4,
)
_TRUST = Row(
    "Can I trust it?",
    (
        (4, _in_flight()),
        (4, _oldest()),
        (4, _staleness()),
        (4, _identity()),
        (4, _quarantined()),
        (4, _firing()),
    ),
    height=4,
)
_COURSE = Row(
    "Since when, where and why",
    ((12, _outcomes()), (12, _delivery_by_provider()), (12, _failures_by_cause()), (12, _time_to_delivery())),
)
_PROVIDERS = Row("By provider", ((17, _providers()), (7, _life_cycle())), height=10)

DELIVERY_OVERVIEW = Board(
    uid="mtascope-delivery",
    title="Mail / Delivery Overview",
    description="Is our mail arriving, where is it not, since when, and why?",
    rows=(_FINE, _TRUST, _COURSE, _PROVIDERS),
    tags=("mail",),
)
