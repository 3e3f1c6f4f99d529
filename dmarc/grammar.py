"""Which element of an aggregate report means what: RFC 7489 appendix C and RFC 9990 appendix A in one tree.

Elements are matched by their local names in lower case. What is not here is an extension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dmarc.assembly import Assembly

__all__ = ["DOCUMENT", "FEEDBACK", "RECORD", "Node"]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What an element means: a value kept under `key`, or a group of `children`; `close` is called at its end."""

    key: str = ""
    children: dict[str, Node] = field(default_factory=dict)
    close: Callable[[Assembly], None] | None = None


def _values(*names: str, **renamed: str) -> dict[str, Node]:
    return {name: Node(name) for name in names} | {name: Node(key) for name, key in renamed.items()}


_EVALUATED = Node(
    children=_values("disposition", "dkim", "spf")
    | {"reason": Node(children=_values("comment", type="reason"), close=Assembly.close_reason)},
    close=Assembly.close_evaluated,
)
_IDENTIFIERS = _values("header_from", "envelope_from", "envelope_to")
_AUTH = {"domain": "auth_domain", "result": "auth_result", "human_result": "auth_human_result"}
_RESULTS = {
    "dkim": Node(children=_values(**_AUTH, selector="auth_selector"), close=Assembly.close_dkim),
    "spf": Node(children=_values(**_AUTH, scope="auth_scope"), close=Assembly.close_spf),
}
RECORD = Node(
    children={
        "row": Node(children=_values("source_ip", "count") | {"policy_evaluated": _EVALUATED}),
        "identifiers": Node(children=_IDENTIFIERS),
        "identities": Node(children=_IDENTIFIERS, close=Assembly.close_identities),
        "auth_results": Node(children=_RESULTS),
    },
    close=Assembly.close_record,
)
_METADATA = Node(
    children=_values("org_name", "email", "extra_contact_info", "report_id", "generator")
    | {
        "date_range": Node(children=_values("begin", "end")),
        "error": Node("error", close=Assembly.close_error),
    },
    close=Assembly.close_frame_group,
)
_POLICY = Node(
    children=_values(
        "p", "sp", "np", "adkim", "aspf", "pct", "fo", "testing", "discovery_method", domain="policy_domain"
    ),
    close=Assembly.close_frame_group,
)
FEEDBACK = Node(
    children={
        "version": Node("version", close=Assembly.close_frame_group),
        "report_metadata": _METADATA,
        "policy_published": _POLICY,
        "extension": Node(),
        "record": RECORD,
        "records": Node(children={"record": RECORD}),  # some put them into a group
    },
    close=Assembly.close_feedback,
)
DOCUMENT = Node()
