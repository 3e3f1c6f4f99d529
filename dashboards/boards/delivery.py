"""Delivery Overview answers: is our mail arriving, where is it not, since when, and may I trust these figures."""

from __future__ import annotations

from dashboards import rates, thresholds
from dashboards.board import Board, Row
from dashboards.flow import TERMINAL, latency, per_minute, terminal
from dashboards.panels import Column, Query, bars, graph, number, provider_table, verdict
from dashboards.promql import metric, quantile, scoped, total
from dashboards.rates import Rate

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
ISP_LINK = "/d/mtascope-isp?var-provider=${__value.raw}&${datasource:queryparam}&${__url_time_range}"


def _in_window(rate_: Rate, *labels: str, window: str = "$window") -> rates.Share:
    return rate_.over(window, *labels, select=scoped)


def _verdicts() -> Row:
    sent = scoped("mtascope_window_recipients").where(window="$window", measure="sent")
    panels = (
        number(
            "Messages processed per minute",
            "How much mail is moving? Recipients that reached an outcome: delivered, bounced, expired, cancelled or "
            "transferred, at the rate at which their records arrive here.",
            per_minute(terminal()),
        ),
        verdict(
            "Delivery success",
            "Does mail that we finished with arrive? Mail still in the queue is not counted: see In flight.",
            _in_window(rates.DELIVERY),
        ),
        verdict("Bounces", "How much mail comes back?", _in_window(rates.BOUNCE)),
        verdict(
            "Complaints, last day",
            "Do people call it spam? Providers block above 0.3 %. Always over one day, whatever the window: complaints "
            "trickle in.",
            _in_window(rates.COMPLAINT, window="1d"),
        ),
        verdict(
            "Attempts deferred",
            "Are providers slowing us down? The first sign of trouble: it moves before bounces do.",
            _in_window(rates.DEFERRAL),
        ),
        number(
            "Recipients with an outcome",
            "How much volume is behind the rates? The denominator of delivery and bounce rate in the window.",
            total(sent),
        ),
    )
    return Row("Are we fine?", tuple((4, panel) for panel in panels), height=4)


def _trust() -> Row:
    watermark = scoped("mtascope_watermark_timestamp_seconds")
    taken = scoped("mtascope_snapshot_timestamp_seconds")  # an empty quarantine has no series: show 0, not "no data"
    firing = metric("ALERTS").where(alertstate="firing").like(alertname="Mtascope.+")
    panels = (
        number("In flight", "Who still waits for an outcome?", total(scoped("mtascope_in_flight_recipients"))),
        number(
            "Oldest in flight",
            "How long has the longest wait lasted? The age of the oldest recipient without an outcome.",
            f"max({scoped('mtascope_queue_oldest_age_seconds')})",
            unit="s",
            line=thresholds.QUEUE_AGE,
        ),
        number(
            "Data is behind by",
            "May I trust this page? Time between now and the newest record of any node. Large: no mail flows, or its "
            "records do not reach us.",
            f"time() - max({watermark})",
            unit="s",
            line=thresholds.STALENESS,
        ),
        number(
            "Counting identity",
            "Do the figures add up? Injected = in flight + delivered + bounced + expired + cancelled + suppressed + "
            "transferred; the number is how many recipients break it.",
            f"sum(abs({scoped('mtascope_identity_broken_recipients')}))",
            line=thresholds.IDENTITY,
            names={"0": "holds"},
            sparkline=False,
        ),
        number(
            "Quarantined records",
            "Is there input that we could not read? It is kept with its reason and can be loaded again.",
            f"{total(scoped('mtascope_quarantined_records'))} or 0 * {total(taken)}",
            line=thresholds.QUARANTINED,
        ),
        number(
            "Alerts firing",
            "Does anything need me now? Alerts of this suite in the Prometheus server that feeds this board.",
            f"count({firing}) or vector(0)",
            line=thresholds.FIRING,
            names={"0": "none"},
            sparkline=False,
        ),
    )
    return Row("Can I trust it?", tuple((4, panel) for panel in panels), height=4)


def _course() -> Row:
    share = _in_window(rates.DELIVERY, "provider")
    failures = scoped("mtascope_failures_total")
    return Row(
        "Since when, where and why",
        (
            (
                12,
                graph(
                    "Outcomes per minute",
                    "What happens to our mail? Recipients by outcome, at the rate at which their records arrive.",
                    [Query(per_minute(terminal(), "type"), "{{type}}")],
                    stacked=True,
                    outcomes=TERMINAL,
                ),
            ),
            (
                12,
                graph(
                    "Delivery rate by provider",
                    "Who is not taking our mail? Each point covers the window before it; the dashed lines are those of "
                    f"the verdicts. Computed as {share.meaning}.",
                    [Query(share.value, "{{provider}}")],
                    unit="percentunit",
                    line=share.line,
                ),
            ),
            (
                12,
                graph(
                    "Failures per minute by cause",
                    "Why does mail fail? Failed attempts, bounces, late bounces and complaints by kind of cause.",
                    [Query(per_minute(failures, "bounce_group"), "{{bounce_group}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                graph(
                    "Time to delivery",
                    "How long does mail take? From injection to the provider's final 2xx, for what was delivered in "
                    "the moment; this is time to acceptance, not to the inbox.",
                    latency(),
                    unit="s",
                ),
            ),
        ),
    )


def _providers() -> Row:
    bounces = _in_window(rates.BOUNCE, "provider")
    verdict_on_bounces = " + ".join(
        f"(({bounces.judged}) >= bool {bound:g})" for bound in (bounces.line.warning, bounces.line.critical)
    )
    sent = scoped("mtascope_window_recipients").where(window="$window", measure="sent")
    columns = (
        Column("With an outcome", total(sent, "provider")),
        Column("Delivered", _in_window(rates.DELIVERY, "provider").value, "percentunit"),
        Column("Bounced", bounces.value, "percentunit"),
        Column("Attempts deferred", _in_window(rates.DEFERRAL, "provider").value, "percentunit"),
        Column("Complained (1d)", _in_window(rates.COMPLAINT, "provider", window="1d").value, "percentunit"),
        Column("p90 latency", quantile(0.9, scoped("mtascope_delivery_latency_seconds"), "provider"), "s"),
        Column("Bounce verdict", verdict_on_bounces, verdict=True),
    )
    return Row(
        "By provider",
        (
            (
                17,
                provider_table(
                    "Providers",
                    "Which provider needs attention? Rates over the window, beside the volume they rest on; the "
                    "verdict is given only where that volume allows one. A name leads to that provider's board.",
                    columns,
                    link=ISP_LINK,
                ),
            ),
            (
                7,
                bars(
                    "Where every recipient stands",
                    "Where is all the mail we ever took? Each recipient is in exactly one bar besides injected, which "
                    "is the sum of the others.",
                    Query(total(scoped("mtascope_recipients"), "outcome"), "{{outcome}}"),
                    outcomes=LIFE_CYCLE,
                ),
            ),
        ),
        height=10,
    )


DELIVERY_OVERVIEW = Board(
    uid="mtascope-delivery",
    title="Mail / Delivery Overview",
    description="Is our mail arriving, where is it not, since when, and why?",
    rows=(_verdicts(), _trust(), _course(), _providers()),
    tags=("mail",),
)
