"""What waits: its age, its growth, and what can go nowhere."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.alerts.judged import BY_PROVIDER, BY_SUITE, SUITE
from dashboards.promql import metric
from dashboards.rules import Alert, Group

__all__ = ["GROUP"]

_QUEUE_BOARD = "/d/mtascope-queue"
_IN_FLIGHT = metric("mtascope_in_flight_recipients")
_WAITING = f"sum {BY_SUITE} ({_IN_FLIGHT})"
_HOUR_AGO = f"sum {BY_SUITE} ({_IN_FLIGHT} offset 1h)"

_OLD = Alert(
    "MtascopeQueueOld",
    f"max {BY_PROVIDER} ({metric('mtascope_queue_oldest_age_seconds')}) >= {thresholds.QUEUE_AGE.critical:g}\n"
    f"and sum {BY_PROVIDER} ({_IN_FLIGHT}) >= {thresholds.STUCK}",
    "warning",
    "Mail for {{ $labels.provider }} has waited {{ $value | humanizeDuration }}",
    "The oldest recipient at {{ $labels.provider }} has waited {{ $value | humanizeDuration }}, and many wait with it. "
    "Mail that waits to the end of its queue's lifetime expires.",
    _QUEUE_BOARD,
    lasting="15m",
    scope="mail",
    matter="queue",
)
_GROWING = Alert(
    "MtascopeQueueGrowing",
    f"{_WAITING} >= {thresholds.QUEUE_GROWTH:g} * {_HOUR_AGO}\nand {_WAITING} - {_HOUR_AGO} >= {thresholds.BACKLOG}",
    "warning",
    "The queue has grown to {{ $value | humanize }} recipients within an hour",
    "{{ $value | humanize }} recipients wait, at least twice as many as an hour ago. More comes in than goes out: a "
    "provider slows us, a limit of ours is too low, or a machine is.",
    _QUEUE_BOARD,
    lasting="15m",
    scope="mail",
    matter="queue",
)
_STALLED = Alert(
    "MtascopeDeliveryStalled",
    f"{_WAITING} >= {thresholds.STUCK}\n"
    f"and sum {BY_SUITE} ({metric('mtascope_window_attempts').where(window='15m')}) == 0\n"
    f"and sum {BY_SUITE} ({metric('mtascope_window_attempts').where(window='1d')}) >= {thresholds.STEADY_FLEET}",
    "critical",
    "{{ $value | humanize }} recipients wait and nothing is attempted",
    "No attempt at any provider for 15 minutes, while {{ $value | humanize }} recipients wait: the MTAs stand still, "
    "cannot resolve names or reach the network, or their logs no longer arrive.",
    _QUEUE_BOARD,
    scope="mail",
    matter="silence",
)
_DEAD_LETTERS = Alert(
    "MtascopeDeadLetters",
    f"sum by ({', '.join(SUITE)}, node) ({metric('mtascope_mta_dead_letter_messages')})"
    f" >= {thresholds.DEAD_LETTERS.critical:g}",
    "warning",
    "{{ $labels.node }} keeps {{ $value }} dead letters",
    "{{ $value }} messages on {{ $labels.node }} can be neither delivered nor returned. They are kept for you to look "
    "at; the room for them is bounded.",
    _QUEUE_BOARD,
    lasting="15m",
    scope="mail",
    matter="dead-letters",
)

GROUP = Group("mtascope-queues", (_OLD, _GROWING, _STALLED, _DEAD_LETTERS))
"""The alerts on queues."""
