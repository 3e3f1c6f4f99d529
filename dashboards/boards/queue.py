"""Queue Health answers: what waits, for how long, for whom, and does it drain."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.flow import per_minute, received, terminal
from dashboards.panels import Query, bars, graph, number
from dashboards.promql import by, quantile, rate, scoped, total

__all__ = ["QUEUE_HEALTH"]


def _now() -> Row:
    queued = scoped("mtascope_mta_queue_messages")
    in_flight = scoped("mtascope_in_flight_recipients")
    panels = (
        number(
            "In flight",
            "How much mail of the fleet waits? Recipients without an outcome, as the logs of all nodes tell it.",
            total(in_flight),
        ),
        number(
            "Retrying",
            "How much of it has failed before? Recipients in flight with at least one deferral.",
            total(in_flight.where(state="deferred")),
        ),
        number(
            "In the bundled MTA's queues",
            "How much do the bundled MTAs hold right now? Live, so it may lead the logs by seconds.",
            total(queued),
        ),
        number(
            "Dead letters",
            "Is there mail that needs a person? Messages that can be neither delivered nor returned to a sender.",
            total(scoped("mtascope_mta_dead_letter_messages")),
            line=thresholds.DEAD_LETTERS,
        ),
        number(
            "Oldest message",
            "How long has the longest wait lasted? Oldest recipient in flight, as the logs tell it.",
            f"max({scoped('mtascope_queue_oldest_age_seconds')})",
            unit="s",
            line=thresholds.QUEUE_AGE,
        ),
        number(
            "Time to drain",
            "When would the queue be empty if nothing new came in? In flight / outcomes per second.",
            f"{total(in_flight)} / ({rate(terminal())} > 0)",
            unit="s",
        ),
    )
    return Row("Does it drain?", tuple((4, panel) for panel in panels), height=4)


def _depth() -> Row:
    domains = scoped("mtascope_mta_queue_domain_messages").without(domain="other")
    return Row(
        "For whom",
        (
            (
                8,
                bars(
                    "Depth per domain",
                    "Which destinations does mail pile up for? The 20 deepest queues of the bundled MTAs, now.",
                    Query(f"topk(20, {total(domains, 'domain')})", "{{domain}}"),
                ),
            ),
            (
                16,
                graph(
                    "Depth per domain over time",
                    "Since when? The 10 deepest queues at each moment.",
                    [Query(f"topk(10, {total(domains, 'domain')})", "{{domain}}")],
                ),
            ),
        ),
        height=9,
    )


def _flow() -> Row:
    in_flight = scoped("mtascope_in_flight_recipients")
    attempts = scoped("mtascope_mta_attempts_total")
    final = attempts.where(outcome=("delivered", "bounced"))
    return Row(
        "In, out and again",
        (
            (
                12,
                graph(
                    "In and out per minute",
                    "Does more come in than goes out? Recipients received above the line, outcomes below it.",
                    [Query(per_minute(received()), "received"), Query(per_minute(terminal()), "finished")],
                    below_zero="finished",
                ),
            ),
            (
                12,
                graph(
                    "In flight by state",
                    "Is the queue new mail or mail that was deferred? Fresh recipients have not been refused yet.",
                    [Query(total(in_flight, "state"), "{{state}}")],
                    stacked=True,
                    outcomes=("fresh", "deferred", "retrying"),
                ),
            ),
            (
                12,
                graph(
                    "In flight by provider",
                    "Who keeps our mail waiting?",
                    [Query(total(in_flight, "provider"), "{{provider}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                graph(
                    "Oldest in flight by provider",
                    "Whose mail has waited longest? The dashed lines mark one hour and four.",
                    [Query(f"max{by(['provider'])}({scoped('mtascope_queue_oldest_age_seconds')})", "{{provider}}")],
                    unit="s",
                    line=thresholds.QUEUE_AGE,
                ),
            ),
            (
                12,
                graph(
                    "Deferrals per minute by cause",
                    "Why does it wait? What providers, or we ourselves, gave as the reason to try again.",
                    [
                        Query(
                            per_minute(scoped("mtascope_failures_total").where(type="deferral"), "bounce_group"),
                            "{{bounce_group}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                graph(
                    "Attempts per final answer",
                    "How much work does one message cost? Attempts of the bundled MTAs / attempts that ended in "
                    "delivery or bounce. 1 is perfect; a rise is a retry storm.",
                    [Query(f"{rate(attempts)} / ({rate(final)} > 0)", "attempts")],
                ),
            ),
        ),
    )


def _spool() -> Row:
    return Row(
        "The bundled MTA's spool",
        (
            (
                6,
                graph(
                    "Queue by state",
                    "What do the bundled MTAs hold? Live, from the spool itself.",
                    [Query(total(scoped("mtascope_mta_queue_messages"), "state"), "{{state}}")],
                    stacked=True,
                    outcomes=("fresh", "deferred", "retrying"),
                ),
            ),
            (
                6,
                graph(
                    "Dead letters by reason",
                    "Why can mail be neither delivered nor returned?",
                    [Query(total(scoped("mtascope_mta_dead_letter_messages"), "reason"), "{{reason}}")],
                    stacked=True,
                ),
            ),
            (
                6,
                graph(
                    "Spool size",
                    "Does the spool grow?",
                    [Query(total(scoped("mtascope_mta_spool_bytes"), "node"), "{{node}}")],
                    unit="bytes",
                ),
            ),
            (
                6,
                graph(
                    "Journal sync time",
                    "Is the disk slowing acceptance? Every accepted message waits for one fsync of the journal.",
                    [
                        Query(
                            quantile(q, scoped("mtascope_mta_journal_sync_seconds"), "node"),
                            f"p{q * 100:g} {{{{node}}}}",
                        )
                        for q in (0.5, 0.99)
                    ],
                    unit="s",
                    line=thresholds.SYNC_TIME,
                ),
            ),
        ),
        height=7,
    )


QUEUE_HEALTH = Board(
    uid="mtascope-queue",
    title="Mail / Queue Health",
    description="What waits, for how long, for whom, and does it drain?",
    rows=(_now(), _depth(), _flow(), _spool()),
    tags=("mail",),
    by_window=False,
)
