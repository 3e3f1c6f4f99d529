"""One vocabulary for every MTA that shows live figures: the bundled one, and KumoMTA by its own `/metrics`.

Each fact is written once, as our series `or` KumoMTA's under our labels, for the recording rules of a fleet and for the
board that shows it. A KumoMTA node is named by its `instance`. Its service `smtp_client` counts what goes out; what a
listener or a hook does with messages is not counted as delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dashboards.promql import Series, metric
from dashboards.rules import Group, Record

__all__ = ["GROUP", "attempts", "connections", "queued", "received", "rejected", "spool_free"]

Select = Callable[[str], Series]

_NODE = "by (job, instance, node)"
_THEIRS = "by (job, instance)"
_SMTP = {"service": "smtp_client"}
_OUTCOMES: Mapping[str, str] = {
    "delivered": "total_messages_delivered",
    "deferred": "total_messages_transfail",
    "bounced": "total_messages_fail",
}


def queued(select: Select = metric) -> str:
    """Messages that wait, by node."""
    waiting = f"sum {_THEIRS} ({select('scheduled_count_total')})"
    ready = f"sum {_THEIRS} ({select('ready_count')})"
    return _either(
        f"sum {_NODE} ({select('mtascope_mta_queue_messages')})", f"({waiting} + {ready} or {waiting} or {ready})"
    )


def received(span: str, select: Select = metric) -> str:
    """Messages accepted a second, by node."""
    theirs = select("total_messages_received")
    return _either(
        f"sum {_NODE} (rate({select('mtascope_mta_messages_received_total')}[{span}]))",
        f"sum {_THEIRS} (rate({theirs}[{span}]))",
    )


def attempts(span: str, select: Select = metric) -> str:
    """Delivery attempts a second, by node and outcome: delivered, deferred, bounced."""
    answered = select("mtascope_mta_attempts_total").where(outcome=tuple(_OUTCOMES))
    parts = [f"sum by (job, instance, node, outcome) (rate({answered}[{span}]))"]
    for outcome, name in _OUTCOMES.items():
        theirs = f"sum {_THEIRS} (rate({select(name).where(**_SMTP)}[{span}]))"
        parts.append(f'label_replace({_named(theirs)}, "outcome", "{outcome}", "", "")')
    return "\nor ".join(parts)


def rejected(span: str, select: Select = metric) -> str:
    """Commands that listeners refused a second, by node."""
    return _either(
        f"sum {_NODE} (rate({select('mtascope_mta_rejections_total')}[{span}]))",
        f"sum {_THEIRS} (rate({select('smtp_server_rejections')}[{span}]))",
    )


def connections(select: Select = metric) -> str:
    """Open connections, by node."""
    return _either(
        f"sum {_NODE} ({select('mtascope_mta_connections')})", f"sum {_THEIRS} ({select('connection_count')})"
    )


def spool_free(select: Select = metric) -> str:
    """Bytes free for the spool, by node; the least of its disks."""
    return _either(
        f"min {_NODE} ({select('mtascope_mta_spool_free_bytes')})",
        f"min {_THEIRS} ({select('disk_free_bytes').like(name='.*spool.*')})",
    )


def _either(ours: str, theirs: str) -> str:
    return f"{ours}\nor {_named(theirs)}"


def _named(theirs: str) -> str:
    return f'label_join({theirs}, "node", "", "instance")'


_QUEUED = Record("node:mtascope_mta_queue_messages:sum", queued())

GROUP = Group(
    "mtascope-fleet",
    (
        _QUEUED,
        Record("node:mtascope_mta_messages_received:rate5m", received("5m")),
        Record("node_outcome:mtascope_mta_attempts:rate5m", attempts("5m")),
        Record("node:mtascope_mta_rejections:rate5m", rejected("5m")),
        Record("node:mtascope_mta_connections:sum", connections()),
        Record("node:mtascope_mta_spool_free_bytes:min", spool_free()),
        # Under this name people scale MTAs; no KumoMTA exports it.
        Record("kumomta_queue_depth", str(_QUEUED)),
    ),
)
"""The records. `kumomta_queue_depth` is an alias of ours, for autoscalers that were told this name."""
