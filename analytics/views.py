"""What people may ask in SQL: views whose names and columns are promises, over tables that are not.

Tables change with versions, and half of the history lies in sealed parts; `v_recipient`, `v_event`, `v_rate_hour` and
`v_dmarc_day` stay what they are. No view holds an address: recipients are keyed hashes and a domain. Documented for
users in docs/sql.md, which a test holds against this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analytics.dimensions import DIMENSIONS
from analytics.relations import events, units
from analytics.rollup import MEASURE_NAMES, ROLLED
from analytics.store import Store

__all__ = ["VIEWS", "View", "definitions"]

_OF_MAIL = tuple(name for name, dimension in DIMENSIONS.items() if not dimension.of_failure)


@dataclass(frozen=True, slots=True)
class View:
    """A view: what a row is, and its columns, each as SQL over the relation behind it."""

    meaning: str
    columns: Mapping[str, str]


_FAILED = "CASE WHEN terminal_outcome = 'expired' THEN coalesce(last_deferral_{0}, terminal_{0}) ELSE terminal_{0} END"
_REPLY = "(SELECT text FROM reply_template WHERE id = {})"

VIEWS: Mapping[str, View] = {
    "v_recipient": View(
        "one recipient of one message, and what became of it; count with sum(n), because a recipient whose history is "
        "restated has a row that is taken back (n = -1) and another that stands",
        {
            "n": "n",
            "recipient_id": "unit_id",
            "message_key": "message_key",
            "recipient_hash": "recipient_hash",
            "message_id": "message_id",
            **{name: DIMENSIONS[name].of_recipient for name in _OF_MAIL},
            "size": "size",
            "injected_at": "injected_at",
            "first_attempt_at": "first_attempt_at",
            "ended_at": "terminal_moment",
            "outcome": "coalesce(terminal_outcome, 'in_flight')",
            "attempts": "coalesce(attempts, 0)",
            "deferrals": "coalesce(deferrals, 0)",
            "local_attempts": "coalesce(local_attempts, 0)",
            "delivered_attempt": "delivered_attempt",
            "bounce_class": _FAILED.format("class"),
            "severity": _FAILED.format("severity"),
            "reply": _REPLY.format(_FAILED.format("template")),
            "returned_at": "oob_moment",
            "returned_class": "oob_class",
            "complained_at": "complained_at",
        },
    ),
    "v_event": View(
        "one event: an injection, an attempt, an end, a report",
        {
            "time": "time",
            "type": "type::VARCHAR",
            "origin": "origin::VARCHAR",
            "recipient_id": "unit_id",
            "message_key": "message_key",
            "queue_id": "queue_id",
            **{name: DIMENSIONS[name].of_event for name in _OF_MAIL},
            "attempt": "attempt",
            "code": "code",
            "enhanced": "enhanced",
            "phase": "phase",
            "reply": _REPLY.format("template_id"),
            "bounce_class": "bounce_class",
            "bounce_group": "bounce_group",
            "severity": "severity",
            "peer_host": "peer_host",
            "peer_ip": "peer_ip",
            "tls_version": "tls_version",
        },
    ),
    "v_rate_hour": View(
        "counts of one hour by provider, provider group, gateway and direction, on each clock",
        {
            "clock": "clock::VARCHAR",
            "hour": "date_trunc('hour', bucket)",
            **{name: name for name in ROLLED},
            **{name: f"sum({name})::BIGINT" for name in MEASURE_NAMES},
        },
    ),
    "v_dmarc_day": View(
        "messages that DMARC reports tell of, by UTC day, domain and source",
        {
            "day": "day::DATE",
            "domain": "domain",
            "source_ip": "source_ip",
            "header_from": "header_from",
            "disposition": "disposition",
            "dkim_aligned": "dkim_aligned",
            "spf_aligned": "spf_aligned",
            "passed": "passed",
            "messages": "share",
        },
    ),
}
"""Every view by its name."""


def definitions(store: Store) -> dict[str, str]:
    """The SELECT behind each view; sealed history is named as in every question of ours."""
    relations = {
        "v_recipient": f"{units(store)} WHERE successor IS NULL",
        "v_event": events(store),
        "v_rate_hour": "rollup GROUP BY ALL",
        "v_dmarc_day": "dmarc.daily",
    }
    return {
        name: "SELECT " + ", ".join(f"{sql} AS {column}" for column, sql in view.columns.items())
        + f" FROM {relations[name]}"
        for name, view in VIEWS.items()
    }  # fmt: skip
