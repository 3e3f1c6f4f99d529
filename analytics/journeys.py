"""A journey: how one recipient's history is written into a sealed part, and read back.

A sealed part holds one row a recipient: the flat row of analytics/recipients.py and all its events as a list. That says
identities, domain, campaign and the like once instead of once an event, and lets questions about recipients pass the
events by. What is told twice is not written twice:

- Every instant but the injection is a distance to the instant that it usually equals: an end to the injection, the
  newest anything to the end. Most distances are 0, which costs nothing.
- A field of an event that its recipient has as well is NULL; where the event lacks what its recipient has, it is ''.
- `event_id` is computed again: it is a hash of kept columns.
- What providers say on success is not kept.

Left out are `queue_id` (the message key is its keyed hash), the text of the
Message-ID (its hash stays) and when an event was loaded. Everything else comes back as it was, which a test holds.

Tries are counted at their own time, which is a matter of the events. Where all of a row's tries lie within a minute and
differ from the recipient in no dimension, as with most mail, the row says how many they were (`told_<measure>`) and
when (`told_at`), and the list need not be opened; else it says so (`told_apart`).

Rows that are no recipient have the weight 0 and carry events only: what a log tells of a whole message, refused mail,
late reports. A row with the weight -1 takes back a recipient that changed after it was sealed; it carries no events.
"""

from __future__ import annotations

from collections.abc import Mapping

from analytics.recipients import COLUMNS
from analytics.rollup import MEASURES

__all__ = ["PLAIN", "event_struct", "packed", "unpacked", "unpacked_events", "unpacked_tries"]

PLAIN = "n = 1 AND deferrals IS NULL AND local_attempts IS NULL AND coalesce(terminal_outcome = 'delivered', false)"
"""SQL over a flat row: it went as it should. Parts keep such rows together; questions about failures skip them."""

_START = "epoch_us(injected_at)"
_ENDED = "coalesce(terminal_moment, injected_at)"
_PACKED_END = f"{_START} + coalesce(terminal_moment, 0)"

# What an instant is measured from: over flat rows; and in microseconds over packed rows, where instants are distances.
_ANCHORS = {
    "injection": ("injected_at", _START),
    "end": (_ENDED, _PACKED_END),
    "last": (f"coalesce(last_event_at, {_ENDED})", f"{_PACKED_END} + coalesce(last_event_at, 0)"),
    "try": (f"coalesce(first_attempt_at, {_ENDED})", f"{_PACKED_END} + coalesce(first_attempt_at, 0)"),
}
_ANCHOR_OF = {
    "received_at": "injection", "created_at": "injection", "first_event_at": "injection", "held_up_at": "injection",
    "terminal_moment": "injection", "oob_moment": "injection", "complained_at": "injection",
    "last_event_at": "end", "first_attempt_at": "end", "told_at": "end",
    "last_deferral_moment": "end", "deferred_at": "try",
}  # fmt: skip
"""All others are the instants of latest traits, as a rule the last event's."""

_FORGOTTEN = frozenset({"message_id"})
_INSTANTS = (
    *(column.name for column in COLUMNS if column.sql_type == "TIMESTAMP" and column.name != "injected_at"),
    "told_at",
)

_TOLD = tuple(f"told_{measure.name}" for measure in MEASURES if measure.of_event is not None)
_ENDS = "type::VARCHAR IN ('delivery', 'bounce', 'expiration', 'admin_bounce', 'transfer_out')"

_INHERITED = {
    "recipient_hash": "recipient_hash", "node": "node", "mta": "mta", "direction": "direction", "domain": "domain",
    "provider": "provider_name", "provider_group": "provider_grp", "gateway": "provider_gateway",
    "sender_domain": "sender_domain", "tenant": "tenant_name", "campaign": "campaign_name", "source": "source_name",
    "pool": "pool_name", "dkim_domain": "dkim_domain_name", "source_ip": "source_ip_name", "size": "size",
}  # fmt: skip
"""Columns of an event that its recipient's flat row has as well, and their name there."""

_OF_ROW = ("unit_id", "message_key")
_LEFT_OUT = {"queue_id": "''", "message_id": "NULL::VARCHAR", "loaded_at": "NULL::TIMESTAMP"}


_TIME = f"coalesce(r.start + e.after, CASE WHEN {_ENDS.replace('type', 'e.type')} THEN r.ended ELSE r.start END)"
# What mta.events.pseudonym.event_id makes of the same values.
_EVENT_ID = (
    f"sha256(concat_ws('|', r.unit_id, e.type, {_TIME}, coalesce(e.attempt, 0), coalesce(e.code, 0), e.ordinal))"
    "[:32]::UUID"
)

_COMPUTED = {
    "unit_id": "r.unit_id",
    "message_key": "r.message_key",
    "event_id": _EVENT_ID,
    "time": f"make_timestamp({_TIME})",
    "created": "CASE WHEN e.undated IS NULL THEN make_timestamp(r.start + coalesce(e.created_after, 0)) END",
    **_LEFT_OUT,
}


def _anchor(name: str) -> tuple[str, str]:
    return _ANCHORS[_ANCHOR_OF.get(name, "last")]


def packed(rows: str) -> str:
    """SELECT of packed rows from flat rows; columns other than those of a flat row pass through."""
    distances = ", ".join(f"epoch_us({name}) - epoch_us({_anchor(name)[0]}) AS {name}" for name in _INSTANTS)
    return f"SELECT * EXCLUDE ({', '.join(_FORGOTTEN)}) REPLACE ({distances}) FROM {rows}"


def unpacked(rows: str, more: str = "") -> str:
    """SELECT of flat rows from packed ones; `more` is SQL of further columns, each beginning with a comma."""
    values = ", ".join(_unpacked(column.name, column.sql_type) for column in COLUMNS)
    return f"SELECT n, profile, {values}{more} FROM {rows}"


def _unpacked(name: str, sql_type: str) -> str:
    if name in _FORGOTTEN:
        return f"NULL::{sql_type} AS {name}"
    return f"make_timestamp({_anchor(name)[1]} + {name}) AS {name}" if name in _INSTANTS else name


def event_struct(columns: Mapping[str, str]) -> str:
    """SQL of the struct that keeps an event `e` in the list of its recipient's flat row `r`."""
    usual = f"CASE WHEN {_ENDS.replace('type', 'e.type')} THEN {_ENDED} ELSE injected_at END"
    fields = {
        "after": f"nullif(epoch_us(e.time) - {_START}, epoch_us({usual}) - {_START})",
        "created_after": f"nullif(epoch_us(e.created) - {_START}, 0)",
        "undated": "CASE WHEN e.created IS NULL THEN true END",
    }
    fields |= {name: _kept_value(name, columns[name]) for name in _kept(columns)}
    return "{" + ", ".join(f"'{name}': {sql}" for name, sql in fields.items()) + "}"


def _kept_value(name: str, sql_type: str) -> str:
    if name in _INHERITED:
        return _differing(f"e.{name}", f"r.{_INHERITED[name]}", sql_type)
    if name in {"template_id", "parameters"}:
        return f"CASE WHEN e.bounce_class IS NOT NULL THEN e.{name} END"
    return f"e.{name}::VARCHAR" if sql_type.startswith("ENUM") else f"e.{name}"


def unpacked_tries(rows: str, where: str) -> str:
    """SELECT of flat rows with the instant `told_at` of their tries and how many they are, `told_<measure>`."""
    more = "".join(f", {name}" for name in _TOLD)
    return unpacked(f"{rows} WHERE {where}", f", {_unpacked('told_at', 'TIMESTAMP')}{more}")


def unpacked_events(rows: str, columns: Mapping[str, str], where: str = "true") -> str:
    """SELECT of event rows, with the columns of the table `event` in its order, from packed rows."""
    values = ", ".join(f"{_event_value(name, columns[name])} AS {name}" for name in columns)
    anchors = f"{_START} AS start, {_PACKED_END} AS ended"
    inherited = ", ".join(dict.fromkeys((*_OF_ROW, *_INHERITED.values())))
    return f"SELECT {values} FROM (SELECT {inherited}, {anchors}, unnest(events) AS e FROM {rows} WHERE {where}) AS r"


def _kept(columns: Mapping[str, str]) -> list[str]:
    return [name for name in columns if name not in _COMPUTED]


def _differing(own: str, inherited: str, sql_type: str) -> str:
    if _is_text(sql_type):
        return f"CASE WHEN {own}::VARCHAR IS DISTINCT FROM {inherited} THEN coalesce({own}::VARCHAR, '') END"
    return f"nullif({own}, {inherited})"


def _is_text(sql_type: str) -> bool:
    return sql_type == "VARCHAR" or sql_type.startswith("ENUM")


def _event_value(name: str, sql_type: str) -> str:
    if name in _COMPUTED:
        return _COMPUTED[name]
    if name in _INHERITED:
        value = f"coalesce(e.{name}, r.{_INHERITED[name]})"
        return f"nullif({value}, '')" if _is_text(sql_type) and name not in {"domain", "node", "mta"} else value
    return f"e.{name}"
