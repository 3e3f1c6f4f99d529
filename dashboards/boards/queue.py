"""Queue Health answers: what waits, for how long, for whom, and does it drain."""

from __future__ import annotations

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.flow import per_minute, received, terminal
from dashboards.panels import Query, bars, graph, number
from dashboards.promql import Series, highest, quantile, rate, scoped, total

__all__ = ["QUEUE_HEALTH"]


def _in_flight() -> Series:
    return scoped("mtascope_in_flight_recipients")


# Does it drain?


def _waiting() -> stat.Panel:
    return number(
        "In flight",
        "How much mail of the fleet waits? Recipients without an outcome, as the logs of all nodes tell it.",
        total(_in_flight()),
    )


def _retrying() -> stat.Panel:
    return number(
        "Retrying",
        "How much of it has failed before? Recipients in flight with at least one deferral.",
        total(_in_flight().where(state="deferred")),
    )


def _queued() -> stat.Panel:
    return number(
        "In the bundled MTA's queues",
        "How much do the bundled MTAs hold right now? Live, so it may lead the logs by seconds.",
        total(scoped("mtascope_mta_queue_messages")),
    )


def _dead_letters() -> stat.Panel:
    return number(
        "Dead letters",
        "Is there mail that needs a person? Messages that can be neither delivered nor returned to a sender.",
        total(scoped("mtascope_mta_dead_letter_messages")),
        line=thresholds.DEAD_LETTERS,
    )


def _oldest() -> stat.Panel:
    return number(
        "Oldest message",
        "How long has the longest wait lasted? Oldest recipient in flight, as the logs tell it.",
        highest(scoped("mtascope_queue_oldest_age_seconds")),
        unit="s",
        line=thresholds.QUEUE_AGE,
    )


def _time_to_drain() -> stat.Panel:
    return number(
        "Time to drain",
        "When would the queue be empty if nothing new came in? In flight / outcomes per second.",
        f"{total(_in_flight())} / ({rate(terminal())} > 0)",
        unit="s",
    )


# For whom


def _deepest(count: int) -> Query:
    """The fullest queues by name; "other" is the sum of all that the MTA does not name."""
    domains = scoped("mtascope_mta_queue_domain_messages").without(domain="other")
    return Query(f"topk({count}, {total(domains, 'domain')})", "{{domain}}")


def _depth() -> bargauge.Panel:
    return bars(
        "Depth per domain",
        "Which destinations does mail pile up for? The 20 deepest queues of the bundled MTAs, now.",
        _deepest(20),
    )


def _depth_over_time() -> timeseries.Panel:
    return graph("Depth per domain over time", "Since when? The 10 deepest queues at each moment.", [_deepest(10)])


# In, out and again


def _in_and_out() -> timeseries.Panel:
    return graph(
        "In and out per minute",
        "Does more come in than goes out? Recipients received above the line, outcomes below it.",
        [Query(per_minute(received()), "received"), Query(per_minute(terminal()), "finished")],
        below_zero="finished",
    )


def _in_flight_by_state() -> timeseries.Panel:
    return graph(
        "In flight by state",
        "Is the queue new mail or mail that was deferred? Fresh recipients have not been refused yet.",
        [Query(total(_in_flight(), "state"), "{{state}}")],
        stacked=True,
        outcomes=("fresh", "deferred"),
    )


def _in_flight_by_provider() -> timeseries.Panel:
    return graph(
        "In flight by provider",
        "Who keeps our mail waiting?",
        [Query(total(_in_flight(), "provider"), "{{provider}}")],
        stacked=True,
    )


def _oldest_by_provider() -> timeseries.Panel:
    return graph(
        "Oldest in flight by provider",
        "Whose mail has waited longest? The dashed lines mark one hour and four.",
        [Query(highest(scoped("mtascope_queue_oldest_age_seconds"), "provider"), "{{provider}}")],
        unit="s",
        line=thresholds.QUEUE_AGE,
    )


def _deferrals_by_cause() -> timeseries.Panel:
    deferrals = scoped("mtascope_failures_total").where(type="deferral")
    return graph(
        "Deferrals per minute by cause",
        "Why does it wait? What providers, or we ourselves, gave as the reason to try again.",
        [Query(per_minute(deferrals, "bounce_group"), "{{bounce_group}}")],
        stacked=True,
    )


def _attempts_per_answer() -> timeseries.Panel:
    attempts = scoped("mtascope_mta_attempts_total")
    final = attempts.where(outcome=("delivered", "bounced"))
    return graph(
        "Attempts per final answer",
        "How much work does one message cost? Attempts of the bundled MTAs / attempts that ended in delivery or "
        "bounce. 1 is perfect; a rise is a retry storm.",
        [Query(f"{rate(attempts)} / ({rate(final)} > 0)", "attempts")],
    )


# The bundled MTA's spool


def _queue_by_state() -> timeseries.Panel:
    return graph(
        "Queue by state",
        "What do the bundled MTAs hold? Live, from the spool itself.",
        [Query(total(scoped("mtascope_mta_queue_messages"), "state"), "{{state}}")],
        stacked=True,
        outcomes=("fresh", "retrying"),
    )


def _dead_letters_by_reason() -> timeseries.Panel:
    return graph(
        "Dead letters by reason",
        "Why can mail be neither delivered nor returned?",
        [Query(total(scoped("mtascope_mta_dead_letter_messages"), "reason"), "{{reason}}")],
        stacked=True,
    )


def _spool_size() -> timeseries.Panel:
    return graph(
        "Spool size",
        "Does the spool grow?",
        [Query(total(scoped("mtascope_mta_spool_bytes"), "node"), "{{node}}")],
        unit="bytes",
    )


def _sync_time() -> timeseries.Panel:
    seconds = scoped("mtascope_mta_journal_sync_seconds")
    return graph(
        "Journal sync time",
        "Is the disk slowing acceptance? Every accepted message waits for one fsync of the journal.",
        [Query(quantile(q, seconds, "node"), f"p{q * 100:g} {{{{node}}}}") for q in (0.5, 0.99)],
        unit="s",
        line=thresholds.SYNC_TIME,
    )


_NOW = Row(
    "Does it drain?",
    (
        (4, _waiting()),
        (4, _retrying()),
        (4, _queued()),
        (4, _dead_letters()),
        (4, _oldest()),
        (4, _time_to_drain()),
    ),
    height=4,
)
_DOMAINS = Row("For whom", ((8, _depth()), (16, _depth_over_time())), height=9)
_FLOW = Row(
    "In, out and again",
    (
        (12, _in_and_out()),
        (12, _in_flight_by_state()),
        (12, _in_flight_by_provider()),
        (12, _oldest_by_provider()),
        (12, _deferrals_by_cause()),
        (12, _attempts_per_answer()),
    ),
)
_SPOOL = Row(
    "The bundled MTA's spool",
    ((6, _queue_by_state()), (6, _dead_letters_by_reason()), (6, _spool_size()), (6, _sync_time())),
    height=7,
)

QUEUE_HEALTH = Board(
    uid="mtascope-queue",
    title="Mail / Queue Health",
    description="What waits, for how long, for whom, and does it drain?",
    rows=(_NOW, _DOMAINS, _FLOW, _SPOOL),
    tags=("mail",),
    by_window=False,
)
