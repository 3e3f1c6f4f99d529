"""What happened to one recipient of one message, whichever mail server wrote it down.

The vocabulary follows KumoMTA's log record types, because the bundled MTA writes that schema; our names say what the
record means to a sender. Readers of other dialects translate into these.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mta.events.frozen import quickly_built
from mta.events.reply import SmtpReply

__all__ = ["KUMOMTA_TYPES", "Direction", "Event", "EventType", "Origin"]


class EventType(StrEnum):
    """When a record is written. A new type forces a decision in each property below."""

    RECEPTION = "reception"
    """Accepted into a spool, by SMTP or HTTP."""
    DELIVERY = "delivery"
    """The peer took it: a 2yz after the final dot."""
    DEFERRAL = "deferral"
    """An attempt failed and another will be made."""
    BOUNCE = "bounce"
    """An attempt failed for good."""
    EXPIRATION = "expiration"
    """Given up: the queue's lifetime passed."""
    ADMIN_BOUNCE = "admin_bounce"
    """Cancelled by an operator or by policy; suppressed recipients too."""
    OOB_BOUNCE = "oob_bounce"
    """A delivery report came back after the peer had accepted (RFC 3464)."""
    COMPLAINT = "complaint"
    """A feedback report came back (RFC 5965)."""
    REJECTION = "rejection"
    """Refused at injection; never entered a spool."""
    DELAYED = "delayed"
    """Put back into its queue without an attempt."""
    REBIND = "rebind"
    """Moved to another queue of the same node."""
    TRANSFER_OUT = "transfer_out"
    """Handed to another node of the fleet."""
    TRANSFER_IN = "transfer_in"
    """Taken over from another node of the fleet."""

    @property
    def is_attempt(self) -> bool:
        """One delivery attempt was made and this is its result."""
        return self in _ATTEMPTS

    @property
    def is_terminal(self) -> bool:
        """The recipient's journey on this node ends here."""
        return self in _TERMINALS

    @property
    def is_failure(self) -> bool:
        """Carries a reply that deserves a bounce class."""
        return self in _FAILURES


_ATTEMPTS = frozenset({EventType.DELIVERY, EventType.DEFERRAL, EventType.BOUNCE})
_TERMINALS = frozenset(
    {
        EventType.DELIVERY,
        EventType.BOUNCE,
        EventType.EXPIRATION,
        EventType.ADMIN_BOUNCE,
        EventType.TRANSFER_OUT,
    }
)
_FAILURES = frozenset(
    {
        EventType.DEFERRAL,
        EventType.BOUNCE,
        EventType.EXPIRATION,
        EventType.ADMIN_BOUNCE,
        EventType.OOB_BOUNCE,
        EventType.COMPLAINT,
        EventType.REJECTION,
    }
)

KUMOMTA_TYPES: dict[str, EventType] = {
    "Reception": EventType.RECEPTION,
    "Delivery": EventType.DELIVERY,
    "TransientFailure": EventType.DEFERRAL,
    "Bounce": EventType.BOUNCE,
    "Expiration": EventType.EXPIRATION,
    "AdminBounce": EventType.ADMIN_BOUNCE,
    "OOB": EventType.OOB_BOUNCE,
    "Feedback": EventType.COMPLAINT,
    "Rejection": EventType.REJECTION,
    "Delayed": EventType.DELAYED,
    "AdminRebind": EventType.REBIND,
    "DeferredInjectionRebind": EventType.REBIND,
    "XferOut": EventType.TRANSFER_OUT,
    "XferIn": EventType.TRANSFER_IN,
}
"""KumoMTA's `type` values and ours."""


class Origin(StrEnum):
    """Who said it (METRICS.md section 1): rates about a provider count only what the provider said."""

    REMOTE = "remote"
    """The peer's own words."""
    LOCAL = "local"
    """DNS, connect, throttle, suspension or a policy of ours; no peer answered."""


class Direction(StrEnum):
    """Which way the mail goes; rates are about outbound unless asked."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact about one recipient of one message.

    Instants are microseconds since the epoch, UTC. `recipient` is in clear here and only here: the store keeps a keyed
    pseudonym. None means unknown; the empty string is a value (`sender == ""` is the null reverse-path).

    `queue_id` identifies the message on its `node`; "" where the node gave none (a rejection).
    `attempt` counts from 1; None where the event is no attempt or the dialect does not say.
    `ordinal` tells equal facts of one source apart where its time stamps are coarse (syslog); 0 otherwise.
    `created` is when the message entered this node's spool, if the record says so.
    """

    type: EventType
    time: int
    node: str
    mta: str
    queue_id: str
    recipient: str
    ordinal: int = 0
    created: int | None = None
    attempt: int | None = None
    direction: Direction = Direction.OUTBOUND
    origin: Origin = Origin.REMOTE
    sender: str | None = None
    message_id: str | None = None
    size: int | None = None
    reply: SmtpReply | None = None
    bounce_class: str | None = None
    """The class that the writer of the record gave, in our names; the loader classifies the rest."""
    peer_host: str | None = None
    peer_ip: str | None = None
    source: str | None = None
    source_ip: str | None = None
    pool: str | None = None
    tenant: str | None = None
    campaign: str | None = None
    dkim_domain: str | None = None
    """The domain that signed the message (RFC 6376 `d=`); of several, the first."""
    tls_version: str | None = None
    feedback_type: str | None = None
    original_recipient: str | None = None
    original_message_id: str | None = None
    original_unit: int | None = None
    """OOB_BOUNCE, COMPLAINT: the unit id that a signed return path tells (`mta.events.return_path`)."""
    successor_id: str | None = None
    """TRANSFER_OUT: the queue id that the message has on the node that took it."""

    @property
    def recipient_domain(self) -> str:
        """Everything after the last `@`, as written; "" if there is none."""
        return self.recipient.rpartition("@")[2] if "@" in self.recipient else ""

    @property
    def delay(self) -> int | None:
        """Microseconds from entering the spool to this event; None when the record does not say."""
        return None if self.created is None else max(0, self.time - self.created)
